"""Preflight and the conversations that people have: read, or refused for what is wrong."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from deployments.__main__ import main
from tests import stub_hub
from tests.conftest import ROOT
from tests.deployments import conversation_inputs as inputs
from tests.deployments.conversation_inputs import PAIRS, lines, messages

SAMPLE = ROOT / "infra" / "sample" / "model"
SHAREGPT = [
    {"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]}
    for q, a in PAIRS
]
ROWS = [{"messages": messages(*pair)} for pair in PAIRS]
PARTS = [
    {"messages": [
        {**m, "content": [{"type": "text", "text": m["content"]}]} for m in row["messages"]
    ]}
    for row in ROWS
]  # fmt: skip
ALPACA = [{"instruction": q, "input": "", "output": a} for q, a in PAIRS]


class Bench:
    """Preflight of the sample with other conversations and another template."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.model = folder / "model"
        self.calibration = folder / "calibration.jsonl"
        self._capsys = capsys
        shutil.copytree(SAMPLE, self.model)

    def template(self, text: object) -> None:
        self.edit("tokenizer_config.json", lambda config: config.update(chat_template=text))

    def edit(self, name: str, change: Callable[[dict[str, Any]], object]) -> None:
        path = self.model / name
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    def says(self, *more: str) -> tuple[int, str]:
        """Return the exit code, and what is said of the conversations, on one line."""
        given = [f"model.id={self.model}", f"quantization.calibration.path={self.calibration}",
                 "quantization.calibration.max_sequence_length=512",
                 'evaluation.tasks=[{"name": "gsm8k"}]', *more]  # fmt: skip
        code = main(["preflight", "sample", *(word for one in given for word in ("--set", one))])
        said = self._capsys.readouterr()
        assert said.err == ""
        found = re.search(r"^(?:ok|note|problem) +(calibration|quantizable) .*?(?=^\S)",
                          _worst(said.out), re.M | re.S)  # fmt: skip
        assert found, said.out
        return code, " ".join(found[0].split())


def _worst(table: str) -> str:
    """Return the table from its first problem on, if it has one, else from the conversations on."""
    problem = table.find("\nproblem")
    return table[problem + 1 :] if problem >= 0 else table[re.search(  # type: ignore[union-attr]
        r"^(ok|note) +calibration", table, re.M).start():]  # fmt: skip


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    no_prefect_server: None,
) -> Bench:  # fmt: skip
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASSAY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    return Bench(tmp_path, capsys)


def parquet(rows: list[Any]) -> bytes:
    target = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), target)
    return bytes(target.getvalue())


@pytest.mark.parametrize(
    "content",
    [
        lines(ROWS),
        lines(SHAREGPT),
        json.dumps(ROWS, indent=2),
        json.dumps(SHAREGPT),
        lines([row["messages"] for row in ROWS]),
        lines(PARTS),
        lines(ALPACA),
        json.dumps(ALPACA, indent=2),
        lines([{"prompt": q, "completion": a} for q, a in PAIRS]),
        json.dumps({"data": ROWS}),
        parquet(ROWS),
        parquet(PARTS),
        parquet(SHAREGPT),
        gzip.compress(lines(ROWS).encode()),
        lines(ROWS).replace("\n", ",\r\n\r\n").encode("utf-8-sig"),
        lines(ROWS).encode("utf-16"),
    ],
    ids=["jsonl", "sharegpt", "array", "sharegpt array", "bare lists", "parts", "alpaca",
         "alpaca array", "completions", "wrapped", "parquet", "parts parquet", "sharegpt parquet",
         "gzip", "mark", "utf-16"],
)  # fmt: skip
def test_the_same_conversations_in_every_form_are_the_same(
    bench: Bench, content: str | bytes
) -> None:
    bench.calibration.write_bytes(content.encode() if isinstance(content, str) else content)
    assert bench.says() == (0, "ok calibration 32 of 40 conversations, 3262 tokens")


def test_roles_that_the_template_passes_over_are_named(bench: Bench) -> None:
    bench.template(inputs.TEMPLATE)
    names = {"user": "human", "assistant": "gpt"}
    rows = [
        {"messages": [{**m, "role": names[m["role"]]} for m in row["messages"]]} for row in ROWS
    ]
    bench.calibration.write_text(lines(rows))
    code, said = bench.says()
    assert code == 2
    for part in ("'human' and 'gpt'", "32 of 32 conversations", f"Line 1 of {bench.calibration}",
                 "32 of them render to the same text", "Rename the roles"):  # fmt: skip
        assert part in said, said
    command = re.search("`([^`]+)`", said)
    assert command
    subprocess.run(command[1], shell=True, check=True, cwd=bench.folder,
                   env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})  # fmt: skip
    bench.calibration = bench.folder / "calibration.messages.jsonl"
    code, said = bench.says()
    assert (code, said.split()[0]) == (0, "ok"), said


def test_identical_conversations_count_once_and_it_is_said(bench: Bench) -> None:
    bench.calibration.write_text(lines(ROWS[:20] + ROWS[:12]))
    code, said = bench.says()
    assert (code, said.split()[0]) == (0, "note")
    assert "20 of 32 conversations" in said
    assert "12 of 32 render to the same text as one before" in said
    bench.calibration.write_text(lines(ROWS[:9] * 4))
    code, said = bench.says()
    assert code == 2
    assert "9 different conversations" in said
    assert "27 of 36 render to the same text as one before, and each counts once" in said


@pytest.mark.parametrize(
    "columns",
    [
        {"tools": [{"type": "function", "function": inputs.TOOL}]},
        {"tools": [inputs.TOOL]},
        {"tools": json.dumps([inputs.TOOL])},
        {"functions": [inputs.TOOL]},
    ],
)
@pytest.mark.parametrize("arguments", [{"a": 11}, '{"a": 11}'])
def test_tools_are_rendered(bench: Bench, columns: dict[str, Any], arguments: Any) -> None:
    bench.template(inputs.TEMPLATE)
    rows = [inputs.with_calls(n, arguments) | columns for n in range(40)]
    bench.calibration.write_text(lines(rows))
    code, said = bench.says()
    assert (code, said) == (0, "ok calibration 32 of 40 conversations, 9300 tokens")
    bench.template(inputs.WITHOUT_TOOLS)
    code, said = bench.says()
    assert code == 0
    assert "note calibration" in said
    assert "the chat template leaves out tools (32)" in said


def test_empty_calls_and_no_tools_are_no_error(bench: Bench) -> None:
    bench.template(inputs.CALLS_IF_DEFINED)
    rows = [
        {"messages": [m | {"tool_calls": [None, []][n % 2]} for m in row["messages"]], "tools": []}
        for n, row in enumerate(ROWS)
    ]
    bench.calibration.write_text(lines(rows))
    code, said = bench.says()
    assert (code, said.split()[0]) == (0, "ok"), said


def test_one_moment_for_templates_that_write_the_time(bench: Bench) -> None:
    bench.template(inputs.DATED)
    bench.calibration.write_text(lines(ROWS))
    first = bench.says()
    assert first == bench.says()
    assert (first[0], first[1].split()[0]) == (0, "ok"), first
    assert bench.says('evaluation.moment="2031-05-07T22:15:00"') != first


def test_variables_reach_the_template(bench: Bench) -> None:
    bench.template(inputs.DATED + "{{- 'thinking ' * (20 if enable_thinking else 0) -}}")
    bench.calibration.write_text(lines(ROWS))
    code, said = bench.says('evaluation.chat_template_kwargs={"enable_thinking": true}')
    assert code == 0
    assert said != bench.says()[1]


def test_tokens_beyond_the_model_are_refused(bench: Bench) -> None:
    def add(tokenizer: dict[str, Any]) -> None:
        number = max(token["id"] for token in tokenizer["added_tokens"])
        number = max(number, *tokenizer["model"]["vocab"].values()) + 1
        tokenizer["added_tokens"].append(
            tokenizer["added_tokens"][0] | {"id": number, "content": "<|new|>"}
        )

    bench.edit("tokenizer.json", add)
    bench.calibration.write_text(lines(ROWS))
    assert bench.says()[0] == 0
    bench.calibration.write_text(lines(ROWS).replace("are 40*32", "are <|new|>40*32"))
    code, said = bench.says("quantization.calibration.max_samples=40")
    vocabulary = json.loads((bench.model / "config.json").read_text())["vocab_size"]
    assert code == 2
    for part in ("'<|new|>'", "Line 30 of", f"knows {vocabulary} tokens",
                 f"vocab_size={vocabulary}", "tokenizer files"):  # fmt: skip
        assert part in said, said


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% for m in messages %}{{ m.content }}", "Unexpected end of template"),
        ("{% for m in messages %}{{ m.content + nosuch() }}{% endfor %}", "'nosuch' is undefined"),
        ("{% for m in messages %}{{ m.text + '' }}{% endfor %}", "no attribute 'text'"),
    ],
)
def test_a_fault_of_the_template_is_not_blamed_on_a_line(
    bench: Bench, template: str, says: str
) -> None:
    bench.template(template)
    bench.calibration.write_text(lines(ROWS))
    code, said = bench.says()
    assert code == 2
    assert says in said
    assert "has a fault" in said
    assert "Line 1" not in said


@pytest.mark.parametrize("kind", ["files", "list"])
def test_named_templates_without_a_default_are_named(bench: Bench, kind: str) -> None:
    bench.calibration.write_text(lines(ROWS))
    named = {"rag": inputs.TEMPLATE, "tool_use": inputs.TEMPLATE}
    if kind == "list":
        bench.template([{"name": name, "template": text} for name, text in named.items()])
    else:
        bench.template(inputs.TEMPLATE)
        (bench.model / "additional_chat_templates").mkdir()
        for name, text in named.items():
            (bench.model / "additional_chat_templates" / f"{name}.jinja").write_text(text)
    code, said = bench.says()
    assert code == 2
    assert "named rag and tool_use; none is the default" in said
    if kind == "list":
        assert "Rename the one to use to `default`" in said
        named["default"] = named.pop("rag")
        bench.template([{"name": name, "template": text} for name, text in named.items()])
    else:
        command = re.search("`(cp [^`]+)`", said)
        assert command
        subprocess.run(command[1], shell=True, check=True)
    code, said = bench.says()
    assert (code, said.split()[0]) == (0, "ok"), said


def test_a_pointer_of_git_lfs_is_recognised(bench: Bench) -> None:
    bench.calibration.write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 12345\n"
    )
    code, said = bench.says()
    assert code == 2
    assert "Git LFS pointer" in said
    assert "git lfs pull" in said


def test_a_dataset_and_a_model_of_a_hub_that_are_here_are_rendered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was downloaded before is judged as a file and a folder are; what was not, is not."""
    from infra.contracts.progress import Silent
    from infra.contracts.specs import ModelSpec
    from infra.models.weights import fetch, fetch_dataset
    from infra.store.settings import Settings

    bench.template(inputs.TEMPLATE)
    files = {file.name: file.read_bytes() for file in bench.model.iterdir() if file.is_file()}
    rows = lines([{"messages": [{"role": "human", "content": q}]} for q, _ in PAIRS])
    with stub_hub.running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repos["models/me/model"] = stub_hub.Repo(files)
        hub.repos["datasets/me/chats"] = stub_hub.Repo({"train.jsonl": rows.encode()})
        given = ("model.id=me/model", "model.source=huggingface",
                 "quantization.calibration.path=me/chats",
                 "quantization.calibration.source=huggingface")  # fmt: skip
        code, said = bench.says(*given)
        assert (code, said.split()[0]) == (0, "ok"), said
        fetch_dataset("huggingface", "me/chats", None, settings=Settings(), progress=Silent())
        fetch(ModelSpec(id="me/model", source="huggingface"),
                        settings=Settings(), progress=Silent())  # fmt: skip
        code, said = bench.says(*given)
    assert code == 2
    assert "'human'" in said
    assert '"source":"huggingface"' in said


@pytest.mark.usefixtures("own_cache")
def test_preflight_as_a_command_is_quick_and_leaves_nothing(bench: Bench) -> None:
    bench.calibration.write_text(lines([{"text": q} for q, _ in PAIRS]))
    done = subprocess.run(
        [sys.executable, "-m", "deployments", "preflight", "sample",
         "--set", f"quantization.calibration.path={bench.calibration}"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "texts and no conversations" in " ".join(done.stdout.split())
    assert done.stderr == ""
    assert not (bench.folder / "runs").exists()
