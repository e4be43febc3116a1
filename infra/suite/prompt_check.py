"""Whether the first questions of a suite can be put to one model, of whatever kind it is."""

from __future__ import annotations

import json
from pathlib import Path

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Progress
from infra.contracts.specs import ArmSpec, EvaluationSpec
from infra.models.memory_need import from_config
from infra.store.settings import Settings
from infra.suite import kind_of


def check_prompts(
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
            not fit, or there is no template or BOS, although one is wanted.
    """
    found = kind_of(spec).prompts(
        spec,
        tokenizer,
        window=window_of(arm, model),
        trust_remote_code=(
            arm.model.trust_remote_code if trust_remote_code is None else trust_remote_code
        ),
        settings=settings,
        progress=progress,
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


def window_of(arm: ArmSpec, model: Path) -> int | None:
    """Return the tokens of prompt and answer together that an arm takes; none if nobody knows.

    Args:
        arm: How the model is served.
        model: Its folder.
    """
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    shape = from_config(config, 0)
    return arm.serving.max_model_len or (shape.window if shape else None)
