"""Looks at a checkpoint on disk, beside the weights it is compared with. No engine.

The bounds are wide: a sound checkpoint is far inside of them, a broken one far outside.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.contracts import wording
from infra.contracts.errors import UnsafeWeights, WeightsError
from infra.contracts.progress import Progress
from infra.contracts.records import Check, Quantization
from infra.models import quantization as quantizations
from infra.models.file_digests import tell_bytes
from infra.models.files import choose, is_weight
from infra.models.place import in_folder
from infra.probes.triage import completeness
from infra.probes.triage.findings import (
    COMPLETE,
    FINITE,
    SCALES,
    SHAPES,
    SHARE,
    SIZE,
    check,
    likeness_check,
)
from infra.probes.triage.layers import Layer, Layers, Scales, layers_of, look_at_scales
from infra.probes.triage.likeness import NOTHING_ALIKE, Likeness, compare, sampled_rows
from infra.probes.triage.targets import Schemes, Targets
from infra.probes.triage.tensors import Tensor, count_not_finite, tensors_of

MOST_SPREAD = 1000
"""Largest scale of a layer, in medians of it. A scale is a fifteenth of what a group of weights
spans, so its spread is that of the weights: 5 in the sample model. Weights with heavy outliers
reach some dozens. A thousand leaves no level for the other weights of such a group."""

MOST_ZERO = 0.01
"""Share of a layer's scales that may be zero: rows of padding, experts that nothing reaches."""

SIZE_TOLERANCE = 0.03
_TIED = "lm_head.weight"


@dataclass
class _Measured:
    not_finite: list[str] = field(default_factory=list)
    scales: dict[str, Scales] = field(default_factory=dict)
    likeness: dict[str, Likeness] = field(default_factory=dict)


@dataclass(frozen=True)
class _Baseline:
    """What the checkpoint is compared with, under the checkpoint's names."""

    tensors: dict[str, Tensor]
    layers: dict[str, Layer]
    architecture: str | None


def look(
    folder: Path,
    baseline: Iterable[Path],
    progress: Progress,
    *,
    ready_made: bool = False,
    another_base: str | None = None,
) -> tuple[Check, ...]:
    """Look at every tensor of a checkpoint and return what was found.

    Args:
        folder: The checkpoint.
        baseline: Safetensors files of the model it is compared with. If it has none, only pickles,
            or if there is no such model, then the checkpoint is looked at by itself.
        progress: Receives bytes.
        ready_made: It came as it is, and nothing proves that it was made from the baseline: that
            all of its weights are others' is said, and only a few that are is a fault.
        another_base: Why it was probably made from another model; then no weight that is unlike
            the baseline's is a fault.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    quantization = quantizations.of(folder)
    try:
        names = [path.name for path in folder.iterdir()]
        chosen = choose(names, in_folder(folder), allow_pickle=False, trust_remote_code=False)
        tensors = tensors_of([folder / name for name in chosen if is_weight(name)])
        layers = layers_of(tensors, quantization)
        theirs = _read_baseline(list(baseline), {*tensors, *_weights_of(layers)})
    except UnsafeWeights:
        return (Check(name=SHAPES, value="not looked at: they are pickles", wanted="-", ok=True),)
    except WeightsError as error:
        return (check(SHAPES, [f"{error.fact} {error.cause}".strip()], "", "whole files"),)
    measured = _measure(tensors, layers, theirs, progress)
    same = theirs.architecture in {None, *(config.get("architectures") or [None])}
    beside = theirs if theirs.tensors and same else None
    checks = [
        check(FINITE, measured.not_finite, f"all {len(tensors)}", "no NaN, no infinity"),
        _shapes(layers, quantization),
    ]
    if quantization:
        checks += [_scales(measured.scales), _share(tensors, layers, quantization)]
    checks.append(_complete(tensors, layers, quantization, config, beside))
    if theirs.tensors:
        excuse = another_base if ready_made else None
        if quantization and quantization.rotated:
            excuse = "its weights were rotated before they were quantized"
        elif not same:
            excuse = f"the baseline is of another architecture, {theirs.architecture}"
        why = "layers of this format are not decoded here" if "" in layers.layouts else None
        checks.append(likeness_check(measured.likeness, why, excuse, ready_made=ready_made))
        if quantization and not ready_made:
            checks.append(_size(tensors, theirs.tensors, quantization, config))
    return tuple(checks)


def _weights_of(layers: Layers) -> list[str]:
    return [f"{name}.weight" for name in layers.all]


def _read_baseline(files: Sequence[Path], ours: set[str]) -> _Baseline:
    tensors = completeness.renamed(tensors_of(files), ours)
    folder = files[0].parent if files else Path()
    architecture = None
    if files and (folder / "config.json").is_file():
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architecture = next(iter(found.get("architectures") or ()), None)
    layers = layers_of(tensors, quantizations.of(folder) if files else None).all
    return _Baseline(tensors, layers, architecture)


def _measure(
    tensors: dict[str, Tensor], layers: Layers, baseline: _Baseline, progress: Progress
) -> _Measured:
    found = _Measured()
    total, done = sum(tensor.size for tensor in tensors.values()), 0
    placed = {layer.weight.name: layer for layer in layers.all.values()}
    for name, tensor in tensors.items():
        if tensor.is_float and count_not_finite(tensor):
            found.not_finite.append(name)
        if layer := placed.get(name):
            if layer.quantized and (scales := look_at_scales(layer)):
                found.scales[layer.name] = scales
            likeness = _compared(layer, baseline.layers.get(layer.name))
            if likeness is not None:
                found.likeness[layer.name] = likeness
        done += tensor.size
        tell_bytes(progress, "looking at tensors", done, total)
    return found


def _compared(ours: Layer, theirs: Layer | None) -> Likeness | None:
    """Compare a layer with the baseline's; none if one of them is not decoded here."""
    if theirs is None or ours.shape is None or theirs.shape is None:
        return None
    if ours.shape != theirs.shape:
        return NOTHING_ALIKE
    rows = sampled_rows(ours.shape[0])
    mine, other = ours.sample(rows), theirs.sample(rows)
    return compare(mine, other) if mine and other else None


def _shapes(layers: Layers, quantization: Quantization | None) -> Check:
    wrong = [*layers.misshapen, *layers.torn]
    if quantization is None:
        return check(SHAPES, wrong, "not quantized", "no part of a quantized layer")
    sound = [f"{n} layers as {layout}" for layout, n in layers.layouts.items() if layout]
    if unread := layers.layouts.get(""):
        form = f" ({quantization.format})" if quantization.format else ""
        sound.append(f"{unread} layers of {quantization.name}{form}, not decoded here")
    wanted = "; ".join(dict.fromkeys(one.phrase for one in quantization.schemes if one.phrase))
    return check(SHAPES, wrong, "; ".join(sound) or "no layer", wanted or "parts that fit")


def _scales(scales: dict[str, Scales]) -> Check:
    wrong = []
    for name, one in scales.items():
        if one.not_finite:
            wrong.append(f"{name} ({one.not_finite} of {one.total} NaN or infinite)")
        elif one.zero > MOST_ZERO * one.total:
            wrong.append(f"{name} ({one.zero} of {one.total} zero)")
        elif one.all_equal:
            wrong.append(f"{name} (all {one.total} are {one.median:g})")
    spread = {n: one.largest / one.median for n, one in scales.items() if one.median}
    wrong += [f"{n} (largest {x:.0f} medians)" for n, x in spread.items() if x > MOST_SPREAD]
    sound = f"none zero, largest {max(spread.values(), default=0):.1f} medians of its layer"
    if zero := sum(one.zero for one in scales.values()):
        sound = sound.replace("none", f"{zero:,} of {sum(one.total for one in scales.values()):,}")
    if not scales:
        sound = "none that are read here"
    return check(SCALES, wrong, sound, f"not zero, at most {MOST_SPREAD} medians of the layer")


def _share(tensors: dict[str, Tensor], layers: Layers, quantization: Quantization) -> Check:
    """Say how much is quantized: a matter of taste, and no fault as long as some of it is."""
    linear = {one.weight.name for one in layers.all.values()}
    others = [one for n, one in tensors.items() if n not in linear and n not in layers.belonging]
    inside = layers.left
    ends = [one for name, one in layers.all.items() if name not in inside]
    whole = sum(one.numbers for one in others if one.is_whole)
    whole += sum(one.numbers for one in ends if not one.quantized)
    return Check(
        name=SHARE,
        value=completeness.share(layers, quantization, whole),
        wanted="any share",
        ok=True,
    )


def _complete(
    tensors: dict[str, Tensor],
    layers: Layers,
    quantization: Quantization | None,
    config: Mapping[str, Any],
    beside: _Baseline | None,
) -> Check:
    present = {*tensors, *_weights_of(layers)}
    if beside:
        missing = completeness.missing_beside(present, beside.tensors, config)
        required = sum(completeness.is_required(one) for one in beside.tensors.values())
        sound, wanted = f"all {required} tensors of the baseline", "every layer of the baseline"
    else:
        missing = completeness.missing_alone(tensors, layers, config)
        sound, wanted = "every block has what the others have", "all that config.json describes"
    if quantization:
        sound += f", {len(layers.quantized)} of them quantized"
        if not layers.quantized and quantization.understood:
            missing = ["no layer is quantized", *missing]
    return check(COMPLETE, missing, sound, wanted)


def _size(
    tensors: dict[str, Tensor],
    baseline: dict[str, Tensor],
    quantization: Quantization,
    config: Mapping[str, Any],
) -> Check:
    tied = bool(config.get("tie_word_embeddings"))
    needed = [one for n, one in baseline.items() if _counts(one) and not (tied and n == _TIED)]
    extra = [tensors[_TIED]] if tied and _TIED in tensors else []
    real = sum(tensor.size for tensor in tensors.values())
    schemes, left = Schemes(quantization), Targets(quantization.ignored)
    expected = sum(_expected_bytes(tensor, schemes, left) for tensor in [*needed, *extra])
    ok = abs(real - expected) <= SIZE_TOLERANCE * expected
    return Check(
        name=SIZE,
        value=wording.size(real),
        wanted=f"{wording.size(expected)} ± {SIZE_TOLERANCE:.0%}",
        ok=ok,
    )


def _expected_bytes(tensor: Tensor, schemes: Schemes, left: Targets) -> float:
    name, numbers = tensor.name.removesuffix(".weight"), float(tensor.numbers)
    if not _is_linear(tensor) or left.has(name, anywhere=True):
        return 2 * numbers
    scheme = schemes.of(name)
    bits = scheme.bits or 16
    group = scheme.group_size or tensor.shape[1]
    # For each group a scale of 16 bits and a zero as wide as a weight.
    return numbers * (bits + (16 + bits) / group) / 8


def _is_linear(tensor: Tensor) -> bool:
    """Tell whether a quantizer takes it: a matrix inside a numbered block, no router of experts."""
    numbered = any(part.isdigit() for part in tensor.name.split("."))
    return completeness.is_required(tensor) and numbered and len(tensor.shape) == 2 and not (
        tensor.name.endswith(("gate.weight", ".bias"))
    )  # fmt: skip


def _counts(tensor: Tensor) -> bool:
    return tensor.is_whole and tensor.name.endswith((".weight", ".bias"))
