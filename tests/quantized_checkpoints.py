"""Checkpoints of a model in the formats that people quantize to, written without their programs.

Each weight is rounded to the nearest level. The packing is made of single bits, so that it shares
no code and no thought with what reads it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Array = Any
Raw = tuple[str, Array]
"""A type as safetensors spells it, and an array of the same bytes."""

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
KINDS = {"float16": "F16", "float32": "F32", "int32": "I32", "int64": "I64", "int8": "I8",
         "uint8": "U8"}  # fmt: skip


@dataclass(frozen=True)
class Format:
    """One way to quantize."""

    config: dict[str, Any]
    """`quantization_config`, or what stands in a file beside config.json."""

    layer: Callable[[Array], tuple[dict[str, Raw | Array], Array]]
    """Weight [outputs, inputs] → parts of the layer by name, and what they stand for."""

    beside: str = ""
    """File beside config.json that the configuration stands in."""

    decoded: bool = True
    extra: dict[str, Any] = field(default_factory=dict)


def write(model: Path, folder: Path, form: Format) -> Path:
    """Write a model's checkpoint in a format; the layers of its blocks are quantized."""
    tensors, _ = quantize(model, form)
    return write_tensors(model, folder, form, tensors)


def quantize(model: Path, form: Format) -> tuple[dict[str, Raw], dict[str, Array]]:
    """Return a checkpoint's tensors, and what each quantized layer stands for."""
    from safetensors.numpy import load_file

    tensors: dict[str, Raw] = {}
    meant: dict[str, Array] = {}
    for name, tensor in load_file(model / "model.safetensors").items():
        if name.endswith("_proj.weight"):
            layer = name.removesuffix(".weight")
            parts, meant[layer] = form.layer(tensor.astype(np.float32))
            tensors |= {f"{layer}.{part}": raw(value) for part, value in parts.items()}
        else:
            tensors[name] = raw(tensor.astype(np.float16))
    return tensors, meant


def write_tensors(model: Path, folder: Path, form: Format, tensors: dict[str, Raw]) -> Path:
    """Write a checkpoint that holds some tensors, whatever they are."""
    folder.mkdir(parents=True)
    for file in model.iterdir():
        if file.suffix == ".json":
            shutil.copy(file, folder)
    config = json.loads((model / "config.json").read_text())
    if form.beside:
        (folder / form.beside).write_text(json.dumps(form.config))
    else:
        config["quantization_config"] = form.config
    (folder / "config.json").write_text(json.dumps(config))
    save(tensors, folder / "model.safetensors")
    return folder


def save(tensors: dict[str, Raw], file: Path) -> None:
    """Write a safetensors file; numpy's own writer has no types of eight bits."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begin, blocks = 0, []
    for name, (kind, array) in tensors.items():
        block = np.ascontiguousarray(array).tobytes()
        shape = list(np.shape(array))
        header[name] = {
            "dtype": kind, "shape": shape, "data_offsets": [begin, begin + len(block)]
        }  # fmt: skip
        begin += len(block)
        blocks.append(block)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blocks))


def raw(value: Raw | Array) -> Raw:
    """Return a tensor with the name of its type."""
    return value if isinstance(value, tuple) else (KINDS[value.dtype.name], value)


# Packing.


def in_words(levels: Array, bits: int, *, dense: bool = False) -> Array:
    """Return levels of rows as 32-bit words, lowest bits first.

    Args:
        levels: [rows, levels].
        bits: Of one level.
        dense: Without gaps; else each word ends with bits that are not used.
    """
    rows, count = levels.shape
    per = 32 // bits
    if not dense:
        padded = np.zeros((rows, -(-count // per) * per), np.uint8)
        padded[:, :count] = levels
        each = single_bits(padded, bits).reshape(rows, -1, per * bits)
        whole = np.zeros((*each.shape[:2], 32), np.uint8)
        whole[..., : per * bits] = each
        flat = whole.reshape(rows, -1)
    else:
        flat = single_bits(levels, bits).reshape(rows, -1)
        flat = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 32)))
    return np.packbits(flat, axis=1, bitorder="little").view("<i4")


def single_bits(levels: Array, bits: int) -> Array:
    """Return each level as its bits, the lowest first."""
    levels = levels.astype(np.uint8)[..., None]
    return np.unpackbits(levels, axis=-1, count=bits, bitorder="little")


def awq_words(levels: Array) -> Array:
    """Return [rows, outputs] as words in AutoAWQ's order."""
    eights = levels.reshape(len(levels), -1, 8)[..., list(AWQ_ORDER)]
    return in_words(eights.reshape(levels.shape), 4)


# Levels: [outputs, inputs] → levels, scales and zeros of groups of inputs.


def grouped(weight: Array, bits: int, group: int, *, symmetric: bool) -> tuple[Array, Array, Array]:
    """Return levels counted from 0, and scale and zero [outputs, groups]."""
    outputs, inputs = weight.shape
    groups = weight.reshape(outputs, inputs // group, group)
    top = 2**bits - 1
    if symmetric:
        scale = np.maximum(np.abs(groups).max(-1), 1e-5) / (top // 2)
        zero = np.full(scale.shape, 2 ** (bits - 1))
    else:
        low, high = np.minimum(groups.min(-1), 0), np.maximum(groups.max(-1), 0)
        scale = np.maximum(high - low, 1e-5) / top
        zero = np.clip(np.round(-low / scale), 1, top)
    scale = scale.astype(np.float16)
    levels = np.round(groups / scale[..., None].astype(np.float32)) + zero[..., None]
    return np.clip(levels, 0, top).reshape(outputs, inputs), scale, zero


def scattered(
    weight: Array, bits: int, group: int, symmetric: bool, order: bool
) -> tuple[Array, Array, Array, Array]:
    """Return the same, and of which group each input is: -1 is one for all inputs."""
    inputs = weight.shape[1]
    size = inputs if group == -1 else group
    chosen = np.random.default_rng(0).permutation(inputs) if order else np.arange(inputs)
    levels, scale, zero = grouped(weight[:, chosen], bits, size, symmetric=symmetric)
    g_idx = np.empty(inputs, np.int32)
    g_idx[chosen] = np.arange(inputs) // size
    stored = np.empty_like(levels)
    stored[:, chosen] = levels
    return stored, scale, zero, g_idx


def meaning(levels: Array, scale: Array, zero: Array, group: Array) -> Array:
    """Return what levels stand for; `group` says of which group each input is."""
    scales = scale.astype(np.float32)
    return (levels - zero[:, group]).astype(np.float32) * scales[:, group]


def awq(group: int = 128) -> Format:
    """AutoAWQ's GEMM."""

    def layer(weight: Array) -> tuple[dict[str, Any], Array]:
        levels, scale, zero = grouped(weight, 4, group, symmetric=False)
        parts = {"qweight": awq_words(levels.T), "qzeros": awq_words(zero.T), "scales": scale.T}
        return parts, meaning(levels, scale, zero, np.arange(weight.shape[1]) // group)

    config = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True,
              "version": "gemm", "modules_to_not_convert": None}  # fmt: skip
    return Format(config, layer)


def gptq(
    bits: int = 4, group: int = 128, *, symmetric: bool = True, order: bool = False,
    second: bool = False,
) -> Format:  # fmt: skip
    """AutoGPTQ's and GPTQModel's; `order`: inputs are in groups scattered over the row."""

    def layer(weight: Array) -> tuple[dict[str, Any], Array]:
        stored, scale, zero, g_idx = scattered(weight, bits, group, symmetric, order)
        parts = {
            "qweight": in_words(stored, bits, dense=True).T,
            "qzeros": in_words((zero - (not second)).T, bits, dense=True),
            "scales": scale.T,
            "g_idx": g_idx,
        }
        return parts, meaning(stored, scale, zero, g_idx)

    config = {
        "quant_method": "gptq", "bits": bits, "group_size": group, "sym": symmetric,
        "desc_act": order, "checkpoint_format": "gptq_v2" if second else "gptq",
    }  # fmt: skip
    return Format(config, layer)


def packed_rows(
    bits: int = 4, group: int = 128, *, symmetric: bool = True, order: bool = False
) -> Format:
    """compressed-tensors' pack-quantized."""

    def layer(weight: Array) -> tuple[dict[str, Any], Array]:
        stored, scale, zero, g_idx = scattered(weight, bits, group, symmetric, order)
        parts = {
            "weight_packed": in_words(stored, bits),
            "weight_scale": scale,
            "weight_shape": np.array(weight.shape),
        }
        if not symmetric:
            parts["weight_zero_point"] = in_words(zero.T, bits).T
        if order:
            parts["weight_g_idx"] = g_idx
        return parts, meaning(stored, scale, zero, g_idx)

    weights = {
        "num_bits": bits, "type": "int", "symmetric": symmetric,
        "strategy": "channel" if group == -1 else "group",
        "group_size": None if group == -1 else group, "actorder": "group" if order else None,
    }  # fmt: skip
    return compressed("pack-quantized", weights, layer)


def int8() -> Format:
    """compressed-tensors' int-quantized: whole rows share a scale, zero points are signed."""

    def layer(weight: Array) -> tuple[dict[str, Any], Array]:
        levels, scale, zero = grouped(weight, 8, weight.shape[1], symmetric=False)
        parts = {
            "weight": (levels - 128).astype(np.int8),
            "weight_scale": scale,
            "weight_zero_point": (zero - 128).astype(np.int8),
        }
        return parts, meaning(levels, scale, zero, np.zeros(weight.shape[1], int))

    weights = {"num_bits": 8, "type": "int", "symmetric": False, "strategy": "channel"}
    inputs = {"num_bits": 8, "type": "int", "dynamic": True}
    return compressed("int-quantized", weights, layer, inputs)


def compressed(
    form: str, weights: dict[str, Any], layer: Any, inputs: dict[str, Any] | None = None
) -> Format:
    """Return a format of compressed-tensors."""
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    config = {
        "quant_method": "compressed-tensors", "format": form, "ignore": ["lm_head"],
        "config_groups": {"group_0": group}, "version": "0.12.2",
    }  # fmt: skip
    return Format(config, layer)


def e4m3() -> Array:
    """Return the numbers of eight bits from the smallest byte on, without NaN."""
    positive = [
        (m / 8) * 2**-6 if e == 0 else (1 + m / 8) * 2.0 ** (e - 7)
        for e in range(16)
        for m in range(8)
    ]
    return np.array(positive[:-1], np.float32)


def to_e4m3(values: Array) -> tuple[Array, Array]:
    """Return the nearest numbers of eight bits as bytes, and what they stand for."""
    table = e4m3()
    middles = (table[1:] + table[:-1]) / 2
    index = np.searchsorted(middles, np.abs(values))
    negative = values < 0
    return (index | negative << 7).astype(np.uint8), np.where(negative, -1, 1) * table[index]


def fp8(per: str, *, name: str = "weight_scale", config: dict[str, Any] | None = None) -> Format:
    """FP8 with a scale for each `tensor`, `channel` or `block` of 128 rows and inputs."""

    def layer(weight: Array) -> tuple[dict[str, Any], Array]:
        outputs, inputs = weight.shape
        rows, columns = {
            "tensor": (outputs, inputs), "channel": (1, inputs), "block": (128, 128)
        }[per]  # fmt: skip
        down, across = -(-outputs // rows), -(-inputs // columns)
        scale = np.empty((down, across), np.float32)
        spread = np.empty_like(weight)
        for i in range(down):
            for j in range(across):
                place = np.s_[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
                scale[i, j] = spread[place] = np.abs(weight[place]).max() / 448
        bits, values = to_e4m3(weight / spread)
        stored = scale[0, 0] if per == "tensor" else scale
        return {"weight": ("F8_E4M3", bits), name: ("F32", stored)}, values * spread

    block = {"weight_block_size": [128, 128]} if per == "block" else {}
    usual = {"quant_method": "fp8", "activation_scheme": "dynamic", **block}
    return Format(config or usual, layer)


def modelopt_fp8() -> Format:
    """ModelOpt's, which keeps its configuration in a file of its own."""
    config = {
        "producer": {"name": "modelopt", "version": "0.29.0"},
        "quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]},
    }
    whole = fp8("tensor")
    return Format(config, whole.layer, beside="hf_quant_config.json")


def fp8_channel() -> Format:
    """compressed-tensors' float-quantized."""
    weights = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel"}
    inputs = {"num_bits": 8, "type": "float", "dynamic": True, "strategy": "token"}
    return compressed("float-quantized", weights, fp8("channel").layer, inputs)


FOUR = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)


def to_e2m1(values: Array) -> tuple[Array, Array]:
    """Return the nearest numbers of four bits, two to a byte, and what they stand for."""
    index = np.abs(np.abs(values)[..., None] - FOUR).argmin(-1)
    nibbles = (index + 8 * (values < 0)).astype(np.uint8)
    pairs = nibbles.reshape(len(values), -1, 2)
    return pairs[..., 0] + 16 * pairs[..., 1], np.where(values < 0, -1, 1) * FOUR[index]


def nvfp4(*, modelopt: bool = False) -> Format:
    """Four bits, a scale of eight bits for 16 of them, and one for all."""

    def layer(weight: Array) -> tuple[dict[str, Any], Array]:
        largest = np.abs(weight.reshape(len(weight), -1, 16)).max(-1)
        of_all = np.float32(448 * 6 / np.abs(weight).max())
        bits, scale = to_e4m3(largest / 6 * of_all)
        spread = np.repeat(scale / of_all, 16, axis=1)
        spread[spread == 0] = 1
        pairs, values = to_e2m1(weight / spread)
        parts: dict[str, Any] = {"weight_scale": ("F8_E4M3", bits)}
        if modelopt:
            parts |= {"weight": pairs, "weight_scale_2": ("F32", np.float32(1) / of_all)}
        else:
            parts |= {"weight_packed": pairs, "weight_global_scale": ("F32", np.array([of_all]))}
        return parts, values * np.repeat(scale / of_all, 16, axis=1)

    if modelopt:
        config = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}
        return Format(config, layer)
    weights = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}
    return compressed("nvfp4-pack-quantized", weights, layer)


def mxfp4() -> Format:
    """Four bits and one exponent for 32 of them."""

    def layer(weight: Array) -> tuple[dict[str, Any], Array]:
        largest = np.abs(weight.reshape(len(weight), -1, 32)).max(-1)
        exponent = np.ceil(np.log2(np.maximum(largest, 1e-20) / 6)).astype(int)
        spread = np.repeat(2.0**exponent, 32, axis=1).astype(np.float32)
        pairs, values = to_e2m1(weight / spread)
        scale = (exponent + 127).astype(np.uint8)
        return {"weight_packed": pairs, "weight_scale": scale}, values * spread

    weights = {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}
    return compressed("mxfp4-pack-quantized", weights, layer)


def nf4() -> Format:
    """bitsandbytes' table of four bits, as far as names, types and sizes go."""

    def layer(weight: Array) -> tuple[dict[str, Any], Array]:
        largest = np.abs(weight.reshape(-1, 64)).max(-1).astype(np.float32)
        state = json.dumps({"quant_type": "nf4", "blocksize": 64, "shape": list(weight.shape)})
        parts = {
            "weight": np.zeros((weight.size // 2, 1), np.uint8),
            "weight.absmax": largest,
            "weight.quant_map": np.linspace(-1, 1, 16, dtype=np.float32),
            "weight.quant_state.bitsandbytes__nf4": np.frombuffer(state.encode(), np.uint8),
        }
        return parts, weight

    config = {"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False,
              "bnb_4bit_quant_type": "nf4"}  # fmt: skip
    return Format(config, layer, decoded=False)


FORMATS: dict[str, Format] = {
    "AWQ": awq(),
    "AWQ in groups of 64": awq(64),
    "GPTQ": gptq(),
    "GPTQ with zero points": gptq(group=64, symmetric=False),
    "GPTQ, second format": gptq(symmetric=False, second=True),
    "GPTQ in another order": gptq(order=True),
    "GPTQ of eight bits": gptq(8),
    "GPTQ of three bits": gptq(3, symmetric=False),
    "GPTQ, one scale a row": gptq(group=-1),
    "int4": packed_rows(),
    "int4 with zero points": packed_rows(symmetric=False),
    "int4 in another order": packed_rows(order=True),
    "int8 in words": packed_rows(8, group=-1),
    "int3": packed_rows(3, 64),
    "int8": int8(),
    "FP8, one scale": fp8("tensor"),
    "FP8, one scale a row": fp8_channel(),
    "FP8 in blocks": fp8("block", name="weight_scale_inv"),
    "ModelOpt FP8": modelopt_fp8(),
    "NVFP4": nvfp4(),
    "ModelOpt NVFP4": nvfp4(modelopt=True),
    "MXFP4": mxfp4(),
    "bitsandbytes": nf4(),
}
"""Every format that is looked at."""
