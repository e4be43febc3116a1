"""Texts to tokens as lm-eval splits them, each distinct text encoded once and in one batch.

Token sequences are packed into bytes, four big-endian bytes a token: they hash and compare at the
speed of bytes, a prefix is a slice, and the order of bytes is the order of tokens.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Packed = bytes
WIDTH = 4
"""Bytes a token."""

Encode = Callable[[Sequence[str]], Sequence[Sequence[int]]]


def pack(tokens: Iterable[int]) -> Packed:
    """Return token ids as bytes."""
    packed = array.array("I", tokens)
    if sys.byteorder == "little":
        packed.byteswap()
    return packed.tobytes()


def unpack(packed: Packed) -> list[int]:
    """Return the token ids that were packed."""
    tokens = array.array("I", packed)
    if sys.byteorder == "little":
        tokens.byteswap()
    return tokens.tolist()


def count(packed: Packed) -> int:
    """Return the number of tokens."""
    return len(packed) // WIDTH


def shared(one: Packed, other: Packed) -> int:
    """Return how many tokens two sequences have in common at their beginning."""
    length = min(len(one), len(other)) // WIDTH
    left = np.frombuffer(one, np.uint32, length)
    differing = left != np.frombuffer(other, np.uint32, length)
    return int(differing.argmax()) if differing.any() else length


def pack_texts(texts: Iterable[str], encode: Encode) -> dict[str, Packed]:
    """Return each distinct text with its tokens."""
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return {}
    return {text: pack(ids) for text, ids in zip(distinct, encode(distinct), strict=True)}


@dataclass(frozen=True)
class Encoded:
    """Texts and pairs whose tokens are known."""

    texts: Mapping[str, Packed] = field(default_factory=dict)
    pairs: Mapping[tuple[str, str], tuple[Packed, Packed]] = field(default_factory=dict)
    """Context and continuation → the tokens of both, as `split_pairs` splits them."""


class NothingBefore(ValueError):
    """The first token of a continuation would follow nothing.

    Attributes:
        place: Which of the pairs it is.
    """

    def __init__(self, text: str, place: int) -> None:
        super().__init__(text)
        self.place = place


def split_pairs(
    pairs: Sequence[tuple[str, str]],
    encode: Encode,
    prefix_token: int | None,
    bare: Encode | None = None,
) -> list[tuple[Packed, Packed]]:
    """Return context and continuation of each pair as tokens, split where lm-eval splits them.

    The rule is `TemplateLM._encode_pair` of lm-eval 0.4.13: trailing whitespace of the context
    moves to the continuation; context and whole are encoded, and the continuation is what the whole
    has beyond the context's number of tokens, so that tokens may merge across the border. An empty
    context stands for the prefix token (BOS, or else EOS).

    Args:
        pairs: Context and continuation.
        encode: Texts → token ids, as lm-eval's `tok_encode` gives them.
        prefix_token: What an empty context stands for.
        bare: The same as `encode` for what follows an empty context, where `encode` would add a
            beginning; by default `encode` itself.

    Raises:
        NothingBefore: A context is empty and the tokenizer has neither BOS nor EOS, or it consists
            of whitespace alone and no BOS is added; stock fails there as well.
    """
    moved = [_move_spaces(*pair) for pair in pairs]
    texts = [
        text
        for (given, _), pair in zip(pairs, moved, strict=True)
        for text in (pair if given else () if bare else pair[1:])
    ]
    packed = pack_texts(texts, encode)
    alone = packed
    if bare:
        alone = pack_texts((text for given, text in pairs if not given), bare)
    split = []
    for place, ((given, _), (context, whole)) in enumerate(zip(pairs, moved, strict=True)):
        if given:
            tokens = packed[whole]
            if not (before := packed[context]):
                raise NothingBefore(
                    "a context of whitespace alone gives the first token nothing to follow", place
                )
            split.append((before, tokens[len(before) :]))
        elif prefix_token is None:
            raise NothingBefore(
                "an empty context needs a BOS or EOS token, which the tokenizer lacks", place
            )
        else:
            tokens = alone[whole]
            prefix = pack([prefix_token])
            split.append((prefix, tokens[WIDTH:] if tokens[:WIDTH] == prefix else tokens))
    return split


def _move_spaces(context: str, continuation: str) -> tuple[str, str]:
    return context.rstrip(), context + continuation
