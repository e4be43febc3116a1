"""`verdict.json` is small, stays as it is, and is sealed with the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from infra.contracts.records import Report
from infra.contracts.records.verdict_file import VerdictFile
from infra.report import receipt, verdict_file, write
from infra.report.receipt.contents import check_files
from infra.report.receipt.sealing import load
from infra.store.content import digest_file
from tests.conftest import ROOT
from tests.infra.made_runs import make_run, of_pair

GOLDEN = Path(__file__).parent / "golden" / "verdict.json"
SCHEMA = ROOT / "docs" / "verdict.schema.json"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("run")
    report = make_run(folder, rows=60, candidates=3, failed={"candidate-3": "The engine died."})
    write(report, folder=folder)
    return report, folder


def rounded(value: Any) -> Any:
    """Return the same with numbers that another processor computes alike."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 6) if isinstance(value, float) else value


def test_what_is_written_is_what_it_was(run: tuple[Report, Path]) -> None:
    """Pipelines read it. Another shape is another `schema_version`, and a new golden file."""
    _, folder = run
    found = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for document in (found, golden):
        document["report"].update(size=0, sha256="")  # of a page that is often rewritten
    assert rounded(found) == rounded(golden)


def test_the_schema_in_the_documentation_is_that_of_the_file(run: tuple[Report, Path]) -> None:
    _, folder = run
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert schema == VerdictFile.model_json_schema(mode="serialization")
    found = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, schema)
    found["status"] = "GOOD"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, schema)


def test_it_belongs_to_the_receipt_and_names_the_page(run: tuple[Report, Path]) -> None:
    _, folder = run
    document = load(folder / "report.json")
    assert not check_files(document, folder).wrong
    found = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    page = digest_file(folder / "report.html")
    assert found["report"] == {"name": "report.html", "size": page.size, "sha256": page.sha256}
    text = (folder / "verdict.json").read_text(encoding="utf-8")
    try:
        (folder / "verdict.json").write_text(text.replace("INCONCLUSIVE", "PASS"))
        assert any("verdict.json was changed" in one for one in check_files(document, folder).wrong)
    finally:
        (folder / "verdict.json").write_text(text)
    assert receipt.require_untouched(folder / "report.json") == document


def test_numbers_are_in_their_unit_and_as_the_report_has_them(run: tuple[Report, Path]) -> None:
    report, _ = run
    document = verdict_file.of_run(report)
    pair = report.pairs[0]
    [one, *_] = document.candidates
    pooled = pair.comparison.pooled
    assert pooled is not None and one.all_rows is not None
    assert one.all_rows.difference.value == pytest.approx(100 * pooled.difference)
    assert one.all_rows.limit == pytest.approx(100 * pooled.bound)
    assert one.checkpoint_sha256 == pair.candidate.checkpoint.digest
    gsm8k = next(task for task in one.tasks if task.task == "gsm8k")
    value = pair.baseline.tasks["gsm8k"].metrics["exact_match,strict-match"].value
    assert gsm8k.baseline == pytest.approx(100 * value)
    assert gsm8k.rows == 60


def test_a_loss_is_worse_where_less_is_better_and_has_its_own_unit(
    tmp_path: Path, run: tuple[Report, Path]
) -> None:
    report = make_run(tmp_path, rows=40)
    comparison = report.pairs[0].comparison
    metrics = tuple(
        metric.model_copy(
            update={
                "unit": "value",
                "baseline": metric.baseline.model_copy(
                    update={"higher_is_better": False, "unit": "nats"}
                ),
                "difference": 0.2, "low": 0.1, "high": 0.3,
            }
        )
        if metric.task == "gsm8k"
        else metric
        for metric in comparison.metrics
    )  # fmt: skip
    changed = comparison.model_copy(update={"metrics": metrics})
    document = verdict_file.of_run(of_pair(report, comparison=changed))
    task = next(one for one in document.candidates[0].tasks if one.task == "gsm8k")
    assert (task.unit, task.higher_is_better, task.margin) == ("nats", False, None)
    assert (task.difference.value, task.difference.low) == (0.2, 0.1)  # not hundredths
    assert task.status == "INCONCLUSIVE"  # a loss is shown, and no margin says how large it may be


def test_who_has_no_result_is_there_with_the_reason(run: tuple[Report, Path]) -> None:
    report, _ = run
    last = verdict_file.of_run(report).candidates[-1]
    assert (last.name, last.status, last.headline) == (
        "candidate-3", "NO_RESULT", "The engine died.",
    )  # fmt: skip
    assert last.all_rows is None and last.tasks == ()


def test_where_a_model_lies_is_nobodys_business(tmp_path: Path) -> None:
    report = make_run(tmp_path, rows=40)
    model = report.spec.baseline.model.model_copy(
        update={"source": "local", "id": "/home/mara/secret/model-7b", "revision": None}
    )
    baseline = report.spec.baseline.model_copy(update={"model": model})
    spec = report.spec.model_copy(update={"baseline": baseline})
    text = verdict_file.of_run(report.model_copy(update={"spec": spec})).model_dump_json()
    assert '"baseline":"model-7b"' in text
    for private in ("mara", "bench-02", "127.0.0.1", "/cache"):  # as the report has them
        assert private not in text


@pytest.mark.parametrize(
    ("status", "gate", "code"),
    [("PASS", "all", 0), ("FAIL", "all", 3), ("INCONCLUSIVE", "any", 4), ("FAIL", "none", 0)],
)
def test_it_says_with_what_the_command_line_ends(
    run: tuple[Report, Path], status: str, gate: str, code: int
) -> None:
    report, _ = run
    verdict = report.verdict.model_copy(update={"status": status})
    spec = report.spec.model_copy(
        update={"verdict": report.spec.verdict.model_copy(update={"gate": gate})}
    )
    document = verdict_file.of_run(report.model_copy(update={"verdict": verdict, "spec": spec}))
    assert (document.status, document.exit_code) == (status, code)


def test_without_a_candidate_nothing_is_judged(run: tuple[Report, Path]) -> None:
    report, _ = run
    alone = report.model_copy(
        update={
            "spec": report.spec.model_copy(update={"candidates": ()}), "judged": {}, "failed": {},
        }
    )  # fmt: skip
    document = verdict_file.of_run(alone)
    assert (document.status, document.exit_code, document.candidates) == ("NOT_JUDGED", 0, ())
