"""The Prefect server that a run from the command line brings along where none is configured."""

from __future__ import annotations

import os

from infra.contracts.progress import Progress


def prepare(progress: Progress) -> None:
    """Set what it is started with. Prefect, imported after this, reads it.

    Args:
        progress: Hears that it is started, which takes some seconds.
    """
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    # Pauses double: it is waited for an API that is away for about four minutes.
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "7")
    progress.say("starting Prefect")
