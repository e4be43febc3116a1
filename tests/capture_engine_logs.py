"""Make the real vLLM fail in every way of the table, and keep what it printed.

    python -m tests.capture_engine_logs [NAME …]

Writes `tests/infra/engine_logs/<name>.log`: the exit code, then the log, word for word. Left out
are all but the innermost frames of stack traces, the engine's listing of its arguments and of its
whole configuration; paths of this machine are replaced. Needs root, for mounts of its own.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from infra.machine import ports
from infra.machine.device import detect
from infra.machine.environments import locate
from infra.machine.log_lines import strip_ansi
from infra.store.settings import Settings
from tests.engine_failures import CASES, ON_CUDA
from tests.failing_engine import SAMPLE, Stage

LOGS = Path(__file__).parent / "infra" / "engine_logs"
_FRAMES = 6
_HEAD = re.compile(r"(?:\([^)]*pid=\d+\) ?)?(?:[A-Z]+ [\d-]+ [\d:]+ \[[^]]*\] ?)?")
_FRAME = re.compile(r' *File ".*", line \d+')
_NOISE = re.compile(
    r"[█▀▄]|Initializing a V1 LLM engine|dump_input.py|nanobind|^ - (leaked|\.\.\.)"
)
_PYTHON = re.compile(r"/[\w/.-]+(?=/lib/python3\.\d+/(?!site-packages))")


def trimmed(text: str, python: Path) -> str:
    """Return a log as it is kept.

    Args:
        text: All that the engine printed.
        python: Its interpreter.
    """
    text = text.replace(str(SAMPLE), "/models/sample")
    text = text.replace(str(python.parents[1]), "/envs/server")
    text = re.sub(rf"{tempfile.gettempdir()}/tmp\w+/models", "/models", text)
    text = _PYTHON.sub("/python", text)
    kept: list[str] = []
    frames: list[str] = []
    depth: int | None = None
    for line in text.splitlines():
        head = _HEAD.match(line)
        body = line[head.end() :] if head else line
        indent = len(body) - len(body.lstrip())
        if _FRAME.match(body):
            frames.append(line)
            depth = indent
        elif body.startswith("usage: "):
            depth = 0
        elif depth is None or (body.strip() and indent <= depth):
            kept += [*frames[-_FRAMES:], line]
            frames, depth = [], None
    return "\n".join(line for line in kept if line.strip() and not _NOISE.search(line)) + "\n"


def main(names: Sequence[str]) -> None:
    """Capture the named logs, or all that a processor can show; `cuda` names all that a GPU can."""
    kind = detect("auto").kind
    environment, _ = locate("vllm", kind, Settings())
    for name in ON_CUDA if list(names) == ["cuda"] else names or CASES:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            models, log = Path(folder) / "models", Path(folder) / "log"
            models.mkdir()
            stage = Stage(models, environment.python, log, ports.find_free())
            try:
                code = (CASES | ON_CUDA)[name](stage)
            except SystemExit as living:
                print(f"{name}: {living}", flush=True)
                continue
            text = strip_ansi(log.read_text(encoding="utf-8", errors="replace"))
        kept = f"exit code {code}\n{trimmed(text, stage.python)}"
        (LOGS / f"{name}.log").write_text(kept, encoding="utf-8")
        print(f"{name}: exit code {code} after {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
