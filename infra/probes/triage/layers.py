"""The layers of a checkpoint: which are quantized, in which layout, and what is wrong with them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from infra.contracts.records import Quantization, QuantizationScheme
from infra.probes.triage import packing
from infra.probes.triage.packing import Packing, Sample
from infra.probes.triage.targets import Schemes
from infra.probes.triage.tensors import Array, Tensor, floats, rows_of

_MAIN = ("qweight", "weight_packed", "weight")
"""Parts that hold the levels, one of them for each quantized layer."""

_BESIDE = {
    "qzeros", "scales", "g_idx", "weight_scale", "weight_scale_inv", "weight_scale_2",
    "weight_zero_point", "weight_shape", "weight_g_idx", "weight_global_scale",
}  # fmt: skip
"""Parts that no layer has but a quantized one, beside its levels."""

_SCALE = re.compile(r"(?i)(.*_)?(scales?|absmax|scb)(_inv|_2)?")
_TABLES = re.compile(
    r"(?P<module>.+)\.(?P<part>weight\.((nested_)?(absmax|quant_map)|quant_state\..+))"
)
"""What bitsandbytes puts beside a weight."""
_EXPERTS = re.compile(r"(?P<module>.+\.experts\..+)_(?P<part>blocks|scales)")
"""MXFP4 for all experts of a block at once."""
_LEVELS = {"I8", "U8", "I32", "I16", "U16", "U32", "F8_E4M3", "F8_E5M2", "F4"}
_BLOCK = re.compile(r"\.\d+\.")

_ALL_EQUAL = 64
"""Scales of a layer that are not all equal by chance: each is as large as its largest weight."""

_USUAL = 0.9
"""Share of layers with a part, from which on those without it lack it."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One linear layer."""

    name: str
    weight: Tensor
    """Its levels, or its numbers if it is not quantized."""

    packing: Packing | None
    """How to read them; none if that is not decoded here, or if it is not quantized."""

    scales: tuple[Tensor, ...] = ()
    """All scales it has."""

    bits: int | None = None
    """Of one weight, by the configuration or by the layout."""

    @property
    def quantized(self) -> bool:
        """Whether it is."""
        return not self.weight.is_whole

    @property
    def shape(self) -> tuple[int, int] | None:
        """Outputs and inputs; none where files do not show them."""
        if self.packing:
            return self.packing.shape.outputs, self.packing.shape.inputs
        if self.quantized or len(self.weight.shape) != 2:
            return None
        return self.weight.shape[0], self.weight.shape[1]

    @property
    def numbers(self) -> int:
        """How many weights it has, as far as files show it."""
        if self.shape:
            return self.shape[0] * self.shape[1]
        if self.quantized and self.bits and self.weight.dtype != "F8_E4M3":
            return self.weight.size * 8 // self.bits
        return self.weight.numbers

    def sample(self, rows: Array) -> Sample | None:
        """Decode the weights of some outputs, ascending; none if they are not decoded here."""
        if self.packing:
            return self.packing.sample(rows)
        if self.quantized:
            return None
        values = floats(rows_of(self.weight, rows), self.weight.dtype).astype(np.float32)
        return Sample(values, np.zeros((1, 1), np.float32))


@dataclass
class Layers:
    """All linear layers of a checkpoint."""

    all: dict[str, Layer] = field(default_factory=dict)
    belonging: set[str] = field(default_factory=set)
    """Names of all tensors of quantized layers."""

    torn: list[str] = field(default_factory=list)
    """Layers that lack a part, with its name."""

    misshapen: list[str] = field(default_factory=list)
    """Layers that are not what the configuration says, with the reason."""

    @property
    def quantized(self) -> dict[str, Layer]:
        """Those that are."""
        return {name: layer for name, layer in self.all.items() if layer.quantized}

    @property
    def left(self) -> dict[str, Layer]:
        """Those inside of blocks that are not quantized."""
        return {
            name: layer
            for name, layer in self.all.items()
            if not layer.quantized and _BLOCK.search(f".{name}.")
        }

    @property
    def layouts(self) -> Counter[str]:
        """How many quantized layers have which layout; `""`: they are not decoded here."""
        packings = (layer.packing for layer in self.quantized.values())
        return Counter(packing.layout if packing else "" for packing in packings)


@dataclass(frozen=True, slots=True)
class Scales:
    """What the scales of one layer are."""

    zero: int
    """How many are zero."""

    not_finite: int
    total: int
    median: float
    largest: float
    all_equal: bool
    """Whether there are many and all are the same. Of powers of two that may be so by chance; that
    all are one is what a layer has whose scales were never filled in."""


def layers_of(tensors: Mapping[str, Tensor], quantization: Quantization | None) -> Layers:
    """Return the linear layers of a checkpoint, quantized or not."""
    found, modules, schemes = Layers(), _modules(tensors), Schemes(quantization)
    usual = _usual_parts(modules) if quantization and len(quantization.schemes) == 1 else {}
    for name, parts in modules.items():
        main = next((parts[part] for part in _MAIN if part in parts), None)
        if main is None and quantization and not packing.knows(quantization.method):
            main = _largest(parts)
        beside = {part for part in parts if part in _BESIDE or part.startswith("weight.")}
        if main is None:
            if beside:
                found.torn.append(f"{name} (no weight)")
        elif main.is_whole:
            if len(main.shape) == 2:
                found.all[name] = Layer(name, main, None)
        elif main.dtype in _LEVELS:
            found.belonging.update(tensor.name for tensor in parts.values())
            scales = tuple(tensor for part, tensor in parts.items() if _is_scale(part, tensor))
            lacking = sorted(usual.get(_kind(parts), set()) - set(parts))
            if not scales and not any(_is_scale(part) for part in parts):
                lacking = lacking or ["scales"]
            if lacking:
                found.torn.append(f"{name} (no {', '.join(lacking)})")
            _add(found, name, main, parts, scales, schemes, quantization, torn=bool(lacking))
    return found


def _add(
    found: Layers,
    name: str,
    main: Tensor,
    parts: Mapping[str, Tensor],
    scales: tuple[Tensor, ...],
    schemes: Schemes,
    quantization: Quantization | None,
    *,
    torn: bool,
) -> None:
    scheme = schemes.of(name)
    form = quantization.format if quantization else None
    packed = packing.read(parts, scheme, form)
    bits = packed.shape.bits if packed else scheme.bits
    if quantization and not torn and (why := _misfit(packed, parts, scheme, quantization)):
        found.misshapen.append(f"{name} ({why})")
        packed = None
    found.all[name] = Layer(name, main, packed, scales, bits)


def _modules(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return layers by name, each with its parts by name."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if match := _TABLES.fullmatch(name):
            module, part = match["module"], match["part"]
        elif match := _EXPERTS.fullmatch(name):
            module = match["module"]
            part = {"blocks": "weight", "scales": "weight_scale"}[match["part"]]
        else:
            module, _, part = name.rpartition(".")
        found.setdefault(module, {})[part] = tensor
    return found


def _largest(parts: Mapping[str, Tensor]) -> Tensor | None:
    """Return what most probably holds the levels of a layer, whatever its method calls them."""
    many = [one for one in parts.values() if one.dtype in _LEVELS and len(one.shape) > 1]
    return max(many, key=lambda one: one.size, default=None)


def _kind(parts: Mapping[str, Tensor]) -> str:
    return next((f"{part} {parts[part].dtype}" for part in _MAIN if part in parts), "")


def _usual_parts(modules: Mapping[str, Mapping[str, Tensor]]) -> dict[str, set[str]]:
    """Return the parts that nearly all quantized layers of a kind have."""
    counts: dict[str, Counter[str]] = {}
    total: Counter[str] = Counter()
    for parts in modules.values():
        kind = _kind(parts)
        total[kind] += 1
        named = (part for part in parts if part in _BESIDE or part.startswith("weight."))
        counts.setdefault(kind, Counter()).update(named)
    return {
        kind: {part for part, count in found.items() if count >= _USUAL * total[kind]}
        for kind, found in counts.items()
    }


def _is_scale(part: str, tensor: Tensor | None = None) -> bool:
    named = _SCALE.fullmatch(part.removeprefix("weight.")) is not None
    return named and (tensor is None or tensor.is_float)


def _misfit(
    packed: Packing | None,
    parts: Mapping[str, Tensor],
    scheme: QuantizationScheme,
    quantization: Quantization,
) -> str:
    """Say why a layer is not what the configuration says; empty if it is, or if nobody knows."""
    if packed is None:
        decoded = packing.is_decoded(quantization.method, quantization.format)
        shapes = ", ".join(f"{part} {_shape(one)}" for part, one in sorted(parts.items()))
        return f"shapes do not fit each other: {shapes}" if decoded else ""
    layout = packing.layout_of(quantization.method)
    if layout and packed.layout != layout:
        return f"packed as {packed.layout}"
    shape = packed.shape
    if scheme.bits and shape.bits != scheme.bits:
        return f"{shape.bits} bits, not {scheme.bits}"
    group = None if shape.group is None or shape.group >= shape.inputs else shape.group
    if scheme.per == "group" and scheme.group_size not in {group, shape.group}:
        return f"groups of {group}, not {scheme.group_size}"
    if scheme.per == "channel" and group:
        return f"groups of {group}, not one scale a row"
    return ""


def _shape(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {tensor.dtype}"


def look_at_scales(layer: Layer) -> Scales | None:
    """Measure the scales of a layer; none if it has none that are numbers."""
    scales = [layer.packing.scale] if layer.packing else list(layer.scales)
    read = [packing.scales_of(one).ravel() for one in scales]
    if not read:
        return None
    values = np.concatenate(read).astype(np.float64)
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    return Scales(
        zero=int(np.count_nonzero(values == 0)),
        not_finite=int(np.count_nonzero(~np.isfinite(values))),
        total=int(values.size),
        median=float(np.median(sizes)) if sizes.size else 0.0,
        largest=float(sizes.max()) if sizes.size else 0.0,
        all_equal=len(read) == 1
        and values.size >= _ALL_EQUAL
        and bool((values == values[0]).all())
        and (values[0] == 1 or abs(np.frexp(values[0])[0]) != 0.5),
    )
