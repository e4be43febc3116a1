"""The model that lm-eval asks in our runs: the fast client, on a server that may die.

Imports lm-eval; whoever must be quick imports this late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.contracts.errors import EvaluationError
from infra.contracts.records.endpoint import Prompts
from infra.contracts.specs import EvaluationSpec
from infra.engines.endpoint import Endpoint
from infra.engines.remote.endpoint import RemoteEndpoint
from infra.scoring.chats import is_chat, unrendered
from infra.scoring.model import AssayCompletions
from infra.scoring.texts import TextModel
from infra.scoring.ways import way_of
from infra.suite.harness.questions.prompting import Prompting
from infra.suite.harness.questions.question import DEFAULT_ANSWER_TOKENS
from infra.suite.harness.thinking import opened
from infra.suite.port import AnswerFile


def build_model(
    server: Endpoint,
    tokenizer_path: Path | None,
    spec: EvaluationSpec,
    *,
    answers: AnswerFile | None,
    order: int | None = None,
    trust_remote_code: bool = False,
    say: Callable[[str], None],
) -> ServedModel | TextModel:
    """Return lm-eval's model for a live server: `assay-completions`, or one of texts alone.

    Args:
        server: The server that answers.
        tokenizer_path: Folder of the checkpoint, for its own tokenizer; none for an endpoint that
            takes no tokens.
        spec: The tasks: their seed, the chat template's variables, the BOS, questions in flight.
        answers: File that keeps every answer, so that a killed run continues where it stopped.
        order: Seed of the order in which questions are asked; None asks those that begin alike one
            after the other.
        trust_remote_code: Allow a tokenizer that is code of the repository.
        say: Hears what a user should know.

    Raises:
        EvaluationError: The tokenizer has no chat template, or no BOS, although one is wanted.
    """
    common: dict[str, Any] = {
        "base_url": f"{server.base_url}/completions",
        "model": server.model,
        "num_concurrent": spec.concurrency,
        "max_length": server.window,
        "max_gen_toks": DEFAULT_ANSWER_TOKENS,
        "seed": spec.seed,
        "answers": answers.path if answers else None,
        "identity": answers.identity if answers else None,
        "require": answers.require if answers else None,
        "order": order,
        "chat_variables": spec.chat_template_kwargs,
        "say": say,
    }
    if isinstance(server, RemoteEndpoint):
        common["num_concurrent"] = server.spec.concurrency
        common["timeout"] = server.spec.timeout_seconds
        if tokenizer_path is None or server.found.prompts != "tokens":
            how: Prompts = "chat" if spec.chat_template else server.found.prompts
            return TextModel(server=server, prompts=how, **common)
    if tokenizer_path is None:
        raise EvaluationError(
            "There is no tokenizer to write prompts with.",
            remedy="Name the folder of the model's tokenizer.",
        )
    return ServedModel(
        folder=tokenizer_path,
        spec=spec,
        server=server,
        refuse_cut=True,
        trust_remote_code=trust_remote_code,
        **common,
    )


class ServedModel(AssayCompletions):
    """Reads prompts as lm-eval's Hugging Face backend would have the model read them.

    The stock client for servers adds no special tokens and fills in no variables of the template.
    """

    def __init__(
        self, *, folder: Path, spec: EvaluationSpec, trust_remote_code: bool, **options: Any
    ) -> None:
        """Make the model; nothing is requested yet."""
        super().__init__(
            tokenizer=str(folder),
            tokenizer_backend="huggingface",
            trust_remote_code=trust_remote_code,
            **options,
        )
        self._thinking = spec.thinking
        self.prompting = Prompting.of(
            self.tokenizer, folder, spec, trust_remote_code=trust_remote_code
        )

    @property
    def prompts_begin_with(self) -> str:
        """What comes before each prompt, as text."""
        return self.prompting.frame.shown

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return a conversation as the model reads it."""
        if is_chat(chat_history[-1]["content"]):  # the server renders it, with its functions
            return unrendered(chat_history)
        if self.prompting.template is None:
            raise ValueError("the questions are not put as a chat")
        return self.prompting.template.render(
            chat_history,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return the text generated after each context, with the thought its prompt opens."""
        texts = super().generate_until(requests, disable_tqdm)
        if self._thinking is None:
            return texts
        return [
            self._thinking.begin + text
            if opened(request.args[0], self._thinking) and not way_of(request)
            else text
            for request, text in zip(requests, texts, strict=True)
        ]

    def _encode(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        return self.prompting.frame.encode(texts, super()._encode)

    def _encode_alone(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        return super()._encode(texts)

    def _encode_whole(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        return self.prompting.frame.encode_whole(texts, super()._encode)
