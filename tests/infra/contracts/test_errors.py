"""Every error goes through Prefect whole: it moves them between processes by cloudpickle."""

from __future__ import annotations

import dataclasses
import pickle
import re
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from prefect.serializers import PickleSerializer

from infra.contracts import errors
from infra.contracts.errors import AssayError, NotPassed, PreflightError, ServerDied, SpecError

TYPES = [kind for kind in vars(errors).values() if isinstance(kind, type)
         and issubclass(kind, AssayError)]  # fmt: skip

MADE = {
    "fact": "It is so.",
    "cause": "A cause.",
    "remedy": "Do it.",
    "may_heal": True,
    "nothing_spent": True,
    "status": 503,
    "checks": ("loops",),
    "diagnosis": "killed",
    "exit_code": 137,
    "log": Path("server.log"),
    "words": "no system message",
    "nothing_helps": True,
    "command": "pip install x",
    "missing": ("x",),
    "field": "rows",
    "task": "gsm8k",
    "document": 3,
    "report": Path("report.html"),
}
"""A value of every field that an error has."""


def made(kind: type[AssayError]) -> AssayError:
    fields: dict[str, Any] = {one.name: MADE[one.name] for one in dataclasses.fields(kind)}
    return kind(**fields)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "through",
    [
        lambda error: pickle.loads(pickle.dumps(error)),
        lambda error: cloudpickle.loads(cloudpickle.dumps(error)),
        lambda error: PickleSerializer().loads(PickleSerializer().dumps(error)),
    ],
    ids=["pickle", "cloudpickle", "prefect"],
)
def test_every_error_arrives_as_it_was_sent(kind: type[AssayError], through: Any) -> None:
    error = made(kind)
    error.add_note("while it was looked at")
    copy = through(error)
    assert type(copy) is kind
    assert str(copy) == str(error) == "It is so.\ncause: A cause.\nremedy: Do it."
    assert vars(copy) == vars(error)
    assert {one.name for one in dataclasses.fields(kind)} <= vars(copy).keys()


def test_what_is_not_said_has_no_line() -> None:
    assert str(AssayError("It is so.")) == "It is so."
    assert str(AssayError("It is so.", remedy="Do it.")) == "It is so.\nremedy: Do it."


def test_an_error_is_itself_alone() -> None:
    """It is held in sets and compared by whoever prints a chain of exceptions."""
    one, other = AssayError("It is so."), AssayError("It is so.")
    assert one != other
    assert len({one, other}) == 2


def test_an_error_is_replaced_with_all_that_it_holds() -> None:
    error = ServerDied("It died.", exit_code=9, log=Path("x"))
    other = dataclasses.replace(error, cause="Memory.")
    assert (type(other), other.exit_code, other.log) == (ServerDied, 9, Path("x"))
    assert str(other) == "It died.\ncause: Memory."


def test_what_a_program_reads_has_to_be_given() -> None:
    with pytest.raises(TypeError, match="status"):
        NotPassed("No.", report=Path("report.html"))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected"):
        AssayError("No.", anything=1)  # type: ignore[call-arg]


def test_several_problems_become_one_error_with_each_remedy() -> None:
    error = PreflightError.of(
        [SpecError("One.", remedy="Do a."), AssayError("Two.", remedy="Do b.")]
    )
    for part in ("2 things", "1. One.", "Do a.", "2. Two.", "Do b."):
        assert part in str(error)
    assert error.nothing_spent


def test_the_tree_is_drawn_as_it_is() -> None:
    drawn: dict[str, str] = {}
    above: list[str] = []
    for indent, name in re.findall(r"^    ([│ ├└─]*)([A-Z]\w+)", str(errors.__doc__), re.MULTILINE):
        depth = len(indent) // 4
        del above[depth:]
        drawn[name] = above[-1] if above else "Exception"
        above.append(name)
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in TYPES}
