"""Tables of plain cells, the same on the page, in Markdown and on a model card.

Each is none where the run has no such record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from infra.contracts import wording
from infra.contracts.records import (
    Bench,
    CheckpointSummary,
    Pair,
    Report,
    Side,
    SpeedPoint,
    TokensPerRight,
)
from infra.contracts.specs import SpeedSpec
from infra.judging.comparison import decisive
from infra.probes.speed import SpeedPair, summary
from infra.probes.speed.comparing import NOTABLE
from infra.report import energy

_SIDES: tuple[tuple[Side, str], ...] = (("baseline", "Baseline"), ("candidate", "Candidate"))


@dataclass(frozen=True)
class Table:
    """Rows of cells under the same heads; the first cell names the row."""

    caption: str
    rows: Sequence[Mapping[str, str]]
    marked: frozenset[tuple[int, str]] = field(default_factory=frozenset)
    """Row and head of cells that are bad news; their text says so too."""


def fidelity(pair: Pair) -> Table | None:
    """Return how closely the candidate follows the baseline."""
    found = pair.comparison.fidelity
    if found is None:
        return None
    rows = [
        ("Next-token agreement", wording.share(found.agreement)),
        ("KL divergence, mean", f"{wording.number(found.kl_mean)} nats"),
        ("KL divergence, median", f"{wording.number(found.kl_median)} nats"),
        ("KL divergence, 99th percentile", f"{wording.number(found.kl_p99)} nats"),
        ("Perplexity, baseline", f"{found.perplexity_baseline:.4g}"),
        ("Perplexity, candidate", f"{found.perplexity_candidate:.4g}"),
    ]
    if found.perplexity_baseline:
        change = 100 * (found.perplexity_candidate / found.perplexity_baseline - 1)
        rows.append(("Perplexity, change", f"{change:+.2f} %".replace("-", "−")))
    return Table("Fidelity", [{"Measure": name, "Value": value} for name, value in rows])


def against(pair: Pair) -> Table | None:
    """Return the scores beside the other candidate that it is held against, row by row."""
    found, other = pair.judgement.against, pair.change.against
    if found is None or other is None:
        return None
    beside = {(one.task, one.metric): one for one in decisive(pair.comparison)}
    rows = []
    for one in decisive(found):
        same = beside.get((one.task, one.metric))
        rows.append(
            {
                "Task": one.task,
                other: wording.score(one.baseline.value, one.unit),
                pair.name: wording.score(one.candidate.value, one.unit),
                "Difference": wording.difference(one.difference, one.unit),
                "Interval": wording.interval(one.low, one.high, one.unit)
                if one.low is not None and one.high is not None
                else "none",
                "From the baseline": wording.difference(same.difference, same.unit) if same else "",
            }
        )
    return Table(f"Beside {other}", rows)


def lengths(pair: Pair) -> Table | None:
    """Return how long written answers are, and how many never stop."""
    rows = [
        {
            "Task": task,
            "Arm": name,
            "Answers": f"{of.answers:,}",
            "Tokens, mean": f"{of.tokens_mean:.1f}",
            "Tokens, median": f"{of.tokens_median:g}",
            "Endless": f"{of.endless:,}",
            "Tokens per right answer": _per_right(of.per_right),
        }
        for task, arms in pair.comparison.lengths.items()
        for arm, name in _SIDES
        if (of := arms.get(arm)) is not None
    ]
    return Table("Length of written answers", rows) if rows else None


def _per_right(cost: TokensPerRight | None) -> str:
    if cost is None:
        return "-"
    high = "without end" if cost.high is None else f"{cost.high:,.0f}"
    return f"{cost.tokens:,.0f} ({cost.low:,.0f} to {high})"


def noise(pair: Pair) -> Table | None:
    """Return flips of the baseline against itself beside those of the candidate."""
    if pair.comparison.noise is None:
        return None
    candidate = {metric.task: metric for metric in decisive(pair.comparison)}
    rows = []
    for task, found in pair.comparison.noise.tasks.items():
        other = candidate.get(task)
        rows.append({
            "Task": task,
            "Rows": f"{found.rows:,}",
            "Flips by the change": f"{other.lost + other.gained:,}" if other else "-",
            "Flips by chance": f"{found.lost + found.gained:,}",
            "Changed by the change": f"{other.changed:,}" if other else "-",
            "Changed by chance": f"{found.changed:,}",
        })  # fmt: skip
    return Table("Candidate against baseline, and baseline against itself", rows) if rows else None


def power(pair: Pair) -> Table | None:
    """Return the smallest loss that each task was planned to show."""
    plan = pair.report.power
    if plan is None:
        return None
    parts = [
        (
            name,
            wording.times(task.rows, task.repeats or 1),
            task.flip_rate,
            task.smallest_drop_points,
        )
        for name, task in plan.tasks.items()
    ]
    whole = ("All rows", f"{plan.rows:,}", plan.flip_rate, plan.smallest_drop_points)
    rows = [
        {
            "Task": name,
            "Rows": count,
            "Expected to flip": f"{100 * flips:.1f} %",
            "Smallest loss found": wording.possible_loss(drop / 100, "points"),
        }
        for name, count, flips, drop in [whole, *parts]
    ]
    return Table("What the rows can show, as planned", rows)


def calibration(pair: Pair) -> Table | None:
    """Return what the quantizer was shown; none if the candidate was not made here."""
    card = pair.candidate.checkpoint.calibration
    if card is None:
        return None
    spec = card.spec
    revision = f", {spec.revision}" if spec.revision else ""
    rows = [
        ("Source", f"{spec.path} ({spec.source}{revision})"),
        ("Conversations used", f"{card.used:,} of {card.read:,}"),
        ("Tokens each", f"{card.tokens_min:,} to {card.tokens_max:,}, "
                        f"median {card.tokens_median:,}"),
        ("Tokens together", f"{card.tokens_total:,}"),
        ("Dropped", f"{card.dropped_too_long:,} longer than {spec.max_sequence_length:,} tokens, "
                    f"{card.dropped_beyond_max:,} beyond the {spec.max_samples:,} asked for"),
        *(("Worth knowing", remark) for remark in card.remarks),
        ("Fingerprint", card.fingerprint),
    ]  # fmt: skip
    return Table("Calibration", [{"": name, "Calibration set": value} for name, value in rows])


def checkpoints(report: Report) -> Table:
    """Return what each arm serves: how it is quantized, and where it comes from."""
    rows = []
    for name, arm in report.arms.items():
        checkpoint = arm.checkpoint
        origin = checkpoint.origin
        made = ", ".join(origin.base_models) if origin else ""
        if made and origin and origin.relation:
            made += f" ({origin.relation})"
        by = checkpoint.format.made_with if checkpoint.format else None
        rows.append({
            "Arm": name,
            "Model": checkpoint.model or report.spec.arms[name].model.id,
            "Quantized": _quantized(checkpoint),
            "Made from": made or "-",
            "By": (origin.made_by if origin else None) or by or "-",
            "Parameters": "-" if checkpoint.parameters is None
                          else wording.number(checkpoint.parameters),
        })  # fmt: skip
    return Table("Checkpoints", rows)


def _quantized(checkpoint: CheckpointSummary) -> str:
    if checkpoint.format:
        return checkpoint.format.description
    config = checkpoint.quantization
    return str(config.get("quant_method", "in an unknown way")) if config else "no"


def overlap(pair: Pair) -> Table | None:
    """Return how many rows share words with the calibration set, for tasks with any."""
    if pair.judgement.overlap is None:
        return None
    counts = {name: scores.n for name, scores in pair.baseline.tasks.items()}
    rows = [
        {"Task": task, "Rows": f"{counts[task]:,}" if task in counts else "-", "Shared": f"{n:,}"}
        for task, n in pair.judgement.overlap.found.items()
        if n
    ]
    return Table("Rows that share words with the calibration set", rows) if rows else None


class _Column(NamedTuple):
    """What a table of measuring points shows in a column."""

    value: Callable[[SpeedPoint], float | None]
    more_is_better: bool | None = None
    """None where it says nothing of how good an arm is."""

    worse: str = "slower"
    """What a candidate is that is clearly worse."""

    optional: bool = False
    """Whether the column is left out where no point has a value."""


def speed(pair: Pair) -> Table | None:
    """Return medians at every point that was timed."""
    return _speed(pair, "Speed, medians", {
        "First token, ms": _Column(lambda point: point.ttft_ms_median, False),
        "Each further token, ms": _Column(lambda point: point.tpot_ms_median, False),
        "Written tokens a second": _Column(lambda point: point.output_tokens_per_second, True),
        "Joules a written token":
            _Column(lambda point: point.joules_per_output_token, False, "more", optional=True),
        **_goodput(pair.report.spec.speed),
    })  # fmt: skip


def _goodput(spec: SpeedSpec) -> dict[str, _Column]:
    """Return a column of the requests a second that keep the objective, if there is one."""
    first, further = spec.objective_ttft_ms, spec.objective_tpot_ms
    if first is None and further is None:
        return {}
    limits = [(first, "first token"), (further, "each further")]
    words = ", ".join(f"{what} ≤ {wording.number(ms)} ms" for ms, what in limits if ms is not None)
    head = f"Goodput, requests a second ({words})"
    return {head: _Column(lambda one: one.goodput(first, further), True)}


def slowest(pair: Pair) -> Table | None:
    """Return the slowest in a hundred, and what all tokens together come to."""
    return _speed(pair, "Speed, slowest in a hundred requests", {
        "First token, ms": _Column(lambda point: point.ttft_ms_p99, False),
        "Each further token, ms": _Column(lambda point: point.tpot_ms_p99, False),
        "All tokens a second": _Column(lambda point: point.total_tokens_per_second, True),
        "Joules a token of all":
            _Column(lambda point: point.joules_per_token, False, "more", optional=True),
        "Requests": _Column(lambda point: point.requests),
        "Failed": _Column(lambda point: point.failed),
    })  # fmt: skip


def memory(pair: Pair) -> Table:
    """Return what both arms take, and how long they took."""
    baseline, candidate = pair.baseline, pair.candidate
    # The baseline answered all rows; its time stands beside that of a part.
    spent, pace = (
        [getattr(arm.speed, field) if arm.asked_whole else None for arm in (baseline, candidate)]
        for field in ("evaluation_seconds", "documents_per_second")
    )
    took = _pair("Evaluation", spent[0], spent[1], wording.duration)
    rows = [
        _pair("Weights on disk", baseline.checkpoint.size_bytes, candidate.checkpoint.size_bytes,
              wording.size),
        *_loaded(baseline.bench, candidate.bench),
        _pair("Engine start", baseline.speed.startup_seconds, candidate.speed.startup_seconds,
              wording.duration),
        None if pair.verdict.stopped_after is not None else took,
        _pair("Documents a second in the tasks", pace[0], pace[1], wording.number),
        *(_pair(f"Joules a right answer of {name}", energy.per_right(scores),
                energy.per_right(candidate.tasks[name]), wording.number)
          for name, scores in baseline.tasks.items() if name in candidate.tasks),
    ]  # fmt: skip
    return Table("Size, memory and time", [row for row in rows if row])


def _loaded(baseline: Bench | None, candidate: Bench | None) -> list[dict[str, str] | None]:
    one, other = (bench.memory if bench else None for bench in (baseline, candidate))
    if one is None and other is None:
        return []
    figures: list[tuple[str, str, Callable[[float], str]]] = [
        ("Weights, loaded", "weights_bytes", wording.size),
        ("Room for tokens in the cache", "kv_cache_tokens", wording.number),
        ("Memory of the whole engine", "process_bytes", wording.size),
    ]
    return [
        _pair(name, getattr(one, key, None), getattr(other, key, None), show)
        for name, key, show in figures
    ]


def _pair(
    name: str, baseline: float | None, candidate: float | None, show: Callable[[float], str]
) -> dict[str, str] | None:
    if baseline is None and candidate is None:
        return None
    ratio = f"{candidate / baseline:.2f}×" if baseline and candidate is not None else "-"
    return {
        "": name,
        "Baseline": "-" if baseline is None else show(baseline),
        "Candidate": "-" if candidate is None else show(candidate),
        "Ratio": ratio,
    }


def _speed(pair: Pair, caption: str, columns: dict[str, _Column]) -> Table | None:
    pairs = summary(pair.baseline.bench, pair.candidate.bench)
    columns = {
        head: column
        for head, column in columns.items()
        if not column.optional or any(any(_values(point, column)) for point in pairs)
    }
    rows, marked = [], set()
    for place, point in enumerate(pairs):
        row = {
            "Prompt, tokens": f"{point.input_tokens:,}",
            "At a time": f"{point.concurrency:,}",
        }
        for head, column in columns.items():
            row[head], worse = _beside(point, column)
            if worse:
                marked.add((place, head))
        rows.append(row)
    return Table(caption, rows, frozenset(marked)) if rows else None


def _values(pair: SpeedPair, column: _Column) -> tuple[float | None, float | None]:
    """Return what a column shows of the baseline and of the candidate."""
    baseline, candidate = (column.value(p) if p else None for p in (pair.baseline, pair.candidate))
    return baseline, candidate


def _beside(pair: SpeedPair, column: _Column) -> tuple[str, bool]:
    """Return `412 → 300 (0.73×)`, and whether the candidate is clearly worse."""
    baseline, candidate = _values(pair, column)
    text = " → ".join("-" if v is None else wording.number(v) for v in (baseline, candidate))
    if column.more_is_better is None or not baseline or candidate is None:
        return text, False
    ratio = candidate / baseline
    worse = ratio * (1 + NOTABLE) < 1 if column.more_is_better else ratio > 1 + NOTABLE
    return f"{text} ({ratio:.2f}×{f', {column.worse}' if worse else ''})", worse
