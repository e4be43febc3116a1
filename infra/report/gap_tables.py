"""How close the choices of a row are: tables and sentences, the same on the page and in Markdown.

Each table is none, and each sentence empty, where no task has choices.
"""

from __future__ import annotations

from collections.abc import Iterator

from infra.contracts import wording
from infra.contracts.records import ChoiceGaps, CloseRow, GapChange, Gaps, Pair, PredictedFlips
from infra.judging.statistics import POISSON_BINOMIAL
from infra.report.tables import Table

_SHOWN = 20
"""Rows in the table of the closest, over all tasks."""

ALL = "All rows"
BEST, RIGHT = "best − second best", "right − best wrong"

_OUTCOMES = {
    "lost": "lost", "gained": "gained", "changed": "another answer, same mark", "kept": "kept",
}  # fmt: skip


def parts(gaps: ChoiceGaps) -> list[tuple[str, Gaps]]:
    """Return all rows together, if there are several tasks, and every task, by their names."""
    whole = [(ALL, gaps.whole)] if len(gaps.tasks) > 1 else []
    return [*whole, *gaps.tasks.items()]


def changes(pair: Pair) -> Table | None:
    """Return the gaps in both arms, and their change."""
    gaps = pair.comparison.gaps
    rows = [
        {
            "Task": name,
            "Gap": kind,
            "Rows": f"{of.rows:,}",
            "Median": _beside(gap.baseline.median, gap.candidate.median),
            "Mean": _beside(gap.baseline.mean, gap.candidate.mean),
            "Change of the mean": _change(gap),
            "Unit": of.unit,
        }
        for name, of in (parts(gaps) if gaps else ())
        for kind, gap in ((BEST, of.best), (RIGHT, of.right))
        if gap is not None
    ]
    return Table("Gaps between the choices, baseline → candidate", rows) if rows else None


def flips(pair: Pair) -> Table | None:
    """Return the flips that noise alone makes beside those that were seen."""
    gaps = pair.comparison.gaps
    rows: list[dict[str, str]] = []
    marked: set[tuple[int, str]] = set()
    for name, of in parts(gaps) if gaps else ():
        if of.changed is None:
            continue
        row = {"Task": name, "Rows": f"{of.changed.rows:,}"}
        for head, found in (("Flips", of.flips), ("Changed", of.changed)):
            row |= {f"{head} predicted": _predicted(found), f"{head} seen": _seen(found)}
            if found and found.beyond == "more":
                marked.add((len(rows), f"{head} seen"))
        rows.append(row)
    if not rows:
        return None
    return Table("Flips that noise alone makes, and flips seen", rows, frozenset(marked))


def closest(pair: Pair) -> Table | None:
    """Return the rows that are closest to flipping."""
    gaps = pair.comparison.gaps
    found = [row for of in gaps.tasks.values() for row in of.closest] if gaps else []
    found.sort(key=lambda row: (-(row.chance or 0), row.baseline))
    rows = [
        {
            "Row": f"{row.task} {row.doc_id}",
            "Baseline ahead by": _signed(row.baseline),
            "Candidate, same answer": _signed(row.candidate),
            "Chance to flip": _chance(row),
            "What it did": _OUTCOMES[row.outcome],
        }
        for row in found[:_SHOWN]
    ]
    return Table("Rows closest to flipping", rows) if rows else None


def introduction() -> str:
    """Return what a gap is, for who reads of it the first time."""
    return (
        "Where choices are scored, the model takes the one it finds likeliest. The gap is by how "
        "much: log-probability of the best choice minus that of the second best, in nats (0.7 "
        "nats: twice as likely). The gap of the right choice is its lead over the best wrong one, "
        "below zero where the answer is wrong. A row with a small gap flips at a small push, so "
        "gaps shrink before scores fall."
    )


def legend() -> str:
    """Return how to read the figure."""
    return (
        "Figure: half of the rows lie on the thick part of a line, nine in ten on all of it; the "
        "dot is the median."
    )


def reading(pair: Pair) -> str:
    """Return how to read the flips that were predicted."""
    gaps = pair.comparison.gaps
    if gaps is None or flips(pair) is None:
        return ""
    return (
        "Predicted: every row is pushed, in thought, as the candidate pushed each of the other "
        "rows, and those that flip are counted; in brackets the range that holds "
        f"{wording.confidence(gaps.confidence)} of such counts. Within it, the flips are what "
        "small changes do to rows this close, both ways. More of them: the change hits certain "
        "rows harder, which is worth a look at the rows that flipped. Fewer: it spares the close "
        "ones."
    )


def sentences(pair: Pair) -> tuple[str, ...]:
    """Return what the tables come to: for all rows, or for the one task."""
    gaps = pair.comparison.gaps
    if gaps is None:
        return ()
    return tuple(_sentences(gaps))


def method(pair: Pair) -> str:
    """Return how the numbers were made."""
    gaps = pair.comparison.gaps
    if gaps is None:
        return ""
    found = {gap.method for _, of in parts(gaps) for gap in (of.best, of.right) if gap is not None}
    left_out = gaps.whole.left_out
    without = (
        f" {left_out:,} rows are left out, whose marks do not follow from their choices' "
        "log-probabilities." if left_out else ""
    )  # fmt: skip
    slopes = [f"{name} {wording.number(of.slope)}" for name, of in gaps.tasks.items() if of.slope]
    factor = (
        f" Before they are pushed, gaps are multiplied by what is left of them apart from noise: "
        f"{wording.listed(slopes)}." if slopes else ""
    )  # fmt: skip
    return (
        f"Interval: {wording.confidence(gaps.confidence)} for candidate minus baseline, paired by "
        f"row. {'. '.join(sorted(found))}. Range of flips: {POISSON_BINOMIAL}.{factor} Where a "
        f"metric divides by the length of a choice, so does the gap.{without}"
    )


def _sentences(gaps: ChoiceGaps) -> Iterator[str]:
    whole, several = gaps.whole, len(gaps.tasks) > 1
    over = "Over all rows with choices" if several else f"Over the rows of {next(iter(gaps.tasks))}"
    best = whole.best
    if best is not None and best.low is not None and best.high is not None:
        share = best.difference / best.baseline.mean if best.baseline.mean else 0.0
        of = f", {100 * abs(share):.0f} % of the baseline's," if share else ""
        much = f"{wording.number(abs(best.difference))} {whole.unit}{of}"
        if best.high < 0:
            yield f"{over}, gaps have shrunk by {much} on average."
        elif best.low > 0:
            yield f"{over}, gaps have grown by {much} on average."
        else:
            yield f"{over}, gaps are not shown to have shrunk or grown."
    found = whole.flips
    if found is not None:
        predicted = f"{found.predicted:.1f} ({found.low:,} to {found.high:,})"
        how = {
            "": "no more and no fewer than", "more": "more than", "fewer": "fewer than",
        }[found.beyond]  # fmt: skip
        yield (
            f"Noise as large as the candidate's lets {predicted} of {found.rows:,} rows flip; "
            f"{found.seen:,} did, {how} noise alone makes."
        )


def _beside(one: float, other: float) -> str:
    return f"{_signed(one)} → {_signed(other)}"


def _signed(value: float) -> str:
    return wording.difference(value, "value", signed=False)


def _change(gap: GapChange) -> str:
    text = wording.difference(gap.difference, "value")
    if gap.low is None or gap.high is None:
        return text
    return f"{text} ({wording.interval(gap.low, gap.high, 'value')})"


def _predicted(found: PredictedFlips | None) -> str:
    return f"{found.predicted:,.1f} ({found.low:,} to {found.high:,})" if found else "-"


def _seen(found: PredictedFlips | None) -> str:
    if found is None:
        return "-"
    beyond = f" ({found.beyond} than predicted)" if found.beyond else ""
    return f"{found.seen:,}{beyond}"


def _chance(row: CloseRow) -> str:
    return "-" if row.chance is None else f"{100 * row.chance:.0f} %"
