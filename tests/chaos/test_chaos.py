"""Two cases of the kill matrix, on the real engine; `make chaos` plays them all."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.contracts.records import ArmResult, PythonEnvironment
from tests.chaos.world import CONCURRENCY, World, await_that, gone

DOCUMENTS = 20
ENOUGH = 5
SECONDS = 300


@pytest.fixture
def world(own_cache: Path) -> Iterator[World]:
    # Sockets lie in it, and the path of one has 107 letters at most.
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    (folder / "cache").symlink_to(own_cache)
    world = World(folder, None, engine_child=False)
    yield world
    world.end_all()
    shutil.rmtree(folder)


def begin(world: World, name: str) -> None:
    """Start a run, and return when it is in the middle of its tasks."""
    spec = json.loads(json.dumps(world.spec))
    spec["evaluation"]["tasks"][0]["limit"] = DOCUMENTS
    (world.folder / "spec.json").write_text(json.dumps(spec))
    before = world.answers.count()
    run = world.start(
        name, sys.executable, "-m", "tests.chaos.one_arm",
        str(world.runs / name), str(world.folder / "spec.json"),
    )  # fmt: skip

    def answering() -> bool:
        assert run.poll() is None, world.output(name)
        return world.answers.count() >= before + ENOUGH

    await_that(answering, SECONDS, "a run in the middle of its tasks")


@pytest.mark.engine
def test_a_run_is_killed_whole_then_its_server_is_killed_and_nothing_is_left_or_paid_twice(
    world: World, server_environment: PythonEnvironment
) -> None:
    begin(world, "killed")
    engine = await_that(world.engine, SECONDS, "an engine")
    for process in (engine.supervisor, engine.driver):
        process.suspend()  # so that neither sees the other one die
    for process in (engine.supervisor, engine.driver):
        process.kill()
    assert gone(world.processes(), SECONDS) == 0
    assert world.slots_free()
    assert world.flaws() == []
    assert len(world.records()) == 1
    (left,) = world.folders()
    assert any(path.is_socket() for path in left.iterdir())
    kept = world.answers.count()
    assert ENOUGH <= kept < DOCUMENTS

    begin(world, "again")
    assert len(world.records()) == 1  # the next run swept the other
    assert left not in world.folders()
    engine = await_that(world.engine, SECONDS, "an engine")
    doomed = engine.tree
    engine.api.kill()
    assert gone(doomed, SECONDS) == 0
    answered = world.answers.count()
    assert kept + ENOUGH <= answered <= kept + ENOUGH + 3 * CONCURRENCY
    (run,) = [started for started in world.started if started.poll() is None]
    assert run.wait(SECONDS) == 0, world.output("again")

    result = ArmResult.model_validate_json((world.runs / "again" / "arm-baseline.json").read_text())
    (restart,) = result.server.restarts
    assert restart.answered <= answered
    assert result.tasks["gsm8k"].n == DOCUMENTS
    assert world.answers.count() == DOCUMENTS
    assert world.answers.paid_twice() == 0
    assert world.processes() == []
    assert world.records() == []
    assert world.folders() == []
    assert world.slots_free()
    assert world.flaws() == []
