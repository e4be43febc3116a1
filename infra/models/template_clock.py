"""Whether a chat template that a server renders writes the server's own date or time.

What is rendered here gets one time for the whole run. A server takes that of its clock: another
prompt tomorrow, and nobody can hand it another time. What it answers is then of a day, or of a run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from infra.models.chat_template import text_for_tools

if TYPE_CHECKING:
    from jinja2 import nodes

Clock = Literal["none", "day", "time"]
"""How much of the clock a template writes."""

DATE = "date_in_chats"
"""Name of the condition that scores have whose chats a server dated."""

_READS = "strftime_now"
"""What templates call the function that tells the time, for each library that renders them."""

_OF_A_DAY = frozenset("aAbBdeFjmuUVwWxyY%")
"""Directives that stand for the same the whole day."""

_FLAGS = "-_0^#"


def clock_of(model: Path, variables: Collection[str]) -> Clock:
    """Return how much of the clock the template in a model folder writes for chats with functions.

    Args:
        model: The folder.
        variables: Names of variables that each request gives: what is read without one of them
            alone is not read.
    """
    return clock_in(text_for_tools(model), variables)


def clock_in(template: str, variables: Collection[str]) -> Clock:
    """Return how much of the clock a template writes; see `clock_of`."""
    if "strftime" not in template:
        return "none"
    import jinja2
    from transformers.utils import chat_template_utils

    try:
        environment = chat_template_utils._compile_jinja_template(template).environment
        formats = [*_formats(environment.parse(template), variables)]
    except jinja2.TemplateError:
        return "time"
    if not formats:
        return "none"
    return "day" if all(one is not None and _is_of_a_day(one) for one in formats) else "time"


@dataclass(frozen=True)
class Today:
    """When a server renders chats, as far as its template writes that."""

    clock: Clock
    run: str
    stays: str | None
    """The same as long as the template writes the same; none if it always does."""

    @property
    def is_over(self) -> bool:
        """Whether the template writes something else by now."""
        return _now_as(self.clock, self.run) != self.stays


NO_CLOCK = Today("none", "", None)
"""Where no server renders a chat."""


def today_of(model: Path, variables: Collection[str], run: str) -> Today:
    """Return what the clock makes of chats that a server renders from now on.

    Args:
        model: Folder with the template.
        variables: Names of variables that each request gives.
        run: Which run it is: a template that writes the time writes the same in no other.
    """
    clock = clock_of(model, variables)
    return Today(clock, run, _now_as(clock, run))


def _now_as(clock: Clock, run: str) -> str | None:
    if clock == "none":
        return None
    # Two machines may have different days.
    return f"{datetime.now().astimezone():%Y-%m-%d %z}" if clock == "day" else f"of run {run}"


def _formats(node: nodes.Node, variables: Collection[str]) -> Iterator[str | None]:
    """Find in what form the time is asked for; none where that is not written out."""
    from jinja2 import nodes

    if isinstance(node, nodes.If):
        yield from _formats(node.test, variables)
        decided = _decided(node.test, variables)
        if decided is not False:
            for inner in node.body:
                yield from _formats(inner, variables)
        if decided is not True:
            for inner in (*node.elif_, *node.else_):
                yield from _formats(inner, variables)
        return
    if isinstance(node, nodes.Call) and _is_clock(node.node):
        given = node.args[0] if len(node.args) == 1 and not node.kwargs else None
        written = given.value if isinstance(given, nodes.Const) else None
        yield written if isinstance(written, str) else None
        return
    if isinstance(node, nodes.Test) and node.name == "defined" and _is_clock(node.node):
        return
    if _is_clock(node):
        yield None  # it is called by another name
    for inner in node.iter_child_nodes():
        yield from _formats(inner, variables)


def _is_clock(node: nodes.Node) -> bool:
    from jinja2 import nodes

    return isinstance(node, nodes.Name) and node.name == _READS and node.ctx == "load"


def _decided(test: nodes.Node, variables: Collection[str]) -> bool | None:
    """Return what a condition comes to, given that variables are defined; none if it depends."""
    from jinja2 import nodes

    if isinstance(test, nodes.Test) and isinstance(test.node, nodes.Name):
        known = test.node.name in variables and test.name in ("defined", "undefined")
        return test.name == "defined" if known else None
    if isinstance(test, nodes.Not):
        inner = _decided(test.node, variables)
        return None if inner is None else not inner
    if isinstance(test, nodes.And | nodes.Or):
        both = {_decided(test.left, variables), _decided(test.right, variables)}
        ends = isinstance(test, nodes.Or)  # one side that is so decides alone
        return ends if ends in both else None if None in both else not ends
    return None


def _is_of_a_day(form: str) -> bool:
    directives = [part.lstrip(_FLAGS)[:1] for part in form.replace("%%", "").split("%")[1:]]
    return all(one in _OF_A_DAY for one in directives if one)
