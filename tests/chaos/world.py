"""One machine as a run sees it: cache, runs, locks, Prefect; and what is seen of it from outside.

Every process of a run inherits the world's own mark, whatever session or parent it has: that is how
it is found, and it is none of the marks that the code under test uses.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from infra.contracts.errors import AcceleratorsTaken
from infra.engines.load import Load
from infra.engines.load import ask as ask_load
from infra.engines.vllm import loaded
from infra.engines.vllm.metrics import NAMES
from infra.machine.accelerators import allowed, take
from infra.machine.device import detect
from infra.machine.lease_records import LeaseRecord
from infra.store.settings import Settings
from tests.chaos.checkpoints import Checkpoints
from tests.chaos.subjects import VLLM, Device, Subject
from tests.prefect_server import ROOT, Prefect
from tests.process_marks import INHERITED, lives

CONCURRENCY = 4
_LOADING_BYTES = 400 * 2**20
"""More than anything takes that an engine starts beside its child."""
_IMPORTING_BYTES = 100 * 2**20
"""More than a Python takes that has yet to import an engine."""


@dataclass
class Engine:
    """The processes of one engine or quantizer that runs, as its lease names them."""

    driver: psutil.Process
    supervisor: psutil.Process
    api: psutil.Process
    """What the supervisor started: a server, or the script of a quantizer."""

    core: psutil.Process
    """Its engine child, where it has one; what has yet to start it before that."""

    @property
    def tree(self) -> list[psutil.Process]:
        return [self.supervisor, *self.supervisor.children(recursive=True)]


@dataclass
class World:
    """A cache, runs, locks and a Prefect server of one case's own."""

    folder: Path
    prefect: Prefect | None
    """None where runs are not recorded."""

    subject: Subject = VLLM
    concurrency: int = CONCURRENCY
    """Questions in flight at a time."""

    device: Device = "cpu"
    """What engines and quantizers compute on, as far as they can."""

    engine_child: bool = True
    """Some cases kill it; a machine of two cores starts faster without."""

    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    known: set[int] = field(default_factory=set)
    """Ids of all processes of this world that were ever seen."""

    def __post_init__(self) -> None:
        for path in (self.temporary, self.runs, self.cache):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def leases(self) -> Path:
        return self.folder / "leases"

    @property
    def env(self) -> dict[str, str]:
        return {
            **(self.prefect.env if self.prefect else os.environ),
            "ASSAY_CACHE": str(self.cache),
            "ASSAY_RUNS": str(self.runs),
            "ASSAY_LEASES": str(self.leases),
            "TMPDIR": str(self.temporary),
            INHERITED: str(self.folder),
            "VLLM_ENABLE_V1_MULTIPROCESSING": str(int(self.engine_child)),
            "PREFECT_CLIENT_MAX_RETRIES": "2",
        }

    @property
    def spec(self) -> dict[str, Any]:
        spec = self.subject.spec(self.device)
        return {
            **spec,
            "evaluation": {**spec["evaluation"], "concurrency": self.concurrency},
            "results": {"label": "chaos"},
        }

    # --- what happens -------------------------------------------------------------------------

    def fill(self, template: Path) -> None:
        """Begin with what earlier runs have paid for."""
        shutil.rmtree(self.cache)
        shutil.copytree(template, self.cache, symlinks=True)

    def run(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start the recipe as a user does; its output is `<name>.log`."""
        spec = self.folder / "spec.json"
        spec.write_text(json.dumps(self.spec))
        return self.start(name, sys.executable, "-m", "deployments", "run", str(spec), *options)

    def deploy(self) -> str:
        """Ask for a run through the Prefect API, and return its id."""
        assert self.prefect
        said = self.prefect.call(
            "deployment", "run", "evaluate-candidates/candidates",
            *(
                word
                for key, value in self.spec.items()
                for word in ("--param", f"{key}={json.dumps(value)}")
            ),
        )  # fmt: skip
        found = re.search(r"UUID: ([0-9a-f-]{36})", said)
        assert found, said
        return found[1]

    def work(self) -> subprocess.Popen[bytes]:
        """Start a worker."""
        command = [str(ROOT / ".venv/bin/prefect"), "worker", "start", "--pool", "assay"]
        return self.start("worker", *command)

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a program of this world; its output is `<name>.log`."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def output(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def end_all(self) -> None:
        """End what a case left, so that the next one begins with nothing."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        for popen in self.started:
            popen.wait()

    # --- what is seen -------------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """Every living process of this world."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(INHERITED) == str(self.folder) and lives(process):
                    found.append(process)
        self.known.update(process.pid for process in found)
        return found

    def engine(self) -> Engine | None:
        """The engine that runs now, once all of its processes are there."""
        for record in self.records():
            if record.supervisor is None:
                continue
            with contextlib.suppress(psutil.Error, ValueError):
                supervisor = psutil.Process(record.supervisor.pid)
                (api,) = supervisor.children()
                core = api
                if self.engine_child and self.subject.engine_child:
                    children = api.children()
                    core = max(children, key=lambda child: child.memory_info().rss, default=api)
                return Engine(psutil.Process(record.driver.pid), supervisor, api, core)
        return None

    def loads_ahead(self) -> psutil.Process | None:
        """What loads the first engine while the run is looked at; its accelerator comes later."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if (
                    process.cmdline()[3:4] == [loaded.__file__]
                    and process.memory_info().rss > _IMPORTING_BYTES
                    and not self.records()
                ):
                    return process
        return None

    def loading(self) -> bool:
        """Whether an engine is past the start of its processes, and may hold memory."""
        engine = self.engine()
        with contextlib.suppress(psutil.Error):
            return engine is not None and (
                engine.core != engine.api and engine.core.memory_info().rss > _LOADING_BYTES
            )
        return False

    def timing(self) -> bool:
        """Whether an engine has requests of its timing to answer."""
        if not any(self.runs.glob("*/bench/*/request.json")):
            return False
        load = self._load()
        if load is None or not load.running + load.waiting:
            return False
        # The questions that an engine is verified by are none of these.
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if any(word.endswith("bench_serve.py") for word in process.cmdline()):
                    return True
        return False

    def records(self) -> list[LeaseRecord]:
        found = []
        for path in self.leases.glob("*.json"):
            with contextlib.suppress(OSError, ValueError):
                found.append(LeaseRecord.model_validate_json(path.read_text()))
        return found

    def folders(self) -> list[Path]:
        """The temporary folders of what runs now, or did, and sockets that lie in none."""
        lie = self.temporary.iterdir()
        return [path for path in lie if path.name.startswith("assay-") or path.is_socket()]

    def port(self) -> int | None:
        """The port that the engine was given to listen on."""
        # Not the process's own words: what loaded ahead was told the port later.
        for record in self.records():
            if found := re.search(r"--port (\d+)", " ".join(record.command)):
                return int(found[1])
        return None

    def phases(self) -> set[str]:
        """What the quantizer that runs now was heard to do so far."""
        heard = set()
        for record in self.records():
            with contextlib.suppress(OSError):
                for line in Path(record.log).read_text(errors="replace").splitlines():
                    with contextlib.suppress(ValueError):  # a line that is half written
                        if line.startswith('{"event"'):
                            heard.add(str(json.loads(line)["phase"]))
        return heard

    def in_flight(self) -> int:
        """Questions that the engine has and has not answered."""
        load = self._load()
        return int(load.running + load.waiting) if load else self.concurrency

    def _load(self) -> Load | None:
        if (port := self.port()) is None:
            return None
        return ask_load(f"http://127.0.0.1:{port}", {}, [NAMES])

    @property
    def answers(self) -> Answers:
        return Answers(self.cache / "answers")

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.cache / "checkpoints")

    def state(self, flow_run: str) -> str:
        """The state that Prefect records for a flow run."""
        assert self.prefect
        found = self.prefect.read("flow_runs/filter", flow_runs={"id": {"any_": [flow_run]}})
        return str(found[0]["state_type"])

    def slots_free(self) -> bool:
        """Whether nobody holds an accelerator of the device, nor the processor."""
        nothing: Callable[..., None] = lambda *_: None  # noqa: E731
        kinds: set[Device] = {"cpu", self.device}
        slots = [slot for kind in kinds for slot in allowed(detect(kind), None) or ()]
        assert slots
        try:
            with take(
                slots, len(slots), folder=self.leases, wait_seconds=0,
                prepare=nothing, on_wait=nothing, holders=str,
            ):  # fmt: skip
                return True
        except AcceleratorsTaken:
            return False

    def flaws(self) -> list[str]:
        """What is half-written among the things that have to be whole."""
        wrong = self.checkpoints.flaws()
        for entry in Settings(cache=self.cache).scores.glob("[!.]*"):
            try:
                json.loads((entry / "scores.json").read_text())
            except (OSError, ValueError) as error:
                wrong.append(f"{entry.name}: {error}")
        for path in self.runs.rglob("[!.]*.json"):
            try:
                json.loads(path.read_text())
            except ValueError as error:
                wrong.append(f"{path.name}: {error}")
        return wrong


class Answers:
    """The file of answers of the arm that is evaluated, and how often each was paid for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def count(self) -> int:
        """Answers that are kept. From the first call on every write is counted."""
        with self._file() as file:
            if file is None:
                return 0
            with contextlib.suppress(sqlite3.OperationalError):  # it counts already
                file.executescript(
                    "BEGIN; CREATE TABLE writes (key BLOB);"
                    "INSERT INTO writes SELECT key FROM answers;"
                    "CREATE TRIGGER counted AFTER INSERT ON answers"
                    " BEGIN INSERT INTO writes VALUES (new.key); END; COMMIT"
                )
            with contextlib.suppress(sqlite3.OperationalError):  # it is only just being made
                return int(file.execute("SELECT count(*) FROM answers").fetchone()[0])
            return 0

    def paid_twice(self) -> int:
        """Answers that were kept and asked for all the same."""
        with self._file() as file:
            assert file is not None
            if not file.execute("SELECT 1 FROM sqlite_schema WHERE name = 'writes'").fetchone():
                return 0  # the run that was hurt had come to no answer
            keys = Counter(key for (key,) in file.execute("SELECT key FROM writes"))
            return keys.total() - len(keys)

    @contextlib.contextmanager
    def _file(self) -> Iterator[sqlite3.Connection | None]:
        paths = list(self._folder.glob("*.sqlite"))
        assert len(paths) <= 1, paths
        if not paths:
            yield None
            return
        with contextlib.closing(
            sqlite3.connect(paths[0], timeout=30, isolation_level=None)
        ) as file:
            yield file


def await_that(
    condition: Callable[[], Any], seconds: float, what: str, *, every: float = 0.1
) -> Any:
    """Wait until a condition holds and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)
    return value


def gone(processes: list[psutil.Process], seconds: float) -> int:
    """Wait until processes are gone, at most so long, and return how many are not."""
    deadline = time.monotonic() + seconds
    while left := [process for process in processes if lives(process)]:
        if time.monotonic() > deadline:
            return len(left)
        time.sleep(0.1)
    return 0
