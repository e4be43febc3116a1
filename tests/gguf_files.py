"""GGUF files of small models, written without llama.cpp: by the format's own package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

Change = Callable[[str, "np.ndarray[Any, Any]"], "np.ndarray[Any, Any] | None"]
"""Name of a tensor as llama.cpp has it, its numbers → what is written; none leaves it out."""


def write(
    path: Path,
    model: Path,
    kind: str = "Q8_0",
    *,
    change: Change | None = None,
    kinds: Callable[[str], str] | None = None,
    architecture: str = "qwen2",
) -> Path:
    """Write the weights of a folder as one file.

    Args:
        path: The file.
        model: Folder of a Qwen2 model.
        kind: Format of its matrices; vectors are float32.
        change: Changes a tensor before it is written.
        kinds: Format by name, where one matrix shall have another.
        architecture: What the file shall say.
    """
    config = json.loads((model / "config.json").read_text())
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    numbers = {"F32": 0, "F16": 1, "Q8_0": 7, "Q4_0": 2, "Q4_K": 15}
    writer.add_file_type(numbers[kind])
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    for name, stored in load_file(model / "model.safetensors").items():
        renamed = table.get_name(name, (".weight", ".bias"))
        assert renamed is not None
        values: np.ndarray[Any, Any] | None = stored.astype(np.float32)
        if change is not None:
            values = change(renamed, values)
        if values is None:
            continue
        wanted = "F32" if values.ndim < 2 else kinds(renamed) if kinds else kind
        number = gguf.GGMLQuantizationType[wanted]
        with np.errstate(all="ignore"):
            data = gguf.quants.quantize(values, number)
        writer.add_tensor(renamed, data, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def folder(path: Path, model: Path, kind: str = "Q8_0", **how: Any) -> Path:
    """Write a checkpoint: the file, and beside it the model's configuration and tokenizer."""
    path.mkdir(parents=True)
    for file in model.iterdir():
        if file.suffix != ".safetensors":
            shutil.copyfile(file, path / file.name)
    write(path / "model.gguf", model, kind, **how)
    return path
