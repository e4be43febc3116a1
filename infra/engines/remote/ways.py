"""Ways to have the log-probabilities of given tokens, each proved on short texts.

A server's word is not enough: one ignores `echo`, one gives log-probabilities that belong to the
next position, one leaves them out. What it gives is therefore held against what it says of the same
tokens when it generates them itself: another path through the same model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from infra.contracts.capability import Capability
from infra.contracts.errors import EndpointError
from infra.contracts.records.endpoint import Scoring
from infra.engines.proof import Unproved, proof, prove
from infra.engines.remote.answers import Step, token_of, written
from infra.engines.remote.asking import Asker

TEXTS = (
    "The capital of France is",
    "Once upon a time there was a",
    "To be, or not to be, that is the",
    "def add(a, b):\n    return",
)
"""What is sent to find out what an endpoint can, besides the tasks' own prompts."""

TOLERANCE = 0.05
"""Nats by which two answers of one server may differ: it computes in half precision, and adds up
in another order with every batch."""

_TELLING = 4 * TOLERANCE
"""Neighbours have to differ by more, or a value of the wrong place would pass."""

_STEPS = 8
_FEWEST = 3
"""Positions that have to tell."""

Encode = Callable[[str], Sequence[int]]


class Tokenizing(NamedTuple):
    """How texts become tokens here."""

    prompt: Encode
    """A whole prompt, with what comes before each."""

    bare: Encode
    """What follows a prompt."""


class NotProved(Exception):
    """The way does not work here; the message says why."""


class Way(Protocol):
    """One way to have log-probabilities of given tokens."""

    @property
    def name(self) -> Scoring:
        """In records."""

    @property
    def capability(self) -> Capability:
        """What a server has that it works on."""

    def prove(self, asker: Asker, tokens: Tokenizing) -> str:
        """Return what showed that it works.

        Args:
            asker: The endpoint.
            tokens: Text → token ids.

        Raises:
            NotProved: It does not.
            EndpointError: The endpoint does not answer any more.
        """


def answer_to(asker: Asker, body: Mapping[str, Any], path: str = "/completions") -> dict[str, Any]:
    """Return the answer to a request that the endpoint may not know.

    Raises:
        NotProved: It refuses it.
        EndpointError: It does not answer, or would refuse everything.
    """
    try:
        answer: dict[str, Any] = asker.post(path, body)
    except EndpointError as error:
        if error.status in (200, 400, 404, 405, 415, 422, 500, 501):
            raise NotProved(error.fact.rstrip(".")) from None
        raise
    return answer


def greedy(asker: Asker, prompt: Sequence[int], **more: Any) -> tuple[Step, ...]:
    """Return what the endpoint writes after a prompt, token by token.

    Raises:
        NotProved: It gives no log-probabilities of it.
    """
    body = {"prompt": [list(prompt)], "max_tokens": _STEPS, "temperature": 0, "logprobs": 5, **more}
    steps = written(answer_to(asker, body)).steps
    if not steps:
        raise NotProved("log-probabilities were asked for and left out without a word")
    return steps


@dataclass(frozen=True)
class ReadChosen:
    """`logprob_token_ids`: log-probabilities of named tokens at the next position."""

    name: Scoring = "read"
    capability: Capability = Capability.CHOSEN_LOGPROBS

    def prove(self, asker: Asker, tokens: Tokenizing) -> str:
        """Hold tokens that are read against the likeliest ones as it generates."""
        shown: list[float] = []
        for text in TEXTS[:3]:
            prompt = tokens.prompt(text)
            more = {"return_tokens_as_token_ids": True, "max_tokens": 1}
            first = greedy(asker, prompt, **more)[0]
            likely = {token_of(key): value for key, value in first.top.items()}
            if None in likely or len(likely) < 2:
                raise NotProved("it does not know `return_tokens_as_token_ids`")
            rare = [token for token in range(10, 40) if token not in likely][:3]
            wanted = sorted([*(token for token in likely if token is not None), *rare])
            found = self._read(asker, prompt, wanted)
            for token, value in likely.items():
                if token is not None and abs(found[token] - value) > TOLERANCE:
                    raise NotProved(
                        f"it reads {found[token]:.3f} for a token of which it says {value:.3f} "
                        "when it generates: log-probabilities of other tokens"
                    )
            if any(found[token] > min(likely.values()) + TOLERANCE for token in rare):
                raise NotProved("it reads more for rare tokens than for the likeliest ones")
            if sum(map(math.exp, found.values())) > 1 + TOLERANCE:
                raise NotProved("what it reads adds up to more than 1")
            shown += likely.values()
        if max(shown) - min(shown) < _TELLING:
            raise NotProved("all its log-probabilities are alike, so nothing can be shown")
        return f"{len(shown)} log-probabilities that it reads are those of the tokens it generates"

    def _read(self, asker: Asker, prompt: Sequence[int], wanted: Sequence[int]) -> dict[int, float]:
        body = {
            "prompt": [list(prompt)], "max_tokens": 1, "temperature": 0, "logprobs": len(wanted),
            "logprob_token_ids": list(wanted), "return_tokens_as_token_ids": True,
        }  # fmt: skip
        steps = written(answer_to(asker, body)).steps
        tops = {token_of(key): value for key, value in steps[0].top.items()} if steps else {}
        try:
            return {token: tops[token] for token in wanted}
        except KeyError:
            raise NotProved("it does not know `logprob_token_ids`") from None


@dataclass(frozen=True)
class EchoPrompt:
    """`echo` with `logprobs`: the prompt's own tokens with their log-probabilities."""

    name: Scoring = "echo"
    capability: Capability = Capability.ECHO_LOGPROBS

    def prove(self, asker: Asker, tokens: Tokenizing) -> str:
        """Have tokens echoed that it generated, and compare what it says of them."""
        shown, telling = 0, 0
        for text in TEXTS:
            prompt = list(tokens.prompt(text))
            steps = greedy(asker, prompt)
            own = _ids(steps, tokens.bare)
            if not own:
                continue
            values = [step.logprob for step in steps[: len(own)]]
            echoed = self._echoed(asker, [*prompt, *own])
            start = len(prompt)
            self._require_equal(values, echoed, start)
            shown += len(values)
            telling += sum(
                abs(echoed[start + place + 1] - value) > _TELLING
                for place, value in enumerate(values[:-1])
            )
            self._require_ranks(asker, tokens, prompt, steps[0])
            if telling >= _FEWEST:
                return f"{shown} log-probabilities in echoes are those of the tokens it generated"
        raise NotProved("what it generates is too uniform to show that echoes are in place")

    def _require_ranks(
        self, asker: Asker, tokens: Tokenizing, prompt: Sequence[int], step: Step
    ) -> None:
        """Have a token echoed that is not the likeliest: it must not be listed as if it were."""
        for text, value in sorted(step.top.items(), key=lambda item: item[1]):
            token = token_of(text)
            ids = [token] if token is not None else list(tokens.bare(text))
            if len(ids) == 1 and value < step.logprob - TOLERANCE:
                logprobs = self._answer(asker, [*prompt, ids[0]])
                listed = logprobs["top_logprobs"][len(prompt)]
                if not listed or abs(max(listed.values()) - step.logprob) > TOLERANCE:
                    raise NotProved(
                        "an echo does not list the likeliest tokens, but each one itself"
                    )
                return

    def _answer(self, asker: Asker, prompt: Sequence[int]) -> Mapping[str, Any]:
        body = {
            "prompt": [list(prompt)], "max_tokens": 1, "temperature": 0, "logprobs": 1,
            "echo": True,
        }  # fmt: skip
        logprobs = answer_to(asker, body)["choices"][0].get("logprobs")
        if not logprobs:
            raise NotProved("log-probabilities were asked for and left out without a word")
        found: Mapping[str, Any] = logprobs
        return found

    def _echoed(self, asker: Asker, prompt: Sequence[int]) -> list[float]:
        logprobs = self._answer(asker, prompt)
        values = logprobs.get("token_logprobs")
        if not isinstance(values, list) or len(values) == 1:
            raise NotProved("`echo` is ignored without a word: the prompt does not come back")
        if len(values) != len(prompt) + 1:
            raise NotProved(
                f"an echo of {len(prompt)} tokens and one generated has {len(values)} values"
            )
        # Nothing comes before the first token; some say 0 there, or none.
        rest = [value for value in values[1:] if isinstance(value, int | float)]
        if len(rest) != len(prompt) or not all(map(math.isfinite, rest)):
            raise NotProved("an echo has values that are no numbers")
        if not isinstance(logprobs.get("top_logprobs"), list):
            raise NotProved("an echo does not say which tokens would have been likelier")
        return [math.nan, *rest]

    def _require_equal(self, values: Sequence[float], echoed: Sequence[float], start: int) -> None:
        def differs(by: int) -> float:
            places = range(start + by, min(start + by + len(values), len(echoed)))
            pairs = zip(values, (echoed[place] for place in places), strict=False)
            return max(abs(one - other) for one, other in pairs)

        if differs(0) <= TOLERANCE:
            return
        for by in (-1, 1):
            if differs(by) <= TOLERANCE:
                raise NotProved(
                    "echoed log-probabilities are off by one position: each stands where the "
                    f"{'token before' if by < 0 else 'next token'} belongs"
                )
        raise NotProved(
            f"echoed log-probabilities differ by up to {differs(0):.2f} nats from those of the "
            "same tokens when it generates them"
        )


@dataclass(frozen=True)
class ForceToken:
    """`logit_bias`: the log-probability that a token has which it is made to generate."""

    name: Scoring = "forced"
    capability: Capability = Capability.FORCED_LOGPROBS

    def prove(self, asker: Asker, tokens: Tokenizing) -> str:
        """Force tokens that it lists among the likeliest, and others; see `infra.engines.proof`."""
        shown = 0
        for text in TEXTS[1:3]:
            try:
                prove(
                    proof(asker.spec.model, list(tokens.prompt(text))),
                    lambda body: answer_to(asker, body),
                )
            except Unproved as why:
                raise NotProved(str(why)) from None
            shown += 1
        return f"tokens forced after {shown} texts have the log-probabilities that it lists of them"


WAYS: tuple[Way, ...] = (ReadChosen(), EchoPrompt(), ForceToken())
"""All that the scoring client knows; it takes the first that works."""


def _ids(steps: Sequence[Step], bare: Encode) -> list[int]:
    """Return the ids of generated tokens, of as many as can be told."""
    if all(step.token is not None for step in steps):
        return [step.token for step in steps if step.token is not None]
    for count in range(len(steps), 1, -1):
        found = list(bare("".join(step.text for step in steps[:count])))
        if len(found) == count:
            return found
    return []
