"""Two clients' answers to the same questions, side by side: what differs, and what is a tie.

A tie is what arithmetic may decide either way, however exact the clients are:

- a *pick* (the likeliest choice of a document, by sum or by sum per letter): the two choices lie
  within `Limits.tie` of each other in stock's own numbers;
- *is_greedy*: asked again for margins, the server says that the continuation's least certain token
  lies within `Limits.tie` of the next likeliest (or of the likeliest, if it is not that itself);
- a *text* generated at temperature 0: up to the letter where the texts part, there was a token at
  which the likeliest two lay within `Limits.tie`. A text drawn by chance is never a tie.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias


@dataclass(frozen=True)
class Limits:
    """What may differ, in nats."""

    score: float
    """Two log-likelihoods of the same continuation, if it is a short one."""

    share: float
    """What is allowed on top, for each nat of the log-likelihood: a text of thousands of tokens
    adds up as many roundings."""

    tie: float
    """Two candidates that are as good as equally likely."""


LIMITS = {
    "float32": Limits(score=1e-3, share=1e-7, tie=1e-4),
    "float16": Limits(score=0.1, share=1e-4, tie=0.05),
    "bfloat16": Limits(score=0.5, share=1e-3, tie=0.2),
}
"""By the type the engine computes in. Only float32 is exact enough that batches do not matter."""


class Request(NamedTuple):
    """One question."""

    document: tuple[str, int]
    context: str
    wanted: Any
    """A continuation, the settings of a generation, or None: the context as a whole."""


Answer: TypeAlias = tuple[float, bool] | float | str


class Judge(Protocol):
    """Knows how certain the server is."""

    def greedy_is_tied(self, request: Request, tie: float) -> bool:
        """Tell whether a hair decides `is_greedy`."""

    def texts_are_tied(self, request: Request, one: str, other: str, tie: float) -> bool:
        """Tell whether a hair decides which text it is."""


@dataclass
class Count:
    """Differences of one kind."""

    real: int = 0
    tied: int = 0

    def __str__(self) -> str:
        return f"{self.real}" + (f" ({self.tied} tied)" if self.tied else "")

    def add(self, tied: bool) -> bool:
        self.tied += tied
        self.real += not tied
        return not tied


@dataclass
class Verdict:
    """What came of one case."""

    name: str
    documents: int
    limits: Limits
    largest: float = 0.0
    """Difference of two log-likelihoods, in nats."""

    picks: Count = field(default_factory=Count)
    greedy: Count = field(default_factory=Count)
    texts: Count = field(default_factory=Count)
    said: list[str] = field(default_factory=list)
    """What differs, the first ones of it, in words."""

    otherwise: int = 0
    """Log-likelihoods that differ too much, and differences of any other kind."""

    @property
    def equal(self) -> bool:
        return not self.picks.real + self.greedy.real + self.texts.real + self.otherwise

    def say(self, text: str) -> None:
        if len(self.said) < 5:
            self.said.append(text)

    def differ(self, text: str) -> None:
        """Note a difference that is neither pick, flag nor text."""
        self.otherwise += 1
        self.say(text)


def compare(
    name: str,
    requests: Sequence[Request],
    theirs: Sequence[Answer],
    ours: Sequence[Answer],
    judge: Judge,
    limits: Limits,
) -> Verdict:
    """Compare stock's answers with ours."""
    verdict = Verdict(name, len({question.document for question in requests}), limits)
    choices: dict[tuple[str, int], list[tuple[str, float, float]]] = defaultdict(list)
    for question, their, our in zip(requests, theirs, ours, strict=True):
        match their, our:
            case str(), str():
                _compare_texts(verdict, question, their, our, judge)
            case (their_score, their_flag), (our_score, our_flag):
                _compare_scores(verdict, question, their_score, our_score)
                choices[question.document].append((question.wanted, their_score, our_score))
                if bool(their_flag) != bool(our_flag) and verdict.greedy.add(
                    judge.greedy_is_tied(question, limits.tie)
                ):
                    verdict.say(f"is_greedy {their_flag} and {our_flag}: {question}")
            case float() | int(), float() | int():
                _compare_scores(verdict, question, their, our)
            case _:
                verdict.differ(f"{their!r} and {our!r}: {question}")
    for document, found in choices.items():
        _compare_picks(verdict, document, found)
    return verdict


def _compare_scores(verdict: Verdict, request: Request, their: float, our: float) -> None:
    difference = 0.0 if their == our else abs(their - our)  # infinite ones may be equal
    difference = math.inf if math.isnan(difference) else difference
    verdict.largest = max(verdict.largest, difference)
    if difference > verdict.limits.score + verdict.limits.share * abs(their):
        verdict.differ(f"{their} and {our}: {request}")


def _compare_texts(verdict: Verdict, request: Request, their: str, our: str, judge: Judge) -> None:
    if their != our and verdict.texts.add(
        judge.texts_are_tied(request, their, our, verdict.limits.tie)
    ):
        verdict.say(f"{their!r} and {our!r}: {request}")


def _compare_picks(
    verdict: Verdict, document: tuple[str, int], found: Sequence[tuple[str, float, float]]
) -> None:
    sizes: tuple[Callable[[str], int], ...] = (lambda _: 1, lambda text: len(text) or 1)
    for size in sizes:
        theirs = [their / size(text) for text, their, _ in found]
        ours = [our / size(text) for text, _, our in found]
        their_pick, our_pick = _best(theirs), _best(ours)
        if their_pick != our_pick and verdict.picks.add(
            abs(theirs[their_pick] - theirs[our_pick]) <= verdict.limits.tie
        ):
            verdict.say(f"{document} picks choice {their_pick} and {our_pick}")


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)  # of equal ones the first


def table(verdicts: Iterable[Verdict]) -> str:
    """Return the verdicts as a table, with what differs below each line."""
    head = ("case", "documents", "largest difference", "picks", "is_greedy", "texts", "")
    rows = [head]
    notes: list[list[str]] = [[]]
    for verdict in verdicts:
        rows.append(
            (
                verdict.name, f"{verdict.documents}", f"{verdict.largest:.1e}",
                f"{verdict.picks}", f"{verdict.greedy}", f"{verdict.texts}",
                "" if verdict.equal else "DIFFERENT",
            )
        )  # fmt: skip
        notes.append([] if verdict.equal else verdict.said)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, said in zip(rows, notes, strict=True):
        cells = zip(row, widths, strict=True)
        lines.append("  ".join(cell.ljust(width) for cell, width in cells).rstrip())
        lines += [f"    {text[:500]}" for text in said]
    return "\n".join(lines)
