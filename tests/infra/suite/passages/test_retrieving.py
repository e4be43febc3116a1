"""Passages are found by the libraries themselves, once for the same documents and vectors."""

from __future__ import annotations

import json
import re
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from infra.contracts.errors import EndpointError, EvaluationError
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite.own.definition import load
from infra.suite.own.documents import LIBRARIES
from infra.suite.passages.pending import pending
from infra.suite.passages.retrieving import Retrieved, retrieve
from infra.suite.passages.vectors import on_loopback
from tests.conftest import ROOT, PrintProgress
from tests.infra.suite.own.test_documents import COSTS, NONE, NORTH, files

SCRIPT = ROOT / "infra" / "suite" / "passages" / "program" / "retrieve.py"


class CountsWords:
    """A vector is how often each word comes: texts that share rare words are near each other."""

    identity = "counts words"

    def __init__(self) -> None:
        self.requests: list[list[str]] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.requests.append([*texts])
        found = np.zeros((len(texts), 512), dtype=np.float32)
        for row, text in zip(found, texts, strict=True):
            for word in re.findall(r"\w+", text.casefold()):
                row[zlib.crc32(word.encode()) % 512] += 1 / len(word) if len(word) < 4 else 1
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


class Fails(CountsWords):
    identity = "fails"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if len(self.requests) == 1:
            raise EndpointError("No vectors today.", remedy="Ask tomorrow.")
        return super().embed(texts)


def found(
    folder: Path, environment: PythonEnvironment, embedder: CountsWords, **options: Any
) -> Retrieved:
    options = {"chunk_size": 120, "overlap": 40, "top_k": 2, **options}
    task = TaskSpec(name="mine", file=str(files(folder, COSTS, NONE, **options)))
    return retrieve(
        task, embedder, environment,
        settings=Settings(cache=folder / "cache"), progress=PrintProgress(), log=folder / "log",
    )  # fmt: skip


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_was_found_becomes_rows_that_every_arm_is_asked(
    tmp_path: Path,
    documents_environment: PythonEnvironment,
    library: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    embedder = CountsWords()
    one = found(tmp_path, documents_environment, embedder, library=library)
    (asked, other) = load(Path(str(one.task.file))).rows
    near = json.loads(asked["retrieved"])
    assert len(near) == 2 == len(json.loads(other["retrieved"]))
    assert any(one["document"] == "north.md" and NORTH in one["text"] for one in near)
    assert all(len(passage["text"]) <= 120 for passage in near)
    assert f"[1] {near[0]['document']}\n{near[0]['text']}\n\n[2]" in asked["prompt"]
    assert (asked["found"], other["found"]) == ("1.0", "")
    assert pending(EvaluationSpec(tasks=(one.task,))) == []
    record = one.record
    assert (record.task, record.library, record.documents) == ("mine", library, 2)
    assert (record.questions, record.answerable, record.recall, record.cut) == (2, 1, 1.0, 0)
    assert record.chunks >= 8
    assert record.versions["llama-index-core"].startswith("0.14.")
    # Neither library wanted to reach anything but the vectors.
    assert "was kept from" not in capsys.readouterr().out
    sent = {text for request in embedder.requests for text in request}
    assert near[0]["text"].replace("\n", " ") in {text.replace("\n", " ") for text in sent}


def test_the_same_is_found_once_and_an_edited_document_another_time(
    tmp_path: Path, documents_environment: PythonEnvironment
) -> None:
    first = found(tmp_path, documents_environment, CountsWords())
    again, embedder = None, CountsWords()
    again = found(tmp_path, documents_environment, embedder)
    assert (first.reused, again.reused, embedder.requests) == (False, True, [])
    assert again.task == first.task and again.record == first.record
    (tmp_path / "docs" / "west.md").write_text("What does the West plan cost? 5 euros.")
    edited = found(tmp_path, documents_environment, CountsWords())
    assert not edited.reused
    (_, other) = load(Path(str(edited.task.file))).rows
    assert json.loads(other["retrieved"])[0]["document"] == "west.md"


def test_what_was_found_is_there_for_the_same_rows_by_another_name(
    tmp_path: Path, documents_environment: PythonEnvironment
) -> None:
    first = found(tmp_path, documents_environment, CountsWords())
    for end in (".jsonl", ".yaml"):
        (tmp_path / f"rows{end}").rename(tmp_path / f"renamed{end}")
    again = retrieve(
        TaskSpec(name="mine", file=str(tmp_path / "renamed.jsonl")), CountsWords(),
        documents_environment, settings=Settings(cache=tmp_path / "cache"),
        progress=PrintProgress(), log=tmp_path / "log",
    )  # fmt: skip
    assert again.reused
    assert load(Path(str(again.task.file))).rows == load(Path(str(first.task.file))).rows


def test_passages_that_no_chunk_holds_are_counted(
    tmp_path: Path, documents_environment: PythonEnvironment
) -> None:
    one = found(tmp_path, documents_environment, CountsWords(), chunk_size=45, overlap=0)
    assert (one.record.cut, one.record.recall) == (1, 0.0)


def test_settings_beside_stay_but_for_what_is_found_already(
    tmp_path: Path, documents_environment: PythonEnvironment
) -> None:
    file = files(tmp_path, COSTS, NONE, nothing="no idea", top_k=1)
    beside = yaml.safe_load(file.with_suffix(".yaml").read_text())
    beside["generation_kwargs"] = {"until": ["\n"]}
    file.with_suffix(".yaml").write_text(yaml.safe_dump(beside))
    one = retrieve(
        TaskSpec(name="mine", file=str(file), limit=1), CountsWords(), documents_environment,
        settings=Settings(cache=tmp_path / "c"), progress=PrintProgress(), log=tmp_path / "log",
    )  # fmt: skip
    assert one.task.limit == 1
    kept = yaml.safe_load(Path(str(one.task.file)).with_suffix(".yaml").read_text())
    assert kept == {
        "documents": {"nothing": "no idea"},
        "generation_kwargs": {"until": ["\n"]},
    }
    assert load(Path(str(one.task.file))).rows[1]["answer"] == "no idea"


def test_why_texts_could_not_be_embedded_is_said_as_it_was(
    tmp_path: Path, documents_environment: PythonEnvironment
) -> None:
    with pytest.raises(EndpointError, match="No vectors today"):
        found(tmp_path, documents_environment, Fails())
    assert not [*(tmp_path / "cache" / "retrieved").glob("[!.]*")]


def test_an_interpreter_without_the_library_is_named(tmp_path: Path) -> None:
    import sys

    mine = PythonEnvironment(name="mine", python=Path(sys.executable), digest="d", provided=True)
    with pytest.raises(EvaluationError) as failed:
        found(tmp_path, mine, CountsWords())
    assert "No module named 'llama_index'" in failed.value.fact
    assert "ASSAY_DOCUMENTS_PYTHON" in failed.value.remedy


NOWHERE = """
import runpy, socket, sys
sys.argv = ["retrieve.py"]
program = runpy.run_path(%r)
program["keep_in"]("http://127.0.0.1:9/v1")
for reach in (
    lambda: socket.create_connection(("127.0.0.1", 10)),
    lambda: socket.create_connection(("192.0.2.1", 443)),
    lambda: socket.getaddrinfo("example.invalid", 443),
):
    try:
        reach()
    except PermissionError as error:
        print("refused", error)
try:
    socket.create_connection(("127.0.0.1", 9))
except ConnectionRefusedError:
    print("allowed")
"""


def test_the_libraries_reach_nothing_but_the_server_of_vectors(
    documents_environment: PythonEnvironment,
) -> None:
    """Whatever they would download or tell to others ends the retrieval instead."""
    said = subprocess.run(
        [documents_environment.python, "-I", "-c", NOWHERE % str(SCRIPT)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said.count("refused") == 3 and "allowed" in said


def test_vectors_are_for_whoever_has_the_key_alone() -> None:
    import httpx

    with on_loopback(CountsWords()) as there:
        asked = f"{there.base_url}/embeddings"
        body = {"input": "a word", "model": "any"}
        assert httpx.post(asked, json=body).status_code == 404
        headers = {"Authorization": f"Bearer {there.key}"}
        given = httpx.post(asked, json=body, headers=headers).json()["data"][0]["embedding"]
        assert given == pytest.approx(CountsWords().embed(["a word"])[0].tolist())
        assert there.key not in repr(there)
