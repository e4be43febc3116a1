"""What makes a folder a model: whether the files that count are there and whole.

Looks at names, at `config.json` and at safetensors headers. Loads no weights, runs no code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from infra.contracts.errors import CorruptWeights, UnsafeWeights
from infra.models import gguf_file, lfs, safetensors_header
from infra.models.files import is_weight
from infra.models.place import Place, beginning, begins
from infra.models.safetensors_header import Entry

_CONFIG = "config.json"
_TOKENIZER = "tokenizer.json"
_TOKENIZER_CONFIG = "tokenizer_config.json"
_INDEX = "model.safetensors.index.json"

_TOKENIZERS = (
    {_TOKENIZER},
    {"tokenizer.model"},
    {"vocab.json", "merges.txt"},
    {"vocab.txt"},
    {"tekken.json"},
)
_SETTINGS = frozenset([_TOKENIZER_CONFIG, "generation_config.json"])
"""Read by others without a look at what they hold."""


@dataclass(frozen=True)
class ModelFolder:
    """What a sound model folder says about itself."""

    architecture: str
    weight_files: tuple[str, ...]


def inspect(
    folder: Path, names: Sequence[str], place: Place, *, trust_remote_code: bool
) -> ModelFolder:
    """Check a model folder as far as the named files go.

    Without any weight file among `names`, configuration and tokenizer alone are checked.

    Args:
        folder: Where the files are.
        names: The files that are the model.
        place: The same for messages.
        trust_remote_code: Take models that need Python code of their own.

    Raises:
        CorruptWeights: A file is missing, truncated or unreadable.
        UnsafeWeights: The model needs code of its own, and that is not allowed.
    """
    config = config_of(names, place) or {}
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        place.broken(_CONFIG, "names no architecture")
    for name in names:
        content = beginning(folder / name, lfs.LONGEST + 1)
        place.check_content(name, content)
        if name == _TOKENIZER and not content.lstrip().startswith(b"{"):  # it may be very long
            place.broken(name, "is no JSON object", begins(content))
    if not any(needed.issubset(names) for needed in _TOKENIZERS) and not any(
        name.endswith(".tiktoken") for name in names
    ):
        raise CorruptWeights(
            f"{place.what} has no tokenizer.",
            cause="Neither tokenizer.json nor the files of a slow tokenizer are there.",
            remedy="Copy the tokenizer's files from where the model comes from.",
        )
    for name in _SETTINGS.intersection(names):
        place.read_object(name)
    if "auto_map" in config and not trust_remote_code and not _built_in(config):
        raise UnsafeWeights(
            f"{place.what} needs Python code that comes with the model.",
            cause=f"Transformers itself does not know model_type {config.get('model_type')!r}.",
            remedy="Read that code; if you trust it, set model.trust_remote_code.",
        )
    if trust_remote_code:
        _refuse_code_from_elsewhere(names, place)
    weights = tuple(sorted(name for name in names if is_weight(name)))
    tensors = {
        name: safetensors_header.read(folder / name)
        for name in weights
        if name.endswith(".safetensors")
    }
    for name in weights:
        if name.endswith(gguf_file.SUFFIX):
            gguf_file.read(folder / name)
    _check_tensors(folder, tensors, place)
    return ModelFolder(architecture=str(architectures[0]), weight_files=weights)


def config_of(names: Sequence[str], place: Place) -> dict[str, Any] | None:
    """Return a model's config.json; none where it cannot be had yet.

    Raises:
        CorruptWeights: There is none, or it is no JSON object.
    """
    if _CONFIG not in names:
        place.lacks(_CONFIG)
    return place.read_object(_CONFIG)


def _check_tensors(folder: Path, tensors: dict[str, dict[str, Entry]], place: Place) -> None:
    """Check that every tensor is in one file, and in the shard that the index names."""
    holders: dict[str, str] = {}
    for shard, entries in tensors.items():
        for tensor in entries:
            if (other := holders.setdefault(tensor, shard)) != shard:
                _broken(folder, shard, f"holds the tensor {tensor}, and so does {other}")
    placed = (place.read_object(_INDEX) or {}).get("weight_map", {}) if len(tensors) > 1 else {}
    for tensor, shard in placed.items():
        if shard in tensors and tensor not in tensors[shard]:
            _broken(folder, shard, f"lacks the tensor {tensor}, which {_INDEX} places there")


def _broken(folder: Path, name: str, fact: str) -> NoReturn:
    raise CorruptWeights(
        f"{folder / name} {fact}.",
        remedy="Copy or download the file again.",
    )


def _refuse_code_from_elsewhere(names: Sequence[str], place: Place) -> None:
    """Refuse a model whose code lies in another repository: nobody sees when that is changed."""
    for name in (_CONFIG, _TOKENIZER_CONFIG):
        settings = place.read_object(name) if name in names else None
        classes = (settings or {}).get("auto_map")
        if not isinstance(classes, dict):
            continue
        for one in [part for value in classes.values() for part in _listed(value)]:
            repository, elsewhere, file = str(one).rpartition("--")
            if elsewhere:
                code = f"{file.partition('.')[0]}.py"
                raise UnsafeWeights(
                    f"{place.what} runs code of another repository, {repository}.",
                    cause=f"auto_map in its {name} says {one}. That code may be changed there "
                    "between two runs, and results would be kept as if it were the same.",
                    remedy=f"Read {code} of {repository}, copy it with all that it imports beside "
                    f"a local copy of the model, and write {file} there.",
                )


def _listed(value: object) -> list[object]:
    return [one for one in value if one] if isinstance(value, list) else [value]


def _built_in(config: dict[str, Any]) -> bool:
    """Return whether Transformers runs this model without the code its repository brings."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return config.get("model_type") in CONFIG_MAPPING_NAMES
