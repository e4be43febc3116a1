from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from infra.machine import temporary_folder
from infra.machine.processes import run, start
from infra.machine.temporary_folder import own, sweep
from tests.process_marks import Marked

ROOT = Path(__file__).parents[3]

ENGINE = (
    "import os, signal, socket, sys, tempfile, time, uuid\n"
    "if 'stubborn' in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "folder = tempfile.gettempdir()\n"
    "socket.socket(socket.AF_UNIX).bind(f'{folder}/{uuid.uuid4()}')\n"
    "os.mkdir(f'{folder}/pymp-1')\n"
    "open(f'{folder}/pymp-1/listener', 'w').close()\n"
    "print(folder, flush=True)\n"
    "if 'ends' not in sys.argv: time.sleep(600)\n"
)
"""Leaves in the temporary folder what engines leave, and says where."""

DRIVER = (
    "import os, sys, time\n"
    "from pathlib import Path\n"
    "from infra.machine.processes import start\n"
    "with start(sys.argv[2:], log=Path(sys.argv[1]), env=dict(os.environ), grace_seconds=0.2):\n"
    "    time.sleep(600)\n"
)


def engine(*manners: str) -> list[str]:
    return [sys.executable, "-I", "-c", ENGINE, *manners]


class Bench:
    """A temporary folder that engines are told of, and what they say of theirs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "t"
        self.root.mkdir()
        self.log = folder / "engine.log"
        self.marked = Marked()
        self.env = self.marked.env | {"TMPDIR": str(self.root)}

    def said(self) -> Path:
        """Wait for an engine, and return the folder that it uses."""
        deadline = time.monotonic() + 30
        while not self.log.exists() or not self.log.read_text().endswith("\n"):
            assert time.monotonic() < deadline, "no engine came"
            time.sleep(0.02)
        return Path(self.log.read_text().strip())

    @contextmanager
    def driver(self, *manners: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a driver of an engine, which is killed at the end of the block at last."""
        command = [sys.executable, "-c", DRIVER, self.log, *engine(*manners)]
        with subprocess.Popen(command, cwd=ROOT, env=self.env) as driver:
            try:
                yield driver
            finally:
                driver.kill()

    def supervisor(self) -> psutil.Process:
        (found,) = [line for line in self.marked.living() if "supervise.py" in line]
        return psutil.Process(int(found.split()[0]))


@pytest.fixture
def bench() -> Iterator[Bench]:
    # Of the length that temporary folders have: those of tests are longer.
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        bench = Bench(Path(folder))
        yield bench
        assert bench.marked.wait_gone() == []


@pytest.fixture
def swept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, where this process looks for what was left too."""
    monkeypatch.setattr(tempfile, "tempdir", str(bench.root))
    return bench.root


def named(folder: Path, name: str = "", *, mode: int = 0o700) -> Path:
    """A folder with something in it, called as ours are."""
    made = folder / (name or f"{temporary_folder._prefix()}{uuid4().hex[:8]}")
    made.mkdir()
    (made / "precious").write_text("x")
    made.chmod(mode)
    return made


# --- of whoever is started ------------------------------------------------------------------------


def test_each_has_its_own_which_nobody_else_may_look_into(bench: Bench) -> None:
    second = bench.folder / "second.log"
    with (
        start(engine(), log=bench.log, env=bench.env),
        start(engine(), log=second, env=bench.env),
    ):
        first = bench.said()
        assert first.parent == bench.root
        assert first.stat().st_mode & 0o777 == 0o700
        assert sorted(path.is_socket() for path in first.iterdir()) == [False, True]
        bench.log = second
        assert bench.said().parent == bench.root
        assert bench.said() != first
    assert list(bench.root.iterdir()) == []


def test_what_ends_by_itself_leaves_nothing_and_its_exit_code_is_its_own(bench: Bench) -> None:
    assert run(engine("ends"), log=bench.log, env=bench.env) == 0
    assert run(["bash", "-c", "exit 3"], log=bench.log, env=bench.env) == 3
    assert run(["bash", "-c", "kill -9 $$"], log=bench.log, env=bench.env) == 137
    script = bench.folder / "script"
    script.write_text("#!/nowhere/interpreter\n")
    script.chmod(0o755)
    assert run([script], log=bench.log, env=bench.env) == 127
    assert list(bench.root.iterdir()) == []


def test_an_engine_that_is_killed_leaves_nothing(bench: Bench) -> None:
    with start(engine(), log=bench.log, env=bench.env) as child:
        used = bench.said()
        (killed,) = psutil.Process(child.pid).children()
        killed.kill()
        assert child.wait(30) == 137
        assert not used.exists()


@pytest.mark.parametrize("manner", ["polite", "stubborn"])
def test_a_driver_that_is_killed_leaves_nothing(bench: Bench, manner: str) -> None:
    with bench.driver(manner) as driver:
        assert bench.said().parent == bench.root
        driver.kill()
    assert bench.marked.wait_gone() == []
    assert list(bench.root.iterdir()) == []


def test_who_comes_next_removes_what_a_killed_supervisor_left_once_nobody_uses_it(
    bench: Bench, swept: Path
) -> None:
    with bench.driver("stubborn") as driver:
        used = bench.said()
        supervisor = bench.supervisor()
        driver.send_signal(signal.SIGSTOP)  # so that neither sees the other one die
        supervisor.suspend()
        driver.kill()
        supervisor.kill()
    (orphan,) = bench.marked.living()
    sweep()
    assert len(list(used.iterdir())) == 2, "the engine lives"
    os.kill(int(orphan.split()[0]), signal.SIGKILL)
    assert bench.marked.wait_gone() == []
    assert list(swept.iterdir()) == [used]
    sweep()
    assert list(swept.iterdir()) == []


def test_a_driver_removes_what_its_own_killed_supervisor_left(bench: Bench, swept: Path) -> None:
    with start(engine("stubborn"), log=bench.log, env=bench.env) as child:
        assert bench.said().parent == swept
        os.kill(child.pid, signal.SIGKILL)
    assert list(swept.iterdir()) == []


def test_many_begin_and_end_while_others_sweep(bench: Bench, swept: Path) -> None:
    """A folder that is new is not locked yet."""
    sweeping = (
        "import tempfile, sys; sys.path.insert(0, sys.argv[1])\n"
        "from temporary_folder import sweep\n"
        "print(flush=True)\n"
        "while True: sweep()\n"
    )
    using = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "import temporary_folder\n"
        "for _ in range(300):\n"
        "    with temporary_folder.own():\n"
        "        open(os.environ['TMPDIR'] + '/used', 'x').close()\n"
        "        assert 'assay-' in os.environ['TMPDIR']\n"
    )
    room = str(ROOT / "infra" / "machine")
    begin = [sys.executable, "-I", "-c"]
    sweeper = subprocess.Popen([*begin, sweeping, room], env=bench.env, stdout=subprocess.PIPE)
    with sweeper:
        try:
            assert sweeper.stdout and sweeper.stdout.readline() == b"\n"
            users = [subprocess.Popen([*begin, using, room], env=bench.env) for _ in range(2)]
            assert [user.wait(60) for user in users] == [0, 0]
        finally:
            sweeper.kill()
    sweep()
    assert list(swept.iterdir()) == []


def test_one_that_is_swept_before_it_is_locked_is_made_anew(
    swept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, gone = fcntl.flock, []

    def late(descriptor: int, operation: int) -> None:
        if not gone:
            (path,) = swept.iterdir()
            path.rmdir()
            gone.append(path)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    monkeypatch.setenv("TMPDIR", str(swept))  # and as it was, afterwards
    with own():
        assert list(swept.iterdir()) == [Path(os.environ["TMPDIR"])] != gone
    assert list(swept.iterdir()) == []


# --- where it lies --------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [46, 47, 90])
def test_a_socket_has_room_however_long_the_temporary_folder(bench: Bench, length: int) -> None:
    root = bench.folder / ("x" * (length - len(str(bench.folder)) - 1))
    root.mkdir()
    with start(engine(), log=bench.log, env=bench.env | {"TMPDIR": str(root)}):
        used = bench.said()
        assert used.parent == (root if length == 46 else Path("/tmp"))
        with closing(socket.socket(socket.AF_UNIX)) as one:
            one.bind(f"{used}/{uuid4()}")
    assert not used.exists()
    assert list(root.iterdir()) == []


ODD: dict[str, Callable[[Path], str]] = {
    "none": lambda folder: str(folder / "absent"),
    "empty": lambda folder: "",
    "a file": lambda folder: str(folder / "file"),
    "not one's own": lambda folder: "/proc",
}


@pytest.mark.parametrize("what", ODD)
def test_where_none_can_lie_it_lies_where_programs_look_next(bench: Bench, what: str) -> None:
    (bench.folder / "file").write_text("x")
    env = bench.env | {"TMPDIR": ODD[what](bench.folder)}
    with start(engine(), log=bench.log, env=env):
        used = bench.said()
        assert used.parent == Path("/tmp")
        assert used.name.startswith("assay-")
    assert not used.exists()
    assert (bench.folder / "file").read_text() == "x"


@pytest.mark.parametrize("given", [".", "t", "./t/../t"])
def test_a_relative_one_is_that_of_the_working_folder(bench: Bench, given: str) -> None:
    env = bench.env | {"TMPDIR": given}
    with start(engine(), log=bench.log, env=env, cwd=bench.folder):
        assert bench.said().parent == (bench.folder if given == "." else bench.root)
    assert not list(bench.folder.glob("**/assay-*"))


def test_a_link_to_the_temporary_folder_stays(bench: Bench) -> None:
    link = bench.folder / "link"
    link.symlink_to(bench.root)
    (bench.root / "precious").write_text("x")
    with start(engine(), log=bench.log, env=bench.env | {"TMPDIR": str(link)}):
        assert bench.said().parent == link
    assert link.is_symlink()
    assert [path.name for path in bench.root.iterdir()] == ["precious"]


# --- what is not ours -----------------------------------------------------------------------------


def test_other_names_other_machines_and_other_modes_are_left(swept: Path) -> None:
    ours = named(swept)
    left = [
        named(swept, "assay-leases"),
        named(swept, f"{ours.name}0"),
        named(swept, f"0{ours.name}"),
        named(swept, f"{ours.name[:-1]}A"),
        named(swept, "assay-00000000-abcdefgh"),
        named(swept, mode=0o755),
    ]
    file = swept / f"{ours.name[:-1]}_"
    file.write_text("x")
    sweep()
    assert not ours.exists()
    assert file.read_text() == "x"
    assert all((folder / "precious").read_text() == "x" for folder in left)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_another_users_is_left(swept: Path) -> None:
    other = named(swept)
    os.chown(other, 65534, -1)
    sweep()
    assert (other / "precious").exists()


def test_links_are_not_followed(swept: Path, tmp_path: Path) -> None:
    users = named(tmp_path, "users")
    ours = named(swept)
    (ours / "link").symlink_to(users)
    link = swept / f"{ours.name[:-1]}_"
    link.symlink_to(users)
    sweep()
    assert list(swept.iterdir()) == [link]
    assert (users / "precious").exists()


def test_what_is_put_in_its_place_is_left(bench: Bench, tmp_path: Path) -> None:
    """Nor does that change how it ends."""
    users = named(tmp_path, "users")
    swap = f'rmdir "$TMPDIR" && ln -s {users} "$TMPDIR"; exit 3'
    assert run(["bash", "-c", swap], log=bench.log, env=bench.env) == 3
    (link,) = bench.root.iterdir()
    assert link.is_symlink()
    assert (users / "precious").exists()


@pytest.mark.parametrize("with_root", [False, True])
def test_one_that_vanished_meanwhile_is_no_error(bench: Bench, with_root: bool) -> None:
    remove = f'rmdir "$TMPDIR" && {f"rmdir {bench.root}" if with_root else ":"} && exit 3'
    assert run(["bash", "-c", remove], log=bench.log, env=bench.env) == 3
    assert bench.log.read_text() == ""


def test_what_cannot_be_removed_keeps_nothing_from_ending(bench: Bench, swept: Path) -> None:
    """It lies too deep to be gone through, with a process beside that does not end by itself."""
    deep = (
        "import os, subprocess\n"
        "os.chdir(os.environ['TMPDIR'])\n"
        "for _ in range(1500): os.mkdir('d'); os.chdir('d')\n"
        "subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "os._exit(3)\n"
    )
    command = [sys.executable, "-I", "-c", deep]
    assert run(command, log=bench.log, env=bench.env) == 3
    assert bench.log.read_text() == ""
    (left,) = swept.iterdir()
    sweep()
    assert left.exists()
    subprocess.run(["rm", "-r", left], check=True)
