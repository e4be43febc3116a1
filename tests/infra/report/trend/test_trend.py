"""The history as series, table and page."""

from __future__ import annotations

import base64
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from deployments.__main__ import main
from infra.contracts.records import Report
from infra.report import trend
from infra.report.trend import plots
from infra.store import history
from tests.infra.made_runs import GROUP, make_run
from tests.infra.report.trend.histories import days, write_history

Row = dict[str, Any]
STEADY = [0.61, 0.615, 0.61, 0.605, 0.61, 0.62, 0.6, 0.61, 0.615, 0.61, 0.605, 0.61]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return make_run(tmp_path_factory.mktemp("run"), rows=200)


def test_one_series_a_task_of_runs_with_the_same_questions(report: Report, tmp_path: Path) -> None:
    rows = days(report, {"gsm8k": [0.4, 0.5, *STEADY, 0.4]})
    for row in rows:
        if row["run_id"] in ("day-0000", "day-0001") and row["task"] == "gsm8k":
            row["questions"] = "other questions"
    other = days(report, {"gsm8k": [0.1]}, name="other", label="nightly")
    found = trend.trends(history.read(write_history(tmp_path, [*rows, *other])))
    assert [(t.kind.label, t.task) for t in found] == [
        ("nightly", "gsm8k"), ("nightly", GROUP), ("nightly", "gpqa_main_zeroshot"),
        ("sample", "gsm8k"), ("sample", GROUP), ("sample", "gpqa_main_zeroshot"),
    ]  # fmt: skip
    gsm8k = found[3]
    assert (gsm8k.other_questions, found[4].other_questions) == (2, 0)
    assert [point.candidate for point in gsm8k.points] == [*STEADY, 0.4]
    assert gsm8k.points[-1].judged_candidate.flag == "below"
    assert gsm8k.points[-1].judged_difference.flag == "below"
    assert gsm8k.points[-1].judged_baseline.flag is None
    assert gsm8k.worse(gsm8k.points[-1].judged_candidate)
    assert [point.difference for point in gsm8k.points] == [
        point.candidate - point.baseline for point in gsm8k.points
    ]
    assert trend.kind_of(report.pairs[0]) == gsm8k.kind


def test_another_recipe_is_another_kind(report: Report, tmp_path: Path) -> None:
    rows = days(report, {"gsm8k": STEADY})
    rows += days(report, {"gsm8k": [0.1]}, name="other", recipe="other")
    frame = history.read(write_history(tmp_path, rows))
    assert [len(t.points) for t in trend.trends(frame) if t.task == "gsm8k"] == [1, 12]
    assert [len(t.points) for t in trend.trends(frame, trend.kind_of(report.pairs[0]))] == [12] * 3
    assert len(trend.trends(frame, most=1)) == 3


def _with_another_candidate(rows: list[Row], name: str, *, add: float, **changes: object) -> None:
    """Give each run one more candidate, which scores something more on gsm8k."""
    for row in [row for row in rows if row["arm"] == "quantized"]:
        more = add if row["task"] == "gsm8k" else 0.0
        rows.append({**row, "arm": name, "value": row["value"] + more, **changes})


def test_each_candidate_of_a_run_has_its_own_series(report: Report, tmp_path: Path) -> None:
    rows = days(report, {"gsm8k": [*STEADY, 0.4]})
    _with_another_candidate(rows, "eight-bit", add=0.02, recipe="8", recipe_name="8-bit")
    frame = history.read(write_history(tmp_path, rows), trend.COLUMNS)
    found = {(t.recipe_name, t.task): t for t in trend.trends(frame)}
    assert len(found) == 6
    eight, four = found["8-bit", "gsm8k"], found["4-bit AWQ, groups of 128", "gsm8k"]
    assert [p.candidate for p in eight.points] == [v + 0.02 for v in (*STEADY, 0.4)]
    assert [p.candidate for p in four.points] == [*STEADY, 0.4]
    assert ({p.arm for p in eight.points}, {p.arm for p in four.points}) == (
        {"eight-bit"}, {"quantized"},
    )  # fmt: skip
    assert [p.baseline for p in eight.points] == [p.baseline for p in four.points]


def test_a_candidate_is_the_same_whatever_it_is_called(report: Report, tmp_path: Path) -> None:
    rows = days(report, {"gsm8k": STEADY})
    for row in rows:
        if row["arm"] == "quantized" and row["run_id"] > "day-0005":
            row["arm"] = "four-bit"
    found = trend.trends(history.read(write_history(tmp_path, rows)))[0]
    assert [p.arm for p in found.points] == ["quantized"] * 6 + ["four-bit"] * 6


def test_two_candidates_made_alike_are_two_points_of_a_run(report: Report, tmp_path: Path) -> None:
    rows = days(report, {"gsm8k": STEADY[:2]})
    _with_another_candidate(rows, "again", add=0.01)
    (gsm8k, *_) = trend.trends(history.read(write_history(tmp_path, rows)))
    assert [(p.run_id, p.arm) for p in gsm8k.points] == [
        ("day-0000", "quantized"), ("day-0000", "again"),
        ("day-0001", "quantized"), ("day-0001", "again"),
    ]  # fmt: skip
    assert len(trend.table([gsm8k])) == 4


def test_scores_that_were_taken_over_are_no_new_measurement(report: Report, tmp_path: Path) -> None:
    """Nine nights of which one was measured do not make limits."""
    rows = days(report, {"gsm8k": [0.61] * 9 + [0.4]}, reused=frozenset(range(1, 9)))
    found = trend.trends(history.read(write_history(tmp_path, rows)))[0]
    assert [point.new for point in found.points] == [True] + [False] * 8 + [True]
    assert found.points[-1].judged_candidate.flag is None


def test_what_is_lower_is_better_gets_worse_upwards(report: Report, tmp_path: Path) -> None:
    losses = {"gsm8k": [9 + 10 * v for v in STEADY] + [30.0]}
    rows = days(report, losses, higher_is_better=False, unit="value")
    found = trend.trends(history.read(write_history(tmp_path, rows)))[0]
    judged = found.points[-1].judged_candidate
    assert (judged.flag, found.worse(judged), found.percent) == ("above", True, False)


def test_tables(report: Report, tmp_path: Path) -> None:
    rows = days(report, {"gsm8k": [*STEADY, *STEADY, 0.4]})
    found = trend.trends(history.read(write_history(tmp_path, rows)))
    table = trend.table(found)
    assert len(table) == 20
    assert table[0]["run"] == "day-0024"
    baseline = (
        100 * report.arms["baseline"].tasks["gsm8k"].metrics["exact_match,strict-match"].value
    )
    assert table[0]["gsm8k"] == f"{baseline:.1f} → 40.0 % (−{baseline - 40:.1f})"
    assert "gsm8k, candidate: below the limits" in table[0]["out of control"]
    assert table[1]["out of control"] == ""
    assert trend.markdown(found).splitlines()[2].startswith("| day-0024 | ")
    assert trend.markdown([]) == ""
    assert "sample: Qwen/Qwen2.5-7B-Instruct, 4-bit AWQ" in trend.text(found)


class _Page(HTMLParser):
    """Finds what a page would load, and its pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.pictures: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "img" and given["src"].startswith("data:image/svg+xml;base64,"):
            self.pictures.append(base64.b64decode(given["src"].partition(",")[2]).decode())
        elif tag == "a":
            self.links.append(given["href"])
        elif tag in ("script", "link", "iframe", "img", "object"):
            self.loads.append(tag)


def test_the_page(report: Report, tmp_path: Path) -> None:
    rows = days(report, {"gsm8k": [*STEADY, 0.4]}, model="<b>&model</b>")
    (tmp_path / "day-0012").mkdir()
    (tmp_path / "day-0012" / "report.html").touch()
    write_history(tmp_path, rows)
    path = trend.write(tmp_path)
    assert path == tmp_path / "history.html"
    text = path.read_text()
    page = _Page()
    page.feed(text)
    assert page.loads == []
    assert len(page.pictures) == 3
    assert "prefers-color-scheme:dark" in page.pictures[0]
    assert re.findall(r"#00000\d", page.pictures[0]) == [], "every colour follows the scheme"
    assert page.links == ["day-0012/report.html"], "only to reports that are there"
    assert "&lt;b&gt;&amp;model&lt;/b&gt;" in text and "<b>&model" not in text
    assert "candidate: below the limits" in text
    trend.write(tmp_path)
    assert path.read_text() == text, "the same history, the same page"


def test_a_long_history_is_not_drawn_as_a_whole(report: Report, tmp_path: Path) -> None:
    """14,400 rows of 30 kinds: twelve charts, twenty kinds, and the number of the others."""
    chance = random.Random(1)
    rows = []
    for kind in range(30):
        scores = {name: [chance.gauss(0.6, 0.01) for _ in range(60)] for name in ("gsm8k", GROUP)}
        rows += days(report, scores, label=f"kind-{kind}")
    assert len(rows) == 14_400
    write_history(tmp_path, rows)
    page = _Page()
    text = trend.write(tmp_path).read_text()
    page.feed(text)
    assert len(page.pictures) == 12
    assert "10 more kinds of runs are in" in text
    assert len(text) < 3_000_000


def test_an_old_history_still_draws(report: Report, tmp_path: Path) -> None:
    """Columns that came later are missing: no recipe name, nothing about reuse."""
    rows = days(report, {"gsm8k": [*STEADY, 0.4]})
    columns = list(history.COLUMNS)
    old = columns[: columns.index("assay_commit") + 1]
    write_history(tmp_path, [{name: row.get(name) for name in old} for row in rows])
    found = trend.trends(history.read(tmp_path))
    assert found[0].points[-1].judged_candidate.flag == "below"
    assert found[0].recipe_name.startswith("recipe ")
    trend.write(tmp_path)


def test_no_runs_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trend.trends(history.read(tmp_path)) == []
    assert "There are no runs yet." in trend.write(tmp_path).read_text()
    assert main(["history", str(tmp_path / "nowhere")]) == 0
    assert "there are no runs in" in capsys.readouterr().err


def test_the_command(report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_history(tmp_path, days(report, {"gsm8k": STEADY}))
    assert main(["history", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].startswith("sample: Qwen/")
    assert said.endswith(f"history: {tmp_path / 'history.html'}\n")


@pytest.mark.parametrize("runs", [1, 3])
def test_runs_that_are_all_alike_have_a_scale_to_read(
    report: Report, tmp_path: Path, runs: int
) -> None:
    baseline = report.arms["baseline"].tasks["gsm8k"].metrics["exact_match,strict-match"].value
    rows = days(report, {"gsm8k": [baseline] * runs})
    found = trend.trends(history.read(write_history(tmp_path, rows)))
    picture = plots.draw(found[0]).decode()
    ticks = [tick.replace("−", "-") for tick in re.findall("<!-- ([−0-9.e]+) -->", picture)]
    assert len(ticks) >= 4
    assert all(len(tick) <= 5 and "e" not in tick for tick in ticks)
    assert len(set(ticks)) == len(ticks), "scores and differences each have their own"


def test_a_table_without_flags_has_no_column_for_them(report: Report, tmp_path: Path) -> None:
    write_history(tmp_path, days(report, {"gsm8k": STEADY}))
    assert "Out of control" not in trend.write(tmp_path).read_text()
    write_history(tmp_path, days(report, {"gsm8k": [*STEADY, 0.4]}))
    assert "Out of control" in trend.write(tmp_path).read_text()
