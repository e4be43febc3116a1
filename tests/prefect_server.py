"""Prefect servers of the tests' own, their databases, and the commands a user gives them."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import httpx
import pytest

from infra.machine import ports

ROOT = Path(__file__).parent.parent
PREFECT = ROOT / ".venv" / "bin" / "prefect"
DATABASE = "prefect.db"
"""Its file, in the home of a server."""


class Prefect:
    """A Prefect server, and the commands a user gives it."""

    def __init__(
        self, home: Path, url: str, env: dict[str, str], process: subprocess.Popen[bytes]
    ) -> None:
        self.home = home
        self.url = url
        self.env = env
        self.process = process

    def call(self, *arguments: str, timeout: float = 900) -> str:
        done = subprocess.run(
            [str(PREFECT), *arguments], check=False, cwd=ROOT, env=self.env, timeout=timeout,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        print(done.stdout)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def delete(self, path: str) -> None:
        httpx.delete(f"{self.url}/{path}", trust_env=False, timeout=60).raise_for_status()

    def read(self, path: str, **query: Any) -> Any:
        tries = 5
        while True:
            # Where its database is locked it says so after a minute, or says nothing for as long:
            # Prefect's own clients ask again as well.
            try:
                answer = httpx.post(f"{self.url}/{path}", json=query, trust_env=False, timeout=90)
            except httpx.ReadTimeout:
                if not (tries := tries - 1):
                    raise
                continue
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@dataclass(frozen=True)
class Databases:
    """What servers begin with, of their present form: to make one takes many seconds of a core."""

    empty: Path
    registered: Path
    """It knows the work pool and all deployments."""


def write_databases(folder: Path) -> Databases:
    """Write both, unless they are there."""
    found = Databases(folder / "empty.db", folder / "registered.db")
    if found.registered.exists():
        return found
    with TemporaryDirectory(prefix="prefect-") as name:
        with prefect_server(Path(name)) as server:
            _copy(Path(name) / DATABASE, found.empty)
            server.call("work-pool", "create", "assay", "--type", "process")
            server.call("--no-prompt", "deploy", "--all")
        _copy(Path(name) / DATABASE, found.registered)
    return found


def _copy(database: Path, file: Path) -> None:
    """Copy one with what still lies in its log; the copy is there when it is whole."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as written, closing(sqlite3.connect(new)) as copy:
        written.backup(copy)
    new.rename(file)


@contextmanager
def prefect_harness(database: Path) -> Iterator[None]:
    """Let flows of this process run against a server of Prefect's own for tests.

    Args:
        database: What it begins with.
    """
    from prefect.testing import utilities

    def filled() -> str:
        folder = mkdtemp()
        shutil.copy(database, Path(folder) / "prefect-test.db")
        return folder

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utilities, "mkdtemp", filled)
        # Prefect's may be taken by any connection before it is bound; its server then ends, and is
        # waited for in vain.
        patch.setattr(utilities, "_find_available_port", ports.find_free)
        with utilities.prefect_test_harness(server_startup_timeout=180):
            yield


@contextmanager
def prefect_server(
    home: Path, port: int | None = None, database: Path | None = None, **variables: str
) -> Iterator[Prefect]:
    """Run a server as long as the block.

    Args:
        home: Folder of its database; one that was used before goes on where it stopped.
        port: Where it listens; None takes a free one.
        database: What it begins with; None for an empty one.
        variables: Of the server alone.
    """
    if port is None:
        port = ports.find_free()  # not one that a connection of anybody's may take meanwhile
    url = f"http://127.0.0.1:{port}/api"
    env = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "ASSAY_PROJECT": str(ROOT),
        "PREFECT_SERVER_UI_API_URL": url,  # where its pages ask; the default's port is another
        "PREFECT_WORKER_QUERY_SECONDS": "2",  # by default a worker looks for runs every ten
    }
    env.pop("PREFECT_API_URL", None)
    if database:
        shutil.copy(database, home / DATABASE)
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [str(PREFECT), "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            env=env | variables, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        _await_health(url, server, home / "server.log")
        yield Prefect(home, url, {**env, "PREFECT_API_URL": url}, server)
    finally:
        server.terminate()
        server.wait(30)


def _await_health(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while True:
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/health", trust_env=False, timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
