"""Writes a small model of the kind that the sample is as a GGUF file, in float32 or float16.

By hand, from the description of the format, so that it shares no code with the converter.

    python -m tests.sample_gguf FOLDER [f16]
"""

from __future__ import annotations

import json
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tests.broken_checkpoints import SAMPLE

_ALIGNMENT = 32
_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write(folder: Path, model: Path = SAMPLE, *, half: bool = False) -> Path:
    """Write a folder with the file and all else of a model; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in model.iterdir():
        if file.suffix == ".json":
            shutil.copyfile(file, folder / file.name)
    config = json.loads((model / "config.json").read_text())
    data = header(facts(config, model, half), tensors := weights(model, half))
    (folder / "model.gguf").write_bytes(
        data + b"".join(_padded(tensor.tobytes()) for _, tensor in tensors)
    )
    return folder


def facts(config: dict[str, Any], model: Path, half: bool) -> list[tuple[str, Any]]:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    vocabulary = dict(tokenizer["model"]["vocab"])
    special = {one["content"]: one["id"] for one in tokenizer["added_tokens"]}
    texts = sorted(vocabulary | special, key=lambda text: (vocabulary | special)[text])
    merges = [
        merge if isinstance(merge, str) else " ".join(merge)
        for merge in tokenizer["model"]["merges"]
    ]
    return [
        ("general.architecture", "qwen2"),
        ("general.file_type", 1 if half else 0),
        ("qwen2.block_count", config["num_hidden_layers"]),
        ("qwen2.context_length", config["max_position_embeddings"]),
        ("qwen2.embedding_length", config["hidden_size"]),
        ("qwen2.feed_forward_length", config["intermediate_size"]),
        ("qwen2.attention.head_count", config["num_attention_heads"]),
        ("qwen2.attention.head_count_kv", config["num_key_value_heads"]),
        ("qwen2.rope.freq_base", float(config["rope_theta"])),
        ("qwen2.attention.layer_norm_rms_epsilon", config["rms_norm_eps"]),
        ("tokenizer.ggml.model", "gpt2"),
        ("tokenizer.ggml.pre", "qwen2"),
        ("tokenizer.ggml.tokens", texts),
        ("tokenizer.ggml.token_type", [3 if text in special else 1 for text in texts]),
        ("tokenizer.ggml.merges", merges),
        ("tokenizer.ggml.eos_token_id", config["eos_token_id"]),
        ("tokenizer.ggml.padding_token_id", config["pad_token_id"]),
        ("tokenizer.ggml.add_bos_token", False),
        (
            "tokenizer.chat_template",
            json.loads((model / "tokenizer_config.json").read_text())["chat_template"],
        ),
    ]


def weights(model: Path, half: bool) -> list[tuple[str, np.ndarray[Any, Any]]]:
    return [
        (_named(name), tensor.astype(np.float16 if half and tensor.ndim > 1 else np.float32))
        for name, tensor in load_file(model / "model.safetensors").items()
    ]


def header(facts: list[tuple[str, Any]], tensors: list[tuple[str, np.ndarray[Any, Any]]]) -> bytes:
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(facts))]
    for key, value in facts:
        parts += [_text(key), _value(value)]
    offset = 0
    for name, tensor in tensors:
        shape = tensor.shape[::-1]
        parts.append(_text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        parts.append(struct.pack("<IQ", 1 if tensor.dtype == np.float16 else 0, offset))
        offset += len(_padded(tensor.tobytes()))
    return _padded(b"".join(parts))


def _named(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    layer, _, rest = name.removeprefix("model.layers.").partition(".")
    part, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{_NAMES[part]}.{kind}"


def _value(value: Any) -> bytes:
    if isinstance(value, list):
        kind = 8 if isinstance(value[0], str) else 5
        items = b"".join(_text(one) if kind == 8 else struct.pack("<i", one) for one in value)
        return struct.pack("<IIQ", 9, kind, len(value)) + items
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    return struct.pack("<II", 4, value)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)


if __name__ == "__main__":
    print(write(Path(sys.argv[1]), half="f16" in sys.argv[2:]))
