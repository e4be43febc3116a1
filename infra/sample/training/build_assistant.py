"""Writes what the assistant's folder holds besides its weights: the sample model's tokenizer with
Qwen2.5's chat template, and a configuration with a longer window.

Run as `python -m infra.sample.training.build_assistant`; standard library only.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from infra.sample.training.chat import TEMPLATE

MODEL = Path(__file__).parents[1] / "model"
ASSISTANT = Path(__file__).parents[1] / "assistant"
WINDOW = 4096
"""Tokens: 16 functions with a question, their calls and results take up to 3,000."""


def _changed(name: str, **keys: Any) -> None:
    found = json.loads((MODEL / name).read_text(encoding="utf-8")) | keys
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    (ASSISTANT / name).write_text(text, encoding="utf-8")


def main() -> None:
    """Writes all files."""
    ASSISTANT.mkdir(exist_ok=True)
    for name in ("tokenizer.json", "generation_config.json"):
        shutil.copyfile(MODEL / name, ASSISTANT / name)
    _changed("config.json", max_position_embeddings=WINDOW)
    _changed("tokenizer_config.json", model_max_length=WINDOW, chat_template=TEMPLATE)


if __name__ == "__main__":
    main()
