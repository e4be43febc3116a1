from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from infra.contracts.records import TaskScores
from infra.store.run_folder import RunFolder
from infra.store.stored_scores import Stored
from tests.infra.made_runs import make_run


def paths(scores: TaskScores) -> set[str]:
    return {scores.samples}.union(*(paths(below) for below in scores.subtasks.values()))


def test_every_level_of_a_group_says_where_its_rows_are(tmp_path: Path) -> None:
    made = make_run(tmp_path / "made", rows=20).arms["baseline"]
    name, leaf = next((n, s) for n, s in made.tasks.items() if s.subtasks)
    below = next(iter(leaf.subtasks.values()))
    # As mmlu: a group of groups.
    middle = below.model_copy(update={"name": "middle", "subtasks": {below.name: below}})
    scores = leaf.model_copy(update={"subtasks": {"middle": middle}})
    stored = Stored(tmp_path / "stored")
    stored.folder.mkdir()
    rows = tmp_path / "made" / scores.samples
    (stored.folder / Stored.SAMPLES).write_bytes(rows.read_bytes())
    log = tmp_path / "made" / made.server.log
    stored.keep(scores, made.server, log)
    assert paths(stored.scores) == {str(stored.folder / Stored.SAMPLES)}
    run = RunFolder(id=f"r-{datetime.now(UTC):%S}", path=tmp_path / "run")
    brought = stored.bring("baseline", run, reused=True)
    assert paths(brought) == {f"samples/baseline/{name}.jsonl"}
    assert all((run.path / path).is_file() for path in paths(brought))
    assert brought.subtasks["middle"].subtasks[below.name].reused
