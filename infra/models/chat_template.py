"""A model's own chat template, with one time for the whole run.

Templates may write the date (Llama 3, gpt-oss). If each rendering took the clock's, a run across
midnight would ask its arms different questions, and no later run could reuse an answer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from infra.contracts.specs import EvaluationSpec

_CLOCK = threading.Lock()
_ALWAYS_THERE = ("messages", "tools", "documents", "add_generation_prompt")


def moment_of(spec: EvaluationSpec) -> datetime:
    """Return what a run's templates take for now."""
    return spec.moment if isinstance(spec.moment, datetime) else datetime.now()


def has_chat_template(model: Path) -> bool:
    """Tell whether the tokenizer in a model folder knows how to write a chat.

    Of several templates with names one has to be the default, as transformers sees it: files with
    names stand before what the tokenizer's configuration says.
    """
    if any((model / name).exists() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    if names := named_chat_templates(model):
        return "default" in names
    return bool(_configured_template(model))


def named_chat_templates(model: Path) -> dict[str, Path]:
    """Return the names of templates that have one, each with the file it stands in."""
    if files := sorted((model / "additional_chat_templates").glob("*.jinja")):
        return {file.stem: file for file in files}
    named = _configured_template(model)
    file = model / "tokenizer_config.json"
    return {str(one["name"]): file for one in named} if isinstance(named, list) else {}


def text_for_tools(model: Path) -> str:
    """Return the chat template in a model folder that writes functions; empty if there is none.

    Of several with names that is the one called `tool_use`, else the default, as for transformers.
    """
    for name in ("chat_template.jinja", "chat_template.json"):
        if (file := model / name).is_file():
            text = file.read_text("utf-8")
            return text if name.endswith("jinja") else _template_in(json.loads(text))
    if files := named_chat_templates(model):
        wanted = next((name for name in ("tool_use", "default") if name in files), None)
        if wanted is None:
            return ""
        file = files[wanted]
        if file.suffix == ".jinja":
            return file.read_text("utf-8")
        named = {one["name"]: one["template"] for one in _configured_template(model)}
        return str(named[wanted])
    return _template_in({"chat_template": _configured_template(model)})


def writes_functions(model: Path) -> bool:
    """Tell whether the chat template in a model folder looks at functions at all."""
    return "tools" in text_for_tools(model)


def _template_in(config: Any) -> str:
    found = config.get("chat_template") if isinstance(config, dict) else None
    return found if isinstance(found, str) else ""


def _configured_template(model: Path) -> Any:
    config = model / "tokenizer_config.json"
    return json.loads(config.read_text("utf-8")).get("chat_template") if config.exists() else None


class ChatTemplate:
    """The template of one tokenizer, with the variables and the time of one run."""

    def __init__(self, tokenizer: Any, *, moment: datetime, variables: Mapping[str, Any]) -> None:
        """Take a template; nothing is rendered yet.

        Args:
            tokenizer: What `AutoTokenizer` returns.
            moment: What the template gets when it asks for the time.
            variables: Further variables of the template; see `EvaluationSpec.chat_template_kwargs`.
        """
        self._tokenizer = tokenizer
        self._moment = moment
        self._variables = dict(variables)
        self.dated = False
        """True once a rendering has asked for the time."""

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
    ) -> str:
        """Return a conversation as the text that the model reads.

        Args:
            messages: Role and content of each, the first one first.
            tools: Functions that the model may call, as JSON schemas; none if it has none.
            add_generation_prompt: End with the beginning of an answer.
            continue_final_message: End within the last message, for the model to go on.

        Raises:
            jinja2.TemplateError: The template refuses the conversation, or has a fault.
            TypeError, ValueError: The same, raised by transformers or by an expression of the
                template.
        """
        with _clock_at(self._moment) as clock:
            try:
                text = self._tokenizer.apply_chat_template(
                    [dict(message) for message in messages],
                    tools=[dict(tool) for tool in tools] if tools else None,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    continue_final_message=continue_final_message,
                    **self._variables,
                )
            finally:
                self.dated = self.dated or clock.read
        return str(text)

    def reads(self) -> set[str]:
        """Return the names that the template looks up, without those that are always there."""
        import jinja2.meta
        from transformers.utils import chat_template_utils

        text = self._tokenizer.get_chat_template()
        environment = chat_template_utils._compile_jinja_template(text).environment
        found = jinja2.meta.find_undeclared_variables(environment.parse(text))
        return found - {*_ALWAYS_THERE, *environment.globals}

    def without_variables(self) -> ChatTemplate:
        """Return the same template without the further variables."""
        return ChatTemplate(self._tokenizer, moment=self._moment, variables={})


class _Clock:
    """Stands in for `datetime` where transformers asks it what the time is."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment
        self.read = False

    def now(self) -> datetime:
        self.read = True
        return self._moment


@contextmanager
def _clock_at(moment: datetime) -> Iterator[_Clock]:
    """Let templates see a time, while the block lasts.

    transformers turns every variable of a template into plain data, so a function of ours cannot be
    handed in; its own `strftime_now` reads the time from its module.
    """
    from transformers.utils import chat_template_utils

    clock = _Clock(moment)
    with _CLOCK:
        real = chat_template_utils.datetime
        chat_template_utils.datetime = clock
        try:
            yield clock
        finally:
            chat_template_utils.datetime = real
