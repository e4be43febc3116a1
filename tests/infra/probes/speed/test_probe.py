"""The server and the interpreter are real processes that stand in, and fail as they should."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra import ENVIRONMENT
from infra.contracts.errors import ServerDied
from infra.contracts.records import Bench, PythonEnvironment, Restart
from infra.contracts.specs import AwqSpec, EvaluationSpec, ModelSpec, RunSpec
from infra.engines.live import LiveServer
from infra.engines.restarts import work_through
from infra.engines.vllm.timing import command as client
from infra.machine.accelerators import Slots
from infra.machine.energy import meter_of
from infra.probes import speed
from infra.probes.speed import BenchProbe
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.chaos.world import await_that
from tests.infra.engines.llamacpp.test_timing import Streams
from tests.infra.probes.speed.served import KEY, serving
from tests.infra.probes.subjects import checkpoint_at, subject_of
from tests.process_marks import Marked, command_lines
from tests.secret_search import files_with
from tests.stand_in_driver import present

STAND_IN = Path(__file__).parents[3] / "stand_in_bench.py"
CONFIG = {
    "num_attention_heads": 8, "hidden_size": 1024, "num_hidden_layers": 16, "vocab_size": 64,
    "max_position_embeddings": 4096,
}  # fmt: skip
"""A window takes 256 MiB of cache in 16 bits."""


class Stage:
    """An arm, and a stand-in for what times it."""

    def __init__(self, folder: Path, server: LiveServer) -> None:
        self.folder = folder
        (folder / "config.json").write_text(json.dumps(CONFIG))
        self.server = server
        self.settings = Settings(cache=folder / "cache")
        self.run = RunFolder(id="r", path=folder / "run")
        self.marked = Marked()
        self.starts = 0
        self.said: list[str] = []
        self.updates: list[tuple[str, int, int | None]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        self.updates.append((what, done, total))

    def started(self, probe: BenchProbe, server: LiveServer | None = None) -> LiveServer:
        """Return the server as the probe's engine would have started it now."""
        subject, server = probe._subject, server or self.server
        command = subject.engine.command(subject.setup, subject.spec.evaluation.concurrency)
        record = server.record.model_copy(update={"command": tuple(command)})
        return replace(server, record=record)

    def probe(self, mode: str, *, conditions: Any = "c", **fields: Any) -> BenchProbe:
        speed = {"input_tokens": [128], "output_tokens": 32, "concurrencies": [1], "requests": 16}
        spec = RunSpec.model_validate(
            {
                "model": ModelSpec(source="local", id="m").model_dump(),
                "quantization": AwqSpec.model_validate({"calibration": {"path": "c"}}),
                "evaluation": EvaluationSpec.model_validate(
                    {"tasks": [{"name": "gsm8k"}]} | fields.pop("evaluation", {})
                ),
                "speed": speed | fields.pop("speed", {}),
                "serving": {"device": "cpu"} | fields.pop("serving", {}),
            }
        )
        python = self.folder / f"python-{mode}"
        if not python.exists():
            script = f'"{sys.executable}" -I "{STAND_IN}" {mode} "{self.folder}" "$@"'
            python.write_text(f"#!/bin/sh\nexec {script}\n")
            python.chmod(0o755)
        return BenchProbe(
            subject_of(
                spec,
                checkpoint_at(self.folder),
                self.folder,
                environment=PythonEnvironment(name="s", python=python, digest="", provided=True),
                conditions=[conditions],
                run=self.run,
                settings=self.settings,
                progress=self,
            )
        )

    @contextmanager
    def serve(self, started_before: int = 0) -> Iterator[LiveServer]:
        self.starts += 1
        with serving(self.marked, self.run.log(f"server-{started_before}"), self) as server:
            yield server

    def take(self, probe: BenchProbe) -> Bench | None:
        probe.take(self.started(probe), restarts_left=2)
        return probe.found()

    def through(self, probe: BenchProbe, *, most: int = 2) -> None:
        """Do as an arm does: what dies is started again."""

        def work(server: LiveServer, restarts: tuple[Restart, ...]) -> None:
            probe.take(server, restarts_left=most - len(restarts))

        work_through(self.serve, work, most=most, answered=lambda: 0, progress=self)

    def runs(self) -> list[dict[str, str]]:
        """Return the environment of every stand-in that ran."""
        return [json.loads(path.read_text()) for path in self.folder.glob("bench-*")]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many GiB of memory be free: what others take meanwhile would resize the cache."""
    real = psutil.virtual_memory()

    def be(gibibytes: float) -> None:
        now = real._replace(available=int(gibibytes * 2**30))
        monkeypatch.setattr(psutil, "virtual_memory", lambda: now)

    be(100)
    return be


@pytest.fixture
def stage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: LiveServer,
    free: Callable[[float], None],
) -> Iterator[Stage]:
    monkeypatch.setattr(client, "_LOOK_SECONDS", 0.1)
    stage = Stage(tmp_path, server)
    yield stage
    assert stage.marked.living() == []


def test_what_times_is_started_while_the_server_is_asked_other_things(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "_spares_cores", lambda device: True)
    probe = stage.probe("good")
    with probe.ahead(stage.server):
        await_that(stage.runs, 10, "what times")
        assert probe.wanted, "nothing is timed before it is asked for"
        assert stage.take(probe) is not None
    assert len(stage.runs()) == 1, "the one that was started ahead has timed"
    with stage.probe("good").ahead(stage.server):
        pass
    assert len(stage.runs()) == 1, "nothing is started for what is kept"


def test_what_was_started_ahead_and_never_asked_ends_with_the_tasks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "_spares_cores", lambda device: True)
    with pytest.raises(ZeroDivisionError), stage.probe("good").ahead(stage.server):
        await_that(stage.runs, 10, "what times")
        below = psutil.Process().children(recursive=True)
        assert any(str(STAND_IN) in line for line in command_lines(below))
        raise ZeroDivisionError
    assert not [line for line in command_lines(below) if str(STAND_IN) in line]


def test_what_cannot_be_started_ahead_costs_no_score(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "_spares_cores", lambda device: True)
    probe = stage.probe("good")
    (stage.folder / "python-good").unlink()
    with probe.ahead(stage.server):
        pass
    assert stage.take(probe) is None
    assert probe.left_out.startswith("not timed. There is no program")


def test_what_was_measured_is_kept_and_found_again(stage: Stage) -> None:
    probe = stage.probe("good", speed={"concurrencies": [1, 4]})
    assert not probe.present
    assert probe.found() is None
    bench = stage.take(probe)
    assert bench is not None
    assert [(p.input_tokens, p.output_tokens, p.concurrency) for p in bench.points] == [
        (128, 32, 1), (128, 32, 4),
    ]  # fmt: skip
    first = bench.points[0]
    assert (first.requests, first.failed) == (16, 0)
    assert first.ttft_ms_median == pytest.approx(272.339, abs=0.001)
    assert first.ttft_ms_p99 == pytest.approx(667.001, abs=0.001)
    assert first.tpot_ms_median == pytest.approx(38.934, abs=0.001)
    assert first.tpot_ms_p99 == pytest.approx(304.307, abs=0.001)
    assert first.output_tokens_per_second == pytest.approx(13.418, abs=0.001)
    assert first.total_tokens_per_second == pytest.approx(67.117, abs=0.001)
    assert first.requests_per_second == pytest.approx(0.4193, abs=0.0001)
    assert first.seconds == pytest.approx(38.157, abs=0.001)
    assert (bench.engine_version, bench.device) == ("0.0.test", "a processor")
    assert bench.command[:3] == ("vllm", "bench", "serve")
    assert bench.memory.process_bytes is not None
    assert bench.memory.process_bytes > 2**20
    assert (bench.memory.weights_bytes, bench.memory.kv_cache_tokens) == (None, None)
    assert not bench.reused
    assert any("timed at 2 points" in line for line in stage.said)

    again = stage.probe("good", speed={"concurrencies": [1, 4]})
    assert again.present
    assert again.found() == bench.model_copy(update={"reused": True})


@pytest.mark.parametrize(
    "other",
    [
        {"conditions": "another checkpoint"},
        {"serving": {"memory_fraction": 0.5}},
        {"evaluation": {"concurrency": 7}},
        {"speed": {"requests": 8}},
        {"speed": {"output_tokens": 16}},
    ],
)
def test_other_conditions_are_timed_anew(stage: Stage, other: dict[str, Any]) -> None:
    stage.take(stage.probe("good"))
    assert stage.probe("good").present
    assert not stage.probe("good", **other).present


def test_a_server_with_another_cache_is_timed_anew(
    stage: Stage, free: Callable[[float], None]
) -> None:
    stage.take(stage.probe("good"))
    free(95)
    assert stage.probe("good").present, "nearly as much is free"
    free(20)
    assert not stage.probe("good").present


def test_a_timing_is_kept_under_the_room_that_its_server_had(
    stage: Stage, free: Callable[[float], None]
) -> None:
    probe = stage.probe("good")
    assert not probe.present
    free(20)
    assert stage.take(probe) is not None
    assert stage.probe("good").present
    free(100)
    assert not stage.probe("good").present
    assert probe.found() is not None, "the run that has timed it keeps what it has"


@pytest.mark.parametrize("engine", ["vllm", "llamacpp"])
def test_what_was_found_stays_found_whatever_memory_is_free_then(
    stage: Stage, free: Callable[[float], None], engine: str
) -> None:
    fields: dict[str, Any] = {"serving": {"engine": engine}, "speed": {"output_tokens": 4}}
    with Streams().running() as streams:
        probe = stage.probe("good", **fields)
        server = replace(stage.started(probe), **_place_of(streams) if engine != "vllm" else {})
        probe.take(server, restarts_left=0)
        found = stage.probe("good", **fields)
    assert found.present
    free(3)
    assert found.present
    assert found.found() is not None
    assert not stage.probe("good", **fields).present


def test_llama_cpp_with_other_slots_is_timed_anew(
    stage: Stage, free: Callable[[float], None]
) -> None:
    fields: dict[str, Any] = {"serving": {"engine": "llamacpp"}, "speed": {"output_tokens": 4}}
    with Streams().running() as streams:
        probe = stage.probe("", **fields)
        server = replace(stage.started(probe), **_place_of(streams))
        assert "--parallel 4" in " ".join(server.record.command)
        probe.take(server, restarts_left=0)
    assert stage.probe("", **fields).present
    free(2)
    command = stage.started(stage.probe("", **fields)).record.command
    assert "--parallel 2" in " ".join(command)
    assert not stage.probe("", **fields).present


def test_other_processors_beside_the_accelerator_are_timed_anew(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.take(stage.probe("good"))
    with monkeypatch.context() as container:
        container.setattr(speed.cores, "quota", lambda: 1.5)
        assert not stage.probe("good").present
    assert stage.probe("good").present
    monkeypatch.setattr(speed.cores, "allowed", lambda: 77)
    assert not stage.probe("good").present


def _place_of(streams: Streams) -> dict[str, Any]:
    return {"base_url": streams.base_url, "model": streams.model}


def test_timings_that_are_not_wanted_are_not_taken(stage: Stage) -> None:
    stage.take(stage.probe("good"))
    probe = stage.probe("good", speed={"enabled": False})
    assert probe.present
    assert probe.found() is None


def test_the_key_is_in_the_environment_and_nowhere_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setitem(ENVIRONMENT, "HF_TOKEN", "hf_secret")
    bench = stage.take(stage.probe("good"))
    (env,) = stage.runs()
    assert env["OPENAI_API_KEY"] == KEY
    assert "HF_TOKEN" not in env
    assert "HTTP_PROXY" not in env  # it would be asked to reach the loopback
    for path in stage.folder.glob("bench-*"):
        path.unlink()  # the stand-in's own note
    assert bench is not None
    assert KEY not in bench.model_dump_json()
    assert files_with([KEY], [stage.folder]) == []


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("fails", "ended with exit code 1"),
        ("silent", "left no result"),
        ("broken", "left a result that cannot be read"),
        ("lacks", "p99_ttft_ms"),
        ("nan", "median_tpot_ms"),
        ("few", "timed 1 of 2 points"),
        ("unanswered", "got no answer to 16 requests"),
    ],
)
def test_a_timing_that_fails_is_said_and_costs_nothing_else(
    stage: Stage, mode: str, reason: str
) -> None:
    probe = stage.probe(mode, speed={"concurrencies": [1, 4]})
    assert stage.take(probe) is None
    said = "\n".join(stage.said)
    assert reason in said
    assert str(stage.run.log("bench-baseline")) in said
    assert "8/16" in said or mode != "fails"  # its log's last lines
    assert not probe.present  # the next run tries again


def test_a_budget_may_leave_points_out_which_is_said(stage: Stage) -> None:
    bench = stage.take(stage.probe("few", speed={"concurrencies": [1, 4], "budget_seconds": 60}))
    assert bench is not None
    assert [point.concurrency for point in bench.points] == [1]
    assert "not timed with 128 tokens in, 4 at a time: the 60 s" in "\n".join(stage.said)


def test_what_an_earlier_attempt_left_is_no_result(stage: Stage) -> None:
    assert stage.take(stage.probe("good")) is not None
    assert stage.take(stage.probe("silent", conditions="others")) is None


def test_a_timing_that_takes_too_long_is_ended(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_POINT_SECONDS", 4.0)  # it is a process of its own
    assert stage.take(stage.probe("hangs")) is None
    assert "did not finish within 4 seconds" in "\n".join(stage.said)
    assert ("timing: 128 tokens in, 1 at a time", 8, 16) in stage.updates


def test_requests_that_failed_and_other_lengths_are_said(stage: Stage) -> None:
    bench = stage.take(stage.probe("some-failed"))
    assert bench is not None
    assert (bench.points[0].requests, bench.points[0].failed) == (15, 1)
    assert any("1 of 16 requests failed" in line for line in stage.said)
    stage.take(stage.probe("other-lengths", conditions="others"))
    said = "\n".join(stage.said)
    assert "prompts had 200 tokens instead of 128" in said
    assert "answers had 8 tokens instead of 32" in said


def test_what_its_accelerators_take_is_kept_beside_the_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = {"uuid": "GPU-1", "energy": 1_000, "watts": 500}
    probe = stage.probe("good", speed={"concurrencies": [1, 4]})
    with present(stage.folder, [gpu], monkeypatch) as driver:
        slots = Slots(("gpu-GPU-1",), (), {})
        server = replace(stage.started(probe), meter=meter_of(slots, list))
        probe.take(server, restarts_left=0)
        bench = probe.found()
        assert bench is not None
        joules = [point.joules for point in bench.points]
        assert all(joules)
        again = stage.probe("good", speed={"concurrencies": [1, 4]}).found()
        assert again is not None
        assert [point.joules for point in again.points] == joules
        driver.holds((17, 1), (18, 1))
        other = stage.probe("good", conditions="others")
        other.take(replace(stage.started(other), meter=server.meter), restarts_left=0)
        bench = other.found()
        assert bench is not None, "what cannot be told costs no timing"
        assert bench.points[0].joules is None


def test_points_beyond_the_window_are_left_out_which_is_said(stage: Stage) -> None:
    bench = stage.take(stage.probe("good", speed={"input_tokens": [4065, 128]}))
    assert bench is not None
    assert [point.input_tokens for point in bench.points] == [128]
    lines = [line for line in stage.said if "exceeds the served window of 4096" in line]
    assert len(lines) == 1


def test_without_a_point_that_fits_no_server_is_started_for_it_again(stage: Stage) -> None:
    probe = stage.probe("good", speed={"input_tokens": [4065]})
    assert stage.take(probe) is None
    assert stage.runs() == []
    assert any("no measuring point fits" in line for line in stage.said)
    assert stage.probe("good", speed={"input_tokens": [4065]}).present


@pytest.mark.parametrize("mode", ["kills", "kills-and-ends"])
def test_a_server_that_dies_of_the_timing_is_started_again_once(stage: Stage, mode: str) -> None:
    probe = stage.probe(mode)
    stage.through(probe)
    assert stage.starts == 2
    assert probe.found() is None
    assert "Starting it again" in "\n".join(stage.said)
    assert "SIGKILL" in stage.said[-1]
    assert "not started again for this" in stage.said[-1]
    assert sorted(path.name for path in stage.run.path.glob("logs/bench-*")) == [
        "bench-baseline-2.log", "bench-baseline.log",
    ]  # fmt: skip


def test_without_restarts_the_timing_is_given_up_at_once(stage: Stage) -> None:
    probe = stage.probe("kills")
    stage.through(probe, most=0)
    assert stage.starts == 1
    assert probe.found() is None


def test_a_first_death_is_the_servers(stage: Stage) -> None:
    with pytest.raises(ServerDied), stage.serve() as server:
        stage.probe("kills").take(server, restarts_left=1)


def test_a_first_death_when_the_tasks_have_used_up_the_restarts_is_said(stage: Stage) -> None:
    probe = stage.probe("kills")
    with stage.serve() as server:
        probe.take(server, restarts_left=0)
    assert probe.found() is None
    assert "not started again for this" in stage.said[-1]


def test_a_torn_line_of_its_log_is_no_end(stage: Stage) -> None:
    bench = stage.take(stage.probe("torn"))
    assert bench is not None
    assert stage.updates != []


def test_a_disk_that_takes_nothing_is_said(stage: Stage) -> None:
    (stage.folder / "cache").mkdir()
    (stage.folder / "cache" / "benches").write_text("no folder")
    assert stage.take(stage.probe("good")) is None
    assert "not timed" in stage.said[-1]


def test_a_server_that_hangs_does_not_hold_the_timing(stage: Stage) -> None:
    probe = stage.probe("hangs")
    log = stage.run.log("server-baseline")
    with serving(stage.marked, log, stage, "stalls", hang_seconds=2.0) as server:
        probe.take(server, restarts_left=0)
    assert probe.found() is None
    assert "not timed" in stage.said[-1]
    assert stage.runs()  # it was under way
