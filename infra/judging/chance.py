"""What guessing scores, and how much of a score is left after quantization.

At four choices a model that knows nothing scores 25 %. Candidate over baseline therefore flatters a
broken model: 30 of 60 % reads as half, though only a seventh of the knowledge is left.

Whoever writes the answer can guess, too, wherever the right answers are few labels: letters, yes
and no, small numbers. The best guess is then the most frequent label, and so it is where the same
few labels are offered as choices, of which a small model may always take the one it likes best.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infra.judging.choices import UNITS, choices_of
from infra.judging.labels import Labels, are_few, labels_of, picked
from infra.scoring.ways import ASKS, TOOLS
from infra.suite.rows import Row

_TO_THE_LETTER = re.compile(
    r"(exact_match|em|exact|acc|accuracy)(_|$)|math_verify$|pass@|prompt_level_"
)
"""Metrics of written answers which no guess gets right, unless the answers are few labels."""

_CALLS = ("all_right", "right_calls", "right_functions")
"""Metrics of rows with functions that whoever calls none has right where none is due."""

_UNEQUAL = 1e-4
"""Chance below which one of several choices is no longer right more often than others by luck. It
is small, since `Guessing.luck` tells who lives on such luck, and a chance that is given too high
hides what was lost."""

_OTHER_SHARES = 0.01
"""Chance below which tasks have their labels in other shares."""


@dataclass(frozen=True, slots=True)
class Guessing:
    """What is scored without knowing anything."""

    chance: float | None
    """By guessing, as a share of the rows; none for metrics of which that is not known."""

    luck: float | None = None
    """Chance to score as much with these very answers, given to the questions by lot; none where
    the choices are no few labels. It is 1 for a model that answers always the same, however many
    rows happen to have that for the right answer."""


def guessing(metric: str, rows: Sequence[Row]) -> Guessing:
    """Return what guessing scores.

    What a kind of rows declares for each of them. Else of choices, the mean of one over their
    number, or the share of the most frequent label where that is more than luck explains. Of
    written answers, the share of the most frequent label where they are few; else nothing, where an
    answer has to match to the letter. Of functions, the share of rows in which none may be called.

    Args:
        metric: `<metric>,<filter>`, of rows that score between 0 and 1, more being better.
        rows: Rows of one arm, at least one.
    """
    name, _, filter_name = metric.partition(",")
    if not all(filter_name in row.filtered for row in rows):
        return Guessing(None)
    if (by_kind := _by_kind(name, rows)) is not None:
        return by_kind
    choices = [choices_of(row, filter_name) for row in rows]
    offered = name in UNITS and all(count > 1 for count in choices)
    if name in UNITS and not offered and any(count > 1 for count in choices):
        return Guessing(None)
    labels = labels_of(rows, choices, metric)
    if offered:
        shares = [1 / count for count in choices]
        uniform = math.fsum(shares) / len(rows)
        if labels is None or (constant := _constant(rows, labels, shares)) is None:
            return Guessing(uniform)
        given = [picked(row, metric) for row in rows]
        return Guessing(
            constant if _beyond(constant, uniform, labels) else uniform,
            _luck(rows, labels, given, shares),
        )
    constant = None if labels is None else _constant(rows, labels, [0.0] * len(rows))
    nothing = 0.0 if _TO_THE_LETTER.match(name) else None
    return Guessing(nothing if constant is None else constant)


def _by_kind(name: str, rows: Sequence[Row]) -> Guessing | None:
    """Return what guessing scores on rows whose kind says so; none of all others."""
    declared = [chance for row in rows if (chance := row.by_chance) is not None]
    if len(declared) == len(rows):
        return Guessing(math.fsum(declared) / len(rows))
    if all(row.doc.get(ASKS) == TOOLS for row in rows):
        return Guessing(_of_silence(rows) if name in _CALLS else None)
    return None


def _of_silence(rows: Sequence[Row]) -> float:
    """Return what is scored without calling any function, nor knowing any answer."""
    silent = [row.doc["due"] == row.doc["final"] == "[]" for row in rows]
    return silent.count(True) / len(rows)


def recovery(baseline: float, candidate: float, chance: float = 0.0) -> float | None:
    """Return which share of the baseline's score the candidate has, both above chance.

    Args:
        baseline: Score of the baseline.
        candidate: Score of the candidate.
        chance: What guessing scores.

    Returns:
        The share, below zero for a model worse than guessing; none if base is no better than that.
    """
    return (candidate - chance) / (baseline - chance) if baseline > chance else None


def _constant(
    rows: Sequence[Row], labels: Sequence[Labels], otherwise: Sequence[float]
) -> float | None:
    """Return what the most frequent label scores; none if nowhere are few labels.

    Tasks of a group that share labels are counted together, since whoever knows nothing does not
    know either which letter is a little more frequent in which of them; tasks that have other
    labels, or the same in clearly other shares, have a most frequent one of their own.

    Args:
        rows: Of one task or group.
        labels: What is right in each row.
        otherwise: What guessing scores in each row of tasks that have no few labels.
    """
    parts: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        parts.setdefault(row.task, []).append(number)
    scored, any_few = 0.0, False
    for together in _alike([[labels[number] for number in part] for part in parts.values()],
                           list(parts.values())):  # fmt: skip
        members = [number for part in together for number in part]
        if are_few([labels[number] for number in members]):
            any_few = True
            scored += _most([[labels[number] for number in part] for part in together])
        else:
            scored += math.fsum(otherwise[number] for number in members)
    return scored / len(rows) if any_few else None


def _alike(labels: Sequence[Sequence[Labels]], parts: Sequence[list[int]]) -> list[list[list[int]]]:
    """Return parts in groups of those that share labels, directly or through others."""
    groups: list[tuple[set[str], list[list[int]]]] = []
    for own, part in zip(labels, parts, strict=True):
        union, members = set().union(*own), [part]
        for group in [group for group in groups if group[0] & union]:
            groups.remove(group)
            union, members = union | group[0], group[1] + members
        groups.append((union, members))
    return [members for _, members in groups]


def _most(parts: Sequence[Sequence[Labels]]) -> int:
    together = _most_frequent([label for part in parts for label in part])
    return sum(map(_most_frequent, parts)) if _differ(parts) else together


def _most_frequent(labels: Iterable[Labels]) -> int:
    return max(Counter(one for label in labels for one in label).values(), default=0)


def _differ(parts: Sequence[Sequence[Labels]]) -> bool:
    """Return whether tasks have their labels in other shares than luck explains."""
    kinds = sorted({label for part in parts for label in part}, key=sorted)
    if len(parts) < 2 or len(kinds) < 2:
        return False
    from scipy.stats import chi2_contingency

    counts = [Counter(part) for part in parts]
    table = [[count[kind] for kind in kinds] for count in counts]
    return bool(chi2_contingency(table).pvalue < _OTHER_SHARES)


def _luck(
    rows: Sequence[Row], labels: Sequence[Labels], given: Sequence[str], shares: Sequence[float]
) -> float:
    """Return the chance to agree as often with the right answers by answers dealt out by lot.

    Within each task: mean and variance of the number of agreements over all ways to deal out the
    answers (W. Hoeffding 1951, "A combinatorial central limit theorem", Annals of Mathematical
    Statistics 22, 558-566), and the normal limit. Tasks that have no few labels count as drawn.

    Args:
        rows: Of one task or group.
        labels: What is right in each row.
        given: What was answered in each row.
        shares: One over the number of choices of each row.
    """
    from scipy.stats import norm

    parts: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        parts.setdefault(row.task, []).append(number)
    agreed, mean, variance = 0, 0.0, 0.0
    for part in parts.values():
        right, own = [labels[n] for n in part], [given[n] for n in part]
        agreed += sum(one in label for one, label in zip(own, right, strict=True))
        if are_few(right):
            more, spread = _dealt(right, own)
        else:
            more = math.fsum(shares[n] for n in part)
            spread = math.fsum(shares[n] * (1 - shares[n]) for n in part)
        mean, variance = mean + more, variance + spread
    if variance <= 0:
        return 1.0
    return float(norm.sf((agreed - 0.5 - mean) / math.sqrt(variance)))


def _dealt(right: Sequence[Labels], given: Sequence[str]) -> tuple[float, float]:
    """Return mean and variance of the number of agreements of answers dealt out by lot."""
    rows, kinds, answers = len(right), Counter(right), Counter(given)
    by_kind = {kind: sum(answers[one] for one in kind) / rows for kind in kinds}
    by_answer = {
        one: sum(count for kind, count in kinds.items() if one in kind) / rows for one in answers
    }
    grand = sum(by_kind[kind] * count for kind, count in kinds.items()) / rows
    spread = math.fsum(
        count * times * ((one in kind) - by_kind[kind] - by_answer[one] + grand) ** 2
        for kind, count in kinds.items()
        for one, times in answers.items()
    )
    return grand * rows, spread / (rows - 1) if rows > 1 else 0.0


def _beyond(constant: float, uniform: float, labels: Sequence[Labels]) -> bool:
    """Return whether one label is more frequent than choices drawn by lot would make it."""
    if constant <= uniform:
        return False
    from scipy.stats import binomtest

    found = binomtest(round(constant * len(labels)), len(labels), uniform, alternative="greater")
    return bool(found.pvalue * len(set().union(*labels)) < _UNEQUAL)
