"""Single requests to an endpoint that somebody else runs, within its limits and the budget.

Whatever it answers is a value or one `EndpointError`; a key stands in neither.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import httpx
import orjson
from pydantic import SecretStr

from infra.contracts.errors import EndpointError
from infra.contracts.specs.endpoint import EndpointSpec
from infra.engines.connection import connect
from infra.engines.remote.budget import Budget, Share
from infra.engines.retry_after import seconds

_LATER = frozenset([408, 425, 429, 500, 502, 503, 504])
_ATTEMPTS = 4
"""How often a request is sent that fails without a word on when to come again."""

_FIRST_PAUSE = 0.5
_EXCERPT_CHARACTERS = 300
_BYTES_A_TOKEN = 4


def key_of(spec: EndpointSpec) -> SecretStr | None:
    """Return the key of an endpoint; none if it takes none.

    Raises:
        EndpointError: The variable that shall hold it is not set, or holds none.
    """
    if spec.key_variable is None:
        return None
    value = os.environ.get(spec.key_variable, "").strip()
    if not value:
        raise EndpointError(
            f"The environment variable {spec.key_variable} is not set.",
            cause="endpoint.key_variable names it as what holds the endpoint's key.",
            remedy=f"Export {spec.key_variable} in the shell that starts the run or the worker, or "
            "leave endpoint.key_variable out where no key is needed.",
        )
    if not value.isascii() or not value.isprintable() or " " in value:
        raise EndpointError(
            f"What {spec.key_variable} holds cannot be sent as a key.",
            cause="It has blanks, line ends or letters beyond ASCII. It is not shown here.",
            remedy=f"Set {spec.key_variable} to the key alone.",
        )
    return SecretStr(value)


def headers_of(key: SecretStr | None) -> dict[str, str]:
    """Return what each request carries."""
    return {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}


class Asker:
    """Asks one endpoint, one request at a time."""

    def __init__(
        self,
        spec: EndpointSpec,
        budget: Budget,
        say: Callable[[str], None],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Make an asker; nothing is sent yet.

        Args:
            spec: The endpoint.
            budget: What may be spent.
            say: Hears when the endpoint lets us wait.
            sleep: Waits so many seconds.

        Raises:
            EndpointError: There is no key, although one is wanted.
        """
        self.spec = spec
        self.budget = budget
        self._say = say
        self._sleep = sleep
        self.fingerprints: set[str] = set()
        """Configurations that gave the answers, as these name them."""

        self._key = key_of(spec)
        self._client = connect(
            spec.base_url,
            headers_of(self._key),
            seconds=float(spec.timeout_seconds),
            proxied=spec.proxied,
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def get(self, path: str) -> Any:
        """Return what the endpoint answers to a GET, as JSON; none if it has no such path.

        Raises:
            EndpointError: It does not answer, or refuses.
        """
        try:
            return self._persist("GET", path, None, Share(0, 0))
        except EndpointError as error:
            # 200: there is a page, and no JSON on it.
            if error.status in (200, 400, 404, 405, 422, 500, 501):
                return None
            raise

    def get_beside(self, path: str) -> Any:
        """Return what a page beside the API says, as JSON; none if there is none for us.

        Raises:
            EndpointError: Nobody answers there any more.
        """
        try:
            root = self.spec.base_url.removesuffix("/v1")
            return self._persist("GET", path, None, Share(0, 0), root=root)
        except EndpointError as error:
            if error.status is None:
                raise
            return None

    def post(self, path: str, body: Mapping[str, Any], holds: str = "choices") -> Any:
        """Return what the endpoint answers to a request for tokens, or for vectors.

        Args:
            path: Below the address.
            body: Without the model's name.
            holds: What an answer has to have.

        Raises:
            EndpointError: It does not answer, or refuses.
            BudgetSpent: The request would cost too much.
        """
        share = share_of(body)
        answer = self._persist("POST", path, {**body, "model": self.spec.model}, share)
        if not isinstance(answer, dict) or not answer.get(holds):
            raise EndpointError(
                f"{self._url(path)} answers without {holds}.",
                cause="It is no API of OpenAI's shape, or leaves out what it could not answer: "
                f"{self._plain(orjson.dumps(answer).decode())}",
                remedy="Compare endpoint.url with the address in the endpoint's own documentation.",
                status=200,
            )
        if isinstance(named := answer.get("system_fingerprint"), str) and named:
            self.fingerprints.add(named)
        return answer

    def pause(self, seconds: float) -> None:
        """Wait so many seconds."""
        self._sleep(seconds)

    def _persist(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        share: Share,
        root: str | None = None,
    ) -> Any:
        waited, attempt = 0.0, 0
        while True:
            try:
                return self._send(method, path, body, share, root or self.spec.base_url)
            except _Later as later:
                attempt += 1
                pause = later.wait or _FIRST_PAUSE * 2 ** (attempt - 1)
                without_word = not later.wait and attempt >= _ATTEMPTS
                if without_word or waited + pause > self.spec.patience_seconds:
                    raise self._given_up(path, later, pause) from None
                if later.wait:
                    self._say(f"the endpoint asks to wait {pause:.0f} s ({later.text})")
                waited += pause
                self._sleep(pause)

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, share: Share, root: str
    ) -> Any:
        self.budget.take(share)
        try:
            answered = self._client.request(
                method,
                f"{root}{path}",
                content=None if body is None else orjson.dumps(body),
                headers={"Content-Type": "application/json"} if body is not None else {},
            )
        except httpx.TimeoutException:
            raise _Later("it did not answer in time", None, 0.0) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _Later(self._plain(f"{type(error).__name__}: {error}"), None, 0.0) from None
        status = answered.status_code
        if status != HTTPStatus.OK:
            self.budget.settle(share, 0, 0)
            text = f"HTTP {status}: {self._plain(message_of(answered.content))}"
            if status in _LATER and method == "POST":
                raise _Later(text, status, seconds(answered.headers.get("Retry-After")))
            raise self._refused(path, status, text)
        try:
            answer = orjson.loads(answered.content)
        except ValueError:
            raise EndpointError(
                f"{self._url(path)} answers with something that is no JSON.",
                cause="It is a web page or another service: "
                + self._plain(answered.text)[:80].replace("\n", " "),
                remedy="Compare endpoint.url with the address in the endpoint's own documentation.",
                status=status,
            ) from None
        if body is not None:
            self.budget.settle(share, *usage_of(answer, share))
        return answer

    def _url(self, path: str) -> str:
        return f"{self.spec.base_url}{path}"

    def _plain(self, text: str) -> str:
        if self._key:
            text = text.replace(self._key.get_secret_value(), "***")
        return text[:_EXCERPT_CHARACTERS]

    def _refused(self, path: str, status: int, text: str) -> EndpointError:
        variable = self.spec.key_variable
        if status == HTTPStatus.UNAUTHORIZED:
            return EndpointError(
                f"The endpoint does not accept {'the key' if variable else 'requests without key'}"
                f" ({text}).",
                cause=f"{variable} holds another service's key, or one that ended."
                if variable
                else "endpoint.key_variable is empty, so none was sent.",
                remedy=f"Export the right key as {variable}."
                if variable
                else "Export the key in an environment variable and name that in "
                "endpoint.key_variable.",
                status=status,
            )
        if status == HTTPStatus.FORBIDDEN:
            return EndpointError(
                f"The endpoint forbids this ({text}).",
                cause="The key may not use this model, or not from here.",
                remedy="Use a key that may, or another model.",
                status=status,
            )
        if status == HTTPStatus.PAYMENT_REQUIRED:
            return EndpointError(
                f"The endpoint wants to be paid first ({text}).",
                remedy="Top up the account that the key belongs to.",
                status=status,
            )
        return EndpointError(
            f"{self._url(path)} refuses a request ({text}).",
            cause="It has no such path, or no model of this name."
            if status == HTTPStatus.NOT_FOUND
            else "It does not take what the request asks.",
            remedy="Compare endpoint.url and endpoint.model with the endpoint's own list of "
            "models.",
            status=status,
        )

    def _given_up(self, path: str, later: _Later, pause: float) -> EndpointError:
        if later.status is None:
            return EndpointError(
                f"{self._url(path)} does not answer ({later.text}).",
                cause="Nothing listens there, a firewall is in the way, or it is overloaded.",
                remedy="Compare endpoint.url with the endpoint's own address, and see whether it "
                "runs; raise endpoint.timeout_seconds if it is only slow.",
                may_heal=True,
            )
        if later.wait:
            return EndpointError(
                f"The endpoint asks to wait {pause:,.0f} s ({later.text}).",
                cause="That is more than endpoint.patience_seconds "
                f"({self.spec.patience_seconds:,}): its limit for this key is used up.",
                remedy="Start the run again after that time, or raise endpoint.patience_seconds.",
                status=later.status,
                may_heal=True,
            )
        return EndpointError(
            f"The endpoint answers nothing but errors ({later.text}).",
            cause="It is overloaded or broken, and does not say when it will not be.",
            remedy="See whether it runs, and start the run again.",
            status=later.status,
            may_heal=True,
        )


class _Later(Exception):
    """Asking again may help."""

    def __init__(self, text: str, status: int | None, wait: float) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.wait = wait


def message_of(content: bytes) -> str:
    """Return what an endpoint says in an error, in OpenAI's shape or any other."""
    try:
        said = orjson.loads(content)
        error = said.get("error", said.get("detail", said))
        text = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        text = content.decode("utf-8", "replace")
    return " ".join(str(text)[:_EXCERPT_CHARACTERS].split())


def usage_of(answer: Any, share: Share) -> tuple[int, int]:
    """Return tokens of prompt and answer as the endpoint counts them, or else what was reserved.

    Some count one prompt of several: what was counted here is no less.
    """
    usage = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(usage, dict):
        return share.prompt_tokens, share.answer_tokens
    prompt, given = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return (
        max(prompt, share.prompt_tokens) if isinstance(prompt, int) else share.prompt_tokens,
        given if isinstance(given, int) else share.answer_tokens,
    )


def share_of(body: Mapping[str, Any]) -> Share:
    """Return what a request takes at most."""
    return Share(_prompt_tokens(body), _answer_tokens(body))


def _prompt_tokens(body: Mapping[str, Any]) -> int:
    """Return how many tokens a body's prompts have: counted, or guessed by their length."""
    if "messages" in body:
        said = "".join(str(one.get("content")) for one in body["messages"])
        functions = orjson.dumps(body["tools"]).decode() if body.get("tools") else ""
        return text_tokens(said + functions)
    prompt = body.get("prompt", body.get("input", ""))
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if prompts and isinstance(prompts[0], int):
        return len(prompts)
    return sum(text_tokens(one) if isinstance(one, str) else len(one) for one in prompts)


def text_tokens(text: str) -> int:
    """Return about how many tokens a text has, where nobody can count them."""
    return len(text.encode()) // _BYTES_A_TOKEN + 1


def _answer_tokens(body: Mapping[str, Any]) -> int:
    prompt = body.get("prompt")
    several = isinstance(prompt, list) and prompt and not isinstance(prompt[0], int)
    return int(body.get("max_tokens", 0)) * (len(prompt) if several and prompt else 1)
