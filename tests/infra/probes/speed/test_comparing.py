from __future__ import annotations

import pytest

from infra.probes.speed import in_different_runs, slower, summary
from tests.infra.probes.speed.made import bench, point

FEW, MANY, LONG = point(), point(concurrency=16), point(input_tokens=2048)


def test_points_are_paired_by_their_settings_in_order() -> None:
    quick = {"ttft_ms_median": 50.0, "tpot_ms_median": 4.0, "output_tokens_per_second": 160.0}
    pairs = summary(bench(LONG, FEW), bench(point(**quick), MANY, LONG))
    assert [(pair.input_tokens, pair.concurrency) for pair in pairs] == [
        (128, 1), (128, 16), (2048, 1),
    ]  # fmt: skip
    first, alone, same = pairs
    assert (first.ttft_ratio, first.tpot_ratio, first.throughput_ratio) == (0.5, 0.4, 2.0)
    assert alone.baseline is None
    assert alone.candidate == MANY
    assert alone.ttft_ratio is alone.tpot_ratio is alone.throughput_ratio is None
    assert same.ttft_ratio == 1.0


def test_points_with_answers_of_another_length_are_not_compared() -> None:
    pairs = summary(bench(FEW), bench(point(output_tokens=8)))
    assert [pair.ttft_ratio for pair in pairs] == [None, None]


def test_an_arm_that_was_not_timed_has_nothing_to_compare() -> None:
    assert summary(None, None) == []
    assert [pair.candidate for pair in summary(bench(FEW), None)] == [None]
    assert slower(bench(FEW), None) == slower(None, bench(FEW)) == []


def test_a_time_of_zero_has_no_ratio() -> None:
    (pair,) = summary(bench(point(ttft_ms_median=0.0)), bench(FEW))
    assert pair.ttft_ratio is None
    assert pair.tpot_ratio == 1.0


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        ({"ttft_ms_median": 123.4},
         "the first token comes after 123 ms instead of 100 (+23 %)."),
        ({"tpot_ms_median": 12.5}, "each further one takes 12.5 ms instead of 10 (+25 %)."),
        ({"output_tokens_per_second": 60.0},
         "it writes 60 tokens a second instead of 80 (−25 %)."),
    ],
)  # fmt: skip
def test_every_way_to_be_slower_is_said(worse: dict[str, float], said: str) -> None:
    (sentence,) = slower(bench(FEW, MANY), bench(point(**worse), MANY))
    assert sentence == (
        f"The candidate is slower with prompts of 128 tokens and 1 request at a time: {said}"
    )


def test_a_point_is_said_in_one_sentence_and_the_long_prompt_with_its_separator() -> None:
    both = {"ttft_ms_median": 200.0, "tpot_ms_median": 20.0, "concurrency": 16}
    (sentence,) = slower(
        bench(point(input_tokens=2048, concurrency=16)), bench(point(input_tokens=2048, **both))
    )
    assert "prompts of 2,048 tokens and 16 requests at a time" in sentence
    assert "200 ms instead of 100 (+100 %), each further one" in sentence


@pytest.mark.parametrize(
    "hardly",
    [{"ttft_ms_median": 105.0}, {"tpot_ms_median": 10.5}, {"output_tokens_per_second": 76.2},
     {"ttft_ms_median": 50.0, "tpot_ms_median": 5.0, "output_tokens_per_second": 160.0}],
)  # fmt: skip
def test_noise_and_being_faster_are_not_said(hardly: dict[str, float]) -> None:
    assert slower(bench(FEW), bench(point(**hardly))) == []
    assert slower(bench(point(**hardly)), bench(point(**hardly))) == []


def test_timings_of_different_runs_are_distinguished() -> None:
    assert not in_different_runs(bench(FEW), bench(FEW))
    assert in_different_runs(bench(FEW, reused=True), bench(FEW))
    assert in_different_runs(bench(FEW, reused=True), bench(FEW, reused=True))
    assert not in_different_runs(bench(FEW, reused=True), None)
