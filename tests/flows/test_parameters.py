"""What a run of a deployment is given, against a real Prefect server; none gets past preflight."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from deployments.recipes import sample
from infra.contracts.specs import RunSpec
from infra.preflight.replaced import replaced
from tests.prefect_server import ROOT, Prefect, prefect_server

GSM8K = {"tasks": [{"name": "gsm8k", "num_fewshot": 5, "limit": 12}]}


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    home = tmp_path_factory.mktemp("prefect")
    with prefect_server(home) as server:
        server.env |= {
            "ASSAY_CACHE": str(home / "cache"), "ASSAY_RUNS": str(home / "runs"),
            "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(home / "hf"),
        }  # fmt: skip
        server.call("work-pool", "create", "assay", "--type", "process")
        server.call("--no-prompt", "deploy", "--all")
        yield server


@pytest.mark.e2e
def test_the_command_of_the_readme_changes_a_single_field(prefect: Prefect) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^```sh\n(.*--params -)\n```$", text, re.MULTILINE | re.DOTALL)
    command = command.rpartition("```sh\n")[2]
    subprocess.run(command, shell=True, cwd=ROOT, env=prefect.env, check=True, timeout=300)
    (run,) = prefect.read("flow_runs/filter")
    expected = sample().model_dump(mode="json")
    expected["evaluation"]["tasks"][0]["limit"] = 20
    assert RunSpec.model_validate(run["parameters"]).model_dump(mode="json") == expected


@pytest.mark.e2e
def test_a_run_that_was_given_a_whole_object_says_what_it_lost(prefect: Prefect) -> None:
    for run in prefect.read("flow_runs/filter"):
        prefect.call("flow-run", "delete", run["id"])
    prefect.call(
        "deployment", "run", "quantize-and-evaluate/adhoc",
        "--param", f"evaluation={json.dumps(GSM8K)}",
    )  # fmt: skip
    prefect.call("worker", "start", "--pool", "assay", "--run-once", timeout=300)
    (run,) = prefect.read("flow_runs/filter")
    logs = prefect.read("logs/filter", logs={"flow_run_id": {"any_": [run["id"]]}}, limit=200)
    said = " ".join(" ".join(log["message"] for log in logs).split())
    assert "what the deployment says of evaluation.datasets does not count" in said
    assert "The rows of openai/gsm8k cannot be had" in said
    assert run["state_type"] == "FAILED"
    assert not (prefect.home / "runs").exists()


def test_only_what_was_left_out_is_lost() -> None:
    deployed = json.loads(sample().model_dump_json())
    given = RunSpec.model_validate(deployed | {"evaluation": GSM8K, "speed": {"requests": 8}})
    notes = {
        finding.found.partition(" ")[0]: finding.found for finding in replaced(deployed, given)
    }
    assert set(notes) == {"evaluation", "speed"}
    assert "evaluation.datasets" in notes["evaluation"]
    assert "evaluation.tasks" not in notes["evaluation"]
    assert "speed.requests" not in notes["speed"] and "speed.concurrencies" in notes["speed"]
    nested = deployed | {"quantization": {"calibration": {"path": "calibration.jsonl"}}}
    (note,) = replaced(deployed, RunSpec.model_validate(nested))
    assert "quantization.group_size" in note.found
    assert "quantization.calibration.max_samples" in note.found
    assert not replaced(deployed, RunSpec.model_validate(deployed))
    assert not replaced({"no": "such"}, given)
