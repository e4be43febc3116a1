"""Encodes texts that begin alike in parts, where that provably gives the same tokens.

The contexts of a task and their continuations are nearly the same text five times over, and
encoding it takes nine tenths of the client's processor time. Most byte-level BPE tokenizers first
split a text by a pattern and encode each piece by itself, and no piece reaches over a newline that
stands between two characters that are not spaces. So the text before such a newline and the text
after it can be encoded apart, the former once for all texts that share it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from infra.scoring.tokens import Encode

_CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"
_END = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_PATTERNS = {
    # Qwen2 and its successors
    rf"(?i:{_CONTRACTIONS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{_END}",
    # Llama 3
    rf"(?i:{_CONTRACTIONS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}{_END}",
}
"""Patterns, besides GPT-2's own, for which that was checked: letters and digits exclude newlines;
signs take newlines after them along, which end there in either case; a run of one newline is a
piece of its own whether a text ends behind it or not."""

_TRIED = 8


def splits_at_lines(tokenizer: Any) -> bool:
    """Return whether a tokenizer of transformers encodes the two sides of such a newline apart.

    Args:
        tokenizer: What `AutoTokenizer` returns.
    """
    raw = getattr(tokenizer, "backend_tokenizer", None)
    if raw is None or type(raw.model).__name__ != "BPE" or raw.model.dropout:
        return False
    if raw.normalizer is not None and type(raw.normalizer).__name__ != "NFC":
        return False
    for token in raw.get_added_tokens_decoder().values():
        if token.lstrip or token.rstrip or token.single_word or "\n" in token.content:
            return False
    return raw.pre_tokenizer is not None and _splits_at_lines(
        json.loads(raw.pre_tokenizer.__getstate__())
    )


def _splits_at_lines(pre_tokenizer: dict[str, Any]) -> bool:
    match pre_tokenizer:
        case {"type": "ByteLevel", "use_regex": True, "add_prefix_space": False}:
            return True  # GPT-2's pattern
        case {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": pattern},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {"type": "ByteLevel", "use_regex": False, "add_prefix_space": False},
            ],
        }:
            return pattern in _PATTERNS
    return False


def encode_by_lines(texts: Sequence[str], encode: Encode) -> Sequence[Sequence[int]]:
    """Return the tokens of each text, parts that are shared encoded once.

    A few that were cut are encoded both ways; should they differ after all, wholes are encoded.

    Args:
        texts: Distinct texts.
        encode: Texts → tokens, of a tokenizer that `splits_at_lines`.
    """
    halves = [_cut(text) for text in texts]
    parts = list(dict.fromkeys(part for pair in halves for part in pair))
    tokens = dict(zip(parts, encode(parts), strict=True))
    joined = [[*tokens[head], *tokens[tail]] for head, tail in halves]
    tried = sorted(range(len(texts)), key=lambda place: not halves[place][0])[:_TRIED]
    whole = encode([texts[place] for place in tried])
    if [list(ids) for ids in whole] != [joined[place] for place in tried]:
        return encode(texts)
    return joined


def _cut(text: str) -> tuple[str, str]:
    """Return a text in two, after the last newline with a character other than space around it."""
    at = text.rfind("\n")
    while at > 0:
        if at + 1 < len(text) and not text[at - 1].isspace() and not text[at + 1].isspace():
            return text[: at + 1], text[at + 1 :]
        at = text.rfind("\n", 0, at)
    return "", text
