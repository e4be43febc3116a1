"""Whether questions fit the model, its window and its vocabulary, before a server is started.

Only a few documents are looked at; the scoring client checks every question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from infra.contracts.errors import EvaluationError
from infra.models import vocabulary
from infra.scoring.frame import encoder
from infra.suite.harness.questions.prompting import Prompting
from infra.suite.harness.questions.question import Questions


def check_fit(
    suite: Iterable[tuple[Questions, Mapping[int, str]]],
    prompting: Prompting,
    window: int,
    vocabulary_size: int | None = None,
) -> None:
    """Check that prompts, and the answers to them, fit.

    Args:
        suite: The first questions of each task, and their conversations as they were rendered.
        prompting: How the model is prompted.
        window: Tokens of prompt and answer together.
        vocabulary_size: Tokens that the model has embeddings for; None does not look.

    Raises:
        EvaluationError: One does not fit, or holds a token that the model does not know.
    """
    bare = encoder(prompting.tokenizer)
    for questions, rendered in suite:
        texts = [prompt.filled(rendered) for prompt in questions.prompts]
        encoded = prompting.frame.encode(texts, bare) if texts else []
        for prompt, ids in zip(questions.prompts, encoded, strict=True):
            place = f"a prompt of {questions.task}"
            vocabulary.check(ids, vocabulary_size, prompting.tokenizer, place, EvaluationError)
            if len(ids) + prompt.answer > window - 1:
                room = f"{len(ids)} tokens"
                room += f" and {prompt.answer} for the answer" if prompt.answer else ""
                raise EvaluationError(
                    f"A prompt of {questions.task} needs {room}, but serving.max_model_len is "
                    f"{window}, of which one is kept free.",
                    cause="Its beginning would have to be cut off: another question than the "
                    "task's.",
                    remedy="Raise serving.max_model_len, or lower num_fewshot"
                    + (" or max_gen_toks of the task." if prompt.answer else " of the task."),
                )
