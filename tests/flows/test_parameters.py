"""What a run of a deployment is given, against a real Prefect server; none gets past preflight."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import ValidationError, validate

from deployments.__main__ import main
from deployments.overrides import override
from deployments.recipes import sample, sample_candidates
from flows.evaluate_candidates import evaluate_candidates
from flows.evaluate_endpoint import evaluate_endpoint
from flows.evaluate_models import evaluate_models
from flows.quantize_and_evaluate import quantize_and_evaluate
from infra.contracts.specs import EndpointRunSpec, MatrixSpec, RunSpec
from infra.preflight.replaced import replaced
from tests.prefect_server import ROOT, Databases, Prefect, prefect_server

GSM8K = {"tasks": [{"name": "gsm8k", "num_fewshot": 5, "limit": 12}]}


@pytest.fixture(scope="module")
def prefect(
    tmp_path_factory: pytest.TempPathFactory, prefect_databases: Databases
) -> Iterator[Prefect]:
    home = tmp_path_factory.mktemp("prefect")
    with prefect_server(home, database=prefect_databases.registered) as server:
        server.env |= {
            "ASSAY_CACHE": str(home / "cache"), "ASSAY_RUNS": str(home / "runs"),
            "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(home / "hf"),
        }  # fmt: skip
        yield server


@pytest.mark.e2e
def test_the_command_of_the_readme_changes_a_single_field(prefect: Prefect) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^```sh\n(.*--params -)\n```$", text, re.MULTILINE | re.DOTALL)
    command = command.rpartition("```sh\n")[2]
    subprocess.run(command, shell=True, cwd=ROOT, env=prefect.env, check=True, timeout=300)
    (run,) = prefect.read("flow_runs/filter")
    expected = override(sample(), ["evaluation.tasks.gsm8k.limit=20"])
    assert RunSpec.model_validate(run["parameters"]) == expected


@pytest.mark.e2e
def test_a_run_that_was_given_a_whole_object_says_what_it_lost(prefect: Prefect) -> None:
    for run in prefect.read("flow_runs/filter"):
        prefect.delete(f"flow_runs/{run['id']}")
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
    deployed = sample().short_form
    assert deployed is not None
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
    (note,) = replaced(deployed, RunSpec.model_validate(deployed | {"serving": {"device": "cpu"}}))
    assert "serving.max_model_len" in note.found and "serving.device" not in note.found
    assert not replaced(deployed, RunSpec.model_validate(deployed))
    assert not replaced({"no": "such"}, given)


def test_so_it_is_with_a_baseline_and_candidates() -> None:
    deployed = sample_candidates().model_dump(mode="json")
    assert not replaced(deployed, RunSpec.model_validate(deployed))
    baseline = {"model": deployed["baseline"]["model"], "serving": {"dtype": "float16"}}
    (note,) = replaced(deployed, RunSpec.model_validate(deployed | {"baseline": baseline}))
    assert "baseline.serving.max_model_len" in note.found
    assert "baseline.serving.dtype" not in note.found
    # A list that is given is another list.
    candidates = deployed["candidates"][:1]
    assert not replaced(deployed, RunSpec.model_validate(deployed | {"candidates": candidates}))


def _schema(flow: Flow[..., Any]) -> dict[str, Any]:
    return parameter_schema(flow.fn).model_dump()


FLOWS = (quantize_and_evaluate, evaluate_candidates, evaluate_models)


@pytest.mark.parametrize("flow", FLOWS)
def test_the_form_says_what_every_field_is(flow: Flow[..., Any]) -> None:
    schema = _schema(flow)
    boxes = {flow.name: schema, **schema["definitions"]}
    fields = {
        f"{box}.{name}": field.get("description")
        for box, definition in boxes.items()
        for name, field in definition.get("properties", {}).items()
    }
    assert len(fields) > 60
    assert [name for name, description in fields.items() if not description] == []


def test_the_form_keeps_the_bounds_of_what_a_candidate_changes() -> None:
    boxes = _schema(evaluate_candidates)["definitions"]
    plain, changes = (boxes[name]["properties"] for name in ("ServingSpec", "ServingChanges"))
    assert plain.keys() == changes.keys()
    for name, field in changes.items():
        limits = _limits(plain[name])
        assert _limits(field) == limits, name
    assert _limits(changes["port"]) == {"minimum": 1024, "maximum": 65535}


@pytest.mark.parametrize("flow", FLOWS)
def test_the_form_takes_margins_by_metric(flow: Flow[..., Any]) -> None:
    field = _schema(flow)["definitions"]["VerdictSpec"]["properties"]["margins"]
    assert field["type"] == "object"
    assert field["additionalProperties"] == {"type": "number", "exclusiveMinimum": 0}
    assert "in the metric's own unit" in field["description"]


def _limits(field: dict[str, Any]) -> dict[str, float]:
    """Return what bounds a field: of one that may be empty, what bounds its value."""
    forms = [field, *field.get("anyOf", [])]
    words = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    return {word: form[word] for form in forms for word in words if word in form}


def test_a_flow_can_be_given_whatever_a_spec_holds() -> None:
    assert _schema(evaluate_candidates)["properties"].keys() == RunSpec.model_fields.keys()
    fields = MatrixSpec.model_fields.keys() | {"where"}
    assert _schema(evaluate_models)["properties"].keys() == fields
    assert _schema(evaluate_endpoint)["properties"].keys() == EndpointRunSpec.model_fields.keys()


def test_the_server_takes_the_parameters_of_every_deployment() -> None:
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        path, _, name = deployment["entrypoint"].rpartition(":")
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        flow: Flow[Any, Any] = getattr(module, name)
        # As the server does: what a deployment leaves open, whoever starts it has to give.
        given = deployment["parameters"]
        validate(given, _schema(flow), raise_on_error=True, ignore_required=True)


@pytest.mark.parametrize("gate", ["all", "any", "none", True, False])
def test_a_gate_is_named_or_as_before_on_or_off(gate: str | bool) -> None:
    schema = _schema(evaluate_candidates)
    given = sample_candidates().model_dump(mode="json") | {"verdict": {"gate": gate}}
    validate(given, schema, raise_on_error=True)
    with pytest.raises(ValidationError):
        validate(given | {"verdict": {"gate": "some"}}, schema, raise_on_error=True)


def test_what_show_prints_are_the_parameters_of_a_flow(capsys: pytest.CaptureFixture[str]) -> None:
    for recipe, flow in (
        ("sample", quantize_and_evaluate), ("sample-candidates", evaluate_candidates),
        ("sample-family", evaluate_models),
    ):  # fmt: skip
        assert main(["show", recipe]) == 0
        shown = json.loads(capsys.readouterr().out)
        schema = _schema(flow)
        assert set(schema["required"]) <= shown.keys() <= schema["properties"].keys(), recipe
        assert flow.validate_parameters(shown)
