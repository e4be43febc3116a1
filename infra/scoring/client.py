"""Asks a completions server many questions at a time, until each is answered or one cannot be.

What heals is asked again, with jitter; what does not ends the run at once with the question named.
The number in flight follows the server's own counters, see `pace`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from infra.contracts.capability import Capability
from infra.contracts.errors import RequestFailed
from infra.engines.endpoint import Endpoint
from infra.engines.forced import Malformed
from infra.machine import interrupts
from infra.scoring import forced_reads, protocol
from infra.scoring.batches import Batch
from infra.scoring.failures import REMEDIES, Failure, Refused, Throttled, Transient, of_status
from infra.scoring.pace import Pace
from infra.scoring.plan import Read
from infra.scoring.protocol import Question, Reply
from infra.scoring.tokens import count

ATTEMPTS = 5
"""How often a question is asked that the server answers with a failure."""

PATIENCE_SECONDS = 120.0
"""How long a server may answer nothing, or nothing but "later", before we give up."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0
_WATCH_SECONDS = 0.5
_LOOK_SECONDS, _CALM_LOOK_SECONDS = 0.25, 2.0
"""Between two looks at the server's counters: while the pace changes, and while it does not."""
_CONNECT_SECONDS = 10.0

_CHATS = "chat/completions"

Receive = Callable[[Sequence[tuple[Question, Reply]]], None]


@dataclass
class Counts:
    """What was sent and what came back."""

    requests: int = 0
    """HTTP requests, those asked again included."""

    retries: int = 0
    answered: int = 0
    """Questions."""

    prompt_tokens: int = 0
    """Of the questions that were answered."""


class Client:
    """Asks one server."""

    path = "completions"
    """What questions go to, below the server's address."""

    patience: float | None = None
    """Seconds, instead of `PATIENCE_SECONDS`."""

    longest_wait = 60.0
    """Seconds that a server's "come again later" is heeded."""

    proxied = False
    """Whether the proxies count that the environment names."""

    def __init__(
        self,
        server: Endpoint,
        *,
        pace: Pace,
        seed: int,
        timeout: float,
        say: Callable[[str], None],
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            server: Where requests go.
            pace: How many questions at a time.
            seed: Sent with each request.
            timeout: Seconds a request may take before it is sent again.
            say: Hears what a user should know, once.
        """
        self._server = server
        self._pace = pace
        self._seed = seed
        self._timeout = timeout
        self._say = say
        self._last_success = 0.0
        # Of its own: what task code draws from the shared generator is seeded.
        self._jitter = random.Random()  # noqa: S311 -- not for secrets
        self.counts = Counts()

    @property
    def forces(self) -> bool:
        """Whether tokens are read by forcing them: the server has no better way."""
        can = self._server.can
        better = {Capability.CHOSEN_LOGPROBS, Capability.ECHO_LOGPROBS}
        return Capability.FORCED_LOGPROBS in can and better.isdisjoint(can)

    @property
    def echoes(self) -> bool:
        """Whether prompts may be echoed where that costs less than reading."""
        return not self.forces

    def ask(
        self, batches: Iterable[Batch], receive: Receive, whose: Callable[[Question], str]
    ) -> None:
        """Ask all, and return when each is answered.

        Must not be called on a thread that runs an event loop.

        Args:
            batches: What to ask, in order.
            receive: Gets answers as they come, each question once.
            whose: Names task and document of a question, for errors.

        Raises:
            EvaluationError: A question is refused, or fails again and again.
        """
        interrupts.run(self._watched(self._ask_all(batches, receive, whose)))

    def can_read(self) -> bool:
        """Ask the server whether it can return the probabilities of chosen tokens.

        Raises:
            EvaluationError: It does not answer, or refuses us.
        """
        able: bool = interrupts.run(self._watched(self._probe()))
        return able

    async def _watched(self, work: Any) -> Any:
        """Await something, and give up at once when the server is dead."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=_WATCH_SECONDS)
                self._server.raise_if_dead()
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _probe(self) -> bool:
        async with self._session() as session:
            try:
                body = protocol.probe(self._server.model)
                return protocol.can_read(await self._persist(session, body))
            except Refused as error:
                if error.all_alike:
                    raise self._given_up(error, "the first question") from None
                return False
            except Transient as error:
                raise self._given_up(error, "the first question") from None

    async def _ask_all(
        self, batches: Iterable[Batch], receive: Receive, whose: Callable[[Question], str]
    ) -> None:
        in_flight: dict[asyncio.Task[list[tuple[Question, Reply]]], int] = {}
        async with self._session() as session:
            looking = asyncio.create_task(self._look(lambda: sum(in_flight.values())))
            try:
                for batch in batches:
                    left = batch
                    while left:
                        room = self._pace.limit - sum(in_flight.values())
                        if in_flight and room < min(len(left), self._pace.limit):
                            await _collect(in_flight, receive)
                            continue
                        part, left = left[: self._pace.limit], left[self._pace.limit :]
                        task = asyncio.create_task(self._ask(session, part, whose))
                        in_flight[task] = len(part)
                while in_flight:
                    await _collect(in_flight, receive)
            finally:
                for under_way in (looking, *in_flight):
                    under_way.cancel()
                await asyncio.gather(looking, *in_flight, return_exceptions=True)

    async def _ask(
        self, session: aiohttp.ClientSession, batch: Batch, whose: Callable[[Question], str]
    ) -> list[tuple[Question, Reply]]:
        """Ask a batch; if it is refused, its parts, down to the question that is to blame."""
        try:
            replies = await self._exchange(session, batch)
        except Refused as error:
            if len(batch) == 1 or error.all_alike:
                raise self._given_up(error, whose(batch[0])) from None
            half = len(batch) // 2
            first = await self._ask(session, batch[:half], whose)
            return [*first, *await self._ask(session, batch[half:], whose)]
        except Transient as error:
            raise self._given_up(error, whose(batch[0])) from None
        self.counts.answered += len(batch)
        self.counts.prompt_tokens += sum(count(question.prompt) for question in batch)
        return list(zip(batch, replies, strict=True))

    async def _exchange(self, session: aiohttp.ClientSession, batch: Batch) -> list[Reply]:
        """Send what a batch takes, one request after the other; return the replies."""
        steps = self._steps(batch)
        try:
            body = next(steps)
            while True:
                body = steps.send(await self._persist(session, body))
        except StopIteration as end:
            replies: list[Reply] = end.value
            return replies
        except Malformed as error:
            raise Refused(f"the answer cannot be used ({error})") from None

    def _steps(self, batch: Batch) -> Generator[dict[str, Any], Any, list[Reply]]:
        """Yield the bodies that a batch takes, be sent their answers, and return the replies."""
        reads = [question for question in batch if isinstance(question, Read)]
        if self.forces and reads:
            return [*(yield from forced_reads.steps(self._server.model, reads, seed=self._seed))]
        answer = yield self._body(batch)
        return self._replies(batch, answer)

    def _body(self, batch: Batch) -> dict[str, Any]:
        """Return the body of the request that asks a batch."""
        return protocol.body(self._server.model, batch, seed=self._seed)

    def _replies(self, batch: Batch, answer: Any) -> list[Reply]:
        """Return what an answer says to each question."""
        return protocol.replies(batch, answer)

    async def _persist(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> Any:
        """Send a request until it is answered."""
        attempt, tries, silent_since = 0, 0, None
        while True:
            try:
                return await self._post(session, body)
            except Transient as error:
                if error.status is None or isinstance(error, Throttled):
                    # Nobody answers, since the server may be starting anew, or it has too much to
                    # do. As long as any question is answered, the others have to wait.
                    silent_since = max(silent_since or time.monotonic(), self._last_success)
                    if time.monotonic() - silent_since > (self.patience or PATIENCE_SECONDS):
                        raise
                else:
                    attempt += 1
                    if attempt >= ATTEMPTS:
                        raise
                if isinstance(error, Throttled):
                    self._pace.back_off()
                self.counts.retries += 1
                pause = min(_FIRST_PAUSE * 2**tries, _LONGEST_PAUSE)
                tries += 1
                wait = min(error.wait, self.longest_wait)
                await asyncio.sleep(max(wait, pause * self._jitter.uniform(0.5, 1.5)))

    async def _post(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> Any:
        self.counts.requests += 1
        try:
            async with session.post(
                f"{self._server.base_url}/{_CHATS if 'messages' in body else self.path}",
                data=orjson.dumps(body),
                headers={**self._server.headers, "Content-Type": "application/json"},
            ) as response:
                answer = await response.read()
                status, retry_after = response.status, response.headers.get("Retry-After")
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise Transient(f"the connection was lost ({type(error).__name__})") from None
        except TimeoutError:
            raise Transient(f"there was no answer within {self._timeout:g} s", 408) from None
        if status != 200:
            raise of_status(status, answer, retry_after)
        self._last_success = time.monotonic()
        try:
            return orjson.loads(answer)
        except ValueError as error:
            raise Refused(f"the answer is not JSON ({error})") from None

    async def _look(self, in_flight: Callable[[], int]) -> None:
        """Follow the server's counters for as long as this is not cancelled."""
        if self._pace.fixed is not None:
            return
        pause = _LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            load = await asyncio.to_thread(self._server.load)
            before = self._pace.limit
            if load is None:
                self._pace.rest()  # it does not say, or not now: all we have is what it refuses
            else:
                self._pace.follow(load, in_flight())
            pause = (
                _LOOK_SECONDS if self._pace.limit != before else min(pause * 2, _CALM_LOOK_SECONDS)
            )

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        timeout = aiohttp.ClientTimeout(total=self._timeout, sock_connect=_CONNECT_SECONDS)
        # The pace is the limit; keep-alive connections are as many as that takes.
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, trust_env=self.proxied
        ) as session:
            yield session

    def _given_up(self, error: Failure, whose: str) -> RequestFailed:
        text = str(error)
        for value in self._server.headers.values():
            if secret := value.removeprefix("Bearer ").strip():
                text = text.replace(secret, "***")
        cause, remedy = REMEDIES.get(error.status, ("", ""))  # type: ignore[call-overload]
        return RequestFailed(
            f"The server could not be asked {whose}: {text}",
            cause=cause,
            remedy=remedy or "Read the server's log for what went wrong there.",
            status=error.status,
        )


async def _collect(
    in_flight: dict[asyncio.Task[list[tuple[Question, Reply]]], int], receive: Receive
) -> None:
    """Wait for answers, but not for long, since the pace may allow more; hand them on."""
    done, _ = await asyncio.wait(
        in_flight, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
    )
    failure = None
    for task in done:
        del in_flight[task]
        if task.exception() is None:
            receive(task.result())  # what was answered beside a failure is not lost
        else:
            failure = task.exception()
    if failure is not None:
        raise failure
