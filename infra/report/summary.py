"""What a reader learns first: the verdict and what stands behind it, sentence by sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra.contracts import wording
from infra.contracts.records import Report
from infra.judging.comparison import recipe_name
from infra.probes.speed import in_different_runs, slower, summary

_SLOW_POINTS = 2
"""Points at which it is slower that are told in full; the table has them all."""

_NOTABLE_CUT = 0.1
"""Share of answers that ran into the token limit."""

_NOTABLE_OVERLAP = 0.01
"""Share of the exam's rows from which on an overlap with the calibration set is told early."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The first lines of a report, in plain words."""

    status: str
    """`PASS`, `FAIL` or `INCONCLUSIVE`."""

    headline: str
    """One sentence, without the status."""

    subject: str
    """What was measured."""

    margin: str
    """What the verdict was held against."""

    reasons: tuple[str, ...]
    needed: str
    alert: tuple[str, ...]
    """Why the run is worse than earlier ones; empty if it is not."""

    alert_changes: tuple[str, ...]
    caveats: tuple[str, ...]
    """Where it is slower, and what weakens the verdict."""

    bought: tuple[str, ...]
    """What quantization gave, one sentence each."""


def summarize(report: Report) -> Summary:
    """Return the first lines of a report."""
    verdict, alert = report.verdict, report.alert
    headline = verdict.headline.removeprefix(f"{verdict.status}:").strip().rstrip(".")
    good = f" The last good one is {alert.good_run}." if alert and alert.good_run else ""
    return Summary(
        status=verdict.status,
        headline=f"{headline[:1].upper()}{headline[1:]}.",
        subject=_subject(report),
        margin=_margin(report),
        reasons=verdict.reasons,
        needed=verdict.needed,
        alert=(f"This run is worse than earlier ones of its kind.{good}", *alert.reasons)
        if alert
        else (),
        alert_changes=alert.changes if alert else (),
        caveats=(*_cut(report), *_slower(report), *_overlap(report), *_alone(report)),
        bought=tuple(_bought(report)),
    )


def _subject(report: Report) -> str:
    recipe, server = report.spec.quantization, report.arms["quantized"].server
    return (
        f"as it came and as {recipe_name(recipe)} in groups of {recipe.group_size}, "
        f"both served by vLLM {server.version} on {server.device}"
    )


def _margin(report: Report) -> str:
    verdict, spec = report.verdict, report.spec.verdict
    widened = verdict.widened_from_points
    told = "" if widened is None else f" (widened: {wording.points(widened)} was asked for)"
    return (
        f"Acceptable is a loss below {wording.points(verdict.margin_points)}{told} over all rows, "
        f"shown with {100 * spec.confidence:g} % confidence, and at most "
        f"{wording.points(spec.task_margin_points)} on a single task."
    )


def _slower(report: Report) -> Iterator[str]:
    base, quantized = (report.arms[arm].bench for arm in ("base", "quantized"))
    sentences = slower(base, quantized)
    yield from sentences[:_SLOW_POINTS]
    if more := sentences[_SLOW_POINTS:]:
        yield f"It is slower at {len(more)} more of the points that were measured."
    if in_different_runs(base, quantized):
        yield "The arms were timed in different runs, so load, heat or drivers may differ."


def _cut(report: Report) -> Iterator[str]:
    for arm, result in report.arms.items():
        for task in result.tasks.values():
            if task.truncated > _NOTABLE_CUT * task.n:
                yield (
                    f"{task.truncated:,} of {task.n:,} answers of the {arm} model on {task.name} "
                    "ran into the token limit and were marked as far as they went."
                )


def _alone(report: Report) -> Iterator[str]:
    if report.not_compared:
        yield f"Earlier runs could not be compared with ({report.not_compared})."


def _overlap(report: Report) -> Iterator[str]:
    found = report.overlap
    if found and (rows := sum(found.found.values())) > _NOTABLE_OVERLAP * found.rows:
        yield (
            f"{rows:,} of {found.rows:,} exam rows share {found.ngram} words in a row with the "
            "calibration set: the quantized model may look better here than elsewhere."
        )


def _bought(report: Report) -> Iterator[str]:
    base, quantized = report.arms["base"], report.arms["quantized"]
    sizes = wording.size(base.checkpoint.size_bytes), wording.size(quantized.checkpoint.size_bytes)
    ratio = 100 * report.comparison.size_ratio
    yield f"The weights take {ratio:.0f} % of the disk: {sizes[0]} → {sizes[1]}."
    if told := loaded_weights(report):
        first, second = told
        sizes = wording.size(first), wording.size(second)
        yield f"Loaded, they take {100 * second / first:.0f} % of the memory: {' → '.join(sizes)}."
    if ratios := throughput_ratios(report):
        span = ratio_span(ratios)
        yield f"It writes {span} times as many tokens a second as the base model."


def loaded_weights(report: Report) -> tuple[int, int] | None:
    """Return bytes of the loaded weights in both arms; none unless both were told."""
    told = []
    for arm in ("base", "quantized"):
        bench = report.arms[arm].bench
        told.append(bench.memory.weights_bytes if bench else None)
    base, quantized = told
    return (base, quantized) if base and quantized else None


def throughput_ratios(report: Report) -> list[float]:
    """Return tokens a second, quantized over base, at every point both arms were timed at."""
    pairs = summary(report.arms["base"].bench, report.arms["quantized"].bench)
    return [pair.throughput_ratio for pair in pairs if pair.throughput_ratio is not None]


def ratio_span(ratios: list[float]) -> str:
    """Return `0.92–1.41`, or one number where all are alike."""
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return low if low == high else f"{low}–{high}"
