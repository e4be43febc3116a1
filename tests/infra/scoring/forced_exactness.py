"""Choices scored by forcing tokens on llama.cpp, beside the same model in numpy.

    python -m tests.infra.scoring.forced_exactness [--rows 100] [--dtype float32]

Builds llama.cpp's environment if it is not there, serves the sample as a GGUF file, and compares
log-likelihoods of one-token choices and of whole answers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance

from infra.contracts.progress import Silent
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines.live import LiveServer
from infra.engines.llamacpp.server import serve
from infra.machine.device import detect
from infra.machine.environments import ensure
from infra.scoring.model import AssayCompletions
from infra.store.settings import Settings
from tests.broken_checkpoints import SAMPLE
from tests.conftest import ROOT
from tests.qwen2_in_numpy import Qwen2
from tests.sample_gguf import write

_ROWS = ROOT / "infra/sample/data/CohereLabs/Global-MMLU-Lite/en"
_LETTERS = "abcd"


@dataclass
class Found:
    """What was compared. Differences are in nats."""

    choices: int = 0
    largest: float = 0.0
    """Of one-token choices."""

    answers: int = 0
    largest_of_answers: float = 0.0
    """Of sums over answers of several tokens."""

    other_picks: int = 0
    """Rows on which the likeliest choice is another."""

    other_greedy: list[tuple[str, float]] = field(default_factory=list)
    """Continuations that only one of both takes for the likeliest."""

    requests: int = 0
    seconds: float = 0.0


def rows(count: int) -> list[tuple[str, list[str], list[str]]]:
    """Return prompts with four shots, their letters, and their answers in full."""
    read = [
        [json.loads(line) for line in (_ROWS / f"{name}.jsonl").read_text().splitlines()]
        for name in ("dev", "test")
    ]
    shots = "".join(f"{_asked(row)} {row['answer']}\n\n" for row in read[0][:4])
    return [
        (
            shots + _asked(row),
            [f" {letter.upper()}" for letter in _LETTERS],
            [f" {row[f'option_{letter}']}" for letter in _LETTERS],
        )
        for row in read[1][:count]
    ]


def model_of(server: LiveServer, folder: Path, **options: Any) -> AssayCompletions:
    """Return lm-eval's model for a server."""
    return AssayCompletions(
        base_url=f"{server.base_url}/completions",
        model=server.model,
        tokenizer=str(folder),
        tokenizer_backend="huggingface",
        max_length=server.window,
        server=server,
        **options,
    )


def requests(kind: str, arguments: Sequence[tuple[Any, ...]]) -> list[Instance]:
    """Return requests of lm-eval, each of a document of its own."""
    return [
        Instance(kind, {}, given, 0, metadata=("quiz", number, 1))  # type: ignore[arg-type]
        for number, given in enumerate(arguments)
    ]


def compare(model: AssayCompletions, true: Qwen2, count: int, *, whole: bool = True) -> Found:
    """Return how far a server lies from the truth.

    Args:
        model: Asks the server.
        true: The same weights.
        count: Rows.
        whole: Score the answers in full too.
    """
    found, tokens = Found(), model.tok_encode
    asked = rows(count)
    for place in (1, 2) if whole else (1,):
        pairs = [(row[0], choice) for row in asked for choice in row[place]]  # type: ignore[misc]
        started = time.monotonic()
        scores = model.loglikelihood(requests("loglikelihood", pairs), disable_tqdm=True)
        found.seconds += time.monotonic() - started
        for start in range(0, len(pairs), 4):
            ours = scores[start : start + 4]
            truth = [
                true.continuation(tokens(context), tokens(context + choice)[len(tokens(context)) :])
                for context, choice in pairs[start : start + 4]
            ]
            far = max(abs(a - b) for (a, _), (b, _) in zip(ours, truth, strict=True))
            if place == 1:
                found.choices += 4
                found.largest = max(found.largest, far)
                best = [max(range(4), key=lambda n, s=s: s[n][0]) for s in (ours, truth)]  # type: ignore[misc]
                found.other_picks += best[0] != best[1]
            else:
                found.answers += 4
                found.largest_of_answers = max(found.largest_of_answers, far)
            found.other_greedy += [
                (choice, score)
                for (_, choice), (score, one), (_, other) in zip(
                    pairs[start : start + 4], ours, truth, strict=True
                )
                if one != other
            ]
    found.requests = model.counts.requests
    return found


def _asked(row: dict[str, Any]) -> str:
    options = "\n".join(f"{letter.upper()}. {row[f'option_{letter}']}" for letter in _LETTERS)
    return f"{row['question']}\n{options}\nAnswer:"


def main() -> None:
    """Compare, and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--half", action="store_true", help="a file in float16")
    parser.add_argument("--choices-only", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        environment: PythonEnvironment = ensure(
            "llamacpp", "cpu", settings=Settings(), progress=Silent(), log=log
        )
        folder = write(Path(place) / "sample", half=given.half)
        spec = ServingSpec(engine="llamacpp", dtype=given.dtype)
        with serve(
            folder, arm="baseline", spec=spec, concurrency=None, environment=environment,
            device=detect("cpu"), log=log, progress=Silent(),
        ) as server:  # fmt: skip
            model = model_of(server, folder)
            print(compare(model, Qwen2(SAMPLE), given.rows, whole=not given.choices_only))


if __name__ == "__main__":
    main()
