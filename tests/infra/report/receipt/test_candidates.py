"""A run of several candidates: each judgement is made again, and what is edited in it is named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.__main__ import main
from infra import report as reports
from infra.contracts.records import Report
from infra.contracts.specs import VerdictSpec
from infra.judging import power
from infra.judging.comparison import change_name
from infra.judging.statistics import holm
from infra.judging.verdict import decide
from infra.report import receipt
from infra.report.receipt.sealing import Document
from tests.infra.made_runs import make_run, overall_verdict
from tests.infra.report.receipt.conftest import seal, with_checkpoints

WIDE = VerdictSpec(margin_points=2, task_margin_points=40, if_unresolvable="widen")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of three candidates, one of which came to no result."""
    folder = tmp_path_factory.mktemp("runs") / "sample-1"
    folder.mkdir()
    failed = {"candidate-3": "It ran out of memory."}
    made = make_run(folder, rows=60, kept=0.5, candidates=3, failed=failed)
    seal(with_checkpoints(made, folder), folder)
    return folder


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may change."""
    return Path(shutil.copytree(original, tmp_path / "sample-1"))


def wrong(run: Path) -> dict[str, tuple[str, ...]]:
    return {check.name: check.wrong for check in receipt.verify(run) if check.wrong}


def edit(run: Path, change: Callable[[Document], Any], *, sealed: bool) -> None:
    document = json.loads((run / "report.json").read_text())
    change(document)
    if sealed:
        seal(Report.model_validate(document), run)
    else:
        (run / "report.json").write_text(json.dumps(document))


def second(document: Document) -> Document:
    """Return what is judged of the second candidate."""
    found: Document = document["judged"]["candidate-2"]
    return found


def test_an_untouched_run_holds(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wrong(run) == {}
    report = Report.model_validate_json((run / "report.json").read_text())
    assert report.verdict.headline == "FAIL: 0 of 3 candidates pass; all have to."
    assert [*report.arms] == ["baseline", "quantized", "candidate-2"]
    assert [pair.name for pair in report.pairs] == ["quantized", "candidate-2"]
    assert main(["verify", str(run)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "20 differences with intervals and tests, made again" in said
    assert "6 files, their sizes" in said


def test_what_a_run_of_several_writes_holds(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=40, candidates=2)
    reports.write(made, folder=tmp_path)
    assert wrong(tmp_path) == {}
    written = Report.model_validate_json((tmp_path / "report.json").read_text())
    assert written.receipt is not None
    names = {file.name for file in written.receipt.files}
    assert {"model-card-quantized.md", "model-card-candidate-2.md", "report.html"} <= names
    assert "samples/candidate-2/gsm8k.jsonl" in written.receipt.rows


@pytest.mark.parametrize(("change", "path"), [
    (lambda d: second(d)["comparison"]["metrics"][0].update(low=-0.5),
     "judged.candidate-2.comparison.metrics[0].low was changed: it reads -0.5"),
    (lambda d: second(d)["verdict"].update(status="PASS"),
     'judged.candidate-2.verdict.status was changed: it reads "PASS"'),
    (lambda d: second(d).update(not_compared="The history was gone."),
     "judged.candidate-2.not_compared was changed"),
    (lambda d: d["arms"]["candidate-2"]["speed"].update(startup_seconds=1.0),
     "arms.candidate-2.speed.startup_seconds was changed: it reads 1.0"),
    (lambda d: d["failed"].update({"candidate-3": "It was too good."}),
     'failed.candidate-3 was changed: it reads "It was too good."'),
    (lambda d: d["spec"]["candidates"][1].update(name="candidate-9"),
     "spec.candidates[1].name was changed"),
    (lambda d: d["judged"].pop("candidate-2"), "judged.candidate-2.verdict.status was removed"),
])  # fmt: skip
def test_an_edited_value_is_named(run: Path, change: Callable[[Document], Any], path: str) -> None:
    edit(run, change, sealed=False)
    found = wrong(run)
    assert any(line.startswith(path) for line in found["values"]), found
    assert "seal" in found


@pytest.mark.parametrize(("change", "check", "named"), [
    (lambda d: second(d)["comparison"]["metrics"][0].update(low=-0.5), "comparison",
     "judged.candidate-2.comparison.metrics[0].low is -0.5, but "),
    (lambda d: second(d)["comparison"]["pooled"].update(bound=0.0), "comparison",
     "judged.candidate-2.comparison.pooled.bound is 0.0, but "),
    (lambda d: second(d)["comparison"].update(size_ratio=0.1), "comparison",
     "judged.candidate-2.comparison.size_ratio is 0.1, but 1.0 follows"),
    (lambda d: second(d)["verdict"].update(status="PASS"), "verdict",
     "judged.candidate-2.verdict.status is 'PASS', but "),
    (lambda d: second(d)["verdict"].update(margin_points=9.0), "verdict",
     "judged.candidate-2.verdict.margin_points is 9.0, but "),
    (lambda d: second(d)["verdict"].update(headline="INCONCLUSIVE: it gains 7.7 points."),
     "verdict", "judged.candidate-2.verdict.headline tells 7.7"),
    (lambda d: d["arms"]["candidate-2"]["tasks"]["gsm8k"].update(n=61), "scores",
     "arms.candidate-2.tasks.gsm8k.n is 61"),
    (lambda d: d["arms"]["candidate-2"]["checkpoint"].update(size_bytes=15), "checkpoints",
     "arms.candidate-2.checkpoint.size_bytes is 15, in checkpoint-candidate-2.json "),
    (lambda d: d["verdict"].update(status="PASS"), "verdict", "verdict.status is 'PASS', but "),
    (lambda d: d["verdict"].update(headline="FAIL: 9 of 9 candidates pass; all have to."),
     "verdict", "verdict.headline tells 9"),
    # Who asks for less than was asked for: another gate, another confidence, fewer candidates.
    (lambda d: d["spec"]["verdict"].update(gate="any"), "verdict",
     "verdict.status is 'FAIL', but 'INCONCLUSIVE' follows"),
    (lambda d: d["spec"]["verdict"].update(confidence=0.9), "comparison",
     "judged.quantized.comparison.metrics[0].confidence is 0.98333"),
    (lambda d: (d["spec"]["candidates"].pop(), d["failed"].clear()), "comparison",
     "judged.quantized.comparison.metrics[0].confidence is 0.98333"),
])  # fmt: skip
def test_what_was_sealed_again_is_made_again(
    run: Path, change: Callable[[Document], Any], check: str, named: str
) -> None:
    edit(run, change, sealed=True)
    found = wrong(run)
    assert any(line.startswith(named) for line in found[check]), found
    assert not {"seal", "values", "files", "rows"} & set(found)


def test_p_values_are_adjusted_over_all_candidates(run: Path) -> None:
    """As those of a candidate that is alone, they would be too small."""

    def alone(document: Document) -> None:
        metrics = document["judged"]["quantized"]["comparison"]["metrics"]
        decisive = [metric for metric in metrics if metric["p_adjusted"] is not None]
        adjusted = holm([metric["p_value"] for metric in decisive])
        for metric, p_adjusted in zip(decisive, adjusted, strict=True):
            metric["p_adjusted"] = p_adjusted

    edit(run, alone, sealed=True)
    lines = wrong(run)["comparison"]
    assert lines
    assert all(line.startswith("judged.quantized.comparison.metrics[") for line in lines)
    assert all(".p_adjusted is " in line for line in lines)


@pytest.mark.parametrize(("change", "named"), [
    (lambda d: d["judged"].pop("quantized"),
     "judged.quantized is missing, which spec.candidates asks for"),
    (lambda d: d["failed"].clear(), "judged.candidate-3 is missing"),
    (lambda d: d["failed"].update(quantized="It broke."),
     "judged.quantized and failed.quantized are about the same candidate"),
    (lambda d: d["arms"].pop("candidate-2"),
     "arms.candidate-2 is missing, of which there is a verdict"),
    (lambda d: d["arms"].pop("baseline"), "arms.baseline is missing"),
    (lambda d: d["spec"]["candidates"].pop(0),
     "judged.quantized is of no candidate that spec.candidates asks for"),
])  # fmt: skip
def test_no_candidate_can_be_left_out(
    run: Path, change: Callable[[Document], Any], named: str
) -> None:
    """Whoever takes out the one that fails would make a run of several pass."""
    edit(run, change, sealed=True)
    assert any(line.startswith(named) for line in wrong(run)["report"])


def test_a_row_of_one_candidate_is_named(run: Path) -> None:
    path = run / "samples/candidate-2/gsm8k.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    row = json.loads(lines[11])
    row["metrics"] = {name: 1 - value for name, value in row["metrics"].items()}
    lines[11] = json.dumps(row) + "\n"
    path.write_text("".join(lines))
    found = wrong(run)
    assert found["rows"] == (
        "samples/candidate-2/gsm8k.jsonl line 12 was changed (gsm8k, document 11)",
    )
    assert all(line.startswith("arms.candidate-2.tasks.gsm8k.") for line in found["scores"])
    blamed = [line for line in found["comparison"] if ".p_adjusted " not in line]
    assert all(line.startswith("judged.candidate-2.comparison.") for line in blamed)


def test_rows_that_are_gone_cast_no_doubt_on_the_others(run: Path) -> None:
    (run / "samples/candidate-2/gsm8k.jsonl").unlink()
    found = wrong(run)
    [line] = found["comparison"]
    assert line.startswith("candidate-2: it cannot be made again: ")
    assert found["verdict"] == (
        "judged.candidate-2.verdict cannot be made again, since the comparison cannot",
    )


def planned(folder: Path) -> Report:
    """Write a run of two candidates whose margin was widened."""
    made = make_run(folder, rows=60, candidates=2)
    spec = made.spec.model_copy(update={"verdict": WIDE})
    rows = {name: task.n for name, task in made.baseline.tasks.items()}
    plan = power.plan(rows, spec.judged_verdict)
    margin = power.margin(spec.judged_verdict, plan)
    judged = {
        pair.name: pair.judgement.model_copy(
            update={
                "verdict": decide(
                    pair.comparison, WIDE, candidates=2, what=change_name(spec, pair.name),
                    margin_points=margin[0], widened_from=margin[1],
                )
            }
        )
        for pair in made.pairs
    }  # fmt: skip
    overall = overall_verdict(spec, judged, {}, margin)
    fields = {"spec": spec, "power": plan, "judged": judged, "verdict": overall}
    return seal(made.model_copy(update=fields), folder)


def test_a_widened_margin_of_several_holds(tmp_path: Path) -> None:
    report = planned(tmp_path)
    assert report.verdict.widened_from_points == 2
    assert wrong(tmp_path) == {}


@pytest.mark.parametrize(("change", "named"), [
    (lambda d: d["verdict"].update(margin_points=9.0), "the margin is 9 points (widened from 2)"),
    (lambda d: second(d)["verdict"].update(margin_points=9.0),
     "judged.candidate-2.verdict.margin_points is 9.0, but "),
    (lambda d: d["verdict"].update(widened_from_points=None),
     "verdict.widened_from_points is None"),
    # A plan for one candidate resolves more, since it may err more often.
    (lambda d: d.update(power=json.loads(power.plan(
        {name: task["n"] for name, task in d["arms"]["baseline"]["tasks"].items()}, WIDE
    ).model_dump_json())), "power.smallest_margin_points is "),
])  # fmt: skip
def test_a_margin_of_several_that_was_edited_is_named(
    tmp_path: Path, change: Callable[[Document], Any], named: str
) -> None:
    planned(tmp_path)
    edit(tmp_path, change, sealed=True)
    found = wrong(tmp_path)
    assert any(line.startswith(named) for line in found["verdict"]), found


def others_number(document: Document) -> None:
    """Put a number that the reasons tell in place of the first one of a headline."""
    verdict = document["judged"]["quantized"]["verdict"]
    first, *others = re.findall(r"\d+\.\d+", verdict["headline"] + "".join(verdict["reasons"]))
    another = next(number for number in others if number not in verdict["headline"])
    verdict["headline"] = verdict["headline"].replace(first, another, 1)


def swapped(document: Document) -> None:
    """Let two numbers of a headline change places."""
    verdict = document["judged"]["quantized"]["verdict"]
    one, other, *_ = re.findall(r"\d+\.\d+", verdict["headline"])
    parts = re.split(f"({re.escape(one)}|{re.escape(other)})", verdict["headline"], maxsplit=2)
    parts[1], parts[3] = parts[3], parts[1]
    verdict["headline"] = "".join(parts)


def signed(document: Document) -> None:
    """Let a loss be a gain."""
    verdict = document["judged"]["quantized"]["verdict"]
    verdict["headline"] = re.sub(r"(\d+\.\d+)", r"−\1", verdict["headline"], count=1)


def in_other_words(document: Document) -> None:
    """Tell a number of the reasons in a headline of one's own."""
    verdict = document["judged"]["quantized"]["verdict"]
    used = re.findall(r"\d+\.\d+", verdict["headline"])
    numbers = re.findall(r"\d+\.\d+", "".join(verdict["reasons"]))
    another = next(number for number in numbers if number not in used)
    verdict["headline"] = f"{verdict['status']}: it loses {another} points."


@pytest.mark.parametrize("change", [others_number, swapped, signed, in_other_words])
def test_a_headline_tells_its_own_numbers_in_their_places(
    run: Path, change: Callable[[Document], None]
) -> None:
    """A number that stands elsewhere in the same verdict is no proof."""
    edit(run, change, sealed=True)
    found = wrong(run)
    assert [*found] == ["verdict"]
    assert any(
        line.startswith("judged.quantized.verdict.headline tells ") for line in found["verdict"]
    ), found


def test_how_tokenizers_differ_is_taken_as_it_was_reported(run: Path) -> None:
    """That takes both of them, which need not be here."""
    parts = ["vocabulary: 8 and 9 tokens"]
    edit(run, lambda d: second(d)["comparison"].update(tokenizer_differs=parts), sealed=True)
    assert wrong(run) == {}
    notes = [note for check in receipt.verify(run) for note in check.notes]
    assert any(note.startswith("how tokenizers differ was not looked at again") for note in notes)


def test_a_candidate_beside_another_one_is_made_again(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=40, candidates=2, against="quantized")
    reports.write(with_checkpoints(made, tmp_path), folder=tmp_path)
    assert wrong(tmp_path) == {}
    whole = Report.model_validate_json((tmp_path / "report.json").read_text())
    beside = whole.judged["candidate-2"].against
    assert beside is not None
    assert beside.metrics[0].baseline == whole.judged["quantized"].comparison.metrics[0].candidate

    def changed(document: Document) -> None:
        document["judged"]["candidate-2"]["against"]["metrics"][0]["difference"] += 0.1

    edit(tmp_path, changed, sealed=True)
    (said,) = wrong(tmp_path)["comparison"]
    assert said.startswith("judged.candidate-2.against.metrics[0].difference is")
