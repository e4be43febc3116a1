from __future__ import annotations

import subprocess
import sys

from infra.contracts.specs import ServingSpec
from infra.engines.registry import engine_of, engines, title
from tests.conftest import ROOT


def test_engines_have_names_of_their_own_and_are_found_by_them() -> None:
    names = [engine.name for engine in engines()]
    assert len(set(names)) == len(names)
    assert engine_of(ServingSpec()).name in names
    assert [title(name) for name in names] == [engine.title for engine in engines()]


def test_an_engine_that_is_there_no_more_is_called_as_its_record_calls_it() -> None:
    assert title("gone") == "gone"


def test_the_room_of_an_engine_has_its_name() -> None:
    """What is kept of an engine's timings depends on the code in its room."""
    for engine in engines():
        room = ROOT / "infra" / "engines" / engine.name
        assert (room / "engine.py").is_file()
        assert (room / "timing").is_dir() or (room / "timing.py").is_file()


def test_who_only_names_an_engine_does_not_load_its_server() -> None:
    code = "import infra.engines.registry, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    for engine in engines():
        assert f"infra.engines.{engine.name}.engine" in loaded
        assert f"infra.engines.{engine.name}.server" not in loaded
        assert f"infra.engines.{engine.name}.timing" not in loaded
