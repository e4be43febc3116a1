"""What an endpoint that somebody else runs can do, found out by asking it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from infra.contracts.capability import Capability
from infra.contracts.errors import AssayError, EndpointError
from infra.contracts.records.endpoint import Ability, Found, Prompts, Scoring
from infra.engines.remote import listing, own_version
from infra.engines.remote.answers import Written, written
from infra.engines.remote.asking import Asker
from infra.engines.remote.ways import TEXTS, WAYS, NotProved, Tokenizing, Way, answer_to

_TOP = 20
"""Likeliest tokens that are asked for at most; others ask for fewer if it refuses."""

_COUNT = "Count on: 1, 2, 3,"
_LONG_ANSWER = 48
_LONG_PROMPT = " ".join(str(number) for number in range(1, 400))
"""At least as many tokens as numbers."""

_LONG_PROMPT_TOKENS = 399
_SHORT = 4

_TOOL = {
    "type": "function",
    "function": {
        "name": "answer",
        "description": "Gives the answer.",
        "parameters": {
            "type": "object",
            "properties": {"value": {"type": "integer"}},
            "required": ["value"],
        },
    },
}
_SCHEMA = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}


@dataclass
class Findings:
    """What was found, and what keeps the endpoint from being evaluated."""

    found: Found | None
    """None if it cannot be asked anything."""

    problems: list[AssayError] = field(default_factory=list)

    @property
    def can(self) -> frozenset[Capability]:
        """What it was shown to do."""
        if self.found is None:
            return frozenset()
        return can_of(self.found)


def can_of(found: Found) -> frozenset[Capability]:
    """Return what an endpoint was shown to do, as far as it has a name among capabilities."""
    names = {capability.value: capability for capability in Capability}
    return frozenset(names[one.name] for one in found.abilities if one.found and one.name in names)


def find_out(
    asker: Asker,
    tokens: Tokenizing | None,
    *,
    ways: Sequence[Way] = WAYS,
    say: Callable[[str], None] = lambda text: None,
) -> Findings:
    """Ask an endpoint what it can do; each answer is held against another of its own.

    Args:
        asker: The endpoint.
        tokens: How texts become tokens; none without a tokenizer.
        ways: Ways to have log-probabilities, the best first.
        say: Hears what is being asked.
    """
    looking = _Looking(asker, tokens, ways, say)
    try:
        return looking.look()
    except EndpointError as error:
        return Findings(None, [error])


class _Looking:
    """One look at an endpoint, capability by capability."""

    def __init__(
        self,
        asker: Asker,
        tokens: Tokenizing | None,
        ways: Sequence[Way],
        say: Callable[[str], None],
    ) -> None:
        self._asker, self._tokens, self._ways, self._say = asker, tokens, ways, say
        self._abilities: list[Ability] = []
        self._problems: list[AssayError] = []
        self._first: Written | None = None
        self._pages: Mapping[str, Mapping[str, Any]] = {}

    def look(self) -> Findings:
        """Ask everything.

        Raises:
            EndpointError: It does not answer, or refuses all of it.
        """
        spec = self._asker.spec
        self._say(f"asking {spec.base_url} what it can do")
        listed = listing.models(self._asker)
        model = (listed or {}).get(spec.model)
        self._add("reachable and authorised", True, f"{spec.base_url} answers")
        self._pages = own_version.read(self._asker)
        text = self._ability(Capability.TEXT_PROMPTS, self._text)
        chat = self._ability(Capability.CHAT, self._chat)
        ids = self._ability(Capability.TOKEN_PROMPTS, self._token_prompts)
        self._ability(Capability.COMPLETIONS, lambda: self._completions(text or ids))
        self._name(listed)
        if not (text or chat or ids):
            self._problems.append(self._answers_nothing())
            return self._findings("none", "none", model, None, "")
        prompts: Prompts = "tokens" if ids and self._tokens else "text" if text else "chat"
        self._ability(Capability.TOP_LOGPROBS, self._logprobs)
        scoring = self._scoring(prompts)
        self._ability(Capability.TOOLS, self._tools)
        self._ability(Capability.JSON_SCHEMA, self._json)
        self._whole(prompts)
        window, source = self._window(model)
        return self._findings(prompts, scoring, model, window, source)

    def _findings(
        self,
        prompts: Prompts,
        scoring: Scoring,
        model: Mapping[str, Any] | None,
        window: int | None,
        source: str,
    ) -> Findings:
        spec = self._asker.spec
        says = own_version.said(self._asker, self._pages, model)
        found = Found(
            url=spec.base_url,
            model=spec.model,
            answers_as=self._first.model if self._first else "",
            listed=listing.said_of(model) if model else {},
            says=says,
            abilities=tuple(self._abilities),
            window=window,
            window_from=source,
            prompts=prompts,
            scoring=scoring,
            spent=self._asker.budget.spent,
        )
        return Findings(found, self._problems)

    def _add(self, name: str, found: bool, why: str) -> None:
        self._abilities.append(Ability(name=name, found=found, why=why))

    def _ability(self, name: str, show: Callable[[], str]) -> bool:
        """Add what shows an ability, or why it is not there."""
        try:
            self._add(str(name), True, show())
        except NotProved as why:
            self._add(str(name), False, str(why))
            return False
        return True

    # ---- how prompts travel

    def _text(self) -> str:
        body = {"prompt": TEXTS[0], "max_tokens": _SHORT, "temperature": 0}
        answer = self._heard(answer_to(self._asker, body))
        if not answer.text:
            raise NotProved("it goes on from a text with nothing")
        return "it goes on from a text"

    def _completions(self, any_: bool) -> str:
        if not any_:
            raise NotProved("`/completions` takes neither text nor token ids")
        return "`/completions` answers"

    def _token_prompts(self) -> str:
        if self._tokens is None:
            raise NotProved("endpoint.tokenizer is empty, so nobody here can make token ids")
        alike, counted = 0, 0
        for text in TEXTS[:3]:
            ids = list(self._tokens.prompt(text))
            common = {"max_tokens": _SHORT, "temperature": 0}
            by_ids = self._heard(answer_to(self._asker, {"prompt": [ids], **common}))
            by_text = written(answer_to(self._asker, {"prompt": text, **common}))
            alike += by_ids.text == by_text.text
            if by_text.prompt_tokens is not None:
                counted += by_text.prompt_tokens != len(ids)
        if alike < 2:
            count = (
                f"; it counts other tokens in {counted} of 3 texts than endpoint.tokenizer"
                if counted
                else ""
            )
            raise NotProved(
                f"it goes on alike from token ids and from their text in {alike} of 3 cases{count}:"
                " the tokenizer is not this model's, or ids are not taken for tokens"
            )
        return f"it goes on alike from token ids and from their text in {alike} of 3 cases"

    def _chat(self) -> str:
        body = {"messages": _question("What is 1 + 1?"), "max_tokens": 8, "temperature": 0}
        answer = self._heard(answer_to(self._asker, body, "/chat/completions"))
        if not answer.text and answer.answer_tokens is None:
            raise NotProved("a chat is answered with nothing")
        return "a chat is answered"

    def _heard(self, answer: Mapping[str, Any]) -> Written:
        one = written(answer)
        self._first = self._first or one
        return one

    # ---- who answers

    def _name(self, listed: Mapping[str, Any] | None) -> None:
        wanted = self._asker.spec.model
        answers = self._first.model if self._first else ""
        is_listed = listed is not None and wanted in listed
        others = ", ".join(sorted(listed or {})[:8])
        if answers and not _same(wanted, answers):
            self._add("model", False, f"it answers as {answers}, though {wanted} is asked for")
            self._problems.append(
                EndpointError(
                    f"The endpoint answers as {answers}, though {wanted} is asked for.",
                    cause="It serves one model whatever name it is given, or hands the request on "
                    "to another.",
                    remedy=f"Set endpoint.model to {answers} if that is the one you mean"
                    + (f"; it lists {others}." if others else "."),
                )
            )
        elif listed and not is_listed and not answers:
            self._add("model", False, f"it does not list {wanted}, and answers have no name")
            self._problems.append(
                EndpointError(
                    f"The endpoint lists no model {wanted}.",
                    cause=f"It lists {others}.",
                    remedy="Set endpoint.model to one of them.",
                )
            )
        else:
            said = "it lists the model" if is_listed else "it has no list that names the model"
            whose = f"answers as {answers}" if answers else "does not say who answers"
            self._add("model", True, f"{said}, and {whose}")

    def _answers_nothing(self) -> EndpointError:
        why = [f"{one.name}: {one.why}" for one in self._abilities if not one.found]
        return EndpointError(
            "The endpoint answers neither completions nor chats.",
            cause="; ".join(why)[:600] + ".",
            remedy="Compare endpoint.url (mostly it ends with /v1) and endpoint.model with the "
            "endpoint's own documentation.",
        )

    # ---- log-probabilities

    def _logprobs(self) -> str:
        best = 0
        for path, body in self._logprob_requests():
            try:
                steps = written(answer_to(self._asker, body, path)).steps
            except NotProved:
                continue
            if not steps:
                continue
            if any(step.logprob > 1e-3 for step in steps):
                raise NotProved("it gives log-probabilities above zero")
            if any(step.top and step.logprob < max(step.top.values()) - 0.05 for step in steps):
                raise NotProved("at temperature 0 it writes tokens that are not the likeliest")
            best = max(best, min(len(step.top) for step in steps))
            if best:
                return f"the {best} likeliest tokens at each position"
        raise NotProved("log-probabilities were asked for and left out without a word")

    def _logprob_requests(self) -> Iterator[tuple[str, dict[str, Any]]]:
        common = {"max_tokens": _SHORT, "temperature": 0}
        for top in (_TOP, 5, 1):
            yield "/completions", {"prompt": TEXTS[0], "logprobs": top, **common}
        chat = {"messages": _question(TEXTS[0]), "logprobs": True, "top_logprobs": 5, **common}
        yield "/chat/completions", chat

    def _scoring(self, prompts: Prompts) -> Scoring:
        """Prove every way; the first that works is taken, and others where they cost less."""
        chosen: Scoring = "none"
        tokens = self._tokens
        for way in self._ways:
            if prompts != "tokens" or tokens is None:
                self._add(way.capability, False, "not asked: it needs prompts of token ids")
            elif self._ability(way.capability, partial(way.prove, self._asker, tokens)):
                chosen = way.name if chosen == "none" else chosen
        return chosen

    # ---- chats

    def _tools(self) -> str:
        body = {
            "messages": _question("What is 1 + 1? Call the function with the number."),
            "tools": [_TOOL], "tool_choice": "required", "max_tokens": 64, "temperature": 0,
        }  # fmt: skip
        choice = answer_to(self._asker, body, "/chat/completions")["choices"][0]
        try:
            [call, *_] = choice["message"]["tool_calls"]
            arguments = json.loads(call["function"]["arguments"])
        except (LookupError, TypeError, ValueError):
            raise NotProved("a function was offered and required, and not called") from None
        if call["function"].get("name") != "answer" or not isinstance(arguments.get("value"), int):
            raise NotProved("it calls another function, or with other arguments, than was required")
        return "it calls the function that is required"

    def _json(self) -> str:
        form = {"name": "answer", "strict": True, "schema": _SCHEMA}
        body = {
            "messages": _question("Is 1 + 1 = 2? Answer in JSON."), "max_tokens": 64,
            "temperature": 0, "response_format": {"type": "json_schema", "json_schema": form},
        }  # fmt: skip
        answer = written(answer_to(self._asker, body, "/chat/completions"))
        try:
            value = json.loads(answer.text)
        except ValueError:
            raise NotProved("a JSON schema was given, and the answer is no JSON") from None
        if not isinstance(value, dict) or value.get("answer") not in ("yes", "no"):
            raise NotProved("a JSON schema was given, and the answer is JSON of another")
        return "an answer is JSON of the schema that is given"

    # ---- answers and prompts whole, the same twice

    def _whole(self, prompts: Prompts) -> None:
        first = self._long(prompts)
        self._ability("greedy answers are the same twice", lambda: self._same_twice(prompts, first))
        self._ability("stop strings", lambda: self._stops(prompts, first))
        cut = first.answer_tokens is not None and first.ended == "length"
        if cut and first.answer_tokens is not None and first.answer_tokens < _LONG_ANSWER - 1:
            self._add("whole answers", False, f"cut after {first.answer_tokens} tokens")
            self._problems.append(
                EndpointError(
                    f"The endpoint cuts answers after {first.answer_tokens} tokens, though "
                    f"{_LONG_ANSWER} were allowed.",
                    cause="It has a limit of its own for answers; what is cut would be marked as "
                    "the model's mistake.",
                    remedy="Have the limit raised where the endpoint is run, or use another one.",
                )
            )
        else:
            self._add("whole answers", True, f"{_LONG_ANSWER} tokens are not cut")
        self._long_prompt(prompts)

    def _long(self, prompts: Prompts) -> Written:
        body = {"max_tokens": _LONG_ANSWER, "temperature": 0}
        try:
            return self._put(_COUNT, prompts, body)
        except NotProved as why:
            raise EndpointError(
                f"The endpoint does not answer an ordinary request ({why}).",
                remedy="See whether it runs, and start the run again.",
            ) from None

    def _same_twice(self, prompts: Prompts, first: Written) -> str:
        second = self._put(_COUNT, prompts, {"max_tokens": _LONG_ANSWER, "temperature": 0})
        if first.text != second.text:
            raise NotProved("two answers to one question differ at temperature 0")
        return "as far as two answers show"

    def _stops(self, prompts: Prompts, first: Written) -> str:
        middle = first.text[len(first.text) // 3 : len(first.text) // 2]
        if not middle.strip():
            raise NotProved("it writes too little to show that it stops")
        body = {"max_tokens": _LONG_ANSWER, "temperature": 0, "stop": [middle]}
        if middle in self._put(_COUNT, prompts, body).text:
            raise NotProved("its answer has the stop string, or goes on after it; it is cut here")
        return "an answer ends before a stop string"

    def _long_prompt(self, prompts: Prompts) -> None:
        """Show that a prompt arrives whole, by the endpoint's own count."""
        name = "whole prompts"
        try:
            answer = self._put(_LONG_PROMPT, prompts, {"max_tokens": 1, "temperature": 0})
        except NotProved as why:
            self._add(name, False, str(why))
            return
        if answer.prompt_tokens is None:
            self._add(name, False, "it does not say how many tokens of a prompt it reads")
        elif answer.prompt_tokens < _LONG_PROMPT_TOKENS:
            self._add(name, False, f"of {_LONG_PROMPT_TOKENS} it reads {answer.prompt_tokens}")
            self._problems.append(
                EndpointError(
                    f"The endpoint cuts prompts: of at least {_LONG_PROMPT_TOKENS} tokens it reads "
                    f"{answer.prompt_tokens}, without a word.",
                    cause="Its window is set that small, and it drops what does not fit: the model "
                    "would be asked other questions than the tasks'.",
                    remedy="Have the window raised where the endpoint is run (num_ctx, n_ctx, "
                    "max_model_len), or use another one.",
                )
            )
        else:
            self._add(name, True, f"it reads {answer.prompt_tokens} tokens of a long prompt")

    def _put(self, text: str, prompts: Prompts, body: Mapping[str, Any]) -> Written:
        if prompts == "chat":
            chat = {"messages": _question(text), **body}
            return written(answer_to(self._asker, chat, "/chat/completions"))
        if prompts == "tokens" and self._tokens is not None:
            return written(
                answer_to(self._asker, {"prompt": [list(self._tokens.prompt(text))], **body})
            )
        return written(answer_to(self._asker, {"prompt": text, **body}))

    def _window(self, model: Mapping[str, Any] | None) -> tuple[int | None, str]:
        spec = self._asker.spec
        said = listing.window_of(model) if model else None
        said = said or listing.served_window(self._pages)
        if spec.window is not None:
            if said is not None and spec.window > said:
                self._problems.append(
                    EndpointError(
                        f"endpoint.window is {spec.window:,}, but the endpoint says {said:,}.",
                        cause="What does not fit there is refused, or cut.",
                        remedy=f"Set endpoint.window to {said} or leave it out.",
                    )
                )
            self._add("window", True, f"{spec.window:,} tokens, by endpoint.window")
            return spec.window, "endpoint.window"
        if said is None:
            self._add("window", False, "it does not say how many tokens it takes")
            return None, ""
        self._add("window", True, f"{said:,} tokens, as it says")
        return said, "the endpoint"


def _question(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _same(wanted: str, answers: str) -> bool:
    """Return whether a name is the one asked for, or that of a dated version of it."""
    return answers == wanted or (answers.startswith(wanted) and not answers[len(wanted)].isalnum())
