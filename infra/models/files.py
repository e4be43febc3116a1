"""Which files of a repository are the model: one answer for everybody who reads any of them.

Loaders do not agree where there is more than one. Transformers, and so a quantizer, takes
`model.safetensors` and looks at `model.safetensors.index.json` only where there is none. The engine
takes what the index names, or without an index whatever has the suffix; `consolidated*.safetensors`
anywhere below comes before all of that. Here an index decides, and where loaders would take
different weights the repository is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from infra.contracts.errors import UnsafeWeights, WeightsError
from infra.models import adapters, ambiguous_weights
from infra.models.ambiguous_weights import PICKLED, SAFETENSORS, Layout, named
from infra.models.place import Place

_SAFE = ".safetensors"
_GGUF = ".gguf"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_TEXTS = (".json", ".txt", ".model", ".tiktoken", ".jinja")
_TOKENS = ("merges.txt", "vocab.txt")
"""Texts of tokenizers; other ones are for people."""
_NOT_READ = ("configuration.json",)
"""ModelScope puts one into each repository."""
_TRAINER_STATE = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state.*)\.(bin|pt|pth)")
_MODULE = re.compile(r"\d+_[A-Za-z]+/(config\.json|model\.safetensors)")
"""How a sentence-transformers model pools the vectors of its tokens, and what comes after that."""
_MISTRAL = re.compile(r"consolidated.*\.safetensors")
"""The same weights for Mistral's own programs."""


def is_weight(name: str) -> bool:
    """Return whether a file holds weights, of whatever model."""
    return name.endswith((_SAFE, _GGUF, *_PICKLES)) and not _TRAINER_STATE.fullmatch(name)


def is_read_beside(name: str) -> bool:
    """Return whether a file that lies beside weights, and is none, is read with them.

    Configuration, tokenizer, chat template, code. A hub's own `configuration.json` and texts for
    people are not.
    """
    if name.endswith((".py", ".jinja")):
        return True
    if "/" in name or name in _NOT_READ:
        return False
    return name in _TOKENS or name.endswith(tuple({*_TEXTS} - {".txt"}))


def choose(
    names: Sequence[str], place: Place, *, allow_pickle: bool, trust_remote_code: bool
) -> list[str]:
    """Return the files of a model repository that are needed to run it.

    That is the top level's weights, configuration and tokenizer. With an index the weights are
    what it names; while the index cannot be read yet, all that it may name. Copies for other
    engines (`original/`, GGUF, ONNX, `consolidated.safetensors`), other precisions
    (`model.fp16.safetensors`) and adapters stay out. Where there is nothing else, one GGUF file is
    the model.

    Args:
        names: All files, below the repository, with forward slashes.
        place: Where they are; reads the index.
        allow_pickle: Take pickled weights where there are no others.
        trust_remote_code: Take Python files.

    Raises:
        UnsafeWeights: There are only pickled weights, and they are not allowed.
        CorruptWeights: The index is broken, or a shard that it names is not there.
        WeightsError: There are no weights, or loaders would not take the same.
    """
    top = [name for name in names if "/" not in name and not name.startswith(".")]
    layout = _layout(top, names, place, allow_pickle)
    weights = _weights(top, place, layout)
    texts = [name for name in top if name.endswith(_TEXTS) and name != adapters.CONFIG]
    code = [name for name in names if name.endswith(".py")] if trust_remote_code else []
    templates = [name for name in names if "/" in name and name.endswith(".jinja")]
    modules = [name for name in names if "modules.json" in top and _MODULE.fullmatch(name)]
    return sorted({*weights, *texts, *code, *templates, *modules})


def refuse_adapter_alone(top: Sequence[str], place: Place) -> None:
    """Refuse an adapter that has no model beside it.

    Raises:
        WeightsError: It is one.
    """
    ours = [name for suffix in (_SAFE, PICKLED.suffix, _GGUF) for name in _ours(top, suffix)]
    if SAFETENSORS.index not in top and not ours:
        adapters.refuse_alone(top, place)


def misleading(names: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """Return files beside a model that the engine or the quantizer would take for a part of it.

    Args:
        names: All files of the folder.
        chosen: Those that are the model.
    """
    suffixes: tuple[str, ...] = (".bin", _SAFE)  # the engine looks at no index of pickles
    if any(name.endswith(_SAFE) for name in chosen):
        suffixes = () if SAFETENSORS.index in chosen else (_SAFE,)
    return [
        name
        for name in sorted({*names} - {*chosen})
        if _MISTRAL.fullmatch(PurePosixPath(name).name)
        or name == adapters.CONFIG
        or ("/" not in name and name.endswith(suffixes))
    ]


def _ours(top: Sequence[str], suffix: str) -> list[str]:
    return [
        name
        for name in sorted(top)
        if name.endswith(suffix) and is_weight(name)
        if not (_MISTRAL.fullmatch(name) or adapters.is_adapter(name))
    ]


def _layout(top: Sequence[str], names: Sequence[str], place: Place, allow_pickle: bool) -> Layout:
    """Return the kind of weights that a repository has."""
    if _ours(top, _SAFE) or SAFETENSORS.index in top:
        return SAFETENSORS
    if pickled := _ours(top, PICKLED.suffix):
        if not allow_pickle:
            raise UnsafeWeights(
                f"{place.what} has its weights only as pickles: {named(pickled)}.",
                cause="A pickle can run any code when it is loaded.",
                remedy="Take a repository with safetensors, or set model.allow_pickle "
                "if you trust its owner.",
            )
        return PICKLED
    if ours := _ours(top, _GGUF):
        return ambiguous_weights.only_gguf(place, ours)
    refuse_adapter_alone(top, place)
    kinds = sorted({PurePosixPath(name).suffix for name in names} - {""})
    mistral = [name for name in top if _MISTRAL.fullmatch(name)]
    raise WeightsError(
        f"{place.what} has no weights in the Transformers layout: no {SAFETENSORS.single} and no "
        f"{SAFETENSORS.index} at its top level.",
        cause=f"{mistral[0]} is for Mistral's own programs; the quantizer does not read it."
        if mistral
        else f"It holds {', '.join(kinds) or 'no files'}.",
        remedy="Take a repository in the Transformers layout, with safetensors, or one GGUF file "
        "with the model's config.json and tokenizer beside it.",
    )


def _weights(top: Sequence[str], place: Place, layout: Layout) -> list[str]:
    """Return the files that hold the weights."""
    ours = _ours(top, layout.suffix)
    if layout.index in top:
        shards = _shards(place, layout)
        if shards is None:
            return ours
        if missing := sorted({*shards} - {*top}):
            ambiguous_weights.refuse_missing(
                place, layout, shards, missing, whole=layout.single in top
            )
        if layout.single in top and shards != [layout.single]:
            ambiguous_weights.refuse_single_beside_index(place, layout, shards)
        return shards
    if layout.single not in ours:
        ambiguous_weights.refuse_unnamed(place, layout, ours)
    others = [name for name in ours if name != layout.single and not layout.variant.fullmatch(name)]
    if others:
        ambiguous_weights.refuse_others(place, layout, others)
    return [layout.single]


def _shards(place: Place, layout: Layout) -> list[str] | None:
    """Return the files that an index names; none if it cannot be read yet."""
    found = place.read_object(layout.index)
    if found is None:
        return None
    placed = found.get("weight_map")
    if not isinstance(placed, dict) or not placed:
        place.broken(layout.index, "has no weight_map that names a shard")
    for name in placed.values():
        if not isinstance(name, str) or name not in _ours([name], layout.suffix) or "/" in name:
            place.broken(
                layout.index,
                f"names {name!r} as a shard, which is no {layout.suffix} file of a model beside it",
            )
    return sorted(set(placed.values()))
