"""lm-eval's model of an endpoint that takes texts or chats, and no tokens.

Which tokens it makes of a prompt is its own affair: what it writes can be marked, and no likelihood
be had. Imports lm-eval; whoever must be quick imports this late.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.contracts.errors import EvaluationError
from infra.contracts.records.endpoint import Prompts
from infra.engines.remote.answers import written
from infra.engines.remote.endpoint import RemoteEndpoint
from infra.scoring.batches import Batch
from infra.scoring.chats import is_chat, unrendered
from infra.scoring.failures import Refused
from infra.scoring.foreign import ForeignClient, ended
from infra.scoring.model import AssayCompletions, Whose, name_of, whose_is
from infra.scoring.protocol import ChatGeneration, Generation, Question, Reply
from infra.scoring.sampling import seeds
from infra.scoring.ways import guiding


@dataclass(frozen=True, slots=True)
class TextGeneration(Generation):
    """A text to be generated after a text, which stands in `prompt` as UTF-8."""


class _Client(ForeignClient):
    """Puts questions as text, or as the messages of a chat."""

    chat = False

    def _body(self, batch: Batch) -> dict[str, Any]:
        [question] = batch
        if isinstance(question, ChatGeneration):
            return super()._body(batch)
        assert isinstance(question, TextGeneration)  # noqa: S101 -- there are no others
        text = question.prompt.decode()
        put = {"messages": json.loads(text)} if self.chat else {"prompt": text}
        return {"model": self._server.model, **put, **json.loads(question.settings)}

    def _replies(self, batch: Batch, answer: Any) -> list[Reply]:
        if not isinstance(answer, dict) or not answer.get("choices"):
            raise Refused("the answer cannot be used (it has no choices)")
        if isinstance(batch[0], ChatGeneration):
            return super()._replies(batch, answer)
        one = written(answer)
        return [ended(batch[0], (one.text, one.ended))]

    @property
    def _counts(self) -> bool:
        return False


class TextModel(AssayCompletions):
    """Asks an endpoint that somebody else runs to write, by texts or chats."""

    prompts_begin_with = ""

    def __init__(self, *, server: RemoteEndpoint, prompts: Prompts, **options: Any) -> None:
        """Make the model; nothing is requested yet.

        Args:
            server: The endpoint.
            prompts: `text` or `chat`.
            options: As for `assay-completions`.
        """
        self._chat = prompts == "chat"
        super().__init__(server=server, tokenizer_backend=None, **options)
        self._rendered = False

    def _require_tokens(self) -> None:
        pass

    def _make_client(self, timeout: int) -> ForeignClient:
        assert isinstance(self._server, RemoteEndpoint)  # noqa: S101 -- see __init__
        client = _Client(
            self._server, pace=self._pace, seed=self._seed, timeout=timeout, say=self._say
        )
        client.chat = self._chat
        client.path = "chat/completions" if self._chat else "completions"
        return client

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return a conversation as JSON: the endpoint's own template renders it."""
        if is_chat(chat_history[-1]["content"]):
            return unrendered(chat_history)
        self._rendered = True
        return json.dumps(list(chat_history), ensure_ascii=False)

    def _write(
        self, requests: Sequence[Any], schemas: Sequence[Any] | None, disable_tqdm: bool
    ) -> list[str]:
        """Return the text generated after each context; with schemas, one that satisfies them."""
        owners: dict[Question, list[Whose]] = {}
        questions: list[Question] = []
        drawn = seeds(requests, self._seed)
        guides = [{} for _ in requests] if schemas is None else [*map(guiding, schemas)]
        for request, seed, guide in zip(requests, drawn, guides, strict=True):
            if len(request.args) > 2:
                raise EvaluationError(
                    f"{request.task_name} asks with images.",
                    remedy="Take a task of texts alone.",
                )
            context, given = request.args
            question = TextGeneration(
                self._put(context).encode(), self._settings(given, seed, guide)
            )
            questions.append(question)
            owners.setdefault(question, []).append(whose_is(request))
        replies = self._ask(list(owners), owners, disable_tqdm)
        self._finish(requests, [replies[put] for put in questions])
        return [str(replies[put][0] or "") for put in questions]

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Refuse: no likelihood can be had.

        Raises:
            EvaluationError: Always.
        """
        raise EvaluationError(
            f"{name_of(whose_is(requests[0]))} cannot be scored: the endpoint takes texts alone.",
            cause="A likelihood belongs to tokens, and which ones it makes of a text is unknown.",
            remedy="Take a task that lets the model write, or name endpoint.tokenizer for an "
            "endpoint that takes token ids.",
        )

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Refuse: no likelihood can be had.

        Raises:
            EvaluationError: Always.
        """
        self.loglikelihood(requests)
        return []

    def _put(self, context: str) -> str:
        """Return a prompt as it is sent: text, or messages as JSON."""
        if not self._chat or self._rendered:
            return str(context)
        return json.dumps([{"role": "user", "content": str(context)}], ensure_ascii=False)
