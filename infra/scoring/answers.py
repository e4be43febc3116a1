"""Answers on disk, so that a killed run continues where it stopped.

One SQLite file for one identity: checkpoint, engine and flags decide an answer, and two identities
never share a file. Each answered question is a row under the digest of the question. The file is in
WAL mode: a process killed at any moment loses at most what it had not yet written, and a torn tail
of the log is dropped when the file is opened again.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import orjson

from infra.scoring.plan import Echo, Read
from infra.scoring.protocol import Generation, Question, Reply
from infra.store.usage import used

_VERSION = "1"
_BUSY_SECONDS = 2.0
"""How long another writer of the file is waited for."""

_AGAIN_SECONDS = 10.0
"""When what could not be written is tried again. All else waits while it is tried."""

_LOOKUP = 500
"""Keys in one query."""


def written_as(identity: str) -> str:
    """Return what answers of an identity are kept under: how they are written counts too."""
    return f"{_VERSION} {identity}"


class Answers:
    """Answers that were given before, and those that are given now.

    A file that cannot be written (a full disk) costs resumability, not the run; one that cannot be
    read is put aside. Both are said once.
    """

    def __init__(
        self,
        path: Path | None,
        identity: str,
        say: Callable[[str], None],
        require: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the file, or begin it.

        Args:
            path: The file; None keeps nothing.
            identity: All that decides an answer besides the question. If the file is of another
                identity it is put aside.
            say: Hears what is lost, if anything is.
            require: Called before answers are written, once they were given: raises if they may be
                of another model. An engine that maps a file into its memory reads on in it.
        """
        self._path = path
        self._identity = written_as(identity)
        self._say = say
        self._require = require
        self._unwritten: list[tuple[bytes, bytes]] = []
        self._complained = False
        self._again = 0.0
        self._file: sqlite3.Connection | None = None
        if path is not None:
            used(path)
            self._file = self._opened(path)

    def lookup(self, questions: Sequence[Question]) -> dict[Question, Reply]:
        """Return the questions that were answered before, with their answers."""
        if self._file is None:
            return {}
        by_key = {key_of(question): question for question in questions}
        keys, found = list(by_key), {}
        try:
            for start in range(0, len(keys), _LOOKUP):
                part = keys[start : start + _LOOKUP]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, reply FROM answers WHERE key IN ({marks})"  # noqa: S608
                for key, reply in self._file.execute(query, part):
                    with suppress(ValueError, TypeError, LookupError):  # a damaged row: ask again
                        found[by_key[key]] = decode(by_key[key], reply)
        except sqlite3.DatabaseError as error:
            self._complain(f"{self._path} cannot be read ({error}); what it holds is asked again.")
        return found

    def keep(self, answered: Iterable[tuple[Question, Reply]]) -> None:
        """Write answers at once, if they are still those of this identity."""
        if self._file is None:
            return
        self._require()
        self._unwritten += [(key_of(q), encode(q, reply)) for q, reply in answered]
        self._write()

    def _write(self) -> None:
        if self._file is None or time.monotonic() < self._again:
            return
        try:
            with self._file:
                self._file.executemany(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?)", self._unwritten
                )
            self._unwritten = []
        except sqlite3.Error as error:
            self._again = time.monotonic() + _AGAIN_SECONDS
            self._complain(
                f"Answers cannot be written to {self._path} ({error}). The run goes on; if it is "
                "killed, what could not be written is asked again."
            )

    def close(self) -> None:
        """Write what is left and close the file."""
        if self._file is not None:
            self._again = 0.0
            self._write()
            with suppress(sqlite3.Error):
                self._file.close()
            self._file = None

    def _opened(self, path: Path) -> sqlite3.Connection | None:
        for attempt in range(2):
            file = None
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = sqlite3.connect(path, timeout=_BUSY_SECONDS)
                if (found := self._begun(file)) == self._identity:
                    return file
                reason = f"belongs to another server ({found})"
            except (
                sqlite3.OperationalError
            ) as error:  # full, locked, read-only: the file may be fine
                if file is not None:
                    file.close()
                self._complain(f"Answers cannot be kept in {path}: {error}.")
                return None
            except (sqlite3.DatabaseError, OSError) as error:
                if not path.is_file():
                    self._complain(f"Answers cannot be kept in {path}: {error}.")
                    return None
                reason = f"is damaged ({error})"
            if file is not None:
                file.close()
            if attempt == 0:
                self._say(f"{path.name} {reason}; it is put aside as {_put_aside(path).name}.")
        return None

    def _begun(self, file: sqlite3.Connection) -> str:
        """Set the file up if it is new, and return whose it is."""
        _use_log(file)
        file.execute("PRAGMA synchronous=NORMAL")  # safe against a kill; a power cut costs the tail
        with file:
            file.execute("CREATE TABLE IF NOT EXISTS identity (value TEXT)")
            file.execute(
                "CREATE TABLE IF NOT EXISTS answers "
                "(key BLOB PRIMARY KEY, reply BLOB) WITHOUT ROWID"
            )
            file.execute(
                "INSERT INTO identity SELECT ? WHERE NOT EXISTS (SELECT 1 FROM identity)",
                [self._identity],
            )
        return str(file.execute("SELECT value FROM identity").fetchone()[0])

    def _complain(self, text: str) -> None:
        if not self._complained:
            self._say(text)
        self._complained = True


def count_kept(path: Path) -> int:
    """Return how many answers a file holds; 0 if there is none, or it cannot be read."""
    if not path.is_file():
        return 0
    try:
        file = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        with closing(file):
            return int(file.execute("SELECT COUNT(*) FROM answers").fetchone()[0])
    except sqlite3.Error:
        return 0


def _use_log(file: sqlite3.Connection) -> None:
    """Switch to WAL; where two begin a file together SQLite does not wait by itself."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            file.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "BUSY" not in error.sqlite_errorname or time.monotonic() > until:
                raise
        time.sleep(0.01)


def _put_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.aside-{number}")).exists():
        number += 1
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def key_of(question: Question) -> bytes:
    """Return the digest of a question."""
    kind = type(question).__name__
    if isinstance(question, Read):
        rest = ",".join(map(str, question.wanted))
    else:
        rest = str(question.start) if isinstance(question, Echo) else question.settings
    return hashlib.sha256(f"{kind} {rest}\0".encode() + question.prompt).digest()


def encode(question: Question, reply: Reply) -> bytes:
    """Return a reply as it is stored: JSON, floats in full."""
    if isinstance(question, Read):
        return orjson.dumps([reply[token] for token in question.wanted])
    return orjson.dumps(reply)


def decode(question: Question, stored: bytes) -> Reply:
    """Return a stored reply.

    Raises:
        ValueError: It is not what was stored for such a question.
    """
    value = orjson.loads(stored)
    if isinstance(question, Generation):
        text, ended = value
        if isinstance(text, str | None) and isinstance(ended, str | None):
            return text, ended
    elif isinstance(question, Echo):
        return _score(value)
    elif len(value) == len(question.wanted):
        return dict(zip(question.wanted, map(_score, value), strict=True))
    raise ValueError("a stored reply of another shape")


def _score(value: object) -> tuple[float, bool]:
    match value:
        case [float() | int() as term, bool() as greedy]:
            return term, greedy
    raise ValueError("a stored score of another shape")
