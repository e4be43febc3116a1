from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployments.overrides import override
from deployments.recipes import sample
from infra.contracts.errors import PreflightError
from infra.contracts.specs import RunSpec
from infra.store.run_folder import RunFolder, open_run
from infra.store.runs_identity import identity_of
from infra.store.settings import Settings
from infra.store.shared import BROUGHT

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def opened(tmp_path: Path, key: str = "0123456789") -> RunFolder:
    return open_run(sample(), Settings(runs=tmp_path), created=CREATED, key=key)


def test_a_retry_finds_its_folder_again(tmp_path: Path) -> None:
    run = opened(tmp_path)
    assert run.id == "sample-20260102-030405-01234567"
    assert RunSpec.model_validate_json((run.path / "spec.json").read_text()) == sample()
    assert opened(tmp_path).path == run.path
    identity = identity_of(tmp_path)
    assert opened(tmp_path, "9876543210").path != run.path
    assert identity and identity_of(tmp_path) == identity


def test_a_retry_puts_the_sealed_report_aside(tmp_path: Path) -> None:
    run = opened(tmp_path)
    (run.path / "report.json").write_text("sealed")
    assert opened(tmp_path).path == run.path
    assert not (run.path / "report.json").exists()
    assert (run.path / "report-before-retry.json").read_text() == "sealed"


def test_a_run_that_goes_on_here_is_no_other_machines(tmp_path: Path) -> None:
    run = opened(tmp_path)
    (run.path / BROUGHT).write_text("upload")
    opened(tmp_path)
    assert not (run.path / BROUGHT).exists()


def test_only_finished_stages_are_recorded_in_order(tmp_path: Path) -> None:
    run = opened(tmp_path)
    with run.stage("weights") as stage:
        stage.reused = True
    with pytest.raises(RuntimeError), run.stage("quantize"):
        raise RuntimeError
    with run.stage("compare"):
        pass
    assert [(stage.name, stage.reused) for stage in run.stages()] == [
        ("weights", True),
        ("compare", False),
    ]


def test_the_spec_names_the_folder_before_the_settings_do(tmp_path: Path) -> None:
    spec = override(sample(), [f"results.folder={tmp_path / 'own'}"])
    run = open_run(spec, Settings(runs=tmp_path / "other"), created=CREATED, key="0123456789")
    assert run.path.parent == tmp_path / "own"


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PreflightError, match=r"cannot be written") as caught:
        opened(tmp_path / "file")
    assert "ASSAY_RUNS" in str(caught.value)
