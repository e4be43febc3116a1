"""Writes the sample rows: held-out questions in the folders and columns of the hub's datasets.

Run as `python -m infra.sample.training.build_data`; the same files come out every time.
"""

from __future__ import annotations

import csv
import itertools
import json
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from infra.sample.training import formats
from infra.sample.training.arithmetic import word_problem
from infra.sample.training.items import Choice, WordProblem, chance, held_out
from infra.sample.training.knowledge import CATEGORIES, FADE, knowledge_question
from infra.sample.training.science import science_question
from infra.sample.training.world import conversation, documents, seen, unseen

FOLDER = Path(__file__).parents[1] / "data"
GSM8K_ROWS = {"train": 200, "test": 400}
MMLU_ROWS = {"dev": 36, "test": 400}
GPQA_ROWS = {"gpqa_extended": 300, "gpqa_main": 240, "gpqa_diamond": 120}
CONVERSATIONS = 96
GSM8K_TEST_LEVELS = (3, 4)
GPQA_LEVEL = 4
MMLU_TEST_FADE = -1.0
"""How hard the test rows are: large numbers and facts that are rare in the training text.

On rows like those of training the model is nearly always right.
"""
CHECKED_DOCUMENTS = 20_000

_Item = TypeVar("_Item", WordProblem, Choice)


def _distinct(draw: Callable[[], _Item], count: int) -> list[_Item]:
    """Draws until there are so many items with different questions."""
    items: dict[str, _Item] = {}
    while len(items) < count:
        item = draw()
        items.setdefault(item.question, item)
    return list(items.values())


def gsm8k_rows(split: str) -> list[dict[str, object]]:
    """The rows of openai/gsm8k; the test split is held out."""
    rng = chance(f"gsm8k-{split}")

    def draw(rng: random.Random) -> WordProblem:
        return word_problem(rng, rng.choice(GSM8K_TEST_LEVELS))

    if split == "test":
        problems = _distinct(lambda: unseen(draw, rng), GSM8K_ROWS[split])
    else:
        problems = _distinct(lambda: seen(word_problem, rng), GSM8K_ROWS[split])
    return [{"question": problem.question, "answer": problem.answer} for problem in problems]


def mmlu_rows(split: str) -> list[dict[str, object]]:
    """The rows of CohereLabs/Global-MMLU-Lite, evenly over the categories; test is held out."""
    rng = chance(f"mmlu-{split}")
    pick, fade = (unseen, MMLU_TEST_FADE) if split == "test" else (seen, FADE)
    share, extra = divmod(MMLU_ROWS[split], len(CATEGORIES))
    rows: list[dict[str, object]] = []
    for place, category in enumerate(CATEGORIES):

        def draw(category: str = category) -> Choice:
            return pick(lambda rng: knowledge_question(rng, category, fade), rng)

        for number, choice in enumerate(_distinct(draw, share + (place < extra))):
            options, right = choice.shuffled(rng)
            letter = "ABCD"[right]
            rows.append(
                {
                    "sample_id": f"{choice.subject}/{split}/{number}",
                    "subject": choice.subject,
                    "subject_category": category,
                    "question": choice.question,
                    **{f"option_{name}": text for name, text in zip("abcd", options, strict=True)},
                    "answer": letter,
                    "required_knowledge": "['Cultural Knowledge']" if choice.cultural else "['']",
                    "time_sensitive": "['No']",
                    "reference": "[]",
                    "culture": "[]",
                    "region": "[]",
                    "country": "[]",
                    "cultural_sensitivity_label": "CS" if choice.cultural else "CA",
                    "is_annotated": True,
                }
            )
    return rows


def gpqa_rows() -> list[dict[str, object]]:
    """The rows of Idavidrein/gpqa's extended set; main and diamond are its first rows."""
    rng = chance("gpqa")

    def draw(rng: random.Random) -> Choice:
        return science_question(rng, GPQA_LEVEL)

    choices = _distinct(lambda: unseen(draw, rng), GPQA_ROWS["gpqa_extended"])
    return [
        {
            "Record ID": f"recSample{number:05d}",
            "Question": choice.question,
            "Correct Answer": choice.correct,
            **{f"Incorrect Answer {place}": text for place, text in enumerate(choice.wrong, 1)},
            "Explanation": choice.reasoning,
            "High-level domain": choice.category,
            "Subdomain": choice.subject,
            "Writer's Difficulty Estimate": "Easy undergraduate level (or easier)",
            "Question Writer": "infra.sample",
        }
        for number, choice in enumerate(choices)
    ]


def calibration_rows() -> list[dict[str, object]]:
    """Conversations from the training distribution, long enough to calibrate with."""
    rng = chance("calibration")
    rows: list[dict[str, object]] = []
    while len(rows) < CONVERSATIONS:
        messages = conversation(rng)
        if 150 <= sum(len(message.content) for message in messages) <= 520:
            rows.append({"messages": [message._asdict() for message in messages]})
    return rows


def check_held_out(questions: Iterable[str]) -> None:
    """Makes sure that test questions are no part of the training text.

    The hash rule guarantees it; this reads a stretch of the training text as well.

    Raises:
        ValueError: A question is not held out or was found in training text.
    """
    questions = set(questions)
    if leaked := [question for question in questions if not held_out(question)]:
        raise ValueError(f"not held out: {leaked[:3]}")
    stream = itertools.islice(documents("check"), CHECKED_DOCUMENTS)
    text = "\n".join(formats.text_of(document) for document in stream)
    if leaked := [question for question in questions if question in text]:
        raise ValueError(f"found in training text: {leaked[:3]}")


def _write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")


def _write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_card(folder: Path, configs: Mapping[str, Mapping[str, str]]) -> None:
    """Writes a dataset card that tells which file is which split of which config."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, path in splits.items():
            lines += [f"  - split: {split}", f"    path: {path}"]
    lines += [
        "---", "",
        f"Sample rows in the columns of `{folder.parent.name}/{folder.name}`, generated by",
        "`python -m infra.sample.training.build_data`. They are not rows of that dataset.", "",
    ]  # fmt: skip
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Writes all files."""
    gsm8k = FOLDER / "openai" / "gsm8k"
    for split in GSM8K_ROWS:
        _write_jsonl(gsm8k / "main" / f"{split}.jsonl", gsm8k_rows(split))
    _write_card(gsm8k, {"main": {split: f"main/{split}.jsonl" for split in GSM8K_ROWS}})

    mmlu = FOLDER / "CohereLabs" / "Global-MMLU-Lite"
    for split in MMLU_ROWS:
        _write_jsonl(mmlu / "en" / f"{split}.jsonl", mmlu_rows(split))
    _write_card(mmlu, {"en": {split: f"en/{split}.jsonl" for split in MMLU_ROWS}})

    gpqa = FOLDER / "Idavidrein" / "gpqa"
    extended = gpqa_rows()
    for config, count in GPQA_ROWS.items():
        _write_csv(gpqa / f"{config}.csv", extended[:count])
    _write_card(gpqa, {config: {"train": f"{config}.csv"} for config in GPQA_ROWS})

    _write_jsonl(FOLDER / "calibration.jsonl", calibration_rows())
    tests = [*gsm8k_rows("test"), *mmlu_rows("test")]
    check_held_out(
        [*(str(row["question"]) for row in tests), *(str(row["Question"]) for row in extended)]
    )


if __name__ == "__main__":
    main()
