"""What a provided environment consists of: by content, and nothing where nobody can tell."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.contracts.records import PythonEnvironment
from infra.machine.environments import locate
from infra.preflight import interpreters
from infra.preflight.findings import Finding
from infra.store.settings import Settings

_LONG_AGO = 1_700_000_000


class Own:
    """An interpreter of the user's own, with a package that has the engine's name."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(folder)]
        subprocess.run(command, check=True)
        (self.site,) = folder.glob("lib/python*/site-packages")
        self.settings = Settings(
            cache=folder / "cache", interpreters={"vllm": folder / "bin/python"}
        )
        self.module = self.site / "vllm" / "__init__.py"
        self.info = self.site / "vllm-1.0.dist-info"

    def install(self, code: str = "answer = 1\n", direct_url: object = None) -> None:
        for folder in (self.module.parent, self.info):
            folder.mkdir(exist_ok=True)
        self.module.write_text(code)
        (self.info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 1.0\n")
        if direct_url is not None:
            (self.info / "direct_url.json").write_text(json.dumps(direct_url))
        digest = base64.urlsafe_b64encode(hashlib.sha256(code.encode()).digest()).decode()
        lines = [
            f"vllm/__init__.py,sha256={digest.rstrip('=')},{len(code)}",
            "vllm/__pycache__/__init__.cpython-311.pyc,,",
            f"{self.info.name}/RECORD,,",
        ]
        (self.info / "RECORD").write_text("\n".join(lines) + "\n")
        for file in self.site.rglob("*"):
            os.utime(file, (_LONG_AGO, _LONG_AGO))

    def look(self) -> PythonEnvironment:
        return locate("vllm", "cpu", self.settings)[0]


@pytest.fixture
def own(tmp_path: Path) -> Own:
    made = Own(tmp_path / "own")
    made.install()
    return made


def rebuild(own: Own) -> None:
    own.install("answer = 2\n")


def edit(own: Own) -> None:
    own.module.write_text("answer = 2\n")


def edit_at_its_time(own: Own) -> None:
    own.module.write_text("answer = 20\n")
    os.utime(own.module, (_LONG_AGO, _LONG_AGO))


def remove(own: Own) -> None:
    own.module.with_name("__init__.pyc").write_text("")
    own.module.unlink()


def patch_from_outside(own: Own) -> None:
    (own.site / "sitecustomize.py").write_text("import builtins\n")


def other_source(own: Own) -> None:
    own.install(direct_url={"url": "https://example.com/vllm.git", "vcs_info": {}})


@pytest.mark.parametrize(
    "change", [rebuild, edit, edit_at_its_time, remove, patch_from_outside, other_source]
)
def test_what_changes_at_the_same_version_is_another_engine(
    own: Own, change: Callable[[Own], None]
) -> None:
    before = own.look()
    assert own.look() == before
    assert before.unknown == ()
    change(own)
    assert own.look().digest != before.digest


def test_what_was_undone_is_the_same_engine(own: Own) -> None:
    before = own.look()
    edit(own)
    own.module.write_text("answer = 1\n")
    (own.module.parent / "__pycache__").mkdir()
    (own.module.parent / "__pycache__" / "__init__.cpython-311.pyc").write_text("compiled")
    assert own.look() == before


def editable(own: Own) -> None:
    own.install(direct_url={"url": "file:///home/me/vllm", "dir_info": {"editable": True}})


def linked_folder(own: Own) -> None:
    sources = own.site.parents[3] / "vllm"
    sources.mkdir()
    (own.site / "development.pth").write_text(f"# mine\nimport sys\n{sources}\n")


def developed(own: Own) -> None:
    """As `setup.py develop` leaves it."""
    sources = own.site.parents[3] / "sources"
    (sources / "own.egg-info").mkdir(parents=True)
    (sources / "own.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: own\n")
    (own.site / "easy-install.pth").write_text(f"{sources}\n")


def in_no_package(own: Own) -> None:
    (own.info / "RECORD").write_text(f"{own.info.name}/RECORD,,\n")


@pytest.mark.parametrize("change", [editable, linked_folder, developed, in_no_package])
def test_what_may_be_edited_at_any_time_is_never_the_same(
    own: Own, change: Callable[[Own], None]
) -> None:
    change(own)
    first, second = own.look(), own.look()
    assert first.digest != second.digest
    assert first.unknown == second.unknown != ()
    found, _ = interpreters.environment("vllm", "cpu", own.settings)
    assert isinstance(found, Finding)
    assert "never taken for another run's" in found.found


def test_an_old_package_without_a_list_of_files_counts_by_its_code(own: Own) -> None:
    (own.site / "old-1.0.egg-info").write_text("Metadata-Version: 1.1\nName: old\nVersion: 1.0\n")
    (own.site / "old.py").write_text("answer = 1\n")
    before = own.look()
    assert own.look() == before
    assert before.unknown == ()
    (own.site / "old.py").write_text("answer = 2\n")
    assert own.look().digest != before.digest
