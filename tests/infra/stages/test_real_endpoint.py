"""llama.cpp's real server, started by nobody here knows whom, evaluated as an endpoint.

vLLM and `transformers serve` are tried by hand: they take a minute to start, and gigabytes.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import TaskSpec
from infra.machine.ports import find_free
from infra.store.settings import Settings
from tests import sample_gguf
from tests.conftest import ROOT
from tests.foreign_endpoint import KEY, NAME, SAMPLE, Foreign, foreign
from tests.infra.stages.test_endpoint import evaluated, looked_at, rows, spec_of
from tests.qwen2_in_numpy import Qwen2

SCRIPT = ROOT / "infra" / "engines" / "llamacpp" / "serve_gguf.py"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_KEY", KEY)


@pytest.fixture
def settings(own_cache: Path, tmp_path: Path) -> Settings:
    return Settings(cache=own_cache, runs=tmp_path / "runs")


@pytest.fixture(scope="module")
def theirs(
    llamacpp_environment: PythonEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Foreign]:
    """The sample in float32 with a cache in float32, under a key."""
    folder = tmp_path_factory.mktemp("theirs")
    file = sample_gguf.write(folder) / "model.gguf"
    port = find_free()
    command = [
        str(llamacpp_environment.python), "-I", "-u", str(SCRIPT), "--model", str(file),
        "--port", str(port), "--alias", NAME, "--ctx-size", "8192", "--parallel", "4",
        "--threads", "1", "--threads-batch", "1", "--cache-type-k", "f32",
        "--cache-type-v", "f32", "--flash-attn", "off",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, env={**os.environ, "LLAMA_API_KEY": KEY}, stdout=log, stderr=log
        )
        try:
            _wait_for(port, server)
            nothing = Foreign(encode=lambda text: [], decode=lambda ids: "", vocabulary=())
            nothing.base_url = f"http://127.0.0.1:{port}"
            yield nothing
        finally:
            server.terminate()
            server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).is_success:
                return
        except httpx.HTTPError:
            server.poll()
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("it does not answer")


@pytest.mark.engine
def test_both_kinds_of_tasks_are_exact_on_llama_cpp(theirs: Foreign, settings: Settings) -> None:
    tasks = (
        TaskSpec(name="gsm8k", num_fewshot=1, limit=3, max_gen_toks=48),
        TaskSpec(name="global_mmlu_en_stem", limit=3),
    )
    finished, page = evaluated(spec_of(theirs, *tasks), settings)
    assert finished.found.scoring == "forced" and finished.found.prompts == "tokens"
    assert finished.found.answers_as == NAME and finished.found.window == 2048
    abilities = {one.name: one for one in finished.found.abilities}
    assert not abilities["echo logprobs"].found
    assert "ignored without a word" in abilities["echo logprobs"].why
    assert [one.grade for one in finished.found.outlook] == ["exact", "exact but slow"]
    true, compared = Qwen2(SAMPLE / "model"), 0
    encode = foreign().encode
    for row in rows(page, "global_mmlu_en_stem"):
        for choice, ((value, _),) in zip(row["continuations"], row["responses"], strict=True):
            context, whole = encode(row["prompt"]), encode(row["prompt"] + choice)
            exact, _ = true.continuation(context, whole[len(context) :])
            assert abs(value - exact) < 1e-3
            compared += 1
    assert compared >= 12
    assert all(row["responses"][0][0] for row in rows(page, "gsm8k"))
    assert json.loads((page.parent / "report.json").read_text())["spent"]["requests"] > 0


@pytest.mark.engine
def test_it_answers_for_whatever_model_and_that_is_found_out(
    theirs: Foreign, settings: Settings
) -> None:
    spec = spec_of(theirs, TaskSpec(name="gsm8k", limit=2), tokenizer=False, model="another")
    problems = [one for one in looked_at(spec, settings).findings if one.status == "problem"]
    assert [one.found for one in problems] == [
        f"The endpoint answers as {NAME}, though another is asked for."
    ]
