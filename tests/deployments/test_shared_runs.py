"""Runs of other machines on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.__main__ import main
from infra.store.settings import Settings
from infra.store.shared import Shared, place


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASSAY_RUNS", str(tmp_path / "runs"))


def test_runs_are_brought_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = (tmp_path / "mounted").as_uri()
    run = tmp_path / "elsewhere" / "nightly-1"
    run.mkdir(parents=True)
    (run / "report.html").write_text("it")
    Shared(place(url), Settings()).keep_run(run)
    monkeypatch.setenv("ASSAY_SHARED", url)
    assert main(["fetch-runs", "nightly-*"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'runs' / 'nightly-1'}\n"
    assert (tmp_path / "runs" / "nightly-1" / "report.html").read_text() == "it"
    assert main(["fetch-runs", "other"]) == 0
    assert "no run there is called other" in capsys.readouterr().err


def test_without_a_shared_store_the_variable_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch-runs"]) == 2
    assert "ASSAY_SHARED is not set" in capsys.readouterr().err
