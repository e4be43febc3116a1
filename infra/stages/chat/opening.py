"""The page's process: what it is given, and until when it is waited for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from infra.contracts.capability import Capability
from infra.contracts.errors import ProcessError
from infra.engines.endpoint import ServedEndpoint
from infra.machine.processes import Child, clean_environment, describe_exit, start, tail
from infra.models.chat_template import text_for_tools
from infra.report.changed import changed
from infra.stages.chat.choosing import SIDES, Chosen
from infra.stages.chat.lost_rows import lost_rows
from infra.store.content import write_atomically

PROGRAM = "chat"
"""What its environment is called."""

_SCRIPT = Path(__file__).with_name("program") / "page.py"
_PAGE_SECONDS = 120.0
_POLL_SECONDS = 0.5


def document_of(
    chosen: Chosen,
    servers: Mapping[str, ServedEndpoint],
    blind: bool,
    port: int,
    desk: str,
) -> dict[str, object]:
    """Return all that the page has to know; no key is in it."""
    rows, none_because = lost_rows(chosen)
    templates = [text_for_tools(chosen.checkpoint(name).path) for name in chosen.names]
    return {
        "run": chosen.pair.report.run_id,
        "model": chosen.pair.spec.baseline.model.id,
        "candidate": chosen.pair.name,
        "change": changed(chosen.pair),
        "arms": {
            side: {
                "url": server.base_url,
                "model": server.model,
                "chat": Capability.CHAT in server.can,
                "window": server.window,
            }
            for side, server in zip(SIDES, servers.values(), strict=True)
        },
        "variables": chosen.pair.spec.evaluation.chat_template_kwargs,
        "thinks": any("enable_thinking" in text for text in templates),
        "blind": blind,
        "port": port,
        "desk": desk,
        "lost_rows": rows,
        "no_lost_rows": none_because,
    }


def keys_of(servers: Mapping[str, ServedEndpoint], desk: str) -> dict[str, str]:
    """Return the variables that hold the keys of both engines and of the desk."""
    keys = [server.headers["Authorization"].partition(" ")[2] for server in servers.values()]
    named = zip((*SIDES, "desk"), (*keys, desk), strict=True)
    return {f"ASSAY_CHAT_{name.upper()}_KEY": key for name, key in named}


@contextmanager
def started(
    python: Path, document: Mapping[str, object], keys: Mapping[str, str], folder: Path
) -> Iterator[Child]:
    """Run the page while the block runs.

    Args:
        python: Interpreter with Gradio.
        document: See `document_of`.
        keys: See `keys_of`: everybody on the machine can read a command line.
        folder: For its request, its log and its files.
    """
    request = folder / "page.json"
    write_atomically(request, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    env = clean_environment(
        {
            **keys,
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": str(folder / "page"),
            "HF_HUB_OFFLINE": "1",
            "DO_NOT_TRACK": "1",
            # Gradio looks for itself over HTTP when it starts, and the engines are here.
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
    )
    command = [str(python), "-I", "-u", str(_SCRIPT), str(request)]
    with start(command, log=folder / "page.log", env=env) as page:
        yield page


def wait_until_open(page: Child, port: int) -> str:
    """Wait until the page can be opened, and return its address."""
    url = f"http://127.0.0.1:{port}/"
    deadline = time.monotonic() + _PAGE_SECONDS
    with httpx.Client(trust_env=False, timeout=_PAGE_SECONDS) as client:
        while time.monotonic() < deadline:
            if (code := page.wait(_POLL_SECONDS)) is not None:
                raise ended(page, code)
            try:
                if client.get(url).is_success:
                    return url
            except httpx.TransportError:
                continue
    raise ProcessError(
        f"The page did not open within {_PAGE_SECONDS:.0f} seconds.",
        cause=f"Its last lines:\n{tail(page.log)}",
        remedy=f"Look at its log, {page.log}.",
    )


def ended(page: Child, code: int) -> ProcessError:
    """Return the error for a page that ended by itself."""
    return ProcessError(
        f"The page ended by itself: {describe_exit(code)}.",
        cause=f"Its last lines:\n{tail(page.log)}",
        remedy=f"Start it again; its log is {page.log}.",
    )
