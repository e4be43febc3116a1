"""How a checkpoint is quantized, read from its own files, whoever made it with whatever.

statement   where it is said, and whether it is said in two ways
fields      values read as far as they make sense
schemes     what each method's words mean
made_with   the program that quantized it
"""

from __future__ import annotations

from pathlib import Path

from infra.contracts.records import Quantization
from infra.models.place import Read, in_folder
from infra.models.quantization import statement
from infra.models.quantization.fields import Fields
from infra.models.quantization.made_with import made_with
from infra.models.quantization.schemes import METHODS, anything

__all__ = ["in_files", "of"]

_ENGINE_NAMES = {
    "compressed_tensors": "compressed-tensors", "auto-round": "inc", "auto_round": "inc",
    "autoround": "inc", "intel/auto-round": "inc", "auto_awq": "awq", "awq_marlin": "awq",
    "auto_gptq": "gptq", "gptq_marlin": "gptq", "marlin": "gptq", "bnb": "bitsandbytes",
}  # fmt: skip
"""What configurations call methods besides the engine's name for them."""

_MODELOPT = {
    "NVFP4": "modelopt_fp4", "W4A16_NVFP4": "modelopt_fp4", "MXFP8": "modelopt_mxfp8",
    "MIXED_PRECISION": "modelopt_mixed",
}  # fmt: skip

_SHOWN_BY = (
    ("quant_algo", "modelopt"), ("quantization", "modelopt"),
    ("config_groups", "compressed-tensors"), ("load_in_4bit", "bitsandbytes"),
    ("load_in_8bit", "bitsandbytes"), ("global_quant_config", "quark"), ("w_bit", "awq"),
    ("desc_act", "gptq"), ("damp_percent", "gptq"), ("autoround_version", "inc"),
    ("zero_point", "awq"), ("weight_block_size", "fp8"), ("activation_scheme", "fp8"),
)  # fmt: skip
"""Fields that only one method has, for configurations that name none."""


def of(folder: Path) -> Quantization | None:
    """Return how the checkpoint in a folder is quantized; none if its files say nothing of it."""
    return in_files(in_folder(folder).read)


def in_files(read: Read) -> Quantization | None:
    """Return how a checkpoint is quantized; none if its files say nothing of it.

    Nothing is refused: what is not understood is in the record, as sentences.

    Args:
        read: Reads a file of the checkpoint by its name, wherever it lies.
    """
    found = statement.find(read)
    if found is None:
        return None
    fields = Fields(found.values, found.doubts)
    method = _method(fields)
    reader = METHODS.get(method)
    said = (reader or anything)(fields)
    if reader is None:
        fields.doubt(f"the method {method!r} is unknown")
    return Quantization(
        method=method,
        understood=reader is not None,
        format=said.format,
        schemes=said.schemes,
        ignored=said.ignored,
        kv_cache=said.kv_cache,
        rotated=said.rotated,
        made_with=made_with(fields, method),
        files=tuple(found.files),
        doubts=tuple(dict.fromkeys(found.doubts)),
    )


def _method(fields: Fields) -> str:
    """Return the engine's name of the method."""
    written = fields.text("quant_method")
    name = (written or "").lower()
    name = _ENGINE_NAMES.get(name, name)
    if not name:
        name = next((method for field, method in _SHOWN_BY if field in fields), "unnamed")
        if name != "modelopt" or "producer" not in fields:
            guess = "" if name == "unnamed" else f"; by its fields it is {name}"
            fields.doubt(f"quant_method is missing{guess}")
    if name == "modelopt":
        inner = fields.object("quantization") if fields.raw("quantization") else fields
        name = _MODELOPT.get((inner.text("quant_algo") or "").upper(), name)
    return name
