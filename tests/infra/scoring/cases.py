"""Questions made by hand, each kind with what it is likely to go wrong at."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance

from infra.scoring.sampling import seeds
from tests.infra.scoring.comparison import Request

Choices = Sequence[tuple[str, Sequence[str]]]
"""Contexts and the continuations of each."""

STORY = (
    "Mary has 12 apples. She gives 5 of them to Tom and buys 8 more at the market. Then she puts "
    "them in equal piles and keeps only one of the piles. How many apples does Mary have now? "
)
SEED = 1234
"""Of both clients, unless they are given another."""

PRIMED = "Question: Which planet is the largest?\nA. Mars\nB. Jupiter\nC. Venus\nD. Earth\nAnswer:"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WORDS = ("carbon", "iron", "oxygen", "gold")


@dataclass(frozen=True)
class Made:
    """Questions of one kind, made by hand."""

    name: str
    kind: str
    """`loglikelihood`, `loglikelihood_rolling` or `generate_until`."""

    requests: Sequence[Request]

    def instances(self) -> list[Instance]:
        """Return the questions as lm-eval hands them to a model."""
        return [
            Instance(
                request_type=self.kind,  # type: ignore[arg-type]
                doc={},
                arguments=(ask.context,) if ask.wanted is None else (ask.context, ask.wanted),
                idx=number,
                metadata=(*ask.document, 1),
            )
            for number, ask in enumerate(self.requests)
        ]

    def instances_for_stock(self) -> list[Instance]:
        """Return the same with our seeds: stock draws all answers with one."""
        instances = self.instances()
        if self.kind == "generate_until":
            for one, seed in zip(instances, seeds(instances, SEED), strict=True):
                if seed is not None:
                    context, given = one.args
                    one.arguments = (context, {**given, "seed": seed})
        return instances


def _choose(name: str, choices: Choices) -> Made:
    requests = [
        Request((name, number), context, continuation)
        for number, (context, continuations) in enumerate(choices)
        for continuation in continuations
    ]
    return Made(name, "loglikelihood", requests)


def _generate(name: str, prompts: Sequence[tuple[str, Mapping[str, Any]]]) -> Made:
    requests = [
        Request((name, number), context, dict(settings))
        for number, (context, settings) in enumerate(prompts)
    ]
    return Made(name, "generate_until", requests)


def made(length: Callable[[str], int], window: int) -> Iterator[Made]:
    """Yield all kinds.

    Args:
        length: Text → number of its tokens.
        window: Tokens of a prompt that stock does not cut.
    """
    yield _choose("one-token choices", _letters())
    yield _choose("choices that share first tokens", _sharing())
    yield _choose("long endings", _endings())
    yield _choose("endings within endings", _nested())
    yield _choose("equal endings", _equal())
    yield _choose("30 choices", _many())
    yield _choose("empty context", _empty())
    yield _choose("spaces at the end", _spaces())
    yield _choose("tokens across the border", _merging())
    yield _choose("unicode", _unicode())
    yield _choose("longer than the window", _too_long(length, window))
    yield _rolling(length, window)
    yield _generate("generation", _prompts())
    yield _generate("generation, drawn by chance", _drawn())
    yield _generate("generation, prompt cut", _long_prompts(length, window))


def _letters() -> Choices:
    plain = [" A", " B", " C", " D"]
    return [(PRIMED, plain), (STORY + PRIMED, plain), (PRIMED + " B\n\n" + PRIMED, plain)]


def _sharing() -> Choices:
    return [
        (PRIMED, [" A", " B", " A.", " A. Mars", " B. Jupiter", " (A)", " (B)"]),
        (STORY + "\nAnswer:", [" 1", " 12", " 15", " 1500", " 2"]),
        ("The symbol", [" is", " is C", " is Ca", " is Co", "s", "s are"]),
    ]


def _endings() -> Choices:
    tails = [
        "takes the apples out of the bag, counts them twice and divides them by the piles.",
        "walks to the market again, where every apple costs 2 coins and the 8 pears are sold out.",
        "is the largest planet of all and has a mass of 1.9 kg.",
        "gives 5 * 8 = 40 apples to Tom, so that 40 - 12 = 28 are left. #### 28",
    ]
    ends = [" She " + tail for tail in tails]
    return [(STORY.strip(), ends), ("Then Mary sits down.", ends), (STORY * 3, tails)]


def _nested() -> Choices:
    whole = " She has 15 apples in each of the piles and then some more."
    steps = [whole[:size] for size in range(len(whole)) if whole[size] == " " and size] + [whole]
    return [(STORY.strip(), steps), ("So.", [steps[-1], steps[0], steps[3], steps[-1] + " " * 3])]


def _equal() -> Choices:
    return [(PRIMED, [" yes", " no", " yes", " maybe it is", " no", " maybe it is"])] * 2


def _many() -> Choices:
    numbers = [f" {number * 37 % 1000}" for number in range(30)]
    labels = [f" {letter}" for letter in LETTERS] + [" 1", " 2", " 3", " 4"]
    return [(STORY + "Answer:", numbers), (PRIMED, labels)]


def _empty() -> Choices:
    specials = ["<|endoftext|>Mary has", "<|bos|>Mary has", "<|eos|>Mary has"]
    return [("", ["Mary", "Mary has 12 apples.", "12", " has"]), ("", specials)]


def _spaces() -> Choices:
    return [
        ("The answer is ", ["12", "15 apples", "A"]),
        ("The answer is  \n ", ["12", " 15", "\nA"]),
        ("The answer is\n\n", ["12", "B. Jupiter"]),
        ("The answer is\t", ["12", " 15"]),
        ("The answer is\u00a0", ["12", " 15"]),  # str.rstrip takes this space too
        ("The answer is", [" 12 ", "  12", " ", "\n"]),
    ]


def _merging() -> Choices:
    return [
        ("The answ", ["er is 12", "er", "ers"]),
        ("The number 1", ["2", "2 apples", "200"]),  # one token for 12, where there is one
        ("Wher", ["e and when", "ever"]),
        ("She has mor", ["e a", "e th", "e"]),
        ("It is don", ["'t", "'t it"]),
        ("A lin", ["e\n\n\nend", "\n\n"]),
        ("<|im_start", ["|>user\nHi", "|>"]),
    ]


def _unicode() -> Choices:
    return [
        ("Ein Stück Käse kostet", [" fünf €", " fu\u0308nf €", " 五ユーロ", " 🧀🧀", " пять"]),
        ("caf", ["é", "e\u0301", "é au lait"]),
        ("cafe", ["\u0301 noir", "\u0301"]),  # normalization merges letter and accent
        ("東京は日本の首", ["都です。", "都", "🗼"]),
        ("👩\u200d👩\u200d", ["👧", "👧 family", "\u200d"]),
        ("\u05e9\u05dc\u05d5\u05dd", [" \u05e2\u05d5\u05dc\u05dd", "\u0000", "\ufffd"]),
    ]


def _too_long(length: Callable[[str], int], window: int) -> Choices:
    long = _of_length(length, window + 40)
    # Around the border each ending loses another number of tokens, or none.
    border = [_of_length(length, window - room) for room in (0, 1, 2, 6)]
    ends = [" B", " C", " Jupiter is", " Jupiter is the largest of them all."]
    nearly = _of_length(length, window - 12)
    return [(text, ends) for text in (long, *border)] + [(" B", [" C" + nearly])]


def _rolling(length: Callable[[str], int], window: int) -> Made:
    name = "rolling"
    texts = [
        STORY,
        "A",
        "",
        "naïve café — 東京 🚀 e\u0301",
        _of_length(length, window - 2),
        _of_length(length, window - 1),
        _of_length(length, window),
        _of_length(length, 2 * window + window // 3),
    ]
    requests = [Request((name, number), text, None) for number, text in enumerate(texts)]
    return Made(name, "loglikelihood_rolling", requests)


def _prompts() -> Sequence[tuple[str, Mapping[str, Any]]]:
    question = f"Question: {STORY}\nAnswer:"
    greedy = {"do_sample": False, "temperature": 0.0}
    # The first as gsm8k gives it; the others change one thing each.
    settings_of: list[Mapping[str, Any]] = [
        {"until": ["Question:", "</s>", "<|im_end|>"], **greedy, "max_gen_toks": 48},
        {"until": ["\n", ".", " 1"], "max_gen_toks": 48},
        {"until": "\n\n", "max_gen_toks": 48},
        {"until": [], "max_gen_toks": 5},
        {"until": ["<|endoftext|>"], "max_tokens": 7},
        {"until": ["e"], "max_gen_toks": 48, "temperature": 0, "top_p": 0.5},
        {"max_gen_toks": 1},
        {"until": [" "], "max_gen_toks": 24, "repetition_penalty": 1.3},
        {"until": ["é", "は"], "max_gen_toks": 24, "ignore_eos": True},
    ]
    return [(context, settings) for settings in settings_of for context in (question, PRIMED)] + [
        (question, settings_of[0]),  # asked twice
        ("東京は", settings_of[8]),
        (" \n", settings_of[3]),
    ]


def _drawn() -> Sequence[tuple[str, Mapping[str, Any]]]:
    settings = [
        {"until": ["Question:"], "do_sample": True, "temperature": 0.7, "max_gen_toks": 24},
        {"do_sample": True, "temperature": 1.0, "top_p": 0.9, "top_k": 20, "max_gen_toks": 24},
    ]
    return [(context, each) for each in settings for context in (STORY, PRIMED, PRIMED)]


def _long_prompts(
    length: Callable[[str], int], window: int
) -> Sequence[tuple[str, Mapping[str, Any]]]:
    settings = {"until": ["Question:"], "max_gen_toks": 16}
    sizes = (window - 17, window - 16, window - 15, window, window + 50)
    return [(_of_length(length, size), settings) for size in sizes]


def _of_length(length: Callable[[str], int], tokens: int) -> str:
    """Return the beginning of a long story that has exactly so many tokens."""
    story = "".join(f"{number} {STORY}" for number in range(1 + tokens // 10))
    near = bisect_left(range(len(story)), tokens, key=lambda size: length(story[:size]))
    return next(story[:size] for size in range(near, near + 99) if length(story[:size]) == tokens)
