"""A run that asks about documents: found once, the same for all arms, and told once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.contracts.records import PythonEnvironment, Report
from infra.contracts.records.retrieval import Retrieval
from infra.contracts.specs import EmbeddingSpec, EndpointSpec, TaskSpec
from infra.report import receipt
from tests import stand_in_interpreter
from tests.conftest import ROOT
from tests.embedding_endpoint import Embeds, embedding
from tests.infra.suite.own.test_documents import COSTS, NONE, NORTH, SOUTH, files
from tests.tasks.test_evaluation import HALF, folder, run, starts

pytestmark = pytest.mark.usefixtures("prefect")

ROWS = [
    COSTS,
    NONE,
    {"question": "What does the South plan cost?", "answer": "30 euros", "passages": SOUTH},
    {"question": "How long does the South plan run?", "answer": "a year",
     "passages": {"document": "south.txt", "text": "It runs for a year."}},
]  # fmt: skip


@pytest.fixture(autouse=True)
def place(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ASSAY_CACHE", str(own_cache))
    monkeypatch.setenv("ASSAY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ASSAY_SERVER_PYTHON", str(stand_in_interpreter.write(tmp_path)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")


def asked(tmp_path: Path, server: Embeds) -> Report:
    rows = files(tmp_path, *ROWS, top_k=2, chunk_size=120, overlap=20)
    endpoint = EndpointSpec(url=server.url, model=server.name, version="1")
    changed = {
        "tasks": (TaskSpec(name="handbook", file=str(rows), max_gen_toks=8),),
        "embedding": EmbeddingSpec(endpoint=endpoint),
    }
    return run(tmp_path, HALF, chat=changed)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_all_arms_are_asked_with_what_was_found_once(
    tmp_path: Path, documents_environment: PythonEnvironment
) -> None:
    with embedding() as server:
        first = asked(tmp_path, server)
        sent = [*server.texts]
        again = asked(tmp_path, server)
    kept = folder(tmp_path, first)
    record = Retrieval.model_validate_json((kept / "retrieval-handbook.json").read_text())
    assert (record.task, record.documents, record.questions) == ("handbook", 2, 4)
    assert record.recall is not None and record.recall > 0.6
    told = first.provenance["passages of handbook"]
    assert f"it found {100 * record.recall:.1f} %" in told and "llama-index" in told
    rows = {
        name: [json.loads(line) for line in _lines(kept / arm.tasks["handbook"].samples)]
        for name, arm in first.arms.items()
    }
    prompts = [[row["prompt"] for row in each] for each in rows.values()]
    assert prompts[0] == prompts[1]
    assert f"{NORTH}" in prompts[0][0] and "[2] " in prompts[0][0] and "[3] " not in prompts[0][0]
    assert first.arms["half"].tasks["handbook"].primary_metric == "right,none"
    # Marks of some rows are means of these, compared on these, and made again by the receipt.
    metrics = first.arms["half"].tasks["handbook"].metrics
    assert (metrics["right,none"].n, metrics["declined_where_nothing,none"].n) == (4, 1)
    compared = {one.metric: one.pairs for one in first.judged["half"].comparison.metrics}
    assert (compared["right,none"], compared["declined_where_nothing,none"]) == (4, 1)
    said = [note for check in receipt.verify(kept) for note in check.notes]
    assert not [note for note in said if "no score of their own" in note]
    # What the user set stands in the report, and not where what was found lies.
    assert first.spec.evaluation.tasks[0].file == str(tmp_path / "rows.jsonl")
    assert receipt.verify(kept) and not [w for check in receipt.verify(kept) for w in check.wrong]
    assert starts(tmp_path, first) == {"baseline", "half"}
    # The same run again embeds nothing, retrieves nothing and asks nothing.
    assert server.texts == [*sent, "one"]  # which preflight asks
    assert "retrieve-handbook" in again.reused and "retrieve-handbook" not in first.reused
    assert starts(tmp_path, again) == set()
    assert again.provenance["run_key"] == first.provenance["run_key"] != ""
