from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from infra.contracts.errors import RunEnded
from infra.machine import beside, processes
from infra.machine.beside import Beside
from tests.conftest import PrintProgress

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]


def test_jobs_are_done_in_their_order_in_one_other_thread() -> None:
    seen: list[tuple[int, int]] = []

    def job(number: int) -> int:
        seen.append((number, threading.get_ident()))
        return number * number

    with Beside() as there:
        futures = [there.start(lambda n=number: job(n)) for number in range(5)]
    assert [future.result(0) for future in futures] == [0, 1, 4, 9, 16]
    assert [number for number, _ in seen] == [0, 1, 2, 3, 4]
    assert {thread for _, thread in seen} == {seen[0][1]} != {threading.get_ident()}


def test_what_a_job_raises_is_raised_where_its_result_is_wanted() -> None:
    def fails() -> None:
        raise ValueError("no")

    with Beside() as there:
        failed, after = there.start(fails), there.start(lambda: 1)
        with pytest.raises(ValueError, match="no"):
            failed.result()
        assert after.result() == 1


def test_an_error_ends_what_a_job_waits_for_and_begins_nothing_more(tmp_path: Path) -> None:
    log = tmp_path / "log"
    children: list[processes.Child] = []

    def waits() -> int:
        with processes.start(SLEEP, log=log, env=processes.clean_environment()) as child:
            children.append(child)
            while child.wait(0.1) is None:
                pass
        processes.run(SLEEP, log=tmp_path / "second", env=processes.clean_environment())
        return 0

    with pytest.raises(KeyboardInterrupt), Beside() as there:
        first, second = there.start(waits), there.start(lambda: 1)
        while not log.is_file() or b"here" not in log.read_bytes():
            time.sleep(0.05)
        raise KeyboardInterrupt
    assert not children[0].survivors()
    assert not (tmp_path / "second").exists()
    for future in (first, second):
        assert isinstance(future.exception(0), RunEnded)


def test_children_of_the_main_thread_are_its_own(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="broken"),
        processes.start(SLEEP, log=tmp_path / "log", env=processes.clean_environment()) as child,
    ):
        try:
            with Beside():
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            assert child.wait(0.5) is None  # it lives
            beside.require_going()
            raise RuntimeError("broken") from None


def test_what_has_to_be_alone_waits_for_all_jobs() -> None:
    go = threading.Event()
    order: list[str] = []

    def job() -> None:
        beside.wait_alone(PrintProgress())  # a job does not wait for itself
        go.wait()
        order.append("made")

    with Beside() as there:
        there.start(job)
        threading.Timer(0.2, go.set).start()
        beside.wait_alone(PrintProgress())
        order.append("timed")
    beside.wait_alone(PrintProgress())
    assert order == ["made", "timed"]
