"""Answers from documents: what a retriever found stands before the question.

The passages of a row say where its answer stands. What is put before the question is in the column
`retrieved`: a retriever of the user's own wrote it, or `infra.suite.passages` did from a folder of
documents. Until then a row is shown with its own passages and as many others as will be found, so
that it is as long as it will be.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from infra.suite.own import marks
from infra.suite.own.folder import Folder, plain, read_folder
from infra.suite.own.kind import Kind, Unfit, parsed, text_of
from infra.suite.own.table import Cells
from infra.suite.rows import BY_CHANCE

NOTHING = "not in the documents"
"""What is answered where no passage holds the answer."""

LIBRARIES = ("llama-index", "langchain")
"""What splits documents, holds their vectors and finds the nearest ones."""

OF_RETRIEVAL = ("folder", "library", "chunk_size", "overlap", "top_k")
"""Options that decide what is found; the others decide how it is put."""

_BEGINNING = (
    "Answer the question from the passages alone, in a few words. If they do not hold the answer, "
    "write: {nothing}"
)
_PASSAGE = "[{number}] {document}\n{text}"
_END = "Question: {question}\nAnswer:"
_FILLED = re.compile(r"\{(\w+)\}")


class Passage(NamedTuple):
    """A text, and the document in which it stands; empty if nobody says which."""

    document: str
    text: str


@dataclass(frozen=True)
class Opened:
    """What the rows of one file share."""

    folder: Folder | None
    asked: set[str] = field(default_factory=set)
    """Questions that were read: what is found depends on nothing else."""


def prompt(
    question: str,
    passages: Iterable[tuple[str, str]],
    *,
    beginning: str = _BEGINNING,
    passage: str = _PASSAGE,
    end: str = _END,
    nothing: str = NOTHING,
) -> str:
    """Return how a question is put.

    Args:
        question: Of the row.
        passages: Document and text of each, in the order in which they are shown.
        beginning: What comes first; `{nothing}` is filled in.
        passage: How one is shown; `{number}`, `{document}` and `{text}` are filled in.
        end: What comes last; `{question}` is filled in.
        nothing: What shall be answered where no passage holds the answer.
    """
    shown = (
        _fill(passage, number=str(number), document=document, text=text)
        for number, (document, text) in enumerate(passages, 1)
    )
    return "\n\n".join([_fill(beginning, nothing=nothing), *shown, _fill(end, question=question)])


def _fill(template: str, **values: str) -> str:
    """Fill in a template once: what stands in a passage is no place to fill in."""
    return _FILLED.sub(lambda match: values.get(match[1], match[0]), template)


def open_beside(file: Path, options: Mapping[str, Any]) -> Opened:
    """Return what the rows of a file share: the documents, if its settings name a folder."""
    if not options["folder"]:
        return Opened(None)
    return Opened(read_folder(file.parent / Path(options["folder"]).expanduser()))


def _read(
    cells: Cells,
    *,
    opened: Opened,
    folder: str,
    library: str,
    chunk_size: int,
    overlap: int,
    top_k: int,
    **template: str,
) -> Iterator[dict[str, Any]]:
    _require_settings(library, chunk_size, overlap, top_k, template)
    question = cells["question"]
    if plain(question) in opened.asked:
        raise Unfit("asks what another row asks", "Remove one of them.")
    opened.asked.add(plain(question))
    answers, needed = _answers(cells, template["nothing"]), passages_of(cells, "passages")
    if answers and not needed:
        raise Unfit("has an answer and no passages", "Quote the text that holds the answer.")
    if needed and not answers:
        raise Unfit(
            "has passages and no answer", "Give the answer, or take out the passages: then "
            "nothing in the documents answers it.",
        )  # fmt: skip
    if "retrieved" in cells and folder:
        raise Unfit(
            "has retrieved, and documents.folder is set as well",
            "Take out the column, or the setting.",
        )
    found: str | None = None
    if "retrieved" in cells:
        shown = passages_of(cells, "retrieved")
        found = str(recall(needed, shown)) if needed else None
    elif opened.folder is None:
        raise Unfit(
            "has no retrieved, and no folder of documents is set",
            "Set `documents: {folder: …}` in the YAML beside the file, or give each row what "
            "your own retriever found.",
        )
    else:
        _require_in(opened.folder, needed, chunk_size)
        shown = _as_many(question, needed, opened.folder, chunk_size, top_k)
    yield {
        "prompt": prompt(question, shown, **template),
        "answer": answers[0] if answers else template["nothing"],
        "answers": _json(answers),
        "nothing": template["nothing"],
        "passages": _json([one._asdict() for one in needed]),
        "retrieved": _json([one._asdict() for one in shown]),
        "found": found or "",
        BY_CHANCE: "0" if answers else "1",  # who always declines
    }


def recall(needed: Sequence[Passage], retrieved: Sequence[Passage]) -> float:
    """Return which share of the passages stands in what was found, each whole in one text."""
    texts = [(one.document, plain(one.text)) for one in retrieved]
    found = sum(
        any(
            plain(one.text) in text
            for document, text in texts
            if not (one.document and document) or one.document == document
        )
        for one in needed
    )
    return found / len(needed)


def _require_settings(
    library: str, chunk_size: int, overlap: int, top_k: int, template: Mapping[str, str]
) -> None:
    wrong = {
        f"documents.library is {library!r}": library not in LIBRARIES,
        f"documents.chunk_size is {chunk_size}": chunk_size < 1,
        f"documents.overlap is {overlap}": not 0 <= overlap < chunk_size,
        f"documents.top_k is {top_k}": top_k < 1,
        "documents.passage shows no {text}": "{text}" not in template["passage"],
        "documents.end shows no {question}": "{question}" not in template["end"],
        "documents.nothing has no word": not marks.stands_in(
            template["nothing"], template["nothing"]
        ),
    }
    for fact, is_so in wrong.items():
        if is_so:
            raise Unfit(
                f"cannot be asked: {fact}",
                f"Take one of {', '.join(LIBRARIES)}; chunk_size above overlap, which is 0 or "
                "more, and top_k above 0; templates with what is asked and what was found.",
            )


def _answers(cells: Cells, nothing: str) -> list[str]:
    """Return every answer that is accepted; none where nothing answers the question."""
    given = cells.get("answer", [])
    if isinstance(given, str) and given[:1] == "[":
        given = parsed(cells, "answer")
    texts = [text_of(one).strip() for one in (given if isinstance(given, list) else [given])]
    for text in filter(None, texts):
        if not marks.stands_in(text, text):
            raise Unfit(f"has the answer {text!r:.80}, in which is no word", "Write it in words.")
        if marks.stands_in(nothing, text):
            raise Unfit(
                f"has the answer {text!r:.80}, which says that there is none",
                "Leave the answer out, or set another documents.nothing.",
            )
    return [text for text in texts if text]


def passages_of(cells: Cells, column: str) -> list[Passage]:
    """Return the passages of a column: a text, an object, or a list of them, or that as JSON.

    Raises:
        Unfit: It holds something else.
    """
    given = cells.get(column, [])
    if isinstance(given, str) and given[:1] in ("[", "{"):
        given = parsed(cells, column)
    found = [_passage(one, column) for one in (given if isinstance(given, list) else [given])]
    return [one for one in found if one.text.strip()]


def _passage(given: Any, column: str) -> Passage:
    if isinstance(given, str):
        return Passage("", given)
    if not isinstance(given, dict) or not isinstance(given.get("text"), str):
        raise Unfit(
            f"has {column} in which {given!r:.80} stands",
            'Write texts, or {"document": "prices.md", "text": "…"}.',
        )
    return Passage(text_of(given.get("document") or ""), given["text"])


def _require_in(folder: Folder, needed: Iterable[Passage], chunk_size: int) -> None:
    for one in needed:
        if one.document and one.document not in folder.texts:
            raise Unfit(
                f"names the document {one.document!r}, which is not in {folder.path}",
                f"Name one as it lies there: {', '.join([*folder.texts][:3])}, ….",
            )
        if not folder.holding(one.text, one.document):
            raise Unfit(
                f"has the passage {one.text!r:.80}, which stands in "
                f"{one.document or 'no document of ' + str(folder.path)}"
                f"{' nowhere' if one.document else ''}",
                "Quote it as it stands there; spaces, line breaks and case are free.",
            )
        if len(one.text) > chunk_size:
            raise Unfit(
                f"has a passage of {len(one.text)} letters, which no chunk of {chunk_size} holds",
                "Quote less of it, or raise documents.chunk_size.",
            )


def _as_many(
    question: str, needed: Sequence[Passage], folder: Folder, chunk_size: int, top_k: int
) -> list[Passage]:
    """Return a row's own passages and others, as many and as long as those that will be found."""
    others = [
        Passage(name, text[start : start + chunk_size])
        for name, text in folder.texts.items()
        for start in range(0, len(text), chunk_size)
    ]
    first = zlib.crc32(question.encode()) % len(others)
    return [*needed, *others[first:], *others[:first]][:top_k]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_NORTH = {"document": "prices.md", "text": "The North plan costs 12 euros a month."}
_SOUTH = {"document": "prices.md", "text": "The South plan costs 30 euros a month."}

DOCUMENTS = Kind(
    name="documents",
    column="passages",
    meaning="what holds the answer: a text that is quoted from a document, "
    'or {"document": …, "text": …}, or a list of these',
    columns={
        "answer": "what is right, or a list of what is; none where nothing answers the question",
        "retrieved": "what a retriever of yours found. Take the column out and set folder below "
        "to have\n#          it found: in text, Markdown, PDF and HTML, with evaluation.embedding "
        "of the run",
    },
    read=_read,
    metrics=(
        "right",
        "right_where_found",
        "right_where_missed",
        "answered_where_found",
        "declined_where_nothing",
    ),
    marks="from_documents",
    example=(
        {"question": "What does the North plan cost a month?", "answer": ["12 euros", "€12"],
         "passages": [_NORTH], "retrieved": [_SOUTH, _NORTH]},
        {"question": "What does the West plan cost a month?",
         "passages": [], "retrieved": [_NORTH, _SOUTH]},
    ),
    opens=open_beside,
    embeds=lambda options: bool(options["folder"]),
    paths=("folder",),
    options={"folder": "", "library": LIBRARIES[0], "chunk_size": 1000, "overlap": 200,
             "top_k": 4, "beginning": _BEGINNING, "passage": _PASSAGE, "end": _END,
             "nothing": NOTHING},
)  # fmt: skip
