"""Whatever is changed in a finished run fails its receipt, and is named."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.__main__ import main
from infra import report
from infra.contracts.errors import ReceiptError
from infra.contracts.records import ArmResult, MetricValue, Report
from infra.judging.noise import floor
from infra.judging.pairing import RunRows
from infra.report import receipt
from infra.report.receipt.contents import check_seal, check_values
from infra.report.receipt.sealing import leaves
from tests.infra.made_runs import GROUP, make_run, of_pair
from tests.infra.report.receipt.conftest import seal

Document = dict[str, Any]
NAMES = ["seal", "values", "files", "rows", "scores", "comparison", "verdict", "checkpoints"]
JUDGED = "judged.quantized"
GSM8K = "samples/quantized/gsm8k.jsonl"


def wrong(run: Path, **options: Any) -> dict[str, tuple[str, ...]]:
    """Return check → what it found, of those that found something."""
    checks = receipt.verify(run, **options)
    return {check.name: check.wrong for check in checks if check.wrong}


def compared(document: Document) -> Document:
    """Return the comparison of the one candidate."""
    found: Document = document["judged"]["quantized"]["comparison"]
    return found


def edit(run: Path, change: Callable[[Document], None]) -> None:
    path = run / "report.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document, indent=2))


def edit_row(run: Path, name: str, number: int, change: Callable[[Document], None]) -> None:
    lines = (run / name).read_text().splitlines()
    row = json.loads(lines[number - 1])
    change(row)
    lines[number - 1] = json.dumps(row)
    (run / name).write_text("".join(f"{line}\n" for line in lines))


def reseal(run: Path) -> None:
    """Do what somebody does who knows how."""
    seal(Report.model_validate_json((run / "report.json").read_text()), run)


def test_an_untouched_run_holds(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checks = receipt.verify(run / "report.json", weights=True)
    assert [check.name for check in checks] == NAMES
    assert all(not check.wrong for check in checks), receipt.table(checks)
    assert receipt.verify(run, seal=receipt.seal_of(run)[:12])[0].notes == ()

    assert main(["verify", str(run / "report.json")]) == 0
    said = capsys.readouterr().out
    assert "This report holds; 8 things checked." in said
    assert receipt.seal_of(run) in said


def test_a_report_that_a_run_writes_holds(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=40)
    report.write(made, folder=tmp_path)
    assert wrong(tmp_path) == {}
    written = Report.model_validate_json((tmp_path / "report.json").read_text())
    assert written.receipt is not None
    assert "report.html" in {file.name for file in written.receipt.files}
    assert written.model_copy(update={"receipt": None}) == made


def test_moved_and_reformatted_it_still_holds(run: Path, tmp_path: Path) -> None:
    edit(run, lambda document: None)  # another indentation, other spellings of numbers
    moved = run.rename(tmp_path / "elsewhere")
    assert wrong(moved) == {}


def test_any_value_that_is_changed_is_named(original: Path) -> None:
    """One value at a time, of every kind, anywhere."""
    text = (original / "report.json").read_text()
    shown, document = json.loads(text), json.loads(text)
    del shown["receipt"]["values"], shown["receipt"]["seal"]
    paths = [path for path, _ in leaves(shown)]
    digests = document["receipt"]
    places = [
        place
        for place in _places(document)
        if place[0] is not digests["values"] and place != (digests, "seal")
    ]
    assert len(places) == len(paths) > 800
    for number in random.Random(5).sample(range(len(paths)), 60):
        holder, key = places[number]
        kept = holder[key]
        holder[key] = kept + 1 if type(kept) in (int, float) else "changed"
        assert [line.partition(" was ")[0] for line in check_values(document).wrong] == [
            paths[number]
        ]
        assert check_seal(document, None).wrong != ()
        holder[key] = kept
    assert check_values(document).wrong == check_seal(document, None).wrong == ()


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Return holder and key of every leaf, in order."""
    keys = list(document) if isinstance(document, dict) else range(len(document))
    for key in keys:
        value = document[key]
        if isinstance(value, dict | list) and value:
            yield from _places(value)
        else:
            yield document, key


@pytest.mark.parametrize(("change", "path"), [
    (lambda d: d["arms"]["baseline"]["speed"].update(startup_seconds=1.0),
     "arms.baseline.speed.startup_seconds was changed: it reads 1.0"),
    (lambda d: d["provenance"].update(python="3.12.1"), 'provenance.python was changed'),
    (lambda d: d["provenance"].update({"a.b": "c"}), 'provenance["a.b"] was added'),
    (lambda d: d["timings"].pop("quantize-quantized"), "timings.quantize-quantized was removed"),
    (lambda d: d["reused"].clear(), "reused was added: it reads []"),
    (lambda d: d["arms"]["quantized"]["checkpoint"]["calibration"].update(used=129),
     "arms.quantized.checkpoint.calibration.used was changed"),
])  # fmt: skip
def test_values_that_follow_from_nothing_else(
    run: Path, change: Callable[[Document], None], path: str
) -> None:
    edit(run, change)
    found = wrong(run)
    assert set(found) == {"seal", "values"}
    assert any(line.startswith(path) for line in found["values"]), found


def test_a_key_that_stands_twice_is_refused(run: Path) -> None:
    """Readers see the first, and a parser takes the last."""
    path = run / "report.json"
    text = path.read_text()
    path.write_text(text.replace('"headline":', '"headline": "PASS: costs nothing.", "headline":'))
    with pytest.raises(ReceiptError, match="'headline' stands twice"):
        receipt.verify(run)


@pytest.mark.parametrize("digits", [0, 1, 11])
def test_the_beginning_of_a_seal_is_no_seal(run: Path, digits: int) -> None:
    short = receipt.seal_of(run)[:digits]
    assert "is too short" in wrong(run, seal=short)["seal"][0]


def test_a_score_that_does_not_follow_from_the_rows(run: Path) -> None:
    def better(document: Document) -> None:
        metrics = document["arms"]["quantized"]["tasks"]["gsm8k"]["metrics"]
        metrics["exact_match,strict-match"]["value"] += 0.05

    edit(run, better)
    reseal(run)
    found = wrong(run)
    path = "arms.quantized.tasks.gsm8k.metrics.exact_match,strict-match.value is "
    assert found["scores"][0].startswith(path)
    where = f"{JUDGED}.comparison.metrics[0]"
    assert any(line.startswith(where) for line in found["comparison"])
    assert "seal" not in found


@pytest.mark.parametrize(("change", "named"), [
    (lambda d: d["arms"]["baseline"]["tasks"]["gsm8k"].update(n=61), "tasks.gsm8k.n is 61"),
    (lambda d: d["arms"]["baseline"]["tasks"]["gsm8k"].update(truncated=0),
     "truncated is 0, but 3"),
    (lambda d: d["arms"]["baseline"]["tasks"][GROUP]["subtasks"][f"{GROUP}_stem"].update(
        questions="0" * 64), f"tasks.{GROUP}.subtasks.{GROUP}_stem.questions is not the digest"),
])  # fmt: skip
def test_counts_and_questions_are_made_again(
    run: Path, change: Callable[[Document], None], named: str
) -> None:
    edit(run, change)
    reseal(run)
    assert any(named in line for line in wrong(run)["scores"])


@pytest.mark.parametrize(("change", "check", "named"), [
    (lambda d: compared(d)["metrics"][0].update(low=-0.01), "comparison",
     f"{JUDGED}.comparison.metrics[0].low is -0.01, but "),
    (lambda d: compared(d)["pooled"].update(difference=0.0), "comparison",
     f"{JUDGED}.comparison.pooled.difference is 0.0"),
    (lambda d: compared(d).update(size_ratio=0.1), "comparison",
     f"{JUDGED}.comparison.size_ratio is"),
    (lambda d: compared(d)["gaps"]["whole"]["flips"].update(seen=1), "comparison",
     f"{JUDGED}.comparison.gaps.whole.flips.seen is 1, but "),
    (lambda d: compared(d)["gaps"]["tasks"][GROUP]["best"].update(difference=0.5), "comparison",
     f"{JUDGED}.comparison.gaps.tasks.{GROUP}.best.difference is 0.5, but "),
    (lambda d: compared(d)["metrics"].pop(), "comparison", f"{JUDGED}.comparison.metrics is "),
    (lambda d: d["verdict"].update(status="PASS"), "verdict", "verdict.status is 'PASS', but "),
    (lambda d: d["judged"]["quantized"]["verdict"].update(status="PASS"), "verdict",
     f"{JUDGED}.verdict.status is 'PASS', but "),
    (lambda d: d["verdict"].update(margin_points=30.0), "verdict", "the margin is 30 points, but"),
    (lambda d: d["judged"]["quantized"]["verdict"].update(margin_points=30.0), "verdict",
     f"{JUDGED}.verdict.margin_points is 30.0, but"),
    (lambda d: d["arms"]["baseline"]["checkpoint"].update(digest="0" * 64), "checkpoints",
     "arms.baseline.checkpoint.digest is not that of the files in checkpoint-baseline.json"),
    (lambda d: d["arms"]["baseline"]["checkpoint"].update(size_bytes=1), "checkpoints",
     "arms.baseline.checkpoint.size_bytes is 1"),
])  # fmt: skip
def test_what_was_sealed_again_is_made_again(
    run: Path, change: Callable[[Document], None], check: str, named: str
) -> None:
    before = receipt.seal_of(run)
    edit(run, change)
    reseal(run)
    found = wrong(run)
    assert any(line.startswith(named) for line in found[check]), found
    assert not {"seal", "values", "files", "rows"} & set(found)
    assert f"not {before}: it was sealed again" in wrong(run, seal=before)["seal"][0]


def test_a_log_probability_that_no_score_shows(run: Path) -> None:
    def closer(row: Document) -> None:
        found = row["filtered"]["none"]
        best = max(one for one, _ in found)
        row["filtered"]["none"] = [[one if one == best else best - 0.001, g] for one, g in found]

    edit_row(run, f"samples/quantized/{GROUP}.jsonl", 5, closer)
    reseal(run)
    found = wrong(run)
    assert "scores" not in found
    assert any(f"{JUDGED}.comparison.gaps.whole" in line for line in found["comparison"])


def test_a_report_of_before_there_were_gaps_holds(run: Path) -> None:
    edit(run, lambda document: compared(document).pop("gaps"))
    reseal(run)
    assert wrong(run) == {}
    assert (
        Report.model_validate_json((run / "report.json").read_text()).pairs[0].comparison.gaps
        is None
    )


def test_one_sample_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def flip(row: Document) -> None:
        metric = "exact_match,strict-match"
        row["metrics"][metric] = 1 - row["metrics"][metric]

    edit_row(run, GSM8K, 12, flip)
    found = wrong(run)
    assert found["rows"] == (f"{GSM8K} line 12 was changed (gsm8k, document 11)",)
    assert found["files"][0].startswith(f"{GSM8K} was changed")
    assert "exact_match,strict-match.value" in found["scores"][0]
    assert main(["verify", str(run)]) == 1
    assert f"{GSM8K} line 12 was changed" in capsys.readouterr().out


def test_a_word_in_one_sample_is_named(run: Path) -> None:
    edit_row(run, GSM8K, 3, lambda row: row.update(responses=["something else"]))
    assert set(wrong(run)) == {"rows", "files"}


@pytest.mark.parametrize(("change", "named"), [
    (lambda lines: lines.pop(20), "has 59 rows instead of 60; they differ from line 21 on"),
    (lambda lines: lines.append(lines[0]), "has 61 rows instead of 60; they differ from line 61"),
    (lambda lines: lines.__setitem__(4, "no row\n"), "line 5 was changed (no longer a row)"),
])  # fmt: skip
def test_rows_that_come_and_go(run: Path, change: Callable[[Any], None], named: str) -> None:
    lines = (run / GSM8K).read_text().splitlines(keepends=True)
    change(lines)
    (run / GSM8K).write_text("".join(lines))
    found = wrong(run)
    assert named in found["rows"][0]
    assert "arms.quantized.tasks.gsm8k" in found["scores"][0]


@pytest.mark.parametrize("name", ["spec.json", "report.html", "logs/server-baseline.log",
                                  "checkpoint-baseline.json"])  # fmt: skip
def test_one_file_is_named(run: Path, name: str) -> None:
    path = run / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert wrong(run)["files"][0].startswith(f"{name} was changed: ")
    path.unlink()
    assert wrong(run)["files"] == (f"{name} is missing",)


def test_votes_on_the_models_come_later_and_other_files_do_not(run: Path) -> None:
    (run / "chat").mkdir()
    (run / "chat" / "votes.jsonl").write_text("{}\n")
    assert wrong(run) == {}
    (run / "chat.txt").write_text("")
    assert wrong(run) == {"files": ("chat.txt was added",)}


@pytest.mark.parametrize(("change", "check", "named"), [
    (lambda r: r["files"][0].update(sha256="0" * 64), "values", "receipt.files[0].sha256 was"),
    (lambda r: r["files"][0].update(sha256="0" * 64), "files", " was changed"),
    (lambda r: r.update(rows={**r["rows"], GSM8K: "0" * 360}), "rows", f"{GSM8K} line 1 was"),
    (lambda r: r["values"].update({"run_id": "0" * 12}), "values", "run_id was changed"),
    (lambda r: r["values"].pop("run_id"), "values", "run_id was added"),
    (lambda r: r.update(values=3), "values", "run_id was "),
    (lambda r: r.update(seal="0" * 64), "seal", "receipt.seal is not the seal of this report"),
])  # fmt: skip
def test_one_digest_is_named(
    run: Path, change: Callable[[Document], None], check: str, named: str
) -> None:
    edit(run, lambda document: change(document["receipt"]))
    found = wrong(run)
    assert any(named in line for line in found[check]), found
    assert "receipt.seal is not the seal of this report" in found["seal"][0]


def test_checkpoints_are_looked_at_where_they_still_are(run: Path) -> None:
    checkpoints = {"quantized": Path(), "baseline": Path()}
    for arm, result in json.loads((run / "report.json").read_text())["arms"].items():
        checkpoints[arm] = Path(result["checkpoint"]["path"])
    weights = checkpoints["quantized"] / "model.safetensors"
    content = weights.read_bytes()
    try:
        weights.write_bytes(b"x" + content[1:])
        assert wrong(run) == {}, "sizes alone"
        named = f"{weights} was changed: its SHA-256 is not the recorded one"
        assert wrong(run, weights=True) == {"checkpoints": (named,)}
        weights.write_bytes(content + b"x")
        assert f"{weights} has 901 bytes, 900 were" in wrong(run)["checkpoints"][0]
        weights.unlink()
        assert wrong(run) == {"checkpoints": (f"{weights} is missing",)}
    finally:
        weights.write_bytes(content)
    aside = checkpoints["baseline"].rename(checkpoints["baseline"].with_name("aside"))
    try:
        checks = receipt.verify(run)
        assert all(not check.wrong for check in checks)
        assert any("is not on this machine" in note for note in checks[-1].notes)
    finally:
        aside.rename(checkpoints["baseline"])


def test_the_list_of_a_checkpoints_files_has_its_digest(run: Path) -> None:
    path = run / "checkpoint-baseline.json"
    listed = json.loads(path.read_text())
    listed["files"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(listed))
    reseal(run)
    named = "arms.baseline.checkpoint.digest is not that of the files in checkpoint-baseline.json"
    assert wrong(run) == {"checkpoints": (named,)}


def test_a_group_may_weigh_its_parts_alike(tmp_path: Path) -> None:
    """As lm-eval does where a group's definition says `weight_by_size: false`."""
    made = make_run(tmp_path, rows=44)
    arms = dict(made.arms)
    for arm, result in arms.items():
        group = result.tasks[GROUP]
        parts = [part.metrics["acc,none"].value for part in group.subtasks.values()]
        value = MetricValue(value=sum(parts) / len(parts), stderr=None, n=group.n)
        assert abs(value.value - group.metrics["acc,none"].value) > 1e-4, "parts differ in size"
        group = group.model_copy(update={"metrics": {"acc,none": value}})
        arms[arm] = result.model_copy(update={"tasks": {**result.tasks, GROUP: group}})
    seal(made.model_copy(update={"arms": arms}), tmp_path)
    assert "scores" not in wrong(tmp_path)


def test_a_score_that_is_no_mean_is_noted(run: Path) -> None:
    """A corpus metric (BLEU) cannot be made from the marks of its rows."""
    for number in range(1, 61):
        edit_row(
            run,
            GSM8K,
            number,
            lambda row: row["metrics"].update({"exact_match,strict-match": ["a", "b"]}),
        )
    reseal(run)
    checks = {check.name: check for check in receipt.verify(run)}
    assert checks["scores"].wrong == ()
    assert "carry no score of their own" in checks["scores"].notes[0]


def test_the_noise_floor_is_made_again(run: Path) -> None:
    written = Report.model_validate_json((run / "report.json").read_text())
    baseline = written.arms["baseline"]
    again: ArmResult = baseline.model_copy()
    (run / "arm-baseline-repeat.json").write_text(again.model_dump_json())
    noise = floor(baseline, again, RunRows(run))
    [pair] = written.pairs
    seal(of_pair(written, comparison=pair.comparison.model_copy(update={"noise": noise})), run)
    assert "comparison" not in wrong(run)
    edit(run, lambda d: compared(d)["noise"]["tasks"]["gsm8k"].update(changed=5))
    reseal(run)
    assert wrong(run)["comparison"][0].startswith(
        f"{JUDGED}.comparison.noise.tasks.gsm8k.changed is 5"
    )


def test_a_report_of_another_version_is_checked_as_far_as_it_goes(run: Path) -> None:
    edit(run, lambda document: document.update(schema_version=99))
    found = wrong(run)
    assert set(found) == {"seal", "values", "report"}
    assert found["report"][0].startswith("schema_version: ")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"receipt": {}}', '{"receipt": null}'])
def test_what_is_no_report_is_refused(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(ReceiptError):
        receipt.verify(path)
    assert main(["verify", str(path)]) == 2
    assert "remedy: " in capsys.readouterr().err
    with pytest.raises(ReceiptError, match="cannot be read"):
        receipt.verify(tmp_path / "nowhere")
