"""The command `notify`: who is told of a FAIL, a regression, a crash or a missed night."""

from __future__ import annotations

import argparse
import re
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from infra.contracts.errors import PrefectUnreachable, SpecError
from infra.contracts.progress import Progress
from tasks.prefect_api import configured_api, ui_address

if TYPE_CHECKING:
    from uuid import UUID

COMMANDS = ("notify",)

NOTE = "write-note/note"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_SHORTEST = timedelta(seconds=10)
"""What Prefect waits at least for something that does not come."""


def add_commands(commands: Any) -> None:
    """Add it to the parsers of the command line."""
    text = "say who is told of a FAIL, a regression, a crash and a missed night, and how"
    notify = commands.add_parser(
        "notify", help=text, description=f"{text}: makes automations on the Prefect server, in "
        "place of those that the same name had",
    )  # fmt: skip
    notify.add_argument(
        "name", nargs="?", default="all",
        help="who: runs that name it as `notify` tell it; `all` (the default) hears of every run",
    )  # fmt: skip
    notify.add_argument(
        "--webhook", metavar="URL",
        help="where messages are sent as JSON with a field `text`; - reads it from stdin. It is "
        "kept in a block, encrypted, and nowhere else",
    )  # fmt: skip
    notify.add_argument(
        "--file", type=Path, help="file to which a worker of the deployment `note` adds a line each"
    )
    notify.add_argument("--remove", action="store_true", help="tell this name nothing any more")
    notify.add_argument(
        "--start-within", type=float, default=1, metavar="HOURS",
        help="a nightly run has to start so soon after its time (1)",
    )  # fmt: skip
    notify.add_argument(
        "--verdict-within", type=float, default=26, metavar="HOURS",
        help="so long after a nightly verdict the next has to be there (26)",
    )  # fmt: skip


def carry_out(given: argparse.Namespace, progress: Progress) -> int:
    """Carry it out and return the exit code."""
    if not _NAME.fullmatch(given.name):
        raise SpecError(
            f"{given.name!r} is no name.", remedy="Take lowercase letters, digits and dashes."
        )
    if not (given.webhook or given.file or given.remove):
        raise SpecError(
            f"Nothing is said of how {given.name} is told.",
            remedy="Give --webhook URL, --file PATH or both; or --remove.",
        )
    waits = [timedelta(hours=hours) for hours in (given.start_within, given.verdict_within)]
    if min(waits) < _SHORTEST:
        raise SpecError(f"Prefect waits {_SHORTEST.seconds} s at least for what does not come.")
    if configured_api() is None:
        raise PrefectUnreachable(
            "No Prefect server is configured, so nobody would watch the runs.",
            remedy="`make ui` starts one. Set PREFECT_API_URL to it.",
        )
    if given.remove:
        progress.say(f"{given.name}: {_remove(given.name)} automations removed")
        _remove_address(given.name)
        return 0
    from deployments.notifications import automations

    url = sys.stdin.readline().strip() if given.webhook == "-" else given.webhook
    if given.webhook:
        _require_address(url)
    # Whatever may be refused comes before the first thing goes: else nobody is told any more.
    made = automations(
        given.name,
        note=(_note(), str(given.file.absolute())) if given.file else None,
        webhook=_block(given.name, url) if url else None,
        start_within=waits[0],
        verdict_within=waits[1],
        ui=ui_address(),
    )
    _remove(given.name)
    if not url:
        _remove_address(given.name)
    for automation in made:
        automation.create()
        progress.say(f"{automation.name}: {automation.description}")
    return 0


def _require_address(url: str) -> None:
    if not re.fullmatch(r"https?://[^\s/]\S*", url):
        raise SpecError("The webhook is no URL.", remedy="It begins with http:// or https://.")


def _block(name: str, url: str) -> UUID:
    """Keep a webhook's address on the server, encrypted; return the block's id."""
    from prefect.blocks.webhook import Webhook
    from prefect.types import SecretDict
    from pydantic import SecretStr

    headers = SecretDict({"Content-Type": "application/json"})
    block = Webhook(url=SecretStr(url), headers=headers)
    return cast("UUID", block.save(_block_name(name), overwrite=True))  # no coroutine here


def _note() -> UUID:
    """Return the id of the deployment that writes lines."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            return client.read_deployment_by_name(NOTE).id
        except ObjectNotFound as error:
            raise SpecError(
                f"The deployment {NOTE} is not registered, and no one else could write the file.",
                remedy="`make deploy` registers it.",
            ) from error


def _remove(name: str) -> int:
    """Remove somebody's automations; return how many there were."""
    from prefect.client.orchestration import get_client

    from deployments.notifications import KINDS, name_of

    removed = 0
    with get_client(sync_client=True) as client:
        for kind in KINDS:
            for automation in client.read_automations_by_name(name_of(name, kind)):
                client.delete_automation(automation.id)
                removed += 1
    return removed


def _remove_address(name: str) -> None:
    """Remove the block that holds somebody's address, if there is one."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        block = client.read_block_document_by_name(_block_name(name), "webhook")
        client.delete_block_document(block.id)


def _block_name(name: str) -> str:
    return f"assay-{name}"
