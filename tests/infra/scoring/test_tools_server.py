"""A real engine calls functions through its own template and parser, and is guided by a schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.contracts.progress import Silent
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import EvaluationSpec, ServingSpec
from infra.engines.live import LiveServer
from infra.engines.vllm.server import serve
from infra.machine.device import detect
from infra.store.settings import Settings
from infra.suite import kind_of
from tests.conftest import ROOT

SAMPLE = ROOT / "infra" / "sample"
ROWS = 16


@pytest.fixture(scope="module")
def server(
    server_environment: PythonEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    with serve(
        SAMPLE / "assistant",
        arm="baseline",
        spec=ServingSpec(device="cpu", max_model_len=2048),
        concurrency=8,
        environment=server_environment,
        device=detect("cpu"),
        trust_remote_code=False,
        log=tmp_path_factory.mktemp("served") / "log",
        progress=Silent(),
        tool_parser="hermes",
    ) as running:
        yield running


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "settings", "better_than"),
    [
        (
            "tools",
            {"tools": {"offered": [2]}, "generation_kwargs": {"until": [], "max_gen_toks": 192}},
            {"all_right": 0.8, "right_calls": 0.8, "right_final": 0.5, "well_formed": 0.9},
        ),
        (
            "schema",
            {"schema": {"guided": "both"}, "generation_kwargs": {"until": [], "max_gen_toks": 128}},
            {"schema_compliance": 0.5, "guided_compliance": 0.99},
        ),
    ],
)
def test_the_sample_calls_functions_and_is_guided(
    server: LiveServer, tmp_path: Path, name: str, settings: object, better_than: dict[str, float]
) -> None:
    lines = (SAMPLE / "data" / "own" / f"{name}.jsonl").read_text().splitlines()[:ROWS]
    (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / f"{name}.yaml").write_text(json.dumps(settings))
    spec = EvaluationSpec.model_validate(
        {
            "tasks": [{"name": name, "file": str(tmp_path / f"{name}.jsonl")}],
            "chat_template": True,
            "concurrency": 8,
        }
    )
    suite = kind_of(spec).prepare(
        spec, settings=Settings(cache=tmp_path / "cache"), progress=Silent()
    )
    scores = suite.ask(
        name, server, SAMPLE / "assistant", tmp_path / "samples.jsonl", Silent()
    )  # fmt: skip
    found = {metric.partition(",")[0]: one.value for metric, one in scores.metrics.items()}
    assert {metric: found[metric] for metric, least in better_than.items()
            if found[metric] < least} == {}, found  # fmt: skip
