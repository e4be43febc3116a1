"""Run one command so that nothing of it outlives the process that wanted it.

    python -I -u supervise.py PARENT_PID GRACE_SECONDS COMMAND [ARGUMENT …]

Standard library only, Linux only. It stands between the driver and the command because no driver
can clean up after its own SIGKILL: the supervisor waits on the driver (a pidfd, which no recycled
process id can fool) and on the command. When either ends, or when the supervisor has to stop,
the whole tree goes: TERM to the command, after the grace KILL to every descendant. Being a child
subreaper it stays the ancestor of those that called setsid() and lost their parent. The tree has a
temporary folder of its own, which goes last.

Exits with the command's exit code, 128 + n if signal n ended it, 127 if it could not be started.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # with -I nothing of it is found otherwise
import temporary_folder

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
KILL_SECONDS = 5.0
"""How long SIGKILL is repeated; what it leaves hangs in the kernel."""
TRACKER_SECONDS = 1.0
"""For Python's resource trackers, to remove shared memory and semaphores of whoever was killed."""
TRACKER = b"multiprocessing.resource_tracker"
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Tree:
    """The command and everything it started."""

    def __init__(self, command: list[str]) -> None:
        # It restores the signals that Python ignores, which stay ignored after exec otherwise.
        self.popen = subprocess.Popen(  # kept: one that is dropped warns of its living process
            command,
            close_fds=False,
            preexec_fn=end_with_parent,  # noqa: PLW1509 -- there are no threads
        )
        self.main = self.popen.pid
        self.exit_code: int | None = None

    def reap(self) -> None:
        """Collect whoever ended, orphans too; remember the command's own exit code."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self.main:
                    code = os.waitstatus_to_exitcode(ended[1])
                    self.exit_code = code if code >= 0 else 128 - code

    def members(self) -> set[int]:
        """Every living descendant, in whatever session or group it is."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                # The name in parentheses may hold anything; state and parent follow it.
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                # A main thread that has ended is a zombie, and parent, until the others have too.
                if fields[0] not in b"ZX" or int(fields[17]) > 1:
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
        found: set[int] = set()
        border = [os.getpid()]
        while border:
            border = [child for pid in border for child in children.get(pid, ())]
            found.update(border)
        return found

    def stop(self, grace: float) -> None:
        """TERM to the command, then to those it left behind, after the grace KILL to all."""
        terminated: set[int] = set()
        deadline = time.monotonic() + grace
        while (members := self.members()) and time.monotonic() < deadline:
            # The command comes first: an engine that gets TERM ends its own workers in order.
            for pid in {self.main} & members or members:
                if pid not in terminated:
                    send(pid, signal.SIGTERM)
                    terminated.add(pid)
            time.sleep(0.05)
            self.reap()
        spared = time.monotonic() + TRACKER_SECONDS
        deadline = time.monotonic() + KILL_SECONDS
        while (members := self.members()) and time.monotonic() < deadline:
            for pid in members:
                if time.monotonic() > spared or not tracks(pid):
                    send(pid, signal.SIGKILL)
            time.sleep(0.02)
            self.reap()
        self.reap()


def end_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when its parent dies.

    Of use only if the driver is killed too: it asks the command to end its own workers, which a
    SIGKILL would leave behind. Those who do not listen are swept by the next run.
    """
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def tracks(pid: int) -> bool:
    """Tell whether a process removes what others leave in `/dev/shm`, and then ends by itself."""
    with contextlib.suppress(OSError):
        return TRACKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main() -> int:
    """Start the command, wait for a reason to stop, stop."""
    parent, grace, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    stops: list[int] = []
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, _: stops.append(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        driver = os.pidfd_open(parent)
    except ProcessLookupError:
        return 1
    if os.getppid() != parent:  # the driver died before the pidfd was open
        return 1
    with temporary_folder.own():
        try:
            tree = Tree(command)
        except OSError as error:
            print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)
            return 127
        poll = select.poll()
        poll.register(driver, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while tree.exit_code is None and not stops:
            ready = {fd for fd, _ in poll.poll()}
            if driver in ready:
                break
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
            tree.reap()
        tree.stop(grace)
    return 137 if tree.exit_code is None else tree.exit_code


if __name__ == "__main__":
    sys.exit(main())
