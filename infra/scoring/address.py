"""The server of a model of lm-eval that was given an address and nothing else."""

from __future__ import annotations

from lm_eval.models.openai_completions import LocalCompletionsAPI

from infra.contracts.capability import Capability
from infra.engines.load import Load, ask
from infra.engines.registry import engines


class Address:
    """The server of a model that was given an address and nothing else."""

    def __init__(self, model: LocalCompletionsAPI) -> None:
        self._model = model

    @property
    def base_url(self) -> str:
        """Address, with `/v1`."""
        return str(self._model.base_url).rstrip("/").removesuffix("/completions")

    @property
    def headers(self) -> dict[str, str]:
        """What each request carries."""
        # Without a key stock sends a bare "Bearer ", which strict HTTP clients refuse.
        return {k: v for k, v in self._model.header.items() if v.strip() != "Bearer"}

    @property
    def model(self) -> str:
        """Name it serves the model under."""
        return str(self._model.model)

    @property
    def window(self) -> int:
        """Tokens of prompt and answer together, as the model was given."""
        return int(self._model.max_length)

    @property
    def can(self) -> frozenset[Capability]:
        """What lm-eval itself would ask it for; the rest is found out by asking."""
        return frozenset(
            [Capability.COMPLETIONS, Capability.TOKEN_PROMPTS, Capability.ECHO_LOGPROBS]
        )

    @property
    def meter(self) -> None:
        """None: nobody knows what it computes on."""

    def load(self) -> Load | None:
        """Return what it has to do, if it is an engine whose metrics we know."""
        return ask(
            self.base_url.removesuffix("/v1"),
            self.headers,
            [engine.metrics for engine in engines()],
        )

    def raise_if_dead(self) -> None:
        """Do nothing: there is no way to find out."""
