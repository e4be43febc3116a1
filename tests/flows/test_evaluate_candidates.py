"""A deployed run of several candidates: a Prefect server, a worker, an engine that answers at once.

That whole runs reuse what is paid for, with and without a server, stands in
`tests/tasks/test_evaluation.py`; a true engine is asked in `test_quantize_and_evaluate.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import Report
from tests import stand_in_interpreter
from tests.prefect_server import Databases, Prefect, prefect_server

pytestmark = pytest.mark.e2e
NAME = "evaluate-candidates/candidates"
CANDIDATES = [
    {"name": "ready-made", "model": {"source": "local", "id": "infra/sample/model-awq"}},
    {"name": "half", "serving": {"dtype": "float16"}},
]
PARAMETERS: dict[str, Any] = {
    "candidates": CANDIDATES,
    "evaluation": {
        "tasks": [{"name": "gsm8k", "num_fewshot": 0, "limit": 12, "max_gen_toks": 64}],
        "datasets": {"openai/gsm8k": {"path": "infra/sample/data/openai/gsm8k"}},
    },
    "fidelity": {"documents": 4, "top_k": 2},
    "speed": {"enabled": False},
    "results": {"label": "two-candidates"},
}


@pytest.fixture(scope="module")
def prefect(
    tmp_path_factory: pytest.TempPathFactory, prefect_databases: Databases
) -> Iterator[Prefect]:
    home = tmp_path_factory.mktemp("prefect")
    with prefect_server(home, database=prefect_databases.registered) as server:
        server.env |= {
            "ASSAY_CACHE": str(home / "cache"), "ASSAY_RUNS": str(home / "runs"),
            "ASSAY_SERVER_PYTHON": str(stand_in_interpreter.write(home)),
            "CUDA_VISIBLE_DEVICES": "-1",
        }  # fmt: skip
        yield server


@pytest.mark.long
def test_the_deployment_ranks_its_candidates_on_one_page(prefect: Prefect) -> None:
    """Workers carry the deployment out in `test_matrix_on_workers.py` as well.

    Several candidates beside each other are in `tests/tasks/test_evaluation.py`, and what the
    deployment says of its own in `tests/test_structure.py`.
    """
    given = [
        word for name, value in PARAMETERS.items()
        for word in ("--param", f"{name}={json.dumps(value)}")
    ]  # fmt: skip
    prefect.call("deployment", "run", NAME, *given)
    prefect.call("worker", "start", "--pool", "assay", "--run-once", timeout=600)
    (run,) = prefect.read("flow_runs/filter")
    assert run["state_type"] == "COMPLETED", run["state"]
    assert run["state_name"] in ("Passed", "Regressed", "Inconclusive")

    (folder,) = Path(prefect.env["ASSAY_RUNS"]).glob("two-candidates-*")
    report = Report.model_validate_json((folder / "report.json").read_text())
    assert list(report.arms) == ["baseline", "ready-made", "half"]
    assert run["state"]["message"] == report.verdict.headline
    # The deployment's own baseline and gate, since neither was given.
    assert report.spec.baseline.serving.max_model_len == 2048
    assert report.spec.verdict.gate == "none"
    page = (folder / "report.html").read_text()
    for name in report.judged:
        assert name in page

    tasks = {task["name"]: task["state_name"] for task in prefect.read("task_runs/filter")}
    for name in ("evaluate-baseline", "evaluate-ready-made", "evaluate-half", "compare-half"):
        assert tasks[name] == "Completed", tasks
    assert [name for name in tasks if name.startswith("build-environment")] == [
        "build-environment-vllm"
    ]
    artifacts = {one["key"]: one["data"] for one in prefect.read("artifacts/filter") if one["key"]}
    ranked = [row["Arm"] for row in json.loads(artifacts["metrics-two-candidates"])]
    assert sorted(ranked) == ["baseline", "half", "ready-made"]
    assert "half" in artifacts["report-two-candidates"]


def test_a_candidate_that_changes_nothing_is_refused_by_the_form_or_the_run(
    prefect: Prefect,
) -> None:
    before = {run["id"] for run in prefect.read("flow_runs/filter")}
    nothing = json.dumps([{"name": "same"}])
    prefect.call("deployment", "run", NAME, "--param", f"candidates={nothing}")
    prefect.call("worker", "start", "--pool", "assay", "--run-once", timeout=300)
    (run,) = [one for one in prefect.read("flow_runs/filter") if one["id"] not in before]
    assert run["state_type"] == "FAILED"
    assert "Candidate same changes nothing" in run["state"]["message"]
