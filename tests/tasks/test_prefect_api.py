"""Which Prefect API is configured, wherever Prefect lets one say so, and that nothing is set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from tasks.prefect_api import ui_address
from tests.prefect_server import PREFECT, ROOT

URL = "http://127.0.0.1:1/api"
KEY = "pnu_of-nobody"
CLOUD = "https://api.prefect.cloud/api"

SCRIPT = """
import json, os, sys
before = dict(os.environ)
from infra.contracts.errors import AssayError
from tasks.prefect_api import configured_api, required_api
api = None
try:
    required = required_api()
    api = configured_api()
    required = required == api
except AssayError as error:
    required = str(error)
assert dict(os.environ) == before, "what is started here would have more than it needs"
print(json.dumps([api and [api.url, dict(api.headers), api.cloud], required,
                  not {"prefect", "infra.preflight"}.isdisjoint(sys.modules)]))
"""


def profile(home: Path, **values: str) -> dict[str, str]:
    """Write a profile of the user's own, as Prefect does; return the variables of its user."""
    home.mkdir()
    lines = ['active = "mine"', "[profiles.mine]", *(f'{k} = "{v}"' for k, v in values.items())]
    (home / "profiles.toml").write_text("\n".join(lines))
    return told_nothing(home)


def told_nothing(home: Path) -> dict[str, str]:
    """Return the variables of somebody who told Prefect nothing by any."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return env | {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1", "PYTHONPATH": str(ROOT)}


def found(env: dict[str, str], folder: Path) -> tuple[list[object] | None, object, bool]:
    """Return the API that is found, whether a run may begin, and whether much was imported."""
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=folder, env=env, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    api, required, imported = json.loads(said.stdout.splitlines()[-1])
    return api, required, imported


def test_where_nothing_is_said_nothing_is_imported(tmp_path: Path) -> None:
    env = told_nothing(tmp_path / "home")
    assert found(env, ROOT) == (None, True, False)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("url", "imported"), [(URL, False), (f"{CLOUD}/accounts/a/workspaces/b", True)]
)
def test_a_server_of_a_variable_is_looked_at_without_prefect(
    url: str, imported: bool, tmp_path: Path
) -> None:
    script = (
        "import sys; from tasks.prefect_api import surveyed_api; api = surveyed_api();"
        "print(api.url, 'prefect' in sys.modules, 'Authorization' in api.headers)"
    )
    env = profile(tmp_path / "home", PREFECT_API_KEY=KEY) | {"PREFECT_API_URL": url}
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert said.stdout.split() == [url, str(imported), str(imported)]


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("https://127.0.0.1:1/api", {"PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true"}),
        (URL, {"PREFECT_CLIENT_CUSTOM_HEADERS": json.dumps({"Gate": KEY})}),
    ],
)
def test_what_prefect_needs_to_reach_it_is_used_for_the_look_too(
    url: str, more: dict[str, str], tmp_path: Path
) -> None:
    script = (
        "from tasks.prefect_api import configured_api, surveyed_api;"
        "api = surveyed_api(); assert api == configured_api();"
        "print(api.verified, dict(api.headers))"
    )
    env = told_nothing(tmp_path / "home") | {"PREFECT_API_URL": url} | more
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert said.stdout.strip() in ("False {}", f"True {{'Gate': '{KEY}'}}")


def test_prefects_own_command_is_heard(tmp_path: Path) -> None:
    env = told_nothing(tmp_path)
    subprocess.run([PREFECT, "config", "set", f"PREFECT_API_URL={URL}"], env=env, check=True)
    assert found(env, tmp_path) == ([URL, {}, None], True, True)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("prefect.toml", f'[api]\nurl = "{URL}"'),
        ("pyproject.toml", f'[tool.prefect.api]\nurl = "{URL}"'),
        (".env", f"PREFECT_API_URL={URL}"),
    ],
)
def test_each_file_that_prefect_reads_is_heard(file: str, text: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text)
    assert found(told_nothing(tmp_path / "home"), tmp_path) == ([URL, {}, None], True, True)


def test_a_variable_comes_before_the_profile(tmp_path: Path) -> None:
    env = profile(tmp_path / "home", PREFECT_API_URL="http://127.0.0.1:2/api")
    assert found(env | {"PREFECT_API_URL": URL}, tmp_path)[0] == [URL, {}, None]


@pytest.mark.parametrize(
    ("url", "secret", "header", "cloud"),
    [
        (URL, {"PREFECT_API_AUTH_STRING": "me:word"}, "Basic bWU6d29yZA==", None),
        (f"{CLOUD}/accounts/a/workspaces/b", {"PREFECT_API_KEY": KEY}, f"Bearer {KEY}", CLOUD),
    ],
)
def test_what_lets_the_user_in_stands_in_the_profile_alone(
    url: str, secret: dict[str, str], header: str, cloud: str | None, tmp_path: Path
) -> None:
    env = profile(tmp_path / "home", PREFECT_API_URL=url, **secret)
    assert found(env, tmp_path)[0] == [url, {"Authorization": header}, cloud]


def test_a_run_of_its_own_that_is_started_finds_the_same(tmp_path: Path) -> None:
    env = profile(tmp_path / "home", PREFECT_API_URL=URL, PREFECT_API_KEY=KEY)
    (tmp_path / "run.py").write_text(SCRIPT)
    started = (
        "import sys; from pathlib import Path; from tasks.prefect_api import required_api;"
        "from infra.machine.processes import environment_of_a_run, run; required_api();"
        f"given = environment_of_a_run(); assert {KEY!r} not in given.values();"
        "code = run([sys.executable, 'run.py'], log=Path('log'), env=given); sys.exit(code)"
    )
    subprocess.run([sys.executable, "-c", started], cwd=tmp_path, env=env, check=True)
    api, required, _ = json.loads((tmp_path / "log").read_text().splitlines()[-1])
    assert (api, required) == ([URL, {"Authorization": f"Bearer {KEY}"}, None], True)


def test_the_address_of_the_pages_holds_no_password() -> None:
    with temporary_settings({PREFECT_UI_URL: "http://me:word@host:4200/prefect"}):
        assert ui_address() == "http://host:4200/prefect"
    with temporary_settings(restore_defaults={PREFECT_UI_URL, PREFECT_API_URL}):
        assert ui_address() == ""


def test_settings_that_let_no_server_be_started_are_said_with_remedies_that_work(
    tmp_path: Path,
) -> None:
    env = profile(tmp_path / "home", PREFECT_UI_URL="http://127.0.0.1:1")
    api, said, _ = found(env, tmp_path)
    assert api is None
    assert "No Prefect server is configured, and Prefect's settings let none" in str(said)
    for remedy in ({"PREFECT_API_URL": URL}, {"PREFECT_SERVER_EPHEMERAL_ENABLED": "true"}):
        assert found(env | remedy, tmp_path)[1] is True
    broken = env | {"PREFECT_API_URL": "http://[::1/api", "PREFECT_API_KEY": KEY}
    said = str(found(broken, tmp_path)[1])
    assert "Prefect cannot read its settings: Value error, Invalid IPv6 URL" in said
    assert "remedy: Correct" in said and KEY not in said
    (tmp_path / "home" / "profiles.toml").write_text(f'[profiles.mine]\nPREFECT_API_KEY = "{KEY}')
    said = str(found(env, tmp_path)[1])
    assert "Prefect cannot read its settings" in said and KEY not in said
    forbidden = {"PREFECT_SERVER_EPHEMERAL_ENABLED": "false"}
    assert "let none be started" in str(found(told_nothing(tmp_path) | forbidden, tmp_path)[1])
