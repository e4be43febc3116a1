from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from infra import ENVIRONMENT
from infra.contracts.errors import ProcessError, ProcessTimedOut
from infra.machine.processes import (
    Child,
    clean_environment,
    describe_exit,
    environment_of_a_run,
    run,
    start,
)
from tests.process_marks import Marked, lives

ROOT = Path(__file__).parents[3]

STUBBORN = (
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "if sys.argv[1:]: subprocess.run(['setsid', '--fork', sys.executable, *sys.argv[1:]])\n"
    "print('up', flush=True)\n"
    "time.sleep(600)\n"
)
"""Ignores SIGTERM and starts its arguments as a daemon: own session, parent gone."""


@pytest.fixture
def marked() -> Marked:
    return Marked()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "child.log"


def stubborn_family() -> list[str]:
    return [sys.executable, "-I", "-c", STUBBORN, "-I", "-c", STUBBORN]


def wait_for(log: Path, text: str, times: int = 1) -> None:
    deadline = time.monotonic() + 30
    while not log.exists() or log.read_text().count(text) < times:
        assert time.monotonic() < deadline, f"{text!r} never came"
        time.sleep(0.02)


# --- run -----------------------------------------------------------------------------------


def test_run_returns_the_exit_code_and_keeps_the_output(marked: Marked, log: Path) -> None:
    lines: list[str] = []
    code = run(
        ["bash", "-c", "echo out; echo -e '\\e[31mred\\e[0m' >&2; printf tail; exit 3"],
        log=log, env=marked.env, on_line=lines.append,
    )  # fmt: skip
    assert code == 3
    assert lines == ["out", "red", "tail"]
    assert log.read_bytes() == b"out\n\x1b[31mred\x1b[0m\ntail"
    assert marked.living() == []


def test_run_reports_death_by_signal(marked: Marked, log: Path) -> None:
    code = run(["bash", "-c", "kill -9 $$"], log=log, env=marked.env)
    assert (code, describe_exit(code)) == (137, "killed by SIGKILL")
    assert describe_exit(3) == "exit code 3"


def test_run_overwrites_the_log_of_an_earlier_attempt(marked: Marked, log: Path) -> None:
    run(["echo", "a much longer first attempt"], log=log, env=marked.env)
    run(["echo", "second"], log=log, env=marked.env)
    assert log.read_text() == "second\n"


def test_run_passes_environment_and_folder_and_nothing_to_read(
    marked: Marked, log: Path, tmp_path: Path
) -> None:
    run(["bash", "-c", "pwd; env | grep SETTING; cat"], log=log,
        env=marked.env | {"SETTING": "1"}, cwd=tmp_path)  # fmt: skip
    assert log.read_text() == f"{tmp_path}\nSETTING=1\n"


def test_run_ends_what_the_command_left_behind(marked: Marked, log: Path) -> None:
    code = run(["bash", "-c", "setsid sleep 600 & setsid setsid sleep 600 & exit 0"],
               log=log, env=marked.env)  # fmt: skip
    assert code == 0
    assert marked.living() == []


def test_run_out_of_time_names_the_log_and_leaves_nothing(marked: Marked, log: Path) -> None:
    with pytest.raises(ProcessTimedOut, match="working on it") as caught:
        run(["bash", "-c", "echo working on it; setsid sleep 600 & sleep 600"],
            log=log, env=marked.env, timeout_seconds=0.5)  # fmt: skip
    assert str(log) in str(caught.value)
    assert marked.living() == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_run_leaves_nothing_when_the_listener_raises(
    marked: Marked, log: Path, interruption: type[BaseException]
) -> None:
    def refuse(line: str) -> None:
        raise interruption(line)

    with pytest.raises(interruption):
        run(["bash", "-c", "setsid sleep 600 & echo hello; sleep 600"],
            log=log, env=marked.env, on_line=refuse)  # fmt: skip
    assert marked.living() == []


@pytest.mark.parametrize(("grace", "finishes"), [(0.2, False), (5.0, True)])
def test_run_gives_what_it_ends_as_long_as_is_said(
    marked: Marked, log: Path, grace: float, finishes: bool
) -> None:
    def refuse(line: str) -> None:
        raise KeyboardInterrupt

    finishing = (
        "trap 'sleep 0.6; echo finished; exit' TERM; echo ready; while :; do sleep 0.05; done"
    )
    with pytest.raises(KeyboardInterrupt):
        run(["bash", "-c", finishing], log=log, env=marked.env, on_line=refuse, grace_seconds=grace)
    assert ("finished" in log.read_text()) is finishes


def test_run_from_a_thread_does_not_depend_on_that_thread(marked: Marked, log: Path) -> None:
    children: list[Child] = []
    context = start(["sleep", "600"], log=log, env=marked.env)
    thread = threading.Thread(target=lambda: children.append(context.__enter__()))
    thread.start()
    thread.join()
    try:
        assert children[0].wait(0.5) is None  # a parent-death signal would have ended it by now
    finally:
        context.__exit__(None, None, None)
    assert marked.living() == []


def test_no_such_program(marked: Marked, log: Path) -> None:
    with pytest.raises(ProcessError, match="no program /nowhere/python"):
        run(["/nowhere/python"], log=log, env=marked.env)


def test_a_program_that_cannot_be_run_says_so_in_the_log(
    marked: Marked, log: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text("#!/nowhere/interpreter\n")
    script.chmod(0o755)
    assert run([script], log=log, env=marked.env) == 127
    assert "cannot start" in log.read_text()


# --- start: who lives how long --------------------------------------------------------------


def test_a_stubborn_family_is_killed_after_the_grace(marked: Marked, log: Path) -> None:
    with start(stubborn_family(), log=log, env=marked.env, grace_seconds=0.2) as child:
        wait_for(log, "up", 2)
        assert child.poll() is None
        assert len(marked.living()) == 3  # supervisor, child, grandchild
    assert marked.living() == []


def test_a_polite_child_may_finish_its_work(marked: Marked, log: Path) -> None:
    polite = "trap 'sleep 0.3; echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    with start(["bash", "-c", polite], log=log, env=marked.env) as child:
        wait_for(log, "up")
    assert child.poll() == 0
    assert log.read_text() == "up\nsaved\n"


def test_the_tree_ends_even_if_its_supervisor_was_killed(marked: Marked, log: Path) -> None:
    with start(stubborn_family(), log=log, env=marked.env, grace_seconds=0.2) as child:
        wait_for(log, "up", 2)
        os.kill(child.pid, signal.SIGKILL)
        assert len(marked.living()) >= 2
    assert marked.living() == []


def test_a_process_that_forgot_its_environment_is_found_by_its_session(
    marked: Marked, log: Path
) -> None:
    forgetful = ["bash", "-c", "env -i sleep 600 & echo $!; exec sleep 600"]
    with start(forgetful, log=log, env=marked.env) as child:
        wait_for(log, "\n")
        sleeper = psutil.Process(int(log.read_text()))
        while sleeper.environ():  # until it became `sleep`
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
    assert not lives(sleeper)
    assert marked.living() == []


TRACKED = (
    "import signal, sys, time\n"
    "from multiprocessing import get_context\n"
    "from multiprocessing.shared_memory import SharedMemory\n"
    "def work(name):\n"
    "    memory, semaphore = SharedMemory(name), get_context('spawn').Semaphore()\n"
    "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    print('/dev/shm/' + name, '/dev/shm/sem.' + semaphore._semlock.name[1:], flush=True)\n"
    "    time.sleep(600)\n"
    "if __name__ == '__main__':\n"
    "    memory = SharedMemory(create=True, size=4096)\n"
    "    if 'stubborn' in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    get_context('spawn').Process(target=work, args=(memory.name,)).start()\n"
    "    time.sleep(600)\n"
)
"""Has shared memory and a semaphore, as engines do, that Python's resource tracker knows."""


@pytest.mark.parametrize("manner", ["polite", "stubborn"])
def test_who_is_killed_leaves_no_shared_memory(
    marked: Marked, log: Path, tmp_path: Path, manner: str
) -> None:
    script = tmp_path / "tracked.py"
    script.write_text(TRACKED)
    command = [sys.executable, "-I", script, manner]
    with start(command, log=log, env=marked.env, grace_seconds=0.5):
        wait_for(log, "\n")
        memory, semaphore = map(Path, log.read_text().split())
        assert memory.exists() and semaphore.exists()
    assert not memory.exists() and not semaphore.exists()
    assert marked.living() == []


def test_what_a_command_started_may_end_in_order_though_its_main_thread_has(
    marked: Marked, log: Path
) -> None:
    """The threads of an engine take a while to end, and until then its children are still its."""
    polite = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), sys.exit('saved')))\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    threaded = (
        "import ctypes, subprocess, sys, threading, time\n"
        f"subprocess.Popen([sys.executable, '-I', '-c', {polite!r}])\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    with start([sys.executable, "-I", "-c", threaded], log=log, env=marked.env) as child:
        wait_for(log, "up")
        (main,) = psutil.Process(child.pid).children()
        while main.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
    assert log.read_text() == "up\nsaved\n"
    assert marked.living() == []


def test_a_stopped_supervisor_is_not_waited_for_for_ever(marked: Marked, log: Path) -> None:
    # The supervisor gets the grace and some seconds on top; less than none keeps the test short.
    with start(["sleep", "600"], log=log, env=marked.env, grace_seconds=-6.5) as child:
        psutil.Process(child.pid).suspend()
    assert marked.living() == []


def test_a_command_that_is_stopped_is_killed_after_the_grace(marked: Marked, log: Path) -> None:
    stopping = ["bash", "-c", "echo up; kill -STOP $$; echo never"]
    with start(stopping, log=log, env=marked.env, grace_seconds=0.3) as child:
        wait_for(log, "up")
        while psutil.Process(child.pid).children()[0].status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
    assert child.poll() == 137
    assert log.read_text() == "up\n"
    assert marked.living() == []


def test_a_tree_keeps_its_mark_where_others_can_see_it(marked: Marked, log: Path) -> None:
    shown = "import os; print(os.environ['ASSAY_PROCESS_TREE'], os.environ['SPT_NOENV'])"
    run([sys.executable, "-I", "-c", shown], log=log, env=marked.env)
    assert re.fullmatch(r"[0-9a-f]{32} 1\n", log.read_text())


DRIVER = """
import sys
from pathlib import Path
from infra.machine.processes import start
import os
import signal
# Ignored in what a shell starts with "&", or nohup does.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
with start(sys.argv[2:], log=Path(sys.argv[1]), env=dict(os.environ), grace_seconds=0.2):
    print("started", flush=True)
    __import__("time").sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_outlives_a_driver_that_gets_a_signal(
    marked: Marked, log: Path, number: signal.Signals
) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, log, *stubborn_family()],
        cwd=ROOT, env=marked.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with driver:
        assert driver.stdout
        assert driver.stdout.readline() == b"started\n"
        wait_for(log, "up", 2)
        driver.send_signal(number)
    assert marked.wait_gone() == []


# --- environment ----------------------------------------------------------------------------


def test_a_clean_environment_holds_what_a_child_needs_and_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needed = {
        "PATH": "/bin", "HOME": "/home/me", "LC_ALL": "C.UTF-8", "https_proxy": "http://proxy",
        "CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "2", "TMPDIR": "/scratch",
        "HF_HOME": "/hub", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    unwanted = {
        "HF_TOKEN": "s", "MODELSCOPE_API_TOKEN": "s", "OPENAI_API_KEY": "s", "VLLM_API_KEY": "s",
        "PREFECT_API_AUTH_STRING": "s", "PREFECT_API_URL": "s", "AWS_SECRET_ACCESS_KEY": "s",
        "DATABASE_URL": "s", "NVIDIA_API_KEY": "s", "PYTHONPATH": "s", "PYTHONHOME": "s",
    }  # fmt: skip
    for name, value in (needed | unwanted).items():
        monkeypatch.setitem(ENVIRONMENT, name, value)
    environment = clean_environment()
    assert environment.items() >= needed.items()
    assert not environment.keys() & unwanted.keys()


@pytest.mark.parametrize("began", ["/began", None])
def test_what_the_loader_hears_is_what_this_process_began_with(began: str | None) -> None:
    """A library that is imported here adds its own folder: one arm would see it, one would not."""
    code = (
        "import os; os.environ['LD_LIBRARY_PATH'] = '/added'"
        "; from infra.machine.processes import clean_environment"
        "; print(clean_environment().get('LD_LIBRARY_PATH'))"
    )
    env = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env=env | ({"LD_LIBRARY_PATH": began} if began else {}),
    )  # fmt: skip
    assert said.stdout.strip() == str(began)


def test_what_is_set_after_the_beginning_reaches_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library or a task's code sets a variable between two arms."""
    monkeypatch.setitem(ENVIRONMENT, "MKL_NUM_THREADS", "3")
    before = clean_environment()
    for name in ("TORCH_LOGS", "CUDA_MODULE_LOADING", "KMP_INIT_AT_FORK", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "set meanwhile")
    monkeypatch.delenv("PATH")
    assert clean_environment() == before


def test_a_run_of_its_own_begins_as_this_one_and_where_results_are_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "HF_TOKEN", "hf_secret")
    monkeypatch.setitem(ENVIRONMENT, "PREFECT_API_URL", "before")
    monkeypatch.setenv("TORCH_LOGS", "set meanwhile")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    monkeypatch.delenv("ASSAY_LEASES", raising=False)
    given = environment_of_a_run()
    assert given["HF_TOKEN"] == "hf_secret"
    assert given["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert not {"TORCH_LOGS", "ASSAY_LEASES"} & given.keys()


def test_a_clean_environment_takes_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "UV_CACHE_DIR", "/uv")
    monkeypatch.setitem(ENVIRONMENT, "HOME", "/home/me")
    assert "UV_CACHE_DIR" not in clean_environment()
    environment = clean_environment({"HOME": "/elsewhere", "VLLM_API_KEY": "k"}, keep=["UV_*"])
    assert environment["UV_CACHE_DIR"] == "/uv"
    assert environment["HOME"] == "/elsewhere"
    assert environment["VLLM_API_KEY"] == "k"


def test_a_clean_environment_takes_more_than_that_but_no_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "ENGINE_SAMPLER", "0")
    monkeypatch.setitem(ENVIRONMENT, "ENGINE_API_KEY", "s")
    assert "ENGINE_SAMPLER" not in clean_environment()
    environment = clean_environment(also=["ENGINE_*"])
    assert environment["ENGINE_SAMPLER"] == "0"
    assert "ENGINE_API_KEY" not in environment
