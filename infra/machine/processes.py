"""Child processes that never outlive us: a clean environment, a log file, the whole tree ended.

Every child runs below `supervise.py`, which ends it when this process dies, however it
dies. When this process lives, leaving the `with` block ends the tree and checks that it is gone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from uuid import uuid4

import psutil

from infra import ENVIRONMENT
from infra.contracts.errors import ProcessError, ProcessesLeft, ProcessTimedOut
from infra.machine import beside, process_trees, temporary_folder
from infra.machine.leases import Lease
from infra.machine.log_lines import LineReader, tail
from infra.machine.process_trees import AFTER_GRACE_SECONDS, GRACE_SECONDS

__all__ = [
    "Child",
    "clean_environment",
    "describe_exit",
    "environment_of_a_run",
    "handed_over",
    "run",
    "start",
    "tail",
]

_POLL_SECONDS = 0.1
_SUPERVISOR = Path(__file__).with_name("supervise.py")

_KEPT = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "LANG", "LANGUAGE", "LC_*"),
    *("TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "CC", "CXX", "CPATH", "LIBRARY_PATH"),
    *("CUDA_*", "NVIDIA_*", "NCCL_*", "OMP_*", "KMP_*", "GOMP_*", "MKL_*", "OPENBLAS_*"),
    *("NVSHMEM_*", "GLOO_*", "UCX_*"),
    *("TORCH*", "PYTORCH_*", "TRITON_*", "MALLOC_*", "TOKENIZERS_PARALLELISM"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_MODULES_CACHE"),
    "DO_NOT_TRACK",
)
_OF_THE_LOADER = frozenset(["LD_LIBRARY_PATH", "LD_PRELOAD"])
"""Heard when a program begins and never again, so children get what this process began with."""

_OF_RUNS = ("ASSAY_", "PREFECT_")

_SECRET_WORDS = frozenset(
    ["TOKEN", "KEY", "APIKEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIALS", "AUTH"]
)


def clean_environment(
    extra: Mapping[str, str] = MappingProxyType({}),
    *,
    keep: Iterable[str] = (),
    also: Iterable[str] = (),
) -> dict[str, str]:
    """Return the environment for a child: what it needs to run, and no secret.

    A list of what is kept, not of what is dropped: nobody can list the names of all secrets, and
    a setting that is missing shows, while a token that leaked does not. `PYTHONPATH` is out,
    because it would mix this environment's packages into the child's.

    Variables are those of the time when this package was loaded: what is set later, whoever does
    so, reaches no child, and no key.

    Args:
        extra: Variables to set, whatever their name.
        keep: Further names to keep, with `*` as a wildcard (`UV_*`); secrets among them too.
        also: Further names to keep unless they are of secrets.
    """
    keep, no_secrets = tuple(keep), (*_KEPT, *also)
    kept = {
        name: value
        for name, value in _beginning().items()
        if any(fnmatchcase(name, pattern) for pattern in keep)
        or (
            any(fnmatchcase(name, pattern) for pattern in no_secrets)
            and _SECRET_WORDS.isdisjoint(name.upper().split("_"))
        )
    }
    return kept | dict(extra)


def environment_of_a_run() -> dict[str, str]:
    """Return the environment for a run of its own: as this one began, with its secrets.

    Where results are kept and which server hears of them is as it is now: whoever began this run
    may have started a server for it.
    """
    now = {name: value for name, value in os.environ.items() if name.startswith(_OF_RUNS)}
    return {k: v for k, v in _beginning().items() if not k.startswith(_OF_RUNS)} | now


def _beginning() -> dict[str, str]:
    """Return the variables of which children get some, before anything was loaded."""
    began = _began_with()
    loaded = {name: began[name] for name in _OF_THE_LOADER if name in began}
    return {k: v for k, v in ENVIRONMENT.items() if k not in _OF_THE_LOADER} | loaded


def _began_with() -> Mapping[str, str]:
    """Return the environment that this process was started with."""
    entries = Path("/proc/self/environ").read_bytes().decode(errors="surrogateescape").split("\0")
    return dict(entry.split("=", maxsplit=1) for entry in entries if "=" in entry)


def describe_exit(code: int) -> str:
    """Return an exit code in words: `exit code 3`, `killed by SIGKILL`."""
    number = -code if code < 0 else code - 128
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(number).name}"
    return f"exit code {code}"


@dataclass(frozen=True)
class Child:
    """A running child with everything below it."""

    log: Path
    """File with all it printed."""

    _supervisor: subprocess.Popen[bytes]
    _mark: str
    _grace_seconds: float
    _lease: Lease | None

    @property
    def mark(self) -> str:
        """What tells its processes; see `process_trees.MARK`."""
        return self._mark

    @property
    def pid(self) -> int:
        """Process id of the supervisor: the ancestor of the whole tree."""
        return self._supervisor.pid

    def poll(self) -> int | None:
        """Return the command's exit code (128 + n after signal n), or None while it runs."""
        return self._supervisor.poll()

    def wait(self, seconds: float) -> int | None:
        """Wait for the end at most so long, and return as `poll`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._supervisor.wait(seconds)
        return self.poll()

    def survivors(self) -> list[psutil.Process]:
        """Return the processes of the tree that live, wherever they hide."""
        return process_trees.find(self._mark, self.pid)

    def stop(self) -> None:
        """End the whole tree: TERM, KILL after the grace, at most 30 seconds in all.

        Raises:
            ProcessesLeft: Something survived SIGKILL, or a GPU holds memory for it.
        """
        pids = [process.pid for process in self.survivors()] if self._lease else []
        self._supervisor.terminate()
        if self.wait(self._grace_seconds + AFTER_GRACE_SECONDS) is None:
            self._supervisor.kill()
            self._supervisor.wait()
        process_trees.kill(self.survivors)  # finds some only if the supervisor itself was killed
        if self._supervisor.returncode < 0:
            temporary_folder.sweep()
        if self._lease:
            self._lease.ended(pids)


@contextlib.contextmanager
def start(
    command: Sequence[str | os.PathLike[str]],
    *,
    log: Path,
    env: Mapping[str, str],
    cwd: Path | None = None,
    grace_seconds: float | None = None,
    lease: Lease | None = None,
    descriptors: Sequence[int] = (),
) -> Iterator[Child]:
    """Start a child that lives as long as the `with` block, and no longer than this process.

    Args:
        command: Program and arguments; no secret in it, everybody on the machine can read it.
        log: File that receives all its output; overwritten, its folder is made.
        env: Its whole environment, see `clean_environment`.
        cwd: Its working folder; this process's if not given.
        grace_seconds: From SIGTERM to SIGKILL; `GRACE_SECONDS` if not given.
        lease: Accelerators for it, held until the last process of it is gone.
        descriptors: Of open files that it inherits under the same numbers.

    Raises:
        ProcessError: There is no such program.
        ProcessesLeft: Something survived the end. Added as a note if the block raised anyway.
        RunEnded: This is for a run that ends.
    """
    beside.require_going()
    words = [os.fspath(word) for word in command]
    if shutil.which(words[0], path=env.get("PATH")) is None:
        raise ProcessError(
            f"There is no program {words[0]}.",
            remedy="Install it, or correct the setting that names it.",
        )
    grace = GRACE_SECONDS if grace_seconds is None else grace_seconds
    mark = lease.record.mark if lease else uuid4().hex
    env = {**env, **(lease.environment if lease else {}), **process_trees.KEEPS_MARK}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-I", "-u", _SUPERVISOR, str(os.getpid()), str(grace), *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env | {process_trees.MARK: mark},
            cwd=cwd,
            start_new_session=True,  # Ctrl-C reaches us alone; we end the tree in order
            pass_fds=(*descriptors, *(lease.slots.descriptors if lease else ())),
        )
    child = Child(log, supervisor, mark, grace, lease)
    with _until_the_end(child, words), beside.member(supervisor.terminate):
        yield child


@contextlib.contextmanager
def handed_over(
    child: Child, command: Sequence[str], *, log: Path, lease: Lease | None
) -> Iterator[Child]:
    """Let a child that waits have accelerators, and end it with the `with` block.

    It was started without any. What makes it go on must be sent within the block, with the locks of
    the accelerators: then it holds them as long as it lives, as one that was started with them.

    Args:
        child: It runs, and computes nothing.
        command: What it will be, for people; no secret in it.
        log: File that receives its output from now on.
        lease: Accelerators for it.

    Raises:
        ProcessesLeft: As of `start`.
    """
    held = lease.beside(lease.record.what, mark=child.mark) if lease else contextlib.nullcontext()
    with held as own:
        taken = replace(child, log=log, _lease=own)
        with _until_the_end(taken, command):
            yield taken


@contextlib.contextmanager
def _until_the_end(child: Child, command: Sequence[str]) -> Iterator[None]:
    """Write down that it holds its accelerators, and end it with the block."""
    try:
        if child._lease:
            child._lease.begun(child.pid, command, child.log)
        yield
    except BaseException as error:
        try:
            child.stop()
        except ProcessesLeft as left:
            error.add_note(str(left))
        raise
    child.stop()


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    log: Path,
    env: Mapping[str, str],
    on_line: Callable[[str], None] = lambda line: None,
    timeout_seconds: float | None = None,
    cwd: Path | None = None,
    lease: Lease | None = None,
    grace_seconds: float | None = None,
) -> int:
    """Run a command to its end and return its exit code (128 + n after signal n).

    Nothing of its tree is left when this returns or raises. What it printed is in `log`.

    Args:
        command: Program and arguments; no secret in it.
        log: File that receives all its output; overwritten.
        env: Its whole environment, see `clean_environment`.
        on_line: Hears each line as it comes, without colours; of a progress bar one a second.
        timeout_seconds: How long it may take.
        cwd: Its working folder; this process's if not given.
        lease: Accelerators for it.
        grace_seconds: As of `start`.

    Raises:
        ProcessError: There is no such program.
        ProcessTimedOut: It took too long.
    """
    deadline = float("inf") if timeout_seconds is None else time.monotonic() + timeout_seconds
    reader = LineReader()
    started = start(command, log=log, env=env, cwd=cwd, lease=lease, grace_seconds=grace_seconds)
    with started as child, log.open("rb") as output:
        while (code := child.wait(_POLL_SECONDS)) is None:
            for line in reader.feed(output.read()):
                on_line(line)
            if time.monotonic() > deadline:
                name = Path(command[0]).name
                raise ProcessTimedOut(
                    f"{name} did not finish within {timeout_seconds:g} seconds; it was ended.\n"
                    f"Its last lines ({log}):\n{tail(log)}",
                    remedy="Look at its log for what it waited for, or allow it more time.",
                )
        for line in reader.feed(output.read(), final=True):
            on_line(line)
    return code
