"""Which questions travel in one HTTP request.

The server computes each prompt of a request by itself, so what goes together changes no answer. It
spares both sides the cost of a request: connection, parsing, and one answer object per question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from infra.scoring.plan import MAX_WANTED, Echo, Read
from infra.scoring.protocol import Generation, Question
from infra.scoring.tokens import count

Batch: TypeAlias = Sequence[Question]

MAX_READS = 64
MAX_READ_TOKENS = 16_384
"""Tokens of prompts in one request of reads: about 100 kB of JSON."""

MAX_ECHOES = 4
MAX_ECHO_TOKENS = 4_096
"""The answer to an echo takes about 100 bytes a token, and the server's time to write it."""


def batches(questions: Iterable[Question], *, forces: bool = False) -> Iterator[Batch]:
    """Yield the questions in order, cut into requests.

    Reads that want different tokens share a request that asks for all of these, up to
    `MAX_WANTED`. A generation travels alone, so that one long text does not hold up the others.

    Args:
        questions: What to ask.
        forces: Whether tokens are read by forcing them: the same after each prompt of a request.
    """
    batch: list[Question] = []
    wanted: set[int] = set()
    tokens = 0
    for question in questions:
        size = count(question.prompt)
        more = wanted.union(question.wanted) if isinstance(question, Read) else set()
        alike = not forces or not batch or _wants(question) == _wants(batch[0])
        if batch and not (alike and _fits(question, batch, tokens + size, len(more))):
            yield batch
            batch, tokens = [], 0
            more = set(question.wanted) if isinstance(question, Read) else set()
        batch.append(question)
        tokens, wanted = tokens + size, more
    if batch:
        yield batch


def _wants(question: Question) -> tuple[int, ...]:
    return question.wanted if isinstance(question, Read) else ()


def _fits(question: Question, batch: Batch, tokens: int, wanted: int) -> bool:
    if type(question) is not type(batch[0]) or isinstance(question, Generation):
        return False
    if isinstance(question, Echo):
        return len(batch) < MAX_ECHOES and tokens <= MAX_ECHO_TOKENS
    return len(batch) < MAX_READS and tokens <= MAX_READ_TOKENS and wanted <= MAX_WANTED
