"""A PostgreSQL of the tests' own, of the machine's own programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
"""Where Debian has them; None where PostgreSQL is not installed."""


@dataclass(frozen=True)
class PostgreSQL:
    """One that runs, listening on loopback."""

    port: int
    user: str
    database: str
    password: str
    log: Path

    def dump(self) -> str:
        """Return all that is in it as SQL, as a backup has it."""
        assert PROGRAMS
        return subprocess.check_output(
            [PROGRAMS / "pg_dump", "-h", "127.0.0.1", "-p", str(self.port), "-U", self.user,
             self.database],
            env={"PGPASSWORD": self.password}, text=True,
        )  # fmt: skip


@contextmanager
def postgresql(
    folder: Path, port: int, user: str, database: str, password: str, *options: str
) -> Iterator[PostgreSQL]:
    """Run one as long as the block, as the container of that name makes it.

    Args:
        folder: Where it keeps everything; made here.
        port: Where it listens.
        user: Who owns the database.
        database: Its name.
        password: What it wants of whoever connects.
        options: What `initdb` is given besides.
    """
    assert PROGRAMS
    programs = PROGRAMS
    folder.mkdir()
    asked = folder / "password"
    asked.write_text(password)
    nobody: list[str] = []
    if os.geteuid() == 0:  # as root it does not start
        nobody = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        subprocess.run(["chown", "-R", "postgres:postgres", folder], check=True)
    data, log = folder / "data", folder / "database.log"

    def call(program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [*nobody, programs / program, *arguments], check=True, cwd=folder,
            stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"], "PGPASSWORD": password},
        )  # fmt: skip

    call("initdb", "-D", data, f"--username={user}", f"--pwfile={asked}", *options)
    asked.unlink()
    server = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    call("pg_ctl", "start", "-w", "-D", data, "-l", log, "-o", server)
    try:
        call("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", user, database)
        yield PostgreSQL(port, user, database, password, log)
    finally:
        call("pg_ctl", "stop", "-w", "-m", "immediate", "-D", data)
