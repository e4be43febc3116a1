"""Questions for triage: the user's own conversations, each without its last answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from infra.contracts.errors import CalibrationError
from infra.contracts.progress import Progress
from infra.contracts.specs import CalibrationSpec
from infra.conversations import calibration
from infra.conversations.rendering import Renderer
from infra.models.chat_template import ChatTemplate
from infra.store.settings import Settings


def prompts(
    model: Path,
    spec: CalibrationSpec,
    count: int,
    *,
    longest: int,
    moment: datetime,
    variables: Mapping[str, Any],
    settings: Settings,
    progress: Progress,
    trust_remote_code: bool,
) -> list[list[int]]:
    """Return token ids of the first conversations that have a question, rendered for an answer.

    What the template refuses without its last answer, and what is too long, is left out; what
    renders to the same text comes once.

    Args:
        model: Folder with tokenizer and chat template; the same for both arms.
        spec: The calibration set.
        count: At most this many.
        longest: Tokens that a prompt may have.
        moment: What the template takes for now.
        variables: Further variables of the template.
        settings: Where datasets of a hub are kept.
        progress: Hears of a download.
        trust_remote_code: Allow a tokenizer that is code of the repository.

    Raises:
        CalibrationError: The conversations cannot be read.
        WeightsError: The hub did not give the dataset.
    """
    conversations = calibration.read(spec, settings=settings, progress=progress)
    tokenizer = calibration.load_tokenizer(model, trust_remote_code)
    renderer = Renderer(ChatTemplate(tokenizer, moment=moment, variables=variables), str(model))
    renderer.check()
    found: dict[tuple[int, ...], None] = {}
    for talk in conversations.rows:
        messages = talk.messages[: len(talk.messages) - (talk.messages[-1]["role"] == "assistant")]
        if not messages:
            continue
        try:
            text = renderer.render(talk, messages, add_generation_prompt=True)
        except CalibrationError:
            continue
        # The template writes the special tokens; tokenizing adds none, so none comes twice.
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if 0 < len(ids) <= longest:
            found.setdefault(tuple(ids))
        if len(found) == count:
            break
    return [list(ids) for ids in found]
