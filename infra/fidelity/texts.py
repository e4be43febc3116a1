"""Which texts both models read: the exam's own questions, or a file of the user.

None of them shares a long sequence of words with the calibration conversations: AWQ's search was
shown those, and would look better there than elsewhere.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra import conversations, overlap
from infra.content import digest_of
from infra.contracts.errors import DatasetError
from infra.contracts.records import Record
from infra.contracts.specs import CalibrationSpec, FidelitySpec
from infra.progress import Progress
from infra.settings import Settings

if TYPE_CHECKING:
    from infra.evaluation.exam import Exam

_SEED = 0
_CONVERSATIONS_A_SAMPLE = 8
"""AWQ takes the first `max_samples` that are short enough. So many times as many are looked at."""

_CANDIDATES_A_DOCUMENT = 4
"""Questions that are looked at for each that is wanted; some overlap, or are there twice."""


class Texts(Record):
    """What is read, as tokens."""

    origin: str
    """Where the texts are from, for people."""

    tokens: tuple[tuple[int, ...], ...]
    """Token ids of each text."""

    @property
    def digest(self) -> str:
        """SHA-256 over all token ids."""
        return digest_of(self.tokens)

    def cut(self, longest: int) -> Texts:
        """Return the same texts with at most so many tokens each."""
        return self.model_copy(update={"tokens": tuple(text[:longest] for text in self.tokens)})


def of_exam(
    exam: Exam,
    spec: FidelitySpec,
    calibrated_on: CalibrationSpec,
    tokenizer: Any,
    *,
    settings: Settings,
    progress: Progress,
) -> Texts:
    """Return questions of the exam, without worked examples, evenly over its tasks.

    Args:
        exam: The loaded exam.
        spec: How many, how long.
        calibrated_on: The calibration set.
        tokenizer: Of the model.
        settings: Where datasets of a hub are kept.
        progress: Hears what is left out.
    """
    tasks = [task for part in exam.parts.values() for task in part.tasks.values()]
    found = islice(_by_turns(map(_questions, tasks)), spec.documents * _CANDIDATES_A_DOCUMENT)
    origin = f"questions of {', '.join(exam.names)}"
    return _chosen(found, origin, spec, calibrated_on, tokenizer, settings, progress)


def of_file(
    spec: FidelitySpec,
    calibrated_on: CalibrationSpec,
    tokenizer: Any,
    *,
    settings: Settings,
    progress: Progress,
) -> Texts:
    """Return the first texts of the user's own file; see `of_exam`.

    Raises:
        DatasetError: There is no such file, or no text in it that can be read.
    """
    path = Path(spec.texts or "")
    texts = _chosen(read(spec), path.name, spec, calibrated_on, tokenizer, settings, progress)
    if not texts.tokens:
        raise DatasetError(
            f"No text of {path} can be read for fidelity.",
            cause="Each is shorter than two tokens, or shares "
            f"{overlap.NGRAM} words in a row with the calibration set.",
            remedy="Set fidelity.texts to other texts, or to nothing for questions of the exam.",
        )
    return texts


def read(spec: FidelitySpec) -> list[str]:
    """Return the texts of a file: paragraphs, or the `text` column of JSONL.

    Raises:
        DatasetError: It cannot be read, is empty, or a line of it is no text.
    """
    path = Path(spec.texts or "").expanduser()
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, ValueError) else error.strerror
        raise DatasetError(
            f"The texts for fidelity in {path} cannot be read: {reason}.",
            cause=f"The path is relative to {Path.cwd()}." if not path.is_absolute() else "",
            remedy="Set fidelity.texts to a text file or a JSONL file with a `text` column.",
            path=str(path),
        ) from error
    if path.suffix in {".jsonl", ".ndjson"}:
        texts = [
            _text(line, f"Line {number} of {path}")
            for number, line in enumerate(content.split("\n"), 1)
            if line.strip()
        ]
    else:
        texts = _paragraphs(content)
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise DatasetError(
            f"{path} holds no text for fidelity.",
            remedy="Put texts into it, paragraphs apart by blank lines, or leave fidelity.texts "
            "empty for questions of the exam.",
            path=str(path),
        )
    return texts


def check(spec: FidelitySpec) -> str:
    """Return what a file holds, for people.

    Raises:
        DatasetError: As for `read`.
    """
    count = len(read(spec))
    return f"{count} texts in {spec.texts}, of which at most {spec.documents} are read"


def _paragraphs(content: str) -> list[str]:
    found, lines = [], list[str]()
    for line in [*content.splitlines(), ""]:
        if line.strip():
            lines.append(line)
        elif lines:
            found.append("\n".join(lines))
            lines = []
    return found


def _text(line: str, place: str) -> str:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DatasetError(
            f"{place} is not JSON: {error}.",
            remedy='Mend or remove it. Each line of fidelity.texts has to be {"text": "…"}.',
        ) from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise DatasetError(
            f"{place} has no text in the column `text`.",
            remedy='Mend or remove it. Each line of fidelity.texts has to be {"text": "…"}.',
        )
    return str(row["text"])


def _questions(task: Any) -> Iterator[str]:
    """Yield a task's questions in an order by chance, the same each time."""
    documents = list(task.eval_docs)
    random.Random(_SEED).shuffle(documents)  # noqa: S311 -- not for secrets
    for document in documents:
        question = task.doc_to_text(document)
        if isinstance(question, str):  # some tasks give the number of a choice
            yield question


def _by_turns(sources: Iterable[Iterator[str]]) -> Iterator[str]:
    left = list(sources)
    while left:
        for source in tuple(left):
            found = next(source, None)
            if found is None:
                left.remove(source)
            else:
                yield found


def _chosen(
    found: Iterable[str],
    origin: str,
    spec: FidelitySpec,
    calibrated_on: CalibrationSpec,
    tokenizer: Any,
    settings: Settings,
    progress: Progress,
) -> Texts:
    """Return the first texts that are new, long enough and independent of the calibration set."""
    known = overlap.Ngrams(_messages(calibrated_on, settings, progress))
    chosen: dict[tuple[int, ...], None] = {}
    left_out = 0
    for text in found:
        if len(chosen) == spec.documents:
            break
        if known.shared(text):
            left_out += 1
            continue
        # With the tokens that a text of this model begins with, if it has any.
        ids = tuple(tokenizer(text, verbose=False)["input_ids"][: spec.max_tokens])
        if len(ids) > 1:  # nothing comes before the first token
            chosen.setdefault(ids)
    if left_out:
        progress.say(f"fidelity: left out {left_out} texts that share words with calibration")
    return Texts(origin=origin, tokens=tuple(chosen))


def _messages(spec: CalibrationSpec, settings: Settings, progress: Progress) -> Sequence[str]:
    rows = conversations.read(spec, settings=settings, progress=progress).rows
    seen = islice(rows, spec.max_samples * _CONVERSATIONS_A_SAMPLE)
    return [message["content"] for message in chain.from_iterable(row for _, row in seen)]
