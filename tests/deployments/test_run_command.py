"""What the command `run` does before a run is looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import infra.preflight
from deployments import __main__ as command
from infra.contracts import exit_codes
from infra.contracts.errors import PreflightError
from infra.stages import loading
from tests.conftest import ROOT


def test_the_first_engine_loads_while_the_run_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def refuse(*_: object, **__: object) -> None:
        assert loaded[0] == "baseline"
        raise PreflightError("Nothing else is looked at here.")

    def no_server(_: object) -> Callable[[], None]:
        return lambda: None

    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASSAY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(loading.cores, "to_spare", lambda: True)
    monkeypatch.setattr(loading, "main_memory", lambda: (2**37, 2**36))
    monkeypatch.setattr(loading, "_load_first", lambda spec, _: loaded.extend(spec.evaluated))
    monkeypatch.setattr(command.prefect_here, "begin", no_server)
    monkeypatch.setattr(infra.preflight, "survey", refuse)
    assert command.main(["run", "sample", "--again"]) == exit_codes.BAD_INPUT
    assert loaded[0] == "baseline"
