"""Ask stock and ours the same: hand-made questions and whole tasks, on one live server."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lm_eval import evaluator
from lm_eval.models.openai_completions import LocalCompletionsAPI

from infra.contracts.progress import Silent
from infra.contracts.specs import TaskSpec
from infra.engines.endpoint import Endpoint
from infra.scoring.model import AssayCompletions
from infra.store.settings import Settings
from infra.suite.harness.libraries.quiet import quiet
from infra.suite.harness.part import Part
from infra.suite.harness.suite import HarnessSuite, prepare
from tests.infra.scoring import cases
from tests.infra.scoring.cases import Made
from tests.infra.scoring.comparison import Answer, Limits, Request, Verdict, compare
from tests.infra.scoring.engine import Engine, common, greedy_is_tied
from tests.infra.suite.harness.conftest import evaluation

STOCK_CONCURRENCY = 16
TASKS = (
    TaskSpec(name="gsm8k", num_fewshot=3, max_gen_toks=96),
    TaskSpec(name="global_mmlu_en", num_fewshot=2),
    TaskSpec(name="gpqa_main_zeroshot"),
    TaskSpec(name="gpqa_main_n_shot", num_fewshot=2),
    TaskSpec(name="gpqa_main_cot_zeroshot", max_gen_toks=96),
    TaskSpec(name="gpqa_main_cot_n_shot", num_fewshot=2, max_gen_toks=96),
)
MODES: Mapping[str, Mapping[str, Any]] = {
    "": {},
    ", chat": {
        "apply_chat_template": True,
        "system_instruction": "You are a careful served_model.",
        "fewshot_as_multiturn": True,
    },
}


class Stock(LocalCompletionsAPI):  # type: ignore[misc]
    """lm-eval's own client without its progress bar, and without asking again after a failure."""

    def __init__(self, **options: Any) -> None:
        super().__init__(num_concurrent=STOCK_CONCURRENCY, max_retries=1, **options)

    def loglikelihood(self, requests: Any, disable_tqdm: bool = True) -> Any:
        return super().loglikelihood(requests, disable_tqdm=disable_tqdm)


@dataclass(frozen=True)
class Bench:
    """A live server, and the tokenizer that both clients read."""

    server: Endpoint
    tokenizer: Path
    limits: Limits
    add_bos_token: bool = False
    window: int | None = None
    """Tokens that the clients take the server's window for; None: what it is."""

    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        engine = Engine(self.server.base_url, self.server.model, dict(self.server.headers))
        object.__setattr__(self, "engine", engine)

    def client(self, kind: type[LocalCompletionsAPI], **options: Any) -> Any:
        """Return one of the two clients, new."""
        return kind(
            base_url=f"{self.server.base_url}/completions",
            model=self.server.model,
            tokenizer=str(self.tokenizer),
            tokenizer_backend="huggingface",
            add_bos_token=self.add_bos_token,
            max_length=self.window or self.server.window,
            header=dict(self.server.headers),
            **options,
        )

    @cached_property
    def stock(self) -> Any:
        return self.client(Stock)

    def both(self) -> Iterator[Any]:
        """Yield stock and ours; ours is new, and so warns anew."""
        yield self.stock
        ours = self.client(AssayCompletions)
        try:
            yield ours
        finally:
            ours.close()

    def length(self, text: str) -> int:
        """Return the number of tokens that the clients see."""
        return len(self.stock.tok_encode(text))

    def greedy_is_tied(self, request: Request, tie: float) -> bool:
        """Ask the server how certain each token of a continuation is."""
        if request.context:
            before, after = self.stock._encode_pair(request.context, request.wanted)
        else:
            before, after = [self.stock.prefix_token_id], self.stock.tok_encode(request.wanted)
        prompt = (before + after)[-self.stock.max_length :]
        return greedy_is_tied(self.engine.margins(prompt, len(prompt) - len(after)), tie)

    def texts_are_tied(self, request: Request, one: str, other: str, tie: float) -> bool:
        """Generate once more, and see how certain the tokens are up to where the texts part."""
        if request.wanted.get("temperature"):
            return False
        room = self.stock.max_length - request.wanted.get("max_gen_toks", self.stock._max_gen_toks)
        settings = self.stock._create_payload([], generate=True, gen_kwargs=dict(request.wanted))
        settings = {key: settings[key] for key in settings.keys() - {"prompt", "model", "stop"}}
        prompt = self.stock.tok_encode(request.context)[-room:]
        tokens, tops = self.engine.generated(prompt, **settings)
        parted = common(one, other)
        for number, top in enumerate(tops, 1):
            first, second = sorted(top.values())[-1:-3:-1]
            if first - second <= tie:
                return True
            if len(self.stock.tokenizer.decode(tokens[:number])) > parted:
                break
        return False


def ask(bench: Bench, made: Made) -> Verdict:
    """Ask both what was made by hand."""
    answers: list[Sequence[Answer]] = []
    warned: list[list[str]] = []
    for client in bench.both():
        with quiet(), _warnings() as warnings:
            asked = made.instances_for_stock() if client is bench.stock else made.instances()
            answers.append(getattr(client, made.kind)(asked, disable_tqdm=True))
        warned.append([text for text in warnings if "left truncating" in text.lower()])
        warned[-1] += [text for text in warnings if "lose their beginning" in text]
    verdict = compare(made.name, made.requests, answers[0], answers[1], bench, bench.limits)
    for warned_by, who in zip(warned, ("stock", "ours"), strict=True):
        # Stock cuts a prompt of a generation without a word.
        expected = _is_cut(bench, made) and (who, made.kind) != ("stock", "generate_until")
        if bool(warned_by) != expected:
            verdict.differ(f"{who} {'warns' if warned_by else 'does not warn'} of cut prompts")
    return verdict


def _is_cut(bench: Bench, made: Made) -> bool:
    """Tell whether some question does not fit the window."""
    if made.kind == "loglikelihood_rolling":
        return False
    window = bench.stock.max_length
    for request in made.requests:
        if isinstance(request.wanted, str):
            # An empty context stands for one token.
            size = bench.length(request.context + request.wanted) + (not request.context)
        else:
            size = bench.length(request.context) + request.wanted.get("max_gen_toks", 0)
        if size > window:
            return True
    return False


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Yield the list that receives what lm-eval's loggers warn of."""
    found: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    keeper, logger = Keeper(logging.WARNING), logging.getLogger("lm_eval")
    logger.addHandler(keeper)
    try:
        yield found
    finally:
        logger.removeHandler(keeper)


def by_hand(bench: Bench) -> Iterator[Verdict]:
    """Compare on everything made by hand."""
    with quiet():
        every = list(cases.made(bench.length, bench.stock.max_length))
    for made in [*every, spoken(bench)]:
        yield ask(bench, made)
    yield refused(bench)


def refused(bench: Bench) -> Verdict:
    """Compare on what gives the first token nothing to follow: neither may answer it."""
    name = "refused"
    too_long = cases.STORY * (bench.stock.max_length // 8)
    requests = [Request((name, 0), " \n", "A"), Request((name, 1), "A", too_long)]
    verdict = Verdict(name, len(requests), bench.limits)
    for question in requests:
        answers = [_answer_or_error(client, question) for client in bench.both()]
        if any(isinstance(answer, Exception) for answer in answers):
            if not all(isinstance(answer, Exception) for answer in answers):
                verdict.differ(f"{answers[0]!r} and {answers[1]!r}: {question}")
        else:  # with a BOS token before it, spaces alone are a context
            found = compare(name, [question], *([each] for each in answers), bench, bench.limits)
            verdict.otherwise += not found.equal
            verdict.said += found.said
    return verdict


def _answer_or_error(client: Any, question: Request) -> Any:
    (instance,) = Made("", "loglikelihood", [question]).instances()
    try:
        with quiet():
            return client.loglikelihood([instance], disable_tqdm=True)[0]
    except Exception as error:  # whatever it is
        return error


def spoken(bench: Bench) -> Made:
    """Return continuations that the model says itself, whole and with a word changed."""
    contexts = [cases.PRIMED, cases.STORY.strip(), "The symbol for", "Tom buys", "東京"]
    requests = []
    for number, context in enumerate(contexts):
        prompt = bench.stock.tok_encode(context)
        tokens, _ = bench.engine.generated(prompt, max_tokens=12, temperature=0, ignore_eos=True)
        for size in (1, 2, 5, 12):
            # What does not come back as the same tokens is asked all the same: it is not greedy.
            text = bench.stock.tokenizer.decode(tokens[:size])
            spoilt = text[:-1] + ("x" if text[-1:] != "x" else "y")
            requests += [
                Request(("spoken", number), context, each) for each in (text, spoilt) if each
            ]
    return Made("what the model says", "loglikelihood", requests)


def load_suite(cache: Path, tasks: Sequence[TaskSpec] = TASKS) -> HarnessSuite:
    """Load the real task definitions over the sample's rows."""
    settings = Settings(cache=cache, runs=cache)
    return prepare(evaluation(*tasks), settings=settings, progress=Silent())


def whole_tasks(bench: Bench, suite: HarnessSuite, documents: int) -> Iterator[Verdict]:
    """Compare on whole tasks, asked as lm-eval asks them."""
    for part in suite.parts.values():
        for mode, options in MODES.items():
            (requests, theirs), (requests_too, ours) = (
                _evaluate(client, part, documents, options) for client in bench.both()
            )
            name = part.entry.name + mode
            verdict = compare(name, requests, theirs, ours, bench, bench.limits)
            if requests != requests_too:
                verdict.differ("lm-eval asked the two otherwise")
            yield verdict


def _evaluate(
    client: Any, part: Part, documents: int, options: Mapping[str, Any]
) -> tuple[list[Request], list[Answer]]:
    for task in part.tasks.values():
        task.set_fewshot_seed(1234)
    with quiet():
        results = evaluator.evaluate(
            client, part.loaded, limit=documents, bootstrap_iters=0, log_samples=True, **options
        )
    requests: list[Request] = []
    answers: list[Answer] = []
    for task, samples in results["samples"].items():
        for sample in samples:
            if sample["filter"] != samples[0]["filter"]:
                continue  # the same answers, marked another way
            for arguments, responses in zip(sample["arguments"], sample["resps"], strict=True):
                requests.append(Request((task, sample["doc_id"]), *arguments))
                answers.append(responses[0])
    return requests, answers
