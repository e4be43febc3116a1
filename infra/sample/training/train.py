"""Trains the sample model on one CUDA GPU.

Run as `python -m infra.sample.training.train --output FOLDER`; needs torch, transformers and
tokenizers.
The text is generated while training goes on, and no batch is seen twice. `model/` must hold the
configuration and the tokenizer; the weights are written to `--output` as float16.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from infra.sample.training.batches import Batch, batches

MODEL = Path(__file__).parents[1] / "model"
WARMUP = 200
CHECKPOINT_EVERY = 1000


def build(seed: int, device: str) -> Qwen2ForCausalLM:
    """Creates the model with fresh float32 weights."""
    torch.manual_seed(seed)
    config = Qwen2Config(**json.loads((MODEL / "config.json").read_text(encoding="utf-8")))
    return Qwen2ForCausalLM(config).to(device=device, dtype=torch.float32)


def save(model: Qwen2ForCausalLM, folder: Path) -> None:
    """Writes the weights as float16; the output layer is the embedding and is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    partial = folder / "model.safetensors.partial"
    save_file(weights, partial, metadata={"format": "pt"})
    partial.replace(folder / "model.safetensors")


def loss_of(model: nn.Module, tokens: Tensor, weights: Tensor, owners: Tensor) -> Tensor:
    """The weighted loss of next-token prediction; documents of a row do not see one another."""
    columns = torch.arange(tokens.shape[1], device=tokens.device)
    same = owners[:, :, None] == owners[:, None, :]
    mask = (same & (columns[:, None] >= columns)).unsqueeze(1)
    fresh = torch.ones_like(owners, dtype=torch.bool)
    fresh[:, 1:] = owners[:, 1:] != owners[:, :-1]
    positions = columns - torch.where(fresh, columns, 0).cummax(1).values
    logits = model(
        input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=False
    ).logits
    losses = nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none"
    )
    # The first token of a document cannot be known from the one before it.
    counts = (weights * ~fresh)[:, 1:].flatten()
    return (losses * counts).sum() / counts.sum()


def optimizer_of(model: nn.Module, rate: float) -> torch.optim.AdamW:
    """AdamW that decays matrices only."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


def rate_at(step: int, progress: float, peak: float) -> float:
    """A linear warmup, then a cosine down to a fiftieth of the peak."""
    floor = 0.02
    cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return peak * min(1.0, (step + 1) / WARMUP) * cosine


def to_device(batch: Batch, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Moves a batch to the device in the types the loss wants."""
    tokens = torch.from_numpy(batch.tokens).to(device, non_blocking=True).long()
    weights = torch.from_numpy(batch.weights).to(device, non_blocking=True).float() / 10
    owners = torch.from_numpy(batch.owners).to(device, non_blocking=True)
    return tokens, weights, owners


def train(
    options: argparse.Namespace,
    stream: Iterator[Batch],
    make: Callable[[], Qwen2ForCausalLM],
) -> None:
    """Runs the training and writes checkpoints.

    Args:
        options: The command line.
        stream: The batches.
        make: Gives the model to train; called when the workers run already.
    """
    device = options.device
    first = next(stream)  # The workers fork here, before CUDA is initialized.
    torch.set_float32_matmul_precision("high")
    model = make()
    optimizer = optimizer_of(model, options.rate)
    step_loss = torch.compile(loss_of, dynamic=False) if options.compile else loss_of
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{size} parameters, {first.tokens.size} tokens a step", flush=True)
    began = time.monotonic()
    batch: Batch | None = first
    step = tokens = 0
    while batch is not None:
        elapsed = time.monotonic() - began
        progress = max(step / options.steps, elapsed / (60 * options.minutes))
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, progress, options.rate)
        with torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
            loss = step_loss(model, *to_device(batch, device))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % options.log_every == 0 or step == 20:
            print(f"step {step} loss {loss.item():.4f} after {elapsed:.1f} s", flush=True)
        if step % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1:
            save(model, options.output)
        step, tokens = step + 1, tokens + batch.tokens.size
        batch = next(stream, None)
    save(model, options.output)
    minutes = (time.monotonic() - began) / 60
    print(f"{step} steps, {tokens} tokens, {minutes:.2f} minutes", flush=True)


def command_line(description: str | None, steps: int, rate: float) -> argparse.ArgumentParser:
    """What every training can be set to."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end by then at the latest")
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--log-every", type=int, default=200)
    return parser


def main() -> None:
    """Reads the command line and trains."""
    options = command_line(__doc__, steps=4000, rate=2e-3).parse_args()
    stream = batches(f"train-{options.seed}", options.steps, options.workers)
    train(options, stream, lambda: build(options.seed, options.device))


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main()
