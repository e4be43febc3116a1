from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.contracts.specs import SpeedSpec
from infra.probes.speed import command as client
from infra.probes.speed import plan
from infra.probes.speed.plan import Point, Target

GOLDEN = Path(__file__).parents[2] / "golden" / "bench_request.json"
TARGET = Target(
    url="http://127.0.0.1:8000", model_name="base-0", tokenizer=Path("/models/base"),
    trust_remote_code=False,
)  # fmt: skip
SPEC = SpeedSpec(input_tokens=(128, 2048), output_tokens=32, concurrencies=(1, 16), requests=16)


def option(words: tuple[str, ...], name: str) -> str:
    return words[words.index(name) + 1]


def test_every_length_is_measured_at_every_concurrency_with_two_rounds_at_least() -> None:
    places = [
        (point.input_tokens, point.concurrency, point.requests) for point in plan.points(SPEC)
    ]
    assert places == [(128, 1, 16), (128, 16, 32), (2048, 1, 16), (2048, 16, 32)]
    assert {point.output_tokens for point in plan.points(SPEC)} == {32}


@pytest.mark.parametrize(("window", "fits"), [(160, True), (159, False)])
def test_a_point_fits_if_prompt_and_answer_do(window: int, fits: bool) -> None:
    point = Point(input_tokens=128, output_tokens=32, concurrency=1, requests=16)
    assert plan.fits(point, window) is fits


def test_the_request_is_the_golden_one() -> None:
    (point, *_) = plan.points(SPEC)
    assert json.loads(json.dumps(client.request([point], TARGET))) == json.loads(GOLDEN.read_text())


def test_no_two_runs_share_prompts_or_cache() -> None:
    points = plan.points(SPEC)
    runs = [words(point, TARGET) for point in points for words in (plan.arguments, plan.warm_up)]
    assert len({option(run, "--seed") for run in runs}) == len(runs)
    assert len({option(run, "--extra-body") for run in runs}) == len(runs)
    assert {option(run, "--random-prefix-len") for run in runs} == {"0"}


def test_a_warm_up_is_one_short_round_of_the_same_shape() -> None:
    point = plan.points(SPEC)[1]
    words = plan.warm_up(point, TARGET)
    assert option(words, "--num-prompts") == option(words, "--max-concurrency") == "16"
    assert option(words, "--random-input-len") == "128"
    assert option(words, "--random-output-len") == "16"


def test_code_of_the_model_is_run_only_where_the_spec_says_so() -> None:
    point = plan.points(SPEC)[0]
    trusting = TARGET.model_copy(update={"trust_remote_code": True})
    assert "--trust-remote-code" in plan.arguments(point, trusting)
    assert "--trust-remote-code" not in plan.arguments(point, TARGET)
