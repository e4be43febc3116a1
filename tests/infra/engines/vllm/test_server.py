from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from infra.contracts.capability import Capability
from infra.contracts.errors import (
    AssayError,
    PortTaken,
    ServerDied,
    ServerNotReady,
    ServerUnverified,
)
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines.live import LiveServer
from infra.engines.vllm.server import serve, serve_command
from infra.machine import ports
from infra.machine.device import detect
from infra.machine.leases import Lease, lease
from infra.models.chat_template import has_chat_template
from infra.store.settings import Settings
from tests.infra.probes.speed.real import time_it
from tests.process_marks import Marked
from tests.shared_servers import Served
from tests.stand_in_driver import present

ROOT = Path(__file__).parents[4]
SERVER = ROOT / "tests" / "servers_for_tests.py"
KEY = "secret-key-of-the-test"


class Heard:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        self.lines.append(what)


class Bench:
    """Starts servers that misbehave, and sees what is left of them."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "logs" / "server.log"
        self.port = ports.find_free()
        self.marked = Marked()
        self.heard = Heard()
        self.python = sys.executable

    def serve(
        self,
        *faults: str,
        timeout_seconds: float = 60,
        chat: bool = True,
        lease: Lease | None = None,
    ) -> AbstractContextManager[LiveServer]:
        return serve_command(
            [self.python, "-I", "-u", str(SERVER), str(self.port), "base-1", *faults],
            env=self.marked.env | {"VLLM_API_KEY": KEY},
            port=self.port,
            served_name="base-1",
            api_key=KEY,
            chat=chat,
            concurrency=8,
            device_name="a processor",
            timeout_seconds=timeout_seconds,
            log=self.log,
            progress=self.heard,
            lease=lease,
        )

    def refused(self, *faults: str, timeout_seconds: float = 60) -> AssayError:
        with (
            pytest.raises(AssayError) as caught,
            self.serve(*faults, timeout_seconds=timeout_seconds),
        ):
            pytest.fail("the server was taken for a good one")
        return caught.value


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    assert bench.marked.living() == []


def test_a_good_server_is_recorded_used_and_ended(bench: Bench) -> None:
    with bench.serve("slow") as server:
        assert server.alive()
        server.raise_if_dead()
        answer = httpx.get(
            f"{server.base_url}/models",
            headers={"Authorization": f"Bearer {server.api_key.get_secret_value()}"},
            trust_env=False,
        )
        assert answer.json()["data"][0]["id"] == server.model
        assert server.window == 4096
        record = server.record
        assert (record.version, record.kernel, record.dtype) == (
            "0.0.test", "TestLinearKernel", "bfloat16",
        )  # fmt: skip
        assert record.log == str(bench.log)
        assert record.concurrency == 8
        shown = repr(server) + record.model_dump_json() + bench.log.read_text()
        assert KEY not in shown
    assert not server.alive()
    assert "base-1 is ready" in bench.heard.lines[-1]


def test_waiting_is_said(bench: Bench) -> None:
    error = bench.refused("never-ready", timeout_seconds=3)
    assert isinstance(error, ServerNotReady)
    assert bench.heard.lines[0] == "base-1: loading vLLM"


@pytest.mark.parametrize("code", [0, 3])
def test_a_server_that_ends_is_distinguished_from_one_that_is_late(bench: Bench, code: int) -> None:
    error = bench.refused(f"exit-{code}")
    assert isinstance(error, ServerDied)
    assert (error.exit_code, error.log, error.diagnosis) == (code, bench.log, "")
    assert f"exit code {code}" in error.fact
    assert "no room for the cache" in error.fact  # the log's tail
    assert error.cause == "ValueError: no room for the cache"
    assert str(bench.log) in error.fact


def test_a_server_that_accepts_and_never_answers(bench: Bench) -> None:
    error = bench.refused("hangs", timeout_seconds=0.5)
    assert isinstance(error, ServerNotReady)
    assert str(bench.log) in error.fact


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("other-name", "does not serve base-1, but somebody-else"),
        ("other-key", "nothing we may see"),
        ("no-logprobs", "without log-probabilities"),
        ("nan", "not finite"),
        ("no-echo", "not echoed"),
        ("no-chat", "/v1/chat/completions answered 400"),
    ],
)
def test_a_server_that_would_spoil_the_scores_is_refused(
    bench: Bench, fault: str, says: str
) -> None:
    error = bench.refused(fault)
    assert isinstance(error, ServerUnverified)
    assert says in error.fact
    assert KEY not in str(error)


def test_without_a_chat_template_no_chat_is_requested(bench: Bench) -> None:
    with bench.serve("no-chat", chat=False) as server:
        assert server.alive()


def test_death_at_the_first_question(bench: Bench) -> None:
    error = bench.refused("dies-on-request")
    assert isinstance(error, ServerDied)
    assert error.cause == "ValueError: engine trouble"


def test_another_server_on_the_port_never_passes(bench: Bench, tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-I", SERVER, str(bench.port), "base-1"],
        env=bench.marked.env | {"VLLM_API_KEY": "another"}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with other:
        try:
            while not ports.listener(bench.port):
                assert other.poll() is None
                time.sleep(0.02)
            error = bench.refused("slow")
        finally:
            other.kill()
    assert isinstance(error, PortTaken)


def test_death_during_the_work_is_what_is_raised(bench: Bench) -> None:
    with pytest.raises(ServerDied, match="killed by SIGKILL") as caught, bench.serve() as server:
        killed = [int(line.split()[0]) for line in bench.marked.living() if "supervise" not in line]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        httpx.get(server.base_url, timeout=5, trust_env=False).raise_for_status()
    assert isinstance(caught.value.__cause__, httpx.HTTPError)
    assert "memory" in caught.value.cause
    with pytest.raises(ServerDied):
        server.raise_if_dead()


def test_a_mistake_in_the_work_stays_what_it_is(bench: Bench) -> None:
    with pytest.raises(ZeroDivisionError), bench.serve():
        print(1 / 0)


@pytest.mark.usefixtures("short_grace")
def test_a_server_with_a_stubborn_daemon_leaves_nothing(bench: Bench) -> None:
    with bench.serve("immortal", "daemon"):
        assert len(bench.marked.living()) == 3


DRIVER = """
import os, sys, time
from pathlib import Path
from infra.contracts.progress import Silent
from infra.engines.vllm.server import serve_command
port, log = int(sys.argv[1]), Path(sys.argv[2])
with serve_command(sys.argv[3:], env=dict(os.environ), port=port, served_name="base-1",
                   api_key=os.environ["VLLM_API_KEY"], chat=True, concurrency=1, device_name="",
                   timeout_seconds=60, log=log, progress=Silent()):
    print("ready", flush=True)
    time.sleep(600)
"""


def test_nothing_outlives_a_killed_driver(bench: Bench) -> None:
    command = [sys.executable, "-I", "-u", str(SERVER), str(bench.port), "base-1"]
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(bench.port), bench.log, *command],
        cwd=ROOT, env=bench.marked.env | {"VLLM_API_KEY": KEY}, stdout=subprocess.PIPE,
    )  # fmt: skip
    with driver:
        assert driver.stdout
        assert driver.stdout.readline() == b"ready\n"
        driver.kill()
    assert bench.marked.wait_gone() == []


def test_a_port_of_the_spec_that_is_taken(tmp_path: Path) -> None:
    port = ports.find_free()
    missing = PythonEnvironment(name="x", python=tmp_path / "absent", digest="", provided=True)
    server = serve_model(tmp_path, missing, tmp_path / "x.log", port=port)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(PortTaken, match=f"Port {port} is taken") as caught,
    ):
        server.__enter__()
    assert f"Process {os.getpid()} " in caught.value.cause
    assert not (tmp_path / "x.log").exists()


def serve_model(
    model: Path, environment: PythonEnvironment, log: Path, **spec: Any
) -> AbstractContextManager[LiveServer]:
    return serve(
        model, arm="baseline", spec=ServingSpec(device="cpu", **spec), concurrency=4,
        environment=environment, device=detect("cpu"), trust_remote_code=False, log=log,
        progress=Heard(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("files", "has"),
    [
        ({}, False),
        ({"tokenizer_config.json": {"chat_template": None}}, False),
        ({"tokenizer_config.json": {"chat_template": "{{ messages }}"}}, True),
        ({"tokenizer_config.json": {}, "chat_template.jinja": ""}, True),
    ],
)
def test_chat_templates_are_found_where_tokenizers_keep_them(
    tmp_path: Path, files: dict[str, Any], has: bool
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert has_chat_template(tmp_path) is has


def test_the_energy_of_a_server_is_that_of_its_leased_accelerators(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    settings = Settings(leases=tmp_path / "leases", accelerators="1")
    gpus = [{"uuid": f"GPU-{name}", "energy": 1_000} for name in "ab"]
    with (
        present(tmp_path, gpus, monkeypatch) as driver,
        lease(detect("cuda"), what="a test", settings=settings, progress=bench.heard) as held,
        bench.serve(lease=held) as server,
    ):
        assert server.meter is not None
        assert server.meter.uuids == ("GPU-b",)
        listener = ports.listener(bench.port)
        assert listener is not None
        driver.holds((listener.pid, 1), (os.getppid(), 1), gpu=0)  # others, on the other one
        driver.holds((listener.pid, 1), (listener.ppid(), 1), gpu=1)
        before = server.meter.read()
        driver.state["gpus"][1]["energy"] += 7_000
        driver.write()
        assert server.meter.joules(before, server.meter.read()) == 7
        driver.holds((listener.pid, 1), (os.getpid(), 1), gpu=1)
        assert server.meter.joules(before, server.meter.read()) is None
        for number in (0, 1):
            driver.holds(gpu=number)
    with bench.serve() as server:
        assert server.meter is None, "nobody knows what it computes on"


def listening(server: LiveServer) -> set[str]:
    """Return the addresses on which the processes of a server can be reached."""
    process = ports.listener(httpx.URL(server.base_url).port or 80)
    assert process is not None
    return {
        one.laddr.ip
        for member in [process, *process.children(recursive=True)]
        for one in member.net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    }


@pytest.mark.engine
def test_the_real_engine(
    sample_server: Served, server_environment: PythonEnvironment, tmp_path: Path
) -> None:
    """Its end is seen where an embedding engine ends, and where runs are killed.

    A processor's engine needs no compiler, not even where likelihoods are asked for: this one has
    none.
    """
    server, model = sample_server.server, sample_server.model
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", server.record.version)
    assert server.record.kernel is None
    assert server.record.dtype == "float32"
    assert server.window == sample_server.window
    assert server.api_key.get_secret_value() not in sample_server.log.read_text()
    assert listening(server) == {"127.0.0.1"}
    before = server.load()
    time_it(server, model, server_environment, tmp_path)
    load = server.load()
    assert before is not None and load is not None
    assert (load.running, load.waiting) == (0, 0)
    assert load.preemptions == before.preemptions
    assert load.cache is not None
    assert load.computed > before.computed + 8 * (24 + 4)  # tokens of what was timed
    assert server.can >= {Capability.CHOSEN_LOGPROBS, Capability.PROMPT_LOGPROBS}
