"""How a checkpoint holds its weights, and where it comes from, as its own files say."""

from __future__ import annotations

import re
from typing import Literal

from infra.contracts.records.record import Record

_NAMES = {
    "fbgemm_fp8": "FBGEMM FP8", "inc": "AutoRound", "modelopt": "ModelOpt",
    "modelopt_fp4": "ModelOpt", "modelopt_mxfp8": "ModelOpt", "modelopt_mixed": "ModelOpt",
    "quark": "Quark", "gpt_oss_mxfp4": "MXFP4",
}  # fmt: skip
"""Engine's name of a method → the field's, where that is another."""

_ABBREVIATION = 5
"""Letters of the longest name that is one: those are written in capitals."""

_PATTERN = re.compile(r"[*?^$\[\](){}|\\]|^re:")
_MOST_NAMED = 2


class QuantizationScheme(Record):
    """How some layers hold their weights, and what becomes of their inputs."""

    targets: tuple[str, ...] = ()
    """Names, patterns or classes of its layers, as written; empty: all that no other one names."""

    bits: int | None = None
    """Of one weight."""

    number: str | None = None
    """What those bits are: `int`, `float`, or the name of a table of numbers such as `nf4`."""

    per: Literal["tensor", "channel", "group", "block"] | None = None
    """What shares a scale: the whole weight, each row (output) of it, some inputs of a row, or a
    block of rows and inputs."""

    group_size: int | None = None
    """Inputs that share a scale; none where that is not so many of one row."""

    block: tuple[int, int] | None = None
    """Rows and inputs that share a scale."""

    symmetric: bool | None = None
    """False where each scale has a zero point beside it."""

    act_order: bool | None = None
    """Whether inputs were quantized in the order of their activations, and so are stored in groups
    that are scattered over the row (`desc_act`)."""

    activation_bits: int | None = None
    """Of one input of the layer; none where inputs stay as the engine computes."""

    activation_number: str | None = None
    """What those bits are: `int` or `float`."""

    activation_dynamic: bool | None = None
    """Whether scales of the inputs are found while serving; false: they are in the checkpoint."""

    @property
    def phrase(self) -> str:
        """The scheme in some words, such as `4-bit, groups of 128, zero points`."""
        weights = _bits(self.bits, self.number, self.group_size)
        activations = _bits(self.activation_bits, self.activation_number, None)
        how = {True: " (dynamic)", False: " (static)"}.get(self.activation_dynamic, "")  # type: ignore[arg-type]
        same = bool(activations) and weights == activations == "FP8"
        parts = [weights + how if same else weights]
        if self.per == "group" and self.group_size and weights not in {"NVFP4", "MXFP4", "MXFP8"}:
            parts.append(f"groups of {self.group_size}")
        elif self.block:
            parts.append(f"blocks of {self.block[0]} × {self.block[1]}")
        elif self.per == "channel":
            parts.append("one scale a channel")
        parts.append("zero points" if self.symmetric is False else "")
        parts.append("act-order" if self.act_order else "")
        parts.append(f"{activations} activations{how}" if activations and not same else "")
        return ", ".join(part for part in parts if part)


class Quantization(Record):
    """How a checkpoint is quantized, as its own files say it."""

    schema_version: Literal[1] = 1
    method: str
    """The engine's name for it; as it is written where it is unknown here."""

    understood: bool
    """Whether the method is read here; else only fields were that any method may have."""

    format: str | None = None
    """How the numbers are packed, as written: `gemm`, `pack-quantized`, `nf4`, …"""

    schemes: tuple[QuantizationScheme, ...] = ()
    """One, or as many as there are kinds of layers; empty where nothing is said about weights."""

    ignored: tuple[str, ...] = ()
    """Names and patterns of layers that are left as they are, as written."""

    kv_cache: str | None = None
    """What its key-value cache shall be, such as `FP8`; none if it says nothing of it."""

    rotated: bool = False
    """Whether weights were multiplied by matrices first, so that none is like the original's."""

    bits_per_weight: float | None = None
    """Mean over all weights, for formats that mix several."""

    made_with: str | None = None
    """Program that quantized it, with its version where that is stated."""

    files: tuple[str, ...] = ()
    """What all of this was read from, the first one decides."""

    doubts: tuple[str, ...] = ()
    """What is not understood, odd, or said in two ways; sentences for people."""

    @property
    def name(self) -> str:
        """The method as people write it."""
        short = self.understood and len(self.method) <= _ABBREVIATION
        return _NAMES.get(self.method) or (self.method.upper() if short else self.method)

    @property
    def description(self) -> str:
        """One short phrase, such as `GPTQ 4-bit, groups of 128, act-order`."""
        name = self.name if self.understood else f"{self.name} (unknown method)"
        phrases = list(dict.fromkeys(filter(None, (one.phrase for one in self.schemes))))
        if len(phrases) > 1:
            what = f"{name}, {len(phrases)} schemes ({'; '.join(phrases)})"
        elif phrases:
            last = name.rpartition(" ")[2]  # "FP8" of "FBGEMM FP8" is in the phrase as well
            between = " " if self.schemes[0].bits else ", "
            what = f"{name}{between}{phrases[0].removeprefix(last).strip()}".rstrip()
        else:
            what = name
        if self.bits_per_weight and self.format:
            what += f" {self.format}, {self.bits_per_weight:.2f} bits a weight"
        if self.format in {"nf4", "fp4"}:
            what += f" ({self.format})"
        cache = f", {self.kv_cache} KV cache" if self.kv_cache else ""
        return what + cache + _left(self.ignored)


class Origin(Record):
    """Which model a checkpoint was made from, and by whom, as its own files say: nobody's proof."""

    base_models: tuple[str, ...] = ()
    """Ids, or paths where only those are written."""

    relation: str | None = None
    """As the card has it: `quantized`, `finetune`, `merge`, `adapter`."""

    said_by: str | None = None
    """File that names the base model."""

    made_by: str | None = None
    """Who quantized it, if the card says so."""


def _bits(bits: int | None, number: str | None, group: int | None) -> str:
    if bits is None:
        return ""
    if number == "float":
        groups = {(4, 16): "NVFP4", (4, 32): "MXFP4", (8, 32): "MXFP8"}
        return groups.get((bits, group or 0), "FP8" if bits == 8 else f"{bits}-bit float")
    return f"{bits}-bit"


def _left(ignored: tuple[str, ...]) -> str:
    if not ignored:
        return ""
    if len(ignored) == 1:
        return f", {ignored[0]} left as it is"
    if len(ignored) <= _MOST_NAMED:
        return f", {' and '.join(ignored)} left as they are"
    what = "patterns of layers" if any(_PATTERN.search(one) for one in ignored) else "layers"
    return f", {len(ignored)} {what} left as they are"
