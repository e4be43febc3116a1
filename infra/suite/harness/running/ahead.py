"""Puts the questions of the next part together while those of another are answered.

lm-eval writes the prompts of ten thousand rows in seconds, and they are encoded in as many more. An
accelerator would wait for that; whoever asks it waits for the answers anyway. Only that waiting is
used: no code of a task runs beside that of another one, and random numbers are as if each part had
been put together by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.engines.endpoint import Endpoint
from infra.scoring.tokens import Encoded
from infra.suite.harness.part import Part
from infra.suite.harness.running.seeds import Numbers, numbers, seeded, set_numbers

if TYPE_CHECKING:
    from infra.suite.harness.running.model import ServedModel

Put = Callable[[Any, Part], object]
"""Has lm-eval ask a model one part."""


class _PutTogether(BaseException):
    """The first question would be asked now."""


class _NotWanted(BaseException):
    """Nobody waits for the questions any more."""


@dataclass(frozen=True)
class _Questions:
    """What was put together for a server."""

    part: Part
    server: Endpoint
    requests: dict[str, list[Any]]
    """Task → lm-eval's requests, which have no answers yet."""

    encoded: Encoded
    numbers: Numbers
    """The generators' states after it."""


class Ahead:
    """Holds the questions of one part, until that is asked."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._held: _Questions | None = None
        self._tried: tuple[Part, Endpoint] | None = None
        self.awaited = 0.0
        """Seconds that the part asked last waited, with all its answers, for the next one."""

    @contextmanager
    def used(self, part: Part, model: ServedModel) -> Iterator[float | None]:
        """Let a part that was put together for a model's server be asked as it is.

        Yields:
            For how many seconds the part before it had to wait for that; none if it was not put
            together.
        """
        held, self._held, self._tried = self._held, None, None
        awaited, self.awaited = self.awaited, 0.0
        if held is None or held.part is not part or held.server is not model.server:
            yield None
            return
        try:
            for name, task in part.tasks.items():
                task.build_all_requests = _giving(task, held.requests[name], held.numbers)
            model.encoded = held.encoded
            yield awaited
        finally:
            for task in part.tasks.values():
                task.__dict__.pop("build_all_requests", None)

    @contextmanager
    def put_together(self, part: Part, model: ServedModel, seed: int, put: Put) -> Iterator[None]:
        """Put a part together while the block runs, and await its end.

        What goes wrong is not told: it comes again when the part is asked. It is tried once.

        Args:
            part: What is asked next.
            model: Asks the same server as that one will.
            seed: Of worked examples.
            put: See `Put`.
        """
        tried, self._tried = self._tried, (part, model.server)
        if tried is not None and tried[0] is part and tried[1] is model.server:
            yield
            return
        self._held, wanted, ended = None, threading.Event(), threading.Event()
        wanted.set()

        def work() -> None:
            try:
                self._put_together(part, model, seed, put, wanted)
            finally:
                ended.set()

        # With the context of this thread: how numbers are written may be a part of it.
        threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
        try:
            yield
            began = time.monotonic()
            ended.wait()
            self.awaited += time.monotonic() - began
        except BaseException:
            wanted.clear()
            raise
        finally:
            ended.wait()  # and not `join`, after which Ctrl-C would take a live thread for ended

    def _put_together(
        self, part: Part, model: ServedModel, seed: int, put: Put, wanted: threading.Event
    ) -> None:
        try:
            with seeded():
                for task in part.tasks.values():
                    task.set_fewshot_seed(seed)
                with _stopped_unless(wanted, part), suppress(_PutTogether):
                    put(_Unasked(model), part)
                requests = {name: task.instances for name, task in part.tasks.items()}
                encoded = model.encode_ahead([one for some in requests.values() for one in some])
                self._held = _Questions(part, model.server, requests, encoded, numbers())
        except BaseException:  # whatever the task's code raises
            return


class _Unasked:
    """A model to lm-eval, up to its first question."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def _ask(self, requests: object) -> None:
        raise _PutTogether

    loglikelihood = loglikelihood_rolling = generate_until = _ask


@contextmanager
def _stopped_unless(wanted: threading.Event, part: Part) -> Iterator[None]:
    """Stop at the next question once nobody waits for it."""

    def checked(write: Callable[..., Any]) -> Callable[..., Any]:
        def context(*args: Any, **options: Any) -> Any:
            if not wanted.is_set():
                raise _NotWanted
            return write(*args, **options)

        return context

    try:
        for task in part.tasks.values():
            task.fewshot_context = checked(task.fewshot_context)
        yield
    finally:
        for task in part.tasks.values():
            task.__dict__.pop("fewshot_context", None)


def _giving(task: Any, requests: list[Any], after: Numbers) -> Callable[..., None]:
    def give(**_: object) -> None:
        task._instances = requests
        set_numbers(after)

    return give
