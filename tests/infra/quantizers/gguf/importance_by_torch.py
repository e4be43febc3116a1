"""Compares llama.cpp's importance matrix with one that transformers computes in float32.

    python -I importance_by_torch.py PROGRAM MODEL FILE

Runs in the environment of the quantizer. Prints one line of JSON.
"""

import json
import sys
from pathlib import Path

LAYERS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip
LENGTH = 96


def by_torch(folder, whole):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    sums = {}
    for number, block in enumerate(model.model.layers):
        for name, renamed in LAYERS.items():
            key = f"blk.{number}.{renamed}.weight"

            def add(_, inputs, key=key):
                sums[key] = sums.get(key, 0) + inputs[0].double().square().sum((0, 1))

            block.get_submodule(name).register_forward_pre_hook(add)
    with torch.inference_mode():
        for one in whole:
            model(torch.tensor([one]))
    tokens = len(whole) * len(whole[0])
    return {key: (value / tokens).numpy() for key, value in sums.items()}


def main(program, folder, file):
    sys.path.insert(0, program)
    import importance
    import numpy as np
    from libllama import Library

    draw = np.random.default_rng(5)
    samples = [draw.integers(4, 2000, 50).tolist() for _ in range(20)]
    whole = importance.blocks(samples, LENGTH, None)
    found, _ = importance.collect(Library(), Path(file), whole, lambda done, total: None)
    expected = by_torch(folder, whole)
    assert found.keys() == expected.keys()
    worst = max(
        float((np.abs(found[key][0] - values) / values).max()) for key, values in expected.items()
    )
    print(json.dumps({"matrices": len(found), "largest_relative_difference": worst}))


if __name__ == "__main__":
    main(*sys.argv[1:])
