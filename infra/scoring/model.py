"""lm-eval's `assay-completions`: the scores of `local-completions`, at a fraction of the cost.

What is sent, how texts are split into tokens, what is cut, and how answers become scores is as in
lm-eval 0.4.13; how requests are sent is ours. Imports lm-eval: whoever must be quick imports this
late.
"""

from __future__ import annotations

import copy
import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import httpx
from lm_eval import utils
from lm_eval.api.registry import register_model
from lm_eval.models.api_models import LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER
from lm_eval.models.openai_completions import LocalCompletionsAPI
from tqdm import tqdm  # type: ignore[import-untyped]

from infra.contracts.errors import EvaluationError
from infra.engines.endpoint import Endpoint
from infra.engines.remote.endpoint import RemoteEndpoint
from infra.machine.energy import Tally
from infra.machine.garbage import collected
from infra.scoring.address import Address
from infra.scoring.answers import Answers
from infra.scoring.batches import batches
from infra.scoring.chats import chat_of, converse
from infra.scoring.client import Client, Counts
from infra.scoring.encoding import encode_by_lines, splits_at_lines
from infra.scoring.foreign import ForeignClient
from infra.scoring.pace import Pace
from infra.scoring.plan import Score, plan
from infra.scoring.protocol import ChatGeneration, Generation, Question, Reply
from infra.scoring.sampling import document_of, seeds, turn_of
from infra.scoring.tokens import (
    WIDTH,
    Encoded,
    NothingBefore,
    Packed,
    count,
    pack,
    pack_texts,
    split_pairs,
)
from infra.scoring.ways import answered, guiding

Whose = tuple[str, int, int]
"""Task, document, and which asking of the document."""

TIMEOUT_SECONDS = 600

_CUT = "length"


@register_model("assay-completions")
class AssayCompletions(LocalCompletionsAPI):  # type: ignore[misc]
    """Asks a completions server; slowly where it cannot be asked for chosen tokens alone."""

    def __init__(
        self,
        *,
        num_concurrent: int | str | None = None,
        answers: str | Path | None = None,
        identity: str | None = None,
        require: Callable[[], None] | None = None,
        server: Endpoint | None = None,
        order: int | str | None = None,
        chat_variables: Mapping[str, Any] | None = None,
        refuse_cut: bool = False,
        timeout: int = TIMEOUT_SECONDS,
        say: Callable[[str], None] | None = None,
        **options: Any,
    ) -> None:
        """Make the model; nothing is requested yet.

        Args:
            num_concurrent: Questions in flight; None or "auto" follows the server's own counters.
            answers: File that keeps every answer, so that a killed run continues where it stopped.
            identity: All that decides an answer besides the question: checkpoint digest, engine
                version, flags. By default what the server tells of itself.
            require: Called before answers are kept: raises if they may be of another model by now.
            server: Where requests go, if its address may change; by default `base_url`.
            order: Seed of the order in which questions are asked. By default those that begin alike
                are asked one after the other, which is quickest; no order changes what is asked.
            chat_variables: Further variables of the chat template, where the server renders it.
            refuse_cut: Refuse a prompt that does not fit the window; stock cuts its beginning off
                with a warning.
            timeout: Seconds a request may take before it is sent again.
            say: Hears what a user should know; by default lm-eval's log.
            options: As for `local-completions`.

        Raises:
            ValueError: An option that cannot be honoured here.
        """
        fixed = None if num_concurrent in (None, "auto", "None", 0, "0") else int(num_concurrent)
        if fixed is not None and fixed < 1:
            raise ValueError(f"num_concurrent={num_concurrent}: it is a number from 1 on, or auto")
        super().__init__(num_concurrent=fixed or 2, timeout=timeout, **options)
        self._require_tokens()
        self._say = say or _log
        self._server: Endpoint = server or Address(self)
        self._order = None if order in (None, "None") else int(order)
        self._variables = dict(chat_variables or {})
        self._refuse_cut = refuse_cut
        self._pace = Pace(fixed)
        self._client = self._make_client(timeout)
        self._answers_at = None if answers in (None, "", "None") else Path(str(answers))
        self._identity = identity
        self._require = require or (lambda: None)
        self._answers: Answers | None = None
        self._reads: bool | None = None
        self._tally = Tally(self._server.meter)
        self._warned = False
        # A BOS before each part would be one too many.
        self._by_lines = (
            self.tokenizer is not None
            and not self.add_bos_token
            and splits_at_lines(self.tokenizer)
        )
        self.encoded = Encoded()
        """What need not be encoded any more; see `encode_ahead`."""

        self.meanwhile: Callable[[], AbstractContextManager[object]] = nullcontext
        """What is done while answers are awaited; it must leave the model as it is."""

        self.done = 0
        """Documents answered, of all calls."""

        self.total = 0
        """Documents of all calls."""

        self.kept = 0
        """Questions that were not asked since their answers were kept from before."""

        self.finishes: dict[Whose, str | None] = {}
        """Task, document and asking → why the text ended that was generated (`stop`, `length`, …);
        of several texts that of one that was cut, if any was."""

    def _require_tokens(self) -> None:
        """Refuse options with which no tokens could be sent."""
        if not self.tokenized_requests or self.tokenizer is None:
            raise ValueError(
                "assay-completions sends tokens; it needs a tokenizer and tokenized_requests"
            )

    def _make_client(self, timeout: int) -> Client:
        """Return what asks the server."""
        kind = ForeignClient if isinstance(self._server, RemoteEndpoint) else Client
        return kind(
            self._server,  # type: ignore[arg-type]
            pace=self._pace,
            seed=self._seed,
            timeout=timeout,
            say=self._say,
        )

    @property
    def server(self) -> Endpoint:
        """Where requests go."""
        return self._server

    @property
    def counts(self) -> Counts:
        """What was sent so far."""
        return self._client.counts

    @property
    def concurrency(self) -> int:
        """The most questions that were in flight."""
        return self._pace.highest

    @property
    def joules(self) -> float | None:
        """What the server's accelerators took while it was asked; none where nobody can tell, or
        where any answer was kept from before.
        """
        return self._tally.joules

    def close(self) -> None:
        """Close the file of answers. The model may be used again."""
        if self._answers is not None:
            self._answers.close()
            self._answers = None

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return log-likelihood (nats) of each continuation, and whether it is the greedy one."""
        pairs = [request.args for request in requests]
        try:
            split = self._split(pairs)
        except NothingBefore as error:
            raise EvaluationError(
                f"{name_of(whose_is(requests[error.place]))} cannot be scored: {error}.",
                remedy="Change the task's doc_to_text, or give the tokenizer a BOS token.",
            ) from None
        scores = self._score(split, [whose_is(request) for request in requests], disable_tqdm)
        for pair, score in zip(pairs, scores, strict=True):
            self.cache_hook.add_partial("loglikelihood", pair, score)
        return scores

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-likelihood (nats) of whole texts, in windows where they are longer."""
        texts = [request.args[0] for request in requests]
        if texts and self.prefix_token_id is None:
            raise EvaluationError(
                f"{name_of(whose_is(requests[0]))} cannot be read: its first token needs a BOS "
                "or EOS token before it, which the tokenizer lacks.",
                remedy="Take the task out of evaluation.tasks, or give the tokenizer a BOS token.",
            )
        tokens = dict(zip(texts, self._encode_whole(texts), strict=True)) if texts else {}
        pairs, whose, sizes = [], [], []
        for request, text in zip(requests, texts, strict=True):
            windows = [
                utils.make_disjoint_window(window)
                for window in utils.get_rolling_token_windows(
                    token_list=tokens[text],
                    prefix_token=self.prefix_token_id,
                    max_seq_len=self.max_length - 1,
                    context_len=1,
                )
            ]
            pairs += [(pack(context), pack(rest)) for context, rest in windows]
            whose += [whose_is(request)] * len(windows)
            sizes.append(len(windows))
        scores = iter(self._score(pairs, whose, disable_tqdm))
        sums = [sum(next(scores)[0] for _ in range(size)) for size in sizes]
        for text, value in zip(texts, sums, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), value)
        return sums

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return what is generated after each context, in the way that its row wants it.

        See `infra.scoring.ways`; most want a text up to its stop strings or its limit.
        """
        return answered(
            requests,
            write=lambda some, schemas: self._write(some, schemas, disable_tqdm),
            chat=lambda some: self._converse(some, disable_tqdm),
            count=lambda text: len(self._encode_alone([text])[0]) if self.tokenizer else None,
        )

    def _write(
        self, requests: Sequence[Any], schemas: Sequence[Any] | None, disable_tqdm: bool
    ) -> list[str]:
        """Return the text generated after each context; with schemas, one that satisfies them."""
        if any(len(request.args) > 2 for request in requests):
            raise EvaluationError(
                f"{requests[0].task_name} asks with images.",
                remedy="Take a task of texts alone; assay-completions sends tokens.",
            )
        packed = self._packed([request.args[0] for request in requests])
        settings: dict[tuple[str, int | None, str], str] = {}
        generations: list[Generation] = []
        owners: dict[Question, list[Whose]] = {}
        drawn = seeds(requests, self._seed)
        guides = [None] * len(requests) if schemas is None else schemas
        for request, seed, schema in zip(requests, drawn, guides, strict=True):
            context, given = request.args
            answer = int(given.get("max_gen_toks", self._max_gen_toks))
            prompt = self._cut_prompt(packed[context], answer, whose_is(request))
            name = repr(given), seed, repr(schema)
            if name not in settings:
                guide = {} if schemas is None else guiding(schema)
                settings[name] = self._settings(given, seed, guide)
            generations.append(Generation(prompt, settings[name]))
            owners.setdefault(generations[-1], []).append(whose_is(request))
        # Prompts that begin alike next to each other: the server has their beginning computed.
        questions = sorted(owners, key=lambda question: question.prompt)
        replies = self._ask(questions, owners, disable_tqdm)
        self._finish(requests, [replies[question] for question in generations])
        texts = []
        for request, seed, question in zip(requests, drawn, generations, strict=True):
            text, _ = replies[question]
            texts.append(LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER if text is None else str(text))
            # Of several that are drawn, and of two ways to answer one, its cache would keep one.
            if seed is None and schemas is None:
                self.cache_hook.add_partial("generate_until", request.args, texts[-1])
        return texts

    def _converse(self, requests: Sequence[Any], quiet: bool) -> list[str]:
        """Return what was said in each step of a chat with functions, as JSON."""
        variables = {"chat_template_kwargs": self._variables} if self._variables else {}
        settings = [
            self._settings(request.args[1], seed, variables)
            for request, seed in zip(requests, seeds(requests, self._seed), strict=True)
        ]

        def ask(numbered: Sequence[tuple[int, ChatGeneration]]) -> list[Reply]:
            owners: dict[Question, list[Whose]] = {}
            for number, question in numbered:
                owners.setdefault(question, []).append(whose_is(requests[number]))
            questions = sorted(owners, key=lambda question: question.prompt)
            replies = self._ask(questions, owners, quiet)
            return [replies[question] for _, question in numbered]

        texts, last = converse(
            [chat_of(request.args[0]) for request in requests],
            settings,
            [str(request.doc.get("results") or "") for request in requests],
            ask,
        )
        self._finish(requests, last)
        return texts

    def _finish(self, requests: Sequence[Any], replies: Sequence[Reply]) -> None:
        """Keep why the texts of these requests ended."""
        ends: dict[Whose, str | None] = {}
        for request, (_, ended) in zip(requests, replies, strict=True):
            if ends.get(whose_is(request)) != _CUT:
                ends[whose_is(request)] = ended  # type: ignore[assignment]
        self.finishes.update(ends)

    def _settings(
        self, given: Mapping[str, Any], seed: int | None, more: Mapping[str, Any] | None = None
    ) -> str:
        """Return the body of a generation as stock sends it, without model and prompt.

        Args:
            given: What the task sets.
            seed: Of an answer that is drawn by chance, which stock would draw with the run's.
            more: What the request carries besides.
        """
        settings = self._create_payload(
            [], generate=True, gen_kwargs=copy.deepcopy(dict(given)), seed=self._seed
        )
        if seed is not None:
            settings["seed"] = seed
        settings |= more or {}
        # Sorted here and not within: the order of a schema's properties is that of the answer's.
        names = sorted(settings.keys() - {"model", "prompt"})
        return json.dumps({name: settings[name] for name in names})

    def _score(
        self, pairs: Sequence[tuple[Packed, Packed]], whose: Sequence[Whose], quiet: bool
    ) -> list[Score]:
        """Return the score of each continuation after its context."""
        if not pairs:
            return []
        fitting = [
            self._cut_context(context, continuation, owner)
            for (context, continuation), owner in zip(pairs, whose, strict=True)
        ]
        groups, places = plan(fitting, reads=self._can_read(), echoes=self._client.echoes)
        owners: dict[Question, list[Whose]] = {item: [] for group in groups for item in group.items}
        for owner, (number, _) in zip(whose, places, strict=True):
            for item in groups[number].items:
                owners[item].append(owner)
        replies = self._ask(list(owners), owners, quiet)
        scores = [group.scores(replies) for group in groups]  # type: ignore[arg-type]
        return [scores[number][place] for number, place in places]

    def _ask(
        self, questions: Sequence[Question], owners: Mapping[Question, Sequence[Whose]], quiet: bool
    ) -> dict[Question, Reply]:
        """Return the answer to each question, from the file or from the server."""
        answers = self._open_answers()
        replies = answers.lookup(questions)
        self.kept += len(replies)
        if replies:
            self._tally.give_up()
        documents = {owner for question in questions for owner in owners[question]}
        missing = [question for question in questions if question not in replies]
        waiting = Counter(owner for question in missing for owner in set(owners[question]))
        ready = len(documents) - len(waiting)
        self.total += len(documents)
        self.done += ready
        if not missing:
            return replies
        # Whoever draws progress in another way switches bars off by their default.
        switch = {"disable": True} if quiet else {}
        with tqdm(
            total=len(documents), initial=ready, desc="Documents", unit=" docs", **switch
        ) as bar:

            def receive(answered: Sequence[tuple[Question, Reply]]) -> None:
                answers.keep(answered)
                replies.update(answered)
                finished = 0
                for question, _ in answered:
                    for owner in set(owners[question]):
                        waiting[owner] -= 1
                        finished += not waiting[owner]
                self.done += finished
                bar.update(finished)

            with collected(), self.meanwhile(), self._tally.span():
                self._client.ask(
                    batches(self._ordered(missing), forces=self._client.forces),
                    receive,
                    lambda one: name_of(owners[one][0]),
                )
        return replies

    def _ordered(self, questions: Sequence[Question]) -> Sequence[Question]:
        """Return the questions in the order they are asked; those of a kind stay together."""
        if self._order is None:
            return questions
        shuffled = random.Random(self._order).sample(questions, len(questions))  # noqa: S311
        return sorted(shuffled, key=lambda question: type(question).__name__)

    def _can_read(self) -> bool:
        if self._client.forces:
            return True
        if self._reads is None:
            self._reads = self._client.can_read()
            if not self._reads:
                self._say(
                    "This server cannot return the probabilities of chosen tokens: it does not "
                    "know `logprob_token_ids`, as later versions of its engine may. Every "
                    "continuation is echoed instead: as exact, but much slower."
                )
        return self._reads

    def _open_answers(self) -> Answers:
        if self._answers is None:
            identity = ""
            if self._answers_at is not None:
                identity = self._identity or self._served_identity()
            self._answers = Answers(self._answers_at, identity, self._say, self._require)
        return self._answers

    def _served_identity(self) -> str:
        """Return what the server tells of itself, where nobody knows better."""
        root = self._server.base_url.removesuffix("/v1")
        with httpx.Client(headers=self._server.headers, timeout=30, trust_env=False) as client:
            try:
                version = client.get(f"{root}/version").raise_for_status().json()["version"]
                models = client.get(f"{root}/v1/models").raise_for_status().json()["data"]
                (model,) = (m for m in models if m["id"] == self._server.model)
            except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
                raise EvaluationError(
                    f"The server does not say what it serves ({type(error).__name__}).",
                    cause="Without that, answers of one model could be taken for another's.",
                    remedy="Give `identity=…` beside `answers=…`, a name of your own for this "
                    "checkpoint, engine and flags; or leave `answers` out.",
                ) from None
        return json.dumps([version, model.get("root"), model.get("max_model_len"), self.model])

    def encode_ahead(self, requests: Iterable[Any]) -> Encoded:
        """Return the tokens of requests of lm-eval, for `encoded` of a model that is asked them.

        Raises:
            NothingBefore: As `split_pairs`.
        """
        texts, pairs = [], []
        for request in requests:
            if request.request_type == "generate_until":
                texts.append(request.args[0])
            elif request.request_type == "loglikelihood":
                pairs.append(request.args)
        split = self._split(pairs)
        return Encoded(self._packed(texts), dict(zip(pairs, split, strict=True)))

    def _packed(self, texts: Sequence[str]) -> Mapping[str, Packed]:
        """Return each distinct text with its tokens."""
        known = self.encoded.texts
        return known if known and known.keys() >= {*texts} else pack_texts(texts, self._encode)

    def _split(self, pairs: Sequence[tuple[str, str]]) -> Sequence[tuple[Packed, Packed]]:
        known = self.encoded.pairs
        if known and known.keys() >= {*pairs}:
            return [known[pair] for pair in pairs]
        return split_pairs(pairs, self._encode, self.prefix_token_id, self._encode_alone)

    def _encode_alone(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        """Return the tokens of what follows an empty context."""
        return self._encode(texts)

    def _encode_whole(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        """Return the tokens of texts that nothing follows."""
        return self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        if self.tokenizer_backend != "huggingface":
            return [self.tok_encode(text) for text in texts]
        if self._by_lines:
            return encode_by_lines(texts, self.tok_encode)
        return self.tok_encode(list(texts))  # type: ignore[no-any-return]

    def _cut_context(
        self, context: Packed, continuation: Packed, whose: Whose
    ) -> tuple[Packed, Packed]:
        """Cut the beginning off the context where both do not fit the window, as stock does."""
        over = count(context) + count(continuation) - self.max_length
        if over <= 0:
            return context, continuation
        self._refuse_or_warn(over, whose, answer=0)
        if over >= count(context):
            raise self._too_long(over, whose, answer=0)
        return context[over * WIDTH :], continuation

    def _cut_prompt(self, prompt: Packed, answer: int, whose: Whose) -> Packed:
        over = count(prompt) + answer - self.max_length
        if over <= 0:
            return prompt
        self._refuse_or_warn(over, whose, answer)
        if over >= count(prompt):
            raise self._too_long(over, whose, answer)
        return prompt[over * WIDTH :]

    def _refuse_or_warn(self, over: int, whose: Whose, answer: int) -> None:
        if self._refuse_cut:
            raise self._too_long(over, whose, answer)
        if not self._warned:
            self._say(
                f"Prompts are longer than the window and lose their beginning, the first of them "
                f"that of {name_of(whose)}, {over} tokens."
            )
        self._warned = True

    def _too_long(self, over: int, whose: Whose, answer: int) -> EvaluationError:
        needed = self.max_length + over
        room = f"{needed - answer} tokens" + (f" and {answer} for the answer" if answer else "")
        return EvaluationError(
            f"A prompt of {whose[0]} needs {room}, but the server's window has "
            f"{self.max_length + 1}, of which one is kept free.",
            cause="Its beginning would have to be cut off: another question than the task's.",
            remedy="Raise serving.max_model_len, or lower num_fewshot"
            + (" or max_gen_toks of the task." if answer else " of the task."),
        )


def whose_is(request: Any) -> Whose:
    """Return task and document of a request, and which asking of the document."""
    return *document_of(request), turn_of(request)


def name_of(whose: Whose) -> str:
    """Return task and document, for errors."""
    return f"{whose[0]}, document {whose[1]}"


def _log(text: str) -> None:
    logging.getLogger("lm_eval.assay").warning(text)
