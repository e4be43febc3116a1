"""Looks at a quantized checkpoint on disk, beside the baseline's own weights. No engine.

The bounds are wide: a sound checkpoint is far inside of them, a broken one far outside.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from infra.contracts import wording
from infra.contracts.errors import WeightsError
from infra.contracts.progress import Progress
from infra.contracts.records import Check
from infra.models.files import choose, is_weight
from infra.models.place import in_folder
from infra.probes.triage.layers import (
    BITS,
    Layer,
    Likeness,
    Scales,
    compare,
    count_not_finite,
    is_misshapen,
    layers_of,
    look_at_scales,
)
from infra.probes.triage.tensors import Tensor, tensors_of
from infra.store.file_digests import tell_bytes

FINITE, SHAPES, COMPLETE = "tensors finite", "shapes", "layers complete"
SCALES, WEIGHTS, SIZE = "scales", "weights those of the baseline", "size on disk"

MOST_SPREAD = 1000
"""Largest scale of a layer, in medians of it. A scale is a fifteenth of what a group of weights
spans, so its spread is that of the weights: 5 in the sample model. Weights with heavy outliers
reach some dozens. A thousand leaves no level for the other weights of such a group."""

LEAST_SIGNS = 0.9
"""Share of signs that a layer keeps. AWQ turns none: 1.0 if it is the layer, 0.5 if another."""

MAGNITUDE = 20.0
"""How many times larger or smaller the median weight may be. AWQ divides what it multiplies:
0.7 to 1.05 in the sample model."""

SIZE_TOLERANCE = 0.03
_NAMED = 3
_TIED = "lm_head.weight"


@dataclass
class _Measured:
    not_finite: list[str] = field(default_factory=list)
    scales: dict[str, Scales] = field(default_factory=dict)
    likeness: dict[str, Likeness] = field(default_factory=dict)


def look(folder: Path, baseline: Iterable[Path], progress: Progress) -> tuple[Check, ...]:
    """Look at every tensor of a checkpoint and return what was found.

    Args:
        folder: The checkpoint.
        baseline: Safetensors files of the model it was made from. If it has none, only pickles,
            then the checkpoint is looked at by itself.
        progress: Told about bytes.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    recipe = config["quantization_config"]
    try:
        names = [path.name for path in folder.iterdir()]
        chosen = choose(names, in_folder(folder), allow_pickle=False, trust_remote_code=False)
        weights = [folder / name for name in chosen if is_weight(name)]
        tensors = tensors_of(weights)
        theirs = _renamed(tensors_of(baseline), tensors)
    except WeightsError as error:
        return (_check(SHAPES, [f"{error.fact} {error.cause}".strip()], "", "whole files"),)
    layers, torn = layers_of(tensors)
    group_size = recipe["group_size"]
    misshapen = [name for name, layer in layers.items() if is_misshapen(layer, group_size)]
    whole = {name: layer for name, layer in layers.items() if name not in misshapen}
    measured = _measure(tensors, whole, theirs, progress)
    sound = f"{len(whole)} layers of {BITS} bits in groups of {group_size}"
    checks = [
        _check(FINITE, measured.not_finite, f"all {len(tensors)}", "no NaN, no infinity"),
        _check(SHAPES, [*misshapen, *torn], sound, f"groups of {group_size}, {BITS} bits packed"),
        _scales(measured.scales),
    ]
    if theirs:
        tied = bool(config.get("tie_word_embeddings"))
        kept = tuple(recipe.get("modules_to_not_convert") or ())
        needed = {n: t for n, t in theirs.items() if _counts(t) and not (tied and n == _TIED)}
        extra = [tensors[_TIED]] if tied and _TIED in tensors else []
        checks += [
            _complete(tensors, layers, needed),
            _weights(measured.likeness),
            _size(tensors, [*needed.values(), *extra], group_size, kept),
        ]
    return tuple(checks)


def _renamed(baseline: dict[str, Tensor], ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the baseline's tensors under our names: some models come without their prefix."""
    known = {*ours, *(f"{name}.weight" for name in layers_of(ours)[0])}
    bare = {name.partition(".")[2]: name for name in known}
    return {name if name in known else bare.get(name, name): baseline[name] for name in baseline}


def _measure(
    tensors: dict[str, Tensor],
    layers: dict[str, Layer],
    baseline: dict[str, Tensor],
    progress: Progress,
) -> _Measured:
    found = _Measured()
    total, done = sum(tensor.size for tensor in tensors.values()), 0
    for name, tensor in tensors.items():
        if tensor.is_float and count_not_finite(tensor):
            found.not_finite.append(name)
        layer_name, _, part = name.rpartition(".")
        if part == "qweight" and layer_name in layers:
            layer, weight = layers[layer_name], baseline.get(f"{layer_name}.weight")
            found.scales[layer_name] = look_at_scales(layer)
            if weight is not None and weight.is_float:
                same = weight.shape == (layer.outputs, layer.inputs)
                likeness = compare(layer, weight) if same else Likeness(0.0, 1.0)
                if likeness is not None:
                    found.likeness[layer_name] = likeness
        done += tensor.size
        tell_bytes(progress, "looking at tensors", done, total)
    return found


def _scales(scales: dict[str, Scales]) -> Check:
    wrong = [
        f"{name} ({one.not_positive} of {one.total} not positive)"
        for name, one in scales.items()
        if one.not_positive
    ]
    spread = {n: one.largest / one.median for n, one in scales.items() if one.median}
    wrong += [f"{n} (largest {x:.0f} medians)" for n, x in spread.items() if x > MOST_SPREAD]
    sound = f"all positive, largest {max(spread.values(), default=0):.1f} medians of its layer"
    return _check(SCALES, wrong, sound, f"positive, at most {MOST_SPREAD} medians of the layer")


def _complete(
    tensors: dict[str, Tensor], layers: dict[str, Layer], baseline: dict[str, Tensor]
) -> Check:
    present = {*tensors, *(f"{name}.weight" for name in layers)}
    required = [name for name, tensor in baseline.items() if _is_required(tensor)]
    missing = [name for name in required if name not in present]
    if not layers:
        missing = ["no layer is quantized", *missing]
    sound = f"all {len(required)} tensors of the baseline, {len(layers)} of them quantized"
    return _check(COMPLETE, missing, sound, "every layer of the baseline")


def _weights(likeness: dict[str, Likeness]) -> Check:
    wrong = [
        f"{name} ({one.signs:.0%} of signs, {one.magnitude:.2g} of the size)"
        for name, one in likeness.items()
        if one.signs < LEAST_SIGNS or not 1 / MAGNITUDE < one.magnitude < MAGNITUDE
    ]
    sound = "nothing to compare"
    if likeness:
        sizes = [one.magnitude for one in likeness.values()]
        lowest = min(one.signs for one in likeness.values())
        sound = f"at least {lowest:.1%} of signs, {min(sizes):.2f} to {max(sizes):.2f} of the size"
    return _check(
        WEIGHTS,
        wrong,
        sound,
        f"{LEAST_SIGNS:.0%} of signs in each layer, size within a factor of {MAGNITUDE:g}",
    )


def _size(
    tensors: dict[str, Tensor], baseline: Iterable[Tensor], group_size: int, kept: tuple[str, ...]
) -> Check:
    real = sum(tensor.size for tensor in tensors.values())
    expected = sum(_expected_bytes(tensor, group_size, kept) for tensor in baseline)
    ok = abs(real - expected) <= SIZE_TOLERANCE * expected
    return Check(
        name=SIZE,
        value=wording.size(real),
        wanted=f"{wording.size(expected)} ± {SIZE_TOLERANCE:.0%}",
        ok=ok,
    )


def _expected_bytes(tensor: Tensor, group_size: int, kept: tuple[str, ...]) -> float:
    numbers = float(tensor.numbers)
    if not _is_linear(tensor) or any(part in tensor.name for part in kept):
        return 2 * numbers
    # Four bits a weight; for each group a scale of 16 bits and a zero of four.
    return numbers * (BITS + (16 + BITS) / group_size) / 8


def _is_linear(tensor: Tensor) -> bool:
    """Tell whether AutoAWQ quantizes it: a matrix inside a numbered block, no router of experts."""
    numbered = any(part.isdigit() for part in tensor.name.split("."))
    return _is_required(tensor) and numbered and len(tensor.shape) == 2 and not (
        tensor.name.endswith(("gate.weight", ".bias"))
    )  # fmt: skip


def _is_required(tensor: Tensor) -> bool:
    """Tell whether a checkpoint has to have it: no table or mask that models compute anew."""
    return len(tensor.shape) in (1, 2) and tensor.name.endswith((".weight", ".bias"))


def _counts(tensor: Tensor) -> bool:
    return tensor.is_float and tensor.name.endswith((".weight", ".bias"))


def _check(name: str, wrong: list[str], sound: str, wanted: str) -> Check:
    more = [f"and {len(wrong) - _NAMED} more"] if len(wrong) > _NAMED else []
    value = "; ".join([*wrong[:_NAMED], *more]) or sound
    return Check(name=name, value=value, wanted=wanted, ok=not wrong)
