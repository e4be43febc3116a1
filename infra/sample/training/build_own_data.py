"""Writes the sample rows of the assistant's tasks: files of rows as a user would write them.

Run as `python -m infra.sample.training.build_own_data`; the same files come out every time. Every
question is held out.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from infra.sample.training import judge, misconceptions, passages, structured, thinking, tools
from infra.sample.training.arithmetic import word_problem
from infra.sample.training.build_data import GSM8K_TEST_LEVELS
from infra.sample.training.items import WordProblem, chance, held_out
from infra.sample.training.passages import Thing
from infra.sample.training.world import unseen

FOLDER = Path(__file__).parents[1] / "data" / "own"
PAIRS = 300
UNLABELLED = 40
CALLS = 200
PEOPLE = 120
PROBLEMS = 120
QUESTIONS = 60
DOCUMENTS = 20
THINGS = 6
ANSWERED, UNANSWERED = 75, 25
JUDGED_FADE = 2.0
"""How hard the facts of the pairs are: in training it is 3."""

LABELLED = (2, 3)
"""Wrong answers of a question whose misconception is given."""


class File(NamedTuple):
    """A document of the sample, and what it says."""

    name: str
    things: tuple[Thing, ...]


def _distinct(draw: Callable[[], dict[str, Any]], count: int, key: str) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    while len(found) < count:
        row = draw()
        found.setdefault(str(row[key]), row)
    return list(found.values())


def preference_rows(count: int, seed: str) -> list[dict[str, Any]]:
    """Pairs of answers with the better one."""
    rng = chance(seed)
    return _distinct(lambda: judge.pair(unseen, rng, JUDGED_FADE), count, "prompt")


def tools_rows() -> list[dict[str, Any]]:
    """Questions that want calls, or none; what is said in the end is for training only."""
    rng = chance("own-tools")
    rows = _distinct(lambda: tools.row(unseen, rng), CALLS, "question")
    return [{name: value for name, value in row.items() if name != "said"} for row in rows]


def schema_rows() -> list[dict[str, Any]]:
    """Questions that want JSON."""
    rng = chance("own-schema")
    return _distinct(lambda: structured.row(structured.question(unseen, rng)), PEOPLE, "question")


def thinking_rows() -> list[dict[str, Any]]:
    """Word problems with larger numbers than those of training, as the sample's gsm8k has them."""
    rng = chance("own-thinking")

    def draw(rng: random.Random) -> WordProblem:
        return word_problem(rng, rng.choice(GSM8K_TEST_LEVELS))

    return _distinct(lambda: thinking.row(unseen(draw, rng)), PROBLEMS, "question")


def misconception_rows() -> list[dict[str, Any]]:
    """Questions in the wide form; some wrong answers have no misconception."""
    rng = chance("own-misconceptions")
    pool = list(misconceptions.CONSTRUCTS)
    rng.shuffle(pool)

    def draw(number: int) -> dict[str, Any]:
        construct = pool[number % len(pool)]
        row = misconceptions.row(number, misconceptions.question(unseen, rng, construct), rng)
        given = [name for name in row if name.startswith("Misconception") and row[name] != ""]
        for name in rng.sample(given, len(given) - rng.choice(LABELLED)):
            row[name] = ""
        return row

    rows: dict[str, dict[str, Any]] = {}
    while len(rows) < QUESTIONS:
        row = draw(len(rows))
        rows.setdefault(row["QuestionText"], row)
    return list(rows.values())


def documents_files() -> list[File]:
    """What the documents say: a few things of one kind each, all of them called differently."""
    rng = chance("own-documents")
    files, taken = [], set()
    for number in range(DOCUMENTS):
        topic = passages.TOPICS[number % len(passages.TOPICS)]
        things: list[Thing] = []
        while len(things) < THINGS:
            one = passages.thing(rng, topic, fewest=3)
            name = one.name.split()[-1] if " in " in one.name or " by " in one.name else one.name
            if name not in taken:
                taken.add(name)
                things.append(one)
        kind = topic.called[0].replace("{}", "").replace(" in", "").replace(" by", "").strip()
        end = passages.ENDS[number // len(passages.TOPICS)]
        place = ("north", "south", "east", "west")[number // len(passages.TOPICS)]
        files.append(File(f"{kind}s-{place}.{end}", tuple(things)))
    return files


def documents_rows(files: Sequence[File]) -> list[dict[str, Any]]:
    """Questions on the documents: most are answered in one of them, some nowhere."""
    rng = chance("own-documents-rows")
    answered = [
        {"question": asked, "answer": said.answer,
         "passages": [{"document": file.name, "text": said.sentence}]}
        for file in files for thing in file.things for said in thing.said
        for asked in said.questions if held_out(asked)
    ]  # fmt: skip
    nowhere = [
        {"question": asked, "answer": "", "passages": []}
        for file in files for thing in file.things for asked in thing.unanswered if held_out(asked)
    ]  # fmt: skip
    rows = rng.sample(answered, ANSWERED) + rng.sample(nowhere, UNANSWERED)
    rng.shuffle(rows)
    return rows


def _written(file: File) -> bytes:
    """A document in the format that its name says."""
    end = file.name.rsplit(".", 1)[1]
    if end == "html":
        parts = [(passages.title_of(one), one.said) for one in file.things]
        body = "\n".join(
            f"<h2>{title}</h2>\n<p>{' '.join(one.sentence for one in said)}</p>"
            for title, said in parts
        )
        head = f'<head><meta charset="utf-8"><title>{file.name}</title></head>'
        page = f'<html lang="en">\n{head}\n<body>\n{body}\n</body>\n</html>'
        return f"<!DOCTYPE html>\n{page}\n".encode()
    text = passages.text_of(file.things, end)
    return pdf(text.split("\n")) if end == "pdf" else f"{text}\n".encode()


def pdf(lines: Sequence[str]) -> bytes:
    """A page of text as PDF; the lines are ASCII."""
    shown = "".join(f"({_escaped(line)}) Tj T*\n" for line in lines)
    text = f"BT /F1 10 Tf 14 TL 50 800 Td\n{shown}ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = "%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    return out.encode("ascii")


def _escaped(line: str) -> str:
    return "".join(f"\\{one}" if one in "()\\" else one for one in line)


def _jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")


def _csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Writes all files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    pairs = preference_rows(PAIRS + UNLABELLED, "own-preference")
    _jsonl(FOLDER / "preference.jsonl", pairs[:PAIRS])
    _jsonl(
        FOLDER / "preference-unlabelled.jsonl",
        [
            {"id": number} | {name: one for name, one in row.items() if name not in judge.WINNERS}
            for number, row in enumerate(pairs[PAIRS:])
        ],
    )
    _jsonl(FOLDER / "tools.jsonl", tools_rows())
    _jsonl(FOLDER / "schema.jsonl", schema_rows())
    _jsonl(FOLDER / "thinking.jsonl", thinking_rows())
    _csv(FOLDER / "misconceptions-test.csv", misconception_rows())
    _csv(
        FOLDER / "misconceptions.csv",
        [{"MisconceptionId": number, "MisconceptionName": name}
         for number, name in enumerate(misconceptions.NAMES)],
    )  # fmt: skip
    documents = FOLDER / "documents"
    shutil.rmtree(documents, ignore_errors=True)
    documents.mkdir()
    files = documents_files()
    for file in files:
        (documents / file.name).write_bytes(_written(file))
    _jsonl(FOLDER / "documents.jsonl", documents_rows(files))


if __name__ == "__main__":
    main()
