"""What decides how a model's prompts are written and cut into tokens."""

from __future__ import annotations

from pathlib import Path

from infra.store.content import digest_file, digest_files

_FILES = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja",
    "chat_template.json", "additional_chat_templates/*.jinja", "*.tiktoken",
)  # fmt: skip
"""Of a model's folder, as transformers reads them."""


def tokenizer_digest(folder: Path) -> str:
    """Return the digest of a model's tokenizer and chat template."""
    found = sorted({path for pattern in _FILES for path in folder.glob(pattern)})
    return digest_files(
        [
            digest_file(path).model_copy(update={"name": path.relative_to(folder).as_posix()})
            for path in found
        ]
    )
