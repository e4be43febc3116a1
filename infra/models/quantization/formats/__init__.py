"""The formats of quantized checkpoints, one module each: what its configuration's words mean.

`NAMES` are what configurations call it, the engine's own name first; `SHOWN_BY` are fields that no
other format has; `read` returns what a configuration says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from infra.models.quantization.fields import Fields
from infra.models.quantization.formats import (
    anything,
    auto_round,
    awq,
    bitsandbytes,
    compressed_tensors,
    fp8,
    gguf,
    gptq,
    modelopt,
    mxfp,
    quark,
    torchao,
)
from infra.models.quantization.formats.shared import Said

__all__ = ["Said", "name_of", "read_anything", "reader_of"]

_READ: Mapping[str, Callable[[Fields], Said]] = {
    awq.NAMES[0]: awq.read,
    gptq.NAMES[0]: gptq.read,
    auto_round.NAMES[0]: auto_round.read,
    fp8.NAMES[0]: fp8.read,
    fp8.NAMES_OF_FBGEMM[0]: fp8.read_fbgemm,
    compressed_tensors.NAMES[0]: compressed_tensors.read,
    **dict.fromkeys(modelopt.NAMES, modelopt.read),
    bitsandbytes.NAMES[0]: bitsandbytes.read,
    gguf.NAMES[0]: gguf.read,
    quark.NAMES[0]: quark.read,
    **dict.fromkeys(mxfp.NAMES_OF_4, mxfp.read_4),
    mxfp.NAMES_OF_8[0]: mxfp.read_8,
    torchao.NAMES[0]: torchao.read,
}
"""The engine's name of a method → what reads its configuration."""

_ONE_NAME = (awq, gptq, auto_round, compressed_tensors, bitsandbytes)
_ENGINE_NAMES: dict[str, str] = {name: form.NAMES[0] for form in _ONE_NAME for name in form.NAMES}
"""What configurations call methods → the engine's name for them."""

_BY_FIELDS = (
    modelopt, compressed_tensors, bitsandbytes, quark, gptq, auto_round, awq, fp8
)  # fmt: skip
"""Formats that fields of their own show, those first whose fields leave no doubt."""


def reader_of(method: str) -> Callable[[Fields], Said] | None:
    """Return what reads a method's configuration; none if the method is unknown."""
    return _READ.get(method)


def read_anything(fields: Fields) -> Said:
    """Return what most methods' fields say of one that is unknown."""
    return anything.read(fields)


def name_of(fields: Fields) -> str:
    """Return the engine's name of the method; where none is written, a doubt says so."""
    written = (fields.text("quant_method") or "").lower()
    name = _ENGINE_NAMES.get(written, written)
    if not name:
        shown = (form.NAMES[0] for form in _BY_FIELDS if any(f in fields for f in form.SHOWN_BY))
        name = str(next(shown, "unnamed"))
        if name != modelopt.NAMES[0] or "producer" not in fields:
            guess = "" if name == "unnamed" else f"; by its fields it is {name}"
            fields.doubt(f"quant_method is missing{guess}")
    if name == modelopt.NAMES[0]:
        name = modelopt.own_name(fields) or name
    return name
