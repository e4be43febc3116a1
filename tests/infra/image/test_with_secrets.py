"""Secrets become variables of the command, and whatever else is mounted beside them does not."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests import dockerfile

SCRIPT = dockerfile.FILE.with_name("with_secrets.sh")


def environment(folder: Path) -> dict[str, str]:
    said = subprocess.run(
        ["sh", SCRIPT, "/usr/bin/env"], env={"SECRETS": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    found = dict(line.split("=", 1) for line in said.splitlines())
    return {name: text for name, text in found.items() if name not in ("SECRETS", "PATH", "PWD")}


def test_each_file_is_a_variable_unless_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "HF_TOKEN").write_text("a = b\n")
    (tmp_path / "MODELSCOPE_API_TOKEN").write_text("")
    assert environment(tmp_path) == {"HF_TOKEN": "a = b"}
    assert environment(tmp_path / "none") == {}


def test_what_others_mount_there_is_left_alone(tmp_path: Path) -> None:
    """A pod's account lies in /var/run/secrets, which is the same folder."""
    account = tmp_path / "kubernetes.io" / "serviceaccount"
    account.mkdir(parents=True)
    (account / "token").write_text("secret")
    (tmp_path / "rhsm").mkdir()
    (tmp_path / "redhat.repo").write_text("[x]")
    (tmp_path / "HF_TOKEN").write_text("token")
    assert environment(tmp_path) == {"HF_TOKEN": "token"}
