"""Levels of few bits in words of 32."""

from __future__ import annotations

import math

import numpy as np

from infra.probes.triage.tensors import Array

WORD = 32


def per_word(bits: int) -> int:
    """Return how many levels a word has room for."""
    return WORD // bits


def words_for(levels: int, bits: int, *, dense: bool = False) -> int:
    """Return how many words hold some levels.

    Args:
        levels: How many.
        bits: Of one.
        dense: Let levels reach over into the next word; else words end with unused bits.
    """
    return math.ceil(levels * bits / WORD) if dense else math.ceil(levels / per_word(bits))


def unpack(words: Array, bits: int, *, dense: bool = False) -> Array:
    """Return the levels in packed words, [rows, words] → [rows, levels], lowest bits first."""
    raw = np.ascontiguousarray(words).view(np.uint32)
    mask = (1 << bits) - 1
    if WORD % bits and dense:
        starts = np.arange(raw.shape[1] * WORD // bits) * bits
        pairs = np.concatenate([raw, np.zeros((len(raw), 1), np.uint32)], 1).astype(np.uint64)
        pairs = pairs[:, :-1] | pairs[:, 1:] << np.uint64(WORD)
        shifted = pairs[:, starts // WORD] >> (starts % WORD).astype(np.uint64)
        return (shifted & np.uint64(mask)).astype(np.int32)
    levels = np.empty((*raw.shape, per_word(bits)), np.int32)
    for place in range(per_word(bits)):
        levels[..., place] = raw >> np.uint32(bits * place) & np.uint32(mask)
    return levels.reshape(len(raw), -1)
