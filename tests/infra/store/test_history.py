"""The history grows by whole runs, whoever else writes, and loses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from infra.contracts.errors import HistoryError
from infra.contracts.records import Bench, Fidelity, MemoryAtLoad, Report, SpeedPoint
from infra.report.trend import rows
from infra.store import history
from tests.infra.made_runs import make_run

ROWS = 2 * (2 + 1 + 1)
"""Arms × (gsm8k's two metrics, one of each other task)."""

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
    record(report.model_copy(update={"run_id": f"{name}-{number}"}), folder)
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return make_run(tmp_path_factory.mktemp("run"), rows=24)


def _named(report: Report, name: str) -> Report:
    return report.model_copy(update={"run_id": name})


def test_one_row_for_each_arm_task_and_metric(report: Report, tmp_path: Path) -> None:
    path = rows.record(report, tmp_path / "runs")
    assert path == tmp_path / "runs" / "history.csv"
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

    rows.record(_named(report, "next"), tmp_path / "runs")
    assert len(pd.read_csv(path)) == 2 * ROWS
    assert not [p for p in path.parent.iterdir() if "partial" in p.name]


def test_typed_reading(report: Report, tmp_path: Path) -> None:
    frame = history.read(rows.record(report, tmp_path))
    row = frame[(frame.task == "gsm8k") & (frame.arm == "quantized") & frame.primary].iloc[0]
    compared = report.comparison.metrics[0]
    assert (row.low, row.high, row.lost) == (compared.low, compared.high, compared.lost)
    assert row.created == report.created
    assert row.higher_is_better
    assert row.size_bytes == 5_570_801_664
    assert frame[frame.arm == "baseline"].kernel.isna().all()
    assert str(frame.created.dtype).startswith("datetime64")


def test_verdict_margin_and_pooled_effect(report: Report, tmp_path: Path) -> None:
    frame = history.read(rows.record(report, tmp_path))
    row = frame[(frame.task == "gsm8k") & (frame.arm == "quantized") & frame.primary].iloc[0]
    compared, pooled = report.comparison.metrics[0], report.comparison.pooled
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
        perplexity_base=5.5, perplexity_quantized=5.75, texts="t",
    )  # fmt: skip
    arms = {arm: result.model_copy(update={"bench": bench}) for arm, result in report.arms.items()}
    comparison = report.comparison.model_copy(update={"fidelity": fidelity})
    whole = report.model_copy(update={"arms": arms, "comparison": comparison})
    frame = history.read(rows.record(whole, tmp_path))
    row = frame[frame.arm == "quantized"].iloc[0]
    assert (row.lowest_concurrency, row.highest_concurrency) == (1, 16)
    assert (row.lowest_tpot_ms, row.highest_tpot_ms) == (3.0, 4.0)
    assert row.highest_output_tokens_per_second == 400.0
    assert (row.weights_memory_bytes, row.process_memory_bytes) == (5, 7)
    assert (row.agreement, row.kl_mean, row.perplexity) == (0.95, 0.01, 5.75)
    assert frame[frame.arm == "baseline"].perplexity.unique().tolist() == [5.5]


def test_with_run_is_what_append_would_leave(report: Report, tmp_path: Path) -> None:
    path = rows.record(_named(report, "first"), tmp_path)
    for run in (report, _named(report, "first")):
        expected = history.with_run(history.read(path), run.run_id, rows.rows_of(run))
        rows.record(run, tmp_path)
        pd.testing.assert_frame_equal(history.read(path), expected)


def test_a_retry_replaces_its_own_rows(report: Report, tmp_path: Path) -> None:
    rows.record(_named(report, "first"), tmp_path)
    rows.record(_named(report, "second"), tmp_path)
    path = rows.record(_named(report, "first"), tmp_path)
    assert pd.read_csv(path).run_id.value_counts().to_dict() == {"first": ROWS, "second": ROWS}


def test_two_runs_finish_at_once(report: Report, tmp_path: Path) -> None:
    kept = tmp_path / "report.json"
    kept.write_text(report.model_dump_json())
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(kept), str(tmp_path), name])
        for name in ("a", "b")
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    frame = pd.read_csv(tmp_path / "history.csv")
    assert frame.run_id.value_counts().to_dict() == {
        f"{name}-{number}": ROWS for name in "ab" for number in range(20)
    }


def test_older_and_newer_columns_survive(report: Report, tmp_path: Path) -> None:
    """An older version wrote fewer columns, a newer one more; neither loses a cell."""
    path = tmp_path / "history.csv"
    path.write_text('run_id,value,joules,task\nold,0.10000000000000001,"1,5",gsm8k\n')
    rows.record(report, tmp_path)
    lines = path.read_text().splitlines()
    assert lines[0].startswith("run_id,value,joules,task,created,label,")
    assert lines[1].startswith('old,0.10000000000000001,"1,5",gsm8k,,')  # not read as a number
    frame = history.read(path)
    assert len(frame) == 1 + ROWS
    assert set(frame.columns) == {*history.COLUMNS, "joules"}
    assert frame.joules.tolist()[0] == "1,5"
    assert frame.joules.isna().sum() == ROWS
    assert frame.created.isna().tolist() == [True] + [False] * ROWS


@pytest.mark.parametrize(("text", "message"), [
    ("name,price\nx,1\n", "is not a history of runs: its columns are name, price"),
    ("run_id,value,value\nx,1,2\n", "is not a history"),
    ("run_id,value\nx,1\ny,1,2\n", "Line 3 of .* has 3 cells, the table has 2 columns"),
    ("run_id,value\nx,1\ny", "Line 3 of .* has 1 cells"),
])  # fmt: skip
def test_a_file_that_is_no_history_is_left_alone(
    report: Report, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(HistoryError, match=message):
        rows.record(report, tmp_path)
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["run_id,value\nx,1\ny,1,2\n", "run_id,n\nx,many\n", "name\nx\n"])
def test_a_damaged_table_is_not_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(HistoryError, match=r"history\.csv cannot be read as a history of runs"):
        history.read(path)


def test_an_empty_file_is_a_new_history(report: Report, tmp_path: Path) -> None:
    (tmp_path / "history.csv").touch()
    assert len(pd.read_csv(rows.record(report, tmp_path))) == ROWS
