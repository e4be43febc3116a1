"""Answers that several machines share: what one was asked, no other asks again.

Each process puts the answers that it adds to its file there as objects of their own, every
second, and nobody changes an object: `answers/<identity>/<process>-<number>`. To take over is to
add to one's own file what all objects hold; answers have keys, so that is a union. Who is killed
loses the answers of the last second. At the end the objects of a process become one.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import orjson

from infra.scoring.answers import Answers, written_as
from infra.store.shared import Place
from infra.store.shared.place import without_credentials

_SECONDS = 1.0
"""Between two looks for what is new."""

_BUSY_SECONDS = 30.0
"""How long another writer of the file is waited for."""

_SHARE = 10
"""The pause after a look, as a multiple of what it took."""

_LOOKUP = 500
"""Keys in one query."""


class SharedAnswers:
    """One file of answers, and what other machines have of the same identity."""

    def __init__(self, path: Path, identity: str, place: Place, say: Callable[[str], None]) -> None:
        """Take a file; nothing is read yet.

        Args:
            path: The file; it is begun if it is not there.
            identity: All that decides an answer besides the question.
            place: Where they are shared.
            say: Hears once that they cannot be.
        """
        self._path = path
        self._identity = identity
        self._place = place
        self._say = say
        self._folder = f"answers/{identity[:32]}"
        self._name = uuid.uuid4().hex
        self._pieces = 0
        self._seen: set[str] = set()
        """Objects that were read."""
        self._there: set[bytes] = set()
        """Keys of answers that are shared, whoever put them there."""
        self._mine: set[bytes] = set()
        """Those that this process put there."""
        self._complained = False
        self._alone = threading.Lock()

    def take(self) -> int:
        """Add what others have put there since the last time; return how many answers came."""
        found: dict[bytes, bytes] = {}
        try:
            for name in self._place.names(self._folder):
                if name in self._seen or name.startswith(self._name):
                    continue
                found |= self._read(name)
                self._seen.add(name)
        except Exception as error:  # of whichever library
            self._complain(error)
        if not found:
            return 0
        Answers(
            self._path, self._identity, self._say
        ).close()  # begins the file, puts aside another
        with self._alone, closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS)) as file, file:
            before = file.total_changes
            file.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", found.items())
            self._there |= found.keys()
            return file.total_changes - before

    @contextmanager
    def given(self) -> Iterator[None]:
        """Put there what is answered in the block, as it is answered."""
        ended = threading.Event()

        def work() -> None:
            pause = _SECONDS
            while not ended.wait(pause):
                started = time.monotonic()
                self.give()
                # However large the file becomes, or slow the store is: asking comes first.
                pause = max(_SECONDS, _SHARE * (time.monotonic() - started))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.give()
            self._join()

    def give(self) -> None:
        """Put there what is new in the file."""
        if not self._path.is_file():
            return
        with self._alone:
            try:
                with self._reading() as file:
                    keys = {key for (key,) in file.execute("SELECT key FROM answers")}
                    new = _replies(file, keys - self._there)
                if new:
                    self._write(f"{self._name}-{self._pieces:06}", new)
                    self._pieces += 1
                    self._there |= new.keys()
                    self._mine |= new.keys()
            except Exception as error:  # of whichever library
                self._complain(error)

    def _join(self) -> None:
        """Make one object of all that this process put there."""
        if self._pieces < 2:
            return
        try:
            with self._reading() as file:
                self._write(f"{self._name}-all", _replies(file, self._mine))
            for piece in range(self._pieces):
                self._place.remove(f"{self._folder}/{self._name}-{piece:06}")
        except Exception as error:  # of whichever library
            self._complain(error)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as file:
            yield file

    def _write(self, name: str, answers: dict[bytes, bytes]) -> None:
        rows = [[key.hex(), reply.decode()] for key, reply in answers.items()]
        text = orjson.dumps({"identity": written_as(self._identity), "answers": rows})
        self._place.put(f"{self._folder}/{name}", zlib.compress(text))

    def _read(self, name: str) -> dict[bytes, bytes]:
        """Return what an object holds; nothing if it is damaged, of others, or gone meanwhile."""
        data = self._place.read(f"{self._folder}/{name}")
        if data is None:
            return {}
        try:
            held = orjson.loads(zlib.decompress(data))
            if held["identity"] != written_as(self._identity):
                return {}
            return {bytes.fromhex(key): reply.encode() for key, reply in held["answers"]}
        except (zlib.error, ValueError, TypeError, LookupError, AttributeError):
            self._say(f"answers in {self._folder}/{name} are damaged; they are asked again")
            return {}

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._say(
                f"Answers are not shared with other machines ({type(error).__name__}: "
                f"{without_credentials(str(error)):.200}); should this one end, another asks what "
                "it had asked."
            )
        self._complained = True


def _replies(file: sqlite3.Connection, keys: set[bytes]) -> dict[bytes, bytes]:
    wanted = list(keys)
    found: dict[bytes, bytes] = {}
    for start in range(0, len(wanted), _LOOKUP):
        part = wanted[start : start + _LOOKUP]
        marks = ",".join("?" * len(part))
        query = f"SELECT key, reply FROM answers WHERE key IN ({marks})"  # noqa: S608
        found.update(file.execute(query, part))
    return found
