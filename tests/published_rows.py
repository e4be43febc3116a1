"""Rows of MMLU, C-Eval and IFEval, a few of each, in folders as their hubs have them.

    python -m tests.published_rows FOLDER

A folder a subject, a file a split, and a README that names them; IFEval is one file. Questions of
MMLU are the sample's own, so that the sample model is not guessing; those of C-Eval are sums.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from infra.contracts.specs import DatasetSpec

_SAMPLE = (
    Path(__file__).parent.parent / "infra" / "sample" / "data" / "CohereLabs" / "Global-MMLU-Lite"
)
_SHOTS = 5

MMLU, CEVAL, IFEVAL = "cais/mmlu", "ceval/ceval-exam", "google/IFEval"

Row = Mapping[str, Any]

_ORDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "keywords:existence": ("Use the words cell and wall.", {"keywords": ["cell", "wall"]}),
    "keywords:frequency": (
        "Use the word the at least 2 times.",
        {"keyword": "the", "frequency": 2, "relation": "at least"},
    ),
    "keywords:forbidden_words": ("Do not use the word and.", {"forbidden_words": ["and"]}),
    "keywords:letter_frequency": (
        "Use the letter e at least 3 times.",
        {"letter": "e", "let_frequency": 3, "let_relation": "at least"},
    ),
    "language:response_language": ("Answer in English.", {"language": "en"}),
    "length_constraints:number_sentences": (
        "Answer in less than 4 sentences.",
        {"num_sentences": 4, "relation": "less than"},
    ),
    "length_constraints:number_paragraphs": ("Write 2 paragraphs.", {"num_paragraphs": 2}),
    "length_constraints:number_words": (
        "Answer in at least 20 words.",
        {"num_words": 20, "relation": "at least"},
    ),
    "length_constraints:nth_paragraph_first_word": (
        "Begin the first of 2 paragraphs with there.",
        {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "there"},
    ),
    "detectable_content:number_placeholders": ("Use [name] twice.", {"num_placeholders": 2}),
    "detectable_content:postscript": ("End with a P.S.", {"postscript_marker": "P.S."}),
    "detectable_format:number_bullet_lists": ("Write 2 bullets.", {"num_bullets": 2}),
    "detectable_format:constrained_response": ("Say My answer is yes.", {}),
    "detectable_format:number_highlighted_sections": ("*Mark* one part.", {"num_highlights": 1}),
    "detectable_format:multiple_sections": (
        "Write 2 sections that begin with Section.",
        {"section_spliter": "Section", "num_sections": 2},
    ),
    "detectable_format:json_format": ("Answer in JSON.", {}),
    "detectable_format:title": ("Give it a <<title>>.", {}),
    "combination:two_responses": ("Give two answers, ****** between them.", {}),
    "combination:repeat_prompt": (
        "Repeat the question first.",
        {"prompt_to_repeat": "What is a cell?"},
    ),
    "startend:end_checker": ("End with that is all.", {"end_phrase": "that is all."}),
    "change_case:capital_word_frequency": (
        "Use less than 5 words in capitals.",
        {"capital_frequency": 5, "capital_relation": "less than"},
    ),
    "change_case:english_capital": ("ANSWER IN CAPITALS.", {}),
    "change_case:english_lowercase": ("answer in lowercase.", {}),
    "punctuation:no_comma": ("Use no comma.", {}),
    "startend:quotation": ("Put the answer in quotation marks.", {}),
}
"""Every kind of instruction that IFEval knows → how a prompt asks for it, and its arguments."""


def write(folder: Path) -> dict[str, DatasetSpec]:
    """Write all three; return what `evaluation.datasets` names."""
    sample = _sample_rows()
    _by_subject(folder / MMLU, "mmlu", {"dev": _SHOTS, "test": 2}, lambda _: next(sample))
    _by_subject(folder / CEVAL, "ceval-valid", {"dev": _SHOTS, "val": 2}, _sum_in_chinese)
    _lines(folder / IFEVAL / "ifeval_input_data.jsonl", _instructions())
    return {name: DatasetSpec(path=str(folder / name)) for name in (MMLU, CEVAL, IFEVAL)}


def write_punkt(folder: Path) -> Path:
    """Write NLTK's data for English sentences without any abbreviation; return its NLTK_DATA."""
    place = folder / "tokenizers" / "punkt_tab" / "english"
    place.mkdir(parents=True)
    for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
        (place / name).write_text("")
    return folder


def subjects(group: str) -> list[str]:
    """Return the subjects of lm-eval's group, by the names that its tasks give their datasets."""
    import lm_eval.tasks

    place = Path(lm_eval.tasks.__file__).parent
    files = {"mmlu": "mmlu/default/mmlu_*.yaml", "ceval-valid": "ceval/ceval-valid_*.yaml"}
    found = (yaml.safe_load(file.read_text()) for file in place.glob(files[group]))
    return sorted(one["dataset_name"] for one in found)


def _by_subject(
    folder: Path, group: str, splits: Mapping[str, int], make: Callable[[random.Random], Row]
) -> None:
    draw = random.Random(20)
    configs = []
    for subject in subjects(group):
        named = []
        for split, rows in splits.items():
            _lines(folder / subject / f"{split}.jsonl", (make(draw) for _ in range(rows)))
            named.append({"split": split, "path": f"{subject}/{split}.jsonl"})
        configs.append({"config_name": subject, "data_files": named})
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")


def _sample_rows() -> Iterator[Row]:
    lines = (_SAMPLE / "en" / "test.jsonl").read_text().splitlines()
    while True:  # 57 subjects have more examples and questions than the sample has
        for row in map(json.loads, lines):
            yield {
                "question": row["question"],
                "subject": row["subject"],
                "choices": [row[f"option_{letter}"] for letter in "abcd"],
                "answer": "ABCD".index(row["answer"]),
            }


def _sum_in_chinese(draw: random.Random) -> Row:
    first, second = draw.randrange(2, 30), draw.randrange(2, 30)
    options = draw.sample(range(first + second - 3, first + second + 4), 4)
    right = draw.randrange(4)
    if first + second in options:
        right = options.index(first + second)
    else:
        options[right] = first + second
    return {
        "id": 0,
        "question": f"{first}加{second}等于____。",
        **{letter: str(option) for letter, option in zip("ABCD", options, strict=True)},
        "answer": "ABCD"[right],
        "explanation": "",
    }


def _instructions() -> Iterator[Row]:
    every: dict[str, None] = dict.fromkeys(name for _, given in _ORDERS.values() for name in given)
    names = list(_ORDERS)
    # Each alone, and each with the one after it: one may be followed where the other is not.
    for key, chosen in enumerate([*([one] for one in names), *pairwise(names)]):
        orders = [_ORDERS[one] for one in chosen]
        yield {
            "key": 1000 + key,
            "prompt": "What is a cell? " + " ".join(text for text, _ in orders),
            "instruction_id_list": list(chosen),
            "kwargs": [{**every, **given} for _, given in orders],
        }


def _lines(file: Path, rows: Iterator[Row]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
