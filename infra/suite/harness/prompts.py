"""An exam's first questions as one model will read them: rendered, begun and measured.

Done in preflight where the model is here, and again when it is downloaded, before anything starts.
Imports no lm-eval if the exam has been loaded before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.contracts.errors import AssayError, EvaluationError
from infra.contracts.progress import Progress
from infra.contracts.specs import ArmSpec, EvaluationSpec
from infra.conversations.calibration import load_tokenizer
from infra.models import vocabulary
from infra.models.memory_need import from_config
from infra.store.settings import Settings
from infra.suite.harness.prepared import questions_of
from infra.suite.harness.questions.fit import check_fit
from infra.suite.harness.questions.prompting import Asking
from infra.suite.harness.questions.question import Questions
from infra.suite.harness.questions.rendering import faults, render, unread_variables


@dataclass(frozen=True)
class Look:
    """What was found."""

    refused: Sequence[AssayError] = ()
    """Why questions cannot become prompts of this model."""

    unfit: AssayError | None = None

    measured: bool = False
    """True if prompts were measured against the window."""

    beginning: str = ""
    """What comes before each prompt, for people; empty if it is not known."""

    unread: str = ""
    """Variables of the template that are given in vain, for people; empty if none is."""

    @property
    def problems(self) -> list[AssayError]:
        """All that keeps the exam from being put to this model."""
        return [*self.refused, *([self.unfit] if self.unfit else [])]


def look(
    exam: Sequence[Questions],
    folder: Path,
    spec: EvaluationSpec,
    *,
    window: int | None,
    trust_remote_code: bool = False,
) -> Look:
    """Render the first questions of an exam with a model's own template, and measure them.

    Args:
        exam: The first questions of each task.
        folder: The model.
        spec: The exam.
        window: Tokens of prompt and answer together; None does not measure.
        trust_remote_code: Allow a tokenizer that is code of the repository.

    Raises:
        CalibrationError: The tokenizer cannot be loaded.
    """
    tokenizer = load_tokenizer(folder, trust_remote_code)
    try:
        asking = Asking.of(tokenizer, folder, spec, trust_remote_code=trust_remote_code)
    except EvaluationError as error:
        return Look([error])
    template = asking.template
    unread = _unread(asking, spec)
    if template and (refused := faults(exam, template, spec)):
        return Look(refused, beginning=asking.beginning, unread=unread)
    rendered = [(one, render(one, template) if template else {}) for one in exam]
    unfit = None
    try:
        if window:
            check_fit(rendered, asking, window, vocabulary.size(folder))
    except EvaluationError as error:
        unfit = error
    return Look([], unfit, bool(window), asking.beginning, unread)


def _unread(asking: Asking, spec: EvaluationSpec) -> str:
    """Return what variables of the template are given in vain, for people."""
    if not spec.chat_template_kwargs:
        return ""
    if asking.template:
        return unread_variables(asking.template, spec)
    return (
        "evaluation.chat_template is False: evaluation.chat_template_kwargs reach the "
        "conversations for calibration, and no question of the exam"
    )


def check(
    spec: EvaluationSpec,
    arm: ArmSpec,
    model: Path,
    tokenizer: Path,
    *,
    settings: Settings,
    progress: Progress,
    trust_remote_code: bool | None = None,
) -> None:
    """Refuse tasks that cannot be put to a model that is here now.

    Args:
        spec: The tasks.
        arm: How the model is served.
        model: Its folder.
        tokenizer: Folder with the tokenizer and the chat template that write the prompts.
        settings: Where rows are kept.
        progress: Hears what is found.
        trust_remote_code: Allow a tokenizer that is code of its repository; by default as the
            arm's model is trusted.

    Raises:
        EvaluationError: The template refuses or leaves out a part of a first question, or one does
            not fit, or there is no template or BOS, although one is asked for.
    """
    exam = questions_of(spec, settings=settings, progress=progress)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    shape = from_config(config, 0)
    found = look(
        exam,
        tokenizer,
        spec,
        window=arm.serving.max_model_len or (shape.window if shape else None),
        trust_remote_code=(
            arm.model.trust_remote_code if trust_remote_code is None else trust_remote_code
        ),
    )
    if found.unread:
        progress.say(found.unread)
    progress.say(f"BOS: {found.beginning}")
    if found.problems:
        first, *more = found.problems
        raise EvaluationError(
            " ".join(error.fact for error in found.problems),
            cause=first.cause,
            remedy=" ".join(dict.fromkeys(error.remedy for error in (first, *more))),
        )
