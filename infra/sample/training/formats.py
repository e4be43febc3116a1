"""Renders questions in the prompt formats of the lm-evaluation-harness tasks, plain and as chat.

The wording, the delimiters and the way shots are joined are those of lm-eval 0.4.13 for `gsm8k`,
`global_mmlu_en` and `gpqa_*`: shots are separated by a blank line, a task's description goes before
everything else or becomes the system message, and with a chat template the shots are either turns
of their own (`fewshot_as_multiturn`) or part of the one user message.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from infra.sample.training.items import Choice, WordProblem

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
PADDING = "<|pad|>"
SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END, PADDING)

GPQA_DESCRIPTION = (
    "Here are some example questions from experts. Answer the final question yourself, following "
    "the format of the previous questions exactly.\n"
)
_LETTERS = "ABCD"


class Weight(enum.IntEnum):
    """How much a token counts in the training loss, in tenths."""

    PROMPT = 1
    TEXT = 10
    LETTER = 60


class Segment(NamedTuple):
    """A piece of a document that is tokenized on its own."""

    text: str
    weight: int


Document = list[Segment]


class Message(NamedTuple):
    """A turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt and its answers.

    Attributes:
        prompt: What lm-eval calls the document's text.
        answer: The right answer.
        shot: The answer shown when the exchange is a shot; differs for chain of thought, where
            lm-eval shows the bare target.
        weight: What the tokens of the answer count.
    """

    prompt: str
    answer: str
    shot: str
    weight: int


class Layout(enum.Enum):
    """The three ways lm-eval sends a prompt."""

    PLAIN = "plain"
    CHAT = "chat, shots inside the user message"
    MULTITURN = "chat, shots as turns"


def gsm8k(problem: WordProblem) -> Exchange:
    """The exchange of `gsm8k`."""
    prompt = f"Question: {problem.question}\nAnswer:"
    return Exchange(prompt, problem.answer, problem.answer, Weight.TEXT)


def global_mmlu(choice: Choice, rng: random.Random) -> Exchange:
    """The exchange of `global_mmlu_en`, with the options in random order."""
    options, right = choice.shuffled(rng)
    return global_mmlu_in_order(choice.question, options, _LETTERS[right])


def global_mmlu_in_order(question: str, options: Sequence[str], letter: str) -> Exchange:
    """The exchange of `global_mmlu_en`, with the options as given."""
    lines = [f"{name}. {option}" for name, option in zip(_LETTERS, options, strict=True)]
    return Exchange("\n".join([question, *lines, "Answer:"]), letter, letter, Weight.LETTER)


class Gpqa(enum.Enum):
    """The three wordings among the gpqa tasks: how the question starts and how the prompt ends."""

    ZEROSHOT = ("What is the correct answer to this question:", "Answer:")
    N_SHOT = ("Question: ", "Answer:")
    COT_ZEROSHOT = (
        "What is the correct answer to this question:", "Let's think step by step: ",
    )  # fmt: skip
    COT_N_SHOT = ("Question: ", "Let's think step by step: ")

    @property
    def description(self) -> str:
        """What lm-eval puts before the first question."""
        return GPQA_DESCRIPTION if self in (Gpqa.N_SHOT, Gpqa.COT_N_SHOT) else ""

    @property
    def reasons(self) -> bool:
        """Whether the answer is to be worked out in words."""
        return self in (Gpqa.COT_ZEROSHOT, Gpqa.COT_N_SHOT)


def gpqa(choice: Choice, task: Gpqa, rng: random.Random) -> Exchange:
    """The exchange of a gpqa task, with the options in random order."""
    options, right = choice.shuffled(rng)
    start, end = task.value
    lines = [f"({name}) {option}" for name, option in zip(_LETTERS, options, strict=True)]
    prompt = "\n".join([start + choice.question, "Choices:", *lines, end])
    letter = f"({_LETTERS[right]})"
    if not task.reasons:
        return Exchange(prompt, letter, letter, Weight.LETTER)
    return Exchange(prompt, f"{choice.reasoning} The answer is {letter}.", letter, Weight.TEXT)


def render(exchanges: Sequence[Exchange], layout: Layout, description: str = "") -> Document:
    """Renders exchanges as a document: all but the last are shots.

    Args:
        exchanges: The shots and the question proper.
        layout: Plain text or one of the two chat forms.
        description: The task's description, or nothing.

    Returns:
        The document, ended by the end-of-text token.
    """
    *shots, last = exchanges
    if layout is Layout.PLAIN:
        document = [Segment(description, Weight.PROMPT)] if description else []
        return [*document, *_plain(shots, last), *_answer(last, _delimiter(last)), _end()]
    document = [_turn("system", description)] if description else []
    if layout is Layout.MULTITURN:
        for shot in shots:
            document += [_turn("user", shot.prompt), _open(), *_shown(shot)]
            document += [Segment(TURN_END, Weight.TEXT), Segment("\n", Weight.PROMPT)]
        document.append(_turn("user", last.prompt))
    else:
        document.append(Segment(f"{TURN_START}user\n", Weight.PROMPT))
        document += [*_plain(shots, last), Segment(f"{TURN_END}\n", Weight.PROMPT)]
    return [*document, _open(), *_answer(last), Segment(TURN_END, Weight.TEXT), _end()]


def converse(messages: Sequence[Message]) -> Document:
    """Renders a conversation in the model's chat format."""
    document: Document = []
    for message in messages:
        if message.role != "assistant":
            document.append(_turn(message.role, message.content))
            continue
        document += [_open(), Segment(message.content, Weight.TEXT)]
        document += [Segment(TURN_END, Weight.TEXT), Segment("\n", Weight.PROMPT)]
    return [*document[:-1], _end()]


def text_of(document: Document) -> str:
    """The whole text of a document."""
    return "".join(segment.text for segment in document)


def _plain(shots: Sequence[Exchange], last: Exchange) -> Document:
    """Shots with their answers, then the last prompt."""
    document: Document = []
    separator = ""
    for shot in shots:
        document.append(Segment(separator + shot.prompt, Weight.PROMPT))
        document += _shown(shot, " ")
        separator = "\n\n"
    return [*document, Segment(separator + last.prompt, Weight.PROMPT)]


def _delimiter(exchange: Exchange) -> str:
    return "" if exchange.prompt.endswith(" ") else " "


def _answer(exchange: Exchange, delimiter: str = "") -> Document:
    return [Segment(delimiter + exchange.answer, exchange.weight)]


def _shown(exchange: Exchange, delimiter: str = "") -> Document:
    """A shot's answer; one that hides its reasoning is not to be imitated."""
    weight = exchange.weight if exchange.shot == exchange.answer else Weight.PROMPT
    return [Segment(delimiter + exchange.shot, weight)]


def _turn(role: str, content: str) -> Segment:
    return Segment(f"{TURN_START}{role}\n{content}{TURN_END}\n", Weight.PROMPT)


def _open() -> Segment:
    return Segment(f"{TURN_START}assistant\n", Weight.PROMPT)


def _end() -> Segment:
    return Segment(END_OF_TEXT, Weight.TEXT)
