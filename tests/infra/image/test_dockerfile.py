"""The Dockerfile: nothing for hadolint to say, from the locks, as nobody special."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.dockerfile import FILE, stages

HADOLINT = Path(sys.executable).with_name("hadolint")


def test_hadolint_has_nothing_to_say(tmp_path: Path) -> None:
    subprocess.run([HADOLINT, FILE], check=True)
    worse = tmp_path / "Dockerfile"
    worse.write_text(FILE.read_text().replace("USER 1000", "USER root"))
    said = subprocess.run([HADOLINT, worse], check=False, capture_output=True, text=True)
    assert "DL3002" in said.stdout  # so it does look


def test_it_is_built_of_locks_and_runs_as_nobody_special() -> None:
    orchestrator, last = stages()
    assert orchestrator.base == last.base
    installed = [one.rest for one in orchestrator.instructions if one.name == "RUN"]
    assert installed == ["LOCK=${LOCK} bash infra/environments/bootstrap.sh .venv"]
    users = [one.rest for one in last.instructions if one.name == "USER"]
    assert users == ["1000"]
    assert (FILE.parents[2] / last.words("ENTRYPOINT")[0].removeprefix("/assay/")).is_file()


def test_no_secret_is_copied_into_an_image() -> None:
    ignored = FILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    assert {"**/secrets", "**/.env", ".git"} <= set(ignored)


def test_a_worker_for_kubernetes_has_the_orchestrators_versions() -> None:
    """Both locks are compiled apart, and the second has to follow the first."""
    locks = FILE.parents[1] / "environments"
    pins = [
        {line.split()[0] for line in (locks / name).read_text().splitlines() if "==" in line}
        for name in ("orchestrator.txt", "kubernetes.txt")
    ]
    assert pins[0] - pins[1] == set()
