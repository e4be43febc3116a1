"""Trains a LoRA adapter of the sample model, on a processor in a minute or two.

Run as `python -m infra.sample.training.train_adapter --output FOLDER`; needs torch, transformers
and peft. It sees a little more of what the model itself was trained on, so that its scores stay
near the model's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import Qwen2ForCausalLM

from infra.sample.training.batches import Batch, batches
from infra.sample.training.train import MODEL, build, loss_of, to_device

RANK = 8
LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def trained(seed: int) -> Qwen2ForCausalLM:
    """Returns the sample model with its weights, in float32."""
    model = build(seed, "cpu")
    model.load_state_dict(load_file(MODEL / "model.safetensors"), strict=False)
    return model


def part(batch: Batch, rows: int) -> Batch:
    """Returns the first rows of a batch: all of them take minutes on a processor."""
    return Batch(batch.tokens[:rows], batch.weights[:rows], batch.owners[:rows])


def main() -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    stream = batches(f"adapter-{options.seed}", options.steps, 1)
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=LAYERS, task_type="CAUSAL_LM")
    model = get_peft_model(trained(options.seed), config)
    parameters = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=options.rate)
    for step, batch in enumerate(stream):
        loss = loss_of(model, *to_device(part(batch, options.rows), "cpu"))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        print(f"step {step} loss {loss.item():.4f}", flush=True)
    model.peft_config["default"].base_model_name_or_path = "infra/sample/model"
    model.save_pretrained(options.output)


if __name__ == "__main__":
    main()
