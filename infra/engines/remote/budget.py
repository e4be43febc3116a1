"""What an evaluation may cost: a request that would exceed it is never sent."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from infra.contracts.errors import BudgetSpent
from infra.contracts.records.endpoint import Spent
from infra.contracts.specs.endpoint import EndpointSpec

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Share:
    """What one request may take at most."""

    prompt_tokens: int
    answer_tokens: int


class Budget:
    """Counts what is sent. May be used from several threads.

    What is under way counts in full, as if each answer ran into its limit, so that the budget holds
    however the answers turn out.
    """

    def __init__(self, spec: EndpointSpec, before: Spent | None = None) -> None:
        """Begin.

        Args:
            spec: Limits and prices.
            before: What was spent already.
        """
        self._spec = spec
        before = before or Spent()
        self._requests = before.requests
        self._prompt, self._answer = before.prompt_tokens, before.answer_tokens
        self._lock = threading.Lock()

    @property
    def spent(self) -> Spent:
        """What was spent so far, with all that is under way."""
        with self._lock:
            return Spent(
                requests=self._requests,
                prompt_tokens=self._prompt,
                answer_tokens=self._answer,
                money=self.price(self._prompt, self._answer),
            )

    def price(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Return what tokens cost."""
        spec = self._spec
        return (spec.prompt_price * prompt_tokens + spec.answer_price * answer_tokens) / _MILLION

    def take(self, share: Share) -> None:
        """Take a request's share before it is sent.

        Raises:
            BudgetSpent: It would exceed the budget.
        """
        limits = self._spec.budget
        with self._lock:
            requests = self._requests + 1
            prompt = self._prompt + share.prompt_tokens
            answer = self._answer + share.answer_tokens
            money = self.price(prompt, answer)
            if limits.requests is not None and requests > limits.requests:
                raise _spent("requests", f"{limits.requests:,} requests")
            if limits.tokens is not None and prompt + answer > limits.tokens:
                raise _spent("tokens", f"{limits.tokens:,} tokens")
            if limits.money is not None and money > limits.money:
                raise _spent("money", f"{limits.money:g}")
            self._requests, self._prompt, self._answer = requests, prompt, answer

    def settle(self, share: Share, prompt_tokens: int, answer_tokens: int) -> None:
        """Put what a request really took in the place of its share."""
        with self._lock:
            self._prompt += prompt_tokens - share.prompt_tokens
            self._answer += answer_tokens - share.answer_tokens


def _spent(what: str, limit: str) -> BudgetSpent:
    return BudgetSpent(
        f"The next request to the endpoint would exceed endpoint.budget.{what} ({limit}).",
        cause="What was sent, and what is under way at its longest, is all that it allows. The "
        "request was not sent.",
        remedy=f"Raise endpoint.budget.{what}, or lower the limit or max_gen_toks of the tasks. "
        "With endpoint.version set, the answers that were given are kept and not asked again.",
    )
