"""Vectors on disk: a text is embedded once, whoever asks and in whichever run.

One SQLite file for one identity of the embedding server. A vector is a row under the digest of its
text. As for answers, the file is in WAL mode: a process killed at any moment loses what it had not
yet written.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infra.store.usage import used

Vector = NDArray[np.float32]

_BUSY_SECONDS = 10.0
_LOOKUP = 500
"""Keys in one query."""


class VectorFile:
    """Vectors of one embedding server. May be used from any thread, by one at a time."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        """Name the file; it is made when the first vector is kept.

        Args:
            path: Of one identity alone.
            say: Hears if nothing can be kept, once.
        """
        used(path)
        self._path = path
        self._say = say
        self._lost: dict[bytes, Vector] = {}
        """What could not be written: kept here, as long as this process lives."""

    def lookup(self, texts: Sequence[str]) -> dict[str, Vector]:
        """Return the texts that have a vector, with it."""
        by_key = {key_of(text): text for text in texts}
        found = {by_key[key]: vector for key, vector in self._lost.items() if key in by_key}
        if not self._path.is_file():
            return found
        keys = list(by_key)
        try:
            with closing(self._opened()) as file:
                for start in range(0, len(keys), _LOOKUP):
                    part = keys[start : start + _LOOKUP]
                    marks = ",".join("?" * len(part))
                    query = f"SELECT key, vector FROM vectors WHERE key IN ({marks})"  # noqa: S608
                    for key, vector in file.execute(query, part):
                        found[by_key[key]] = np.frombuffer(vector, dtype=np.float32)
        except sqlite3.Error as error:
            self._complain(f"{self._path} cannot be read ({error}); its texts are embedded again.")
        return found

    def keep(self, vectors: Mapping[str, Vector]) -> None:
        """Write vectors at once."""
        rows = [(key_of(text), vector) for text, vector in vectors.items()]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._opened()) as file, file:
                file.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                    [(key, vector.astype(np.float32).tobytes()) for key, vector in rows],
                )
        except (sqlite3.Error, OSError) as error:
            self._lost |= dict(rows)
            self._complain(
                f"Vectors cannot be written to {self._path} ({error}). The run goes on; the next "
                "one embeds these texts again."
            )

    def count(self) -> int:
        """Return how many vectors are kept."""
        kept = 0
        if self._path.is_file():
            with suppress(sqlite3.Error), closing(self._opened()) as file:
                kept = int(file.execute("SELECT COUNT(*) FROM vectors").fetchone()[0])
        return kept + len(self._lost)

    def _opened(self) -> sqlite3.Connection:
        file = sqlite3.connect(self._path, timeout=_BUSY_SECONDS)
        try:
            file.execute("PRAGMA journal_mode=WAL")
            file.execute("PRAGMA synchronous=NORMAL")
            file.execute(
                "CREATE TABLE IF NOT EXISTS vectors "
                "(key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID"
            )
        except BaseException:
            file.close()
            raise
        return file

    def _complain(self, text: str) -> None:
        say, self._say = self._say, lambda _: None
        say(text)


def key_of(text: str) -> bytes:
    """Return the digest of a text."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
