"""Sentences under the tables: what was done, and how to read it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from infra.contracts import wording
from infra.contracts.records import CheckpointSummary, MetricComparison, Pair
from infra.engines.registry import title
from infra.judging.statistics import RANDOMIZATION
from infra.report import energy
from infra.report.text import capitalized
from infra.report.words import FIDELITY, RECOVERY, holm_over


def interval_note(pair: Pair, metrics: Sequence[MetricComparison], *, p_values: bool = True) -> str:
    """Return how the intervals of a table were made, and its p-values if it has them."""
    methods = sorted({metric.method for metric in metrics})
    # A method with an addition tells the method as well.
    methods = [m for m in methods if not any(o != m and o.startswith(f"{m};") for o in methods)]
    clusters = sorted({m.clusters for m in metrics if m.clusters})
    by = ""
    if clusters:
        by = f" Where rows have a subject, each subject is a cluster ({_counts(clusters)} of them)."
    looked_at = holm_over(pair.report)
    holm = f" Holm adjusts p-values for looking at {looked_at}; intervals are one task at a time."
    adjusted = p_values and any(metric.p_adjusted is not None for metric in metrics)
    tested = any(metric.unit == "value" and metric.p_value is not None for metric in metrics)
    test = f" p of metrics without points: {RANDOMIZATION}." if p_values and tested else ""
    return (
        f"Interval: {wording.confidence(metrics[0].confidence)} for candidate minus baseline, "
        f"paired by row, "
        f"ends rounded outwards.{by}{holm if adjusted else ''}{test} {'. '.join(methods)}. "
        f"{RECOVERY}"
    )


def pooled_note(pair: Pair) -> str:
    """Return what the first row of the table is; empty without one."""
    pooled = pair.comparison.pooled
    if pooled is None:
        return ""
    return (
        f"All rows: {pooled.rows:,} of {wording.listed(list(pooled.tasks))}, of which "
        f"{100 * pooled.flip_rate:.1f} % are right in one arm alone. {capitalized(pooled.method)}."
    )


def power_note(pair: Pair) -> str:
    """Return what the rows can show, as planned; empty without a plan."""
    plan = pair.report.power
    if plan is None:
        return ""
    source = "as verdict.flip_rate says" if pair.spec.verdict.flip_rate else "as was assumed"
    if runs := len(plan.learned_from):
        source = f"as in {runs} earlier run{'' if runs == 1 else 's'}"
    drop = wording.possible_loss(plan.smallest_drop_points / 100, "points")
    margin = wording.possible_loss(plan.smallest_margin_points / 100, "points")
    return (
        f"Planned before the run: if {100 * plan.flip_rate:.1f} % of the rows flip, {source}, a "
        f"true loss of {drop} over all {plan.rows:,} rows is found with "
        f"{100 * pair.spec.verdict.power:g} % power, and a model without loss is shown to be "
        f"within {margin}."
    )


def noise_note() -> str:
    """Return how to read the noise floor."""
    return (
        "By chance: the baseline answered everything twice, the second time in another order. "
        "What flips there flips without any change of the model."
    )


def fidelity_note(pair: Pair) -> str:
    """Return what was read; empty without fidelity."""
    found = pair.comparison.fidelity
    if found is None:
        return ""
    return (
        f"Both models read the same {found.documents:,} texts, {found.tokens:,} tokens "
        f"({found.texts}). Divergence is over the baseline's {found.top_k} likeliest tokens, all "
        f"others counted as one, so it is a lower bound. {FIDELITY}"
    )


def overlap_note(pair: Pair) -> str:
    """Return what the look for shared words found; empty if nobody looked."""
    found = pair.judgement.overlap
    if found is None:
        return ""
    rows = sum(found.found.values())
    share = f" ({100 * rows / found.rows:.1f} %)" if rows and found.rows else ""
    verb = "shares" if rows == 1 else "share"
    return (
        f"{rows:,} of {found.rows:,} rows of the tasks{share} {verb} {found.ngram} words in a row "
        "with the calibration set; shorter texts, from 8 words up, are sought as a whole."
    )


def speed_note(pair: Pair) -> str:
    """Return how speed was measured; empty if it was not."""
    bench = pair.candidate.bench or pair.baseline.bench
    if bench is None:
        return ""
    lengths = wording.listed([f"{n:,}" for n in sorted({p.output_tokens for p in bench.points})])
    requests = wording.listed([f"{n:,}" for n in sorted({p.requests for p in bench.points})])
    engine = title(pair.candidate.server.engine)
    program = " ".join(takewhile(lambda word: not word.startswith("-"), bench.command))
    return (
        f"{engine} {bench.engine_version} on {bench.device}, by `{program}`, {lengths} tokens "
        "an answer, baseline → candidate, both with the flags of the tasks. Times are medians of "
        f"{requests} requests a point; below 1× a time is shorter."
        f"{_joules(energy.of_points(pair))}"
    )


def checkpoint_notes(checkpoint: CheckpointSummary) -> tuple[str, ...]:
    """Return how a checkpoint was made here, and what its quantization leaves unclear."""
    notes = []
    if checkpoint.made_seconds is not None:
        memory = checkpoint.made_peak_memory_bytes
        most = "" if memory is None else f", with at most {wording.size(memory)} of memory"
        notes.append(f"Made here in {wording.duration(checkpoint.made_seconds)}{most}.")
    doubts = checkpoint.format.doubts if checkpoint.format else ()
    return (*notes, *(f"Of its quantization: {doubt}." for doubt in doubts))


def evaluation_time_note(pair: Pair) -> str:
    """Return what the times of the evaluation are, and are not."""
    count = pair.candidate.server.concurrency
    at = f" with {count} questions in flight" if count else ""
    kept = "" if pair.baseline.asked_whole and pair.candidate.asked_whole else (
        " It is not told of an arm of which answers were kept before it was asked: the others "
        "alone took time."
    )  # fmt: skip
    return (
        f"The time is that of these tasks{at}, not a benchmark of serving. Reused scores keep the "
        f"time they once took.{kept}{_joules(energy.of_tasks(pair))}"
    )


def _joules(told: bool) -> str:
    return f" {energy.NOTE}" if told else ""


def _counts(clusters: Sequence[int]) -> str:
    return f"{clusters[0]}" if len(clusters) == 1 else f"{clusters[0]} to {clusters[-1]}"


def against_note(pair: Pair) -> str:
    """Return what the table beside another candidate shows; empty without one."""
    if pair.judgement.against is None:
        return ""
    return (
        f"The same rows, held against {pair.change.against} instead of the baseline: what differs "
        "here is what the two candidates do not have in common. The verdict is that against the "
        "baseline."
    )
