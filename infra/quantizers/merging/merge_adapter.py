"""Add a LoRA adapter to a model's weights with peft: one JSON file in, one JSON file out.

    python -I -u merge_adapter.py REQUEST.json RESPONSE.json
    python -I -u merge_adapter.py versions

Runs in the quantizers' environment and imports nothing of ours. The request (version 1):

    {"version": 1, "model": folder, "output": folder, "safetensors": bool,
     "trust_remote_code": bool, "quantization": {"folder": of the adapter, "dtype": of the result},
     "calibration": null}

The response, on success (`ok` true): `quantization_config` null, `calibration` null, `versions`,
`device` null, `search_dtype`, `seconds`, `peak_memory_bytes`. On failure: `error` {kind, message},
exit code 1. Lines on stdout that start with `{"event"` tell of progress; all else belongs in the
log.

The sum is taken on the processor and in float32, whatever the model's own type, and rounded once.
Only weights are written.
"""

import contextlib
import importlib.metadata
import json
import platform
import resource
import sys
import threading
import time
import traceback
from pathlib import Path

VERSION = 1
PACKAGES = ("torch", "transformers", "peft")
BEAT_SECONDS = 2.0
KINDS = {
    "MemoryError": "out-of-memory",
    "allocate memory": "out-of-memory",
    "ModuleNotFoundError": "package",
    "ImportError": "package",
    "does not recognize this architecture": "architecture",
    "trust_remote_code": "remote-code",
    "NotFiniteError": "not-finite",
    "size mismatch": "other-model",
    "not found in the base model": "other-model",
    "No space left on device": "disk-full",
}
"""Part of an error's name or text → kind of failure."""


class NotFiniteError(Exception):
    """A tensor of the result is infinite or not a number."""


class Progress:
    """Tells each change, and every two seconds that the process lives."""

    def __init__(self):
        self.state = ("starting", time.monotonic())
        threading.Thread(target=self._beat, name="beat", daemon=True).start()

    def tell(self, phase):
        """Enter a phase."""
        self.state = (phase, time.monotonic())
        self._write()

    def _write(self):
        phase, since = self.state
        event = {"event": "progress", "phase": phase, "done": int(time.monotonic() - since),
                 "total": None, "unit": "s"}  # fmt: skip
        # One write, so that the two threads cannot mix their lines.
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

    def _beat(self):
        while True:
            time.sleep(BEAT_SECONDS)
            self._write()


def versions():
    """Return the versions that decide the result; none for a package that is missing."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def settle(file):
    """Write the metadata of a safetensors file in the order of its names.

    The library writes it in an order of chance: the same tensors would be another file each time.
    """
    with file.open("r+b") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        metadata = header.get("__metadata__", {})
        settled = header | {"__metadata__": dict(sorted(metadata.items()))}
        text = json.dumps(settled, separators=(",", ":"), ensure_ascii=False).encode()
        if metadata and len(text) <= length:
            stream.seek(8)
            stream.write(text.ljust(length))


def merge(request, progress):
    """Load, add, save; return the response."""
    started = time.monotonic()
    progress.tell("importing peft")
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    progress.tell("loading the model")
    model = AutoModelForCausalLM.from_pretrained(
        request["model"],
        torch_dtype=torch.float32,
        trust_remote_code=request["trust_remote_code"],
        use_safetensors=request["safetensors"],
        local_files_only=True,
    )
    progress.tell("adding the adapter")
    adapted = PeftModel.from_pretrained(
        model, request["quantization"]["folder"], torch_device="cpu", local_files_only=True
    )
    merged = adapted.merge_and_unload(progressbar=False, safe_merge=True)
    merged = merged.to(getattr(torch, request["quantization"]["dtype"]))
    for name, tensor in merged.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NotFiniteError(f"{name} holds values that its type cannot hold")
    progress.tell("saving")
    output = Path(request["output"])
    merged.save_pretrained(output)
    for file in output.iterdir():
        if file.name == ".request.json":
            continue
        if file.suffix == ".safetensors":
            settle(file)
            file.chmod(0o644)
        elif not file.name.endswith(".safetensors.index.json"):
            file.unlink()
    (output / "config.json").write_text(
        (Path(request["model"]) / "config.json").read_text(encoding="utf-8"), encoding="utf-8"
    )
    return {
        "version": VERSION,
        "ok": True,
        "quantization_config": None,
        "calibration": None,
        "versions": versions(),
        "device": None,
        "search_dtype": "float32",
        "seconds": round(time.monotonic() - started, 2),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def kind_of(error):
    """Name the kind of a failure that the caller can say more about."""
    text = f"{type(error).__name__}: {error}"
    return next((kind for part, kind in KINDS.items() if part in text), "other")


def answer(path, response):
    """Write the response so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(response, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def main(arguments):
    """Do what the request asks; return the exit code."""
    if arguments == ["versions"]:
        print(json.dumps(versions()))
        return 0
    request_path, response_path = (Path(argument) for argument in arguments)
    try:
        request = json.loads(request_path.read_text(encoding="utf-8"))
        if request.get("version") != VERSION:
            raise ValueError(f"request has version {request.get('version')}, known is {VERSION}")
        response = merge(request, Progress())
    except Exception as error:
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        failure = {"kind": kind_of(error), "message": message}
        answer(response_path, {"version": VERSION, "ok": False, "error": failure})
        return 1
    answer(response_path, response)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
