"""What the engine's log tells: the stage it is in, the kernel and data type it chose."""

from __future__ import annotations

import re
from pathlib import Path

from infra.machine.log_lines import strip_ansi, tail

_STAGES = (
    ("non-default args", "reading the model's configuration"),
    ("Resolved architecture", "starting the engine"),
    ("Starting to load model", "loading weights"),
    ("Loading weights took", "preparing weights and key-value cache"),
    ("for vLLM's torch.compile", "compiling"),
    ("KV cache size", "warming up"),
    ("Starting vLLM server", "asking for a first answer"),
)
"""What a line of the log says that the engine is doing from then on."""
_BAR = re.compile(r"(?:\(.*?pid=\d+\) )?((?:Loading|Capturing)\b.*\d%.*)")
_KERNEL = re.compile(r"\b(?:Using|Selected) (\w+Kernel) for \w")
_ERROR = re.compile(
    r"(?:ERROR [^]]*\] |^)(?:[a-z_]\w*\.)*(\w+(?:Error|Exception): .+(?:\n  Value error, .+)?)"
    r"|^\S+: error: (.+)",
    re.MULTILINE,
)
_DTYPE = re.compile(r"\bdtype=torch\.(\w+)")
_WEIGHTS = re.compile(r"\bModel loading took ([\d.]+) GiB\b")
_ROOM = re.compile(r"\bKV cache size: ([\d,]+) tokens\b")
_UP = "Application startup complete."
_HEAD = re.compile(
    r"(?:\([^)]*pid=\d+\) ?)?(?:(DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:]+ \[[^]]*\] ?)?"
)
"""What the engine puts before a line: the process, and for its own lines level, time and place."""
_NEWS = ("DEBUG", "INFO", "WARNING")
_FRAME = re.compile(r' *File ".*", line \d+')


def stage(log: Path) -> str:
    """Return what the engine is doing, in a few words."""
    for line in reversed(tail(log, 200).splitlines()):
        if bar := _BAR.match(line):
            return bar[1]
        for mark, doing in _STAGES:
            if mark in line:
                return doing
    return "loading vLLM"


def kernel(text: str) -> str | None:
    """Return the linear kernels that the log names for quantized layers, none for plain ones."""
    return ", ".join(dict.fromkeys(_KERNEL.findall(text))) or None


def first_error(log: Path) -> str:
    """Return the exception that the engine died of first: later ones are its consequences."""
    found = _ERROR.search(strip_ansi(log.read_text(encoding="utf-8", errors="replace")))
    return " ".join((found[1] or found[2]).split()) if found else ""


def failure(text: str) -> str:
    """Return what the engine says of its failure: no news, no warnings, no frames of stack traces.

    Once it had come up, nothing it said before can be why it ended.
    """
    kept = []
    frame: int | None = None
    for line in strip_ansi(text).rpartition(_UP)[2].splitlines():
        head = _HEAD.match(line)
        body = line[head.end() :] if head else line
        depth = len(body) - len(body.lstrip())
        if head and head[1] in _NEWS:
            continue
        if _FRAME.match(body) or body.startswith("usage: "):
            frame = depth
        elif frame is None or (body.strip() and depth <= frame):
            frame = None
            kept.append(body)
    return "\n".join(kept)


def dtype(text: str) -> str | None:
    """Return the data type of activations that the log names."""
    found = _DTYPE.search(text)
    return found[1] if found else None


def weights_bytes(text: str) -> int | None:
    """Return what the weights take on one accelerator; none on a processor, where nobody says it.

    Engines with several workers tell it once or for each of them: the largest counts.
    """
    found = max((round(float(size) * 2**30) for size in _WEIGHTS.findall(text)), default=None)
    return found or None  # it says two digits of GiB: 0.00 is little, and not nothing


def kv_cache_tokens(text: str) -> int | None:
    """Return for how many tokens there is room in all accelerators' key-value caches together.

    Engines that run side by side (data parallel) each have their own, of the same size or nearly
    so: the least counts, because a request stays with one of them.
    """
    return min((int(count.replace(",", "")) for count in _ROOM.findall(text)), default=None)
