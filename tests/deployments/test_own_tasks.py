"""Tasks of one's own from the command line: an example, and a look at it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from deployments.__main__ import main
from tests.infra.suite.own.test_documents import COSTS, NONE, files


def test_an_example_is_written_looked_at_and_named_in_a_run(
    tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ports.jsonl"
    assert main(["init-task", "choices", str(file)]) == 0
    assert f"look-at-task {file}" in capsys.readouterr().out
    assert main(["look-at-task", str(file)]) == 0
    said = capsys.readouterr().out
    assert "2 questions of the kind choices" in said
    assert "  │ A. 80" in said
    assert "expected: B" in said
    assert "right" in said
    assert "hold a margin of" in said
    line = f"evaluation.tasks.ports.file={file}"
    assert main(["show", "sample", "--set", "evaluation.tasks[+].name=ports", "--set", line]) == 0
    assert f'"file": "{file}"' in capsys.readouterr().out


def test_a_wrong_file_is_refused_with_one_clear_error(
    tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"question": "q"}\n')
    assert main(["look-at-task", str(file)]) == 2
    assert "no column that says what a right answer is" in capsys.readouterr().err


def test_what_it_says_of_a_run_can_be_typed_whatever_the_file_is_called(
    tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my rows.v1 (2)%.jsonl"
    file.write_text('{"question": "q", "answer": "a"}\n')
    assert main(["look-at-task", str(file)]) == 0
    line = next(one for one in capsys.readouterr().out.splitlines() if "in a run: " in one)
    assert main(["show", "sample", *shlex.split(line.partition("in a run: ")[2])]) == 0
    shown = json.loads(capsys.readouterr().out)["evaluation"]["tasks"][-1]
    assert (shown["name"], shown["file"]) == ("my-rows.v1-2", str(file))


def test_of_documents_it_says_that_nothing_is_found_yet(
    tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "handbook.jsonl"
    assert main(["init-task", "documents", str(file)]) == 0
    assert "what a retriever of yours found" in file.with_suffix(".yaml").read_text()
    assert main(["look-at-task", str(file)]) == 0
    said = capsys.readouterr().out
    assert "[2] prices.md" in said and "not known before a run" not in said
    assert main(["look-at-task", str(files(tmp_path, COSTS, NONE))]) == 0
    said = capsys.readouterr().out
    assert "What is found is not known before a run" in said
    change = said.partition("in a run: ")[2]
    assert change.count("evaluation.embedding") == 1
    assert main(["show", "sample", *shlex.split(change)]) == 0
    shown = json.loads(capsys.readouterr().out)["evaluation"]["embedding"]
    assert shown["model"]["id"] == "MODEL"


def test_of_misconceptions_it_speaks_of_no_passages(
    tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "eedi.jsonl"
    assert main(["init-task", "retrieval", str(file)]) == 0
    assert main(["look-at-task", str(file)]) == 0
    said = capsys.readouterr().out
    assert "2 questions in 4 rows" in said and "power: 2 questions" in said
    assert "passages" not in said and said.count("evaluation.embedding.model.id=MODEL") == 1
