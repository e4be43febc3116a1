"""Model folders for tests of scoring: an AWQ checkpoint without AutoAWQ, tokenizers that merge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

BITS, GROUP = 4, 128
_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of its eight columns each four bits of a word hold, lowest bits first (GEMM layout)."""

_FORMAT = {"bits": BITS, "group_size": GROUP, "version": "gemm", "zero_point": True}
_NEVER_IN_UTF8 = (0xC0, 0xC1, *range(0xF5, 0x100))


def write_awq(baseline: Path, folder: Path, bits: int = BITS) -> Path:
    """Write a model's AWQ checkpoint, each weight rounded to the nearest of its group's levels.

    It has the layout that AutoAWQ writes and takes a second to make; what it lacks is AutoAWQ's
    search for better scales, which matters to scores and not to how they are asked for.

    Args:
        baseline: The model.
        folder: Receives the checkpoint.
        bits: Fewer than four use fewer levels, and are packed as four all the same.
    """
    from safetensors.numpy import load_file, save_file

    folder.mkdir(parents=True)
    for file in baseline.iterdir():
        if file.suffix == ".json":
            shutil.copy(file, folder)
    config = json.loads((baseline / "config.json").read_text())
    config |= {"dtype": "float16", "torch_dtype": "float16"}
    config["quantization_config"] = {
        "quant_method": "awq", "modules_to_not_convert": None, **_FORMAT
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    tensors: dict[str, Any] = {}
    for name, tensor in load_file(baseline / "model.safetensors").items():
        if name.endswith("_proj.weight"):
            layer = name.removesuffix(".weight")
            tensors |= {f"{layer}.{key}": part for key, part in _quantized(tensor, bits).items()}
        else:
            tensors[name] = tensor.astype(np.float16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _quantized(weight: Any, bits: int) -> dict[str, Any]:
    """Return the packed tensors of a layer whose weight is [outputs, inputs]."""
    outputs, inputs = weight.shape
    groups = weight.astype(np.float32).reshape(outputs, inputs // GROUP, GROUP)
    low, high = groups.min(-1), groups.max(-1)
    steps = 2**bits - 1
    scales = np.maximum(high - low, 1e-5).astype(np.float32) / steps
    zeros = np.clip(-np.round(low / scales), 0, steps)
    levels = np.clip(np.round(groups / scales[..., None]) + zeros[..., None], 0, steps)
    return {
        "qweight": _packed(levels.reshape(outputs, inputs).T),
        "qzeros": _packed(zeros.T),
        "scales": np.ascontiguousarray(scales.T.astype(np.float16)),
    }


def _packed(levels: Any) -> Any:
    rows, columns = levels.shape
    eights = levels.astype(np.uint32).reshape(rows, columns // 8, 8)
    words = np.zeros((rows, columns // 8), np.uint32)
    for place, column in enumerate(_ORDER):
        words |= eights[..., column] << np.uint32(BITS * place)
    return words.view(np.int32)


def write_merging_tokenizer(folder: Path) -> Path:
    """Write a tokenizer of at most 264 tokens, without BOS, that merges letters across spaces.

    It has room for that because bytes that no UTF-8 text contains get no token. No configuration
    lies beside it: transformers 5 would give a tokenizer of Qwen2 that model's splitting.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    from tests.tiny_model import TEMPLATE

    merges = [
        ("e", "Ġ"), ("Ġ", "t"), ("Ġ", "a"), ("eĠ", "a"), ("n", "Ġ"), ("i", "n"), ("Ġ", "Ġ"),
        ("Ġt", "h"), ("s", "Ġ"), (".", "Ġ"), ("eĠa", "n"), (":", "Ġ"), ("o", "n"), ("1", "2"),
    ]  # fmt: skip
    letters = pre_tokenizers.ByteLevel.alphabet()
    kept = sorted(set(letters) - {_letter(byte) for byte in _NEVER_IN_UTF8})
    tokens = ["<|bos|>", "<|eos|>", *kept, *(first + second for first, second in merges)]
    raw = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    raw.add_special_tokens(["<|bos|>", "<|eos|>"])
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    assert raw.get_vocab_size() <= 264  # the tiny model's
    folder.mkdir(parents=True)
    raw.save(str(folder / "tokenizer.json"))
    fields = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|eos|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**fields, "chat_template": TEMPLATE}))
    return folder


def _letter(byte: int) -> str:
    """Return the letter that stands for a byte: itself if it is printable, else one from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    if byte in printable:
        return chr(byte)
    others = [other for other in range(256) if other not in printable]
    return chr(256 + others.index(byte))
