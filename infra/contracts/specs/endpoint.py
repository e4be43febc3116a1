"""An endpoint that somebody else runs."""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field

from infra.contracts.errors import SpecError
from infra.contracts.specs.models import ModelSpec
from infra.contracts.specs.spec import Spec, refuse

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_KEY_LIKE = re.compile(r"(AKIA|ASIA)[A-Z0-9]{12,}")
"""Access keys that would pass for the name of a variable."""

_PATHS = ("/completions", "/models", "/embeddings", "/responses")


class BudgetSpec(Spec):
    """What an evaluation may cost at most. A request that would exceed it is not sent."""

    requests: int | None = Field(default=None, ge=1)
    """HTTP requests, those asked again included. Empty: no limit."""

    tokens: int | None = Field(default=None, ge=1)
    """Tokens of prompts and answers together. Empty: no limit."""

    money: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """In the currency of the prices. Empty: no limit."""


class EndpointSpec(Spec):
    """A model behind a URL. What it can do is found out by asking, before anything is evaluated."""

    url: str
    """Address of the API that speaks as OpenAI's does, with its version: `http://host:8000/v1`."""

    model: str = Field(min_length=1)
    """Name of the model, as the endpoint lists it."""

    key_variable: str | None = None
    """Name of the environment variable that holds the key; never the key. Empty: none is sent."""

    version: str | None = Field(default=None, min_length=1)
    """Your word for what answers there now: weights, engine, settings. Answers are kept under it,
    and taken from earlier runs as long as it, and what the endpoint says of itself, are the same.
    Empty: nobody knows whether it still is
    what it was, so every run asks everything anew."""

    tokenizer: ModelSpec | None = None
    """Where the model's own tokenizer and chat template lie; weights are not downloaded. Needed for
    tasks that read log-probabilities. Empty: prompts are sent as text."""

    window: int | None = Field(default=None, ge=64)
    """Tokens of prompt and answer together. Empty: what the endpoint says of itself."""

    concurrency: int = Field(default=4, ge=1, le=1024)
    """Requests in flight at a time."""

    timeout_seconds: int = Field(default=600, ge=1, le=3600)
    """How long an answer may take before the request is sent again."""

    patience_seconds: int = Field(default=600, ge=1)
    """How long the endpoint may answer nothing but "later", or ask to wait with `Retry-After`,
    before the run ends."""

    prompt_price: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Of a million tokens of prompts."""

    answer_price: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Of a million generated tokens."""

    budget: BudgetSpec = BudgetSpec()
    """What may be spent, finding out what the endpoint can included."""

    @property
    def base_url(self) -> str:
        """The address that paths are below: with `/v1`, where the URL names no path."""
        whole = self.url.strip().rstrip("/")
        return whole if urlsplit(whole).path else f"{whole}/v1"

    @property
    def proxied(self) -> bool:
        """Whether it is reached by the proxies that the environment names: not on this machine."""
        return urlsplit(self.base_url).hostname not in ("127.0.0.1", "localhost", "::1")

    @refuse
    def _url_is_an_address(self) -> Self:
        try:
            parts = urlsplit(self.url.strip())
            host, _ = parts.hostname, parts.port
        except ValueError:
            parts, host = urlsplit(""), None
        if parts.username or parts.password or "@" in parts.netloc:
            raise SpecError(
                "endpoint.url holds a user name or a password.",
                cause="The URL stands in reports and logs.",
                remedy="Take it out; put the key into an environment variable and its name into "
                "endpoint.key_variable.",
            )
        if parts.scheme not in ("http", "https") or not host:
            raise SpecError(
                "endpoint.url is no http or https address with a host.",
                remedy="Write it like http://127.0.0.1:8000/v1 or https://api.example.com/v1.",
            )
        if parts.query or parts.fragment:
            raise SpecError(
                "endpoint.url holds a query or a fragment.",
                cause="Keys are often given there, and the URL stands in reports and logs.",
                remedy="End the URL with its path. A key belongs into an environment variable, "
                "and its name into endpoint.key_variable.",
            )
        if wrong := next((path for path in _PATHS if parts.path.rstrip("/").endswith(path)), None):
            raise SpecError(
                f"endpoint.url ends in {wrong}.",
                cause="It is the address of the whole API; paths of single requests are added.",
                remedy="End it before that, mostly with /v1.",
            )
        return self

    @refuse
    def _key_is_a_name(self) -> Self:
        name = self.key_variable
        if name is not None and (not _VARIABLE.fullmatch(name) or _KEY_LIKE.fullmatch(name)):
            raise SpecError(
                "endpoint.key_variable is no name of an environment variable.",
                cause="It names the variable that holds the key (capitals, digits, underscores); "
                "a key itself would stand in reports and logs. It is not shown here.",
                remedy="Export the key in the shell that starts the run or the worker, for example "
                "as ENDPOINT_KEY, and set endpoint.key_variable to ENDPOINT_KEY.",
            )
        return self

    @refuse
    def _money_has_prices(self) -> Self:
        if self.budget.money is not None and not (self.prompt_price or self.answer_price):
            raise SpecError(
                "endpoint.budget.money is set, but no price is.",
                cause="Without prices everything costs nothing, and the limit would never hold.",
                remedy="Set endpoint.prompt_price and endpoint.answer_price, of a million tokens.",
            )
        return self
