"""Which Prefect API is configured: by a variable, a file of Prefect's, or its active profile.

Prefect's own settings are asked, and nothing is set. What is started from here reads the same
variables and files, so a key that stands in a profile is nowhere else.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import ValidationError

from infra.contracts.errors import PreflightError

if TYPE_CHECKING:
    from prefect.settings import Settings

    from infra.preflight.prefect_api import PrefectApi

_VARIABLES = (
    "PREFECT_API_URL",
    "PREFECT_SERVER_EPHEMERAL_ENABLED",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE",
)
_SAY_MORE = frozenset(["PREFECT_CLIENT_CUSTOM_HEADERS", "PREFECT_CLOUD_API_URL"])
"""What lets its user in at a gateway, and where Prefect Cloud is."""


def configured_api() -> PrefectApi | None:
    """Return the API that is configured; none if none is.

    Raises:
        PreflightError: Prefect cannot read its settings.
    """
    return _api(_settings()) if _said() else None


def required_api() -> PrefectApi | None:
    """Return the API that is configured; none where a run brings a server of its own along.

    Raises:
        PreflightError: None is configured, and Prefect's settings let none be started; or Prefect
            cannot read them.
    """
    if not _said():
        return None
    settings = _settings()
    api = _api(settings)
    if api is None and not settings.server.ephemeral.enabled:
        raise PreflightError(
            "No Prefect server is configured, and Prefect's settings let none be started.",
            cause="Neither a variable nor Prefect's active profile sets PREFECT_API_URL, or "
            "PREFECT_SERVER_EPHEMERAL_ENABLED to true.",
            remedy="Set PREFECT_API_URL to a server that runs (`make ui` starts one), or "
            "PREFECT_SERVER_EPHEMERAL_ENABLED=true for one that comes with the run.",
        )
    return api


def surveyed_api() -> PrefectApi | None:
    """Return the API for a look whether it is well; else as `required_api`.

    A server says so to everybody. Of one that a variable names, which comes before all else that
    Prefect reads, Prefect need not be imported, which takes half a second of every preflight;
    unless it is reached through TLS or a gateway, of which Prefect's settings say more.

    Raises:
        PreflightError: As `required_api`.
    """
    url = os.environ.get("PREFECT_API_URL", "")
    told_more = not _SAY_MORE.isdisjoint(os.environ) or "prefect.context" in sys.modules
    if not url.startswith("http://") or told_more:
        return required_api()
    from infra.preflight.prefect_api import PrefectApi

    return PrefectApi(url)


def ui_address() -> str:
    """Return where the pages of the configured server are, with no password; empty if unknown."""
    from prefect.settings import PREFECT_UI_URL

    # By default it is the API's, in which a user and a password may stand.
    parts = urlsplit(PREFECT_UI_URL.value() or "")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _said() -> bool:
    """Return whether anything is there that could say so.

    Where nothing is, Prefect need not be imported to find that out, which takes half a second.
    """
    if "prefect.context" in sys.modules or any(name in os.environ for name in _VARIABLES):
        return True
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    if profiles.exists() or Path("prefect.toml").exists():
        return True
    # Such files are there for other purposes, too.
    return _mentions(".env", r"prefect_") or _mentions("pyproject.toml", r"tool\W+prefect")


def _mentions(name: str, what: str) -> bool:
    with suppress(OSError):
        text = Path(name).read_text(encoding="utf-8", errors="replace")
        return re.search(what, text, re.IGNORECASE) is not None
    return False


def _settings() -> Settings:
    try:
        from prefect.settings import get_current_settings

        return get_current_settings()
    except (ValueError, OSError) as error:  # it lets through what reading a profile raises
        said = [str(error)]
        if isinstance(error, ValidationError):  # which would show values, and some are secrets
            said = [": ".join([*map(str, one["loc"]), one["msg"]]) for one in error.errors()]
        raise PreflightError(
            f"Prefect cannot read its settings: {'; '.join(said)}",
            cause="A variable, Prefect's active profile or a file of Prefect's sets them so.",
            remedy="Correct that, PREFECT_API_URL before others.",
        ) from None


def _api(settings: Settings) -> PrefectApi | None:
    from infra.preflight.prefect_api import PrefectApi  # with all of preflight: `--help` needs none

    api = settings.api
    if not api.url:
        return None
    headers = dict(settings.client.custom_headers)
    if api.auth_string:  # Prefect's clients take it before a key
        user = base64.b64encode(api.auth_string.get_secret_value().encode()).decode()
        headers["Authorization"] = f"Basic {user}"
    elif api.key:
        headers["Authorization"] = f"Bearer {api.key.get_secret_value()}"
    return PrefectApi(
        url=api.url,
        headers=headers,
        certificates=api.ssl_cert_file,
        verified=not api.tls_insecure_skip_verify,
        cloud=settings.cloud.api_url if api.url.startswith(settings.cloud.api_url) else None,
    )
