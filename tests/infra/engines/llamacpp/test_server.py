"""llama.cpp's server: the real one where it does what it should, another where it lies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
    ServerHung,
    ServerNotReady,
    ServerUnverified,
)
from infra.contracts.progress import Silent
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines.live import LiveServer
from infra.engines.llamacpp.program import SCRIPT
from infra.engines.llamacpp.server import serve, serve_command
from infra.machine import ports
from infra.machine.device import detect
from tests.conftest import ROOT
from tests.process_marks import Marked, command_lines, lives

LIAR = Path(__file__).with_name("lying_server.py")
KEY = "secret-key-of-the-test"

Serve = Callable[..., AbstractContextManager[LiveServer]]


class Bench:
    """Starts servers that misbehave, and sees what is left of them."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "logs" / "server.log"
        self.port = ports.find_free()
        self.marked = Marked()

    def serve(
        self, *faults: str, seconds: float = 60, hang: float = 300
    ) -> AbstractContextManager[LiveServer]:
        return serve_command(
            [sys.executable, "-u", str(LIAR), str(self.port), "base-1", *faults],
            env=self.marked.env | {"LLAMA_API_KEY": KEY},
            port=self.port,
            served_name="base-1",
            api_key=KEY,
            chat=True,
            concurrency=None,
            device_name="a processor",
            timeout_seconds=seconds,
            hang_seconds=hang,
            log=self.log,
            progress=Silent(),
        )

    def refused(self, *faults: str, seconds: float = 60) -> AssayError:
        with pytest.raises(AssayError) as caught, self.serve(*faults, seconds=seconds):
            pytest.fail("it was taken for a server of ours")
        assert KEY not in str(caught.value)
        return caught.value


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    assert bench.marked.wait_gone() == []


# --- one that lies -------------------------------------------------------------------------


def test_a_truthful_one_is_taken(bench: Bench) -> None:
    with bench.serve() as server:
        assert (server.window, server.record.version) == (512, "b0-test")
        load = server.load()
        assert load is not None
        assert load.computed == 12
        assert load.cache is None
        assert server.healthy(5)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("other-name", "does not serve base-1, but somebody-else"),
        ("other-key", "nothing we may see"),
        ("no-window", "does not serve base-1, but base-1"),
        ("no-build", "does not tell its version"),
        ("no-tokenizer", "does not split a text into tokens"),
        ("no-chat", "/v1/chat/completions answered 400"),
        ("ignores-bias", "cannot be relied on: token"),
        ("biased", "where it is forced"),
        ("no-logprobs", "it comes without log-probabilities"),
        ("shifted", "log-probabilities are those of another position"),
        ("drops-last", "the last token of a prompt changes nothing"),
        ("above-one", "probabilities of different tokens come to"),
        ("adds-bos", "a prompt of 5 tokens was read as 6"),
        ("torn", "/v1/completions did not answer in JSON"),
        ("429", "/v1/completions answered 429"),
    ],
)
def test_a_server_that_would_spoil_the_scores_is_refused(
    bench: Bench, fault: str, says: str
) -> None:
    error = bench.refused(fault)
    assert isinstance(error, ServerUnverified)
    assert says in error.fact


def test_the_end_of_a_server_is_told_with_its_first_error(bench: Bench) -> None:
    error = bench.refused("exit-3")
    assert isinstance(error, ServerDied)
    assert "exit code 3" in error.fact
    assert "no room for the cache" in error.fact
    error = bench.refused("dies-on-request")
    assert isinstance(error, ServerDied)
    assert "terrible trouble" in error.fact


def test_a_server_that_is_never_ready(bench: Bench) -> None:
    assert isinstance(bench.refused("never-ready", seconds=0.5), ServerNotReady)


def test_one_that_computes_nothing_any_more_is_noticed(bench: Bench) -> None:
    with (
        pytest.raises(ServerHung),
        bench.serve("stalls", hang=1.0) as server,
        httpx.Client(headers=server.headers, trust_env=False) as client,
    ):
        with pytest.raises(httpx.ReadTimeout):
            client.post(f"{server.base_url}/completions", json={"prompt": [[1]]}, timeout=0.1)
        while True:
            time.sleep(0.05)
            server.raise_if_dead()


@pytest.mark.usefixtures("short_grace")
def test_a_server_with_a_stubborn_daemon_leaves_nothing(bench: Bench) -> None:
    with bench.serve("immortal", "daemon"):
        assert len(bench.marked.living()) == 3


def test_another_server_on_the_port_never_passes(bench: Bench) -> None:
    other = subprocess.Popen(
        [sys.executable, LIAR, str(bench.port), "base-1"],
        env=bench.marked.env | {"LLAMA_API_KEY": "another"}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with other:
        try:
            while not ports.listener(bench.port):
                assert other.poll() is None
                time.sleep(0.02)
            error = bench.refused("never-ready")
        finally:
            other.kill()
    assert isinstance(error, PortTaken | ServerDied)


# --- the real one --------------------------------------------------------------------------


@pytest.fixture
def real(llamacpp_environment: PythonEnvironment, gguf: Path, tmp_path: Path) -> Serve:
    def start(
        folder: Path = gguf, environment: PythonEnvironment = llamacpp_environment, **serving: Any
    ) -> AbstractContextManager[LiveServer]:
        spec = ServingSpec.model_validate(
            {"engine": "llamacpp", "max_model_len": 512, "startup_timeout_seconds": 60} | serving
        )
        return serve(
            folder,
            arm="baseline",
            spec=spec,
            concurrency=None,
            environment=environment,
            device=detect("cpu"),
            log=tmp_path / "server.log",
            progress=Silent(),
        )

    return start


def test_the_real_one_is_up_and_says_what_it_is(real: Serve, tmp_path: Path) -> None:
    with real(dtype="float32") as server:
        record = server.record
        assert record.engine == "llamacpp"
        assert record.version.startswith("xllamacpp 20")
        assert server.window == record.max_model_len == 512
        assert server.can == {
            Capability.COMPLETIONS, Capability.CHAT, Capability.TOKEN_PROMPTS,
            Capability.FORCED_LOGPROBS,
        }  # fmt: skip
        assert server.load() is not None
        key = server.api_key.get_secret_value()
        assert key not in " ".join(record.command)
        assert key not in (tmp_path / "server.log").read_text()
        root = server.base_url.removesuffix("/v1")
        for path in ("/v1/models", "/metrics", "/props"):
            assert httpx.get(root + path, trust_env=False).status_code == 401
        pid = server._child.pid
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    assert not [process for process in tree if lives(process)]
    with pytest.raises(ServerDied):
        server.raise_if_dead()


def test_a_question_that_does_not_fit_is_refused_and_not_cut(real: Serve) -> None:
    with real() as server:
        body = {"model": server.model, "prompt": [[5] * 600], "max_tokens": 1}
        answer = httpx.post(
            f"{server.base_url}/completions", json=body, headers=server.headers, trust_env=False
        )
        assert answer.status_code == 400
        assert "context size" in answer.text


def test_death_during_the_work_is_what_is_raised(real: Serve) -> None:
    with pytest.raises(ServerDied, match="killed by SIGKILL"), real() as server:
        for child in psutil.Process(server._child.pid).children(recursive=True):
            child.send_signal(signal.SIGKILL)
        httpx.get(server.base_url, timeout=5, trust_env=False).raise_for_status()


@pytest.mark.usefixtures("short_grace")
def test_one_that_is_stopped_is_taken_for_hanging(real: Serve) -> None:
    with pytest.raises(ServerHung), real(hang_timeout_seconds=10) as server:
        server._watchdog._limit = 1.0
        for child in psutil.Process(server._child.pid).children(recursive=True):
            child.suspend()
        while True:
            time.sleep(0.05)
            server.raise_if_dead()


DRIVER = """
import sys, time
from pathlib import Path
from infra.contracts.progress import Silent
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines.llamacpp.server import serve
from infra.machine.device import detect
environment = PythonEnvironment.model_validate_json(sys.argv[1])
spec = ServingSpec(engine="llamacpp", max_model_len=512)
with serve(Path(sys.argv[2]), arm="baseline", spec=spec, concurrency=None, environment=environment,
           device=detect("cpu"), log=Path(sys.argv[3]), progress=Silent()) as server:
    print(server._child.pid, flush=True)
    time.sleep(600)
"""


def test_a_driver_that_is_killed_leaves_nothing(
    llamacpp_environment: PythonEnvironment, gguf: Path, tmp_path: Path
) -> None:
    arguments = [llamacpp_environment.model_dump_json(), str(gguf), str(tmp_path / "log")]
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with driver:
        assert driver.stdout is not None
        supervisor = psutil.Process(int(driver.stdout.readline()))
        tree = [supervisor, *supervisor.children(recursive=True)]
        assert any(str(SCRIPT) in line for line in command_lines(tree[1:]))
        driver.kill()
    _, left = psutil.wait_procs(tree, timeout=30)
    assert not [process for process in left if lives(process)]


def test_a_program_of_the_users_takes_the_same_command_line(
    llamacpp_environment: PythonEnvironment, real: Serve, tmp_path: Path
) -> None:
    """A script in the place of `llama-server`, which hands its flags on."""
    program = tmp_path / "llama-server-of-mine"
    program.write_text(f'#!/bin/sh\nexec {llamacpp_environment.python} -I -u {SCRIPT} "$@"\n')
    program.chmod(0o755)
    own = llamacpp_environment.model_copy(update={"python": program, "provided": True})
    with real(environment=own) as server:
        assert server.record.command[0] == str(program)
        assert server.record.command[1] == "--model"


def test_a_port_that_is_taken_is_refused(real: Serve) -> None:
    port = ports.find_free()
    with real(port=port) as server:
        assert f":{port}/" in server.base_url
        with pytest.raises(PortTaken), real(port=port):
            pass
