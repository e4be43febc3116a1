"""What Prefect hears beside a run's states: what fails costs nothing but itself."""

from __future__ import annotations

import threading

import pytest

from tasks import news


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_fails_where_nobody_logs_leaves_the_next_heard() -> None:
    def fail() -> None:
        raise RuntimeError("the API is away")

    heard = threading.Event()
    news.pass_on(fail)
    news.pass_on(heard.set)
    assert heard.wait(30)
