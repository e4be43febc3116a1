"""An endpoint is judged as a candidate is, and against nothing that was asked otherwise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from infra.contracts.errors import ComparisonError
from infra.contracts.records import Power
from infra.contracts.specs import VerdictSpec
from infra.judging.endpoint import compared, earlier_run, judged, require_alike
from infra.judging.power import plan
from infra.judging.verdict import decide
from infra.report import receipt
from tests.infra.made_endpoints import MODEL, make_endpoint_run, spec_of
from tests.infra.made_runs import make_run


@pytest.mark.parametrize("kept", [1.0, 0.86, 0.3])
def test_the_verdict_is_that_of_a_candidate_with_these_rows(kept: float, tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=120, kept=kept)
    spec = spec_of(made, baseline=True)
    [pair] = made.pairs
    found = compared(pair.baseline.tasks, pair.candidate.tasks, spec, tmp_path)
    assert found.metrics == pair.comparison.metrics
    assert found.pooled == pair.comparison.pooled
    verdict = judged(found, spec, None)
    assert verdict == decide(pair.comparison, made.spec.verdict, what=MODEL)
    assert verdict.status == pair.verdict.status


def test_margins_of_the_spec_hold(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=120, kept=0.86)
    spec = spec_of(made, baseline=True)
    [pair] = made.pairs
    statuses = []
    for margin in (0.1, 60.0):
        own = VerdictSpec(margin_points=margin, task_margin_points=60)
        given = spec.model_copy(update={"verdict": own})
        found = compared(pair.baseline.tasks, pair.candidate.tasks, given, tmp_path)
        statuses.append(judged(found, given, None).status)
    assert statuses[0] != "PASS" == statuses[1]


def test_a_margin_that_the_plan_widened_is_said(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=60)
    own = VerdictSpec(margin_points=0.5, if_unresolvable="widen")
    spec = spec_of(made, baseline=True).model_copy(update={"verdict": own})
    [pair] = made.pairs
    power: Power = plan({"gsm8k": 60}, own)
    found = compared(pair.baseline.tasks, pair.candidate.tasks, spec, tmp_path)
    verdict = judged(found, spec, power)
    assert verdict.widened_from_points == 0.5 < verdict.margin_points
    assert "widened" in verdict.headline


def test_where_no_tokenizer_wrote_the_prompts_rows_are_paired_by_question(tmp_path: Path) -> None:
    """Messages are rendered by the endpoint's own template: the words are not the question."""
    made = make_run(tmp_path, rows=20)
    spec = spec_of(made, baseline=True)
    [pair] = made.pairs
    ours = {name: one.model_copy(update={"tokenizer": "a digest"})
            for name, one in pair.baseline.tasks.items()}  # fmt: skip
    theirs = pair.candidate.tasks
    path = tmp_path / theirs["gsm8k"].samples
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["prompt_hash"] = "0" * 64
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(ComparisonError, match="prompt_hash"):
        compared(pair.baseline.tasks, theirs, spec, tmp_path)
    assert compared(ours, theirs, spec, tmp_path).prompts_differ["gsm8k"] == 1


def _sealed(folder: Path, *, endpoint: bool) -> Path:
    report = make_endpoint_run(folder) if endpoint else make_run(folder, rows=20)
    sealed = receipt.sealed(report, folder)
    (folder / "report.json").write_text(sealed.model_dump_json())
    return folder


def test_of_a_run_its_baseline_is_taken_and_of_an_endpoint_the_endpoint(tmp_path: Path) -> None:
    (run := tmp_path / "run").mkdir()
    (endpoint := tmp_path / "endpoint").mkdir()
    of_run = earlier_run(_sealed(run, endpoint=False))
    assert of_run.tasks["gsm8k"].samples == "samples/baseline/gsm8k.jsonl"
    assert (of_run.seal, of_run.by_word) == (receipt.seal_of(run), False)
    # Its own baseline's rows lie in its folder too.
    of_endpoint = earlier_run(_sealed(endpoint, endpoint=True))
    assert of_endpoint.tasks["gsm8k"].samples == "samples/quantized/gsm8k.jsonl"
    assert of_endpoint.by_word and of_endpoint.what == f"{MODEL} at http://models.test/v1"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no folder of a finished run"),
        ("{", "cannot be read as the report of a run"),
        ('{"schema_version": 1, "found": {}, "beside": {}}', "cannot be read as the report"),
        ("unsealed", "holds no receipt"),
    ],
)
def test_what_is_no_finished_run_is_refused(content: str | None, says: str, tmp_path: Path) -> None:
    if content == "unsealed":
        content = make_run(tmp_path, rows=20).model_dump_json()
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(ComparisonError, match=says) as refused:
        earlier_run(tmp_path)
    assert refused.value.remedy


def test_other_conditions_are_named(tmp_path: Path) -> None:
    earlier = earlier_run(_sealed(tmp_path, endpoint=False))
    task = earlier.tasks["gsm8k"].model_copy(update={"conditions": {"seed": 7}})
    earlier = earlier.model_copy(update={"tasks": {**earlier.tasks, "gsm8k": task}})
    shutil.rmtree(tmp_path / "samples")
    with pytest.raises(ComparisonError, match="was asked with seed=7"):
        require_alike(earlier, spec_of(make_run(tmp_path, rows=20), baseline=True).evaluation)
