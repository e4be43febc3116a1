"""How a script that makes checkpoints is asked, and answers: one JSON file in, one JSON file out.

    python -I -u SCRIPT REQUEST.json RESPONSE.json
    python -I -u SCRIPT versions

The script runs in an environment of its own and imports nothing of ours but what stands in this
folder, which imports nothing but the standard library before it is called. The request (version 1):

    {"version": 1, "model": folder, "output": folder, "safetensors": bool,
     "trust_remote_code": bool, "quantization": {…},
     "calibration": {"token_ids": [[int, …], …], "max_sequence_length": int} | null}

The response, on success (`ok` true): `quantization_config` as config.json shall hold it (null
where it shall hold none), `calibration` {blocks, tokens} that were really used (null without
conversations), `versions`, `device` (null on a CPU), `search_dtype`, `seconds`,
`peak_memory_bytes`, and `facts` where a script has some. On failure: `error` {kind, message}, exit
code 1. Lines on stdout that start with `{"event"` tell of progress; all else belongs in the log.
"""

import contextlib
import importlib.metadata
import json
import platform
import sys
import threading
import time
import traceback
from pathlib import Path

VERSION = 1
BEAT_SECONDS = 2.0
FIRST = {
    "MemoryError": "out-of-memory",
    "allocate memory": "out-of-memory",
    "ModuleNotFoundError": "package",
    "ImportError": "package",
}
"""Part of an error's name or text → kind of failure, whichever the script; looked for before its
own kinds."""

LAST = {"NotFiniteError": "not-finite", "No space left on device": "disk-full"}
"""The same, looked for after them."""


class Progress:
    """Tells each change, and every two seconds that the process lives."""

    def __init__(self):
        self.state = ("starting", 0, None, "s", time.monotonic())
        threading.Thread(target=self._beat, name="beat", daemon=True).start()

    def tell(self, phase, done=0, total=None, unit="layers"):
        """Enter a phase, or count its units."""
        self.state = (phase, done, total, unit, time.monotonic())
        self._write()

    def counting(self, phase, unit):
        """Return what hears how many of how many units of a phase are done."""
        return lambda done, total: self.tell(phase, done, total, unit)

    def _write(self):
        phase, done, total, unit, since = self.state
        if total is None:
            done, unit = int(time.monotonic() - since), "s"
        event = {"event": "progress", "phase": phase, "done": done, "total": total, "unit": unit}
        # One write, so that the two threads cannot mix their lines.
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

    def _beat(self):
        while True:
            time.sleep(BEAT_SECONDS)
            self._write()


def versions(packages):
    """Return the versions that decide the result; none for a package that is missing."""
    found = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def kind_of(error, kinds):
    """Name the kind of a failure that the caller can say more about."""
    text = f"{type(error).__name__}: {error}"
    table = {**FIRST, **kinds, **LAST}
    return next((kind for part, kind in table.items() if part in text), "other")


def answer(path, response):
    """Write the response so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(response, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def main(make, *, packages, kinds):
    """Do what the command line says; return the exit code.

    Args:
        make: Takes the request and a `Progress`; returns what the response says of the result.
        packages: Those that decide the result.
        kinds: Part of an error's name or text → kind of failure, where the script has its own.
    """
    arguments = sys.argv[1:]
    if arguments == ["versions"]:
        print(json.dumps(versions(packages)))
        return 0
    request_path, response_path = (Path(argument) for argument in arguments)
    try:
        request = json.loads(request_path.read_text(encoding="utf-8"))
        if request.get("version") != VERSION:
            raise ValueError(f"request has version {request.get('version')}, known is {VERSION}")
        started = time.monotonic()
        made = make(request, Progress())
        made["versions"] = versions(packages) | made.get("versions", {})
        made["seconds"] = round(time.monotonic() - started, 2)
    except Exception as error:
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        failure = {"kind": kind_of(error, kinds), "message": message}
        answer(response_path, {"version": VERSION, "ok": False, "error": failure})
        return 1
    answer(response_path, {"version": VERSION, "ok": True, **made})
    return 0
