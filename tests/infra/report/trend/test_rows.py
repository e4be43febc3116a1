"""A run is in the history once, and one that was ended right before gets there later."""

from __future__ import annotations

from pathlib import Path

from infra.report.trend import rows
from infra.store import history
from tests.infra.made_runs import make_run


def test_a_run_that_has_a_report_and_no_rows_gets_them_once(tmp_path: Path) -> None:
    report = make_run(tmp_path / "run", rows=20)
    assert not history.had(report.run_id, tmp_path)
    assert rows.record_missing(report, tmp_path) is None
    assert history.had(report.run_id, tmp_path)
    first = history.read(tmp_path)
    assert len(first) == len([*rows.rows_of(report)]) > 0

    later = report.model_copy(update={"arms": {}})  # what is there is left as it is
    assert rows.record_missing(later, tmp_path) is None
    assert history.read(tmp_path).equals(first)


def test_a_history_that_cannot_be_read_is_told_and_hinders_nothing(tmp_path: Path) -> None:
    report = make_run(tmp_path / "run", rows=20)
    (tmp_path / history.DATABASE).write_bytes(b"no database" * 100)
    assert history.DATABASE in str(rows.record_missing(report, tmp_path))
    (tmp_path / history.DATABASE).unlink()
    (tmp_path / f".{history.NAME}.lock").mkdir()  # nobody may write here
    assert isinstance(rows.record_missing(report, tmp_path), OSError)
