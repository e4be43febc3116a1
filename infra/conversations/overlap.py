"""Which rows of the tasks stand, in part, in the calibration set.

Calibration sets no weights by gradient, but a quantizer's search favours what it was shown: a model
that was calibrated on its tasks looks better there than elsewhere. Texts overlap if they share a
long sequence of words, as in the contamination check of GPT-3 (Brown et al. 2020, "Language Models
are Few-Shot Learners", appendix C): 13 words in a row, without regard to case and punctuation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias

from infra.contracts.errors import CalibrationError, WeightsError
from infra.contracts.records import CalibrationCard, Overlap
from infra.conversations import identity as calibration_source
from infra.conversations.loading import read
from infra.store.settings import Settings

NGRAM = 13
"""Words in a row that have to be the same."""

SHORTEST = 8
"""Words of the shortest text that can overlap: as a whole, if it is shorter than an n-gram."""

_EXAMPLES = 5
_LONGEST_EXAMPLE = 40
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
"""Han and kana stand without spaces: each sign counts as a word."""

Texts: TypeAlias = tuple[str, ...]
"""The texts of one row: question, choices, answer."""


def words(text: str) -> list[str]:
    """Return the words of a text, without case and punctuation."""
    return _WORD.findall(text.casefold())


class Ngrams:
    """The word sequences of a set of texts."""

    def __init__(self, texts: Iterable[str], n: int = NGRAM) -> None:
        """Take the texts apart.

        Args:
            texts: For instance the messages of all conversations. No sequence crosses from one
                to the next.
            n: Words in a row that have to be the same.
        """
        self.n = n
        self._texts = [words(text) for text in texts]
        self._of_length: dict[int, set[tuple[str, ...]]] = {}

    def shared(self, text: str) -> str:
        """Return the first sequence that a text shares with this set, as long as it goes on.

        A text with fewer words than an n-gram is sought as a whole, one below `SHORTEST` not at
        all.

        Returns:
            The shared words; empty if there are none.
        """
        sought = words(text)
        length = min(self.n, len(sought))
        if length < min(SHORTEST, self.n):
            return ""
        sequences = self._sequences(length)
        starts = range(len(sought) - length + 1)
        first = next((at for at in starts if tuple(sought[at : at + length]) in sequences), None)
        if first is None:
            return ""
        end = first + length
        while end < len(sought) and tuple(sought[end + 1 - length : end + 1]) in sequences:
            end += 1
        return " ".join(sought[first:end])

    def _sequences(self, length: int) -> set[tuple[str, ...]]:
        if length not in self._of_length:
            self._of_length[length] = {
                tuple(text[at : at + length])
                for text in self._texts
                for at in range(len(text) - length + 1)
            }
        return self._of_length[length]


def overlap(
    conversations: Iterable[str], rows: Mapping[str, Iterable[Texts]], n: int = NGRAM
) -> Overlap:
    """Count the rows that share a sequence of words with the calibration set.

    Args:
        conversations: Texts of the calibration set.
        rows: Task → its rows, each with its texts. A row counts once, whichever text is shared.
        n: Words in a row that have to be the same.
    """
    calibration = Ngrams(conversations, n)
    looked_at = 0
    found = dict.fromkeys(rows, 0)
    examples: dict[str, None] = {}
    for task, members in rows.items():
        for texts in members:
            looked_at += 1
            if shared := next(filter(None, map(calibration.shared, texts)), ""):
                found[task] += 1
                if len(examples) < _EXAMPLES:
                    examples.setdefault(_cut(shared))
    return Overlap(ngram=n, rows=looked_at, found=found, examples=tuple(examples))


def of_run(
    documents: Mapping[str, Iterable[Mapping[str, Any]]],
    card: CalibrationCard,
    *,
    settings: Settings,
) -> Overlap | None:
    """Return the overlap of a finished run's calibration set with its tasks.

    Looked at is every conversation up to the last one used, those too long included.

    Args:
        documents: Task → the documents of its questions; all arms have the same.
        card: What the quantizer saw.
        settings: Where datasets of a hub are kept.

    Returns:
        The overlap; none if the conversations cannot be read again, or are others by now.
    """
    try:
        if card.source is None or calibration_source.identity(card.spec, settings) != card.source:
            return None
        source = read(card.spec, settings=settings)
        if source.total != card.read:
            return None
        talks = islice(source.rows, card.looked_at)
        conversations = [text for talk in talks for text in talk.texts]
    except (CalibrationError, WeightsError):
        return None
    rows = {task: (tuple(_texts(doc)) for doc in docs) for task, docs in documents.items()}
    return overlap(conversations, rows)


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a document, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _cut(shared: str) -> str:
    parts = shared.split(" ")
    return shared if len(parts) <= _LONGEST_EXAMPLE else " ".join([*parts[:_LONGEST_EXAMPLE], "…"])
