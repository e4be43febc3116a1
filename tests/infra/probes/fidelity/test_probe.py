"""Readings of real servers: the sample model, and a checkpoint of it with rounded weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from infra.contracts.records import PythonEnvironment, Reading
from infra.contracts.specs import (
    AwqSpec,
    CalibrationSpec,
    FidelitySpec,
    ModelSpec,
    RunSpec,
)
from infra.engines.live import LiveServer
from infra.probes.fidelity import ReadingProbe, compare
from infra.probes.fidelity.positions import Positions
from tests.broken_checkpoints import SAMPLE
from tests.infra.probes.subjects import checkpoint_at, subject_of
from tests.infra.suite.harness.conftest import evaluation
from tests.shared_servers import Served

pytestmark = pytest.mark.engine

TEXTS = (
    "Mara has 12 apples. She gives 5 of them to Tom and buys 9 more. How many has she now?\n\n"
    "Question: Which of these is a metal?\nA. iron\nB. wood\nC. glass\nD. water\nAnswer: A\n\n"
    "The capital of the country lies on a river, and the river flows to the sea.\n\n"
    "An electron has a negative charge; a proton has a positive one of the same size.\n"
)


@dataclass(frozen=True)
class Bench:
    """Two served models, and what they expected in the same texts."""

    folder: Path
    servers: dict[str, LiveServer]
    readings: dict[str, Reading]

    def positions(self, arm: str) -> Positions:
        return Positions.load(self.folder / self.readings[arm].file)


@pytest.fixture(scope="module")
def bench(
    server_environment: PythonEnvironment,
    sample_server: Served,
    awq_server: Served,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bench:
    work = tmp_path_factory.mktemp("fidelity")
    (work / "texts.txt").write_text(TEXTS)
    arms = {"baseline": sample_server, "awq-4bit-g128": awq_server}
    spec = RunSpec.short(
        model=ModelSpec(source="local", id=str(SAMPLE)),
        quantization=AwqSpec(
            calibration=CalibrationSpec(path=str(SAMPLE.parent / "data" / "calibration.jsonl"))
        ),
        evaluation=evaluation("gsm8k"),
        fidelity=FidelitySpec(texts=str(work / "texts.txt"), documents=4, max_tokens=48),
    )

    def reading(arm: str, folder: Path = work) -> Reading:
        subject = subject_of(
            spec, checkpoint_at(arms[arm].model, arm), folder, arm, conditions=[arm],
            environment=server_environment,
        )  # fmt: skip
        probe = ReadingProbe(subject)
        assert not probe.present
        assert probe.found() is None
        probe.take(arms[arm].server, restarts_left=0)
        assert probe.present
        found = probe.found()
        assert found is not None
        return found

    readings = {arm: reading(arm) for arm in arms}
    repeat = reading("baseline", work / "repeat")
    file = (work / "repeat" / "run" / repeat.file).relative_to(work)
    readings["repeat"] = repeat.model_copy(update={"file": f"../{file}"})
    return Bench(work / "run", {arm: one.server for arm, one in arms.items()}, readings)


def test_a_model_follows_itself(bench: Bench) -> None:
    found = compare(bench.readings["baseline"], bench.readings["repeat"], bench.folder)
    assert found.agreement == 1.0
    # The engine is not bound to compute the same bits twice.
    assert found.kl_p99 < 1e-3
    assert found.perplexity_baseline == pytest.approx(found.perplexity_candidate, rel=1e-3)
    assert found.texts == "texts.txt"


def test_a_quantized_model_follows_less_closely(bench: Bench) -> None:
    found = compare(bench.readings["baseline"], bench.readings["awq-4bit-g128"], bench.folder)
    print(found)
    assert 0.5 < found.agreement <= 1.0
    assert 1e-4 < found.kl_mean < 1.0
    assert found.kl_median <= found.kl_p99
    assert found.perplexity_baseline != found.perplexity_candidate
    assert (found.documents, found.top_k) == (4, 20)


def test_perplexity_is_that_of_echoed_texts(bench: Bench) -> None:
    """An echo is another way through the server: one text a request, with another field."""
    server, positions = bench.servers["baseline"], bench.positions("baseline")
    tokens = positions.tokens.tolist()
    headers = {"Authorization": f"Bearer {server.api_key.get_secret_value()}"}
    values: list[float] = []
    for length in positions.lengths.tolist():
        text, tokens = tokens[:length], tokens[length:]
        body = {
            "model": server.model, "prompt": text, "max_tokens": 1, "temperature": 0,
            "logprobs": 1, "echo": True,
        }  # fmt: skip
        answer = httpx.post(
            f"{server.base_url}/completions", json=body, headers=headers, timeout=120,
            trust_env=False,
        ).raise_for_status()  # fmt: skip
        values += answer.json()["choices"][0]["logprobs"]["token_logprobs"][1:length]
    assert len(values) == bench.readings["baseline"].tokens == 4 * 47 - _missing(bench)
    nll = -math.fsum(values) / len(values)
    assert bench.readings["baseline"].perplexity == pytest.approx(math.exp(nll), rel=1e-3)
    assert bench.readings["baseline"].nll == pytest.approx(nll, abs=1e-3)


def _missing(bench: Bench) -> int:
    """Return how many positions the shorter texts lack."""
    return sum(48 - length for length in bench.positions("baseline").lengths.tolist())


def test_likely_tokens_come_in_their_order(bench: Bench) -> None:
    positions = bench.positions("baseline")
    assert (positions.logprobs[:, :-1] >= positions.logprobs[:, 1:]).all()
    assert (positions.own <= positions.logprobs[:, 0]).all()
    assert (positions.ids >= 0).all()
