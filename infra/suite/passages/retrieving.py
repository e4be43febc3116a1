"""Finds the passages for a file of questions, once for all arms and all runs that ask alike."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Progress
from infra.contracts.records import PythonEnvironment, Record
from infra.contracts.records.retrieval import Retrieval
from infra.contracts.specs import TaskSpec
from infra.machine.processes import clean_environment, describe_exit, run, tail
from infra.store.content import build_once, code_digest, digest_of, write_atomically
from infra.store.settings import Settings, interpreter_variable
from infra.store.shared import shared_of
from infra.suite.own.beside import beside_of, read_beside
from infra.suite.own.documents import DOCUMENTS, OF_RETRIEVAL, Passage, passages_of, recall
from infra.suite.own.folder import Folder, read_folder
from infra.suite.own.kinds import question_of
from infra.suite.own.table import Cells, read
from infra.suite.passages.pending import PROGRAM
from infra.suite.passages.vectors import MODEL, Embeds, on_loopback

_SCRIPT = Path(__file__).parent / "program" / "retrieve.py"
_CODE = ("suite/passages", "suite/own", "quantizers/program/exchange.py")
_RECORD = "retrieval.json"
_ROWS = "rows.jsonl"
"""Whatever the file is called: that is not in the key under which this one is kept."""

_ENVIRONMENT = {
    # What they ask is here. A proxy could pass it on to anywhere.
    "NO_PROXY": "*",
    "no_proxy": "*",
    # LangChain would send what it does to a service where these were set.
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "TQDM_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
}
_TAIL_LINES = 12
_EVENT = '{"event"'


class _Response(Record):
    """What the program says, if it succeeds."""

    version: Literal[1]
    ok: Literal[True]
    chunks: list[dict[str, str]]
    found: list[list[int]]
    tried: list[str]
    """What a library wanted to reach besides, and could not."""

    versions: dict[str, str]
    seconds: float = Field(ge=0)


@dataclass(frozen=True)
class Retrieved:
    """A task that can be asked."""

    task: TaskSpec
    """As it was, but for its file: the one with what was found."""

    record: Retrieval
    reused: bool


def retrieve(
    task: TaskSpec,
    embedder: Embeds,
    environment: PythonEnvironment,
    *,
    settings: Settings,
    progress: Progress,
    log: Path,
) -> Retrieved:
    """Return a task with what was found for its questions.

    Args:
        task: One that waits for it; see `pending`.
        embedder: Turns texts into vectors.
        environment: Interpreter that has the libraries.
        settings: Where what was found is kept.
        progress: Hears what happens.
        log: File for all that the libraries print.

    Raises:
        DatasetError: A document, or a row, cannot be read.
        EvaluationError: Texts could not be embedded, or a library failed.
    """
    file = Path(str(task.file)).expanduser().absolute()
    rows = [cells for _, cells in read(file)]
    _, options = read_beside(file, DOCUMENTS)
    folder = read_folder(file.parent / Path(options["folder"]).expanduser())
    beside = yaml.safe_load(beside_of(file).read_text(encoding="utf-8"))
    wanted = {name: options[name] for name in OF_RETRIEVAL if name != "folder"}
    key = digest_of(
        [rows, beside, folder.texts, environment.digest, embedder.identity, code_digest(*_CODE)]
    )
    final = settings.cache.absolute() / "retrieved" / key[:32]

    def build(partial: Path) -> None:
        questions = [question_of(cells) for cells in rows]
        progress.say(f"{task.name}: retrieving from {len(folder.texts)} documents")
        response = _ask(wanted, folder, questions, embedder, environment, progress, log)
        if response.tried:
            progress.say(f"{options['library']} was kept from {', '.join(response.tried)}")
        found = [[_passage(response.chunks[one]) for one in near] for near in response.found]
        _write(partial, rows, found, beside)
        record = _record(task.name, rows, found, response, folder, wanted, embedder.identity)
        write_atomically(partial / _RECORD, record.model_dump_json(indent=2) + "\n")

    built = build_once(
        final,
        build,
        on_wait=lambda: progress.say("another run retrieves the same; waiting for it"),
        behind=shared_of(settings, progress),
    )
    kept = Retrieval.model_validate_json((final / _RECORD).read_text(encoding="utf-8"))
    record = kept.model_copy(update={"task": task.name})
    progress.say(summary(record))
    renewed = task.model_copy(update={"file": str(final / _ROWS)})
    return Retrieved(renewed, record, reused=not built)


def summary(record: Retrieval) -> str:
    """Return what was found in one sentence."""
    text = (
        f"{record.task}: {record.library} found the best {record.top_k} of {record.chunks} chunks "
        f"of {record.documents} documents for each of {record.questions} questions"
    )
    if record.recall is not None:
        text += f"; of the passages that hold an answer it found {100 * record.recall:.1f} %"
    if record.cut:
        text += (
            f"; {record.cut} of them stand whole in no chunk: raise documents.overlap or "
            "documents.chunk_size"
        )
    return text


def _ask(
    wanted: Mapping[str, Any],
    folder: Folder,
    questions: Sequence[str],
    embedder: Embeds,
    environment: PythonEnvironment,
    progress: Progress,
    log: Path,
) -> _Response:
    embedder.embed(questions)  # together, where the libraries ask for one after the other
    with on_loopback(embedder) as server, tempfile.TemporaryDirectory() as scratch:
        asked, answered = Path(scratch) / "request.json", Path(scratch) / "response.json"
        request = {
            "version": 1,
            **wanted,
            "documents": [{"name": name, "text": text} for name, text in folder.texts.items()],
            "questions": list(questions),
            "server": {"base_url": server.base_url, "model": MODEL, "key": server.key},
        }
        asked.write_text(json.dumps(request), encoding="utf-8")

        def on_line(line: str) -> None:
            if line.startswith(_EVENT):
                event = json.loads(line)
                progress.update(event["phase"], event["done"], event["total"], event["unit"])

        code = run(
            [environment.python, "-I", "-u", _SCRIPT, asked, answered],
            log=log,
            env=clean_environment(_ENVIRONMENT),
            on_line=on_line,
        )
        if server.failed:
            raise server.failed[0]
        text = answered.read_text(encoding="utf-8") if answered.is_file() else "{}"
    if code != 0 or text == "{}":
        raise _failure(str(wanted["library"]), code, text, log)
    return _Response.model_validate_json(text)


def _failure(library: str, code: int, text: str, log: Path) -> EvaluationError:
    error = json.loads(text).get("error", {"kind": "other", "message": describe_exit(code)})
    lines = [line for line in tail(log, 10 * _TAIL_LINES).split("\n")
             if not line.startswith(_EVENT)]  # fmt: skip
    remedy = f"It may be a limit of {library}; documents.library names another. Whole log: {log}"
    if error["kind"] == "package":
        remedy = f"Unset {interpreter_variable(PROGRAM)}, so that Assay builds its own environment."
    return EvaluationError(
        f"{library} could not retrieve passages: {error['message']}",
        cause="\n".join(["The log ends with:", *lines[-_TAIL_LINES:]]),
        remedy=remedy,
    )


def _passage(chunk: Mapping[str, str]) -> Passage:
    return Passage(chunk["document"], chunk["text"])


def _write(
    folder: Path,
    rows: Sequence[Cells],
    found: Sequence[Sequence[Passage]],
    beside: Mapping[str, Any],
) -> None:
    """Write the rows with what was found, and settings that no longer say what to find."""
    lines = [
        json.dumps({**cells, "retrieved": [one._asdict() for one in near]}, ensure_ascii=False)
        for cells, near in zip(rows, found, strict=True)
    ]
    target = folder / _ROWS
    target.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    given = beside[DOCUMENTS.name]
    left = {name: value for name, value in given.items() if name not in OF_RETRIEVAL}
    settings = {**beside, DOCUMENTS.name: left}
    beside_of(target).write_text(
        yaml.safe_dump(settings, allow_unicode=True, sort_keys=False), encoding="utf-8"
    )


def _record(
    task: str,
    rows: Sequence[Cells],
    found: Sequence[Sequence[Passage]],
    response: _Response,
    folder: Folder,
    wanted: Mapping[str, Any],
    embedding: str,
) -> Retrieval:
    needed = [passages_of(cells, DOCUMENTS.column) for cells in rows]
    shares = [
        recall(passages, near) for passages, near in zip(needed, found, strict=True) if passages
    ]
    chunks = [_passage(one) for one in response.chunks]
    return Retrieval(
        task=task,
        **wanted,
        versions=response.versions,
        embedding=embedding,
        documents=len(folder.texts),
        chunks=len(chunks),
        questions=len(rows),
        answerable=len(shares),
        recall=sum(shares) / len(shares) if shares else None,
        cut=sum(not recall([one], chunks) for passages in needed for one in passages),
    )
