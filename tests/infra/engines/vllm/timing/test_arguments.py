from __future__ import annotations

import json
from pathlib import Path

from infra.engines.timing import Point
from infra.engines.vllm.timing import command
from infra.engines.vllm.timing.arguments import Target, arguments, warm_up

GOLDEN = Path(__file__).parents[3] / "golden" / "bench_request.json"
TARGET = Target(
    url="http://127.0.0.1:8000", model_name="base-0", tokenizer=Path("/models/base"),
    trust_remote_code=False,
)  # fmt: skip
POINTS = [
    Point(input_tokens=tokens, output_tokens=32, concurrency=concurrency, requests=requests)
    for tokens in (128, 2048)
    for concurrency, requests in ((1, 16), (16, 32))
]


def option(words: tuple[str, ...], name: str) -> str:
    return words[words.index(name) + 1]


def test_the_request_is_the_golden_one() -> None:
    point = POINTS[0]
    assert json.loads(json.dumps(command.request([point], TARGET, None))) == json.loads(
        GOLDEN.read_text()
    )


def test_no_two_runs_share_prompts_or_cache() -> None:
    runs = [words(point, TARGET) for point in POINTS for words in (arguments, warm_up)]
    assert len({option(run, "--seed") for run in runs}) == len(runs)
    assert len({option(run, "--extra-body") for run in runs}) == len(runs)
    assert {option(run, "--random-prefix-len") for run in runs} == {"0"}


def test_a_warm_up_is_one_short_round_of_the_same_shape() -> None:
    point = POINTS[1]
    words = warm_up(point, TARGET)
    assert option(words, "--num-prompts") == option(words, "--max-concurrency") == "16"
    assert option(words, "--random-input-len") == "128"
    assert option(words, "--random-output-len") == "16"


def test_code_of_the_model_is_run_only_where_the_spec_says_so() -> None:
    point = POINTS[0]
    trusting = TARGET.model_copy(update={"trust_remote_code": True})
    assert "--trust-remote-code" in arguments(point, trusting)
    assert "--trust-remote-code" not in arguments(point, TARGET)
