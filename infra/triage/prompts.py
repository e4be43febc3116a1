"""Questions for triage: the user's own conversations, each without its last answer."""

from __future__ import annotations

from pathlib import Path

from infra import calibration
from infra.contracts.specs import CalibrationSpec
from infra.progress import Progress
from infra.settings import Settings


def prompts(
    model: Path,
    spec: CalibrationSpec,
    count: int,
    *,
    longest: int,
    settings: Settings,
    progress: Progress,
    trust_remote_code: bool,
) -> list[list[int]]:
    """Return token ids of the first conversations that can be asked, rendered for an answer.

    What the template refuses without its last answer, and what is too long, is left out.

    Args:
        model: Folder with tokenizer and chat template; the same for both arms.
        spec: The calibration set.
        count: At most this many.
        longest: Tokens that a prompt may have.
        settings: Where datasets of a hub are kept.
        progress: Told about a download.
        trust_remote_code: Allow a tokenizer that is code of the repository.

    Raises:
        CalibrationError: The conversations cannot be read.
        WeightsError: The hub did not give the dataset.
    """
    from jinja2 import TemplateError

    conversations = calibration.read(spec, settings=settings, progress=progress)
    tokenizer = calibration.load_tokenizer(model, trust_remote_code)
    found: list[list[int]] = []
    for _, messages in conversations.rows:
        last = len(messages) - (messages[-1]["role"] == "assistant")
        if not last:
            continue
        try:
            text = tokenizer.apply_chat_template(
                messages[:last], tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, TypeError, ValueError):
            continue
        # The template writes the special tokens; tokenizing adds none, so none comes twice.
        ids = tokenizer(str(text), add_special_tokens=False, verbose=False)["input_ids"]
        if 0 < len(ids) <= longest:
            found.append(ids)
        if len(found) == count:
            break
    return found
