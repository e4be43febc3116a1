"""Two machines with caches of their own evaluate the same: each question is answered once."""

from __future__ import annotations

from pathlib import Path

from infra.store.settings import Settings
from tests import object_store
from tests.infra.stages.conftest import Evaluate, prompts_in
from tests.infra.suite.harness.conftest import Heard


def machine(tmp_path: Path, name: str, url: str | None) -> Settings:
    return Settings(cache=tmp_path / name, shared=url)


def test_what_one_machine_evaluated_the_other_has_without_an_engine(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    with object_store.serving() as store:
        first = evaluate("run", settings=machine(tmp_path, "one", store.url))
        second = evaluate("later", settings=machine(tmp_path, "two", store.url))
    assert not any(task.reused for task in first.tasks.values())
    assert all(task.reused for task in second.tasks.values())
    assert [log.name for log in (tmp_path / "later" / "logs").iterdir()] == [
        "server-baseline-reused.log"
    ]
    assert second.reading == first.reading
    for name in first.tasks:
        rows = [tmp_path / run / "samples/baseline" / f"{name}.jsonl" for run in ("run", "later")]
        assert rows[0].read_bytes() == rows[1].read_bytes()
    alone = evaluate("alone", settings=machine(tmp_path, "three", None))
    assert not any(task.reused for task in alone.tasks.values())


def test_what_was_answered_when_a_machine_ended_is_asked_by_no_other(
    evaluate: Evaluate, tmp_path: Path, heard: Heard
) -> None:
    with object_store.serving() as store:
        evaluate("run", settings=machine(tmp_path, "one", store.url))
        # It ended with its last answer: no task was finished.
        for name in [name for name in store.objects if "/entries/" in name]:
            del store.objects[name]
        evaluate("later", settings=machine(tmp_path, "two", store.url))
    before = prompts_in(tmp_path / "run" / "logs" / "server-baseline.log")
    after = prompts_in(tmp_path / "later" / "logs" / "server-baseline.log")
    assert len(before) > 24
    assert len(after) == 1  # which tells how it scores
    assert any("took over" in line for line in heard.said)
