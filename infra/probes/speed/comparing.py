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
    base: SpeedPoint | None
    """None if it was not measured there."""

    quantized: SpeedPoint | None
    """None if it was not measured there."""

    ttft_ratio: float | None
    """Median time to the first token, quantized over base: good is below 1. None where an arm is
    missing."""

    tpot_ratio: float | None
    """Median time of each further token, quantized over base: good is below 1."""

    throughput_ratio: float | None
    """Written tokens per second, quantized over base: good is above 1."""


def summary(base: Bench | None, quantized: Bench | None) -> list[SpeedPair]:
    """Return every point that was measured in an arm, short prompts and few requests first.

    Args:
        base: Timings of the base model; None if there are none.
        quantized: Timings of the quantized model; None if there are none.
    """
    first, second = _by_place(base), _by_place(quantized)
    return [_pair(first.get(place), second.get(place)) for place in sorted(first | second)]


def slower(base: Bench | None, quantized: Bench | None, *, notable: float = NOTABLE) -> list[str]:
    """Return one sentence for every point at which the quantized model is slower.

    Args:
        base: Timings of the base model; None if there are none.
        quantized: Timings of the quantized model; None if there are none.
        notable: Share by which it has to be slower to be told.
    """
    sentences = []
    for pair in summary(base, quantized):
        if told := list(_worse(pair, 1 + notable)):
            requests = "1 request" if pair.concurrency == 1 else f"{pair.concurrency} requests"
            sentences.append(
                f"The quantized model is slower with prompts of {pair.input_tokens:,} tokens and "
                f"{requests} at a time: {', '.join(told)}."
            )
    return sentences


def in_different_runs(base: Bench | None, quantized: Bench | None) -> bool:
    """Tell whether the arms were timed in different runs: other load, heat or drivers may differ.

    Two reused timings count as of different runs, because nobody knows.
    """
    return base is not None and quantized is not None and (base.reused or quantized.reused)


def _worse(pair: SpeedPair, limit: float) -> Iterator[str]:
    if pair.base is None or pair.quantized is None:
        return
    if pair.ttft_ratio is not None and pair.ttft_ratio > limit:
        yield (
            f"the first token comes after {wording.number(pair.quantized.ttft_ms_median)} ms "
            f"instead of {wording.number(pair.base.ttft_ms_median)} ({_change(pair.ttft_ratio)})"
        )
    if pair.tpot_ratio is not None and pair.tpot_ratio > limit:
        yield (
            f"each further one takes {wording.number(pair.quantized.tpot_ms_median)} ms instead "
            f"of {wording.number(pair.base.tpot_ms_median)} ({_change(pair.tpot_ratio)})"
        )
    # Times grow where rates shrink: 5 % longer is 1/1.05 of the rate.
    if pair.throughput_ratio is not None and pair.throughput_ratio < 1 / limit:
        yield (
            f"it writes {wording.number(pair.quantized.output_tokens_per_second)} tokens a second "
            f"instead of {wording.number(pair.base.output_tokens_per_second)} "
            f"({_change(pair.throughput_ratio)})"
        )


def _change(ratio: float) -> str:
    """Return a ratio as a change: `+23 %`, `−25 %`."""
    return f"{100 * (ratio - 1):+.0f} %".replace("-", "−")


def _by_place(bench: Bench | None) -> dict[tuple[int, int, int], SpeedPoint]:
    points = bench.points if bench else ()
    return {(p.input_tokens, p.concurrency, p.output_tokens): p for p in points}


def _pair(base: SpeedPoint | None, quantized: SpeedPoint | None) -> SpeedPair:
    either = base or quantized
    assert either is not None  # noqa: S101 -- its place is that of one of them
    times = ("ttft_ms_median", "tpot_ms_median", "output_tokens_per_second")
    ttft, tpot, throughput = (_ratio(base, quantized, name) for name in times)
    return SpeedPair(
        input_tokens=either.input_tokens,
        output_tokens=either.output_tokens,
        concurrency=either.concurrency,
        base=base,
        quantized=quantized,
        ttft_ratio=ttft,
        tpot_ratio=tpot,
        throughput_ratio=throughput,
    )


def _ratio(base: SpeedPoint | None, quantized: SpeedPoint | None, name: str) -> float | None:
    if base is None or quantized is None or not getattr(base, name):
        return None
    return float(getattr(quantized, name) / getattr(base, name))
