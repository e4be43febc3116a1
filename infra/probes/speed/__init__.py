"""How fast an arm is, and what memory it takes, on the server of its tasks.

plan             where to measure
memory_at_load   what the engine says, and what its processes hold
comparing        both arms side by side
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from infra.contracts.capability import Capability
from infra.contracts.errors import ProcessError
from infra.contracts.records import Bench
from infra.engines.endpoint import ServedEndpoint
from infra.engines.timing import Point, Worker
from infra.machine import cores
from infra.machine.beside import wait_alone
from infra.machine.device import Device
from infra.machine.preloaded import settle
from infra.probes.probe import Probe
from infra.probes.speed import memory_at_load as memory
from infra.probes.speed import plan
from infra.probes.speed.comparing import SpeedPair, in_different_runs, slower, summary
from infra.probes.subject import Subject
from infra.store.content import code_digest, digest_of, write_atomically
from infra.store.usage import used

__all__ = ["BenchProbe", "SpeedPair", "in_different_runs", "slower", "summary"]


class BenchProbe(Probe):
    """The timing of one arm.

    What is kept says nothing of when it was measured, so one arm's timing may be of another day
    than the other's. It is kept for this machine alone, for its driver and for all that decides
    speed; `Bench.reused` tells, and `in_different_runs` asks both.
    """

    field = "bench"
    missed = "not timed"
    needs = (frozenset([Capability.COMPLETIONS]),)
    _here = False
    _kept: Path | None = None
    """Of the timing, once it is known to be there."""

    _worker: Worker | None = None

    @property
    def present(self) -> bool:
        """Whether nothing has to be timed: it is not wanted, or an earlier run has timed it."""
        if not self._spec.speed.enabled:
            return True
        if self._kept is None:
            serving = self._subject
            command = serving.engine.command(serving.setup, serving.spec.evaluation.concurrency)
            if (kept := self._place(command)).is_file():
                self._kept = kept
        return self._kept is not None

    def found(self) -> Bench | None:
        """Return what is kept; None if nothing is, or if no point could be measured."""
        if not self._spec.speed.enabled or not self.present or self._kept is None:
            return None
        bench = Bench.model_validate_json(self._kept.read_text(encoding="utf-8"))
        if not bench.points:
            self._say("no measuring point fits into the served window; there are no timings.")
            return None
        return bench.model_copy(update={"reused": not self._here})

    def _place(self, command: Sequence[str]) -> Path:
        """Return where the timing of a server is kept that was started with a command."""
        key = _key(self._subject, command)
        kept = self._settings.cache / "benches" / f"{key[:32]}.json"
        used(kept)
        return kept

    @contextmanager
    def ahead(self, server: ServedEndpoint) -> Iterator[None]:
        """Start what times, which loads for ten seconds, where its cores are not the tasks'."""
        subject = self._subject
        if not _spares_cores(subject.setup.device) or not self.wanted:
            yield
            return
        started = subject.engine.ahead(
            subject.setup, server, folder=self._folder, log=self._log(self._tries + 1)
        )
        with ExitStack() as stack:
            # What fails here fails when it is timed as well, where it costs no score.
            with suppress(ProcessError, OSError):
                self._worker = stack.enter_context(started)
            try:
                yield
            finally:
                self._worker = None

    @property
    def _folder(self) -> Path:
        return self._run.path / "bench" / self._subject.name

    def _log(self, tries: int) -> Path:
        suffix = f"-{tries}" if tries > 1 else ""
        return self._run.log(f"bench-{self._subject.name}{suffix}")

    def _measure(self, server: ServedEndpoint) -> None:
        bench = self._timed(server, self._log(self._tries))
        self._require()
        # As it was started, which may be with other room than when it was looked for.
        kept = self._place(server.record.command)
        write_atomically(kept, bench.model_dump_json(indent=2))
        self._kept, self._here = kept, True

    def _timed(self, server: ServedEndpoint, log: Path) -> Bench:
        wait_alone(self._progress)
        settle(self._progress)
        started = time.monotonic()
        at_load = memory.at_load(server, self._subject.setup.device)
        points = self._fitting(server.window)
        timing = self._subject.engine.time(
            self._subject.setup,
            server,
            points,
            budget_seconds=self._spec.speed.budget_seconds,
            folder=self._folder,
            log=log,
            progress=self._progress,
            ahead=self._worker,
        )
        for doubt in timing.doubts:
            self._say(doubt)
        bench = Bench(
            engine_version=server.record.version,
            device=server.record.device,
            points=timing.points,
            memory=at_load,
            command=timing.command,
            seconds=round(time.monotonic() - started, 2),
        )
        if points:
            self._say(f"timed at {len(bench.points)} points in {bench.seconds:.0f} s")
        return bench

    def _fitting(self, window: int) -> list[Point]:
        points = plan.points(self._spec.speed)
        for point in points:
            if not plan.fits(point, window):
                self._say(
                    f"not timed with {point.what}: with {point.output_tokens} tokens of answer "
                    f"that exceeds the served window of {window}."
                )
        return [point for point in points if plan.fits(point, window)]


def _spares_cores(device: Device) -> bool:
    """Return whether something may load without slowing what is asked meanwhile."""
    return device.kind != "cpu" and cores.to_spare()


def _key(subject: Subject, command: Sequence[str]) -> str:
    """Return what tells timings apart.

    That is all that decides what is served, and all that decides how fast: besides the points the
    room that the engine has, the processors, the driver and the machine.

    Args:
        subject: What is timed.
        command: That serves it.
    """
    room = [
        [flag, value]
        for flag, value in zip(command, [*command[1:], ""], strict=True)
        if flag in subject.engine.room
    ]
    spec = subject.spec
    # Whether an objective is kept is looked up in what was timed.
    apart = {"enabled", "objective_ttft_ms", "objective_tpot_ms"}
    speed = spec.speed.model_dump(mode="json", exclude=apart)
    return digest_of([
        # How it is started and what its log says of memory lie beside the timing.
        code_digest(
            "probes/speed", f"engines/{subject.engine.name}", "engines/timing.py",
            "machine/device.py", "machine/beside.py", "machine/energy.py", "machine/nvml.py",
            "machine/nvml_query.py",
        ),
        subject.conditions, speed, room, spec.evaluation.concurrency,
        # A processor works for an accelerator too.
        cores.allowed(), cores.quota(), subject.setup.device.driver, platform.node(),
    ])  # fmt: skip
