"""Two machines have the runs of both, each under its own name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from infra.store import history
from infra.store.history import database
from infra.store.history.exchange import exchange
from infra.store.shared import place
from tests import object_store


def add(folder: Path, run: str, value: float = 0.5) -> None:
    history.append(run, [{"label": "a", "task": "t", "value": value, "n": 3}], folder)


def runs(folder: Path) -> list[str]:
    return sorted(history.read(folder)["run_id"])


def test_each_has_the_runs_of_both_with_every_cell(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with object_store.serving() as store:
        shared = place(store.url)
        add(one, "r1")
        add(two, "r2", 0.25)
        assert exchange(one, shared, newest="r1") is None
        assert exchange(two, shared) is None
        exchange(one, shared)
        assert runs(one) == runs(two) == ["r1", "r2"]
        ours, theirs = (
            history.read(folder).sort_values("run_id").reset_index(drop=True)
            for folder in (one, two)
        )
        pd.testing.assert_frame_equal(ours, theirs)
        assert sorted(store.objects) == ["assay/history/r1.json", "assay/history/r2.json"]
        # The table has them too.
        assert (one / history.NAME).read_text().count("r2") == 1


def test_a_repeated_run_replaces_itself_and_a_deleted_one_stays_deleted(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with object_store.serving() as store:
        shared = place(store.url)
        add(one, "r1")
        add(one, "r2")
        exchange(one, shared)
        add(one, "r1", 0.75)
        exchange(one, shared, newest="r1")
        exchange(two, shared)
        assert set(history.read(two, run_id="r1")["value"]) == {0.75}
        with database.changing(two / history.DATABASE) as connection:
            connection.execute("DELETE FROM history WHERE run_id = 'r2'")
        exchange(two, shared)
        assert runs(two) == ["r1"]
        assert runs(one) == ["r1", "r2"]


def test_a_folder_without_a_history_takes_it(tmp_path: Path) -> None:
    with object_store.serving() as store:
        shared = place(store.url)
        assert exchange(tmp_path / "none", shared) is None
        assert not history.exists(tmp_path / "none")
        add(tmp_path / "one", "r1")
        exchange(tmp_path / "one", shared)
        exchange(tmp_path / "none", shared)
        assert runs(tmp_path / "none") == ["r1"]


def test_a_damaged_run_does_not_keep_the_others_away(tmp_path: Path) -> None:
    with object_store.serving() as store:
        shared = place(store.url)
        add(tmp_path / "one", "r2")
        exchange(tmp_path / "one", shared)
        for content in (b"{}", b"{", b"[1]", b'{"columns": 3, "rows": []}'):
            shared.put("history/r1.json", content)
            add(tmp_path / "two", "r3")
            exchange(tmp_path / "two", shared)
            assert runs(tmp_path / "two") == ["r2", "r3"]
            assert "assay/history/r3.json" in store.objects
