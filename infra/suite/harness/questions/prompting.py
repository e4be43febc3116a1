"""How one model is prompted: tokenizer, chat template, special tokens before each prompt.

The same for the look before a run and for the run itself. Imports no lm-eval.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.contracts.errors import EvaluationError
from infra.contracts.specs import EvaluationSpec
from infra.models.chat_template import ChatTemplate, moment_of
from infra.scoring.frame import Frame, frame


@dataclass(frozen=True)
class Prompting:
    """Everything between a question and its token ids."""

    tokenizer: Any
    frame: Frame
    template: ChatTemplate | None
    """None: questions are put as plain text."""

    @classmethod
    def of(
        cls, tokenizer: Any, folder: Path, spec: EvaluationSpec, *, trust_remote_code: bool = False
    ) -> Prompting:
        """Return how a model is prompted.

        Args:
            tokenizer: Of the model, as `AutoTokenizer` returns it.
            folder: Where it was loaded from.
            spec: The tasks.
            trust_remote_code: Allow a tokenizer that is code of the repository.

        Raises:
            EvaluationError: There is no chat template, or no BOS, although one is wanted.
        """

        def with_bos() -> Any:
            from transformers import AutoTokenizer

            return AutoTokenizer.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=trust_remote_code,
                add_bos_token=True,
            )

        if spec.chat_template:
            _require_template(tokenizer, folder)
        return cls(
            tokenizer,
            frame(tokenizer, spec.add_bos_token, with_bos),
            chat_template(tokenizer, spec) if spec.chat_template else None,
        )

    @property
    def beginning(self) -> str:
        """What comes before each prompt, for people."""
        if not self.frame.before:
            return "none is added"
        unless = ", unless its chat template writes it" if self.template else ""
        return f"each prompt begins with {self.frame.shown}{unless}"


def chat_template(tokenizer: Any, spec: EvaluationSpec) -> ChatTemplate:
    """Return a model's chat template as the spec fills it in."""
    variables = spec.chat_template_kwargs
    return ChatTemplate(tokenizer, moment=moment_of(spec), variables=variables)


def _require_template(tokenizer: Any, folder: Path) -> None:
    remedy = "Set evaluation.chat_template to False"
    if not (given := tokenizer.chat_template):
        raise EvaluationError(
            f"The tokenizer in {folder} has no chat template.",
            cause="Most often it is a base model, not one that was trained on conversations.",
            remedy=f"{remedy}, or add the model's template.",
        )
    if isinstance(given, dict) and "default" not in given:
        raise EvaluationError(
            f"The tokenizer in {folder} has chat templates named {', '.join(sorted(given))}, and "
            "none named default.",
            cause="Questions are rendered with the default one.",
            remedy=f"{remedy}, or name one of them default in its files.",
        )
