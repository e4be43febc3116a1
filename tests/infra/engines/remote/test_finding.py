"""What an endpoint can is found out by asking, and a lie about it is found out as well."""

from __future__ import annotations

import pytest

from infra.contracts.capability import Capability
from infra.contracts.specs import BudgetSpec, EndpointSpec
from infra.engines.remote.asking import Asker
from infra.engines.remote.budget import Budget
from infra.engines.remote.finding import Findings, find_out
from infra.engines.remote.ways import Tokenizing
from tests.foreign_endpoint import KEY, NAME, Foreign, foreign, serving


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_KEY", KEY)


def found_out(
    *lies: str, tokens: bool = True, said: list[str] | None = None, **fields: object
) -> tuple[Findings, Foreign]:
    with serving(foreign(lies)) as server:
        fields = {"url": server.base_url, "model": NAME, "key_variable": "THEIR_KEY", **fields}
        spec = EndpointSpec.model_validate(fields)
        heard: list[str] = [] if said is None else said
        waits: list[float] = []
        asker = Asker(spec, Budget(spec), heard.append, sleep=waits.append)
        tokenizing = Tokenizing(server.encode, server.encode) if tokens else None
        try:
            findings = find_out(asker, tokenizing, say=heard.append)
        finally:
            asker.close()
    heard += [f"waited {wait:.0f}" for wait in waits]
    assert KEY not in repr(findings) and KEY not in "".join(heard)
    assert KEY not in "".join(str(error) for error in findings.problems)
    return findings, server


def why(findings: Findings, name: str) -> tuple[bool, str]:
    assert findings.found is not None
    [ability] = [one for one in findings.found.abilities if one.name == name]
    return ability.found, ability.why


def test_an_honest_one_can_all_that_it_was_asked_for() -> None:
    findings, server = found_out()
    assert findings.problems == []
    assert findings.found is not None
    assert [one.name for one in findings.found.abilities if not one.found] == []
    assert findings.found.scoring == "read" and findings.found.prompts == "tokens"
    assert (findings.found.window, findings.found.answers_as) == (2048, NAME)
    assert findings.can >= {Capability.CHOSEN_LOGPROBS, Capability.ECHO_LOGPROBS, Capability.CHAT}
    assert findings.found.spent.requests == len(server.requests) + len(server.gets)
    assert findings.found.spent.requests < 60


@pytest.mark.parametrize(
    ("lies", "ability", "says", "scoring"),
    [
        (["no-read"], "chosen-token logprobs", "does not know", "echo"),
        (["other-tokens"], "chosen-token logprobs", "of other tokens", "echo"),
        (["no-echo"], "echo logprobs", "ignored without a word", "read"),
        (["off-by-one"], "echo logprobs", "off by one position", "read"),
        (["lists-its-own"], "echo logprobs", "but each one itself", "read"),
        (["no-read", "no-echo"], "echo logprobs", "ignored without a word", "none"),
        (["no-read", "off-by-one"], "echo logprobs", "off by one position", "none"),
        (["no-chosen", "no-echo"], "chosen-token logprobs", "does not know", "forced"),
        (["no-chosen", "no-echo", "no-bias"], "forced-token logprobs", "was forced, and", "none"),
        (["drops-logprobs"], "top logprobs", "left out without a word", "none"),
        (["drops-logprobs"], "echo logprobs", "left out without a word", "none"),
        (["other-tokenizer"], "token-id prompts", "not this model's", "none"),
        (["no-tokens"], "token-id prompts", "prompt must be a string", "none"),
        (["chat-only"], "completions", "neither text nor token ids", "none"),
        (["no-chat"], "chat", "no such path", "read"),
        (["ignores-stop"], "stop strings", "is cut here", "read"),
        (["no-tools"], "tools", "not called", "read"),
        (["no-schema"], "JSON schema", "no JSON", "read"),
        (["by-chance"], "greedy answers are the same twice", "differ at temperature 0", "none"),
    ],
)
def test_what_it_cannot_is_said_with_the_reason(
    lies: list[str], ability: str, says: str, scoring: str
) -> None:
    findings, _ = found_out(*lies)
    assert findings.problems == []
    assert findings.found is not None
    found, reason = why(findings, ability)
    assert not found and says in reason
    assert findings.found.scoring == scoring


@pytest.mark.parametrize(
    ("lies", "fact", "remedy"),
    [
        (["other-name"], "answers as somebody-else", "Set endpoint.model to somebody-else"),
        (["cuts-prompts"], "cuts prompts", "window"),
        (["cuts-answers"], "cuts answers after 10 tokens", "limit"),
        (["takes-no-key"], "does not accept the key", "THEIR_KEY"),
        (["web-page"], "neither completions nor chats", "endpoint.url"),
        (["chat-only", "no-chat"], "neither completions nor chats", "endpoint.url"),
        (["throttles-for-hours"], "asks to wait 7,200 s", "endpoint.patience_seconds"),
        (["broken"], "does not answer an ordinary request", "start the run again"),
        (["dies"], "does not answer", "endpoint.url"),
    ],
)
def test_what_keeps_it_from_being_evaluated_is_one_error(
    lies: list[str], fact: str, remedy: str
) -> None:
    findings, _ = found_out(*lies)
    [error] = findings.problems
    assert fact in error.fact
    assert error.cause or "start the run again" in error.remedy
    assert remedy in error.remedy


def test_a_dead_one_is_said_to_be() -> None:
    with serving(foreign()) as server:
        url = server.base_url
    spec = EndpointSpec(url=url, model=NAME)
    findings = find_out(Asker(spec, Budget(spec), print, sleep=lambda _: None), None)
    [error] = findings.problems
    assert findings.found is None and "does not answer" in error.fact and error.may_heal


@pytest.mark.parametrize(("lie", "waited"), [("throttles", "1"), ("throttles-by-date", "2")])
def test_it_is_asked_again_when_it_says_so(lie: str, waited: str) -> None:
    said: list[str] = []
    findings, server = found_out(lie, said=said)
    assert findings.problems == [] and findings.found is not None
    assert {f"waited {waited}", f"waited {int(waited) - 1}"} & set(said)
    assert any("asks to wait" in text for text in said)
    assert findings.found.spent.requests == len(server.requests) + len(server.gets)


def test_the_budget_holds_while_it_is_found_out() -> None:
    findings, server = found_out(budget=BudgetSpec(requests=7))
    [error] = findings.problems
    assert "endpoint.budget.requests" in error.fact
    assert len(server.requests) + len(server.gets) == 7


def test_without_a_tokenizer_it_is_asked_with_texts_alone() -> None:
    findings, server = found_out(tokens=False)
    assert findings.found is not None and findings.found.prompts == "text"
    assert findings.found.scoring == "none"
    assert all(isinstance(body.get("prompt", ""), str) for _, body in server.requests)


def test_a_window_that_it_does_not_have_is_refused() -> None:
    findings, _ = found_out(window=4096)
    [error] = findings.problems
    assert "endpoint.window is 4,096, but the endpoint says 2,048" in error.fact


def test_a_dated_version_of_the_model_is_that_model() -> None:
    findings, _ = found_out("no-list", model="their")
    assert findings.problems == []
    assert why(findings, "model")[0]
