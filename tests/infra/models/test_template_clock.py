from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from infra.models.template_clock import clock_in, clock_of, today_of

LLAMA = """{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
Today Date: {{ date_string }}{{ tools }}"""
MACRO = """{%- macro head() -%}Current date: {{ strftime_now("%Y-%m-%d") }}{%- endmacro -%}
{{ head() }}{{ tools }}"""
ALIAS = "{% set now = strftime_now %}{{ now('%Y') }}"
EITHER = "{% if date is undefined and messages %}{{ strftime_now('%Y-%m-%d') }}{% endif %}"
ELSE = "{% if date is defined %}{{ date }}{% else %}{{ strftime_now('%Y-%m-%d') }}{% endif %}"
OR = "{% if date is undefined or messages %}{{ strftime_now('%Y-%m-%d') }}{% endif %}"


@pytest.mark.parametrize(
    ("template", "variables", "clock"),
    [
        ("{{ messages }}{{ tools }}", (), "none"),
        ("{% if strftime_now is defined %}a{% endif %}", (), "none"),
        ("{# strftime_now is not called #}", (), "none"),
        (LLAMA, (), "day"),
        (LLAMA, ("date_string",), "none"),
        (LLAMA, ("another",), "day"),
        (MACRO, ("date_string",), "day"),
        (EITHER, ("date",), "none"),
        (ELSE, ("date",), "none"),
        (ELSE, (), "day"),
        (OR, ("date",), "day"),
        ("{{ strftime_now('%A, %-d %B %Y, 100%%') }}", (), "day"),
        ("{{ strftime_now('%Y-%m-%d %H:%M') }}", (), "time"),
        ("{{ strftime_now('%c') }}", (), "time"),
        ("{{ strftime_now(form) }}", (), "time"),
        ("{{ strftime_now(format='%Y') }}", (), "time"),
        (ALIAS, (), "time"),
        ("{{ strftime_now('%Y' }}", (), "time"),
    ],
)  # fmt: skip
def test_how_much_of_the_clock_a_template_writes(
    template: str, variables: tuple[str, ...], clock: str
) -> None:
    assert clock_in(template, variables) == clock


def test_the_template_for_functions_counts(tmp_path: Path) -> None:
    assert clock_of(tmp_path, ()) == "none"
    folder = tmp_path / "additional_chat_templates"
    folder.mkdir()
    (folder / "default.jinja").write_text("{{ messages }}")
    (folder / "tool_use.jinja").write_text(MACRO)
    assert clock_of(tmp_path, ()) == "day"


def test_what_stays_the_same_as_long_as_a_template_writes_the_same(tmp_path: Path) -> None:
    assert today_of(tmp_path, (), "one").stays is None
    (tmp_path / "chat_template.jinja").write_text(LLAMA)
    today = today_of(tmp_path, (), "one")
    assert today.stays is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\d [+-]\d{4}", today.stays)
    assert not today.is_over
    assert replace(today, stays="2020-02-02 +0000").is_over
    assert today_of(tmp_path, ("date_string",), "one").stays is None
    (tmp_path / "chat_template.jinja").write_text("{{ strftime_now('%H:%M') }}")
    assert today_of(tmp_path, (), "one").stays != today_of(tmp_path, (), "another").stays
