"""A suite's first questions as one model will read them: rendered, begun and measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra.contracts.errors import EvaluationError
from infra.contracts.specs import EvaluationSpec
from infra.conversations.calibration import load_tokenizer
from infra.models import vocabulary
from infra.suite.harness.questions import functions
from infra.suite.harness.questions.fit import check_fit
from infra.suite.harness.questions.prompting import Prompting, chat_template
from infra.suite.harness.questions.question import Questions
from infra.suite.harness.questions.rendering import faults, render, unread_variables
from infra.suite.port import PromptCheck


def look(
    suite: Sequence[Questions],
    folder: Path,
    spec: EvaluationSpec,
    *,
    window: int | None,
    trust_remote_code: bool = False,
) -> PromptCheck:
    """Render the first questions of a suite with a model's own template, and measure them.

    Args:
        suite: The first questions of each task.
        folder: The model.
        spec: The tasks.
        window: Tokens of prompt and answer together; None does not measure.
        trust_remote_code: Allow a tokenizer that is code of the repository.

    Raises:
        CalibrationError: The tokenizer cannot be loaded.
    """
    tokenizer = load_tokenizer(folder, trust_remote_code)
    chats, suite = functions.apart(suite)
    try:
        prompting = Prompting.of(tokenizer, folder, spec, trust_remote_code=trust_remote_code)
    except EvaluationError as error:
        return PromptCheck([error])
    template = prompting.template
    unread = _unread(prompting, spec)
    of_chats = chat_template(tokenizer, spec)
    if unshown := functions.faults(chats, of_chats, tokenizer, window):
        return PromptCheck(unshown, beginning=prompting.beginning, unread=unread)
    if of_chats.dated:
        unread = "; ".join(filter(None, [unread, functions.DATED]))
    if template and (refused := faults(suite, template, spec)):
        return PromptCheck(refused, beginning=prompting.beginning, unread=unread)
    rendered = [(one, render(one, template) if template else {}) for one in suite]
    unfit = None
    try:
        if window:
            check_fit(rendered, prompting, window, vocabulary.size(folder))
    except EvaluationError as error:
        unfit = error
    return PromptCheck([], unfit, bool(window), prompting.beginning, unread)


def _unread(prompting: Prompting, spec: EvaluationSpec) -> str:
    """Return what variables of the template are given in vain, for people."""
    if not spec.chat_template_kwargs:
        return ""
    if prompting.template:
        return unread_variables(prompting.template, spec)
    return (
        "evaluation.chat_template is False: evaluation.chat_template_kwargs reach the "
        "conversations for calibration, and no question"
    )
