"""Both arms' timings side by side, point by point."""

from __future__ import annotations

from collections.abc import Iterator

from infra.contracts import wording
from infra.contracts.records import Bench, Record, SpeedPoint

NOTABLE = 0.05
"""Share from which on a difference is worth a sentence."""


class SpeedPair(Record):
    """One measuring point in both arms."""

    input_tokens: int
    output_tokens: int
    concurrency: int
    baseline: SpeedPoint | None
    """None if it was not measured there."""

    candidate: SpeedPoint | None
    """None if it was not measured there."""

    ttft_ratio: float | None
    """Median time to the first token, candidate over baseline: good is below 1. None where an arm
    is missing."""

    tpot_ratio: float | None
    """Median time of each further token, candidate over baseline: good is below 1."""

    throughput_ratio: float | None
    """Written tokens per second, candidate over baseline: good is above 1."""


def summary(baseline: Bench | None, candidate: Bench | None) -> list[SpeedPair]:
    """Return every point that was measured in an arm, short prompts and few requests first.

    Args:
        baseline: Timings of the baseline; None if there are none.
        candidate: Timings of the candidate; None if there are none.
    """
    first, second = _by_place(baseline), _by_place(candidate)
    return [_pair(first.get(place), second.get(place)) for place in sorted(first | second)]


def shortest_prompts(bench: Bench | None) -> list[SpeedPoint]:
    """Return the points with the shortest prompts, the fewest requests at a time first.

    Args:
        bench: Timings of an arm; None if there are none.
    """
    points = bench.points if bench else ()
    shortest = min((point.input_tokens for point in points), default=0)
    found = [point for point in points if point.input_tokens == shortest]
    return sorted(found, key=lambda point: point.concurrency)


def slower(
    baseline: Bench | None, candidate: Bench | None, *, notable: float = NOTABLE
) -> list[str]:
    """Return one sentence for every point at which the candidate is slower.

    Args:
        baseline: Timings of the baseline; None if there are none.
        candidate: Timings of the candidate; None if there are none.
        notable: Share by which it has to be slower to be reported.
    """
    sentences = []
    for pair in summary(baseline, candidate):
        if worse := list(_worse(pair, 1 + notable)):
            requests = "1 request" if pair.concurrency == 1 else f"{pair.concurrency} requests"
            sentences.append(
                f"The candidate is slower with prompts of {pair.input_tokens:,} tokens and "
                f"{requests} at a time: {', '.join(worse)}."
            )
    return sentences


def in_different_runs(baseline: Bench | None, candidate: Bench | None) -> bool:
    """Tell whether the arms were timed in different runs: other load, heat or drivers may differ.

    Two reused timings count as of different runs, because nobody knows.
    """
    return baseline is not None and candidate is not None and (baseline.reused or candidate.reused)


def _worse(pair: SpeedPair, limit: float) -> Iterator[str]:
    if pair.baseline is None or pair.candidate is None:
        return
    if pair.ttft_ratio is not None and pair.ttft_ratio > limit:
        yield (
            f"the first token comes after {wording.number(pair.candidate.ttft_ms_median)} ms "
            f"instead of {wording.number(pair.baseline.ttft_ms_median)} "
            f"({_change(pair.ttft_ratio)})"
        )
    if pair.tpot_ratio is not None and pair.tpot_ratio > limit:
        yield (
            f"each further one takes {wording.number(pair.candidate.tpot_ms_median)} ms instead "
            f"of {wording.number(pair.baseline.tpot_ms_median)} ({_change(pair.tpot_ratio)})"
        )
    # Times grow where rates shrink: 5 % longer is 1/1.05 of the rate.
    if pair.throughput_ratio is not None and pair.throughput_ratio < 1 / limit:
        yield (
            f"it writes {wording.number(pair.candidate.output_tokens_per_second)} tokens a second "
            f"instead of {wording.number(pair.baseline.output_tokens_per_second)} "
            f"({_change(pair.throughput_ratio)})"
        )


def _change(ratio: float) -> str:
    """Return a ratio as a change: `+23 %`, `−25 %`."""
    return f"{100 * (ratio - 1):+.0f} %".replace("-", "−")


def _by_place(bench: Bench | None) -> dict[tuple[int, int, int], SpeedPoint]:
    points = bench.points if bench else ()
    return {(p.input_tokens, p.concurrency, p.output_tokens): p for p in points}


def _pair(baseline: SpeedPoint | None, candidate: SpeedPoint | None) -> SpeedPair:
    either = baseline or candidate
    assert either is not None  # noqa: S101 -- its place is that of one of them
    times = ("ttft_ms_median", "tpot_ms_median", "output_tokens_per_second")
    ttft, tpot, throughput = (_ratio(baseline, candidate, name) for name in times)
    return SpeedPair(
        input_tokens=either.input_tokens,
        output_tokens=either.output_tokens,
        concurrency=either.concurrency,
        baseline=baseline,
        candidate=candidate,
        ttft_ratio=ttft,
        tpot_ratio=tpot,
        throughput_ratio=throughput,
    )


def _ratio(baseline: SpeedPoint | None, candidate: SpeedPoint | None, name: str) -> float | None:
    if baseline is None or candidate is None or not getattr(baseline, name):
        return None
    return float(getattr(candidate, name) / getattr(baseline, name))
