"""What every spec is: frozen, complete, refused early when it cannot work."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from infra.contracts.errors import SpecError

_RECORDED: ContextVar[bool] = ContextVar("recorded", default=False)


@contextmanager
def recorded() -> Iterator[None]:
    """Read the spec of a run that is over, while the block lasts.

    It was allowed then. Refusing it now would make a report unreadable, and mend nothing.
    """
    token = _RECORDED.set(True)
    try:
        yield
    finally:
        _RECORDED.reset(token)


_Spec = TypeVar("_Spec", bound="Spec")


def refuse(check: Callable[[_Spec], _Spec]) -> Any:
    """Refuse what cannot work when a spec is built, and not when its record is read."""

    @functools.wraps(check)
    def unless_recorded(spec: _Spec) -> _Spec:
        return spec if _RECORDED.get() else check(spec)

    return model_validator(mode="after")(unless_recorded)


def refusals(error: ValidationError) -> Iterator[SpecError]:
    """Yield what was refused with words of its own."""
    for problem in error.errors():
        if isinstance(inner := problem.get("ctx", {}).get("error"), SpecError):
            yield inner


class Spec(BaseModel):
    """Base of all specs: immutable, no unknown field passes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
