"""What the Compose file starts, started without containers: its commands, variables and secrets.

The image's entry point starts each service, with no variable but those of the Dockerfile and of the
Compose file. Addresses are of loopback. Without an image, folders are others, too; in one that
`tests.dockerfile_in_a_folder` made, a service has the user, the volumes and the read-only root of
the Compose file as well.
"""

from __future__ import annotations

import base64
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from infra.machine.ports import find_free
from tests import bare_container, compose_file, dockerfile
from tests.compose_file import composed
from tests.postgresql import PostgreSQL, postgresql

ROOT = Path(__file__).parent.parent
_SECONDS = 300.0


@dataclass
class Composed:
    """A database and a server that run, and what starts the other services."""

    folder: Path
    whole: dict[str, Any]
    ports: dict[str, int]
    database: PostgreSQL
    image: Path | None = None
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the server is; its API lies below `/api`."""
        return f"http://127.0.0.1:{self.ports['4200']}"

    @property
    def auth(self) -> str:
        """What the server wants to hear."""
        return self.secret("auth_string")

    def secret(self, name: str) -> str:
        """Return one of the secrets that the Compose file names."""
        return (self.folder / "secrets" / name).read_text()

    def secrets(self) -> set[str]:
        """Return all that nobody may find, in each form in which it travels."""
        plain = {path.read_text() for path in (self.folder / "secrets").iterdir()} - {""}
        # What follows the name in "assay:…" is enough to know it all.
        plain |= {text.partition(":")[2] for text in plain if ":" in text}
        return plain | {base64.b64encode(text.encode()).decode().rstrip("=") for text in plain}

    def headers(self) -> dict[str, str]:
        """Return the header of a request that the server answers."""
        return {"Authorization": f"Basic {base64.b64encode(self.auth.encode()).decode()}"}

    def read(self, path: str, **body: Any) -> Any:
        """Return what the API answers to a POST."""
        answer = httpx.post(
            f"{self.url}/api/{path}", json=body, headers=self.headers(), trust_env=False, timeout=60
        )
        answer.raise_for_status()
        return answer.json()

    def log(self, service: str) -> Path:
        """Return where a service's output lies."""
        return self.folder / "logs" / f"{service}.log"

    def start(self, service: str, *command: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a service, or another command as that service."""
        said = self.whole["services"][service]
        *_, image = dockerfile.stages()
        words = [*image.words("ENTRYPOINT"), *(command or said["command"])]
        words = [self._moved(word) for word in words]
        variables = {**image.environment(), **said["environment"]}
        variables = {name: self._moved(text) for name, text in variables.items() if text} | more
        variables["PATH"] = variables["PATH"].replace("$PATH", os.environ["PATH"])
        secrets = self._secrets_of(service, said)
        if self.image:
            words = self._contained(said, words, variables, secrets)
        else:
            variables["SECRETS"] = str(secrets)
        with self.log(service).open("ab") as log:
            process = subprocess.Popen(
                words, env=variables, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )
        self.running[service] = process
        return process

    def run(self, service: str, *command: str) -> None:
        """Run a service that ends, or another command as that service.

        Raises:
            AssertionError: It failed; what it said is the message.
        """
        code = self.start(service, *command).wait(_SECONDS)
        assert code == 0, self.log(service).read_text()

    def wait_for(self, path: str, service: str) -> None:
        """Wait until an address of the API answers without credentials."""
        deadline = time.monotonic() + _SECONDS
        while True:
            assert self.running[service].poll() is None, self.log(service).read_text()
            try:
                if httpx.get(f"{self.url}/{path}", trust_env=False, timeout=5).is_success:
                    return
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, self.log(service).read_text()
            time.sleep(0.2)

    def stop(self) -> None:
        """End what runs, the latest first."""
        while self.running:
            _, process = self.running.popitem()
            if process.poll() is not None:
                continue
            # What opens a container passes no signal on.
            inside = psutil.Process(process.pid).children() if self.image else []
            for one in inside or [process]:
                one.terminate()
            process.wait(60)

    def _contained(
        self, said: dict[str, Any], words: list[str], variables: dict[str, str], secrets: Path
    ) -> list[str]:
        """Return the command that starts a service in the image."""
        assert self.image
        binds = {"/run/secrets": secrets}
        for volume in said.get("volumes", ()):
            source, _, target = volume.rpartition(":")
            binds[target] = self.folder / "home" / source
            binds[target].mkdir(parents=True, exist_ok=True)
            os.chown(binds[target], *(int(part) for part in said["user"].split(":")))
        return bare_container.command(
            self.image, words, user=said["user"], folder="/assay", variables=variables,
            binds=binds, tmpfs=said["tmpfs"], read_only=said["read_only"],
        )  # fmt: skip

    def _secrets_of(self, name: str, said: dict[str, Any]) -> Path:
        folder = self.folder / "run-secrets" / name
        folder.mkdir(parents=True, exist_ok=True)
        for one in said["secrets"]:
            file = Path(self.whole["secrets"][one["source"]]["file"])
            there = folder / one["target"]
            there.write_bytes((self.folder / "secrets" / file.name).read_bytes())
        return folder

    def _moved(self, text: str) -> str:
        for path, place in (
            ("/var/lib/assay", self.folder / "home"),
            ("/run/lock/assay", self.folder / "leases"),
            ("/tmp/prefect", self.folder / "prefect"),
            ("/assay", ROOT),
        ):
            if not self.image:
                text = text.replace(path, str(place)) if text.startswith(path) else text
        if text in ("database", "0.0.0.0"):
            return "127.0.0.1"
        for port, mine in self.ports.items():
            text = text.replace(f"server:{port}", f"127.0.0.1:{mine}")
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{mine}")
            text = str(mine) if text == port else text
        return text


@contextmanager
def composed_server(folder: Path, image: Path | None = None) -> Iterator[Composed]:
    """Run the services `database` and `server` as long as the block.

    Args:
        folder: An empty one that every user may enter.
        image: The root folder that services see, instead of this machine's.
    """
    whole = composed()
    script = compose_file.FILE.with_name("secrets.sh")
    subprocess.run(["bash", script, folder / "secrets"], check=True, stdout=subprocess.DEVNULL)
    (folder / "logs").mkdir()
    (folder / "leases").mkdir()
    ports = {name: find_free() for name in ("4200", "5432", "8080")}
    said = whole["services"]["database"]["environment"]
    with postgresql(
        folder / "database", ports["5432"], said["POSTGRES_USER"], said["POSTGRES_DB"],
        (folder / "secrets" / "database_password").read_text(),
        *said["POSTGRES_INITDB_ARGS"].split(),
    ) as database:  # fmt: skip
        stack = Composed(folder, whole, ports, database, image)
        try:
            stack.start("server")
            stack.wait_for("api/ready", "server")
            yield stack
        finally:
            stack.stop()
