"""Real processes are sent real signals, at the worst moment: while they destroy an object."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_IN_A_DESTRUCTOR = """
import os, signal, sys, time
from infra.machine import interrupts
{install}
class Dies:
    def __del__(self):
        os.kill(os.getpid(), {signal})
        sum(range(100))
{handler}
Dies()
time.sleep(1)
print("went on")
"""
_IN_A_CALLBACK = _IN_A_DESTRUCTOR.replace("def __del__(self)", "def dies(self, _)").replace(
    "Dies()\n", "import weakref\nit = Dies()\nr = weakref.ref(it, Dies().dies)\ndel it\n"
)
_TERMINATION = """
from prefect.exceptions import TerminationSignal
def end(number, frame):
    raise TerminationSignal(signal=number)
signal.signal(signal.SIGTERM, end)
"""


def _run(program: str, **given: str) -> subprocess.CompletedProcess[str]:
    text = program.format(**{"install": "", "handler": "", "signal": "signal.SIGINT"} | given)
    return subprocess.run(
        [sys.executable, "-c", text], cwd=_ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("program", [_IN_A_DESTRUCTOR, _IN_A_CALLBACK])
def test_an_interrupt_while_an_object_is_destroyed_is_lost_in_python_and_heard_here(
    program: str,
) -> None:
    plain = _run(program)
    assert (plain.returncode, plain.stdout) == (0, "went on\n"), plain.stderr
    assert "Exception ignored in" in plain.stderr

    heard = _run(program, install="interrupts.hear(); interrupts.hear()")
    assert (heard.returncode, heard.stdout) == (-signal.SIGINT, ""), heard.stderr
    assert "Exception ignored in" not in heard.stderr


def test_the_end_of_a_run_by_its_worker_is_heard_as_well() -> None:
    given = {"signal": "signal.SIGTERM", "handler": _TERMINATION}
    assert _run(_IN_A_DESTRUCTOR, **given).stdout == "went on\n"
    heard = _run(_IN_A_DESTRUCTOR, install="interrupts.hear()", **given)
    assert (heard.returncode, heard.stdout) == (1, ""), heard.stderr
    assert heard.stderr.rstrip().splitlines()[-1].startswith("prefect.exceptions.Termination")


_IN_A_CALLBACK_OF_A_LOOP = (
    """
import asyncio, os, signal
from infra.machine import interrupts
"""
    + _TERMINATION
    + """
async def work():
    asyncio.get_running_loop().call_soon(lambda: [os.kill(os.getpid(), {signal}), sum(range(9))])
    await asyncio.sleep(0.5)
    print("went on")
{install}(work())
"""
)


def test_the_end_of_a_run_is_lost_in_the_callback_of_a_loop_and_heard_here() -> None:
    lost = _run(_IN_A_CALLBACK_OF_A_LOOP, signal="signal.SIGTERM", install="asyncio.run")
    assert (lost.returncode, lost.stdout) == (0, "went on\n"), lost.stderr
    heard = _run(_IN_A_CALLBACK_OF_A_LOOP, signal="signal.SIGTERM", install="interrupts.run")
    assert (heard.returncode, heard.stdout) == (1, ""), heard.stderr
    assert heard.stderr.rstrip().splitlines()[-1].startswith("prefect.exceptions.Termination")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_loop_is_ended_as_ever_where_nobody_handles_the_signal(number: int) -> None:
    program = _IN_A_CALLBACK_OF_A_LOOP.replace(_TERMINATION, "")
    ended = _run(program, signal=str(int(number)), install="interrupts.run")
    assert (ended.returncode, ended.stdout) == (-number, ""), ended.stderr


def test_what_else_a_destructor_raises_is_said_as_ever() -> None:
    program = _IN_A_DESTRUCTOR.replace("os.kill(os.getpid(), {signal})", "raise ValueError('odd')")
    heard = _run(program, install="interrupts.hear()")
    assert (heard.returncode, heard.stdout) == (0, "went on\n")
    assert "Exception ignored in" in heard.stderr and "ValueError: odd" in heard.stderr


def test_an_interrupt_while_that_is_said_is_heard() -> None:
    program = _IN_A_DESTRUCTOR.replace("os.kill(os.getpid(), {signal})", "raise ValueError('odd')")
    says = "sys.unraisablehook = lambda lost: [os.kill(os.getpid(), signal.SIGINT), sum(range(9))]"
    heard = _run(program, install=f"{says}\ninterrupts.hear()")
    assert (heard.returncode, heard.stdout) == (-signal.SIGINT, ""), heard.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("KeyboardInterrupt()", "assay: interrupted; whatever was finished is kept\nleft: 7\n"),
        ("ValueError('odd')", "ValueError: odd\nleft: 7\n"),
    ],
)
def test_an_interrupt_is_one_line_and_an_error_keeps_its_traceback(error: str, said: str) -> None:
    done = _run(
        f"import atexit, signal\nfrom infra.machine import interrupts\n"
        f"interrupts.say_in_one_line()\natexit.register(print, 'done at the end')\n"
        f"error = {error}\nerror.add_note('left: 7')\nraise error"
    )
    assert done.stdout == "done at the end\n"
    assert done.stderr.endswith(said)
    interrupted = "Keyboard" in error
    assert ("Traceback" in done.stderr) is not interrupted
    assert done.returncode == (-signal.SIGINT if interrupted else 1)


def test_one_more_while_the_line_is_written_is_no_error_of_its_own() -> None:
    done = _run(
        "import os, signal, sys\nfrom infra.machine import interrupts\n"
        "class Slow:\n"
        "    def write(self, text):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        return sys.__stderr__.write(text)\n"
        "    def flush(self): pass\n"
        "interrupts.say_in_one_line()\nsys.stderr = Slow()\nraise KeyboardInterrupt"
    )
    assert done.returncode == -signal.SIGINT
    assert done.stderr == "assay: interrupted; whatever was finished is kept\n"


@pytest.mark.parametrize("loaded", ["_pydantic_core", "tokenizers"])
def test_a_command_that_is_interrupted_says_so_in_one_line(loaded: str) -> None:
    """While it is imported, and while it looks at the run."""
    with subprocess.Popen(
        [sys.executable, "-m", "deployments", "preflight", "sample"],
        cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as command:  # fmt: skip
        maps = Path(f"/proc/{command.pid}/maps")
        while loaded not in maps.read_text():
            assert command.poll() is None
            time.sleep(0.01)
        command.send_signal(signal.SIGINT)
        out, said = command.communicate()
    assert (command.returncode, out) == (-signal.SIGINT, ""), said
    assert said == "assay: interrupted; whatever was finished is kept\n"
