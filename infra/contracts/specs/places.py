"""Where a field stands that an error names as one arm has it.

What is true of one model, one recipe or one engine is said without knowing the run: it says
`quantization.group_size`. Where a run has several arms, that is `candidates.NAME.quantization.…`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from infra.contracts.errors import AssayError
from infra.contracts.specs.adapters import AdapterSpec
from infra.contracts.specs.endpoint import EndpointSpec
from infra.contracts.specs.models import ModelSpec
from infra.contracts.specs.quantization import RECIPES
from infra.contracts.specs.serving import ServingSpec

Places = Mapping[str, str]
"""Part of an arm (`quantization`, `quantization.calibration`) → where that stands in the run."""

CALIBRATION = "quantization.calibration"
"""Where an arm has the conversations that its checkpoint is made from."""

PARTS: dict[str, frozenset[str]] = {
    "model": frozenset(ModelSpec.model_fields),
    "adapter": frozenset(AdapterSpec.model_fields),
    "quantization": frozenset().union(*(kind.model_fields for kind in RECIPES.values())),
    "serving": frozenset(ServingSpec.model_fields),
}
"""Part of an arm → its fields, of recipes those of any method."""

NAMED: dict[str, frozenset[str]] = {**PARTS, "endpoint": frozenset(EndpointSpec.model_fields)}
"""The same, with what may stand in for an arm or for what embeds."""

_FIELD = re.compile(
    r"(?<![\w./\[\]-])(?:"
    + "|".join(rf"{name}\.(?:{'|'.join(sorted(fields))})" for name, fields in NAMED.items())
    + r")(?![\w/-])"
)


def placed(text: str, places: Places) -> str:
    """Return a text in which fields of an arm are named as the run has them."""

    def place(found: re.Match[str]) -> str:
        name = found.group()
        for part in (name, name.partition(".")[0]):
            if part in places:
                return places[part] + name.removeprefix(part)
        return name

    return _FIELD.sub(place, text) if places else text


@contextmanager
def errors_placed(places: Places) -> Iterator[None]:
    """Let errors of the block name fields as the run has them.

    Raises:
        AssayError: As the block does.
    """
    try:
        yield
    except AssayError as error:
        given = error.fact, error.cause, error.remedy
        fact, cause, remedy = texts = tuple(placed(text, places) for text in given)
        if texts == given:
            raise
        said = replace(error, fact=fact, cause=cause, remedy=remedy)
        raise said.with_traceback(error.__traceback__) from error.__cause__
