"""Trains the assistant on one CUDA GPU, from the weights of the sample model.

Run as `python -m infra.sample.training.train_assistant --output FOLDER --minutes 5`; needs torch,
transformers, tokenizers and safetensors. The text is generated while training goes on, and no batch
is seen twice. Every so often a batch has longer rows, for prompts with many functions.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from infra.sample.training import train
from infra.sample.training.assistant import long_documents, short_documents
from infra.sample.training.batches import Batch, batches, pack

ASSISTANT = Path(__file__).parents[1] / "assistant"
LONG_EVERY = 6
LONG_ROWS = 40
LONG_LENGTH = 3072


def built(start: Path, device: str) -> Qwen2ForCausalLM:
    """Creates the model with weights to go on from, in float32."""
    config = Qwen2Config(**json.loads((ASSISTANT / "config.json").read_text(encoding="utf-8")))
    model = Qwen2ForCausalLM(config)
    model.load_state_dict(load_file(start), strict=False)
    model.tie_weights()
    return model.float().to(device)


def batch(name: str) -> Batch:
    """Makes a batch; its number decides whether its rows are long."""
    if int(name.rsplit("-", 1)[1]) % LONG_EVERY == LONG_EVERY - 1:
        return pack(long_documents(name), LONG_ROWS, LONG_LENGTH)
    return pack(short_documents(name))


def small_batch(name: str) -> Batch:
    """Makes a batch for a processor: to see that the loss falls, not to learn everything."""
    return pack(short_documents(name), 2)


def main() -> None:
    """Reads the command line and trains."""
    parser = train.command_line(__doc__, steps=20_000, rate=1.5e-3)
    parser.add_argument("--start", type=Path, default=train.MODEL / "model.safetensors")
    parser.add_argument("--small", action="store_true", help="batches for a processor")
    options = parser.parse_args()
    make = small_batch if options.small else batch
    stream = batches(f"assistant-{options.seed}", options.steps, options.workers, make)
    train.train(options, stream, lambda: built(options.start, options.device))


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main()
