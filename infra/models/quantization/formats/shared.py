"""What methods have in common: how a configuration's words become schemes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from infra.contracts.records import QuantizationScheme
from infra.models.quantization.fields import Fields

Per = Literal["tensor", "channel", "group", "block"]


@dataclass(frozen=True)
class Said:
    """What a method's configuration says."""

    schemes: tuple[QuantizationScheme, ...] = ()
    ignored: tuple[str, ...] = ()
    format: str | None = None
    kv_cache: str | None = None
    rotated: bool = False
    bits_per_weight: float | None = None


def shared_by(
    group: int | None, otherwise: Per | None = "channel"
) -> tuple[Per | None, int | None]:
    """Return what shares a scale, and how many inputs of a row: -1 says all of them."""
    if group is not None and group > 0:
        return "group", group
    return (None if group is None else otherwise), None


def integers(fields: Fields, *, targets: tuple[str, ...] = (), **more: Any) -> QuantizationScheme:
    """Return a scheme of whole numbers in groups, as most methods of 2 to 8 bits write it."""
    per, group = shared_by(fields.integer("group_size", "q_group_size"))
    return QuantizationScheme(
        targets=targets,
        bits=fields.integer("bits", "w_bit", "num_bits"),
        number="int",
        per=per,
        group_size=group,
        **more,
    )


def number_type(name: str | None) -> tuple[int | None, str | None]:
    """Return bits and kind of a type by its name: `int4`, `fp8_e4m3`, `Float8WeightOnlyConfig`."""
    found = re.search(r"(?i)(u?int|nf|(?:mx|nv)?fp|float|bf)_?(\d+)", name or "")
    if not found:
        return None, None
    kind = found.group(1).lower()
    number = "int" if "int" in kind else kind if kind == "nf" else "float"
    return int(found.group(2)), f"nf{found.group(2)}" if number == "nf" else number


def joined(schemes: Iterable[QuantizationScheme]) -> tuple[QuantizationScheme, ...]:
    """Return schemes, each of them once with all its targets: often there is one a layer."""
    found: dict[QuantizationScheme, list[tuple[str, ...]]] = {}
    for scheme in schemes:
        bare = scheme.model_copy(update={"targets": ()})
        found.setdefault(bare, []).append(scheme.targets)
    return tuple(
        # What is for all layers that are not named is so whatever else it is named for.
        bare.model_copy(update={"targets": tuple(chain(*targets)) if all(targets) else ()})
        for bare, targets in found.items()
    )


def cache_of(fields: Fields) -> str | None:
    """Return what the key-value cache shall be; none if nothing is said of it."""
    bits = fields.integer("num_bits")
    if bits is None:
        return None
    return "FP8" if (bits, fields.text("type")) == (8, "float") else f"{bits}-bit"
