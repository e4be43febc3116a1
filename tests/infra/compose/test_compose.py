"""The Compose file: of the format, hardened, and without a secret in it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from compose_spec import PyCompose
from cryptography.fernet import Fernet

from tests import compose_file, dockerfile
from tests.compose_file import composed

OURS = ("server", "deploy", "worker", "worker-gpu")


def test_it_is_of_the_format() -> None:
    whole = composed()
    PyCompose.from_json(json.dumps(whole)).validate()
    whole["services"]["server"]["port"] = ["4200"]
    with pytest.raises(ValueError, match="port"):
        PyCompose.from_json(json.dumps(whole))


@pytest.mark.parametrize("name", [*OURS, "database"])
def test_a_service_may_do_little(name: str) -> None:
    service = composed()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] not in ("root", "0", "0:0")
    assert service["restart"] != "no"


def test_ports_are_open_on_loopback_alone() -> None:
    ports = [port for one in composed()["services"].values() for port in one.get("ports", ())]
    assert ports == ["127.0.0.1:4200:4200"]
    assert composed(ASSAY_PORT="4300")["services"]["server"]["ports"] == ["127.0.0.1:4300:4200"]


def test_only_the_server_reaches_the_database() -> None:
    whole = composed()
    near = [n for n, one in whole["services"].items() if "database" in one.get("networks", ())]
    assert near == ["database", "server"]
    assert whole["networks"]["database"] == {"internal": True}


def test_secrets_are_made_once_and_for_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    script = compose_file.FILE.with_name("secrets.sh")
    subprocess.run(["bash", script, folder], check=True)
    named = {Path(one["file"]).name for one in composed()["secrets"].values()}
    assert {path.name for path in folder.iterdir()} == named
    assert folder.stat().st_mode & 0o777 == 0o700
    Fernet((folder / "encryption_key").read_bytes())
    before = {path.name: path.read_text() for path in folder.iterdir()}
    # Nothing that a URL, a shell or the header of a request would have to quote.
    assert all(set(text) <= {*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=:"}
               for text in before.values())  # fmt: skip
    subprocess.run(["bash", script, folder], check=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    ignored = ["git", "check-ignore", "infra/compose/secrets/auth_string", "infra/compose/.env"]
    assert len(subprocess.check_output(ignored, cwd=compose_file.FILE.parents[2]).split()) == 2


def test_a_secret_is_a_variable_for_the_command_alone(tmp_path: Path) -> None:
    (tmp_path / "PREFECT_API_AUTH_STRING").write_text("name:pass word=$HOME")
    (tmp_path / "HF_TOKEN").write_text("")
    shown = subprocess.check_output(
        ["sh", dockerfile.FILE.with_name("with_secrets.sh"), "env"],
        env={"PATH": "/usr/bin:/bin", "SECRETS": str(tmp_path)}, text=True,
    )  # fmt: skip
    assert "PREFECT_API_AUTH_STRING=name:pass word=$HOME" in shown.splitlines()
    assert "HF_TOKEN" not in shown


def test_workers_differ_in_their_device_alone() -> None:
    services = composed()["services"]
    gpu: dict[str, Any] = dict(services["worker-gpu"])
    (device,) = gpu.pop("deploy")["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert (gpu.pop("profiles"), services["worker"].pop("profiles")) == (["gpu"], ["cpu"])
    assert gpu == services["worker"]


def test_what_is_kept_lies_where_the_image_looks_for_it() -> None:
    *_, last = dockerfile.stages()
    places = last.environment()
    targets = [one.rpartition(":")[2] for one in composed()["services"]["worker"]["volumes"]]
    assert targets == [places[n] for n in ("ASSAY_CACHE", "ASSAY_RUNS", "ASSAY_LEASES")]
