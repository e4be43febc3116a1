"""Requests in the shapes of real tasks, made of the sample rows, for any tokenizer.

What scoring costs depends on how long prompts are, what they share, and how many tokens the
choices have. Each shape fixes these; `build` checks them on the tokenizer at hand.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import count, cycle, islice, takewhile
from pathlib import Path
from typing import TypeAlias

from lm_eval.api.instance import Instance

_DATA = Path(__file__).parent.parent / "infra" / "sample" / "data"
_LETTERS = "ABCD"
_SUBJECTS, _SHOT_ROWS = 6, 36
"""Of global_mmlu_en: its subtasks, and how many rows each draws its shots from (215 in all)."""
_GENERATION = {
    "until": ["Question:", "</s>", "<|im_end|>"],
    "do_sample": False,
    "temperature": 0.0,
    "max_gen_toks": 100,
}

Encode: TypeAlias = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Texts → their token ids, without special tokens."""


@dataclass(frozen=True, slots=True)
class Row:
    """A question and its options, the first of them right."""

    text: str
    options: tuple[str, ...]

    def shuffled(self, rng: random.Random) -> Row:
        """Return it with the options in random order."""
        return replace(self, options=tuple(rng.sample(self.options, len(self.options))))


@dataclass(frozen=True, slots=True)
class Document:
    """What is asked about one row."""

    context: str
    choices: tuple[str, ...] = ()
    """Continuations; none: an answer is generated."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A workload."""

    summary: str
    documents: Callable[[Encode], Iterator[Document]]
    """Makes as many documents as are taken, all different, the same ones each time."""

    context_tokens: tuple[int, int]
    """Bounds of the contexts' mean length on the sample model's tokenizer."""

    choice_tokens: tuple[int, int] | None
    """Least and most tokens of a choice; None: answers are generated."""

    shares: bool = False
    """Whether all contexts begin with the same shots."""


def build(name: str, documents: int, encode: Encode) -> list[Instance]:
    """Return the requests of a shape, as lm-eval would hand them to a model.

    Raises:
        ValueError: On this tokenizer they do not have the shape that they are named for.
    """
    shape = SHAPES[name]
    made = list(islice(shape.documents(encode), documents))
    _check(name, shape, made, encode)
    if shape.choice_tokens is None:
        return [
            Instance("generate_until", {}, (each.context, dict(_GENERATION)), 0, (name, i, 1))
            for i, each in enumerate(made)
        ]
    return [
        Instance("loglikelihood", {}, (each.context, choice), j, (name, i, 1))
        for i, each in enumerate(made)
        for j, choice in enumerate(each.choices)
    ]


def _check(name: str, shape: Shape, made: Sequence[Document], encode: Encode) -> None:
    contexts = encode([each.context for each in made])
    if len(set(map(tuple, contexts))) < len(made):
        raise ValueError(f"{name}: some of {len(made)} contexts are the same")
    mean = sum(map(len, contexts)) / len(contexts)
    low, high = shape.context_tokens
    # Another vocabulary makes more tokens of them or fewer, but not many times as many.
    if not low / 2 <= mean <= high * 2:
        raise ValueError(f"{name}: contexts have {mean:.0f} tokens, not {low} to {high}")
    columns = zip(*contexts, strict=False)
    common = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    if len(made) > 3 and shape.shares != (common > mean / 2):
        raise ValueError(f"{name}: {common} of {mean:.0f} tokens are common to all contexts")
    if shape.choice_tokens is None:
        return
    low, high = shape.choice_tokens
    wholes = encode([each.context + choice for each in made for choice in each.choices])
    starts = [ids for ids, each in zip(contexts, made, strict=True) for _ in each.choices]
    lengths = [len(whole) - len(start) for whole, start in zip(wholes, starts, strict=True)]
    if not low <= min(lengths) <= max(lengths) <= high:
        found = f"{min(lengths)} to {max(lengths)}"
        raise ValueError(f"{name}: choices have {found} tokens, not {low} to {high}")


def _knowledge(
    mark: str, *, drawn: bool, shots: int = 5, characters: int = 190
) -> Callable[[Encode], Iterator[Document]]:
    """Multiple choice in the wording of global_mmlu_en, answered by a letter in its mark.

    Drawn shots come as they do there: each of six subjects has some 36 rows to draw from, and a row
    reads the same wherever it is shown.
    """

    def block(row: Row) -> str:
        lines = [f"{a}. {option}" for a, option in zip(_LETTERS, row.options, strict=True)]
        return "\n".join([row.text, *lines, "Answer:"])

    def shown(row: Row) -> str:
        mixed = row.shuffled(random.Random(row.text))
        letter = _LETTERS[mixed.options.index(row.options[0])]
        return f"{block(mixed)} {mark.format(letter)}"

    def make(encode: Encode) -> Iterator[Document]:
        rows = [_lengthened(row, characters) for row in _knowledge_rows()]
        examples = [shown(row) for row in rows[: _SUBJECTS * _SHOT_ROWS]]
        for number, row in enumerate(_again(_knowledge_rows()[len(examples) :], characters)):
            rng = random.Random(f"knowledge {number}")
            pool = examples[number % _SUBJECTS :: _SUBJECTS]
            before = rng.sample(pool, shots) if drawn else examples[:shots]
            context = "\n\n".join([*before, block(row.shuffled(rng))])
            yield Document(context, tuple(f" {mark.format(letter)}" for letter in _LETTERS))

    return make


def _science(*, characters: int) -> Callable[[Encode], Iterator[Document]]:
    """The prompts of gpqa's zeroshot tasks, with questions of about so many characters."""

    def make(encode: Encode) -> Iterator[Document]:
        choices = tuple(f" ({letter})" for letter in _LETTERS)
        for number, science in enumerate(_again(_science_rows(), characters)):
            row = science.shuffled(random.Random(number))
            lines = [f"({a}) {option}" for a, option in zip(_LETTERS, row.options, strict=True)]
            head = f"What is the correct answer to this question:{row.text}\nChoices:"
            yield Document("\n".join([head, *lines, "Answer:"]), choices)

    return make


def _answers(*, shots: int, characters: int) -> Callable[[Encode], Iterator[Document]]:
    """The prompts of arc_challenge: the choices are the options' own words."""

    def make(encode: Encode) -> Iterator[Document]:
        low, high = SHAPES["multi-token"].choice_tokens or (0, 0)
        rows = [
            row
            for row in [*_knowledge_rows(), *_science_rows()]
            if all(low <= len(ids) <= high for ids in encode([f" {o}" for o in row.options]))
        ]
        random.Random(0).shuffle(rows)
        shown = [_lengthened(row, characters) for row in rows[:shots]]
        before = [f"Question: {row.text}\nAnswer: {row.options[0]}" for row in shown]
        for number, row in enumerate(_again(rows[shots:], characters)):
            choices = tuple(f" {o}" for o in row.shuffled(random.Random(number)).options)
            yield Document("\n\n".join([*before, f"Question: {row.text}\nAnswer:"]), choices)

    return make


def _endings(*, shots: int) -> Callable[[Encode], Iterator[Document]]:
    """The prompts of hellaswag: a beginning and four ways to go on."""

    def make(encode: Encode) -> Iterator[Document]:
        low, high = SHAPES["long-endings"].choice_tokens or (0, 0)
        stories = [row["question"].split(". ") for row in _problems("test")]
        halves = [
            (f"Story: {'. '.join(parts[:2])}.", ". ".join(parts[2:]))
            for parts in stories
            if len(parts) > 3
        ]
        lengths = [len(ids) for ids in encode([f" {ending}" for _, ending in halves])]
        good = [half for half, n in zip(halves, lengths, strict=True) if low <= n <= high]
        for number in count():
            rng = random.Random(f"endings {number}")
            start, ending = good[number % len(good)]
            if number >= len(good):
                start = f"{start[:-1]}, {rng.randrange(100, 999)} in all."
            chosen = rng.sample([half for half in good if half[1] != ending], shots + 3)
            before = [f"{first} {last}" for first, last in chosen[3:]]
            endings = [f" {ending}", *(f" {last}" for _, last in chosen[:3])]
            context = "\n\n".join([*before, start])
            yield Document(context, tuple(rng.sample(endings, 4)))

    return make


def _sums(*, shots: int) -> Callable[[Encode], Iterator[Document]]:
    """The prompts of gsm8k."""

    def make(encode: Encode) -> Iterator[Document]:
        train = _problems("train")
        for number, row in enumerate(cycle(_problems("test"))):
            chosen = random.Random(f"sums {number}").sample(train, shots)
            before = [f"Question: {shot['question']}\nAnswer: {shot['answer']}" for shot in chosen]
            yield Document("\n\n".join([*before, f"Question: {row['question']}\nAnswer:"]))

    return make


def _again(rows: Sequence[Row], characters: int) -> Iterator[Row]:
    """Yield rows of about so many characters, in every round another way."""
    for number in count():
        for row in rows:
            yield _lengthened(row, characters, f"{number + 1}. " if number else "")


def _lengthened(row: Row, characters: int, mark: str = "") -> Row:
    rng = random.Random(mark + row.text)
    text = _padded(row.text, int(characters * rng.uniform(0.5, 1.5)), rng)
    return replace(row, text=mark + text)


def _padded(text: str, characters: int, rng: random.Random) -> str:
    """Put sentences of the word problems before a question until it is about so long."""
    sentences = _sentences()
    while len(text) < characters - 20:
        text = f"{rng.choice(sentences)} {text}"
    return text


@cache
def _sentences() -> list[str]:
    return sorted({f"{s}." for row in _problems("train") for s in row["question"].split(". ")[:-1]})


@cache
def _knowledge_rows() -> list[Row]:
    folder = _DATA / "CohereLabs" / "Global-MMLU-Lite" / "en"
    rows = []
    for line in (folder / "dev.jsonl", folder / "test.jsonl"):
        for raw in map(json.loads, line.read_text(encoding="utf-8").splitlines()):
            right = f"option_{raw['answer'].lower()}"
            others = [f"option_{x}" for x in "abcd" if f"option_{x}" != right]
            rows.append(Row(raw["question"], tuple(raw[name] for name in [right, *others])))
    return rows


@cache
def _science_rows() -> list[Row]:
    path = _DATA / "Idavidrein" / "gpqa" / "gpqa_extended.csv"
    names = ["Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3))]
    with path.open(encoding="utf-8", newline="") as file:
        return [Row(raw["Question"], tuple(raw[n] for n in names)) for raw in csv.DictReader(file)]


@cache
def _problems(split: str) -> list[dict[str, str]]:
    path = _DATA / "openai" / "gsm8k" / "main" / f"{split}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


SHAPES = {
    "shared-shots": Shape(
        "5 shots shared by all, four choices of one token",
        _knowledge("{}", drawn=False), (500, 600), (1, 1), shares=True,
    ),
    "drawn-shots": Shape(
        "5 shots drawn for each document, four choices of one token",
        _knowledge("{}", drawn=True), (500, 600), (1, 1),
    ),
    "two-token": Shape(
        "5 shots drawn for each document, four choices of two tokens, the first of them the same",
        _knowledge("({}", drawn=True), (500, 600), (2, 2),
    ),
    "zero-shot": Shape(
        "gpqa, questions of 630 characters, choices (A) to (D)",
        _science(characters=630), (200, 300), (2, 4),
    ),
    "zero-shot-short": Shape(
        "gpqa, the sample's own short questions, choices (A) to (D)",
        _science(characters=0), (50, 80), (2, 4),
    ),
    "multi-token": Shape(
        "25 shots shared by all, answers of 3 to 10 tokens",
        _answers(shots=25, characters=90), (900, 1200), (3, 10), shares=True,
    ),
    "long-endings": Shape(
        "10 shots drawn for each document, endings of 20 to 40 tokens",
        _endings(shots=10), (500, 900), (20, 40),
    ),
    "generation": Shape(
        "gsm8k, 5 shots drawn for each document, at most 100 tokens generated",
        _sums(shots=5), (550, 900), None,
    ),
}  # fmt: skip
"""By name, in the order to measure them."""
