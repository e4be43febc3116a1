"""The deployment `chat`: its form, and one under a worker that is cancelled."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest
from prefect.utilities.callables import parameter_schema

from flows.chat_with_models import chat_with_models
from infra.contracts.records import PythonEnvironment
from infra.store.settings import Settings
from tests import chat_runs, sample_gguf
from tests.prefect_server import PREFECT, ROOT, prefect_server

Found = TypeVar("Found")


def test_the_form_says_what_every_field_is() -> None:
    schema: dict[str, Any] = parameter_schema(chat_with_models.fn).model_dump()
    bare = [name for name, field in schema["properties"].items() if not field.get("description")]
    assert bare == []
    assert schema["required"] == ["run"]


def awaited(what: Callable[[], Found]) -> Found:
    deadline = time.monotonic() + 300
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return found


@pytest.mark.long
@pytest.mark.e2e
def test_a_cancelled_chat_leaves_nothing(
    tmp_path: Path, llamacpp_environment: PythonEnvironment, chat_environment: PythonEnvironment
) -> None:
    for name, half in (("whole", False), ("half", True)):
        sample_gguf.write(tmp_path / name, half=half)
    run = tmp_path / "run-1"
    chat_runs.finished(run, tmp_path / "whole", tmp_path / "half", serving=chat_runs.LLAMACPP)
    (tmp_path / "prefect").mkdir()
    with prefect_server(tmp_path / "prefect") as prefect:
        prefect.call("work-pool", "create", "assay", "--type", "process")
        prefect.call("--no-prompt", "deploy", "--name", "chat")
        prefect.call("deployment", "run", "chat-with-models/chat", "--param", f"run={run}")
        with (tmp_path / "worker.log").open("w") as log:
            worker = subprocess.Popen(
                [str(PREFECT), "worker", "start", "--pool", "assay"], cwd=ROOT, env=prefect.env,
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            [link] = awaited(
                lambda: [one for one in prefect.read("artifacts/filter") if one["key"] == "chat"]
            )
            url = link["data"].rpartition("(")[2].rstrip(")")
            assert httpx.get(url, trust_env=False, timeout=60).is_success
            tree = psutil.Process(worker.pid).children(recursive=True)
            (flow_run,) = prefect.read("flow_runs/filter")
            httpx.post(
                f"{prefect.url}/flow_runs/{flow_run['id']}/set_state", trust_env=False, timeout=60,
                json={"state": {"type": "CANCELLING"}},
            ).raise_for_status()  # fmt: skip
            awaited(lambda: not any(one.is_running() for one in tree))
            awaited(lambda: prefect.read("flow_runs/filter")[0]["state_type"] == "CANCELLED")
        finally:
            worker.terminate()
            worker.wait(60)
    assert list(Settings().leases.glob("*.json")) == []
