"""What a metric takes from the choices of a row: how much each is worth to it, and who is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infra.suite.rows import Row, choice_likelihoods

UNITS: Mapping[str, str] = {
    "acc": "nats",
    "acc_norm": "nats per character",
    "acc_bytes": "nats per byte",
    "acc_mutual_info": "nats",
}
"""Metrics that take the best of several choices for the answer → unit of what a choice is worth."""

_TWICE = "acc_mutual_info"
"""With it, each choice is asked a second time without its question."""


def choices_of(row: Row, filter_name: str) -> int:
    """Return how many choices a row has; 0 if it has none."""
    count = len(choice_likelihoods(row.filtered.get(filter_name)) or ())
    return count // 2 if any(key.partition(",")[0] == _TWICE for key in row.metrics) else count


def worths(row: Row, metric: str) -> list[float]:
    """Return what each choice is worth to a metric, as lm-eval has it; empty if that is unknown.

    `acc` takes the choices' log-likelihoods, `acc_norm` divides them by the choices' characters and
    `acc_bytes` by their bytes, `acc_mutual_info` subtracts what the choice has without its
    question.

    Args:
        row: As one arm answered it.
        metric: `<metric>,<filter>`.
    """
    name, _, filter_name = metric.partition(",")
    count = choices_of(row, filter_name)
    found = choice_likelihoods(row.filtered.get(filter_name)) or []
    # What lm-eval puts between prompt and choice is no part of the choice.
    texts = [text.strip() for text in row.continuations[:count]]
    if len(texts) < count:
        return []
    worth = found[:count]
    if name == "acc_norm":
        return [one / max(len(text), 1) for one, text in zip(worth, texts, strict=True)]
    if name == "acc_bytes":
        return [one / max(len(text.encode()), 1) for one, text in zip(worth, texts, strict=True)]
    if name == _TWICE:
        return [one - alone for one, alone in zip(worth, found[count:], strict=True)]
    return worth


def first_best(worth: Sequence[float]) -> int:
    """Return the choice that is taken: of equal ones the first, as lm-eval does."""
    return worth.index(max(worth))


def named_right(row: Row, count: int) -> frozenset[int]:
    """Return the choices that a row's target names, by number or text; empty if it names none."""
    targets = row.target if isinstance(row.target, list) else [row.target]
    texts = [text.strip() for text in row.continuations[:count]]
    right = set()
    for target in targets:
        if isinstance(target, int) and not isinstance(target, bool):
            right |= {target} if 0 <= target < count else set()
        elif texts.count(text := str(target).strip()) == 1:
            right.add(texts.index(text))
    return frozenset(right)
