"""Which two models of a run are tried, and which cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from infra.contracts.errors import ReceiptError, SpecError, WeightsError
from infra.stages.chat import choose
from infra.stages.chat.lost_rows import lost_rows
from infra.store.settings import Settings
from tests import chat_runs
from tests.broken_checkpoints import SAMPLE
from tests.infra.made_runs import make_run

SETTINGS = Settings()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in ("one", "other"):
        shutil.copytree(SAMPLE, tmp_path / name)
    chat_runs.finished(tmp_path / "run-1", tmp_path / "one", tmp_path / "other")
    return tmp_path / "run-1"


def test_the_only_candidate_need_not_be_named(run: Path) -> None:
    chosen = choose(run / "report.json", None, SETTINGS)
    assert chosen.names == ("baseline", chat_runs.CANDIDATE)
    assert chosen.folder == run
    assert [chosen.checkpoint(name).path.name for name in chosen.names] == ["one", "other"]


def test_a_run_is_found_by_its_name(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent.parent)
    settings = SETTINGS.model_copy(update={"runs": run.parent})
    assert choose(Path("run-1"), chat_runs.CANDIDATE, settings).folder == run


def test_of_several_candidates_one_has_to_be_named(tmp_path: Path) -> None:
    report = make_run(tmp_path, rows=20, candidates=3, failed={"candidate-2": "It broke.\nSo."})
    (tmp_path / "report.json").write_text(report.model_dump_json())
    with pytest.raises(SpecError, match="has 2 candidates: quantized, candidate-3") as caught:
        choose(tmp_path, None, SETTINGS)
    assert "--candidate" in caught.value.remedy
    with pytest.raises(SpecError, match="no result of a candidate 'candidate-2'") as caught:
        choose(tmp_path, "candidate-2", SETTINGS)
    assert caught.value.cause == "It broke."


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"endpoint": {}}))
    with pytest.raises(ReceiptError, match="no report of a run with a baseline"):
        choose(tmp_path, None, SETTINGS)


def test_weights_that_are_gone_are_named(run: Path) -> None:
    shutil.rmtree(run.parent / "other")
    with pytest.raises(WeightsError, match=f"{chat_runs.CANDIDATE} are no longer there") as caught:
        choose(run, None, SETTINGS)
    assert "Start the same run again" in caught.value.remedy


def test_weights_that_were_changed_are_named(run: Path) -> None:
    (run.parent / "one" / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"not those that were evaluated: .*config\.json"):
        choose(run, None, SETTINGS)


def test_lost_rows_are_those_that_the_baseline_alone_has_right(run: Path) -> None:
    rows, why = lost_rows(choose(run, None, SETTINGS))
    assert why == ""
    assert rows
    for row in rows:
        if row["task"] == "gsm8k":
            assert (row["baseline"] == row["target"]) > (row["candidate"] == row["target"])
    assert all(row["title"] in row["question"] for row in rows)


def test_rows_that_are_gone_are_said_to_be(run: Path) -> None:
    shutil.rmtree(run / "samples")
    rows, why = lost_rows(choose(run, None, SETTINGS))
    assert rows == []
    assert why.startswith("The run's rows cannot be read: ")
