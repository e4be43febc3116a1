"""What stands on the page of a task run."""

from __future__ import annotations

from pathlib import Path

from infra.report import notes
from tests.infra.made_runs import make_run


def test_an_arm_says_what_it_scored_and_where_its_log_is(tmp_path: Path) -> None:
    report = make_run(tmp_path)
    arm = report.arms["baseline"]
    text = notes.of_arm(arm, tmp_path)
    assert str(tmp_path / arm.server.log) in text
    for task in arm.tasks.values():
        score = 100 * task.metrics[task.primary_metric].value
        assert f"| {task.name.replace('_', chr(92) + '_')} |" in text
        assert f"{score:.1f}" in text


def test_a_comparison_has_a_line_for_each_metric(tmp_path: Path) -> None:
    report = make_run(tmp_path)
    (pair,) = report.pairs
    lines = notes.of_comparison(pair.comparison).splitlines()
    assert len(lines) == 2 + 1 + len(pair.comparison.metrics)
