"""Measures the assistant on questions that are held out, beside what guessing scores.

A quick check, not a run: `python -m infra.sample.training.evaluate_assistant --weights
model.safetensors --device cpu`. With `--bits` the weights are rounded first, as in `evaluate`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.sample.training import chat, judge, misconceptions, passages, structured, tools
from infra.sample.training.evaluate import Subject, global_mmlu
from infra.sample.training.formats import TURN_START, Layout, text_of
from infra.sample.training.items import chance
from infra.sample.training.train_assistant import ASSISTANT
from infra.sample.training.world import unseen
from infra.suite.own.documents import NOTHING, prompt
from infra.suite.own.marks import calls as calls_of
from infra.suite.own.preference import LABELS, PREFERENCE

Scores = dict[str, float]


def _chat(text: str, listed: list[dict[str, Any]] | None = None) -> str:
    turns = [*chat.opening(listed or ()), *chat.user(text)]
    return text_of(turns) + f"{TURN_START}assistant\n"


def preference(subject: Subject, count: int) -> Scores:
    """Loss and accuracy in both orders, and how much likelier the first answer is to win."""
    rng = chance("evaluate-judge")
    asked = [
        one
        for _ in range(count)
        for one in PREFERENCE.read(judge.pair(unseen, rng), **PREFERENCE.options)
    ]
    found = subject.shares([_chat(one["prompt"]) for one in asked], list(LABELS))
    losses = [
        -math.log(max(one[row["gold"]], 1e-15)) for one, row in zip(found, asked, strict=True)
    ]
    right = [
        max(range(3), key=one.__getitem__) == row["gold"]
        for one, row in zip(found, asked, strict=True)
    ]
    return {
        "log_loss": sum(losses) / len(losses), "chance": math.log(3),
        "accuracy": sum(right) / len(right), "its chance": 1 / 3,
        "first over second": sum(one[0] - one[1] for one in found) / len(found),
    }  # fmt: skip


def calling(subject: Subject, count: int, offered: int) -> Scores:
    """Right calls, right functions, restraint where no call is due, and answers with results."""
    rng = chance(f"evaluate-tools-{offered}")
    rows = [tools.row(unseen, rng, offered) for _ in range(count)]
    said = subject.texts([_chat(row["question"], row["tools"]) for row in rows], 120)
    made = [list(calls_of(text)) for text, _ in said]
    due = [number for number, row in enumerate(rows) if row["must_call"]]
    idle = [number for number, row in enumerate(rows) if not row["must_call"]]
    names = [[one["name"] for one in rows[n]["must_call"]] == [c["name"] for c in made[n]]
             for n in due]  # fmt: skip
    looped = [row for row in rows if "final" in row]
    finals = subject.texts([_second(row) for row in looped], 80)
    return {
        "right calls": sum(rows[n]["must_call"] == made[n] for n in due) / len(due),
        "right functions": sum(names) / len(names), "chance": 1 / max(offered, 1),
        "no call where none is due": sum(not made[n] for n in idle) / max(1, len(idle)),
        "final answers": sum(
            all(value in text for value in row["final"])
            for row, (text, _) in zip(looped, finals, strict=True)
        ) / max(1, len(looped)),
    }  # fmt: skip


def _second(row: dict[str, Any]) -> str:
    turns = [
        *chat.opening(row["tools"]), *chat.user(row["question"]),
        *chat.assistant(chat.calls_text(row["must_call"]), last=False),
        *chat.handed_back([json.dumps(one) for one in row["results"]]),
    ]  # fmt: skip
    return text_of(turns) + f"{TURN_START}assistant\n"


def documents(subject: Subject, count: int) -> Scores:
    """Answers found in passages, and silence where there are none."""
    rng = chance("evaluate-passages")
    asked = [passages.question(unseen, rng) for _ in range(count)]
    said = subject.texts([_chat(prompt(one.question, one.passages)) for one in asked], 24)
    right = [text.strip() == one.answer for one, (text, _) in zip(asked, said, strict=True)]
    silent = [one.answer == NOTHING for one in asked]
    there = [ok for ok, none in zip(right, silent, strict=True) if not none]
    absent = [ok for ok, none in zip(right, silent, strict=True) if none]
    return {
        "right": sum(right) / len(right), "chance": sum(silent) / len(silent),
        "where it stands there": sum(there) / len(there),
        "where nothing does": sum(absent) / len(absent),
    }  # fmt: skip


def retrieval(subject: Subject, count: int, shots: int) -> Scores:
    """How often the misconception is named word for word."""
    rng = chance(f"evaluate-misconceptions-{shots}")
    prompts, names = [], []
    for _ in range(count):
        one = misconceptions.question(unseen, rng)
        wrong, name = rng.choice(list(one.wrong.items()))
        shown = []
        for _ in range(shots):
            example = misconceptions.question(unseen, rng, one.construct)
            text, its_name = rng.choice(list(example.wrong.items()))
            shown.append((misconceptions.block(example, text), its_name))
        prompts.append(_chat(misconceptions.prompt(shown, misconceptions.block(one, wrong))))
        names.append(name)
    said = subject.texts(prompts, 40)
    right = [text.strip() == name for (text, _), name in zip(said, names, strict=True)]
    known = [text.strip() in misconceptions.NAMES for text, _ in said]
    return {
        "named": sum(right) / len(right), "chance": 1 / len(misconceptions.NAMES),
        "of the list": sum(known) / len(known),
    }  # fmt: skip


def schema(subject: Subject, count: int) -> Scores:
    """How often the JSON is the right one."""
    rng = chance("evaluate-schema")
    asked = [structured.question(unseen, rng) for _ in range(count)]
    said = subject.texts([_chat(one.question) for one in asked], 80)
    return {
        "right": sum(
            _json(text) == one.facts for one, (text, _) in zip(asked, said, strict=True)
        ) / len(asked),
    }  # fmt: skip


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


MEASUREMENTS: dict[str, Callable[[Subject, int], Scores]] = {
    "preference": preference,
    "tools, 1 offered": lambda subject, count: calling(subject, count, 1),
    "tools, 4 offered": lambda subject, count: calling(subject, count, 4),
    "tools, 16 offered": lambda subject, count: calling(subject, count, 16),
    "documents": documents,
    "misconceptions, 0 shots": lambda subject, count: retrieval(subject, count, 0),
    "misconceptions, 2 shots": lambda subject, count: retrieval(subject, count, 2),
    "schema": schema,
    "global_mmlu_en 0-shot": lambda subject, _: global_mmlu(subject, 0, Layout.PLAIN),
}


def main() -> None:
    """Reads the command line and prints one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=ASSISTANT / "model.safetensors")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--bits", type=int, nargs="*", default=[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--count", type=int, default=300, help="questions of each kind")
    parser.add_argument("--only", default="", help="measurements whose name has this in it")
    options = parser.parse_args()
    for bits in options.bits:
        subject = Subject(options.weights, options.device, bits or None, options.batch, ASSISTANT)
        for name, measure in MEASUREMENTS.items():
            if options.only in name:
                began = time.monotonic()
                found = measure(subject, options.count)
                shown = ", ".join(f"{key} {value:.3f}" for key, value in found.items())
                seconds = time.monotonic() - began
                print(f"{bits or 16:>2} bits  {name:24} {shown}  ({seconds:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
