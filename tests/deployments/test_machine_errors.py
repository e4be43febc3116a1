from __future__ import annotations

import errno
import os
import subprocess
import sys

import httpx
import pytest

from deployments.__main__ import _of_the_machine


def test_a_full_disk_and_a_lost_api_fit_in_one_sentence() -> None:
    full = _of_the_machine(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/runs/a/log"))
    assert full is not None and "No space left on device: /runs/a/log" in str(full)
    with pytest.raises(httpx.ConnectError) as refused:
        httpx.get("http://127.0.0.1:9", trust_env=False)
    lost = _of_the_machine(refused.value)
    assert lost is not None and "Prefect API does not answer any more" in str(lost)


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied"), ValueError("other")])
def test_other_errors_keep_their_traceback(error: Exception) -> None:
    assert _of_the_machine(error) is None


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["show", "sample"], ["show", "endpoint"]])
def test_who_reads_a_few_lines_and_goes_sees_no_traceback(
    arguments: list[str], unbuffered: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "deployments", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as shown:  # fmt: skip
        assert shown.stdout and shown.stderr
        shown.stdout.close()
        assert shown.stderr.read() == ""
    assert shown.returncode == 1
