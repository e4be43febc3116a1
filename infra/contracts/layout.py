"""How weights lie in a folder."""

from __future__ import annotations

from typing import Literal, TypeAlias

Layout: TypeAlias = Literal["transformers", "gguf"]
"""As Transformers writes them, or in one GGUF file beside the model's configuration and
tokenizer."""

IN_WORDS: dict[Layout, str] = {
    "transformers": "in the Transformers layout",
    "gguf": "a GGUF file",
}
