"""Every command that a remedy names is listed here, and run.

Whatever stands between backticks in a text of the program is collected from the source. It is
either a command, with what is run to show that it works, or no command at all. One that is in
neither list fails: add it, with a way to run it.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.overrides import override
from deployments.recipes import sample
from infra.contracts.errors import AssayError
from infra.store.settings import Settings
from infra.suite.harness.definitions.catalog import catalog
from tests.conftest import ROOT

OF_THE_MACHINE = {"nvidia-smi", "dmesg"}
"""Programs that show what the machine does: they are there or not."""

COMMANDS = {
    "{} -m deployments show RECIPE": "{python} -m deployments show sample",
    "{} -m deployments show RECIPE > spec.json": "{python} -m deployments show sample > spec.json "
    "&& {python} -m deployments show spec.json",
    "{} -m deployments init-task KIND FILE.jsonl": "{python} -m deployments init-task exact "
    "a.jsonl",
    "{} -m deployments export-baseline RUN FILE": "{python} -m deployments export-baseline --help",
    "{} -m deployments history {}": "{python} -m deployments history .",
    "{} ls tasks{}": "{bin}/lm-eval ls tasks --include_path .",
    "{}": None,  # made by infra/suite/harness/definitions/packages.py; its tests run it
    "{} -c {}": None,  # made by infra/conversations/reading/rows.py; its tests run it
    "{} -dk {}": "echo x > a && gzip a && gzip -dk a.gz && test -f a",
    "{} && {}": "cd . && true",
    "cp {} {}": "touch a && cp a b",
    "rm -r {}": "mkdir a && rm -r a",
    "python -m infra.sample.training.build_data": "cd {root} && "
    "{python} -c 'import importlib.util as u; "
    'assert u.find_spec("infra.sample.training.build_data")\'',
    "make lock": "make -C {root} -n lock",
    "make gc": "make -C {root} -n gc",
    "make gc DELETE=1": "make -C {root} -n gc DELETE=1",
    "make worker": "make -C {root} -n worker",
    "{} -m deployments gc": "{python} -m deployments gc --help",
    "make ui": "make -C {root} -n ui",
    "make verify": "make -C {root} -n verify REPORT=.",
    "make deploy": "make -C {root} -n deploy",
    "prefect deployment ls": "{bin}/prefect deployment ls --help",
    "prefect config view": "{bin}/prefect config view",
    "prefect cloud login": "{bin}/prefect cloud login --help",
    "git lfs pull": "git lfs version",
    "ulimit -n 65536": "ulimit -n $(ulimit -Hn)",
    "ps -o pid,stat,wchan,cmd -p {}": "ps -o pid,stat,wchan,cmd -p $$",
    **dict.fromkeys(OF_THE_MACHINE),
}
"""A command as it stands in the source, `{}` for what is filled in → what shows that it works."""

_LOOKS_LIKE_ONE = re.compile(
    r"(?:\{\}|python\S*|pip|uv|make|git|lm-eval|lm_eval|prefect|nvidia-smi|dmesg|ulimit|ps|sudo|apt"
    r"|hf|huggingface-cli|modelscope|curl|chmod|df|kill|docker|rm|mv|cp|ln|export|source|jq)(?:\s|$)"
)
_IN_A_FOLDER = re.compile(r"git (?:lfs|annex)\b[^.]*$")
_OWN = ("infra", "tasks", "flows", "deployments")


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every text of the program that is no docstring."""
    for folder in _OWN:
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
                     for part in node.values}  # fmt: skip
            for node in ast.walk(tree):
                if id(node) in bare | inner:
                    continue
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield path, node.value
                elif isinstance(node, ast.JoinedStr):
                    yield path, "".join(str(part.value) if isinstance(part, ast.Constant) else "{}"
                                        for part in node.values)  # fmt: skip


def named() -> dict[str, Path]:
    """Return what looks like a command between backticks → a file that says it."""
    found = {}
    for path, text in texts():
        for quoted in re.findall(r"`([^`\n]+)`", text):
            if _LOOKS_LIKE_ONE.match(quoted):
                found[quoted] = path.relative_to(ROOT)
        if path.name != "model_place.py" and _IN_A_FOLDER.match(text):
            found[text] = path.relative_to(ROOT)  # `Place.command` puts the backticks around it
    return found


def test_every_command_is_listed_and_every_listed_one_is_named() -> None:
    found = named()
    assert {one: str(path) for one, path in found.items() if one not in COMMANDS} == {}
    assert set(COMMANDS) - set(found) == set()


_LISTS_ALL = "{} ls tasks{}"
"""Takes twenty seconds of a core, and is typed below as a user reads it."""


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(one, marks=pytest.mark.long if one == _LISTS_ALL else ())
        for one, shown in COMMANDS.items()
        if shown
    ],
)
def test_the_command_works(command: str, tmp_path: Path) -> None:
    if command.startswith("git lfs") and shutil.which("git-lfs") is None:
        pytest.skip("Git LFS is not installed")
    python = shlex.quote(sys.executable)
    shown = str(COMMANDS[command])
    for name, value in {"python": python, "bin": shlex.quote(str(Path(sys.executable).parent)),
                        "root": shlex.quote(str(ROOT))}.items():  # fmt: skip
        shown = shown.replace(f"{{{name}}}", value)
    done = subprocess.run(
        ["bash", "-c", shown], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_commands_work_as_they_are_read(tmp_path: Path) -> None:
    """Not as they stand in the source: as a user reads them, typed into a shell."""
    shown = []
    names = catalog(settings=Settings())
    for provoke in (lambda: override(sample(), ["a.b=1"]), lambda: names.entries(["gsm8kk"])):
        with pytest.raises(AssayError) as caught:
            provoke()
        shown += re.findall(r"`([^`]+)`", caught.value.remedy)
    assert len(shown) == 2
    for command in shown:
        subprocess.run(
            ["bash", "-c", command.replace("RECIPE", "sample")], cwd=tmp_path, check=True,
            timeout=300, env={"PATH": "/usr/bin:/bin"}, stdout=subprocess.DEVNULL,
        )  # fmt: skip


def test_what_the_documents_say_to_run_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in ("README.md", "CONTRIBUTING.md", *map(str, (ROOT / "docs").glob("*.md"))):
        text = (ROOT / document).read_text(encoding="utf-8")
        commands = re.findall(r"`([^`\n]+)`", text)
        commands += [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
                     for line in block.splitlines()]  # fmt: skip
        for command in commands:
            for target in re.findall(r"^\s*make ([a-z][a-z-]*)", command):
                assert target in targets, (document, command)
            for module in re.findall(r"python -m ([a-z_.]+)", command):
                path = ROOT / module.replace(".", "/")
                there = path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
                assert there, (document, command)
