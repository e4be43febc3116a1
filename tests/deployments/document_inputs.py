"""What a user gets wrong about documents: a folder, a file of questions, or what embeds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import yaml

from tests.pdf_files import locked, pdf

if TYPE_CHECKING:
    from tests.deployments.bad_inputs import Case

_COSTS = "The North plan costs 12 euros."
_ROW = {"question": "What does the North plan cost?", "answer": "12 euros", "passages": _COSTS}


def documents(
    what: str,
    *,
    files: dict[str, bytes] | None = None,
    rows: tuple[dict[str, Any], ...] = (_ROW,),
    embeds: bool = True,
    **options: Any,
) -> Callable[[Case], None]:
    """Ask about a folder of documents.

    Args:
        what: Which case it is.
        files: What lies there; one document that answers the question if not given.
        rows: The questions.
        embeds: Whether the run says what embeds.
        options: Of the kind.
    """

    def spoil(case: Case) -> None:
        folder = case.folder / "handbook"
        folder.mkdir()
        for name, content in ({"north.md": _COSTS.encode()} if files is None else files).items():
            (folder / name).write_bytes(content)
        path = case.folder / "handbook.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        beside = {"documents": {"folder": "handbook", **options}}
        path.with_suffix(".yaml").write_text(yaml.safe_dump(beside))
        case.tasks = [{"name": "handbook", "file": str(path), "max_gen_toks": 16}]
        case.datasets = {}
        model = {"model": {"source": "local", "id": str(case.model)}}
        case.set = [f"evaluation.embedding={json.dumps(model)}"] if embeds else []

    spoil.__name__ = what
    return spoil


_AND_A = {"north.md": _COSTS.encode()}
DOCUMENTS: list[tuple[Callable[[Case], None], tuple[str, ...]]] = [
    (documents("an empty folder", files={}), ("handbook is empty",)),
    (documents("no folder", folder="elsewhere"), ("elsewhere is not there", "documents.folder")),
    (documents("a scan", files=_AND_A | {"a.pdf": pdf([], [])}), ("a.pdf", "no text", "OCR")),
    (documents("a locked PDF", files=_AND_A | {"a.pdf": locked(pdf(["x"]), "word")}),
     ("a.pdf is encrypted", "without a password")),
    (documents("a cut PDF", files=_AND_A | {"a.pdf": pdf(["text"])[:150]}),
     ("a.pdf cannot be read as a PDF",)),
    (documents("a picture", files=_AND_A | {"logo.png": b"\x89PNG"}), ("logo.png", ".html")),
    (documents("null bytes", files=_AND_A | {"a.txt": b"a\0b"}), ("a.txt", "null bytes")),
    (documents("Latin 1", files=_AND_A | {"a.md": b"Li\xe8ge"}), ("a.md is no UTF-8", "iconv")),
    (documents("one document twice", files=_AND_A | {"a.md": _COSTS.upper().encode()}),
     ("north.md holds the same text as a.md",)),
    (documents("a passage in none", rows=({**_ROW, "passages": "It costs 5 euros."},)),
     ("Line 1 of handbook.jsonl", "'It costs 5 euros.'", "no document")),
    (documents("an answer alone", rows=({**_ROW, "passages": []},)),
     ("an answer and no passages",)),
    (documents("a question twice", rows=(_ROW, {"question": _ROW["question"].upper(),
                                                "passages": None})),
     ("Line 2 of handbook.jsonl", "asks what another row asks")),
    (documents("a passage beyond a chunk", chunk_size=20, overlap=5),
     ("no chunk of 20 holds", "documents.chunk_size")),
    (documents("a library that there is not", library="haystack"), ("haystack", "langchain")),
    (documents("nothing embeds", embeds=False),
     ("handbook", "evaluation.embedding.model", "evaluation.embedding.endpoint")),
]  # fmt: skip
