"""The Prefect API that records a run: how it is reached, and whether it answers."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

import httpx

from infra.contracts.errors import AssayError, PrefectUnreachable
from infra.preflight.findings import Finding, look, note, ok, problem

NAME = "Prefect API"
SECONDS = 3.0
"""Patience with the question whether it is well."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)


@dataclass(frozen=True)
class PrefectApi:
    """A configured Prefect API. What is no word for its host may be a secret, and is not shown."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What lets its user in."""

    certificates: str | None = None
    """File of the authorities that are trusted; none for those of this machine."""

    verified: bool = True
    """Whether it has to show who it is; if not, no certificates are looked at."""

    cloud: str | None = None
    """Address of Prefect Cloud, where a key is asked about; none for a server."""

    @property
    def host(self) -> str:
        """Host and port, to show."""
        try:
            return urlsplit(self.url).netloc.rpartition("@")[2] or "that address"
        except ValueError:
            return "that address"

    @property
    def is_here(self) -> bool:
        """Whether it is of this machine, which no proxy reaches."""
        return httpx.URL(self.url).host in _LOOPBACK

    def client(self, seconds: float) -> httpx.Client:
        """Return a client that is let in.

        Args:
            seconds: Its patience with each question.

        Raises:
            httpx.InvalidURL: The address is none.
            OSError: There are no such certificates.
        """
        trusted = self.certificates
        return httpx.Client(
            base_url=self.url,
            headers=dict(self.headers),
            timeout=seconds,
            verify=self.verified and (not trusted or ssl.create_default_context(cafile=trusted)),
            trust_env=not self.is_here,
        )


def looking(configured: Callable[[], PrefectApi | None], *, in_flow: bool) -> Callable[[], Finding]:
    """Return what looks whether the configured API answers.

    Which one that is, is found out at once: Prefect's settings are a thread's own.

    Args:
        configured: Returns it; none where a run brings one along. Raises if there can be none.
        in_flow: It carries the run out, so it was reached: a slow answer refuses nobody.
    """
    try:
        api = configured()
    except AssayError as error:
        return partial(problem, NAME, error)
    if api is None:
        return partial(ok, NAME, "none is configured: a server of its own comes with the run")
    return partial(_look, api, in_flow=in_flow)


def _look(api: PrefectApi, *, in_flow: bool) -> Finding:
    found = look(NAME, partial(answers, api))
    return note(NAME, found.found) if in_flow and found.status == "problem" else found


def answers(api: PrefectApi) -> Finding | str:
    """Check that a Prefect API answers.

    Raises:
        PrefectUnreachable: It does not, or Prefect Cloud does not know the key.
    """
    try:
        with api.client(SECONDS) as client:
            # What Prefect's own clients ask of either.
            asked = f"{api.cloud}/me/workspaces" if api.cloud else f"{api.url.rstrip('/')}/health"
            answer = client.get(asked)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise PrefectUnreachable(
            f"The Prefect API at {api.host} does not answer ({type(error).__name__}).",
            cause="PREFECT_API_URL names it, as a variable or in Prefect's active profile.",
            remedy="Start it (`make ui`); or correct PREFECT_API_URL, or unset it for a run that "
            "needs no server: `prefect config view` says where it is set.",
        ) from error
    page = "html" in answer.headers.get("Content-Type", "")  # of a gateway, or of something else
    if answer.is_success and not page:
        return f"{api.host} answers"
    if api.cloud:
        raise _of_cloud(api, answer.status_code)
    if answer.status_code in _REFUSED:
        unkeyed = "" if "Authorization" in api.headers else " without a key"
        return note(NAME, f"{api.host} answers HTTP {answer.status_code}{unkeyed}")
    raise PrefectUnreachable(
        f"{api.host} answers {'with a page, ' * page}HTTP {answer.status_code} at "
        "PREFECT_API_URL/health.",
        cause="It is no Prefect API, or one in trouble.",
        remedy="Set PREFECT_API_URL to the address that ends with /api.",
    )


def _of_cloud(api: PrefectApi, code: int) -> PrefectUnreachable:
    if code in _REFUSED:
        return PrefectUnreachable(
            f"Prefect Cloud at {api.host} refuses the key (HTTP {code}).",
            cause="PREFECT_API_KEY is none of its keys, or none any more.",
            remedy="`prefect cloud login` puts another one into the active profile.",
        )
    return PrefectUnreachable(
        f"Prefect Cloud at {api.host} answers HTTP {code}.",
        cause="It is in trouble.", remedy="Try again later, or let PREFECT_API_URL name a server.",
    )  # fmt: skip
