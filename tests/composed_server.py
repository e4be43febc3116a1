"""What the Compose file starts refuses strangers, works for the worker, and keeps no secret.

    python -m tests.composed_server [--whole | --image FOLDER]

PostgreSQL, server, deployments and a worker, with the commands, variables and secrets of
infra/compose, and tokens of hubs and the address of a webhook planted. One run is refused by its
preflight; with --whole, one is carried out as well, the sample's, whose engines take minutes. Then
the database, the logs and all that was written is searched for each secret.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from starlette.routing import BaseRoute, Route, WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from infra.store.settings import Settings
from tests.composed import Composed, composed_server
from tests.secret_search import files_with
from tests.temporary_folders import of_everybody

OPEN = {("GET", "/health"), ("GET", "/ready")}
"""What answers anybody, for those who watch over containers."""

PLANTED = {
    "hf_token": "hf_PlantedByTheTestZq81",
    "modelscope_token": "ms-planted-by-the-test-4411",
}
WEBHOOK = "http://127.0.0.1:9/hooks/planted-by-the-test-7260"
_RUN_SECONDS = 900.0
_WRONG: tuple[dict[str, str], ...] = ({}, {"Authorization": "Basic YXNzYXk6d3Jvbmc="})
_ODD: tuple[dict[str, str], ...] = (
    {"Authorization": "Basic"},
    {"Authorization": "Bearer wrong"},
    {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Prefix": "/api/health"},
)


def answered_to_strangers(stack: Composed) -> tuple[list[str], int]:
    """Ask every address of the API without the password or with a wrong one.

    Returns:
        What was answered otherwise than with 401, and how many requests that were.
    """
    asked = {
        (method, route.path)
        for route in _routes()
        if isinstance(route, Route)
        for method in route.methods or ()
    } - OPEN
    asked |= {("GET", path) for path in ("/openapi.json", "/docs", "/health/", "//health")}
    asked |= {("POST", path) for _, path in OPEN}
    ways = [(*one, headers) for one in sorted(asked) for headers in _WRONG]
    ways += [("POST", "/flow_runs/filter", headers) for headers in _ODD]
    otherwise = []
    with httpx.Client(base_url=stack.url, trust_env=False, timeout=60) as client:
        for method, path, headers in ways:
            whole = "/api" + re.sub(r"\{.*?\}", "0" * 8, path)
            answer = client.request(method, whole, headers=headers)
            if answer.status_code != 401:
                otherwise.append(f"{method} {whole} with {headers}: {answer.status_code}")
    return otherwise, len(ways)


def sockets() -> list[str]:
    """Return the addresses of all websockets that Prefect has."""
    found = [route.path for route in _routes() if isinstance(route, WebSocketRoute)]
    return sorted(re.sub(r"\{.*?\}", "assay", path) for path in found)


def _routes() -> list[BaseRoute]:
    """Return all that the API of the installed Prefect has, the page's own part included."""
    from prefect.server.api.server import API_ROUTERS

    return [route for router in API_ROUTERS for route in router.routes]


def opened(stack: Composed, path: str, token: str | None, *, protocol: bool = True) -> bool:
    """Say whether a websocket lets somebody in.

    Args:
        stack: Whose.
        path: Where.
        token: What is said as the password; nothing at all with None.
        protocol: Whether Prefect's protocol is spoken, in which one is asked for it.
    """
    address = f"{stack.url}/api{path}".replace("http", "ws", 1)
    spoken = [Subprotocol("prefect")] if protocol else None
    try:
        with connect(address, subprotocols=spoken, proxy=None) as socket:
            said: dict[str, Any] = {"type": "auth"} if token is None else {
                "type": "auth", "token": token,
            }  # fmt: skip
            socket.send(json.dumps(said))
            return bool(json.loads(socket.recv(30))["type"] == "auth_success")
    except (ConnectionClosed, InvalidStatus):
        return False


def strangers_are_refused(stack: Composed) -> int:
    """Try everything without the password.

    Returns:
        How many requests were refused.

    Raises:
        AssertionError: Something let a stranger in, or kept out who knows the password.
    """
    otherwise, requests = answered_to_strangers(stack)
    assert otherwise == []
    for _, path in OPEN:
        assert httpx.get(f"{stack.url}/api{path}", trust_env=False).status_code == 200
    page = httpx.get(f"{stack.url}/ui-settings", trust_env=False).json()
    assert page["auth"] == "BASIC"  # so the page asks for the password
    assert stack.auth not in json.dumps(page)
    found = sockets()
    assert {"/events/in", "/events/out", "/logs/out"} <= set(found)
    for path in found:
        refused = [opened(stack, path, token) for token in (None, "", "wrong")]
        refused += [opened(stack, path, stack.auth, protocol=False)]
        assert refused == [False] * 4, path
        assert opened(stack, path, stack.auth), path
    return requests + 4 * len(found)


def plant(stack: Composed) -> None:
    """Keep a token and the address of a webhook as Prefect's blocks, as users do."""
    code = (
        "import sys, json\n"
        "from prefect.blocks.system import Secret\n"
        "from prefect.blocks.webhook import Webhook\n"
        "token, url = json.load(sys.stdin)\n"
        "Secret(value=token).save('hf-token')\n"
        "Webhook(url=url).save('webhook')\n"
    )
    client = {
        "PREFECT_API_URL": f"{stack.url}/api",
        "PREFECT_API_AUTH_STRING": stack.auth,
        "PREFECT_HOME": str(stack.folder / "prefect"),
        "PATH": os.environ["PATH"],
    }
    given = json.dumps([PLANTED["hf_token"], WEBHOOK])
    subprocess.run([sys.executable, "-c", code], env=client, input=given, text=True, check=True)


def run(stack: Composed, *arguments: str) -> dict[str, Any]:
    """Ask for a run as a user does, wait for its end and return it."""
    stack.run("deploy", "prefect", "deployment", "run", *arguments)
    deadline = time.monotonic() + _RUN_SECONDS
    while time.monotonic() < deadline:
        (latest,) = stack.read(
            "flow_runs/filter", sort="EXPECTED_START_TIME_DESC", limit=1,
            deployments={"name": {"any_": ["adhoc"]}},
        )  # fmt: skip
        if latest["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return dict(latest)
        assert stack.running["worker"].poll() is None, stack.log("worker").read_text()
        time.sleep(1)
    raise AssertionError(stack.log("worker").read_text())


def leaks(stack: Composed) -> list[str]:
    """Return where a secret was found: in the database, in a log, in what a run left."""
    secrets = stack.secrets() | set(PLANTED.values()) | {WEBHOOK, WEBHOOK.rpartition("/")[2]}
    dump = stack.database.dump()
    (stack.folder / "dump.sql").write_text(dump)
    said = stack.database.log.read_text()
    found = [f"{secret} in the database" for secret in secrets if secret in dump]
    found += [f"{secret} in the database's log" for secret in secrets if secret in said]
    # With it, whoever has a copy of the database reads every block.
    key = [line for line in dump.splitlines() if "ENCRYPTION_KEY" in line or "fernet" in line]
    found += [f"the key of the blocks in the database: {line}" for line in key]
    folders = [stack.folder / name for name in ("logs", "home", "prefect", "leases")]
    return found + files_with(secrets, folders)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Return a folder that is kept should anything fail."""
    folder = Path(tempfile.mkdtemp(prefix="composed-", dir=of_everybody()))
    folder.chmod(0o755)
    try:
        yield folder
    except BaseException:
        print(f"logs are in {folder}")
        raise
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--whole", action="store_true", help="carry out the sample's run as well")
    how.add_argument("--image", type=Path, help="what tests.dockerfile_in_a_folder made")
    given = parser.parse_args()
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {text}", flush=True)

    with _folder() as folder, composed_server(folder, given.image) as stack:
        say(f"database and server are there: {stack.url}")
        say(f"{strangers_are_refused(stack)} requests of strangers refused")
        for name, token in PLANTED.items():
            (folder / "secrets" / name).write_text(token)
        plant(stack)
        stack.run("deploy")
        say("deployments are registered")
        # Environments of engines are taken from this machine's cache; no image sees that.
        cache = {} if given.image else {"ASSAY_CACHE": str(Settings().cache.absolute())}
        stack.start("worker", **cache)
        model = 'model={"source": "local", "id": "nowhere"}'
        refused = run(stack, "quantize-and-evaluate/adhoc", "--param", model)
        assert refused["state_type"] == "FAILED", refused["state"]
        say(f"a run is {refused['state_name']}: {refused['state']['message']}")
        if given.whole:
            done = run(stack, "quantize-and-evaluate/adhoc")
            assert done["state_type"] == "COMPLETED", done["state"]
            say(f"a run is {done['state_name']}: {done['state']['message']}")
        found = leaks(stack)
        size = (folder / "dump.sql").stat().st_size / 1e6
        say(f"{size:.1f} MB of the database searched, and all logs and files")
        assert found == [], "\n".join(found)
    say("no secret found")


if __name__ == "__main__":
    main()
