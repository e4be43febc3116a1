"""Which texts both models read: questions of the tasks, or a file of the user.

None of them shares a long sequence of words with the calibration conversations: the search was
shown those, and would look better there than elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from infra.contracts.errors import DatasetError
from infra.contracts.progress import Progress
from infra.contracts.records import Record
from infra.contracts.specs import CalibrationSpec, FidelitySpec
from infra.conversations import loading as conversations
from infra.conversations import overlap
from infra.conversations.reading.rows import Wanted, is_rows, paragraphs, read_rows
from infra.scoring.frame import encoder, frame
from infra.scoring.tokens import Encode
from infra.store.content import digest_of
from infra.store.settings import Settings
from infra.suite.port import Suite

_SEED = 0
_CONVERSATIONS_A_SAMPLE = 8
"""A quantizer takes the first `max_samples` that are short enough. So many times as many are looked
at."""

_WANTED = Wanted(
    field="fidelity.texts",
    called="The file of texts for fidelity",
    error=DatasetError,
    example='{"text": "…"}',
    columns=frozenset(["text"]),
)

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


def of_tasks(
    suite: Suite,
    spec: FidelitySpec,
    calibrated_on: Sequence[CalibrationSpec],
    tokenizer: Any,
    *,
    settings: Settings,
    progress: Progress,
    add_bos_token: bool | None = None,
) -> Texts:
    """Return questions without worked examples, evenly over all tasks.

    Args:
        suite: The loaded tasks.
        spec: How many, how long.
        calibrated_on: Conversations that candidates were made from.
        tokenizer: Of the model.
        settings: Where datasets of a hub are kept.
        progress: Hears what is left out.
        add_bos_token: As for the tasks' own questions; see `EvaluationSpec`.
    """
    found = islice(_by_turns(suite.texts(_SEED)), spec.documents * _CANDIDATES_A_DOCUMENT)
    origin = f"questions of {', '.join(suite.names)}"
    encode = _encoder(tokenizer, add_bos_token)
    return _chosen(found, origin, spec, calibrated_on, encode, settings, progress)


def of_file(
    spec: FidelitySpec,
    calibrated_on: Sequence[CalibrationSpec],
    tokenizer: Any,
    *,
    settings: Settings,
    progress: Progress,
    add_bos_token: bool | None = None,
) -> Texts:
    """Return the first texts of the user's own file; see `of_tasks`.

    Raises:
        DatasetError: There is no such file, or no text in it that can be read.
    """
    path = Path(spec.texts or "")
    encode = _encoder(tokenizer, add_bos_token)
    texts = _chosen(read(spec), path.name, spec, calibrated_on, encode, settings, progress)
    if not texts.tokens:
        raise DatasetError(
            f"No text of {path} can be read for fidelity.",
            cause="Each is shorter than two tokens, or shares "
            f"{overlap.NGRAM} words in a row with the calibration set.",
            remedy="Set fidelity.texts to other texts, or to nothing for questions of the tasks.",
        )
    return texts


def read(spec: FidelitySpec) -> Iterator[str]:
    """Yield the texts of a file: rows with a column `text`, or paragraphs.

    Rows are read from whatever `infra.conversations.reading` knows, by the file's content.

    Raises:
        DatasetError: It cannot be read, is empty, or a row of it is no text.
    """
    path = Path(spec.texts or "").expanduser()
    found = _rows(path) if is_rows(path, _WANTED) else paragraphs(path, _WANTED)
    empty = True
    for text in found:
        if text.strip():
            empty = False
            yield text
    if empty:
        raise DatasetError(
            f"{path} holds no text for fidelity.",
            remedy="Put texts into it, paragraphs apart by blank lines, or leave fidelity.texts "
            "empty for questions of the tasks.",
        )


def check(spec: FidelitySpec) -> str:
    """Return what a file holds, for people.

    Raises:
        DatasetError: As for `read`.
    """
    count = sum(1 for _ in read(spec))
    return f"{count} texts in {spec.texts}, of which at most {spec.documents} are read"


def _rows(path: Path) -> Iterator[str]:
    for place, row in read_rows(path, _WANTED):
        text = row.get("text") if isinstance(row, dict) else row
        if isinstance(text, str):
            yield text
            continue
        has = f"; it has {', '.join(map(str, row))}" if isinstance(row, dict) and row else ""
        raise DatasetError(
            f"{place} has no text in the column `text`{has}.",
            remedy=f"Mend or remove it. Each row of fidelity.texts has to be {_WANTED.example}.",
        )


def _by_turns(sources: Iterable[Iterator[str]]) -> Iterator[str]:
    left = list(sources)
    while left:
        for source in tuple(left):
            found = next(source, None)
            if found is None:
                left.remove(source)
            else:
                yield found


def _encoder(tokenizer: Any, add_bos_token: bool | None) -> Encode:
    """Return how texts are encoded, with the tokens that a text of this model begins with."""
    around, bare = frame(tokenizer, add_bos_token), encoder(tokenizer)
    return lambda texts: around.encode_whole(texts, bare)


def _chosen(
    found: Iterable[str],
    origin: str,
    spec: FidelitySpec,
    calibrated_on: Sequence[CalibrationSpec],
    encode: Encode,
    settings: Settings,
    progress: Progress,
) -> Texts:
    """Return the first texts that are new, long enough and independent of the calibration set."""
    calibration_words = overlap.Ngrams(
        message for one in calibrated_on for message in _messages(one, settings, progress)
    )
    chosen: dict[tuple[int, ...], None] = {}
    left_out = 0
    for text in found:
        if len(chosen) == spec.documents:
            break
        if calibration_words.shared(text):
            left_out += 1
            continue
        ids = tuple(encode([text])[0][: spec.max_tokens])
        if len(ids) > 1:  # nothing comes before the first token
            chosen.setdefault(ids)
    if left_out:
        progress.say(f"fidelity: left out {left_out} texts that share words with calibration")
    return Texts(origin=origin, tokens=tuple(chosen))


def _messages(spec: CalibrationSpec, settings: Settings, progress: Progress) -> Sequence[str]:
    rows = conversations.read(spec, settings=settings, progress=progress).rows
    seen = islice(rows, spec.max_samples * _CONVERSATIONS_A_SAMPLE)
    return [text for talk in seen for text in talk.texts]
