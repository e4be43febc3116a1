"""lm-eval's model on llama.cpp's real server: exact to what its numbers allow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.progress import Silent
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines.live import LiveServer
from infra.engines.llamacpp.server import serve
from infra.machine.device import detect
from tests.broken_checkpoints import SAMPLE
from tests.conftest import ROOT
from tests.infra.scoring.forced_exactness import compare, model_of, requests, rows
from tests.qwen2_in_numpy import Qwen2


@pytest.fixture(scope="module")
def exact(
    llamacpp_environment: PythonEnvironment, gguf: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    """The sample in float32, with a cache in float32."""
    with serve(
        gguf,
        arm="baseline",
        spec=ServingSpec(engine="llamacpp", dtype="float32", max_model_len=1024),
        concurrency=None,
        environment=llamacpp_environment,
        device=detect("cpu"),
        log=tmp_path_factory.mktemp("log") / "server.log",
        progress=Silent(),
    ) as server:
        yield server


def test_choices_and_answers_are_exact(exact: LiveServer, gguf: Path) -> None:
    found = compare(model_of(exact, gguf), Qwen2(SAMPLE), 3)
    assert (found.choices, found.answers) == (12, 12)
    assert found.largest < 1e-3
    assert found.largest_of_answers < 1e-3
    assert found.other_picks == 0
    assert found.other_greedy == []


def test_the_likeliest_continuation_is_greedy(exact: LiveServer, gguf: Path) -> None:
    model, true = model_of(exact, gguf), Qwen2(SAMPLE)
    context = rows(1)[0][0]
    tokens = list(model.tok_encode(context))
    for _ in range(3):
        tokens.append(int(true.logprobs(tokens)[-1].argmax()))
    likeliest = model.tokenizer.decode(tokens[len(model.tok_encode(context)) :])
    pairs = [(context, likeliest), (context, f"{likeliest} and not"), (context, " Q")]
    scores = model.loglikelihood(requests("loglikelihood", pairs), disable_tqdm=True)
    assert [greedy for _, greedy in scores] == [True, False, False]


def test_texts_are_the_likeliest_and_end_at_their_stop(exact: LiveServer, gguf: Path) -> None:
    model, true = model_of(exact, gguf), Qwen2(SAMPLE)
    file = ROOT / "infra/sample/data/openai/gsm8k/main/test.jsonl"
    question = json.loads(file.read_text().splitlines()[0])["question"]
    contexts = [rows(1)[0][0], f"Question: {question}\nAnswer:"]
    given: dict[str, Any] = {"until": ["<<"], "max_gen_toks": 12, "do_sample": False}
    texts = model.generate_until(
        requests("generate_until", [(context, given) for context in contexts]), disable_tqdm=True
    )
    ends = []
    for context, text in zip(contexts, texts, strict=True):
        tokens = list(model.tok_encode(context))
        written: list[int] = []
        while len(written) < 12 and "<<" not in model.tokenizer.decode(written):
            token = int(true.logprobs([*tokens, *written])[-1].argmax())
            if token == model.tokenizer.eos_token_id:
                break
            written.append(token)
        assert text == model.tokenizer.decode(written).partition("<<")[0]
        ends.append(len(written))
    assert ends[0] < 4 < ends[1]


def test_what_was_answered_is_not_asked_again(
    exact: LiveServer, gguf: Path, tmp_path: Path
) -> None:
    pairs = [(prompt, choice) for prompt, letters, _ in rows(2) for choice in letters]
    kept = {"answers": tmp_path / "answers.sqlite", "identity": "one"}
    first, again = (model_of(exact, gguf, **kept) for _ in range(2))
    asked = requests("loglikelihood", pairs)
    scores = first.loglikelihood(asked, disable_tqdm=True)
    assert first.counts.requests < 8  # one request for the choices of both rows, and some more
    first.close()
    assert again.loglikelihood(asked, disable_tqdm=True) == scores
    assert again.counts.requests == 0
    again.close()


def test_texts_are_drawn_each_with_a_seed_of_its_own_and_the_same_ones_again(
    exact: LiveServer, gguf: Path
) -> None:
    given = {"until": [], "max_gen_toks": 24, "temperature": 1.0, "do_sample": True}
    asked = [
        one
        for one in requests("generate_until", [(row[0], given) for row in rows(3)])
        for _ in range(4)
    ]
    first = model_of(exact, gguf).generate_until(asked, disable_tqdm=True)
    for question in range(3):
        assert len({*first[4 * question : 4 * question + 4]}) > 1
    # Whatever else is under way at the time.
    later = model_of(exact, gguf).generate_until(asked[::-1], disable_tqdm=True)[::-1]
    alone = model_of(exact, gguf).generate_until(asked[:4], disable_tqdm=True)
    assert alone == first[:4]
    assert sorted(later) == sorted(first)
