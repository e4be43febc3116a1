"""The history grows by whole runs, whoever else writes, and loses nothing."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from infra.contracts.errors import HistoryError
from infra.contracts.records import Bench, Fidelity, MemoryAtLoad, Report, SpeedPoint
from infra.report.trend import rows
from infra.store import history
from tests.infra.made_runs import make_run, of_pair

ROWS = 2 * (2 + 1 + 1)
"""Arms × (gsm8k's two metrics, one of each other task)."""

BESIDE_THE_BASELINE = [
    "recipe", "recipe_name", "calibration", "difference", "low", "high", "lost", "gained",
    "changed", "pairs", "p_value", "p_adjusted", "alert", "pooled_rows",
    "flip_rate", "pooled_difference", "pooled_low", "pooled_high", "pooled_bound", "agreement",
    "kl_mean",
]  # fmt: skip

WRITER = """
import sys, time
from pathlib import Path
from infra.contracts.records import Report
from infra.report.trend.rows import record

report = Report.model_validate_json(Path(sys.argv[1]).read_text())
folder, name = Path(sys.argv[2]), sys.argv[3]
(folder / f"{name}.ready").touch()
while len(list(folder.glob("*.ready"))) < 2:
    time.sleep(0.01)
for number in range(20):
    problem = record(report.model_copy(update={"run_id": f"{name}-{number}"}), folder)
    assert problem is None, problem
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return make_run(tmp_path_factory.mktemp("run"), rows=24)


def _named(report: Report, name: str) -> Report:
    return report.model_copy(update={"run_id": name})


def _record(report: Report, folder: Path, *names: str) -> Path:
    """Record runs, all of which are exported; return the path of the table."""
    for name in names or (report.run_id,):
        assert rows.record(_named(report, name), folder) is None
    return folder / "history.csv"


def _runs(table: Path) -> dict[str, int]:
    """Return run → its rows in a table."""
    found: dict[str, int] = pd.read_csv(table).run_id.value_counts().to_dict()
    return found


def _change(folder: Path, statement: str) -> None:
    """Change the database by hand."""
    with closing(sqlite3.connect(folder / "history.sqlite")) as connection, connection:
        connection.execute(statement)


def _written_anew(folder: Path, elsewhere: Path) -> bytes:
    """Return the table as it is where it is written as a whole."""
    elsewhere.mkdir(exist_ok=True)
    shutil.copy(folder / "history.sqlite", elsewhere)
    assert history.take_over(elsewhere) is None
    return (elsewhere / "history.csv").read_bytes()


def test_one_row_for_each_arm_task_and_metric(report: Report, tmp_path: Path) -> None:
    path = _record(report, tmp_path / "runs")
    frame = pd.read_csv(path)
    assert list(frame.columns) == list(history.COLUMNS)
    assert len(frame) == ROWS
    expected = {
        (arm, task, metric): value.value
        for arm, result in report.arms.items()
        for task, scores in result.tasks.items()
        for metric, value in scores.metrics.items()
    }
    keys = zip(frame["arm"], frame["task"], frame["metric"], strict=True)
    assert dict(zip(keys, frame["value"], strict=True)) == expected  # to the last digit

    _record(report, tmp_path / "runs", "next")
    assert _runs(path) == {report.run_id: ROWS, "next": ROWS}
    assert not [p for p in path.parent.iterdir() if "partial" in p.name or "journal" in p.name]


def test_typed_reading(report: Report, tmp_path: Path) -> None:
    _record(report, tmp_path)
    frame = history.read(tmp_path)
    row = frame[(frame.task == "gsm8k") & (frame.arm == "quantized") & frame.primary].iloc[0]
    compared = report.pairs[0].comparison.metrics[0]
    assert (row.low, row.high, row.lost) == (compared.low, compared.high, compared.lost)
    assert row.created == report.created
    assert row.higher_is_better
    assert row.size_bytes == 5_570_801_664
    assert frame[frame.arm == "baseline"].kernel.isna().all()
    assert str(frame.created.dtype).startswith("datetime64")
    table = pd.read_csv(tmp_path / "history.csv", dtype="string", keep_default_na=False)
    assert table.primary.isin(["True", "False"]).all()
    assert frame.primary.tolist() == [truth == "True" for truth in table.primary]


def test_some_columns_of_some_rows(report: Report, tmp_path: Path) -> None:
    _record(report, tmp_path, "one", "other")
    _change(tmp_path, "UPDATE history SET label = 'nightly' WHERE run_id = 'other'")
    frame = history.read(tmp_path, ["run_id", "n"], label="nightly")
    assert list(frame.columns) == ["run_id", "n"]
    assert frame.run_id.tolist() == ["other"] * ROWS
    assert history.read(tmp_path, ["n"], label="nobody").empty


def test_a_baseline_has_nothing_to_be_different_from(report: Report, tmp_path: Path) -> None:
    _record(report, tmp_path)
    frame = history.read(tmp_path)
    baseline = frame[frame.arm == "baseline"]
    assert baseline[BESIDE_THE_BASELINE].isna().all(axis=None)
    assert (baseline.verdict == report.verdict.status).all(), "that on the whole run"
    candidate = frame[(frame.arm == "quantized") & frame.primary]
    filled = candidate[BESIDE_THE_BASELINE].notna().all()
    assert set(filled[~filled].index) == {"agreement", "kl_mean"}, "no such probe"


def test_every_candidate_of_a_run_has_its_rows(tmp_path: Path) -> None:
    report = make_run(tmp_path / "run", rows=24, candidates=3)
    _record(report, tmp_path)
    frame = history.read(tmp_path)
    assert frame.arm.unique().tolist() == ["baseline", *(pair.name for pair in report.pairs)]
    assert frame.recipe.nunique() == 3
    for pair in report.pairs:
        own = frame[(frame.arm == pair.name) & frame.primary].set_index("task")
        for metric in pair.comparison.metrics:
            if metric.primary and metric.subtask_of is None:
                assert own.difference[metric.task] == metric.difference


def test_verdict_margin_and_pooled_effect(report: Report, tmp_path: Path) -> None:
    _record(report, tmp_path)
    frame = history.read(tmp_path)
    row = frame[(frame.task == "gsm8k") & (frame.arm == "quantized") & frame.primary].iloc[0]
    comparison = report.pairs[0].comparison
    compared, pooled = comparison.metrics[0], comparison.pooled
    assert pooled is not None
    assert (row.verdict, row.margin_points) == (report.verdict.status, 1.0)
    assert (row.pooled_difference, row.pooled_bound) == (pooled.difference, pooled.bound)
    assert (row.pooled_rows, row.flip_rate) == (pooled.rows, pooled.flip_rate)
    assert (row.p_adjusted, row.pairs) == (compared.p_adjusted, compared.pairs)
    assert (row["dtype"], row.max_model_len) == ("torch.bfloat16", 2048)
    assert (row.environment, row.host) == ("server-cpu", "bench-02")
    assert row.recipe_name == "4-bit AWQ, groups of 128"
    assert row.run_seconds == pytest.approx(sum(report.timings.values()))
    assert frame[frame.arm == "baseline"].set_index("task").reused["gsm8k"].all()
    assert not row.alert
    assert frame.agreement.isna().all() and frame.lowest_tpot_ms.isna().all()


def test_speed_and_fidelity(report: Report, tmp_path: Path) -> None:
    def point(length: int, concurrency: int, tpot: float) -> SpeedPoint:
        return SpeedPoint(
            input_tokens=length, output_tokens=128, concurrency=concurrency, requests=32, failed=0,
            ttft_ms_median=1, ttft_ms_p99=2, tpot_ms_median=tpot, tpot_ms_p99=9,
            output_tokens_per_second=100 * tpot, total_tokens_per_second=1, requests_per_second=1,
            seconds=1,
        )  # fmt: skip

    points = point(2048, 1, 9.0), point(128, 16, 4.0), point(128, 1, 3.0)
    memory = MemoryAtLoad(weights_bytes=5, kv_cache_tokens=6, process_bytes=7)
    bench = Bench(
        engine_version="1", device="d", points=points, memory=memory, command=(), seconds=1
    )
    fidelity = Fidelity(
        documents=1, tokens=9, agreement=0.95, kl_mean=0.01, kl_median=0.0, kl_p99=0.2, top_k=20,
        perplexity_baseline=5.5, perplexity_candidate=5.75, texts="t",
    )  # fmt: skip
    arms = {arm: result.model_copy(update={"bench": bench}) for arm, result in report.arms.items()}
    comparison = report.pairs[0].comparison.model_copy(update={"fidelity": fidelity})
    whole = of_pair(report, comparison=comparison).model_copy(update={"arms": arms})
    _record(whole, tmp_path)
    frame = history.read(tmp_path)
    row = frame[frame.arm == "quantized"].iloc[0]
    assert (row.lowest_concurrency, row.highest_concurrency) == (1, 16)
    assert (row.lowest_tpot_ms, row.highest_tpot_ms) == (3.0, 4.0)
    assert row.highest_output_tokens_per_second == 400.0
    assert (row.weights_memory_bytes, row.process_memory_bytes) == (5, 7)
    assert (row.agreement, row.kl_mean, row.perplexity) == (0.95, 0.01, 5.75)
    assert frame[frame.arm == "baseline"].perplexity.unique().tolist() == [5.5]
    assert frame[frame.arm == "baseline"].lowest_tpot_ms.unique().tolist() == [3.0]


def test_with_run_is_what_append_would_leave(report: Report, tmp_path: Path) -> None:
    _record(report, tmp_path, "first")
    for run in (report, _named(report, "first")):
        expected = history.with_run(history.read(tmp_path), run.run_id, rows.rows_of(run))
        _record(run, tmp_path)
        pd.testing.assert_frame_equal(history.read(tmp_path), expected)


def test_a_retry_replaces_its_own_rows(report: Report, tmp_path: Path) -> None:
    path = _record(report, tmp_path, "first", "second", "first")
    assert _runs(path) == {"first": ROWS, "second": ROWS}
    assert history.read(tmp_path).run_id.tolist() == ["second"] * ROWS + ["first"] * ROWS


def test_what_is_added_to_the_table_is_as_if_it_were_written_anew(
    report: Report, tmp_path: Path
) -> None:
    for names in (("a",), ("b", "c"), ("b",), ("d", "d"), ("e",)):
        path = _record(report, tmp_path, *names)
        assert path.read_bytes() == _written_anew(tmp_path, tmp_path / "elsewhere")
        shutil.rmtree(tmp_path / "elsewhere")


def test_two_runs_finish_at_once(report: Report, tmp_path: Path) -> None:
    kept = tmp_path / "report.json"
    kept.write_text(report.model_dump_json())
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(kept), str(tmp_path), name])
        for name in ("a", "b")
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    expected = {f"{name}-{number}": ROWS for name in "ab" for number in range(20)}
    assert _runs(tmp_path / "history.csv") == expected
    assert history.read(tmp_path).run_id.value_counts().to_dict() == expected


def test_who_holds_the_lock_is_waited_for(report: Report, tmp_path: Path) -> None:
    """A version without a database may be writing the table."""
    path = _record(report, tmp_path, "first")
    with ThreadPoolExecutor(1) as pool:
        with FileLock(tmp_path / ".history.csv.lock"):
            second = pool.submit(_record, report, tmp_path, "second")
            wait([second], timeout=1)
            assert not second.done()
            table = pd.read_csv(path, dtype="string", keep_default_na=False)
            pd.concat([table, table.assign(run_id="theirs")]).to_csv(path, index=False)
        second.result()
    assert set(_runs(path)) == {"first", "theirs", "second"}


# Columns of other versions


def test_columns_of_older_and_newer_versions_survive(report: Report, tmp_path: Path) -> None:
    """An older version wrote fewer columns, a newer one more; neither loses a cell."""
    path = tmp_path / "history.csv"
    path.write_text('run_id,value,joules,task\nold,0.10000000000000001,"1,50",gsm8k\n')
    _record(report, tmp_path)
    lines = path.read_text().splitlines()
    assert lines[0] == ",".join([*history.COLUMNS, "joules"])
    assert lines[1].startswith("old,,") and lines[1].endswith(',"1,50"'), "not read as a number"
    frame = history.read(tmp_path)
    assert len(frame) == 1 + ROWS
    assert set(frame.columns) == {*history.COLUMNS, "joules"}
    assert (frame.joules[0], frame.value[0], frame.task[0]) == ("1,50", 0.1, "gsm8k")
    assert frame.joules.isna().sum() == ROWS
    assert frame.created.isna().tolist() == [True] + [False] * ROWS


def test_a_database_of_a_newer_version_keeps_what_it_has(report: Report, tmp_path: Path) -> None:
    path = _record(report, tmp_path, "first")
    _change(tmp_path, "ALTER TABLE history ADD COLUMN joules REAL")
    _record(report, tmp_path, "other")
    assert set(pd.read_csv(path).columns) == {*history.COLUMNS, "joules"}
    _change(tmp_path, "DELETE FROM history WHERE run_id = 'other'")
    _change(tmp_path, "ALTER TABLE history ADD COLUMN cooled BOOLEAN")
    _change(tmp_path, "UPDATE history SET joules = 0.1 + 0.2, cooled = 1")
    _record(report, tmp_path, "second")
    table = pd.read_csv(path)
    assert table.joules.tolist()[:ROWS] == [0.1 + 0.2] * ROWS
    assert table.cooled.tolist()[:ROWS] == [True] * ROWS
    assert table.joules.isna().sum() == table.cooled.isna().sum() == ROWS


def test_a_database_of_an_older_version_is_read_and_added_to(
    report: Report, tmp_path: Path
) -> None:
    _record(report, tmp_path, "first")
    _change(tmp_path, "ALTER TABLE history DROP COLUMN unit")
    before = (tmp_path / "history.sqlite").read_bytes()
    frame = history.read(tmp_path)
    assert frame.unit.isna().all() and len(frame) == ROWS
    assert (tmp_path / "history.sqlite").read_bytes() == before, "reading changes nothing"
    _record(report, tmp_path, "second")
    assert history.read(tmp_path).unit.isna().tolist() == [True] * ROWS + [False] * ROWS


# What people do to the table


def test_a_table_that_was_edited_or_deleted_is_written_anew(report: Report, tmp_path: Path) -> None:
    path = _record(report, tmp_path, "a", "b", "c")
    as_it_was = path.read_bytes()
    table = pd.read_csv(path)
    table[table.run_id != "b"].assign(value=0.0).to_csv(path, index=False)
    assert set(history.read(tmp_path).run_id) == {"a", "b", "c"}
    assert not (history.read(tmp_path).value == 0.0).all()
    assert history.take_over(tmp_path) is None
    assert path.read_bytes() == as_it_was
    path.unlink()
    _record(report, tmp_path, "d")
    assert path.read_bytes().startswith(as_it_was)


def test_runs_of_another_machine_are_taken_over(report: Report, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    _record(report, here, "a", "both")
    theirs = report.model_copy(update={"created": report.created.replace(year=2027)})
    shutil.copy(_record(theirs, there, "both", "c"), here)
    assert set(history.read(here).run_id) == {"a", "both", "c"}, "also before they are taken over"
    path = _record(report, here, "d")
    assert _runs(path) == dict.fromkeys(("a", "both", "c", "d"), ROWS)
    years = history.read(here).set_index("run_id").created.dt.year
    assert (set(years["both"]), set(years["c"])) == ({2026}, {2027})


def test_a_run_that_was_deleted_stays_deleted(report: Report, tmp_path: Path) -> None:
    path = _record(report, tmp_path, "a", "b", "c")
    old = path.read_bytes()
    _change(tmp_path, "DELETE FROM history WHERE run_id = 'b'")
    assert history.take_over(tmp_path) is None
    assert set(_runs(path)) == {"a", "c"}
    path.write_bytes(old)
    assert set(history.read(tmp_path).run_id) == {"a", "c"}
    _record(report, tmp_path, "d")
    assert set(_runs(path)) == {"a", "c", "d"}
    _record(report, tmp_path, "b")
    assert set(_runs(path)) == {"a", "b", "c", "d"}, "unless it is run again"


def test_what_is_edited_in_the_database_is_in_the_table(report: Report, tmp_path: Path) -> None:
    path = _record(report, tmp_path, "a", "b")
    _change(tmp_path, "UPDATE history SET label = 'nightly' WHERE run_id = 'a'")
    _record(report, tmp_path, "c")
    labels = pd.read_csv(path).groupby("run_id").label.unique().str.join(" ")
    assert labels.to_dict() == {"a": "nightly", "b": "sample", "c": "sample"}


def test_a_table_that_a_spreadsheet_saved_is_taken_over(report: Report, tmp_path: Path) -> None:
    """With a mark at its beginning, truths in capitals, integers as fractions."""
    text = (
        "run_id,created,primary,higher_is_better,n,value,task\r\n"
        "late,2026-11-21T00:30:00+02:00,TRUE,FALSE,24.0,0.5,null\r\n"
        "early,2026-11-20,FALSE,TRUE,7,1,nan\r\n"
    )
    (tmp_path / "history.csv").write_bytes(text.encode("utf-8-sig"))
    _record(report, tmp_path)
    frame = history.read(tmp_path)[:2]
    assert [str(moment) for moment in frame.created] == [
        "2026-11-20 22:30:00+00:00", "2026-11-20 00:00:00+00:00",
    ]  # fmt: skip
    assert frame.primary.tolist() == [True, False] and frame.n.tolist() == [24, 7]
    assert frame.task.tolist() == ["null", "nan"], "texts, whatever they look like"
    assert pd.read_csv(tmp_path / "history.csv").created[0] == "2026-11-20T22:30:00+00:00"


def test_a_version_without_a_database_may_add_runs(report: Report, tmp_path: Path) -> None:
    """It keeps the rows that it finds, and adds its own with the names that it has."""
    path = _record(report, tmp_path, "first")
    table = pd.read_csv(path, dtype="string", keep_default_na=False)
    old = table.rename(columns={"questions": "exam"}).assign(run_id="old")
    old["arm"] = old["arm"].replace("baseline", "base")
    pd.concat([table, old]).to_csv(path, index=False)
    _record(report, tmp_path, "second")
    frame = history.read(tmp_path)
    assert frame.run_id.unique().tolist() == ["first", "old", "second"]
    assert "exam" not in frame.columns
    by_run = [part[["arm", "questions"]].values.tolist() for _, part in frame.groupby("run_id")]
    assert by_run[0] == by_run[1] == by_run[2]


# What cannot be read or written


@pytest.mark.parametrize(("text", "message"), [
    ("name,price\nx,1\n", "is not a history of runs: its columns are name, price"),
    ("run_id,value,value\nx,1,2\n", "is not a history"),
    ("run_id,value\nx,1\ny,1,2\n", "Line 3 of .* has 3 cells, the table has 2 columns"),
    ("run_id,value\nx,1\ny", "Line 3 of .* has 1 cells"),
    ("run_id,n\nx,many\n", "Line 2 of .*history.csv cannot be read: .*'many'"),
])  # fmt: skip
def test_a_file_that_is_no_history_is_left_alone(
    report: Report, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text)
    for ask in (
        lambda: rows.record(report, tmp_path),
        lambda: history.take_over(tmp_path),
        lambda: history.read(tmp_path),
    ):
        with pytest.raises(HistoryError, match=message):
            ask()
    assert path.read_text() == text
    assert not (tmp_path / "history.sqlite").exists()


def test_a_table_that_was_damaged_later_costs_no_run(report: Report, tmp_path: Path) -> None:
    path = _record(report, tmp_path, "first")
    whole = path.read_text()
    path.write_text(whole + "theirs,1\n")
    problem = rows.record(_named(report, "second"), tmp_path)
    assert problem is not None
    assert "has 2 cells" in problem.fact
    assert path.read_text() == whole + "theirs,1\n", "it may hold what is nowhere else"
    assert set(history.read(tmp_path).run_id) == {"first", "second"}
    path.write_text(whole)
    assert history.take_over(tmp_path) is None
    assert _runs(path) == {"first": ROWS, "second": ROWS}


def test_a_table_that_cannot_be_written_costs_no_run(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.mkdir()
    problem = rows.record(_named(report, "first"), tmp_path)
    assert problem is not None
    assert problem.fact.startswith(f"{path} cannot be written: ")
    assert set(history.read(tmp_path).run_id) == {"first"}
    assert {p.name for p in tmp_path.iterdir() if p.suffix != ".lock"} == {
        "history.csv", "history.sqlite",
    }  # fmt: skip
    path.rmdir()
    assert _runs(_record(report, tmp_path, "second")) == {"first": ROWS, "second": ROWS}


@pytest.mark.parametrize("damage", [
    b"no database" * 1000,
    b"SQLite format 3\0" + b"\xff" * 8000,
])  # fmt: skip
def test_a_database_that_is_lost_comes_back_from_the_table(
    report: Report, tmp_path: Path, damage: bytes
) -> None:
    path = _record(report, tmp_path, "first", "second")
    before, table = history.read(tmp_path), path.read_bytes()
    database = tmp_path / "history.sqlite"
    database.write_bytes(damage)
    for ask in (lambda: rows.record(report, tmp_path), lambda: history.read(tmp_path)):
        with pytest.raises(HistoryError, match=r"history\.sqlite is not a history") as error:
            ask()
        assert error.value.remedy.startswith("Move that file away")
    assert (database.read_bytes(), path.read_bytes()) == (damage, table)
    database.unlink()
    pd.testing.assert_frame_equal(history.read(tmp_path), before)
    _record(report, tmp_path, "third")
    pd.testing.assert_frame_equal(history.read(tmp_path).iloc[: 2 * ROWS], before)


def test_a_database_of_another_program_is_left_alone(report: Report, tmp_path: Path) -> None:
    _change(tmp_path, "CREATE TABLE prices (name TEXT)")
    with pytest.raises(HistoryError, match="its tables are prices"):
        rows.record(report, tmp_path)
    assert not (tmp_path / "history.csv").exists()


def test_a_cell_that_was_edited_is_named(report: Report, tmp_path: Path) -> None:
    _record(report, tmp_path)
    _change(tmp_path, "UPDATE history SET n = 'many'")
    with pytest.raises(HistoryError, match=r"cannot be read as a history of runs: .*'many'"):
        history.read(tmp_path)


def test_an_empty_file_is_a_new_history(report: Report, tmp_path: Path) -> None:
    (tmp_path / "history.csv").touch()
    (tmp_path / "history.sqlite").touch()
    assert history.read(tmp_path).empty
    assert _runs(_record(report, tmp_path, "a")) == {"a": ROWS}


def test_reading_changes_nothing(report: Report, tmp_path: Path) -> None:
    assert history.read(tmp_path / "nowhere").empty
    assert not (tmp_path / "nowhere").exists()
    path = _record(report, tmp_path / "runs")
    (tmp_path / "table").mkdir()
    shutil.copy(path, tmp_path / "table")
    pd.testing.assert_frame_equal(history.read(tmp_path / "table"), history.read(tmp_path / "runs"))
    assert [p.name for p in (tmp_path / "table").iterdir()] == ["history.csv"]
    assert history.exists(tmp_path / "table") and not history.exists(tmp_path / "nowhere")
