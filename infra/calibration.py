"""The user's conversations, as the quantizer will see them.

They are rendered and tokenized here and not in the quantizer: the checkpoint's key needs their
fingerprint before anything starts, a bad set is refused before a GPU is taken, and the engine
that serves both arms tokenizes with this generation of transformers, not with the quantizer's.
The quantizer gets token ids, which no second tokenizer can read differently.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

from infra.content import digest_of
from infra.contracts.errors import CalibrationError
from infra.contracts.records import CalibrationCard
from infra.contracts.specs import CalibrationSpec
from infra.conversations import Messages, read
from infra.progress import Progress
from infra.settings import Settings
from infra.vllm_check import has_chat_template

__all__ = ["Calibration", "check_template", "load_tokenizer", "prepare", "read"]

_IMPORTING = threading.Lock()
"""transformers fails if two threads import a name of it for the first time at once."""


@dataclass(frozen=True)
class Calibration:
    """Token ids for AutoAWQ, and what there is to say about them."""

    card: CalibrationCard
    token_ids: list[list[int]]


def prepare(
    model: Path,
    spec: CalibrationSpec,
    *,
    settings: Settings,
    progress: Progress,
    trust_remote_code: bool = False,
) -> Calibration:
    """Render conversations with the model's own chat template and choose those AutoAWQ can use.

    The template writes the special tokens; tokenizing adds none, so none comes twice.

    Args:
        model: Model folder with tokenizer and chat template.
        spec: Which conversations, how many, how long.
        settings: Where datasets of a hub are kept.
        progress: Told how many are rendered.
        trust_remote_code: Allow a tokenizer that is code of the repository.

    Raises:
        CalibrationError: As for `read`; or there is no chat template, or it refuses a
            conversation, or too few usable ones remain.
        WeightsError: The hub did not give the dataset.
    """
    conversations = read(spec, settings=settings, progress=progress)
    check_template(model)
    tokenizer = load_tokenizer(model, trust_remote_code)
    texts: list[str] = []
    token_ids: list[list[int]] = []
    too_long: list[int] = []
    for place, messages in conversations.rows:
        text = _render(tokenizer, messages, place)
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if not ids:
            raise CalibrationError(
                f"{place}: the chat template makes nothing of it.", remedy="Change or remove it."
            )
        if len(ids) > spec.max_sequence_length:
            too_long.append(len(ids))
        else:
            texts.append(text)
            token_ids.append(ids)
        seen = len(texts) + len(too_long)
        progress.update("rendering conversations", seen, conversations.total)
        if len(texts) == spec.max_samples:
            break
    _check_enough(spec, conversations.total, [len(ids) for ids in token_ids], too_long)
    lengths = [len(ids) for ids in token_ids]
    card = CalibrationCard(
        spec=spec,
        fingerprint=digest_of(texts),
        read=conversations.total,
        used=len(texts),
        dropped_too_long=len(too_long),
        dropped_beyond_max=conversations.total - len(texts) - len(too_long),
        tokens_min=min(lengths),
        tokens_median=median_low(lengths),
        tokens_max=max(lengths),
        tokens_total=sum(lengths),
    )
    return Calibration(card, token_ids)


def check_template(model: Path) -> None:
    """Refuse a model folder without a chat template, without loading the tokenizer.

    Raises:
        CalibrationError: There is none.
    """
    if has_chat_template(model):
        return
    raise CalibrationError(
        f"The model in {model} has no chat template, and calibration renders conversations.",
        cause="Most often it is a base model, not one that was trained on conversations.",
        remedy="Take its instruct or chat variant, or put a chat_template.jinja into the folder.",
    )


def load_tokenizer(model: Path, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer of a model folder.

    Raises:
        CalibrationError: It cannot be loaded.
    """
    with _IMPORTING:
        from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            model, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # the tokenizers library raises bare Exception
        raise CalibrationError(
            f"The tokenizer in {model} cannot be loaded.",
            cause=f"{type(error).__name__}: {error}".partition("\n")[0],
            remedy="Copy the tokenizer files of the model again.",
        ) from error


def _render(tokenizer: Any, messages: Messages, place: str) -> str:
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False))
    except (TemplateError, TypeError, ValueError) as error:
        raise CalibrationError(
            f"{place}: the model's chat template refuses this conversation.",
            cause=str(error),
            remedy="Change or remove it. Templates often want user and assistant in turn, "
            "and some know no system message.",
            place=place,
        ) from error


def _check_enough(
    spec: CalibrationSpec, total: int, lengths: list[int], too_long: list[int]
) -> None:
    longest = spec.max_sequence_length
    if len(lengths) < spec.min_samples:
        raise CalibrationError(
            f"{len(lengths) or 'No'} usable conversations in {spec.path}; "
            f"quantization.calibration.min_samples asks for {spec.min_samples}.",
            cause=f"{len(too_long)} of {total} have more than max_sequence_length={longest} "
            f"tokens, the shortest of them {min(too_long)}; AutoAWQ skips those.",
            remedy="Raise quantization.calibration.max_sequence_length, or give shorter ones.",
            used=len(lengths),
            dropped_too_long=len(too_long),
        )
    if sum(lengths) < longest:
        raise CalibrationError(
            f"The {len(lengths)} usable conversations in {spec.path} hold {sum(lengths)} tokens, "
            f"fewer than one block of max_sequence_length={longest}.",
            cause="AutoAWQ joins them, cuts blocks of this length and drops the rest.",
            remedy="Give more, or lower quantization.calibration.max_sequence_length.",
            tokens=sum(lengths),
        )
