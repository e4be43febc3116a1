"""The user's conversations, as the quantizer will see them.

They are rendered and tokenized here and not in the quantizer: the checkpoint's key needs their
fingerprint before anything starts, a bad set is refused before a GPU is taken, and the engine
that serves both arms tokenizes with this generation of transformers, not with the quantizer's.
The quantizer gets token ids, which no second tokenizer can read differently.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median_low
from typing import Any

from infra.contracts.errors import CalibrationError
from infra.contracts.progress import Progress
from infra.contracts.records import CalibrationCard
from infra.contracts.specs import CalibrationSpec
from infra.contracts.wording import listed
from infra.conversations.forms import SHAREGPT_ROLES
from infra.conversations.loading import Conversation, conversion, read
from infra.conversations.rendering import PassedOver, Renderer
from infra.models import tokenizer as tokenizers
from infra.models import vocabulary
from infra.models.chat_template import ChatTemplate, has_chat_template, named_chat_templates
from infra.store.content import digest_of
from infra.store.settings import Settings

__all__ = ["Calibration", "check_template", "load_tokenizer", "prepare", "read"]


@dataclass(frozen=True)
class Calibration:
    """Token ids for the quantizer, and what there is to say about them."""

    card: CalibrationCard
    token_ids: list[list[int]]


def prepare(
    model: Path,
    spec: CalibrationSpec,
    *,
    moment: datetime,
    variables: Mapping[str, Any],
    settings: Settings,
    progress: Progress,
    trust_remote_code: bool = False,
    for_quantizer: bool = True,
) -> Calibration:
    """Render conversations with the model's own chat template and choose those that can be used.

    The template writes the special tokens; tokenizing adds none, so none comes twice. Conversations
    that render to the same text count once.

    Args:
        model: Model folder with tokenizer and chat template.
        spec: Which conversations, how many, how long.
        moment: What the template takes for now.
        variables: Further variables of the template.
        settings: Where datasets of a hub are kept.
        progress: Hears how many are rendered.
        trust_remote_code: Allow a tokenizer that is code of the repository.
        for_quantizer: They have to fill one block of the quantizer. Those that candidates are only
            looked at with need not.

    Raises:
        CalibrationError: As for `read`; or there is no chat template, or it has a fault, refuses a
            conversation or passes over a message; or the model does not know a token; or too few
            usable ones remain.
        WeightsError: The hub did not give the dataset.
    """
    conversations = read(spec, settings=settings, progress=progress)
    check_template(model)
    tokenizer = load_tokenizer(model, trust_remote_code)
    renderer = Renderer(ChatTemplate(tokenizer, moment=moment, variables=variables), str(model))
    renderer.check()
    vocabulary_size = vocabulary.size(model)
    texts: dict[str, None] = {}
    token_ids: list[list[int]] = []
    too_long: list[int] = []
    unsaid = _Unsaid(spec)
    duplicates = looked_at = 0
    for talk in conversations.rows:
        text = renderer.render(talk)
        if unsaid.look(talk, text, renderer.passed_over(talk)):
            continue
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if not ids:
            raise CalibrationError(
                f"{talk.place}: the chat template makes nothing of it.",
                remedy="Change or remove it.",
            )
        vocabulary.check(ids, vocabulary_size, tokenizer, talk.place)
        if text in texts:
            duplicates += 1
        elif len(ids) > spec.max_sequence_length:
            too_long.append(len(ids))
        else:
            texts[text] = None
            token_ids.append(ids)
        looked_at = len(texts) + len(too_long) + duplicates
        progress.update("rendering conversations", looked_at, conversations.total)
        if len(texts) == spec.max_samples:
            break
    unsaid.check()
    lengths = [len(ids) for ids in token_ids]
    _check_enough(spec, conversations.total, lengths, too_long, duplicates)
    if for_quantizer:
        _check_block(spec, lengths)
    card = CalibrationCard(
        spec=spec,
        fingerprint=digest_of(list(texts)),
        read=conversations.total,
        used=len(texts),
        dropped_too_long=len(too_long),
        dropped_beyond_max=conversations.total - looked_at,
        duplicates=duplicates,
        left_out=dict(renderer.left_out),
        tokens_min=min(lengths),
        tokens_median=median_low(lengths),
        tokens_max=max(lengths),
        tokens_total=sum(lengths),
    )
    return Calibration(card, token_ids)


def check_unrendered(spec: CalibrationSpec, *, settings: Settings) -> int:
    """Return how many conversations there are; refuse what no template could make enough of.

    Raises:
        CalibrationError, WeightsError: As for `read`; or too few of them differ.
    """
    conversations = read(spec, settings=settings)
    different = set[str]()
    for talk in conversations.rows:
        different.add(digest_of([talk.messages, talk.tools]))
        if len(different) == spec.min_samples:
            return conversations.total
    same = conversations.total - len(different)
    raise _too_few(
        spec, len(different), f"{same} of {conversations.total} are the same as one before"
    )


def check_template(model: Path) -> None:
    """Refuse a model folder without a chat template to use, without loading the tokenizer.

    Raises:
        CalibrationError: There is none, or several with names and none that is the default.
    """
    if has_chat_template(model):
        return
    named = named_chat_templates(model)
    if not named:
        raise CalibrationError(
            f"The model in {model} has no chat template, and calibration renders conversations.",
            cause="Most often it is a base model, not one that was trained on conversations.",
            remedy="Take its instruct or chat variant, or put a chat_template.jinja into the "
            "folder.",
        )
    file = next(iter(named.values()))
    target = shlex.quote(str(model / "chat_template.jinja"))
    remedy = f"Rename the one to use to `default` in {file}."
    if file.suffix == ".jinja":
        remedy = f"Choose one, for instance: `cp {shlex.quote(str(file))} {target}`."
    raise CalibrationError(
        f"The chat templates of the model in {model} are named {listed(list(named))}; none is the "
        "default.",
        cause="Conversations are rendered with the default template, those with tools with "
        "`tool_use` where it is there.",
        remedy=remedy,
    )


def load_tokenizer(model: Path, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer of a model folder.

    Raises:
        CalibrationError: It cannot be loaded.
    """
    try:
        return tokenizers.load(model, trust_remote_code=trust_remote_code)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise CalibrationError(
            f"The tokenizer in {model} cannot be loaded.",
            cause=f"{type(error).__name__}: {error}".partition("\n")[0],
            remedy="Copy the tokenizer files of the model again.",
        ) from error


class _Unsaid:
    """Messages that the template passes over: counted first, so that one error tells of all."""

    def __init__(self, spec: CalibrationSpec) -> None:
        self._spec = spec
        self._roles: dict[str, None] = {}
        self._first = ""
        self._concerned = 0
        self._looked_at = 0
        self._texts: set[str] = set()

    def look(self, talk: Conversation, text: str, found: tuple[PassedOver, ...]) -> bool:
        """Take note of a conversation; return whether a message of it is passed over.

        Raises:
            CalibrationError: Enough were looked at to say what the template does.
        """
        self._looked_at += 1
        if self._looked_at <= self._spec.max_samples:
            self._texts.add(digest_of(text))
        if found:
            self._first = self._first or f"message {found[0].number} of {talk.place}"
            self._concerned += 1
            self._roles |= dict.fromkeys(one.role for one in found)
        if self._looked_at >= self._spec.max_samples:
            self.check()
        return bool(found)

    def check(self) -> None:
        if not self._roles:
            return
        roles = listed([f"'{role}'" for role in self._roles])
        same = min(self._looked_at, self._spec.max_samples)
        alike = f"; {same} of them render to the same text" if len(self._texts) == 1 < same else ""
        raise CalibrationError(
            f"The model's chat template passes over messages of role {roles}: nothing of them is "
            f"in what it renders.",
            cause=f"{self._concerned} of {self._looked_at} conversations have such messages, the "
            f"first is {self._first}{alike}. The model would not read them.",
            remedy=self._remedy(),
        )

    def _remedy(self) -> str:
        if all(SHAREGPT_ROLES.get(role.lower(), role) != role for role in self._roles):
            return f"Rename the roles to user and assistant. {conversion(self._spec, '--roles')}"
        if set(self._roles) <= {"system", "developer"}:
            return "Put their text into the next user message. " + conversion(
                self._spec, "--merge-system"
            )
        if "user" in self._roles:
            return "Copy the model's own chat template again: this one renders no question."
        return (
            "Leave these messages out, or take a chat template that renders them: the model's "
            "own, copied again, or one for tools where they are calls and results."
        )


def _check_enough(
    spec: CalibrationSpec, total: int, lengths: list[int], too_long: list[int], duplicates: int
) -> None:
    longest = spec.max_sequence_length
    if len(lengths) < spec.min_samples and duplicates > len(too_long):
        more = f"; {len(too_long)} have more than {longest} tokens" if too_long else ""
        same = f"{duplicates} of {total} render to the same text as one before{more}"
        raise _too_few(spec, len(lengths), same)
    if len(lengths) < spec.min_samples:
        raise CalibrationError(
            f"{len(lengths) or 'No'} usable conversations in {spec.path}; "
            f"quantization.calibration.min_samples asks for {spec.min_samples}.",
            cause=f"{len(too_long)} of {total} have more than max_sequence_length={longest} "
            f"tokens, the shortest of them {min(too_long)}; those are left out.",
            remedy=_longer(spec, lengths, too_long),
        )


def _check_block(spec: CalibrationSpec, lengths: list[int]) -> None:
    longest = spec.max_sequence_length
    if sum(lengths) < longest:
        raise CalibrationError(
            f"The {len(lengths)} usable conversations in {spec.path} hold {sum(lengths)} tokens, "
            f"fewer than one block of max_sequence_length={longest}.",
            cause="The quantizer joins them, cuts blocks of this length and drops the rest.",
            remedy="Give more, or lower quantization.calibration.max_sequence_length.",
        )


def _longer(spec: CalibrationSpec, lengths: list[int], too_long: list[int]) -> str:
    missing = spec.min_samples - len(lengths)
    if missing > len(too_long):
        return "Give more and shorter ones, or lower quantization.calibration.min_samples."
    enough = sorted(too_long)[missing - 1]
    return (
        f"Raise quantization.calibration.max_sequence_length to {enough} or more, or give shorter "
        "ones."
    )


def _too_few(spec: CalibrationSpec, different: int, same: str) -> CalibrationError:
    return CalibrationError(
        f"{different} different conversations in {spec.path}; "
        f"quantization.calibration.min_samples asks for {spec.min_samples}.",
        cause=f"{same}, and each counts once.",
        remedy="Give more that differ, or lower quantization.calibration.min_samples.",
    )
