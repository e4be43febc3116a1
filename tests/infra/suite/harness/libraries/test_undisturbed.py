"""Tasks whose code changes the process, loaded in real flow runs: the log goes on as before."""

from __future__ import annotations

import logging
import logging.config
import subprocess
import sys
from pathlib import Path

import pytest

from infra.suite.harness.libraries.undisturbed import undisturbed
from tests.conftest import ROOT
from tests.infra.suite.harness.definitions.test_task_faults import house
from tests.prefect_server import Databases

LOADS = """
import sys
from pathlib import Path
from prefect import flow, task
from infra.contracts.specs import EvaluationSpec
from infra.store.settings import Settings
from tasks.progress import reported_to_prefect
from tests.prefect_server import prefect_harness

@task(name="load")
def load(spec, cache):
    from infra.suite.harness.suite import prepare
    with reported_to_prefect() as progress:
        progress.say("before")
        prepare(spec, settings=Settings(cache=Path(cache)), progress=progress)
        progress.say("after")

@flow
def loading(specs, cache):
    for spec in specs:
        load.with_options(task_run_name=spec.tasks[0].name)(spec, cache)

with prefect_harness(Path(sys.argv[1])):
    loading([EvaluationSpec.model_validate_json(spec) for spec in sys.argv[3:]], sys.argv[2])
"""

CODE = {
    "basicConfig": "import logging\nlogging.basicConfig(level=10, format='%(message)s',"
    " force=True)",
    "dictConfig": "import logging.config\nlogging.config.dictConfig({'version': 1})",
    "disable": "import logging\nlogging.disable(logging.CRITICAL)",
    "removed": "import logging\nlogging.root.handlers.clear()",
    "formatter": "import logging\nfor h in logging.root.handlers:"
    " h.setFormatter(logging.Formatter('%(message)s'))",
    "levels": "import logging\nfor n in list(logging.root.manager.loggerDict):"
    " logging.getLogger(n).setLevel(60)",
    "streams": "import sys, io\nsys.stdout = sys.stderr = io.StringIO()",
    "prints": "import sys\nprint('a printed line')\nprint('another', file=sys.stderr)",
}


def test_lines_keep_time_and_task_after_tasks_are_loaded(
    tmp_path: Path, own_cache: Path, prefect_databases: Databases
) -> None:
    specs = [house(tmp_path / name, code, name) for name, code in CODE.items()]
    done = subprocess.run(
        [sys.executable, "-c", LOADS, str(prefect_databases.empty), str(own_cache)]
        + [spec.model_dump_json() for spec in specs],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    lines = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 0, done.stderr
    for name in CODE:
        for said in ("before", "after", "Finished in state Completed()"):
            line = f" | INFO    | Task run '{name}' - {said}"
            (found,) = [one for one in lines if one.endswith(line)] or [str(lines)]
            assert found[2] == found[5] == ":" and found[12:] == line, found
    for said in ("a printed line", "another"):
        (found,) = [line for line in lines if line.endswith(said)]
        assert found[12:] == f" | INFO    | Task run 'prints' - prints: {said}"


@pytest.mark.parametrize("named", [None, "ours"])
def test_no_handler_is_flushed_or_closed_by_who_sets_up_logging(named: str | None) -> None:
    class Heard(logging.Handler):
        ended = 0

        def flush(self) -> None:
            self.ended += 1

        close = flush

    handler = Heard()
    handler.name = named
    with undisturbed():
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
        new = logging.Handler()
    assert handler.ended == 0
    listed = [reference() for reference in logging._handlerList]  # type: ignore[attr-defined]
    assert listed.count(handler) == listed.count(new) == 1


def test_everything_else_is_put_back(tmp_path: Path) -> None:
    script = """
import locale, logging, os, random, signal, sys, warnings
import numpy
from infra.suite.harness.libraries.undisturbed import undisturbed

def state():
    return (signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGTERM), os.getcwd(),
            locale.setlocale(locale.LC_ALL), random.getstate(), str(numpy.random.get_state()),
            list(warnings.filters), warnings.showwarning, os.environ.get("VLLM_NEW"),
            os.environ["HOME"], sys.getrecursionlimit(), sys.excepthook, sys.unraisablehook,
            logging.getLoggerClass())

class Other(logging.Logger):
    pass

before = state()
with undisturbed():
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.alarm(60)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.chdir("/")
    random.seed(42)
    numpy.random.seed(42)
    warnings.simplefilter("error")
    logging.captureWarnings(True)
    os.environ["VLLM_NEW"] = "1"
    os.environ["HOME"] = "/nowhere"
    os.environ["OTHERS_OWN"] = "1"
    sys.setrecursionlimit(5000)
    sys.excepthook = sys.unraisablehook = print
    logging.setLoggerClass(Other)
assert state() == before, (state(), before)
assert signal.alarm(0) == 0
assert os.environ["OTHERS_OWN"] == "1"
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
