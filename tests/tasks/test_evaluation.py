"""A whole run of several candidates, on an engine that answers at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from deployments.recipes import sample, sample_awq
from flows.evaluate_candidates import evaluate_candidates
from infra.contracts.errors import NotPassed, PreflightError, QuantizationError, ServerDied
from infra.contracts.records import Report
from infra.contracts.specs import (
    ArmSpec,
    CandidateSpec,
    ServingChanges,
    ServingSpec,
    SpeedSpec,
    TaskSpec,
    VerdictSpec,
)
from infra.machine.preloaded import Preloading
from infra.stages import loading
from tasks import evaluation
from tests import stand_in_interpreter
from tests.conftest import ROOT
from tests.tasks.test_order import lines

pytestmark = pytest.mark.usefixtures("prefect")

ROWS = 12
HALF = CandidateSpec(name="half", serving=ServingChanges(dtype="float16"))
READY_MADE = CandidateSpec(name="ready-made", model=sample_awq())

Run = Callable[..., Report]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # recipes name folders of the project
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASSAY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ASSAY_SERVER_PYTHON", str(stand_in_interpreter.write(tmp_path)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")


@pytest.fixture
def burnt(tmp_path: Path) -> CandidateSpec:
    """A candidate whose engine does not live."""
    python = stand_in_interpreter.write(tmp_path, "another-python", burnt=True)
    return CandidateSpec(name="burnt", serving=ServingChanges(python=str(python), max_restarts=0))


def run(
    tmp_path: Path, *candidates: CandidateSpec, chat: dict[str, Any] | None = None, **changes: Any
) -> Report:
    """Carry out a run and return the report of the newest one."""
    recipe = sample()
    tasks = (TaskSpec(name="gsm8k", num_fewshot=0, limit=ROWS, max_gen_toks=64),)
    evaluation = recipe.evaluation.model_copy(update={"tasks": tasks, **(chat or {})})
    given = {
        "baseline": ArmSpec(model=recipe.baseline.model, serving=ServingSpec(device="cpu")),
        "candidates": list(candidates),
        "evaluation": evaluation,
        "fidelity": recipe.fidelity.model_copy(update={"documents": 4, "top_k": 2}),
        "speed": SpeedSpec(enabled=False),
        "verdict": VerdictSpec(
            margin_points=50, task_margin_points=50, gate="none", if_unresolvable="widen"
        ),
        **changes,
    }
    page = evaluate_candidates(**given)
    return Report.model_validate_json(page.with_name("report.json").read_text())


def folder(tmp_path: Path, report: Report) -> Path:
    return tmp_path / "runs" / report.run_id


def starts(tmp_path: Path, report: Report) -> set[str]:
    """Return the arms that an engine was started for."""
    logs = (folder(tmp_path, report) / "logs").glob("server-*.log")
    names = {log.stem.removeprefix("server-") for log in logs}
    return {name for name in names if not name.endswith("-reused")}


def test_the_baseline_answers_once_and_of_one_more_candidate_that_one_alone(
    tmp_path: Path,
) -> None:
    first = run(tmp_path, HALF, READY_MADE)
    assert list(first.arms) == ["baseline", "half", "ready-made"]
    assert list(first.judged) == ["half", "ready-made"]
    assert not first.failed
    assert starts(tmp_path, first) == {"baseline", "half", "ready-made"}
    assert {arm.tasks["gsm8k"].n for arm in first.arms.values()} == {ROWS}
    summaries = {name: arm.checkpoint for name, arm in first.arms.items()}
    assert summaries["half"].digest == summaries["baseline"].digest
    assert summaries["ready-made"].quantization is not None
    assert first.arms["half"].identity != first.arms["baseline"].identity
    # One environment and one folder of weights for those that have the same.
    assert {"environment-vllm", "weights-baseline", "weights-ready-made"} <= set(first.timings)
    assert {"environment-vllm-half", "weights-half"}.isdisjoint(first.timings)

    other = CandidateSpec(name="other", serving=ServingChanges(variables={"OMP_SCHEDULE": "x"}))
    later = run(tmp_path, HALF, READY_MADE, other)
    assert list(later.judged) == ["half", "ready-made", "other"]
    assert starts(tmp_path, later) == {"other"}
    assert {name for name in later.reused if name.startswith("evaluate-")} == {
        "evaluate-baseline", "evaluate-half", "evaluate-ready-made"
    }  # fmt: skip
    assert {judged.not_compared for judged in later.judged.values()} == {""}
    for name in ("half", "ready-made"):
        assert later.arms[name].tasks["gsm8k"].metrics == first.arms[name].tasks["gsm8k"].metrics


def test_a_baseline_is_measured_alone_and_beside_a_candidate_once(tmp_path: Path) -> None:
    alone = run(tmp_path, verdict=VerdictSpec(gate="all", if_unresolvable="widen"))
    assert (list(alone.arms), alone.judged) == (["baseline"], {})
    assert starts(tmp_path, alone) == {"baseline"}
    beside = run(tmp_path, HALF)
    assert starts(tmp_path, beside) == {"half"}
    assert beside.arms["baseline"].tasks["gsm8k"].reused


def test_a_candidate_that_fails_costs_the_others_nothing(
    tmp_path: Path, burnt: CandidateSpec
) -> None:
    report = run(tmp_path, burnt, HALF)
    assert list(report.judged) == ["half"]
    assert list(report.failed) == ["burnt"]
    assert "exit code 3" in report.failed["burnt"]
    assert report.verdict.status == "INCONCLUSIVE"
    assert any("burnt has no result" in reason for reason in report.verdict.reasons)
    assert "environment-vllm-burnt" in report.timings
    text = (folder(tmp_path, report) / "report.md").read_text()
    assert "burnt" in text


def test_the_baselines_template_writes_the_prompts_of_what_is_made_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The candidate's own refuses them; the interpreter here makes no checkpoint."""
    python = stand_in_interpreter.write(tmp_path, "made", burnt=True)
    monkeypatch.setenv("ASSAY_QUANTIZER_PYTHON", str(python))
    recipe = sample()
    [made] = recipe.candidates
    folder = tmp_path / "another"
    shutil.copytree(recipe.baseline.model.id, folder)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    config["chat_template"] = (
        "{% if messages[0].content == 'Be brief.' %}{{ raise_exception('never') }}{% endif %}"
        + config["chat_template"]
    )
    file.write_text(json.dumps(config))
    model = recipe.baseline.model.model_copy(update={"id": str(folder)})
    chat = {"chat_template": True, "system_instruction": "Be brief.", "tokenizer": "baseline"}
    candidate = CandidateSpec(name="made", model=model, quantization=made.quantization)
    with pytest.raises(QuantizationError, match="quantizer's interpreter"):
        run(tmp_path, candidate, chat=chat)


def test_where_no_candidate_comes_to_a_result_the_run_fails(
    tmp_path: Path, burnt: CandidateSpec
) -> None:
    with pytest.raises(ServerDied):
        run(tmp_path, burnt)
    assert not list((tmp_path / "runs").glob("*/report.json"))
    again = burnt.model_copy(update={"name": "burnt-too"})
    with pytest.raises(ServerDied):
        run(tmp_path, burnt, again)
    assert not list((tmp_path / "runs").glob("*/report.json"))


def test_a_baseline_that_fails_ends_the_run_before_any_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = stand_in_interpreter.write(tmp_path, "burnt", burnt=True)
    monkeypatch.setenv("ASSAY_SERVER_PYTHON", str(python))
    with pytest.raises(ServerDied):
        run(tmp_path, HALF, READY_MADE)
    (ended,) = (tmp_path / "runs").glob("[!.]*")
    assert {log.stem for log in (ended / "logs").glob("server-*")} <= {
        "server-baseline", "server-baseline-2", "server-baseline-3"
    }  # fmt: skip


def test_a_candidate_that_is_not_there_is_refused_before_anything_starts(tmp_path: Path) -> None:
    lost = tmp_path / "lost"
    shutil.copytree(ROOT / "infra" / "sample" / "model-awq", lost)
    (lost / "model.safetensors").unlink()
    model = sample_awq().model_copy(update={"id": str(lost)})
    with pytest.raises(PreflightError, match="no weights"):
        run(tmp_path, HALF, CandidateSpec(name="lost", model=model))
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def spare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with cores and memory to load ahead on."""
    monkeypatch.setattr(loading.cores, "to_spare", lambda: True)
    monkeypatch.setattr(loading, "main_memory", lambda: (2**37, 2**36))


@pytest.mark.usefixtures("spare")
def test_the_first_engine_loads_while_the_run_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def refuse(_: object) -> None:
        assert done == ["begun", "loaded"]
        raise PreflightError("Nothing else is looked at here.")

    monkeypatch.setattr(loading, "_load_first", lambda *_: done.append("loaded"))
    monkeypatch.setattr(evaluation, "begin_run", lambda _: done.append("begun"))
    monkeypatch.setattr(evaluation, "check_prerequisites", refuse)
    with pytest.raises(PreflightError):
        run(tmp_path, HALF)
    assert done == ["begun", "loaded"]


@pytest.mark.usefixtures("spare")
def test_what_was_loaded_and_never_served_ends_before_the_report_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def published(*_: object, **__: object) -> None:
        done.append("published")
        raise PreflightError("Nothing is published here.")

    monkeypatch.setattr(Preloading, "drop", lambda _: done.append("dropped"))
    monkeypatch.setattr(evaluation, "publish", published)
    with pytest.raises(PreflightError):
        run(tmp_path)
    assert done == ["dropped", "published", "dropped"]


def test_a_gate_that_nobody_passes_ends_the_run_as_failed(tmp_path: Path) -> None:
    gated = VerdictSpec(
        margin_points=50, task_margin_points=50, gate="any", if_unresolvable="widen"
    )
    with pytest.raises(NotPassed) as ended:
        run(tmp_path, HALF, READY_MADE, verdict=gated)
    page = Path(str(ended.value.report))
    report = Report.model_validate_json(page.with_name("report.json").read_text())
    assert list(report.judged) == ["half", "ready-made"]
    assert ended.value.status == report.verdict.status != "PASS"


def test_the_graph_is_drawn_as_the_readme_draws_it(tmp_path: Path) -> None:
    report = run(tmp_path, HALF, READY_MADE)
    _, _, id_ = report.provenance["prefect_url"].rpartition("/")
    assert lines(id_, "publish") == {
        ("check-prerequisites", "fetch-weights-baseline"),
        ("check-prerequisites", "fetch-weights-ready-made"),
        ("check-prerequisites", "build-environment-vllm"),
        ("fetch-weights-baseline", "evaluate-baseline"),
        ("build-environment-vllm", "evaluate-baseline"),
        ("evaluate-baseline", "evaluate-half"),
        ("evaluate-baseline", "evaluate-ready-made"),
        ("fetch-weights-ready-made", "evaluate-ready-made"),
        ("evaluate-half", "compare-half"),
        ("evaluate-ready-made", "compare-ready-made"),
        ("compare-half", "publish"),
        ("compare-ready-made", "publish"),
    }
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(id_)
        assert flow_run.name == "sample · half, ready-made · adhoc"
        assert set(flow_run.tags) == {"cpu", "sample", "adhoc"}
        notes = {
            str(one.task_run_id): one.description
            for one in client.read_artifacts(
                artifact_filter=ArtifactFilter(
                    flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id])
                )
            )
            if one.type == "markdown"
        }
    assert set(notes.values()) >= {
        "What the run needs, and what is there", "The weights of baseline", "What half scored",
        "half beside the baseline", "The environment of vllm",
    }  # fmt: skip
    assert None not in notes
