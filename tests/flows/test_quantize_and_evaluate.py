"""One true run: a Prefect server, a work pool, a deployment, a worker; AutoAWQ, vLLM, lm-eval."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from infra.contracts.records import PythonEnvironment, Report
from infra.store import history
from tests.prefect_server import ROOT, Databases, Prefect, prefect_server
from tests.process_marks import INHERITED
from tests.secret_search import files_with, watched

pytestmark = [pytest.mark.e2e, pytest.mark.engine]
TASKS = [
    {"name": "gsm8k", "num_fewshot": 5, "limit": 12, "max_gen_toks": 120},
    {"name": "global_mmlu_en", "limit": 3},
    {"name": "gpqa_main_zeroshot", "limit": 12},
]
CANDIDATE = "awq-4bit-g128"


@pytest.fixture(scope="module")
def prefect(
    tmp_path_factory: pytest.TempPathFactory, prefect_databases: Databases
) -> Iterator[Prefect]:
    home = tmp_path_factory.mktemp("prefect")
    with prefect_server(home, database=prefect_databases.empty) as server:
        server.env[INHERITED] = str(server.home)  # by which its runs' processes are found
        server.env |= {name: value for name, value in SECRETS.items() if name != "HF_TOKEN"}
        yield server


SECRETS = {
    "HF_TOKEN": "hf_PlantedByTheTestZq81",
    "MODELSCOPE_API_TOKEN": "ms-planted-by-the-test-4411",
    "OPENAI_API_KEY": "sk-planted-by-the-test-0977",
}
"""What runs have in their environment: one of them through a Secret block of Prefect."""


def create_pool(prefect: Prefect, folder: Path) -> None:
    """Make the work pool as the README says, with a token that only a Secret block holds."""
    name = "HF_TOKEN"
    block = """
from prefect.blocks.system import Secret
import sys
Secret(value=sys.stdin.read()).save("hf-token")
"""
    subprocess.run(
        [sys.executable, "-c", block], env=prefect.env, input=SECRETS[name], text=True, check=True
    )
    command = ("work-pool", "get-default-base-job-template", "--type", "process")
    prefect.call(*command, "--file", str(folder / "template.json"))
    template = json.loads((folder / "template.json").read_text())
    variables = template["variables"]["properties"]
    variables["env"]["default"] = {name: "{{ prefect.blocks.secret.hf-token }}"}
    (folder / "template.json").write_text(json.dumps(template))
    arguments = ("--type", "process", "--base-job-template", str(folder / "template.json"))
    prefect.call("work-pool", "create", "assay", *arguments)


GATE = {"margin_points": 0.1, "task_margin_points": 0.1, "flip_rate": 1e-6, "gate": True}
"""A margin that so few rows cannot show, and a plan that believes they can: never a PASS."""


def run_deployment(
    prefect: Prefect, *parameters: str, runs: Path, cache: Path, seconds: float
) -> dict[str, Any]:
    """Ask for a run as a user does, let a worker carry it out, return the flow run."""
    evaluation = {
        "tasks": TASKS,
        "datasets": {
            name: {"path": f"infra/sample/data/{name}"}
            for name in ("openai/gsm8k", "CohereLabs/Global-MMLU-Lite", "Idavidrein/gpqa")
        },
    }
    prefect.call(
        "deployment", "run", "quantize-and-evaluate/adhoc",
        "--param", f"evaluation={json.dumps(evaluation)}",
        "--param", f"results={json.dumps({'folder': str(runs), 'label': 'e2e'})}",
        *parameters,
        "--job-variable", f"env.ASSAY_CACHE={cache}",
    )  # fmt: skip
    prefect.call("worker", "start", "--pool", "assay", "--run-once", timeout=seconds)
    flow_runs = prefect.read("flow_runs/filter", sort="START_TIME_DESC")
    return dict(flow_runs[0])


def test_a_deployed_run_does_it_all_and_the_next_one_reuses_it(
    prefect: Prefect,
    server_environment: PythonEnvironment,
    quantizer_environment: PythonEnvironment,
    own_cache: Path,
    tmp_path: Path,
) -> None:
    runs = tmp_path / "runs"
    create_pool(prefect, tmp_path)
    prefect.call("--no-prompt", "deploy", "--all")
    deployments = {d["name"]: d for d in prefect.read("deployments/filter")}
    assert {"adhoc", "candidates", "endpoint", "matrix", "nightly", "quick"} <= set(deployments)
    assert [s["active"] for s in deployments["nightly"]["schedules"]] == [False]

    with watched(SECRETS, prefect.env[INHERITED]) as seen:
        first = run_deployment(prefect, runs=runs, cache=own_cache, seconds=800)
    assert first["state_type"] == "COMPLETED", first["state"]
    assert first["state_name"] in ("Passed", "Regressed", "Inconclusive")
    folder = next(runs.glob("e2e-*"))
    report = Report.model_validate_json((folder / "report.json").read_text())
    check_report(report, folder)
    (pair,) = report.pairs
    assert set(report.reused) == {"environment-vllm", "environment-awq"}
    assert processes_of_runs(prefect) == []

    task_runs = {t["name"]: t for t in prefect.read("task_runs/filter")}
    assert task_runs.keys() >= {
        f"quantize-{CANDIDATE}", "evaluate-baseline", f"evaluate-{CANDIDATE}"
    }  # fmt: skip
    # Of a task with a tag Prefect asks how many may go at once, and waits for an API that is away.
    assert not any(t["tags"] for t in task_runs.values())
    artifacts = prefect.read("artifacts/filter", flow_runs={"id": {"any_": [first["id"]]}})
    by_key = {artifact["key"]: artifact for artifact in artifacts if artifact["key"]}
    assert "![" in by_key["report-e2e"]["data"] and "gsm8k" in by_key["report-e2e"]["data"]
    assert len(json.loads(by_key["metrics-e2e"]["data"])) == 1 + len(pair.comparison.metrics)
    assert "gsm8k" in by_key["history-e2e"]["data"]
    assert any(artifact["type"] == "progress" for artifact in artifacts)
    assert f"{first['id']}" in report.provenance["prefect_url"]

    rows = len(pd.read_csv(runs / "history.csv"))
    assert rows == sum(len(t.metrics) for arm in report.arms.values() for t in arm.tasks.values())

    for name, secret in SECRETS.items():
        assert secret in seen.environments[name], f"{name} did not reach the run"
    assert len(seen.keys) == 2, "one key a server"
    secrets = {*SECRETS.values(), *seen.keys}
    assert [c for c in seen.commands if any(secret in c for secret in secrets)] == []
    assert files_with(secrets, [prefect.home, runs, own_cache]) == []

    verdict = f"verdict={json.dumps(GATE)}"
    second = run_deployment(prefect, "--param", verdict, runs=runs, cache=own_cache, seconds=300)
    assert second["state_type"] == "FAILED", second["state"]
    assert second["state_name"] in ("Regressed", "Inconclusive")
    states = {
        t["name"]: t["state_name"]
        for t in prefect.read("task_runs/filter", flow_runs={"id": {"any_": [second["id"]]}})
    }
    for name in (f"quantize-{CANDIDATE}", "evaluate-baseline", f"evaluate-{CANDIDATE}"):
        assert states[name] == "Reused"
    later = max(runs.glob("e2e-*"), key=lambda path: path.stat().st_mtime_ns)
    again = Report.model_validate_json((later / "report.json").read_text())
    assert again.pairs[0].comparison == pair.comparison
    logs = {path.name for path in (later / "logs").glob("server-*")}
    assert logs == {"server-baseline-reused.log", f"server-{CANDIDATE}-reused.log"}
    assert len(pd.read_csv(runs / "history.csv")) == 2 * rows
    assert second["state"]["message"] == again.verdict.headline
    await_verdicts(prefect, {report.run_id, again.run_id})

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deployments", *arguments], cwd=ROOT, check=False, text=True,
            env={**prefect.env, "ASSAY_CACHE": str(own_cache)}, capture_output=True,
        )  # fmt: skip

    for name in (history.DATABASE, history.NAME):  # as if it had been ended before it wrote there
        (runs / name).unlink()
    repeated = command("run", str(later / "spec.json"))
    assert "Nothing changed since run" in repeated.stdout, repeated.stdout + repeated.stderr
    assert repeated.returncode == {"FAIL": 3, "INCONCLUSIVE": 4}[again.verdict.status]

    assert set(pd.read_csv(runs / history.NAME)["run_id"]) == {again.run_id}

    verified = command("verify", str(folder))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    document = json.loads((folder / "report.json").read_text())
    document["arms"]["baseline"]["speed"]["startup_seconds"] = 0.5
    (folder / "report.json").write_text(json.dumps(document))
    tampered = command("verify", str(folder))
    assert tampered.returncode == 1
    assert "arms.baseline.speed.startup_seconds" in tampered.stdout


def await_verdicts(prefect: Prefect, runs: set[str]) -> None:
    """Wait until the server has recorded the runs' events, which takes it some seconds."""
    wanted = {"event": {"name": ["assay.verdict"]}}
    deadline = time.monotonic() + 120
    while True:
        events = prefect.read("events/filter", filter=wanted)["events"]
        if (found := {event["payload"]["run"] for event in events}) == runs:
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


def check_report(report: Report, folder: Path) -> None:
    assert list(report.arms) == ["baseline", CANDIDATE]
    (pair,) = report.pairs
    baseline, candidate = pair.baseline, pair.candidate
    for arm in (baseline, candidate):
        assert list(arm.tasks) == [task["name"] for task in TASKS]
        for scores in arm.tasks.values():
            assert scores.metrics
            for metric in scores.metrics.values():
                assert metric.n == scores.n
                assert metric.stderr is not None
            assert len((folder / scores.samples).read_text().splitlines()) == scores.n
        assert arm.server.version in (folder / arm.server.log).read_text()
    assert baseline.checkpoint.quantization is None
    assert candidate.checkpoint.quantization is not None
    assert candidate.checkpoint.quantization["quant_method"] == "awq"
    assert candidate.checkpoint.size_bytes < baseline.checkpoint.size_bytes
    assert candidate.triage is not None
    assert candidate.triage.agreement is not None and candidate.triage.agreement > 0.9
    assert pair.comparison.fidelity is not None
    assert pair.comparison.fidelity.agreement > 0.5
    assert pair.comparison.pooled is not None and report.power is not None
    for arm in (baseline, candidate):
        assert arm.bench is not None and all(point.failed == 0 for point in arm.bench.points)
    assert report.verdict.margin_points > 0
    assert candidate.server.kernel is not None
    assert candidate.server.kernel in (folder / candidate.server.log).read_text()
    for name, scores in baseline.tasks.items():
        assert scores.questions == candidate.tasks[name].questions
    for name in ("report.html", "report.md", "model-card.md", "report.json", "spec.json"):
        assert (folder / name).stat().st_size > 0


def processes_of_runs(prefect: Prefect) -> list[list[str]]:
    """Return the command lines of processes that a run marked as its own."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            env = process.environ()
            if "ASSAY_PROCESS_TREE" in env and env.get(INHERITED) == prefect.env[INHERITED]:
                found.append(process.cmdline())
    return found
