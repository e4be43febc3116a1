"""How fast an arm is, and what memory it takes: `vllm bench serve` on the server of its exam.

plan        where to measure, and the command for it
client      runs the command, and watches it and the server
results     what it measured
memory      what the engine's log and its processes tell
comparing   both arms side by side
"""

from __future__ import annotations

import platform
import time
from pathlib import Path

from infra.bench import memory, plan
from infra.bench.client import time_points
from infra.bench.comparing import SpeedPair, in_different_runs, slower, summary
from infra.bench.results import doubts, speed_point
from infra.content import digest_of, write_atomically
from infra.contracts.errors import ProcessError, ServerDied, ServerHung
from infra.contracts.records import Bench, PythonEnvironment, QuantizedCheckpoint, Weights
from infra.contracts.specs import RunSpec
from infra.device import detect
from infra.progress import Progress
from infra.run_folder import RunFolder
from infra.settings import Settings
from infra.vllm_server import LiveServer

__all__ = ["BenchProbe", "SpeedPair", "in_different_runs", "slower", "summary"]

_VERSION = 1
"""Raise it when the same conditions would be timed in another way."""


class BenchProbe:
    """The timing of one arm while it is served.

    It never costs a run its scores: a timing that fails is told and left out, and an engine that
    dies of it is started again once at most, if the run may start it again at all.

    What is kept says nothing of when it was measured, so one arm's timing may be of another day
    than the other's. It is kept for this machine alone, for its driver and for all that decides
    speed; `Bench.reused` tells, and `in_different_runs` asks both.
    """

    def __init__(
        self,
        arm: str,
        model: Weights | QuantizedCheckpoint,
        spec: RunSpec,
        *,
        environment: PythonEnvironment,
        conditions: object,
        run: RunFolder,
        settings: Settings,
        progress: Progress,
    ) -> None:
        """Prepare; nothing is timed yet.

        Args:
            arm: Which of the two.
            model: What is served.
            spec: The run.
            environment: Interpreter with vLLM.
            conditions: All that decides what is served, and on what.
            run: Receives logs.
            settings: Where timings are kept.
            progress: Hears what happens.
        """
        self._arm = arm
        self._model = model
        self._spec = spec
        self._environment = environment
        self._run = run
        self._progress = progress
        self._kept = settings.cache / "benches" / f"{_key(spec, conditions)[:32]}.json"
        self._here = False
        self._tries = 0

    @property
    def present(self) -> bool:
        """Whether nothing has to be timed: it is not wanted, or an earlier run has timed it."""
        return not self._spec.speed.enabled or self._kept.is_file()

    def take(self, server: LiveServer, *, restarts_left: int) -> None:
        """Time the arm, and keep what was measured. Whatever fails is told, and nothing is kept.

        Args:
            server: Serves the arm.
            restarts_left: How often the run may still start it again.

        Raises:
            ServerError: The engine died or hung; it is worth another start.
        """
        self._tries += 1
        suffix = f"-{self._tries}" if self._tries > 1 else ""
        log = self._run.log(f"bench-{self._arm}{suffix}")
        try:
            bench = self._measure(server, log)
            write_atomically(self._kept, bench.model_dump_json(indent=2))
            self._here = True
        except (ProcessError, OSError, ValueError) as error:
            self._say(f"not timed. {error} The scores are not touched by this.")
        except (ServerDied, ServerHung) as error:
            if self._tries == 1 and restarts_left > 0:
                raise
            self._say(f"not timed. {error} The scores are kept; it is not started again for this.")

    def found(self) -> Bench | None:
        """Return what is kept; None if nothing is, or if no point could be measured."""
        if not self._spec.speed.enabled or not self._kept.is_file():
            return None
        bench = Bench.model_validate_json(self._kept.read_text(encoding="utf-8"))
        if not bench.points:
            self._say("no measuring point fits into the served window; there are no timings.")
            return None
        return bench.model_copy(update={"reused": not self._here})

    def _measure(self, server: LiveServer, log: Path) -> Bench:
        started = time.monotonic()
        device = detect(self._spec.serving.device)
        at_load = memory.at_load(server, device)
        target = plan.Target(
            url=server.base_url.removesuffix("/v1"),
            model_name=server.model_name,
            tokenizer=self._model.path,
            trust_remote_code=self._spec.model.trust_remote_code,
        )
        points = self._fitting(server.max_model_len)
        results = time_points(
            points,
            target,
            server,
            environment=self._environment,
            folder=self._run.path / "bench" / self._arm,
            log=log,
            progress=self._progress,
        )
        for point, result in zip(points, results, strict=True):
            for doubt in doubts(point, result):
                self._say(f"{point.what}: {doubt}; see {log}")
        first = [("vllm", "bench", "serve", *plan.arguments(point, target)) for point in points[:1]]
        bench = Bench(
            engine_version=server.record.version,
            device=server.record.device,
            points=tuple(map(speed_point, points, results)),
            memory=at_load,
            command=next(iter(first), ()),
            seconds=round(time.monotonic() - started, 2),
        )
        if points:
            self._say(f"timed at {len(points)} points in {bench.seconds:.0f} s")
        return bench

    def _fitting(self, window: int) -> list[plan.Point]:
        points = plan.points(self._spec.speed)
        for point in points:
            if not plan.fits(point, window):
                self._say(
                    f"not timed with {point.what}: with {point.output_tokens} tokens of answer "
                    f"that exceeds the served window of {window}."
                )
        return [point for point in points if plan.fits(point, window)]

    def _say(self, text: str) -> None:
        self._progress.say(f"{self._arm}: {text}")


def _key(spec: RunSpec, conditions: object) -> str:
    """Return what tells timings apart.

    That is all that decides what is served, and all that decides how fast: besides the points the
    room for requests, the driver and the machine.
    """
    device = detect(spec.serving.device)
    speed = spec.speed.model_dump(mode="json", exclude={"enabled"})
    return digest_of([
        _VERSION, conditions, speed, spec.serving.memory_fraction, spec.evaluation.concurrency,
        device.driver, platform.node(),
    ])  # fmt: skip
