"""What makes a folder a model: which files count, and whether they are whole.

Looks at names, at `config.json` and at safetensors headers. Loads no weights, runs no code.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from infra.contracts.errors import CorruptWeights, UnsafeWeights, WeightsError

_SAFE = ".safetensors"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_TEXTS = (".json", ".txt", ".model", ".tiktoken", ".jinja")
_TRAINER_STATE = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state.*)\.(bin|pt|pth)")
_TOKENIZERS = (
    {"tokenizer.json"},
    {"tokenizer.model"},
    {"vocab.json", "merges.txt"},
    {"vocab.txt"},
    {"tekken.json"},
)
_SETTINGS = frozenset(["tokenizer_config.json", "generation_config.json"])
"""Read by others without a look at what they hold."""

_MOST_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library itself."""


@dataclass(frozen=True)
class ModelFolder:
    """What a sound model folder says about itself."""

    architecture: str
    weight_files: tuple[str, ...]


def choose(
    names: Sequence[str], *, what: str, allow_pickle: bool, trust_remote_code: bool
) -> list[str]:
    """Return the files of a model repository that are needed to run it.

    That is the top level's weights, configuration and tokenizer. Copies for other engines
    (`original/`, GGUF, ONNX, `consolidated.safetensors` beside shards) stay out.

    Args:
        names: All files, below the repository, with forward slashes.
        what: The repository or folder, for messages.
        allow_pickle: Take pickled weights where there are no others.
        trust_remote_code: Take Python files.

    Raises:
        UnsafeWeights: There are only pickled weights, and they are not allowed.
        WeightsError: There are no weights.
    """
    top = [name for name in names if "/" not in name and not name.startswith(".")]
    weights = [name for name in top if name.endswith(_SAFE)]
    if any(not name.startswith("consolidated") for name in weights):
        weights = [name for name in weights if not name.startswith("consolidated")]
    if not weights:
        weights = [
            name for name in top if name.endswith(_PICKLES) and not _TRAINER_STATE.fullmatch(name)
        ]
        if weights and not allow_pickle:
            raise UnsafeWeights(
                f"{what} has its weights only as pickles: {', '.join(sorted(weights)[:3])}.",
                cause="A pickle can run any code when it is loaded.",
                remedy="Take a repository with safetensors, or set model.allow_pickle "
                "if you trust its owner.",
                files=sorted(weights),
            )
    if not weights:
        kinds = sorted({PurePosixPath(name).suffix for name in names} - {""})
        raise WeightsError(
            f"{what} has no weights: no .safetensors file at its top level.",
            cause=f"It holds {', '.join(kinds) or 'no files'}.",
            remedy="Take a repository in the Transformers layout, with safetensors.",
        )
    texts = [name for name in top if name.endswith(_TEXTS)]
    code = [name for name in names if name.endswith(".py")] if trust_remote_code else []
    templates = [name for name in names if "/" in name and name.endswith(".jinja")]
    return sorted({*weights, *texts, *code, *templates})


def is_weight(name: str) -> bool:
    """Return whether a file holds weights."""
    return name.endswith((_SAFE, *_PICKLES)) and not _TRAINER_STATE.fullmatch(name)


def inspect(folder: Path, names: Sequence[str], *, trust_remote_code: bool) -> ModelFolder:
    """Check a model folder as far as the named files go.

    Without any weight file among `names`, configuration and tokenizer alone are checked.

    Raises:
        CorruptWeights: A file is missing, truncated or unreadable; `facts["file"]` names it.
        UnsafeWeights: The model needs code of its own, and that is not allowed.
    """
    config = _read_object(folder, "config.json", names)
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        _broken(folder, "config.json", "names no architecture")
    if not any(needed.issubset(names) for needed in _TOKENIZERS) and not any(
        name.endswith(".tiktoken") for name in names
    ):
        raise CorruptWeights(
            f"{folder} has no tokenizer.",
            cause="Neither tokenizer.json nor the files of a slow tokenizer are there.",
            remedy="Copy the tokenizer's files from where the model comes from.",
            file=str(folder / "tokenizer.json"),
        )
    for name in _SETTINGS.intersection(names):
        _read_object(folder, name, names)
    if "auto_map" in config and not trust_remote_code and not _built_in(config):
        raise UnsafeWeights(
            f"{folder} needs Python code that comes with the model.",
            cause=f"Transformers itself does not know model_type {config.get('model_type')!r}.",
            remedy="Read that code; if you trust it, set model.trust_remote_code.",
        )
    weights = tuple(sorted(name for name in names if is_weight(name)))
    tensors = {name: _tensors(folder / name) for name in weights if name.endswith(_SAFE)}
    index = "model.safetensors.index.json" if tensors else "pytorch_model.bin.index.json"
    if weights and index in names:
        _check_index(folder, index, names, weights, tensors)
    return ModelFolder(architecture=str(architectures[0]), weight_files=weights)


def _check_index(
    folder: Path,
    index: str,
    names: Sequence[str],
    weights: Sequence[str],
    tensors: dict[str, set[str]],
) -> None:
    """Check that every tensor of the index is in the shard that the index names."""
    placed = _read_object(folder, index, names).get("weight_map")
    if not isinstance(placed, dict):
        _broken(folder, index, "has no weight_map")
    for shard in sorted(set(placed.values()) - set(weights)):
        raise CorruptWeights(
            f"{folder / shard} is missing.",
            cause=f"{index} names it as one of {len(set(placed.values()))} shards.",
            remedy="Download the model again, or copy the missing shard.",
            file=str(folder / shard),
        )
    for tensor, shard in placed.items():
        if shard in tensors and tensor not in tensors[shard]:
            _broken(folder, shard, f"lacks the tensor {tensor}, which {index} places there")


def _tensors(path: Path) -> set[str]:
    """Return the names of the tensors in a safetensors file, after checking its length.

    Layout (https://huggingface.co/docs/safetensors): 8 bytes N, little-endian; N bytes of JSON,
    name → {dtype, shape, data_offsets: [begin, end]}; the data, without holes.
    """
    real = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if real < 10 or length > _MOST_HEADER_BYTES:
            _broken(path.parent, path.name, f"is no safetensors file ({real} bytes)")
        header_bytes = stream.read(length)
    if len(header_bytes) < length:
        _truncated(path, 8 + length, real, at_least=True)
    try:
        header = json.loads(header_bytes)
        header.pop("__metadata__", None)
        ends = [tensor["data_offsets"][1] for tensor in header.values()]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        _broken(path.parent, path.name, "has an unreadable header")
    if real != expected:
        _truncated(path, expected, real)
    return set(header)


def _truncated(path: Path, expected: int, real: int, *, at_least: bool = False) -> NoReturn:
    raise CorruptWeights(
        f"{path} should have {'at least ' if at_least else ''}{expected} bytes "
        f"by its own header, but it has {real}.",
        cause="A copy or a download was cut off." if real < expected else "It was overwritten.",
        remedy="Copy or download the file again.",
        file=str(path),
        expected=expected,
        real=real,
    )


def _broken(folder: Path, name: str, fact: str) -> NoReturn:
    raise CorruptWeights(
        f"{folder / name} {fact}.",
        remedy="Copy or download the file again.",
        file=str(folder / name),
    )


def _read_object(folder: Path, name: str, names: Sequence[str]) -> dict[str, Any]:
    if name not in names:
        raise CorruptWeights(
            f"{folder} has no {name}.",
            cause="It is no model folder in the Transformers layout, or not a whole one.",
            remedy="Name the folder that holds config.json, the tokenizer and the weights.",
            file=str(folder / name),
        )
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptWeights(
            f"{folder / name} is not JSON: {error}.",
            remedy="Copy or download the file again.",
            file=str(folder / name),
        ) from error
    if not isinstance(found, dict):
        _broken(folder, name, "is no JSON object")
    return found


def _built_in(config: dict[str, Any]) -> bool:
    """Return whether Transformers runs this model without the code its repository brings."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return config.get("model_type") in CONFIG_MAPPING_NAMES
