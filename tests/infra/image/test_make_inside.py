"""What containers have `make` do finds the image's environment, and builds none."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.compose_file import composed
from tests.conftest import ROOT


def commands() -> Iterator[list[str]]:
    """Yield what is said to `make`, by the Compose file and by the manifests."""
    for service in composed()["services"].values():
        if service.get("command", [""])[0] == "make":
            yield service["command"]
    worker = yaml.safe_load((ROOT / "infra" / "kubernetes" / "worker.yaml").read_text())
    for container in worker["spec"]["template"]["spec"]["initContainers"]:
        for part in container["args"][-1].split("&&"):
            if part.split()[0] == "make":
                yield part.split()


def test_both_register_deployments_by_make() -> None:
    assert [command[-1] for command in commands()] == ["deploy"] * 2


@pytest.mark.parametrize("command", [*commands()], ids=["compose", "kubernetes"])
def test_no_environment_is_built_in_a_container(command: list[str], tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "prefect.yaml", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "infra" / "environments", tmp_path / "infra" / "environments")
    (tmp_path / ".venv").mkdir()
    # Also what only says what it would do makes environments, in a `make` below: this cannot.
    said = subprocess.run(
        [*command, "--dry-run", "PYTHON=false"], cwd=tmp_path, capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    assert "prefect --no-prompt deploy" in said.stdout
    assert "bootstrap" not in said.stdout
