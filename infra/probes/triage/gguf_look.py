"""Looks at a GGUF file on disk, beside the weights it is compared with. No engine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gguf import ReaderTensor

from infra.contracts.errors import CorruptWeights
from infra.contracts.progress import Progress
from infra.contracts.records import Check
from infra.models import gguf_file
from infra.models import quantization as quantizations
from infra.models.file_digests import tell_bytes
from infra.models.gguf_file import WHOLE, GgufFile
from infra.probes.triage import completeness, gguf_layers
from infra.probes.triage.findings import (
    COMPLETE,
    FINITE,
    SCALES,
    SHAPES,
    SHARE,
    check,
    likeness_check,
)
from infra.probes.triage.layers import layers_of
from infra.probes.triage.likeness import Likeness
from infra.probes.triage.tensors import Tensor, tensors_of

MOST_ZERO = 0.01
"""Share of a matrix's blocks that may be all zero: rows of padding."""

_TIED = "lm_head.weight"
_NAMED = 3
_KEPT = ("_norm", "ffn_gate_inp.", "ssm_", "time_mix_", "shortconv.", "altup", "laurel")
"""Parts of names of matrices that llama.cpp rounds in no type of file."""

_FORMATS = {
    "Q3_K": {"Q3_K", "Q4_K", "Q5_K", "Q6_K"}, "Q4_K": {"Q4_K", "Q5_K", "Q6_K"},
    "Q5_K": {"Q5_K", "Q6_K"}, "Q6_K": {"Q6_K"}, "Q8_0": {"Q8_0"},
}  # fmt: skip
"""Beginning of a type → formats that llama.cpp mixes in it where rows fit their blocks."""


def look(
    path: Path,
    baseline: Iterable[Path],
    progress: Progress,
    *,
    ready_made: bool = False,
    another_base: str | None = None,
) -> tuple[Check, ...]:
    """Look at every tensor of a file and return what was found.

    Args:
        path: The file.
        baseline: Safetensors files of the model it is compared with; none, and it is looked at by
            itself.
        progress: Receives bytes.
        ready_made: It came as it is, and nothing proves that it was made from the baseline.
        another_base: Why it was probably made from another model.
    """
    try:
        file = gguf_file.read(path)
    except CorruptWeights as error:
        return (check(SHAPES, [f"{error.fact} {error.cause}".strip()], "", "a whole file"),)
    files = list(baseline)
    theirs = tensors_of(files)
    named = gguf_layers.names(file, theirs)
    infinite, zero, likeness = _measure(file, theirs, named, progress)
    checks = [
        check(FINITE, infinite, f"all {len(file.tensors)}", "no NaN, no infinity"),
        check(SHAPES, _cut_off(file), _formats(file), f"tensors of a {file.type} file"),
    ]
    if file.rounded:
        wanted = f"at most {MOST_ZERO:.0%} of the blocks of a matrix zero"
        checks += [check(SCALES, zero, "none zero", wanted), _share(file)]
    checks.append(_complete(file, theirs, named, _config(files)))
    if theirs:
        why = None if named else f"the architecture {file.architecture} is not known here"
        excuse = another_base if ready_made else None
        checks.append(likeness_check(likeness, why, excuse, ready_made=ready_made))
    return tuple(checks)


def _measure(
    file: GgufFile, theirs: dict[str, Tensor], named: dict[str, str], progress: Progress
) -> tuple[list[str], list[str], dict[str, Likeness]]:
    """Return tensors that are not finite, those with too many zeros, and how like each is."""
    folder = next(iter(theirs.values())).file.parent if theirs else None
    layers = layers_of(theirs, quantizations.of(folder) if folder else None).all
    infinite, zero, likeness = [], [], {}
    done = 0
    for name, tensor in file.tensors.items():
        bad, empty = gguf_layers.faults(tensor)
        if bad:
            infinite.append(name)
        if empty > MOST_ZERO * gguf_layers.blocks_of(tensor):
            zero.append(f"{name} ({empty} of {gguf_layers.blocks_of(tensor)})")
        layer = layers.get(named.get(name, "").removesuffix(".weight"))
        if layer and len(tensor.shape) == 2 and not bad:
            found = gguf_layers.likeness(file, tensor, layer)
            if found is not None:
                likeness[name] = found
        done += int(tensor.n_bytes)
        tell_bytes(progress, "looking at tensors", done, file.size)
    return infinite, zero, likeness


def _cut_off(file: GgufFile) -> list[str]:
    size = file.path.stat().st_size
    return [
        f"{name} ends beyond the file"
        for name, tensor in file.tensors.items()
        if int(tensor.data_offset) + int(tensor.n_bytes) > size
    ]


def _formats(file: GgufFile) -> str:
    counts = Counter(tensor.tensor_type.name for tensor in file.tensors.values())
    return ", ".join(f"{count} as {kind}" for kind, count in sorted(counts.items()))


def _is_linear(name: str, tensor: ReaderTensor) -> bool:
    inside = name.startswith("blk.") and name.endswith(".weight")
    return inside and len(tensor.shape) > 1 and not any(part in name for part in _KEPT)


def _share(file: GgufFile) -> Check:
    """Say how much is rounded, and what got another format than its type's."""
    linear = {name: one for name, one in file.tensors.items() if _is_linear(name, one)}
    rounded = [one for one in linear.values() if one.tensor_type.name not in WHOLE]
    left = [name for name, one in linear.items() if one.tensor_type.name in WHOLE]
    bits = 8 * file.size / file.weights
    text = f"{len(rounded)} of {len(linear)} linear layers, {bits:.2f} bits a weight"
    if left:
        text += f"; left: {_some(left)}"
    usual = next((kinds for name, kinds in _FORMATS.items() if file.type.startswith(name)), None)
    if usual:
        others = [
            f"{name} ({one.tensor_type.name})"
            for name, one in linear.items()
            if one.tensor_type.name not in usual | WHOLE
        ]
        if others:
            text += f"; in another format, since no block fits their rows: {_some(others)}"
    return Check(name=SHARE, value=text, wanted="any share", ok=True)


def _complete(
    file: GgufFile, theirs: dict[str, Tensor], named: dict[str, str], config: dict[str, Any]
) -> Check:
    if named:
        tied = bool(config.get("tie_word_embeddings"))
        needed = {
            name: original
            for name, original in named.items()
            if completeness.is_required(theirs[original]) and not (tied and original == _TIED)
        }
        missing = [original for name, original in needed.items() if name not in file.tensors]
        sound, wanted = f"all {len(needed)} tensors of the baseline", "every layer of the baseline"
    else:
        missing = _missing_alone(file)
        sound, wanted = "every block has what the others have", "all that its metadata describes"
    return check(COMPLETE, missing, sound, wanted)


def _missing_alone(file: GgufFile) -> list[str]:
    """Return blocks that are not there, and what few blocks lack that most have."""
    blocks: dict[int, set[str]] = {}
    for name in file.tensors:
        head, _, rest = name.removeprefix("blk.").partition(".")
        if name.startswith("blk.") and head.isdigit():
            blocks.setdefault(int(head), set()).add(rest)
    count = int(file.value("{}.block_count") or 0)
    missing = [f"blk.{number}" for number in range(count) if number not in blocks]
    usual = Counter(part for parts in blocks.values() for part in parts)
    for number, parts in sorted(blocks.items()):
        missing += [
            f"blk.{number}.{part}"
            for part, occurs in usual.items()
            if occurs >= 0.9 * len(blocks) and part not in parts
        ]
    return missing


def _config(files: list[Path]) -> dict[str, Any]:
    path = files[0].parent / "config.json" if files else None
    if path is None or not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
