"""Asks an endpoint that somebody else runs: within its limits, within the budget, on its terms.

Every answer is held against what was found out before: who answers, and that neither prompts nor
answers are cut.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import aiohttp

from infra.contracts.capability import Capability
from infra.contracts.errors import BudgetSpent, EndpointError, RequestFailed
from infra.engines.remote.answers import written
from infra.engines.remote.asking import share_of, usage_of
from infra.engines.remote.budget import Share
from infra.engines.remote.endpoint import RemoteEndpoint
from infra.engines.remote.own_version import FINGERPRINT
from infra.scoring.batches import Batch
from infra.scoring.client import Client, Receive
from infra.scoring.failures import Failure, Refused, Throttled, Transient
from infra.scoring.plan import Echo, Read
from infra.scoring.protocol import ChatGeneration, Generation, Question, Reply
from infra.scoring.tokens import count

_TIMED_OUT = 408


class ForeignClient(Client):
    """Asks one endpoint that somebody else runs."""

    def __init__(self, server: RemoteEndpoint, **options: Any) -> None:
        """Make a client; nothing is sent yet. See `Client`."""
        super().__init__(server, **options)
        self._endpoint = server
        self.proxied = server.spec.proxied
        self._most_wait = float(server.spec.patience_seconds)
        self.patience = self.longest_wait = self._most_wait
        self._not_before = 0.0
        self._spent: BudgetSpent | None = None

    def can_read(self) -> bool:
        """Return whether it was shown to read chosen tokens.

        Raises:
            EndpointError: It was shown no way to have log-probabilities.
        """
        if self._endpoint.found.scoring == "none":
            raise EndpointError(
                "The endpoint gives no log-probabilities of given tokens.",
                cause="No way to have them was shown to work there.",
                remedy="Take tasks that let the model write, or an endpoint that has them.",
            )
        return self._endpoint.found.scoring == "read"

    @property
    def forces(self) -> bool:
        """Whether tokens are read by forcing them, which it was shown to honour."""
        return self._endpoint.found.scoring == "forced"

    @property
    def echoes(self) -> bool:
        """Whether it was shown to echo prompts."""
        return Capability.ECHO_LOGPROBS in self._endpoint.can

    def ask(
        self, batches: Iterable[Batch], receive: Receive, whose: Callable[[Question], str]
    ) -> None:
        """Ask all; what is under way when the budget is spent is still waited for.

        Raises:
            BudgetSpent: Not everything could be asked.
            EvaluationError: A question is refused, or fails again and again.
            EndpointError: It is not what it was when it was looked at.
        """
        if self._endpoint.rehearsal is not None:
            self._rehearse(batches, receive)
            return
        super().ask(self._affordable(batches), receive, whose)
        if self._spent is not None:
            raise self._spent

    def _affordable(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self._spent is not None:
                return
            yield batch

    def _rehearse(self, batches: Iterable[Batch], receive: Receive) -> None:
        rehearsal = self._endpoint.rehearsal
        for batch in batches:
            for start in range(0, len(batch), self._pace.limit):
                part = batch[start : start + self._pace.limit]
                for share in self._shares(part):
                    if rehearsal is not None:
                        rehearsal.count(
                            share.prompt_tokens, share.answer_tokens, counted=self._counts
                        )
                receive([(question, _nothing(question)) for question in part])

    def _shares(self, batch: Batch) -> Iterator[Share]:
        """Yield what each request of a batch takes; a forced token is one, listed or not."""
        reads = [question for question in batch if isinstance(question, Read)]
        if not self.forces or not reads:
            yield share_of(self._body(batch))
            return
        for token in sorted({token for read in reads for token in read.wanted}):
            prompts = [count(read.prompt) for read in reads if token in read.wanted]
            yield Share(sum(prompts), len(prompts))

    @property
    def _counts(self) -> bool:
        """Whether prompts are counted in tokens."""
        return True

    async def _ask(
        self, session: aiohttp.ClientSession, batch: Batch, whose: Callable[[Question], str]
    ) -> list[tuple[Question, Reply]]:
        try:
            return await super()._ask(session, batch, whose)
        except BudgetSpent as spent:
            # What others wait for is paid for; its answers are worth keeping.
            self._spent = spent
            return []

    def _replies(self, batch: Batch, answer: Any) -> list[Reply]:
        replies = super()._replies(batch, answer)
        return [ended(one, reply) for one, reply in zip(batch, replies, strict=True)]

    async def _post(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> Any:
        while (wait := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        share = share_of(body)
        self._endpoint.budget.take(share)
        try:
            answer = await super()._post(session, body)
        except Failure as error:
            if error.status not in (None, _TIMED_OUT):
                self._endpoint.budget.settle(share, 0, 0)  # errors are not charged for
            if isinstance(error, Transient) and error.wait:
                if error.wait > self._most_wait:
                    raise Refused(f"{error}; it asks to wait {error.wait:,.0f} s", 429) from None
                if isinstance(error, Throttled):
                    self._hold(error.wait)
            raise
        self._settle(share, body, answer)
        self._require_whole(body, answer)
        return answer

    def _hold(self, seconds: float) -> None:
        """Send nothing for a while: a limit is for all requests together."""
        until = time.monotonic() + seconds
        if until > self._not_before:
            self._not_before = until
            self._say(f"the endpoint asks to wait {seconds:.0f} s")

    def _settle(self, share: Share, body: dict[str, Any], answer: Any) -> None:
        prompt, given = usage_of(answer, share)
        prompts = body.get("prompt")
        if isinstance(prompts, list) and len(prompts) > 1:
            given = max(given, share.answer_tokens)  # some count the last prompt alone
        self._endpoint.budget.settle(share, prompt, given)

    def _require_whole(self, body: dict[str, Any], answer: Any) -> None:
        """Refuse answers of somebody else, and such that leave something out.

        Raises:
            EndpointError: They are.
        """
        if not isinstance(answer, dict) or not answer.get("choices"):
            return  # of another shape: whoever reads it says so
        one, before = written(answer), self._endpoint.found.answers_as
        if one.model and before and one.model != before:
            raise EndpointError(
                f"The endpoint answers as {one.model}; when it was looked at it was {before}.",
                cause="What stands behind the URL was changed, or several stand there.",
                remedy="Start the run again once it is one and the same; with another "
                "endpoint.version, so that no answer of the two is mixed.",
            )
        self._require_configuration(answer)
        if len(answer["choices"]) != 1:
            return
        share = share_of(body)
        by_tokens = "prompt" in body and not isinstance(body["prompt"], str)
        if by_tokens and one.prompt_tokens is not None and one.prompt_tokens < share.prompt_tokens:
            raise EndpointError(
                f"The endpoint read {one.prompt_tokens:,} tokens of a prompt of "
                f"{share.prompt_tokens:,}, without a word.",
                cause="Its window is smaller than it says, and it cuts what does not fit.",
                remedy="Set endpoint.window to what it really takes, or have it raised there.",
            )
        cut = one.ended == "length" and one.answer_tokens is not None
        if cut and one.answer_tokens < share.answer_tokens - 1:  # type: ignore[operator]
            raise EndpointError(
                f"The endpoint cut an answer after {one.answer_tokens:,} tokens, though "
                f"{share.answer_tokens:,} were allowed.",
                cause="It has a limit of its own for answers, or its window was full.",
                remedy="Lower max_gen_toks of the task to what it allows, or have it raised there.",
            )

    def _require_configuration(self, answer: dict[str, Any]) -> None:
        """Refuse another configuration, of an endpoint that had one alone when it was looked at."""
        now, before = answer.get(FINGERPRINT), self._endpoint.found.says.get(FINGERPRINT, "")
        if not before or ", " in before or not isinstance(now, str) or now in ("", before):
            return
        raise EndpointError(
            f"The endpoint's answers have the {FINGERPRINT} {now}; when it was looked at it was "
            f"{before}.",
            cause="Its engine, model or settings were changed, or several stand behind the URL.",
            remedy="Start the run again: no answer of the two is mixed then.",
        )

    def _given_up(self, error: Failure, whose: str) -> RequestFailed:
        said = super()._given_up(error, whose)
        fact = said.fact.replace("The server could", "The endpoint could", 1)
        cause, remedy = _REMEDIES.get(error.status, _OTHERWISE)
        return RequestFailed(fact, cause=cause, remedy=remedy, status=error.status)


_OTHERWISE = (
    "It is no longer what it was when it was looked at, or does not take what the task asks.",
    "See what it answers to such a request by hand; with endpoint.version set, no answer that was "
    "given is asked again.",
)
_REMEDIES: dict[int | None, tuple[str, str]] = {
    None: (
        "It ended, or cannot be reached any more.",
        "Start the run again when it answers; with endpoint.version set, no answer that was given "
        "is asked again.",
    ),
    400: (
        "The prompt does not fit its window, or it does not know a setting of the task.",
        "Set endpoint.window to what it takes, or lower num_fewshot or max_gen_toks of the task.",
    ),
    401: ("The key is no longer accepted.", "Export the right key in endpoint.key_variable."),
    403: ("The key may not do this.", "Use a key that may."),
    404: ("It no longer has this model.", "Compare endpoint.model with its list of models."),
    429: (
        "Its limit for this key is used up.",
        "Start the run again later, lower endpoint.concurrency, or raise "
        "endpoint.patience_seconds.",
    ),
}


def ended(question: Question, reply: Reply) -> Reply:
    """Return a reply whose text ends before the first stop string, as the task has it.

    Some servers leave the string in, and some take no notice of it.
    """
    if not isinstance(question, Generation) or not isinstance(reply, tuple):
        return reply
    if isinstance(question, ChatGeneration):
        return reply  # no text, but JSON
    text, _ = reply
    stops = json.loads(question.settings).get("stop") or []
    if not isinstance(text, str):
        return reply
    places = [text.find(stop) for stop in ([stops] if isinstance(stops, str) else stops) if stop]
    first = min((place for place in places if place >= 0), default=None)
    return reply if first is None else (text[:first], "stop")


def _nothing(question: Question) -> Reply:
    """Return a reply of the right shape that says nothing."""
    if isinstance(question, Read):
        return dict.fromkeys(question.wanted, (-1.0, False))
    if isinstance(question, Echo):
        return (-1.0, False)
    assert isinstance(question, Generation)  # noqa: S101 -- there are no others
    return "", "stop"


__all__: Sequence[str] = ("ForeignClient",)
