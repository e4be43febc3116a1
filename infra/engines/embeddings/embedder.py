"""Texts in, vectors out. A server is started when the first vector is missing, and not before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from infra.contracts.errors import EvaluationError, ServerError
from infra.contracts.progress import Progress
from infra.contracts.specs.embedding import EMBEDDING_PLACES
from infra.contracts.specs.places import errors_placed
from infra.engines.embeddings.checking import Vectors, vectors_of
from infra.engines.embeddings.sources import Refused, Source
from infra.engines.embeddings.vectors import Vector, VectorFile

_BATCH = 64
"""Texts in one request."""

_SHORTEST = 16
"""Letters of a text that every model takes; a server that refuses them refuses all."""

Open = Callable[[int], AbstractContextManager[Source]]
"""Starts whoever embeds; takes how often it was started before."""


class Embedder:
    """Vectors of texts, for as long as a `with` block. May be used from several threads.

    A server that ends is started again, and asked for what is missing.
    """

    def __init__(
        self, identity: str, file: Path, opened: Open, *, restarts: int, progress: Progress
    ) -> None:
        """Make one; nothing is started yet.

        Args:
            identity: All that decides a vector besides the text.
            file: Where vectors of this identity are kept.
            opened: Starts whoever embeds.
            restarts: How often a server that ends is started again.
            progress: Hears what happens.
        """
        self.identity = identity
        self._kept = VectorFile(file, progress.say)
        self._open = opened
        self._restarts_left = restarts
        self._progress = progress
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._source: Source | None = None
        self._starts = 0
        self._dimension: int | None = None
        self._cut = 0

    def __enter__(self) -> Embedder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._close(kind, error, trace)
        if self._cut:
            self._progress.say(
                f"{self._cut} texts were longer than the embedding model takes, and were cut"
            )

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vector of each text, of length 1.

        Args:
            texts: None of them empty or blank.

        Raises:
            EndpointError: The endpoint does not answer.
            EvaluationError: The server did not come up, ended too often, or answers with something
                that is no vector.
        """
        if not all(text.strip() for text in texts):
            raise ValueError("a text without letters has no vector")
        with self._lock:
            wanted = list(dict.fromkeys(texts))
            found = self._kept.lookup(wanted)
            if missing := [text for text in wanted if text not in found]:
                self._dimension = len(next(iter(found.values()))) if found else self._dimension
                with errors_placed(EMBEDDING_PLACES):
                    found |= self._embed_missing(missing)
            if not texts:
                return np.zeros((0, self._dimension or 0), dtype=np.float32)
            return np.stack([found[text] for text in texts])

    def _embed_missing(self, texts: Sequence[str]) -> dict[str, Vector]:
        found: dict[str, Vector] = {}
        while len(found) < len(texts):
            self._progress.update("embedding", len(found), len(texts), "texts")
            batch = texts[len(found) : len(found) + _BATCH]
            try:
                vectors = dict(zip(batch, self._asked(batch), strict=True))
            except ServerError as error:
                self._close(type(error), error, None)
                if not self._restarts_left or not self._starts:
                    raise EvaluationError(
                        f"Texts could not be embedded. {error.fact}",
                        cause=error.cause,
                        remedy=error.remedy,
                    ) from error
                self._restarts_left -= 1
                reason = error.fact.partition("\n")[0]
                self._progress.say(f"{reason} Starting the embedding server again.")
                continue
            self._kept.keep(vectors)
            found |= vectors
        self._progress.update("embedding", len(texts), len(texts), "texts")
        return found

    def _asked(self, texts: Sequence[str]) -> Vectors:
        try:
            answer = self._started().ask(texts)
        except Refused as refused:
            return self._asked_apart(texts, refused)
        vectors = vectors_of(answer, len(texts), self._dimension)
        self._dimension = vectors.shape[1]
        return vectors

    def _asked_apart(self, texts: Sequence[str], refused: Refused) -> Vectors:
        """Ask for the halves of what was refused together; a text that is too long alone is cut."""
        if len(texts) == 1:
            return self._asked_cut(texts[0], refused)
        middle = len(texts) // 2
        return np.concatenate([self._asked(texts[:middle]), self._asked(texts[middle:])])

    def _asked_cut(self, text: str, refused: Refused) -> Vectors:
        """Ask for the beginning of a text: how many tokens it has only the server knows."""
        part = text.strip()
        while len(part) > _SHORTEST:
            part = part[: len(part) // 2]
            try:
                answer = self._started().ask([part])
            except Refused as again:
                refused = again
                continue
            self._cut += 1
            return vectors_of(answer, 1, self._dimension)
        raise EvaluationError(
            f"The embedding server takes not even a text of {len(part)} letters: {refused}",
            cause="The model is none that embeds texts, or the server takes no such request.",
            remedy="Set evaluation.embedding to a model or an endpoint for embeddings.",
        )

    def _started(self) -> Source:
        if self._source is None:
            self._source = self._stack.enter_context(self._open(self._starts))
            self._starts += 1
        return self._source

    def _close(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stack, self._stack, self._source = self._stack, ExitStack(), None
        stack.__exit__(kind, error, trace)
