"""A real vLLM that is started as Assay does it and has to fail."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from infra.contracts.specs import ServingSpec
from infra.engines.vllm.command import build_command, engine_environment, inherited
from infra.machine.device import detect

SAMPLE = Path(__file__).parents[1] / "infra" / "sample" / "model"
UP = "Application startup complete"
_LIMIT_SECONDS = 240
_AFTERWARDS_SECONDS = 30
_FREE_MEMORY_BYTES = 8 * 2**30
_TOOLS = ("sh", "lscpu", "uname")

Engine = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Stage:
    """Where one failure is provoked."""

    folder: Path
    """For models; empty."""

    python: Path
    """Interpreter with vLLM."""

    log: Path
    port: int

    def sample(self, **config: Any) -> Path:
        """Return a copy of the sample model with other fields in its config.json."""
        model = self.folder / "sample"
        shutil.copytree(SAMPLE, model)
        if config:
            path = model / "config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | config))
        return model

    def without(self, missing: str) -> list[str]:
        """Return a prefix that starts a program where a part of its packages is gone."""
        packages = next(self.python.parents[1].glob("lib/python3*/site-packages"))
        hidden, empty = packages / missing, self.folder / "empty"
        if hidden.is_dir():
            empty.mkdir()
        else:
            empty.touch()
        return self.where(f"mount --bind {empty} {hidden}")

    def where(self, preparation: str) -> list[str]:
        """Return a prefix that starts a program with mounts of its own, made by a shell script."""
        return ["unshare", "-m", "sh", "-c", f'{preparation} && exec "$@"', "sh"]

    def serve(
        self,
        model: Path = SAMPLE,
        *,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        compiled: bool = False,
        own_worker: bool = False,
        meanwhile: Callable[[Engine, Stage], None] = lambda engine, stage: None,
        **spec: Any,
    ) -> int:
        """Start the engine and return its exit code once it has failed.

        Args:
            model: Folder of the model.
            env: Further variables.
            prefix: Program and arguments to start it with.
            compiled: Have it compile the model, which it does on accelerators alone otherwise.
            own_worker: Let the one who computes have a process of its own, as it has on machines
                with more than two cores.
            meanwhile: Does something to the engine while it runs.
            spec: Fields of the serving spec.
        """
        device = detect("cuda" if spec.get("device") == "cuda" else "cpu")
        command = build_command(
            python=self.python, model=model, served_name="sample", port=self.port,
            spec=ServingSpec(**spec), device=device, concurrency=4,
            free_memory_bytes=_FREE_MEMORY_BYTES, cores=2,
        )  # fmt: skip
        baseline = inherited()
        baseline |= engine_environment(device, "unused", cores=2, given=baseline)
        baseline["VLLM_ENABLE_V1_MULTIPROCESSING"] = str(int(own_worker))
        if compiled:
            command = tuple(word for word in command if word != "--enforce-eager")
            baseline["TORCHDYNAMO_DISABLE"] = "0"
        with self.log.open("wb") as output:
            engine = subprocess.Popen(
                [*prefix, *command],
                env=baseline | dict(env or {}), stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            meanwhile(engine, self)
            code = self._await_failure(engine)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(engine.pid, signal.SIGKILL)
            engine.wait()
        return 128 - code if code < 0 else code

    def _await_failure(self, engine: Engine) -> int:
        if self.wait_for(UP, engine):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return engine.wait(_AFTERWARDS_SECONDS)
        elif (code := engine.poll()) is not None:
            return code
        raise SystemExit(f"The engine did not fail; see\n{self.log.read_text()[-2000:]}")

    def wait_for(self, text: str, engine: Engine) -> bool:
        """Wait until the engine has printed a text; tell whether it has."""
        deadline = time.monotonic() + _LIMIT_SECONDS
        while engine.poll() is None and time.monotonic() < deadline:
            if text in self.log.read_text(encoding="utf-8", errors="replace"):
                return True
            time.sleep(0.05)
        return False


def tools_of_engines(folder: Path) -> str:
    """Make a folder of all programs that the engine calls on a processor, no compiler among them.

    Returns:
        The folder, as PATH.
    """
    tools = folder / "tools"
    tools.mkdir()
    for name in _TOOLS:
        (tools / name).symlink_to(str(shutil.which(name)))
    return str(tools)


def kill_when(text: str, *, inner: bool) -> Callable[[Engine, Stage], None]:
    """Return what kills the engine, or its inner process alone, once it has printed a text."""

    def kill(engine: Engine, stage: Stage) -> None:
        if not stage.wait_for(text, engine):
            return
        if not inner:
            engine.kill()
        for child in psutil.Process(engine.pid).children() if inner else ():
            with contextlib.suppress(psutil.Error):
                if "EngineCore" in "".join(child.cmdline()):
                    child.kill()

    return kill
