"""What was measured, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

OURS, ONE = "ours", "stock, 1"
_CHOICES = 4


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement."""

    shape: str
    way: str
    documents: int
    seconds: float
    cpu_seconds: float
    """Of the client."""

    requests: float
    """HTTP requests."""

    sequences: float
    """Prompts."""

    prompt_tokens: float
    cached_tokens: float
    """Prompt tokens that the server found in its prefix cache."""

    preemptions: float

    @property
    def rate(self) -> float:
        """Documents a second."""
        return self.documents / self.seconds

    @property
    def computed(self) -> float:
        """Prompt tokens that the server computed."""
        return self.prompt_tokens - self.cached_tokens


@dataclass(frozen=True, slots=True)
class Agreement:
    """How answers differ; log-likelihoods in nats."""

    reference: str
    """Stock at its highest concurrency."""

    documents: int
    """Scored by both."""

    largest: float
    """Difference of a log-likelihood between ours and the reference."""

    picks: int
    """Documents of which another choice is the likeliest."""

    greedy: int
    """Choices for which is_greedy differs."""

    texts: int
    """Generated texts that differ."""

    documents_one: int
    """Scored by stock one at a time."""

    largest_one: float
    """Difference of a log-likelihood between ours and stock one at a time."""

    largest_stock: float
    """The same between the reference and stock one at a time."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What the accelerator could do."""

    parameters: float
    peak: float
    """Operations a second."""

    def share(self, run: Run) -> float:
        """Return the share of the peak that multiplying prompts by weights took."""
        return 2 * self.parameters * run.computed / run.seconds / self.peak


def agreement(answers: Mapping[str, Sequence[Any]]) -> Agreement:
    """Compare ours with stock.

    A server that computes several prompts at a time cuts them otherwise and rounds otherwise, so
    that stock differs from itself; without knowing by how much, a difference says little.
    """
    name = max((name for name in answers if name != OURS), key=lambda name: int(name.split()[-1]))
    ours, reference, one = answers[OURS], answers[name], answers[ONE]
    texts = isinstance(ours[0], str)
    size = 1 if texts else _CHOICES
    return Agreement(
        reference=name,
        documents=len(reference) // size,
        largest=_largest(ours, reference),
        picks=0 if texts else _different(_picks(ours), _picks(reference)),
        greedy=0 if texts else _different([g for _, g in ours], [g for _, g in reference]),
        texts=_different(ours, reference) if texts else 0,
        documents_one=len(one) // size,
        largest_one=_largest(ours, one),
        largest_stock=_largest(reference, one),
    )


def _different(one: Iterable[Any], other: Iterable[Any]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def _largest(many: Sequence[Any], few: Sequence[Any]) -> float:
    """Return the largest difference among those that both have scored, which come first."""
    if isinstance(few[0], str):
        return 0.0
    return max(abs(a - b) for (a, _), (b, _) in zip(many, few, strict=False))


def _picks(answers: Sequence[Any]) -> list[int]:
    values = [value for value, _ in answers]
    documents = [values[i : i + _CHOICES] for i in range(0, len(values), _CHOICES)]
    return [document.index(max(document)) for document in documents]


def tables(
    runs: Sequence[Run], agreements: Mapping[str, Agreement], limit: Limit | None = None
) -> str:
    """Return how fast, at what cost, and whether the answers agree."""
    shapes = list(dict.fromkeys(run.shape for run in runs))
    grouped = {shape: _by_way(runs, shape) for shape in shapes}
    speed = [
        "| shape | stock, one at a time | stock at its best | ours | ours / best | ours / one |",
        "|---|--:|--:|--:|--:|--:|",
        *(_speed(shape, ways) for shape, ways in grouped.items()),
    ]
    head = ["shape", "client", "documents", "documents/s", "requests", "prompts",
            "computed tokens", "cached", "client CPU ms"]  # fmt: skip
    head += ["preempted", *(["of peak"] if limit else [])]
    cost = [
        f"| {' | '.join(head)} |",
        f"|---|---|{'--:|' * (len(head) - 2)}",
        *(_cost(found, limit) for ways in grouped.values() for found in ways.values()),
    ]
    same = [
        "| shape | documents | other pick | other is_greedy | other text | largest difference "
        "| from stock, 1 (documents) | of stock itself |",
        f"|---|{'--:|' * 7}",
        *(_same(shape, found) for shape, found in agreements.items()),
    ]
    return "\n".join(
        [
            "Documents a second, medians; ratios are medians of those within a repeat.", "",
            *speed, "", "Per document, medians.", "", *cost, "",
            "Answers of ours against stock at its highest concurrency, in nats.", "", *same,
        ]
    )  # fmt: skip


def _by_way(runs: Sequence[Run], shape: str) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in sorted((run for run in runs if run.shape == shape), key=_order):
        found.setdefault(run.way, []).append(run)
    return found


def _order(run: Run) -> tuple[bool, int]:
    return run.way == OURS, int(run.way.split()[-1]) if run.way != OURS else 0


def _rate(runs: Sequence[Run]) -> float:
    return median(run.rate for run in runs)


def _speed(shape: str, ways: Mapping[str, Sequence[Run]]) -> str:
    best = max((name for name in ways if name != OURS), key=lambda name: _rate(ways[name]))
    cells = [f"{_rate(ways[ONE]):.2f}", f"{_rate(ways[best]):.2f} ({best.split()[-1]})"]
    cells.append(f"{_rate(ways[OURS]):.2f}")
    for stock in (ways[best], ways[ONE]):
        ratios = sorted(a.rate / b.rate for a, b in zip(ways[OURS], stock, strict=True))
        cells.append(f"{median(ratios):.1f} ({ratios[0]:.1f}–{ratios[-1]:.1f})")
    return f"| {shape} | {' | '.join(cells)} |"


def _cost(runs: Sequence[Run], limit: Limit | None) -> str:
    first = runs[0]

    def each(name: str) -> float:
        return median(getattr(run, name) / run.documents for run in runs)

    cached = median(run.cached_tokens / max(run.prompt_tokens, 1) for run in runs)
    cells = [first.shape, first.way, str(first.documents), f"{_rate(runs):.2f}"]
    cells += [f"{each('requests'):.2f}", f"{each('sequences'):.2f}", f"{each('computed'):.0f}"]
    cells += [f"{cached:.0%}", f"{1000 * each('cpu_seconds'):.1f}", f"{each('preemptions'):.2f}"]
    if limit:
        cells.append(f"{median(limit.share(run) for run in runs):.1%}")
    return f"| {' | '.join(cells)} |"


def _same(shape: str, found: Agreement) -> str:
    cells = [shape, str(found.documents), str(found.picks), str(found.greedy), str(found.texts)]
    cells += [f"{found.largest:.1e}", f"{found.largest_one:.1e} ({found.documents_one})"]
    return f"| {' | '.join([*cells, f'{found.largest_stock:.1e}'])} |"
