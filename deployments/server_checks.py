"""What `doctor` looks at on the Prefect server: version, database, pools, workers, deployments."""

from __future__ import annotations

import importlib.metadata
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from infra.contracts.errors import AssayError, PrefectUnreachable, PreflightError
from infra.housekeeping.doctor.elsewhere import clock_beside
from infra.machine import ports
from infra.preflight.findings import Finding, note, ok, problem
from infra.preflight.prefect_api import answers
from tasks.prefect_api import required_api

_SECONDS = 4.0
_POSTGRES = 5432
"""Port of PostgreSQL, unless somebody chose another."""

_OF_SOMETHING_ELSE = (ValueError, LookupError, TypeError, AttributeError)
"""What reading an answer raises that is no JSON, or JSON of another shape."""

_DECLARED = Path(__file__).parents[1] / "prefect.yaml"


def look_at_server() -> list[Finding]:
    """Say all that matters of the configured server."""
    try:
        if (api := required_api()) is None:
            text = "none is configured: each run from the command line brings one of its own along"
            return [ok("Prefect server", text)]
        answer = answers(api)
    except (PreflightError, PrefectUnreachable) as error:
        return [problem("Prefect server", error)]
    said = answer if isinstance(answer, str) else answer.found
    with api.client(_SECONDS) as client:
        try:
            if api.cloud:  # which shows neither its version nor its database
                findings = [ok("Prefect Cloud", said)]
            else:
                findings = [_server(client, said), _database(client, here=api.is_here)]
            findings += [*_pools(client), *_deployments(client)]
        except httpx.HTTPStatusError as error:
            return [problem("Prefect server", _refused(error))]
        except httpx.HTTPError as error:
            return [problem("Prefect server", AssayError(
                f"It answers no more ({type(error).__name__}).", remedy="Look into its log.",
            ))]  # fmt: skip
        except _OF_SOMETHING_ELSE as error:
            return [problem("Prefect server", AssayError(
                f"It answers what no Prefect server does ({type(error).__name__}).",
                cause="It is something else, or of another version.",
                remedy="Set PREFECT_API_URL to a server's address that ends with /api.",
            ))]  # fmt: skip
    return findings


def _refused(error: httpx.HTTPStatusError) -> AssayError:
    code = error.response.status_code
    if code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return AssayError(
            f"The Prefect server refuses this user (HTTP {code}).",
            cause="It wants a key or a password, or another one.",
            remedy="Set PREFECT_API_AUTH_STRING to USER:PASSWORD, or PREFECT_API_KEY.",
        )
    return AssayError(
        f"The Prefect server answers HTTP {code} at {error.request.url.path}.",
        cause="It is in trouble, or of another version.", remedy="Look into its log.",
    )  # fmt: skip


def _get(client: httpx.Client, path: str) -> Any:
    return client.get(path).raise_for_status().json()


def _all(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Return all that a filter finds: the server answers by the page, and says how long one is."""
    found: list[dict[str, Any]] = []
    last: object = None
    while page := client.post(path, json={"offset": len(found)}).raise_for_status().json():
        if page == last or not all(isinstance(one, dict) for one in page):
            raise ValueError(f"{path} lists nothing, or without end")
        found += page
        last = page
    return found


def _server(client: httpx.Client, said: str) -> Finding:
    asked = time.time()
    answer = client.get("/admin/version").raise_for_status()
    theirs, ours = str(answer.json()), importlib.metadata.version("prefect")
    try:
        clock = clock_beside(answer, asked)
    except AssayError as error:
        return problem("Prefect server", error)
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        return Finding(
            name="Prefect server", status="note", found=f"{said}, version {theirs}; here is {ours}",
            remedy="Run the same version on both sides.",
        )  # fmt: skip
    return ok("Prefect server", f"{said}, version {theirs}{clock}")


def _database(client: httpx.Client, *, here: bool) -> Finding:
    database = _get(client, "/admin/settings").get("server", {}).get("database", {})
    driver = str(database.get("driver") or "")
    kind = driver.partition("+")[0] or (_open_at(client.base_url) if here else "")
    if kind == "postgresql":
        return ok("Prefect database", "PostgreSQL")
    if kind == "sqlite":
        text = "SQLite: for one machine; several workers are better off with PostgreSQL"
        return ok("Prefect database", text)
    return ok("Prefect database", "the server does not say which")


def _open_at(url: httpx.URL) -> str:
    """Return the kind of database that a server of this machine has open; empty if unknown."""
    if (process := ports.listener(url.port or 80)) is None:
        return ""
    with suppress(psutil.Error):
        if any(one.raddr and one.raddr.port == _POSTGRES for one in process.net_connections()):
            return "postgresql"
        if any(file.path.endswith(".db") for file in process.open_files()):
            return "sqlite"
    return ""


def _pools(client: httpx.Client) -> list[Finding]:
    wanted = {one["work_pool"]["name"] for one in _declared().values()}
    there = {pool["name"]: pool for pool in _all(client, "/work_pools/filter")}
    findings = [
        Finding(name=f"work pool {name}", status="note", found="not registered",
                remedy="Register it with the deployments: `make deploy`.")
        for name in sorted(wanted - set(there))
    ]  # fmt: skip
    for name, pool in sorted(there.items()):
        workers = _all(client, f"/work_pools/{name}/workers/filter")
        online = [one["name"] for one in workers if one.get("status") == "ONLINE"]
        text = f"{pool['type']}, {len(online)} of {len(workers)} workers online"
        if pool.get("is_paused"):
            findings.append(Finding(
                name=f"work pool {name}", status="note", found=f"{text}; it is paused",
                remedy="Let it go on in the Prefect UI, under Work Pools.",
            ))  # fmt: skip
        elif not online and name in wanted:
            findings.append(Finding(
                name=f"work pool {name}", status="note", found=f"{text}: deployed runs wait",
                remedy="Start one where the accelerators are: `make worker`.",
            ))  # fmt: skip
        else:
            findings.append(ok(f"work pool {name}", text))
    return findings


def _deployments(client: httpx.Client) -> list[Finding]:
    declared = _declared()
    # Of another project's flow a deployment may have the same name.
    there = {
        one["name"]: one
        for one in _all(client, "/deployments/filter")
        if one["entrypoint"] == declared.get(one["name"], {}).get("entrypoint")
    }
    missing = [name for name in declared if name not in there]
    if len(missing) == len(declared):
        return [Finding(name="deployments", status="note", found="none is registered",
                        remedy="`make deploy` registers them.")]  # fmt: skip
    findings = []
    for name, wanted in declared.items():
        if name in missing:
            findings.append(Finding(name=f"deployment {name}", status="note",
                                    found="not registered",
                                    remedy="`make deploy` registers it."))  # fmt: skip
        elif not _same(there[name]["parameters"], wanted.get("parameters") or {}):
            findings.append(Finding(
                name=f"deployment {name}", status="note",
                found="its parameters are not those of prefect.yaml",
                remedy="`make deploy` registers it anew; leave it if somebody meant to change it.",
            ))  # fmt: skip
        elif there[name].get("paused"):
            findings.append(note(f"deployment {name}", "its schedules are paused"))
    return findings or [ok("deployments", f"{len(declared)}, with the parameters of prefect.yaml")]


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _declared() -> dict[str, dict[str, Any]]:
    found = yaml.safe_load(_DECLARED.read_text(encoding="utf-8"))["deployments"]
    return {one["name"]: one for one in found}
