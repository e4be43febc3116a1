from __future__ import annotations

import json
import platform
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from infra.quantizers import _METHODS, making
from infra.quantizers.making import MadeByWorker
from infra.quantizers.program import exchange
from tests.conftest import ROOT

INFRA = ROOT / "infra"

SCRIPT = f"""
    import sys
    sys.path.insert(0, {str(INFRA / "quantizers" / "program")!r})
    import exchange

    def make(request, progress):
        if "fails" in request:
            raise ValueError(request["fails"])
        progress.tell("loading")
        progress.counting("checking", "tensors")(1, 2)
        progress.tell("quantizing", 2, 3)
        return {{"search_dtype": "float32", "versions": {{"inner": "abc"}}}}

    sys.exit(exchange.main(make, packages=["pip", "absent"], kinds={{"too narrow": "group-size"}}))
"""


def isolated(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run Python alone: no packages, nothing beside the script."""
    return subprocess.run(
        [sys.executable, "-I", "-S", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def run(folder: Path, **request: Any) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    script, wanted, answered = (folder / name for name in ("script.py", "wanted", "answered"))
    script.write_text(textwrap.dedent(SCRIPT))
    wanted.write_text(json.dumps({"version": 1, **request}))
    done = isolated(script, wanted, answered)
    assert {path.name for path in folder.iterdir()} == {"script.py", "wanted", "answered"}
    return done, json.loads(answered.read_text())


def test_what_was_made_is_answered_with_what_every_script_says(tmp_path: Path) -> None:
    done, answer = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert answer.pop("seconds") >= 0
    assert answer == {
        "version": 1, "ok": True, "search_dtype": "float32",
        "versions": {"python": platform.python_version(), "inner": "abc"},
    }  # fmt: skip


def test_phases_are_timed_and_units_counted(tmp_path: Path) -> None:
    done, _ = run(tmp_path)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(event.pop("event") == "progress" for event in events)
    said = [tuple(event.values()) for event in events]
    wanted = [("loading", 0, None, "s"), ("checking", 1, 2, "tensors"),
              ("quantizing", 2, 3, "layers")]  # fmt: skip
    assert [one for one in said if one in wanted] == wanted


def test_a_failure_is_answered_by_its_kind_and_logged(tmp_path: Path) -> None:
    done, answer = run(tmp_path, fails="columns too narrow")
    assert done.returncode == 1
    error = {"kind": "group-size", "message": "ValueError: columns too narrow"}
    assert answer == {"version": 1, "ok": False, "error": error}
    assert "Traceback" in done.stderr


def test_versions_are_those_of_packages_that_are_there() -> None:
    found = exchange.versions(["pytest", "no-such-package"])
    assert found == {"python": platform.python_version(), "pytest": pytest.__version__}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("no more"), "out-of-memory"),
        (type("OutOfMemoryError", (Exception,), {})("a GPU's"), "out-of-memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out-of-memory"),
        (ModuleNotFoundError("No module named 'torch'"), "package"),
        (ImportError("cannot import name; too narrow"), "package"),
        (type("NotFiniteError", (Exception,), {})("a layer"), "not-finite"),
        (type("NotFiniteError", (Exception,), {})("too narrow"), "group-size"),
        (OSError(28, "No space left on device"), "disk-full"),
        (KeyError("something else"), "other"),
    ],
)
def test_failures_have_a_kind(error: Exception, kind: str) -> None:
    assert exchange.kind_of(error, {"too narrow": "group-size"}) == kind


@pytest.mark.parametrize("method", _METHODS.values(), ids=_METHODS)
def test_a_script_starts_without_packages_and_all_that_it_imports_is_in_the_key(
    method: MadeByWorker[Any],
) -> None:
    code = (
        "import json, runpy, sys; runpy.run_path(sys.argv[1]); "
        "print(json.dumps([getattr(one, '__file__', None) for one in sys.modules.values()]))"
    )
    done = isolated("-c", code, method.worker.script)
    assert done.returncode == 0, done.stderr
    loaded = [Path(file) for file in json.loads(done.stdout) if file]
    ours = [file.relative_to(INFRA) for file in loaded if file.is_relative_to(INFRA)]
    assert Path("quantizers/program/exchange.py") in ours
    for file in [*ours, method.worker.script.relative_to(INFRA)]:
        assert any(file.is_relative_to(part) for part in (method.room, *making._SHARED_CODE)), file
