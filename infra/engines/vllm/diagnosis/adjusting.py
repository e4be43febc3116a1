"""Start the engine again with a setting that fits, where the spec allows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

from pydantic import ValidationError

from infra.contracts.errors import ServerError
from infra.contracts.progress import Progress
from infra.contracts.records import Adjustment
from infra.contracts.specs import ServingSpec
from infra.engines.diagnosis.reading import Diagnosis, diagnose
from infra.engines.vllm.diagnosis.table import TABLE

MOST_ADJUSTMENTS = 3
_PREFIX = "serving."
_Server = TypeVar("_Server")


def adjusted(spec: ServingSpec, diagnosis: Diagnosis) -> ServingSpec | None:
    """Return the spec with the diagnosis's adjustment.

    None if there is no adjustment, or if the spec is there already: a setting only ever shrinks or
    is switched on, so that adjusting comes to an end.
    """
    if diagnosis.adjustment is None:
        return None
    changes = {}
    for field, value in diagnosis.adjustment.items():
        name = field.removeprefix(_PREFIX)
        present = getattr(spec, name)
        if present == value or (present and present < value):
            return None
        changes[name] = value
    try:
        return ServingSpec.model_validate(spec.model_dump() | changes)
    except ValidationError:  # so little memory that no sensible setting fits
        return None


@contextlib.contextmanager
def adjusting(
    spec: ServingSpec,
    serve: Callable[[ServingSpec, tuple[Adjustment, ...]], AbstractContextManager[_Server]],
    progress: Progress,
) -> Iterator[_Server]:
    """Serve while the block runs; if `spec.adjust`, with settings that the device has room for.

    Args:
        spec: Settings to begin with.
        serve: Serves with a spec, and gets what was changed in it.
        progress: Hears each change.

    Raises:
        ServerError: The engine did not come up, and no safe adjustment is left.
    """
    made: tuple[Adjustment, ...] = ()
    with contextlib.ExitStack() as stack:
        while True:
            try:
                server = stack.enter_context(serve(spec, made))
                break
            except ServerError as error:
                diagnosis = diagnosis_of(error) if spec.adjust else None
                changed = adjusted(spec, diagnosis) if diagnosis else None
                if diagnosis is None or changed is None or len(made) >= MOST_ADJUSTMENTS:
                    raise
                new = _adjustments(spec, changed, diagnosis)
                for step in new:
                    progress.say(
                        f"{step.reason} Starting again with {step.field}={step.after} "
                        f"instead of {step.before}."
                    )
                spec, made = changed, made + new
        yield server


def diagnosis_of(error: ServerError) -> Diagnosis | None:
    """Return what is known about a failure, from the log that its error names."""
    if not error.diagnosis or error.log is None:
        return None
    text = error.log.read_text(encoding="utf-8", errors="replace")
    return diagnose(TABLE, text, error.exit_code)


def _adjustments(
    before: ServingSpec, after: ServingSpec, diagnosis: Diagnosis
) -> tuple[Adjustment, ...]:
    names = [field.removeprefix(_PREFIX) for field in diagnosis.adjustment or ()]
    return tuple(
        Adjustment(
            field=_PREFIX + name,
            before=_value(getattr(before, name)),
            after=_value(getattr(after, name)),
            reason=diagnosis.fact,
        )
        for name in names
    )


def _value(value: object) -> str:
    return "the default" if value is None else str(value).lower()
