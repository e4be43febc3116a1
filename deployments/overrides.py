"""Change single fields of a spec from the command line: `serving.dtype=float16`.

A path is written as receipts print it: `evaluation.datasets["a.b/c"].path`, `evaluation.tasks[0]`.
Quotes are needed only where a key could be read in two ways: without them the longest key that is
there counts.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails

from infra.contracts.commands import PYTHON
from infra.contracts.errors import AssayError, SpecError
from infra.contracts.specs import (
    EndpointRunSpec,
    MatrixSpec,
    ModelSpec,
    QuantizationSpec,
    Recipe,
    RunSpec,
    ServingSpec,
    Spec,
)
from infra.contracts.specs.places import CALIBRATION, NAMED, Places, placed
from infra.contracts.specs.quantization import RECIPES, recipe_kind
from infra.contracts.specs.run import SHORT_FORM

_SHOW = f"`{PYTHON} -m deployments show RECIPE` prints every field of a recipe."

_STEP = re.compile(
    r"""(?: \.?\[ (?: (?P<quoted>"(?:[^"\\]|\\.)*") | (?P<number>\d+) | (?P<append>\+) ) \]
          | (?:^|(?<!^)\.) (?P<plain>[^.\[\]="\s][^.\[\]="]*) )""",
    re.VERBOSE,
)

_PLAIN = re.compile(r"[A-Za-z_][\w-]*")
"""Keys that need no brackets."""


def parse(data: dict[str, Any]) -> RunSpec:
    """Return the spec that a JSON object describes.

    Raises:
        SpecError: A field is unknown, missing, of the wrong kind, or the combination cannot work.
    """
    try:
        return _read(data)
    except ValidationError as error:
        raise _readable(error, data) from error


def override(spec: RunSpec, assignments: Iterable[str]) -> RunSpec:
    """Return the spec with fields replaced.

    Args:
        spec: The spec to start from.
        assignments: `path.to.field=value`; the value is JSON, or else taken as text. A list is
            indexed by number, or by name where its items have one, and grows by `[+]`:
            `evaluation.tasks.gsm8k.limit=50`, `evaluation.tasks[+].name=arc_easy`. Keys that are
            not there yet may be set where the spec takes keys of one's own.

    Raises:
        SpecError: As `parse`, or the path leads nowhere.
    """
    split = [_split(assignment) for assignment in assignments]
    of_arms = [one for one in split if one[1][0].name in _ARMS]
    others = [one for one in split if one not in of_arms]
    data = spec.short_form
    # A name that follows its recipe is made anew; what is changed together is checked together.
    if data is not None and (not of_arms or any(_is_short(steps) for _, steps, _ in others)):
        spec, split = _assigned(data, _Short, others, _read), of_arms
    if not split:
        return spec
    whole = spec.model_dump(mode="json")
    return _assigned(whole, RunSpec, [_in_full(*one) for one in split], _read)


def parse_matrix(data: dict[str, Any]) -> MatrixSpec:
    """Return the matrix that a JSON object describes; see `parse`."""
    try:
        return MatrixSpec.model_validate(data)
    except ValidationError as error:
        raise _readable(error, data) from error


def override_matrix(spec: MatrixSpec, assignments: Iterable[str]) -> MatrixSpec:
    """Return a matrix with fields replaced; see `override`."""
    split = [_split(assignment) for assignment in assignments]
    return _assigned(spec.model_dump(mode="json"), MatrixSpec, split, MatrixSpec.model_validate)


def parse_endpoint(data: dict[str, Any]) -> EndpointRunSpec:
    """Return the evaluation of an endpoint that a JSON object describes; see `parse`."""
    try:
        return EndpointRunSpec.model_validate(data)
    except ValidationError as error:
        raise _readable(error, data) from error


def override_endpoint(spec: EndpointRunSpec, assignments: Iterable[str]) -> EndpointRunSpec:
    """Return the evaluation of an endpoint with fields replaced; see `override`."""
    split = [_split(assignment) for assignment in assignments]
    data = spec.model_dump(mode="json")
    return _assigned(data, EndpointRunSpec, split, EndpointRunSpec.model_validate)


_SpecT = TypeVar("_SpecT", RunSpec, MatrixSpec, EndpointRunSpec)

_Assignment: TypeAlias = tuple[str, "list[_Step]", str]
"""Path, its steps and the value's text."""

_ARMS = ("baseline", "candidates")

_Short = create_model(
    "_Short",
    __base__=Spec,
    model=(ModelSpec, ...),
    quantization=(QuantizationSpec, ...),
    serving=(ServingSpec, ServingSpec()),
    **{
        name: (field.annotation, field)
        for name, field in RunSpec.model_fields.items()
        if name not in _ARMS
    },
)  # type: ignore[call-overload]
"""Fields of a run in its short form."""


def _read(data: dict[str, Any]) -> RunSpec:
    """Return the spec that a JSON object describes; what is wrong is named as it stands there."""
    if data.keys() & set(SHORT_FORM) and not data.keys() & set(_ARMS):
        return RunSpec.short(**dict(_Short.model_validate(data)))
    return RunSpec.model_validate(data)


def _assigned(
    data: dict[str, Any],
    kind: Any,
    assignments: Iterable[_Assignment],
    read: Callable[[dict[str, Any]], _SpecT],
) -> _SpecT:
    texts = {}
    for path, steps, text in assignments:
        texts[_assign(data, kind, steps, _value(text), path)] = text
    try:
        return read(data)
    except ValidationError as error:
        # `model.revision=1234567` is a commit, though it reads as a number.
        if not _read_as_text(data, texts, error):
            raise _readable(error, data) from error
    try:
        return read(data)
    except ValidationError as error:
        raise _readable(error, data) from error


def _is_short(steps: list[_Step]) -> bool:
    return steps[0].name in SHORT_FORM


def _in_full(path: str, steps: list[_Step], text: str) -> _Assignment:
    """Return an assignment to a field of the short form as one to the baseline's."""
    if steps[0].name == "quantization":
        raise SpecError(
            f"{path!r} could be of any candidate.",
            cause="This run has several, or one that is more than a recipe.",
            remedy=f"Name which: candidates.NAME.{path}.",
        )
    if _is_short(steps):
        return f"baseline.{path}", [_Step("baseline"), *steps], text
    return path, steps, text


@dataclass(frozen=True)
class _Step:
    """A part of a path."""

    name: str
    exact: bool = False
    """It stood in brackets: it is one whole key, name or number."""


_APPEND = _Step("+", exact=True)
_SCALARS = (str, int, float, bool)


def _split(assignment: str) -> tuple[str, list[_Step], str]:
    """Return path, its steps and the value's text."""
    steps, place = [], 0
    while place < len(assignment) and (found := _STEP.match(assignment, place)):
        if quoted := found["quoted"]:
            try:
                steps.append(_Step(json.loads(quoted), exact=True))
            except ValueError:
                break
        else:
            name = found["plain"] or found["number"] or found["append"]
            steps.append(_Step(name.rstrip(), exact=found["plain"] is None))
        place = found.end()
    path, equals, text = assignment[:place], assignment[place : place + 1], assignment[place + 1 :]
    if not steps or equals not in ("=", ""):
        raise SpecError(
            f"{assignment!r} names no field.",
            cause="A path is names with dots between them; other keys stand in brackets and "
            "quotes.",
            remedy="Write it like serving.dtype=float16, evaluation.tasks[0].limit=50 or "
            "'evaluation.datasets[\"a.b/c\"].path=rows'.",
        )
    if not equals:
        raise SpecError(
            f"{assignment!r} is not an assignment.",
            remedy="Write it as field=value, for example serving.dtype=float16.",
        )
    return path, steps, text


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _assign(
    target: Any, kind: Any, steps: Sequence[_Step], value: Any, path: str
) -> tuple[str | int, ...]:
    """Set what the steps lead to, and return where that is."""
    if kind is Recipe and isinstance(target, dict):
        kind = _of_method(target, steps, value)
    key, used = _key(target, kind, steps, path)
    rest, inner = steps[used:], _inside(kind, key)
    if isinstance(target, list) and key == len(target):
        target.append({})
    elif isinstance(target, dict) and rest and target.get(key) is None:
        own: dict[str, Any] | None = None if key in target else {}
        # None again where nothing can be: the next step says so.
        target[key] = own if (empty := _empty(inner)) is None else empty
    if not rest:
        target[key] = value
        return (key,)
    return (key, *_assign(target[key], inner, rest, value, path))


def _of_method(target: dict[str, Any], steps: Sequence[_Step], value: Any) -> type[Recipe]:
    """Return which kind of recipe is changed; another method keeps the fields that it has too."""
    if [step.name for step in steps] != ["method"]:
        return recipe_kind(target)
    kind = recipe_kind({"method": value})
    if kind is not Recipe and kind is not recipe_kind(target):
        for name in target.keys() - kind.model_fields.keys():
            del target[name]
    return kind


def _key(target: Any, kind: Any, steps: Sequence[_Step], path: str) -> tuple[Any, int]:
    """Return key or index of the next step, and how many parts of the path it takes."""
    if not isinstance(target, dict | list):
        raise _nowhere(path)
    names = _names(target)
    if steps[0].exact:
        if steps[0] == _APPEND and isinstance(target, list):
            return len(target), 1
        joined = [steps[0].name]
    else:
        plain = next((n for n, step in enumerate(steps) if step.exact), len(steps))
        parts = [step.name for step in steps[:plain]]
        joined = [".".join(parts[:count]) for count in range(plain, 0, -1)]
    for name in joined:
        if name in names:
            return names[name], len(joined) - joined.index(name)
    if isinstance(target, list):
        raise _nowhere(path, names, remedy="Name one of them, count from 0, or append with [+].")
    return _new_key(kind, steps, joined, path, names)


def _new_key(
    kind: Any, steps: Sequence[_Step], joined: list[str], path: str, names: dict[str, Any]
) -> tuple[str, int]:
    """Return a key that is not there yet."""
    if _is_spec(kind):
        if len(steps) > 1 and _empty(_inside(kind, steps[0].name)) is None:
            raise _nowhere(path, kind.model_fields)
        return steps[0].name, 1  # one that is unknown is refused with the rest of the spec
    inner = _inside(kind, "")
    if inner in _SCALARS:  # nothing can lie below it: what follows belongs to the key
        return joined[0], len(joined)
    if not _is_spec(inner):
        return joined[-1], 1
    # The last part may be a field of what the key stands for.
    fields = len(joined) > 1 and steps[len(joined) - 1].name in inner.model_fields
    return (joined[1], len(joined) - 1) if fields else (joined[0], len(joined))


def _names(target: dict[str, Any] | list[Any]) -> dict[str, Any]:
    """Return what the items can be called → key or index."""
    if isinstance(target, dict):
        return {key: key for key in target}
    names: dict[str, Any] = {str(index): index for index in range(len(target))}
    for index, item in enumerate(target):
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            names.setdefault(item["name"], index)
    return names


def _is_spec(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _empty(kind: Any) -> dict[str, Any] | list[Any] | None:
    """Return what a type that holds others begins with; None if it holds none."""
    if get_origin(kind) in (tuple, list):
        return []
    return {} if _is_spec(kind) or get_origin(kind) is dict else None


def _inside(kind: Any, key: str | int) -> Any:
    """Return the type of what lies under a key; None where anything may."""
    if _is_spec(kind):
        field = kind.model_fields.get(key)
        return field and _without_none(field.annotation)
    if get_origin(kind) in (dict, tuple, list):
        return _without_none(get_args(kind)[1 if get_origin(kind) is dict else 0])
    return None


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return kinds[0] if len(kinds) == 1 else None
    return annotation


def _read_as_text(
    data: Any, texts: dict[tuple[str | int, ...], str], error: ValidationError
) -> bool:
    """Put back as text what was read as a number though a text is wanted; return if any was."""
    places = [_loc(problem) for problem in error.errors() if problem["type"] == "string_type"]
    for place in places:
        if place in texts:
            target = data
            for step in place[:-1]:
                target = target[step]
            if target[place[-1]] is not None:
                target[place[-1]] = texts[place]
    return any(place in texts for place in places)


def _nowhere(path: str, names: Iterable[str] = (), remedy: str = _SHOW) -> SpecError:
    there = [name for name in names if not name.isdigit()]
    return SpecError(
        f"No field {path!r} in the spec.",
        cause=f"There are {', '.join(there)}." if there else "",
        remedy=remedy,
    )


def _readable(error: ValidationError, data: Any) -> SpecError:
    lines = []
    for problem in error.errors():
        loc = _loc(problem)
        place = _written(loc)
        inner = problem.get("ctx", {}).get("error")
        if isinstance(inner, AssayError):
            lines.append(placed(str(inner), _places(loc, data)))
        elif problem["type"] == "extra_forbidden":
            lines.append(f"Unknown field {place!r}.")
        elif problem["type"] == "union_tag_invalid":
            method = problem["ctx"]["tag"]
            lines.append(
                f"{place}.method: {method!r} is no method; there are {', '.join(RECIPES)}."
            )
        else:
            lines.append(f"{place}: {problem['msg']} (got {problem['input']!r}).")
    return SpecError(
        "\n".join(lines),
        remedy="" if "remedy:" in lines[0] else _SHOW,
    )


def _loc(problem: ErrorDetails) -> tuple[str | int, ...]:
    """Return where a problem is in what was given: behind a recipe pydantic names its method."""
    loc = problem["loc"]
    return tuple(
        step
        for before, step in zip((None, *loc), loc, strict=False)
        if before != "quantization" or step not in RECIPES
    )


def _places(loc: Sequence[str | int], data: Any) -> Places:
    """Return where the fields stand that an error of this place names; candidates by name."""
    named: list[str | int] = []
    for step in loc:
        if step in NAMED:
            return {str(step): _written([*named, step])} if named else {}
        try:
            data = data[step]
        except (LookupError, TypeError):
            return {}  # it is no place of what was given
        name = data.get("name") if isinstance(step, int) and isinstance(data, dict) else None
        # A name of digits would be read as a place in the list.
        named.append(name if name and isinstance(name, str) and not name.isdigit() else step)
    return {CALIBRATION: _written(named)} if named else {}


def _written(place: Sequence[str | int]) -> str:
    """Return a place in the spec as a path that `override` reads, without quotes where it can."""
    steps = [
        f".{part}" if _PLAIN.fullmatch(str(part)) else f"[{json.dumps(part)}]" for part in place
    ]
    return "".join(steps).removeprefix(".")
