"""What is said when the code of a task does not load: real tasks, and definitions of one's own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from infra.contracts.errors import AssayError, TaskCodeError
from infra.contracts.progress import Silent
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite.harness.definitions import packages
from infra.suite.harness.definitions.task_faults import fault
from infra.suite.harness.suite import prepare
from tests.conftest import ROOT

ROWS = '{"question": "1 + 1?", "answer": "2"}\n'
DEFINITION = """task: house
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: generate_until
doc_to_text: !function house.text
doc_to_target: "{{{{answer}}}}"
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""
TEXT = "\ndef text(doc):\n    return doc['question']\n"


class Heard(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def house(folder: Path, code: str, name: str = "house") -> EvaluationSpec:
    """Write a task of one's own with this code."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text(ROWS)
    text = DEFINITION.format(rows=folder / "rows.jsonl").replace("task: house", f"task: {name}")
    (folder / f"{name}.yaml").write_text(text)
    (folder / "house.py").write_text(code + TEXT)
    return EvaluationSpec(tasks=(TaskSpec(name=name),), include_path=str(folder))


def refused(folder: Path, code: str) -> AssayError:
    spec, settings = house(folder / "tasks", code), Settings(cache=folder / "cache")
    with pytest.raises(AssayError) as caught:
        prepare(spec, settings=settings, progress=Silent())
    return caught.value


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys\nsys.exit('swipl is not here')", "swipl is not here"),
        ("raise KeyError('no such')", "KeyError: 'no such'"),
        ("raise RuntimeError('metrics')", "RuntimeError: metrics"),
        ("assert False, 'give a tokenizer'", "give a tokenizer"),
        ("from datasets import load_metric", "made for another version"),
        ("import transformers.data.nothing", "made for another version"),
        ("import no_such_package_xyz", "no_such_package_xyz"),
        ("try:\n import no_such_xyz\nexcept ImportError:\n raise Exception('pip install it')",
         "needs what is not installed: no_such_xyz"),
        ("raise ConnectionError(\"Couldn't reach 'a/b' on the Hub\")", "asks the hub"),
        ("raise LookupError(\"  >>> nltk.download('punkt_tab')\")", "data of NLTK"),
    ],
)  # fmt: skip
def test_code_that_does_not_load_is_one_error_about_the_code(
    tmp_path: Path, code: str, said: str
) -> None:
    error = refused(tmp_path, code)
    assert said in str(error) and "house" in error.fact
    assert error.remedy
    assert "another shape" not in str(error), "the rows are not to blame"


def test_all_that_a_task_imports_is_named_at_once(tmp_path: Path) -> None:
    error = refused(tmp_path, "def later():\n import one_xyz\nimport two_xyz")
    assert isinstance(error, TaskCodeError)
    assert error.missing == ("one_xyz", "two_xyz")
    assert {"one_xyz", "two_xyz"} <= set(shlex.split(error.command))


def test_lm_evals_own_word_on_versions_counts() -> None:
    assert "unitxt==1.22.0" in str(packages.install(["unitxt"]))
    assert "'fugashi[unidic-lite]'" in str(packages.install(["fugashi"]))
    assert packages.install(["tarski", "lark"]) is None
    error = fault("acp_areach_gen", ImportError("install it", name="tarski"), ["tarski"])
    assert "antlr4" in error.cause and error.remedy == "Leave the task out."


@pytest.mark.parametrize("module", ["sympy", "math_verify", "antlr4", "langdetect", "nltk"])
def test_what_named_tasks_need_is_locked(module: str) -> None:
    lock = packages.LOCK.read_text(encoding="utf-8")
    name = {"antlr4": "antlr4-python3-runtime"}.get(module, module).replace("_", "-")
    assert re.search(rf"^{name}==", lock, re.MULTILINE)


def test_the_command_that_is_named_installs_the_package(tmp_path: Path) -> None:
    """Into an environment that is thrown away, from a folder of wheels: nothing is downloaded."""
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--system-site-packages", str(tmp_path / "env")], check=True)
    source = tmp_path / "source"
    (source / "small_xyz").mkdir(parents=True)
    (source / "small_xyz" / "__init__.py").write_text("")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "small-xyz"\nversion = "1"\n'
        '[tool.hatch.build.targets.wheel]\npackages = ["small_xyz"]\n'
    )
    subprocess.run(
        [*uv, "build", "-q", "--wheel", "--no-build-isolation", "-o", str(tmp_path / "wheels"),
         "--python", sys.executable, str(source)],
        check=True, cwd=ROOT,
    )  # fmt: skip
    command = shlex.split(str(packages.install(["small_xyz"])))
    python = str(tmp_path / "env" / "bin" / "python")
    target = command.index("--python") + 1
    command[target] = python
    command[-1] = command[-1].replace("_", "-")
    environment = {**os.environ, "UV_FIND_LINKS": str(tmp_path / "wheels"), "UV_OFFLINE": "1"}
    subprocess.run(command, check=True, env=environment, timeout=120)
    subprocess.run([python, "-c", "import small_xyz"], check=True)
