"""Whether a model's chat template shows the functions of a task, and whether they fit its window.

The server renders such chats itself; here the same template does, before there is one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from infra.contracts.errors import AssayError, EvaluationError
from infra.models.chat_template import ChatTemplate
from infra.scoring.chats import chat_of, holds_chat, is_chat, unrendered
from infra.suite.harness.questions.question import Prompt, Questions

DATED = (
    "the chat template writes the date, which is the server's own where it renders chats with "
    "functions: fix it by a variable of the template in evaluation.chat_template_kwargs, or "
    "evaluate all arms on one day; no answer to such a chat is taken from another day"
)
"""What to say of a template whose text depends on the clock."""


class Chat(NamedTuple):
    """One of the first questions of a task with functions."""

    task: str
    body: dict[str, Any]
    """Messages and functions."""

    answer: int
    """Tokens kept free for the answer."""


def apart(suite: Sequence[Questions]) -> tuple[list[Chat], list[Questions]]:
    """Return the chats with functions among first questions, and all others."""
    chats = [
        Chat(one.task, json.loads(text), prompt.answer)
        for one in suite
        for prompt in one.prompts
        if (text := _chat(one, prompt))
    ]
    tasks = {chat.task for chat in chats}
    return chats, [one for one in suite if one.task not in tasks]


def _chat(one: Questions, prompt: Prompt) -> str:
    if prompt.numbers:
        said = one.conversations[prompt.numbers[0]].messages
        return unrendered(said) if is_chat(said[-1]["content"]) else ""
    return chat_of(prompt.context) if holds_chat(prompt.context) else ""


def faults(
    chats: Sequence[Chat], template: ChatTemplate, tokenizer: Any, window: int | None
) -> list[AssayError]:
    """Return why chats with functions cannot be put, each task once.

    Args:
        chats: The first ones of each task.
        template: Of the model.
        tokenizer: Of the model.
        window: Tokens of prompt and answer together; None does not measure.
    """
    found: dict[str, AssayError] = {}
    for chat in chats:
        if chat.task not in found and (error := _fault(chat, template, tokenizer, window)):
            found[chat.task] = error
    return [*found.values()]


def _fault(
    chat: Chat, template: ChatTemplate, tokenizer: Any, window: int | None
) -> AssayError | None:
    names = [one["function"]["name"] for one in chat.body["tools"]]
    try:
        text = template.render(
            chat.body["messages"], tools=chat.body["tools"], add_generation_prompt=True
        )
    except Exception as error:  # of the template, or of what the tokenizer lacks
        return EvaluationError(
            f"The model's chat template cannot write the functions of {chat.task}: {error}",
            cause="It has a fault, or the tokenizer has no template.",
            remedy="Take a model whose template writes `tools`, or leave "
            f"{chat.task} out of evaluation.tasks.",
        )
    if hidden := [name for name in names if name not in text]:
        return EvaluationError(
            f"The model's chat template does not show the functions of {chat.task}: "
            f"{', '.join(hidden[:5])}.",
            cause="It writes no `tools`: the model was not trained to call functions, or its "
            "template is another one than its makers'.",
            remedy="Take a model whose template writes them, put such a template into its folder "
            f"as chat_template.jinja, or leave {chat.task} out of evaluation.tasks.",
        )
    length = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    if window and length + chat.answer > window:
        return EvaluationError(
            f"A chat of {chat.task} needs {length} tokens and {chat.answer} for the answer, but "
            f"serving.max_model_len is {window}.",
            cause=f"It offers {len(names)} functions.",
            remedy="Raise serving.max_model_len, lower max_gen_toks of the task, or set fewer "
            "functions in tools.offered beside its file.",
        )
    return None
