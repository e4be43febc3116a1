"""What triage asks is rendered as the calibration set is: tools, variables and the run's moment."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from infra.contracts.progress import Silent
from infra.contracts.specs import CalibrationSpec
from infra.conversations.calibration import load_tokenizer
from infra.probes.triage.prompts import prompts
from infra.store.settings import Settings
from tests.broken_checkpoints import SAMPLE
from tests.conftest import MOMENT

TEMPLATE = (
    "{{- strftime_now('%d') }} {{ mood }}|{{ tools|tojson if tools }}|{%- for m in messages -%}"
    "{%- if m.role == 'narrator' -%}{{ raise_exception('no') }}{%- endif -%}"
    "{{- m.role + ': ' + m.content + '; ' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}assistant:{%- endif -%}"
)
QUESTION, ANSWER = {"from": "human", "value": "2*3?"}, {"from": "gpt", "value": "6"}
TOOL = {"name": "times", "parameters": {}}


def rendered(folder: Path, rows: list[Any], moment: datetime = MOMENT) -> list[str]:
    model, path = folder / "model", folder / "c.json"
    shutil.copytree(SAMPLE, model, dirs_exist_ok=True)
    config = json.loads((model / "tokenizer_config.json").read_text()) | {"chat_template": TEMPLATE}
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    path.write_text(json.dumps(rows))
    found = prompts(
        model,
        CalibrationSpec(path=str(path), min_samples=1),
        8,
        longest=200,
        moment=moment,
        variables={"mood": "calm"},
        settings=Settings(cache=folder),
        progress=Silent(),
        trust_remote_code=False,
    )
    return [load_tokenizer(model).decode(ids) for ids in found]


def test_prompts_are_rendered_with_all_that_the_calibration_set_is(tmp_path: Path) -> None:
    rows = [{"conversations": [QUESTION, ANSWER], "tools": [TOOL]}]
    (found,) = rendered(tmp_path, rows)
    tools = json.dumps([{"type": "function", "function": TOOL}])
    assert found == f"01 calm|{tools}|user: 2*3?; assistant:"
    (later,) = rendered(tmp_path, rows, datetime(2026, 1, 9))
    assert later == found.replace("01", "09", 1)


def test_the_same_question_comes_once_and_what_is_refused_is_left_out(tmp_path: Path) -> None:
    other = {"from": "gpt", "value": "six"}
    refused = [{"from": "narrator", "value": "Once"}, ANSWER]
    rows = [
        {"conversations": talk}
        for talk in ([QUESTION, ANSWER], [QUESTION, other], refused, [other])
    ]
    assert rendered(tmp_path, rows) == ["01 calm||user: 2*3?; assistant:"]
