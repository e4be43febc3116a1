"""Quantize one model with AutoAWQ: one JSON file in, one JSON file out.

    python -I -u quantize_awq.py REQUEST.json RESPONSE.json
    python -I -u quantize_awq.py versions

Runs in the quantizer's environment and imports nothing of ours. The request (version 1):

    {"version": 1, "model": folder, "output": folder, "safetensors": bool,
     "trust_remote_code": bool,
     "quantization": {"w_bit", "q_group_size", "zero_point", "version"},
     "calibration": {"token_ids": [[int, …], …], "max_sequence_length": int}}

The response, on success (`ok` true): `quantization_config` as transformers spells it,
`calibration` {blocks, tokens} that AutoAWQ really used, `versions`, `device` (null on a CPU),
`search_dtype`, `seconds`, `peak_memory_bytes`. On failure: `error` {kind, message}, exit code 1.
Lines on stdout that start with `{"event"` tell of progress; all else belongs in the log.

AWQ's search runs in float16 on a GPU and in float32 on a CPU, where float16 is 16 times slower;
packing and the saved tensors are float16 either way. Only weights and config.json are written.
"""

import contextlib
import ctypes
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
PACKAGES = ("torch", "transformers", "autoawq")
BEAT_SECONDS = 2.0
KINDS = {
    "OutOfMemoryError": "out-of-memory",
    "MemoryError": "out-of-memory",
    "allocate memory": "out-of-memory",
    "out of memory": "out-of-memory",
    "ModuleNotFoundError": "package",
    "ImportError": "package",
    "isn't supported yet": "architecture",
    "does not recognize this architecture": "architecture",
    "multiple of group_size": "group-size",
    "trust_remote_code": "remote-code",
    "NotFiniteError": "not-finite",
    "No space left on device": "disk-full",
}
"""Part of an error's name or text → kind of failure."""


class NotFiniteError(Exception):
    """A tensor of the result is infinite or not a number."""


class Progress:
    """Tells each change, and every two seconds that the process lives."""

    def __init__(self):
        self.state = ("starting", 0, None, time.monotonic())
        threading.Thread(target=self._beat, name="beat", daemon=True).start()

    def tell(self, phase, done=0, total=None):
        """Enter a phase, or count its layers."""
        self.state = (phase, done, total, time.monotonic())
        self._write()

    def _write(self):
        phase, done, total, since = self.state
        if total is None:
            done = int(time.monotonic() - since)
        event = {"event": "progress", "phase": phase, "done": done, "total": total,
                 "unit": "s" if total is None else "layers"}  # fmt: skip
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


def keep_memory():
    """Let the allocator keep what it has.

    The search allocates and frees the same 100 MB temporaries again and again. By default each
    comes fresh from the kernel, and on a CPU clearing its pages takes most of the time.
    """
    m_trim_threshold, m_mmap_max = -1, -4
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, -1)


def rope(config):
    """Translate what transformers 5 writes as `rope_parameters`; 4.51 would not see it."""
    parameters = config.get("rope_parameters")
    if "rope_theta" in config or not isinstance(parameters, dict):
        return {}
    scaling = {key: value for key, value in parameters.items() if key != "rope_theta"}
    if scaling.get("rope_type", "default") == "default":
        scaling = None
    return {"rope_theta": parameters["rope_theta"], "rope_scaling": scaling}


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


def quantize(request, progress):
    """Load, quantize, save; return the response."""
    started = time.monotonic()
    progress.tell("importing AutoAWQ")
    import torch
    from awq import AutoAWQForCausalLM
    from awq.quantize.quantizer import AwqQuantizer

    class TellingQuantizer(AwqQuantizer):
        """AutoAWQ's own, telling at the start of each layer which one it is."""

        layers_done = 0

        def _get_input_feat(self, layer, named_linears):
            progress.tell("quantizing", self.layers_done, len(self.modules))
            self.layers_done += 1
            return super()._get_input_feat(layer, named_linears)

    cuda = torch.cuda.is_available()
    if not cuda:
        keep_memory()
    search_dtype = torch.float16 if cuda else torch.float32
    progress.tell("loading the model")
    config = json.loads((Path(request["model"]) / "config.json").read_text(encoding="utf-8"))
    # No device map: AutoAWQ moves one layer at a time to the accelerator, so that models larger
    # than its memory can be quantized.
    model = AutoAWQForCausalLM.from_pretrained(
        request["model"],
        torch_dtype=search_dtype,
        trust_remote_code=request["trust_remote_code"],
        safetensors=request["safetensors"],
        local_files_only=True,
        **rope(config),
    )
    token_ids = request["calibration"]["token_ids"]
    # Token ids, not texts: AutoAWQ would strip the texts and add special tokens a second time.
    model.quantize(
        quant_config=request["quantization"],
        calib_data=token_ids,
        max_calib_samples=len(token_ids),
        max_calib_seq_len=request["calibration"]["max_sequence_length"],
        quantizer_cls=TellingQuantizer,
    )
    inputs = model.quantizer.inps
    progress.tell("saving")
    model.model.half()
    model.model.config.torch_dtype = torch.float16
    for name, tensor in model.model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NotFiniteError(f"{name} holds values that float16 cannot hold")
    model.save_quantized(request["output"], safetensors=True)
    for file in Path(request["output"]).glob("*.safetensors"):
        settle(file)
    if cuda:
        devices = range(torch.cuda.device_count())
        peak = max(torch.cuda.max_memory_allocated(device) for device in devices)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "version": VERSION,
        "ok": True,
        "quantization_config": model.quant_config.to_transformers_dict(),
        "calibration": {"blocks": inputs.shape[0], "tokens": inputs.shape[0] * inputs.shape[1]},
        "versions": versions(),
        "device": torch.cuda.get_device_name(0) if cuda else None,
        "search_dtype": str(search_dtype).removeprefix("torch."),
        "seconds": round(time.monotonic() - started, 2),
        "peak_memory_bytes": peak,
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
        response = quantize(request, Progress())
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
