"""Writes a checkpoint of Qwen2.5-7B's shape with random bfloat16 weights, on the accelerator.

    python -I random_weights.py OUT TOKENIZER [LAYERS]

Runs in an environment with torch and transformers; TOKENIZER is a folder with a tokenizer and a
chat template. Its answers are chance and never end by themselves: for times, memory and lifecycle.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

SHARD = "4GB"


def main():
    """Write it."""
    out, tokenizer = map(Path, sys.argv[1:3])
    layers = int(sys.argv[3]) if len(sys.argv) > 3 else 28
    config = Qwen2Config(
        vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=layers,
        num_attention_heads=28, num_key_value_heads=4, tie_word_embeddings=False,
        max_position_embeddings=32768, rope_theta=1e6, bos_token_id=None, eos_token_id=2,
        use_sliding_window=False,
    )  # fmt: skip
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen2ForCausalLM(config)
    model.save_pretrained(out, max_shard_size=SHARD)
    for pattern in ("token*", "special*", "chat*", "generation*"):
        for file in tokenizer.glob(pattern):
            shutil.copy(file, out)
    written = out / "config.json"
    stored = json.loads(written.read_text())
    stored["torch_dtype"] = "bfloat16"
    stored.setdefault("rope_theta", 1e6)
    written.write_text(json.dumps(stored))
    print(f"{sum(p.numel() for p in model.parameters()) / 1e9:.2f} billion parameters")


if __name__ == "__main__":
    main()
