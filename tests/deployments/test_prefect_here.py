"""A real Prefect server is started as a run starts it, by a program that a terminal ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.chaos.world import await_that
from tests.conftest import ROOT
from tests.prefect_server import DATABASE, Databases

DRIVER = """
import os, sys, time
from deployments import prefect_here
from infra.contracts.progress import Silent

ready = prefect_here.begin(Silent())
ready()
from prefect.client.orchestration import get_client
client = get_client(sync_client=True)
assert "prefect.server.api.server" not in sys.modules, "seconds of imports for nothing"
assert "PREFECT_API_URL" not in os.environ, "what is started here would ask a server of ours"
print(client.api_url, flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    print(client.hello().status_code, flush=True)
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER], cwd=ROOT, env=env | {"PREFECT_HOME": str(tmp_path)},
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as running:  # fmt: skip
        yield running
        running.kill()


@pytest.fixture
def begun(tmp_path: Path, prefect_databases: Databases) -> None:
    """Let the server find its database; another test has it make one."""
    shutil.copy(prefect_databases.empty, tmp_path / DATABASE)


def address(driver: subprocess.Popen[str]) -> str:
    assert driver.stdout
    url = driver.stdout.readline().strip().removesuffix("/")
    assert httpx.get(f"{url}/health", trust_env=False).json() is True
    return url


def gone(url: str) -> bool:
    try:
        httpx.get(f"{url}/health", trust_env=False)
    except httpx.TransportError:
        return True
    return False


def test_ctrl_c_in_a_terminal_ends_the_run_first_and_then_its_server(
    driver: subprocess.Popen[str],
) -> None:
    url = address(driver)
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does: to all that it has started
    assert driver.stdout
    assert driver.stdout.readline() == "200\n", "the end of the run could not be recorded"
    assert driver.wait(60) == 0
    await_that(lambda: gone(url), 30, "the end of the server")


def test_a_server_does_not_outlive_a_killed_run(begun: None, driver: subprocess.Popen[str]) -> None:
    url = address(driver)
    driver.kill()
    await_that(lambda: gone(url), 30, "the end of the server")


@pytest.mark.parametrize(("cores", "started"), [(4, 1), (2, 0)])
def test_where_cores_are_to_spare_it_starts_while_a_run_is_looked_at(
    tmp_path: Path, cores: int, started: int
) -> None:
    code = (
        f"import os; os.sched_getaffinity = lambda _: range({cores});"
        "from deployments import prefect_here; from infra.contracts.progress import Silent;"
        "prefect_here.begin(Silent()); import psutil; print(len(psutil.Process().children()))"
    )
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env=env | {"PREFECT_HOME": str(tmp_path)},
    )  # fmt: skip
    assert said.stdout.strip() == str(started)


def test_none_is_started_where_one_is_configured() -> None:
    code = (
        "from deployments import prefect_here; from infra.contracts.progress import Silent;"
        "prefect_here.begin(Silent())(); import psutil; print(psutil.Process().children())"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "PREFECT_API_URL": "http://127.0.0.1:1/api"},
    )  # fmt: skip
    assert said.stdout.strip() == "[]"


def with_profile(home: Path, cache: Path, *lines: str) -> dict[str, str]:
    """Write a profile of the user's own; return the variables of somebody who sets none."""
    (home / "profiles.toml").write_text("\n".join(['active = "mine"', "[profiles.mine]", *lines]))
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return env | {"PREFECT_HOME": str(home), "ASSAY_CACHE": str(cache)}


def refused(command: str, env: dict[str, str]) -> str:
    said = subprocess.run(
        [sys.executable, "-m", "deployments", command, "sample"], cwd=ROOT, env=env,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = " ".join((said.stdout + said.stderr).split())
    assert said.returncode == 2, lines
    assert lines.count("remedy:") == 1 and "Traceback" not in lines, lines
    return lines


@pytest.mark.parametrize("command", ["run", "preflight"])
def test_a_server_that_the_profile_names_is_asked_before_anything_is_spent(
    tmp_path: Path, own_cache: Path, command: str
) -> None:
    env = with_profile(
        tmp_path,
        own_cache,
        'PREFECT_API_URL = "http://127.0.0.1:1/api"',
        'PREFECT_API_KEY = "pnu_mine"',
    )
    said = refused(command, env)
    assert "The Prefect API at 127.0.0.1:1 does not answer" in said
    assert "pnu_mine" not in said


@pytest.mark.parametrize("command", ["run", "preflight"])
def test_settings_that_let_none_be_started_are_said_before_anything_is_spent(
    tmp_path: Path, own_cache: Path, command: str
) -> None:
    said = refused(command, with_profile(tmp_path, own_cache))
    assert "No Prefect server is configured, and Prefect's settings let none be started" in said


def test_a_server_that_cannot_start_is_said_with_its_last_words(tmp_path: Path) -> None:
    code = (
        "from deployments import prefect_here; from infra.contracts.progress import Silent;"
        "prefect_here.begin(Silent())()"
    )
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    wrong = {"PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////none/there/prefect.db"}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        env=env | wrong | {"PREFECT_HOME": str(tmp_path)},
    )  # fmt: skip
    assert said.returncode != 0
    assert "PreflightError: The Prefect server that records this run ended" in said.stderr
    assert "unable to open database file" in said.stderr
