"""Folders whose weights one loader would take and another would not: refused, with the way out.

Transformers, and so a quantizer, takes one file of a certain name, or what an index names. The
engine takes what the index names, or without one whatever has the suffix.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from infra.contracts.errors import CorruptWeights, WeightsError
from infra.models.place import Place

_MOST_NAMED = 3
_SHARD = re.compile(r"-\d+-of-(\d+)")


@dataclass(frozen=True)
class Layout:
    """How Transformers names weights of one kind."""

    suffix: str
    single: str
    index: str
    variant: re.Pattern[str]
    """Another precision of the same weights, which loaders take only by name."""


SAFETENSORS = Layout(
    ".safetensors",
    "model.safetensors",
    "model.safetensors.index.json",
    re.compile(r"model\.[\w-]+(-\d+-of-\d+)?\.safetensors|model-\d+-of-\d+\.\w+\.safetensors"),
)
PICKLED = Layout(
    ".bin",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    re.compile(r"pytorch_model\.[\w-]+(-\d+-of-\d+)?\.bin|pytorch_model-\d+-of-\d+\.\w+\.bin"),
)


def only_gguf(place: Place, ours: Sequence[str]) -> Layout:
    """Return the layout of a folder whose weights are one GGUF file.

    Raises:
        WeightsError: There are several: other formats of the same model, or parts of one.
    """
    if len(ours) == 1:
        return Layout(".gguf", ours[0], "", re.compile(r"(?!)"))
    parts = [name for name in ours if _SHARD.search(name)]
    raise WeightsError(
        f"{place.what} holds {len(ours)} GGUF files: {named(ours)}.",
        cause="They are parts of one model, and one file is read here."
        if parts
        else "Each of them is a model of its own.",
        remedy="Join them: `llama-gguf-split --merge` of llama.cpp takes the first one's name."
        if parts
        else "Put the one to evaluate into a folder of its own, with the model's config.json and "
        "tokenizer beside it.",
    )


def refuse_missing(
    place: Place, layout: Layout, shards: list[str], missing: list[str], *, whole: bool
) -> NoReturn:
    """Refuse an index that names shards which are not there; `whole`: a whole file is."""
    remedy = place.again
    if whole:
        remedy += (
            f" If {layout.single} is the whole model, put the index aside: "
            f"{place.command(_aside([layout.index]))}{place.afterwards}"
        )
    raise CorruptWeights(
        f"{missing[0]} is missing from {place.what}.",
        cause=f"{layout.index} names it as one of {len(shards)} shards.",
        remedy=remedy,
    )


def refuse_single_beside_index(place: Place, layout: Layout, shards: list[str]) -> NoReturn:
    """Refuse a whole file of weights beside an index, or one that is a shard among others."""
    if layout.single in shards:
        other = f"{layout.single.removesuffix(layout.suffix)}-first{layout.suffix}"
        edit = f's/"{re.escape(layout.single)}"/"{other}"/'
        raise WeightsError(
            f"{layout.index} of {place.what} names {layout.single} as one of {len(shards)} shards.",
            cause=f"The quantizer would take {layout.single} for the whole model and leave the "
            "other tensors to chance.",
            remedy="Give that shard another name: "
            + place.command(
                f"mv {layout.single} {other} && sed -i {shlex.quote(edit)} {layout.index}"
            )
            + place.afterwards,
        )
    raise WeightsError(
        f"{place.what} holds two models: {layout.single}, and the {len(shards)} shards that "
        f"{layout.index} names ({named(shards)}).",
        cause=f"The quantizer would load {layout.single}, the engine the shards.",
        remedy=f"Put one of them aside. {layout.single}: {place.command(_aside([layout.single]))}; "
        f"or the shards: {place.command(_aside([layout.index, *_short(shards)]))}"
        f"{place.afterwards}",
    )


def refuse_others(place: Place, layout: Layout, others: Sequence[str]) -> NoReturn:
    """Refuse weights beside a whole file of them, where no index says what belongs together."""
    raise WeightsError(
        f"{place.what} holds more than one set of weights: {layout.single} and {named(others)}, "
        f"and no {layout.index} that says what belongs together.",
        cause=f"The quantizer would load {layout.single} alone, the engine all of them.",
        remedy=f"If {layout.single} is the whole model, put the others aside: "
        f"{place.command(_aside(_short(others)))}. "
        f"If it is not, put {layout.single} aside in the same way{place.afterwards}",
    )


def refuse_unnamed(place: Place, layout: Layout, ours: list[str]) -> NoReturn:
    """Refuse weights that Transformers would not find."""
    if len(ours) == 1:
        remedy = f"Name it so: {place.command(f'mv {shlex.quote(ours[0])} {layout.single}')}"
    else:
        remedy = (
            f"Copy {layout.index} from where the model comes from; or, if these files are one "
            f"model, write it: {place.command(_index_command(layout, ours))}"
        )
        if layout is PICKLED:
            remedy = f"Copy {layout.index} from where the model comes from"
    raise WeightsError(
        f"{place.what} has its weights in {named(ours)}, without a {layout.index}.",
        cause=f"The quantizer finds weights by that index or under the name {layout.single}; the "
        f"engine would load every {layout.suffix} file.",
        remedy=remedy + place.afterwards,
    )


def _index_command(layout: Layout, ours: Sequence[str]) -> str:
    names = _short(ours)
    found = f"glob.glob({names[0]!r})" if "*" in names[0] else repr(names)
    code = (
        f"import json, glob, safetensors; shards = sorted({found}); "
        "placed = {key: name for name in shards "
        "for key in safetensors.safe_open(name, 'np').keys()}; "
        f"json.dump({{'metadata': {{}}, 'weight_map': placed}}, open('{layout.index}', 'w'))"
    )
    return f'{shlex.quote(sys.executable)} -c "{code}"'


def _aside(names: Sequence[str]) -> str:
    words = (name if "*" in name else shlex.quote(name) for name in names)
    return f"mkdir -p unused && mv {' '.join(words)} unused/"


def _short(names: Sequence[str]) -> list[str]:
    """Return names, or one pattern of the shell for many shards of one model."""
    patterns = {_SHARD.sub(r"-*-of-\1", name) for name in names}
    return sorted(patterns) if len(names) > _MOST_NAMED and len(patterns) == 1 else [*names]


def named(names: Sequence[str]) -> str:
    """Return names for a message, not more than a reader wants."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
