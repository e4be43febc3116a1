"""A Prefect server of the tests' own, and the commands a user gives it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from infra.machine import ports

ROOT = Path(__file__).parent.parent
PREFECT = ROOT / ".venv" / "bin" / "prefect"


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

    def read(self, path: str, **query: Any) -> Any:
        while True:
            answer = httpx.post(f"{self.url}/{path}", json=query, trust_env=False, timeout=60)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)  # its database is locked: Prefect's own clients ask again as well
        answer.raise_for_status()
        return answer.json() if answer.content else None


@contextmanager
def prefect_server(home: Path, port: int | None = None, **variables: str) -> Iterator[Prefect]:
    """Run a server as long as the block.

    Args:
        home: Folder of its database; one that was used before goes on where it stopped.
        port: Where it listens; None takes a free one.
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
    }
    env.pop("PREFECT_API_URL", None)
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
