"""An endpoint on loopback that somebody else might run, and all the ways in which it may lie.

Its model is one of hashes: what it says of a token is a function of the tokens before it, the same
whether it generates, reads or echoes. Each lie is a thing that a real server does.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parent.parent / "infra" / "sample"
NAME, KEY = "their-model", "a-key-that-nobody-may-see"
SPREAD = 6.0
"""Of the logits, which are even over so many nats."""


@dataclass
class Foreign:
    """What it is, what it lies about, and what it was asked."""

    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    vocabulary: Sequence[int]
    """Tokens that it generates, each of which its text becomes again."""

    answers: dict[str, str] = field(default_factory=dict)
    """Question → what it writes, where a prompt ends with that question."""

    lies: frozenset[str] = frozenset()
    window: int = 2048
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Path and body of each request that asks for tokens."""

    listed: dict[str, Any] = field(default_factory=dict)
    """What its list of models says of its model besides."""

    created: Callable[[], int] | None = None
    """When it was made, as its list says each time."""

    pages: dict[str, Any] = field(default_factory=dict)
    """What it says on pages beside the API, by their paths."""

    fingerprint: str | None = None
    """Of its configuration, in answers."""

    gets: list[str] = field(default_factory=list)
    base_url: str = ""
    later: int | None = None
    """Number of requests after which lies begin that come later; none: not yet."""

    @property
    def since(self) -> int:
        """Requests since then, from 1; 0 before."""
        return 0 if self.later is None else len(self.requests) - self.later

    def logprobs(self, before: Sequence[int]) -> dict[int, float]:
        """Return the log-probability of every token that it may say, and of two that it may not."""
        mark = hashlib.sha256(json.dumps(list(before[-24:])).encode()).digest()
        logits = {
            token: SPREAD * int.from_bytes(hashlib.sha256(mark + bytes(f"{token}", "ascii"))
                                           .digest()[:4]) / 2**32
            for token in self.vocabulary
        }  # fmt: skip
        total = math.log(sum(map(math.exp, logits.values())))
        return {token: logit - total for token, logit in logits.items()}

    def logprob(self, before: Sequence[int], token: int) -> float:
        """Return that of any token; those outside of its vocabulary are unlikely, each its own."""
        known = self.logprobs(before)
        if token in known:
            return known[token]
        mark = hashlib.sha256(json.dumps([*before[-24:], token]).encode()).digest()
        return -12.0 - int.from_bytes(mark[:2]) / 2**14

    # ---- answers

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer `/completions`."""
        prompts = body["prompt"]
        if isinstance(prompts, str) or (prompts and isinstance(prompts[0], int)):
            prompts = [prompts]
        ids = [self.encode(one) if isinstance(one, str) else list(one) for one in prompts]
        if "other-tokenizer" in self.lies:
            ids = [
                one if isinstance(given, str) else [token + 1 for token in one]
                for one, given in zip(ids, prompts, strict=True)
            ]
        if "cuts-prompts" in self.lies:
            ids = [one[-256:] for one in ids]
        if max(map(len, ids)) + body.get("max_tokens", 16) > self.window:
            return self.error(400, "this is longer than my window")
        parts = [self._choice(number, one, body) for number, one in enumerate(ids)]
        return self._answer(
            [part for part, _ in parts], sum(map(len, ids)), sum(count for _, count in parts)
        )

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer `/chat/completions`."""
        ids = self.encode("".join(f"[{one['role']}]{one['content']}" for one in body["messages"]))
        part, count = self._choice(0, ids, body | {"logprobs": None})
        message: dict[str, Any] = {"role": "assistant", "content": part.pop("text")}
        part.pop("logprobs", None)
        if "tools" in body and "no-tools" not in self.lies:
            call = {"name": body["tools"][0]["function"]["name"], "arguments": '{"value": 2}'}
            message = {"role": "assistant", "content": None, "tool_calls": [{"function": call}]}
        if "response_format" in body and "no-schema" not in self.lies:
            message = {"role": "assistant", "content": '{"answer": "yes"}'}
        return self._answer([{**part, "message": message}], len(ids), count)

    def _answer(self, choices: list[Any], prompt: int, answered: int) -> dict[str, Any]:
        usage = {"prompt_tokens": prompt, "completion_tokens": answered}
        name = "somebody-else" if "other-name" in self.lies else NAME
        if "changes-name" in self.lies and self.since:
            name = f"{NAME}-2"
        whole = {"model": name, "choices": choices, "usage": usage}
        return whole | ({"system_fingerprint": self.fingerprint} if self.fingerprint else {})

    def _choice(
        self, number: int, prompt: list[int], body: dict[str, Any]
    ) -> tuple[dict[str, Any], int]:
        allowed = body.get("max_tokens", 16)
        most = min(allowed, 10) if "cuts-answers" in self.lies else allowed
        if "cuts-answers-later" in self.lies and self.since:
            most = min(allowed, 10)
        written: list[int] = []
        for _ in range(most):
            known = self.logprobs([*prompt, *written])
            best = max(known, key=lambda token: known[token])
            if (bias := body.get("logit_bias")) and "no-bias" not in self.lies:
                best = int(next(iter(bias)))
            if "by-chance" in self.lies:
                best = self.vocabulary[len(self.requests) % len(self.vocabulary)]
            written.append(best)
        choice: dict[str, Any] = {
            "index": number, "text": self.decode(written), "finish_reason": "length",
        }  # fmt: skip
        if (answer := self._answer_to(prompt)) is not None:
            written = self.encode(answer)
            choice |= {"text": answer, "finish_reason": "stop"}
        for stop in body.get("stop") or ():
            before, found, _ = choice["text"].partition(stop)
            if found and "ignores-stop" not in self.lies:
                choice |= {"text": before, "finish_reason": "stop"}
        if body.get("logprobs") and "drops-logprobs" not in self.lies:
            choice["logprobs"] = self._logprobs(prompt, written, body)
        return choice, len(written)

    def _answer_to(self, prompt: list[int]) -> str | None:
        if not self.answers:
            return None
        text = self.decode(prompt)
        places = {question: text.rfind(question) for question in self.answers}
        last = max(places, key=lambda question: places[question])
        return self.answers[last] if text.find("Question:", places[last]) == -1 else None

    def _logprobs(
        self, prompt: list[int], written: list[int], body: dict[str, Any]
    ) -> dict[str, Any]:
        named = body.get("return_tokens_as_token_ids") and "no-read" not in self.lies
        wanted = body.get("logprob_token_ids")
        if self.lies & {"no-read", "no-chosen"}:
            wanted = None
        whole, start = [*prompt, *written], len(prompt)
        if body.get("echo") and "no-echo" not in self.lies:
            start = 0
        tokens, values, tops = [], [], []
        for place in range(start, len(whole)):
            token, before = whole[place], whole[:place]
            if "off-by-one" in self.lies and start == 0:
                before = whole[: place + 1]
                token = whole[place + 1] if place + 1 < len(whole) else token
            known = self.logprobs(before)
            top = sorted(known, key=lambda one: -known[one])[: body["logprobs"]]
            if "lists-its-own" in self.lies and start == 0:
                top = [token]
            chosen = dict.fromkeys([*(wanted or top), token])
            shift = 1 if wanted and "other-tokens" in self.lies else 0
            tokens.append(self._name(whole[place], named))
            values.append(None if place == 0 else self.logprob(before, token))
            tops.append(
                None
                if place == 0
                else {self._name(one, named): self.logprob(before, one + shift) for one in chosen}
            )
        return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops}

    def _name(self, token: int, named: Any) -> str:
        return f"token_id:{token}" if named else self.decode([token])

    @staticmethod
    def error(status: int, message: str, **headers: str) -> dict[str, Any]:
        """Return an answer with another status."""
        return {"status": status, "headers": headers, "error": {"message": message}}

    def trouble(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:  # noqa: PLR0911
        """Return what goes wrong with a request; none if nothing does."""
        number = len(self.requests)
        for lie in self.lies:
            if lie == "throttles" and (number in (3, 4) or self.since in (2, 3)):
                return self.error(429, "slow down", **{"Retry-After": "1"})
            if lie == "throttles-by-date" and number == 3:
                until = formatdate(time.time() + 2, usegmt=True)
                return self.error(429, "slow down", **{"Retry-After": until})
            if lie == "throttles-for-hours" and number > 2:
                return self.error(429, "your quota is used up", **{"Retry-After": "7200"})
            if lie == "no-tokens" and not isinstance(body.get("prompt", ""), str):
                return self.error(400, "prompt must be a string")
            if lie == "chat-only" and path.endswith("/v1/completions"):
                return self.error(404, "no such path")
            if lie == "no-chat" and "chat" in path:
                return self.error(404, "no such path")
            if lie == "broken" and number > 2:
                return self.error(500, f"trouble with {KEY}")
        return None


def foreign(lies: Sequence[str] = ()) -> Foreign:
    """Return one that reads as the sample does."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(SAMPLE / "model")

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    words = [
        token for token in range(200, 1400)
        if re.fullmatch(r" [a-z]{3,}", tokenizer.decode([token]))
    ][:40]  # fmt: skip
    return Foreign(
        encode=encode, decode=lambda ids: tokenizer.decode(list(ids)), vocabulary=words,
        lies=frozenset(lies),
    )  # fmt: skip


def right_on_all_but(wrong: int) -> dict[str, str]:
    """Return answers to all of gsm8k, the first of them wrong."""
    path = SAMPLE / "data" / "openai" / "gsm8k" / "main" / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {
        row["question"]: " #### " + ("none" if place < wrong else row["answer"].split("#### ")[1])
        for place, row in enumerate(rows)
    }


@contextmanager
def serving(endpoint: Foreign) -> Iterator[Foreign]:
    """Serve while the block runs."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            endpoint.gets.append(self.path)
            if "web-page" in endpoint.lies:
                self._say(200, b"<html>Welcome</html>")
            elif not self._allowed():
                return
            elif self.path.endswith("/v1/models") and "no-list" not in endpoint.lies:
                listed = {"id": NAME, "owned_by": "them", "max_model_len": endpoint.window}
                if endpoint.created is not None:
                    listed["created"] = endpoint.created()
                listed |= endpoint.listed
                self._say(200, json.dumps({"data": [listed]}).encode())
            elif self.path in endpoint.pages:
                self._say(200, json.dumps(endpoint.pages[self.path]).encode())
            else:
                self._say(404, b'{"detail": "Not Found"}')

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "web-page" in endpoint.lies:
                self._say(200, b"<html>Welcome</html>")
                return
            if not self._allowed():
                return
            with lock:
                endpoint.requests.append((self.path, body))
                number = len(endpoint.requests)
            dies = "dies" in endpoint.lies and number >= 6
            if dies or ("dies-later" in endpoint.lies and endpoint.since >= 2):
                self.close_connection = True
                self.connection.close()
                return
            answer = endpoint.trouble(self.path, body)
            if answer is None:
                answer = (
                    endpoint.chat(body) if self.path.endswith("/chat/completions")
                    else endpoint.complete(body)
                )  # fmt: skip
            status, headers = answer.pop("status", 200), answer.pop("headers", {})
            self._say(status, json.dumps(answer).encode(), **headers)

        def _allowed(self) -> bool:
            if "takes-no-key" in endpoint.lies or self.headers["Authorization"] != f"Bearer {KEY}":
                said = self.headers["Authorization"]
                self._say(401, json.dumps({"error": {"message": f"no: {said}"}}).encode())
                return False
            return True

        def _say(self, status: int, content: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: Any) -> None:
            pass  # the door was closed on purpose

    server = Server(("127.0.0.1", 0), Handler)
    endpoint.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
