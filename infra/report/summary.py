"""What a reader learns first: the verdict and what stands behind it, sentence by sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra.contracts import wording
from infra.contracts.records import Pair, RowComparison, Verdict
from infra.contracts.specs import ArmSpec, VerdictSpec
from infra.engines.registry import title
from infra.judging.comparison import decisive
from infra.probes.speed import in_different_runs, slower, summary
from infra.report.changed import changed
from infra.report.text import arm_name, capitalized

_SLOW_POINTS = 2
"""Points at which it is slower that are shown in full; the table has them all."""

_NOTABLE_CUT = 0.1
"""Share of answers that ran into the token limit."""

_NOTABLE_OVERLAP = 0.01
"""Share of all rows from which on an overlap with the calibration set is a caveat."""


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
    """What the candidate takes and gives beside the baseline, one sentence each."""


def summarize(pair: Pair) -> Summary:
    """Return the first lines of a report."""
    verdict, alert = pair.verdict, pair.judgement.alert
    good = f" The last good one is {alert.good_run}." if alert and alert.good_run else ""
    return Summary(
        status=verdict.status,
        headline=headline_of(verdict),
        subject=_subject(pair),
        margin=margin_held(
            pair.verdict, pair.spec.verdict, pair.comparison, len(pair.spec.candidates)
        ),
        reasons=verdict.reasons,
        needed=verdict.needed,
        alert=(f"This run is worse than earlier ones of its kind.{good}", *alert.reasons)
        if alert
        else (),
        alert_changes=alert.changes if alert else (),
        caveats=(
            *_two_things(pair),
            *_reworded(pair),
            *_not_measured(pair),
            *_cut(pair),
            *_unfinished(pair),
            *_nothing_to_ask(pair),
            *_slower(pair),
            *_overlap(pair),
            *_alone(pair),
        ),
        bought=tuple(_bought(pair)),
    )


def headline_of(verdict: Verdict) -> str:
    """Return a verdict's one sentence, without the status."""
    headline = verdict.headline.removeprefix(f"{verdict.status}:").strip().rstrip(".")
    return f"{headline[:1].upper()}{headline[1:]}."


def _subject(pair: Pair) -> str:
    baseline, candidate = (
        f"{title(server.engine)} {server.version} on {server.device}"
        for server in (pair.baseline.server, pair.candidate.server)
    )
    alike = baseline == candidate
    served = f"both served by {baseline}" if alike else f"served by {baseline} and by {candidate}"
    return f"{_as_it_is(pair.spec.baseline)} and {changed(pair)}, {served}"


def _as_it_is(baseline: ArmSpec) -> str:
    adapter, recipe = baseline.adapter, baseline.quantization
    parts = [f"with adapter {adapter.id}"] if adapter else []
    parts += [f"as {recipe.phrase}"] if recipe else []
    return " ".join(parts) or "as it came"


def margin_held(
    verdict: Verdict, spec: VerdictSpec, comparison: RowComparison, candidates: int = 1
) -> str:
    """Return what a verdict was held against, in a sentence.

    Args:
        verdict: The verdict.
        spec: Which loss is acceptable.
        comparison: What was judged.
        candidates: How many the run has.
    """
    of_all = wording.confidence(spec.confidence)
    widened = verdict.widened_from_points
    note = "" if widened is None else f" (widened: {wording.points(widened)} was asked for)"
    together = f" ({of_all} for all {candidates} candidates together)" if candidates > 1 else ""
    return (
        f"Acceptable is a loss below {wording.points(verdict.margin_points)}{note} over all rows, "
        f"shown with {wording.confidence(spec.among(candidates).confidence)} confidence"
        f"{together}, and at most {wording.points(spec.task_margin_points)} on a single task."
        f"{_own_margins(spec, comparison)}"
    )


def _own_margins(spec: VerdictSpec, comparison: RowComparison) -> str:
    """Return the margins of single metrics, each in its own unit; empty without any."""
    said = [
        f"{metric.metric.partition(',')[0]} of {metric.task} "
        f"{wording.own_margin(margin, metric.unit, metric.baseline.unit)}"
        for metric in decisive(comparison)
        if (margin := spec.own_margin(metric.task, metric.metric)) is not None
    ]
    return f" Margins of their own: {wording.listed(said)}." if said else ""


def _slower(pair: Pair) -> Iterator[str]:
    baseline, candidate = (arm.bench for arm in (pair.baseline, pair.candidate))
    sentences = slower(baseline, candidate)
    yield from sentences[:_SLOW_POINTS]
    if more := sentences[_SLOW_POINTS:]:
        yield f"It is slower at {len(more)} more of the points that were measured."
    if in_different_runs(baseline, candidate):
        yield "The arms were timed in different runs, so load, heat or drivers may differ."


def _cut(pair: Pair) -> Iterator[str]:
    for arm, result in pair.arms.items():
        for task in result.tasks.values():
            if task.truncated > _NOTABLE_CUT * task.n:
                yield (
                    f"{task.truncated:,} of {task.n:,} answers of {arm_name(arm)} on {task.name} "
                    "ran into the token limit and were marked as far as they went."
                )


def _unfinished(pair: Pair) -> Iterator[str]:
    for arm, result in pair.arms.items():
        for task in result.tasks.values():
            if task.unfinished:
                yield (
                    f"{task.unfinished:,} of {task.n:,} answers of {arm_name(arm)} on {task.name} "
                    "ended while it still thought: they hold no answer, and are marked so."
                )


def _nothing_to_ask(pair: Pair) -> Iterator[str]:
    for task in pair.baseline.tasks.values():
        if task.nothing_to_ask:
            yield (
                f"{task.nothing_to_ask:,} of {task.n:,} rows of {task.name} hold nothing to ask: "
                "they have the uniform answer in every arm."
            )


def _two_things(pair: Pair) -> Iterator[str]:
    engines = [arm.server.engine for arm in (pair.baseline, pair.candidate)]
    checkpoints = [arm.checkpoint.digest for arm in (pair.baseline, pair.candidate)]
    if len(set(engines)) < 2 or len(set(checkpoints)) < 2:
        return
    recipe, change = pair.arm.quantization, pair.change
    instead = f"{title(engines[1])} instead of {title(engines[0])}"
    if recipe and not recipe.rounds and not (change.model or change.adapter):
        yield (
            f"It is the baseline's own weights on another engine ({instead}), stored as "
            f"{recipe.title}: what differs is the engine's."
        )
        return
    yield (
        f"It differs from the baseline in two things at once, its checkpoint and its engine "
        f"({instead}): a loss may lie with either, "
        "and either may hide a loss of the other: engines end answers at other tokens, for "
        "one. " + _separated(pair, title(engines[1]))
    )


def _separated(pair: Pair, engine: str) -> str:
    other = pair.change.against
    if pair.judgement.against is None:
        return (
            f"A further candidate on {engine} that is not quantized, named by "
            f"candidates.{pair.name}.against, tells the one from the other."
        )
    return f"What is left beside {other} stands below."


def _reworded(pair: Pair) -> Iterator[str]:
    differ = sum(pair.comparison.prompts_differ.values())
    total = sum(task.n for task in pair.baseline.tasks.values())
    if differ:
        yield (
            f"{differ:,} of {total:,} questions {'was' if differ == 1 else 'were'} put to the "
            "candidate in other words, by its own tokenizer or chat template."
        )
    if parts := pair.comparison.tokenizer_differs:
        yield f"Its tokenizer is not the baseline's: {'; '.join(parts)}."


def _not_measured(pair: Pair) -> Iterator[str]:
    for arm, result in pair.arms.items():
        for why in result.not_measured:
            yield f"{capitalized(arm_name(arm))}: {why}"


def _alone(pair: Pair) -> Iterator[str]:
    if pair.judgement.not_compared:
        yield f"Earlier runs could not be compared with ({pair.judgement.not_compared})."


def _overlap(pair: Pair) -> Iterator[str]:
    found = pair.judgement.overlap
    if found and (rows := sum(found.found.values())) > _NOTABLE_OVERLAP * found.rows:
        yield (
            f"{rows:,} of {found.rows:,} rows of the tasks share {found.ngram} words in a row with "
            "the calibration set: the candidate may look better here than elsewhere."
        )


def _bought(pair: Pair) -> Iterator[str]:
    baseline, candidate = pair.baseline, pair.candidate
    sizes = (
        wording.size(baseline.checkpoint.size_bytes),
        wording.size(candidate.checkpoint.size_bytes),
    )
    ratio = 100 * pair.comparison.size_ratio
    yield f"The weights take {ratio:.0f} % of the disk: {sizes[0]} → {sizes[1]}."
    if loaded := loaded_weights(pair):
        first, second = loaded
        sizes = wording.size(first), wording.size(second)
        yield f"Loaded, they take {100 * second / first:.0f} % of the memory: {' → '.join(sizes)}."
    if ratios := throughput_ratios(pair):
        span = ratio_span(ratios)
        yield f"It writes {span} times as many tokens a second as the baseline."


def loaded_weights(pair: Pair) -> tuple[int, int] | None:
    """Return bytes of the loaded weights in both arms; none unless both were reported."""
    loaded = []
    for arm in (pair.baseline, pair.candidate):
        bench = arm.bench
        loaded.append(bench.memory.weights_bytes if bench else None)
    baseline, candidate = loaded
    return (baseline, candidate) if baseline and candidate else None


def throughput_ratios(pair: Pair) -> list[float]:
    """Return tokens a second, candidate over baseline, at every point both arms were timed at."""
    pairs = summary(pair.baseline.bench, pair.candidate.bench)
    return [pair.throughput_ratio for pair in pairs if pair.throughput_ratio is not None]


def ratio_span(ratios: list[float]) -> str:
    """Return `0.92–1.41`, or one number where all are alike."""
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return low if low == high else f"{low}–{high}"
