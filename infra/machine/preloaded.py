"""Programs that load what they need before anybody knows what they shall do.

Importing an engine takes ten seconds, in which nothing is computed. A run that makes a checkpoint,
or asks an arm, has the next engine imported meanwhile: by a process without an accelerator, which
waits for a message. With it come the locks of its accelerators, which it holds from then on.

Whoever wants a server takes the process that was started for just its command and variables, and
starts one as ever where there is none. What was started and not taken ends with the run.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from infra.contracts.errors import AssayError, ProcessesLeft
from infra.contracts.progress import Progress
from infra.machine.leases import Lease
from infra.machine.processes import Child, handed_over, start

_SAID_BYTES = 64
"""A program says for how many seconds it has loaded, when it waits."""

_HOLD = b"hold"

_LOADING_SECONDS = 120.0
"""As long as whoever must not be disturbed waits for one that loads."""
_LOOK_SECONDS = 1.0
_WAITING_SECONDS = 60.0
"""As long as a run that waits for an accelerator keeps what it loaded: many may wait for it."""


@dataclass
class Preloaded:
    """A process that loads, or waits."""

    child: Child
    _channel: socket.socket
    _started: float
    _seconds: float | None = None
    _gone: bool = False

    def settled(self, seconds: float = 0) -> bool:
        """Wait at most so long; tell whether it has loaded, or has ended."""
        if not self._gone and self._seconds is None:
            self._gone = self.child.poll() is not None
            if not self._gone and _readable(self._channel, seconds):
                try:
                    self._seconds = float(self._channel.recv(_SAID_BYTES))
                except (OSError, ValueError):  # nothing: it has closed its end
                    self._gone = True
        return self._gone or self._seconds is not None

    @property
    def waits(self) -> bool:
        """Whether it has loaded, and lives."""
        return self.lives and self._seconds is not None

    @property
    def lives(self) -> bool:
        """Whether it loads or waits."""
        self.settled()
        return not self._gone and self.child.poll() is None

    @property
    def seconds(self) -> float:
        """How long it loaded, or has loaded until now."""
        self.settled()
        return time.monotonic() - self._started if self._seconds is None else self._seconds

    @contextlib.contextmanager
    def go_on(
        self,
        command: Sequence[str],
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        lease: Lease | None,
    ) -> Iterator[Child]:
        """Have it do what it was loaded for, while the block runs.

        Args:
            command: What does the same, for people; no secret in it.
            arguments: What it is told.
            env: Variables that it gets besides; secrets are safe here.
            log: File that receives its output from now on; overwritten, its folder is made.
            lease: Accelerators for it, held until the last process of it is gone.

        Raises:
            OSError: It is gone. It was told nothing.
            ProcessesLeft: Something survived the end.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        told = {
            "arguments": [*arguments],
            "environment": {**env, **(lease.environment if lease else {})},
            "log": str(log.absolute()),
        }
        locks = lease.slots.descriptors if lease else ()
        with handed_over(self.child, command, log=log, lease=lease) as child:
            # The record of its accelerators is written before it hears of them.
            socket.send_fds(self._channel, [json.dumps(told).encode()], [*locks])
            # Its supervisor has that end of the channel too: what nobody reads there holds them
            # until it is gone, also for those of the tree that inherited none.
            socket.send_fds(self._channel, [_HOLD], [*locks])
            yield child


def _readable(channel: socket.socket, seconds: float) -> bool:
    poll = select.poll()  # `select` refuses numbers from 1024 on
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Preloading:
    """What a run has loaded for its next server: one process at a time."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._wanted: tuple[list[str], dict[str, str]] | None = None
        self._there: Preloaded | None = None

    def __enter__(self) -> Self:
        self._token = _preloading.set(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        _preloading.reset(self._token)
        try:
            self.drop()
        except ProcessesLeft as left:
            if error is None:
                raise
            error.add_note(str(left))

    def begin(self, command: Sequence[str], *, env: Mapping[str, str], log: Path) -> None:
        """Start a process that loads, unless the same is there; another one ends.

        Args:
            command: Program and arguments; the number of its end of the channel comes after them.
            env: Its whole environment, without what it is told later.
            log: File that receives what it prints until then.
        """
        wanted = [*command], {**env}
        if self._there and self._wanted == wanted and self._there.lives:
            return
        self.drop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stack.enter_context(ours)
        number = theirs.fileno()
        # What fails here costs nothing: the server is started as ever.
        with theirs, contextlib.suppress(AssayError, OSError):
            started = time.monotonic()
            child = self._stack.enter_context(
                start([*command, str(number)], log=log, env=env, descriptors=[number])
            )
            self._there, self._wanted = Preloaded(child, ours, started), wanted

    @contextlib.contextmanager
    def taken(
        self, command: Sequence[str], *, env: Mapping[str, str]
    ) -> Iterator[Preloaded | None]:
        """Return what was started for just this, if it lives.

        It is taken once, and ends with the block.
        """
        there = self._there
        wanted = [*command], {**env}
        if there is None or self._wanted != wanted or not there.lives:
            yield None
            return
        self._there = None
        with self._stack.pop_all():
            yield there

    def settle(self, progress: Progress) -> None:
        """Wait until nothing loads: what is timed shall not be disturbed by it.

        Args:
            progress: Hears for how many seconds.
        """
        while self._there and not self._there.settled(_LOOK_SECONDS):
            seconds = int(self._there.seconds)
            if seconds > _LOADING_SECONDS:
                self.drop()
                return
            progress.update("waiting for an engine that loads", seconds, None, "s")

    def drop(self) -> None:
        """End what was started and not taken.

        Raises:
            ProcessesLeft: Something survived the end.
        """
        self._there = None
        self._stack.close()


_preloading: ContextVar[Preloading | None] = ContextVar("preloading", default=None)


def here() -> Preloading | None:
    """Return what this run has loaded for its next server; none where nothing may load ahead."""
    return _preloading.get()


def let_go(seconds: float) -> None:
    """End what this run has loaded if it waits long for an accelerator: loading again costs less.

    Args:
        seconds: For how long it has waited.
    """
    if seconds > _WAITING_SECONDS and (found := here()) is not None:
        found.drop()


def settle(progress: Progress) -> None:
    """Wait until this run loads nothing beside what it does."""
    if found := here():
        found.settle(progress)


@contextlib.contextmanager
def begun(
    loads: Sequence[str],
    command: Sequence[str],
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    secrets: Collection[str],
    log: Path,
    lease: Lease | None,
    on_wait: Callable[[], None],
) -> Iterator[tuple[Child, float]]:
    """Run a command while the block runs: by what was loaded for it, or from its beginning.

    Args:
        loads: Program and arguments that load for it; see `Preloading.begin`.
        command: Program and arguments; no secret in it.
        arguments: Those that what was loaded is told.
        env: Its whole environment.
        secrets: Variables of it that nothing is loaded with.
        log: File that receives its output.
        lease: Accelerators for it.
        on_wait: Called every second while it still loads.

    Yields:
        The process, and for how many seconds it has loaded before.

    Raises:
        ProcessError: As of `processes.start`.
    """
    with contextlib.ExitStack() as stack:
        found = here()
        # All else stays as it is there: its temporary folder is its own.
        told = {name: env[name] for name in secrets}
        there = found and stack.enter_context(
            found.taken(loads, env={k: v for k, v in env.items() if k not in told})
        )
        child, seconds = None, 0.0
        # Told now, one that comes to nothing would take the server with it.
        while there and not there.settled(_LOOK_SECONDS) and there.seconds < _LOADING_SECONDS:
            on_wait()
        if there and there.waits:
            seconds = there.seconds
            # It may have ended just now.
            with contextlib.suppress(OSError):
                child = stack.enter_context(
                    there.go_on(command, arguments, env=told, log=log, lease=lease)
                )
        if child is None:
            child, seconds = stack.enter_context(start(command, log=log, env=env, lease=lease)), 0.0
        yield child, seconds
