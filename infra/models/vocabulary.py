"""Tokens that the tokenizer knows and the model does not.

A tokenizer of another model, or tokens that were added to it alone: the first such token ends the
quantizer, minutes later, with an index that is out of range; and the server refuses it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.contracts.errors import AssayError, CalibrationError


def size(model: Path) -> int | None:
    """Return how many tokens a model in a folder has embeddings for; none if it does not say."""
    try:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    for part in (config, config.get("text_config"), config.get("llm_config")):
        found = part.get("vocab_size") if isinstance(part, dict) else None
        if isinstance(found, int):
            return found
    return None


def check(
    ids: Sequence[int],
    embeddings: int | None,
    tokenizer: Any,
    place: str,
    error: type[AssayError] = CalibrationError,
) -> None:
    """Refuse tokens beyond the embeddings.

    Args:
        ids: Of one text.
        embeddings: How many tokens the model knows; None refuses nothing.
        tokenizer: What made them.
        place: Where the text is from, for people.
        error: What is raised if there is one; it names the token and both sizes.
    """
    if embeddings is None or not ids or max(ids) < embeddings:
        return
    number = next(one for one in ids if one >= embeddings)
    raise error(
        f"The tokenizer makes token {number}, {tokenizer.convert_ids_to_tokens(number)!r}, of "
        f"{place}, and the model knows {embeddings} tokens.",
        cause=f"The tokenizer knows {len(tokenizer)}, config.json says vocab_size={embeddings}: "
        "it is another model's, or tokens were added to it and not to the model.",
        remedy="Copy all tokenizer files of this model again, or give the model embeddings for the "
        "added tokens (`resize_token_embeddings` of transformers).",
    )
