"""Packs training documents into rows of tokens, in worker processes."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from infra.sample.training import formats
from infra.sample.training.formats import Document
from infra.sample.training.world import documents

TOKENIZER = Path(__file__).parents[1] / "model" / "tokenizer.json"
ROWS = 128
LENGTH = 1024
_OPEN_ROWS = 24
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of packed documents.

    Attributes:
        tokens: Token ids.
        weights: What each token counts in the loss, in tenths.
        owners: The number of the document a token belongs to, within its row.
    """

    tokens: npt.NDArray[np.int16]
    weights: npt.NDArray[np.uint8]
    owners: npt.NDArray[np.uint8]


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(TOKENIZER))


def _tokenized(stream: Iterator[Document]) -> Iterator[tuple[list[int], list[int]]]:
    """Turns documents into ids and weights; segments are tokenized apart, as in inference."""
    while chunk := list(itertools.islice(stream, _CHUNK)):
        texts = [segment.text for document in chunk for segment in document]
        encodings = iter(_tokenizer().encode_batch_fast(texts, add_special_tokens=False))
        for document in chunk:
            ids: list[int] = []
            weights: list[int] = []
            for segment in document:
                piece = next(encodings).ids
                ids += piece
                weights += [int(segment.weight)] * len(piece)
            yield ids, weights


def pack(stream: Iterator[Document], rows: int = ROWS, length: int = LENGTH) -> Batch:
    """Packs documents whole, each into the first open row with room for it."""
    padding = _tokenizer().token_to_id(formats.PADDING)
    tokens: npt.NDArray[np.int16] = np.full((rows, length), padding, np.int16)
    weights: npt.NDArray[np.uint8] = np.zeros((rows, length), np.uint8)
    owners: npt.NDArray[np.uint8] = np.zeros((rows, length), np.uint8)
    used = [0] * rows
    begun = 0
    open_rows: list[int] = []
    for ids, its_weights in _tokenized(stream):
        if len(ids) > length:
            continue
        row = next((row for row in open_rows if used[row] + len(ids) <= length), None)
        if row is None:
            if begun == rows:
                break
            if len(open_rows) == _OPEN_ROWS:
                open_rows.remove(max(open_rows, key=used.__getitem__))
            row, begun = begun, begun + 1
            open_rows.append(row)
        place = slice(used[row], used[row] + len(ids))
        tokens[row, place] = ids
        weights[row, place] = its_weights
        owners[row, place.start :] = owners[row, place.start] + 1
        used[row] = place.stop
    for row, stop in enumerate(used):
        owners[row, stop:] = 0
    return Batch(tokens, weights, owners)


def _batch(name: str) -> Batch:
    return pack(documents(name))


def batches(
    seed: str, count: int, workers: int, make: Callable[[str], Batch] = _batch
) -> Iterator[Batch]:
    """Yields batches in order; the seed and a batch's number decide its contents."""
    names = [f"{seed}-{number}" for number in range(count)]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        yield from pool.imap(make, names)
