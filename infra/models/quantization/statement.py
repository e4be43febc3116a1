"""Where a checkpoint says that it is quantized: several programs, several files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.models.place import Read

_CONFIG = "config.json"
_BESIDE = (
    "hf_quant_config.json",  # ModelOpt
    "quantize_config.json",  # AutoGPTQ, GPTQModel
    "quant_config.json",  # early checkpoints of 4 bits
    "quantization_config.json",  # AutoRound
)
_NESTED = ("text_config", "llm_config", "language_config")
_SAME = (
    ("bits", "w_bit", "num_bits"), ("group_size", "q_group_size"), ("desc_act",), ("sym",),
    ("zero_point",), ("quant_algo",), ("quant_method",),
)  # fmt: skip
"""Fields, each with its other names, that two files must not say in two ways."""


@dataclass
class Statement:
    """What a checkpoint says of its quantization."""

    values: Mapping[str, Any]
    files: list[str] = field(default_factory=list)
    """The one that decides first; the others say the same, or doubts say what not."""
    doubts: list[str] = field(default_factory=list)


def find(read: Read) -> Statement | None:
    """Return what a checkpoint says of its quantization; none if it says nothing of any.

    The engine looks into config.json, there at the top, then into the part of a model of several
    kinds of input that is its language model; what other files say is taken if there is nothing.

    Args:
        read: Reads a file of the checkpoint by its name.
    """
    doubts: list[str] = []
    config = _object(read, _CONFIG, doubts) or {}
    said: list[tuple[str, Mapping[str, Any]]] = []
    for prefix, part in (("", config), *((f"{n}.", config.get(n)) for n in _NESTED)):
        if not isinstance(part, Mapping):
            continue
        for key in ("quantization_config", "compression_config"):
            value = part.get(key)
            if isinstance(value, Mapping) and value:
                said.append((f"{_CONFIG}: {prefix}{key}", value))
            elif value:
                doubts.append(f"{_CONFIG}: {prefix}{key} is no object: {str(value)[:60]!r}")
    for name in _BESIDE:
        if found := _object(read, name, doubts):
            said.append((name, found))
    if not said:
        return None
    (first, values), *others = said
    if not first.startswith(_CONFIG):
        doubts.append(f"only {first} says that it is quantized, {_CONFIG} says nothing of it")
    for name, other in others:
        doubts += _contradictions(first, values, name, other)
    return Statement(values, [name for name, _ in said], doubts)


def _object(read: Read, name: str, doubts: list[str]) -> Mapping[str, Any] | None:
    content = read(name)
    if content is None:
        return None
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except ValueError:
        doubts.append(f"{name} is no JSON")
        return None
    if isinstance(found, Mapping):
        return found
    doubts.append(f"{name} is no JSON object")
    return None


def _contradictions(
    first: str, values: Mapping[str, Any], name: str, other: Mapping[str, Any]
) -> list[str]:
    ours, theirs = _flat(values), _flat(other)
    found = []
    for keys in _SAME:
        one = next((ours[key] for key in keys if ours.get(key) is not None), None)
        two = next((theirs[key] for key in keys if theirs.get(key) is not None), None)
        if one is not None and two is not None and str(one).lower() != str(two).lower():
            found.append(f"{name} says {keys[0]} is {two!r}, {first} says {one!r}")
    return found


def _flat(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ModelOpt's settings, which stand one level deeper, beside the others."""
    inner = values.get("quantization")
    return {**values, **inner} if isinstance(inner, Mapping) else values
