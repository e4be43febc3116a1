"""Each command that an error names for a conversion is run here, and its result read."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import CalibrationError
from infra.contracts.specs import CalibrationSpec
from infra.conversations.conversions import main
from infra.conversations.loading import conversion, read
from infra.store.settings import Settings
from tests.conftest import ROOT

QUESTION, ANSWER = {"role": "user", "content": "Größe?"}, {"role": "assistant", "content": "A"}
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}


def messages(path: Path | str) -> list[list[dict[str, Any]]]:
    spec = CalibrationSpec(path=str(path), min_samples=1)
    return [talk.messages for talk in read(spec, settings=Settings()).rows]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": "Größe?"}, [QUESTION]),
        ({"question": "Größe?", "answer": "A"}, [QUESTION, ANSWER]),
        (
            {"text": "<|im_start|>user\nGröße?<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"},
            [QUESTION, ANSWER],
        ),
        (
            {
                "text": "<|begin_of_text|>"
                "<|start_header_id|>user<|end_header_id|>\n\nGröße?<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
            },
            [QUESTION, ANSWER],
        ),
        (
            {"text": "<bos><start_of_turn>user\nGröße?<end_of_turn>\n<start_of_turn>model\nA"},
            [QUESTION, ANSWER],
        ),
        ({"text": "### Human: Größe?\n### Assistant: A"}, [QUESTION, ANSWER]),
        ({"text": "### Instruction:\nGröße?\n\n### Response:\nA"}, [QUESTION, ANSWER]),
        ({"prompt": "Größe?", "chosen": "A", "rejected": "B"}, [QUESTION, ANSWER]),
        ({"prompt": [QUESTION], "chosen": [ANSWER], "rejected": []}, [QUESTION, ANSWER]),
        ({"prompt": "Größe?", "chosen": [QUESTION, ANSWER], "rejected": []}, [QUESTION, ANSWER]),
        ({"chosen": [QUESTION, ANSWER], "rejected": [QUESTION]}, [QUESTION, ANSWER]),
    ],
)
@pytest.mark.parametrize("name", ["my 'chats'.jsonl", "chats.json"])
def test_a_command_that_is_named_converts(
    tmp_path: Path, row: dict[str, Any], expected: list[Any], name: str
) -> None:
    path = tmp_path / name
    path.write_text(json.dumps([row, row], indent=2))
    with pytest.raises(CalibrationError) as caught:
        messages(path)
    target = typed(caught.value.remedy, tmp_path)
    assert messages(target) == [expected, expected]


def typed(remedy: str, folder: Path) -> Path:
    """Do as a remedy says, from the folder of the program; return the file it names."""
    command = re.search("`([^`]+)`", remedy)
    target = re.search(r"calibration.path=(\S+\.jsonl)", remedy)
    assert command and target, remedy
    there = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command[1], shell=True, check=False, capture_output=True, text=True, cwd=folder, env=there
    )
    assert done.returncode == 0, done.stderr
    assert "conversations in" in done.stdout
    return folder / target[1]


def test_conversations_with_images_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    tools = [{"type": "function", "function": {"name": "f"}}]
    rows = [{"messages": [QUESTION], "tools": tools}, {"messages": [IMAGE]}, {"messages": [ANSWER]}]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(CalibrationError, match="part of type 'image_url'") as caught:
        messages(path)
    target = typed(caught.value.remedy, tmp_path)
    assert messages(target) == [[QUESTION], [ANSWER]]
    assert json.loads(target.read_text().splitlines()[0])["tools"] == tools


@pytest.mark.parametrize(
    ("flag", "before", "after"),
    [
        (
            "--roles",
            [{"role": "Human", "content": "Größe?"}, {"role": "gpt", "content": "A"}],
            [QUESTION, ANSWER],
        ),
        (
            "--merge-system",
            [{"role": "system", "content": "S"}, QUESTION, ANSWER, QUESTION],
            [QUESTION | {"content": "S\n\nGröße?"}, ANSWER, QUESTION],
        ),
    ],
)
def test_roles_are_changed(tmp_path: Path, flag: str, before: list[Any], after: list[Any]) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps({"messages": before}))
    remedy = conversion(CalibrationSpec(path=str(path)), flag)
    assert messages(typed(remedy, tmp_path)) == [after]


def test_nothing_is_overwritten_and_nothing_half_written_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = tmp_path / "c.jsonl", tmp_path / "t.jsonl"
    path.write_text('{"text": "a"}\n{"texts": "b"}\n')
    arguments = [json.dumps({"path": str(path)}), str(target), "--user", "text"]
    assert main(arguments) == 2
    assert "Line 2 of" in capsys.readouterr().err
    assert not target.exists()
    target.write_text("mine")
    assert main(arguments) == 2
    assert "exists" in capsys.readouterr().err
    assert target.read_text() == "mine"


def test_a_dataset_of_a_hub_becomes_a_file() -> None:
    spec = CalibrationSpec(path="me/chats", source="huggingface", split="nightly")
    said = conversion(spec, "--user text")
    assert '"source":"huggingface"' in said
    assert "quantization.calibration.path=chats.messages.jsonl" in said
    assert "quantization.calibration.source=file" in said
