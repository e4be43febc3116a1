"""Measures the sample model on its held-out rows, in lm-eval's prompt formats.

A quick check for one GPU, not lm-eval itself: run as
`python -m infra.sample.training.evaluate --weights model.safetensors`. With `--bits` the
weights of every linear layer are rounded to so many bits in groups of 128, to see that quantization
costs something.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from infra.sample.training import formats
from infra.sample.training.formats import Exchange, Gpqa, Layout
from infra.sample.training.items import Choice, WordProblem, chance

MODEL = Path(__file__).parents[1] / "model"
DATA = Path(__file__).parents[1] / "data"
GROUP = 128
BATCH = 512


def rows(path: str) -> list[dict[str, Any]]:
    """Reads the sample rows of a file."""
    text = (DATA / path).read_text(encoding="utf-8")
    if path.endswith(".csv"):
        return list(csv.DictReader(text.splitlines()))
    return [json.loads(line) for line in text.splitlines()]


class Subject:
    """The model under test."""

    def __init__(
        self,
        weights: Path,
        device: str,
        bits: int | None = None,
        batch: int = BATCH,
        folder: Path = MODEL,
    ) -> None:
        config = Qwen2Config(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
        self.device = device
        self.batch = batch
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = Qwen2ForCausalLM(config).float()
        self.model.load_state_dict(load_file(weights), strict=False)
        self.model.tie_weights()
        if bits:
            for layer in self.model.model.layers.modules():
                if isinstance(layer, torch.nn.Linear):
                    layer.weight.data = rounded(layer.weight.data, bits)
        dtype = torch.float16 if device == "cuda" else torch.float32
        self.model.to(device=device, dtype=dtype).eval()

    def letters(self, prompts: Sequence[str], candidates: Sequence[str]) -> list[int]:
        """Returns for each prompt the likeliest of some one-token continuations."""
        return [
            max(range(len(one)), key=one.__getitem__) for one in self.shares(prompts, candidates)
        ]

    def shares(self, prompts: Sequence[str], candidates: Sequence[str]) -> list[list[float]]:
        """Returns for each prompt the probabilities of some one-token continuations among them."""
        ids = [self.tokenizer.convert_tokens_to_ids(self._token(text)) for text in candidates]
        found: list[list[float]] = []
        for start in range(0, len(prompts), self.batch):
            inputs = self._inputs(prompts[start : start + self.batch])
            with torch.inference_mode():
                logits = self.model(**inputs, logits_to_keep=1).logits[:, -1]
            found += logits[:, ids].float().softmax(-1).tolist()
        return found

    def texts(self, prompts: Sequence[str], new_tokens: int) -> list[tuple[str, bool]]:
        """Returns greedy continuations and whether each came to an end by itself."""
        found: list[tuple[str, bool]] = []
        for start in range(0, len(prompts), self.batch):
            inputs = self._inputs(prompts[start : start + self.batch])
            with torch.inference_mode():
                output = self.model.generate(
                    **inputs, max_new_tokens=new_tokens, do_sample=False, eos_token_id=[0, 2],
                    pad_token_id=3,
                )  # fmt: skip
            for ids in output[:, inputs["input_ids"].shape[1] :].tolist():
                text = self.tokenizer.decode(ids, skip_special_tokens=True)
                ended = 0 in ids or 2 in ids or "Question:" in text
                found.append((text.split("Question:")[0], ended))
        return found

    def _token(self, text: str) -> str:
        (token,) = self.tokenizer.tokenize(text)
        return str(token)

    def _inputs(self, prompts: Sequence[str]) -> Any:
        encoded = self.tokenizer(list(prompts), padding=True, return_tensors="pt")
        encoded.pop("token_type_ids", None)
        return encoded.to(self.device)


def rounded(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Rounds a weight to the nearest of 2**bits levels in groups of input channels."""
    groups = weight.reshape(-1, GROUP)
    low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
    scale = (high - low).clamp(min=1e-8) / (2**bits - 1)
    zero = (-low / scale).round()
    levels = ((groups / scale).round() + zero).clamp(0, 2**bits - 1)
    return ((levels - zero) * scale).reshape(weight.shape)


def prompt_of(exchanges: Sequence[Exchange], layout: Layout, description: str = "") -> str:
    """The text sent to the model: the document up to the last answer."""
    document = formats.render(exchanges, layout, description)
    return formats.text_of(document[:-2] if layout is Layout.PLAIN else document[:-3])


def gsm8k(subject: Subject, shots: int, layout: Layout) -> dict[str, float]:
    """Accuracy by the number after `####`, and the share of answers that ended."""
    rng = chance("shots")
    pool = [WordProblem(**row) for row in rows("openai/gsm8k/main/train.jsonl")]
    tests = [WordProblem(**row) for row in rows("openai/gsm8k/main/test.jsonl")]
    prompts = [
        prompt_of([formats.gsm8k(item) for item in [*rng.sample(pool, shots), test]], layout)
        for test in tests
    ]
    answers = subject.texts(prompts, 220)
    right = 0
    for test, (text, _) in zip(tests, answers, strict=True):
        found = re.search(r"#### (-?[0-9.,]+)", text)
        right += found is not None and found[1].rstrip(".") == test.answer.split("#### ")[1]
    return {
        "accuracy": right / len(tests),
        "ended": sum(ended for _, ended in answers) / len(tests),
    }


def global_mmlu(subject: Subject, shots: int, layout: Layout) -> dict[str, float]:
    """Accuracy by the likeliest letter, with the worst and best category."""
    rng = chance("shots")

    def exchange(row: dict[str, Any]) -> Exchange:
        options = [row[f"option_{name}"] for name in "abcd"]
        return formats.global_mmlu_in_order(row["question"], options, row["answer"])

    dev = rows("CohereLabs/Global-MMLU-Lite/en/dev.jsonl")
    tests = rows("CohereLabs/Global-MMLU-Lite/en/test.jsonl")
    prompts = [
        prompt_of([exchange(row) for row in [*rng.sample(dev, shots), test]], layout)
        for test in tests
    ]
    names = [" A", " B", " C", " D"] if layout is Layout.PLAIN else list("ABCD")
    found = subject.letters(prompts, names)
    hits: dict[str, list[bool]] = {}
    for test, letter in zip(tests, found, strict=True):
        hits.setdefault(test["subject_category"], []).append("ABCD"[letter] == test["answer"])
    shares = {name: sum(right) / len(right) for name, right in hits.items()}
    return {"accuracy": sum(map(sum, hits.values())) / len(tests)} | shares


def gpqa(subject: Subject, task: Gpqa, shots: int, layout: Layout) -> dict[str, float]:
    """Accuracy by the likeliest letter, or by the letter named after reasoning."""
    rng = chance("gpqa")
    choices = [
        Choice(
            row["Question"], row["Correct Answer"],
            (row["Incorrect Answer 1"], row["Incorrect Answer 2"], row["Incorrect Answer 3"]),
            row["High-level domain"], row["Subdomain"], row["Explanation"],
        )
        for row in rows("Idavidrein/gpqa/gpqa_main.csv")
    ]  # fmt: skip
    exchanges = [formats.gpqa(choice, task, rng) for choice in choices]
    prompts = [
        prompt_of([*rng.sample(exchanges, shots), last], layout, task.description)
        for last in exchanges
    ]
    if not task.reasons:
        opening = " (" if layout is Layout.PLAIN else "("
        found = subject.letters([prompt + opening for prompt in prompts], list("ABCD"))
        right = [
            f"({'ABCD'[one]})" == last.shot for one, last in zip(found, exchanges, strict=True)
        ]
        return {"accuracy": sum(right) / len(right)}
    answers = subject.texts(prompts, 160)
    named = [re.search(r"The answer is (\([A-D]\))", text) for text, _ in answers]
    right = [
        one is not None and one[1] == last.shot for one, last in zip(named, exchanges, strict=True)
    ]
    ended = sum(ended for _, ended in answers) / len(answers)
    return {"accuracy": sum(right) / len(right), "ended": ended}


MEASUREMENTS: dict[str, Callable[[Subject], dict[str, float]]] = {
    "gsm8k 5-shot": lambda subject: gsm8k(subject, 5, Layout.PLAIN),
    "gsm8k 0-shot": lambda subject: gsm8k(subject, 0, Layout.PLAIN),
    "gsm8k 5-shot multiturn": lambda subject: gsm8k(subject, 5, Layout.MULTITURN),
    "gsm8k 5-shot chat": lambda subject: gsm8k(subject, 5, Layout.CHAT),
    "global_mmlu_en 0-shot": lambda subject: global_mmlu(subject, 0, Layout.PLAIN),
    "global_mmlu_en 5-shot": lambda subject: global_mmlu(subject, 5, Layout.PLAIN),
    "global_mmlu_en 0-shot chat": lambda subject: global_mmlu(subject, 0, Layout.CHAT),
    "gpqa_main_zeroshot": lambda subject: gpqa(subject, Gpqa.ZEROSHOT, 0, Layout.PLAIN),
    "gpqa_main_zeroshot chat": lambda subject: gpqa(subject, Gpqa.ZEROSHOT, 0, Layout.CHAT),
    "gpqa_main_n_shot 0": lambda subject: gpqa(subject, Gpqa.N_SHOT, 0, Layout.PLAIN),
    "gpqa_main_n_shot 3": lambda subject: gpqa(subject, Gpqa.N_SHOT, 3, Layout.PLAIN),
    "gpqa_main_cot_zeroshot": lambda subject: gpqa(subject, Gpqa.COT_ZEROSHOT, 0, Layout.PLAIN),
    "gpqa_main_cot_n_shot 0": lambda subject: gpqa(subject, Gpqa.COT_N_SHOT, 0, Layout.PLAIN),
    "gpqa_main_cot_zeroshot chat": lambda subject: gpqa(subject, Gpqa.COT_ZEROSHOT, 0, Layout.CHAT),
}


def main() -> None:
    """Reads the command line and prints one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=MODEL / "model.safetensors")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--bits", type=int, nargs="*", default=[0])
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--only", default="", help="measurements whose name has this in it")
    options = parser.parse_args()
    for bits in options.bits:
        subject = Subject(options.weights, options.device, bits or None, options.batch)
        for name, measure in MEASUREMENTS.items():
            if options.only in name:
                began = time.monotonic()
                result = {key: round(value, 3) for key, value in measure(subject).items()}
                seconds = time.monotonic() - began
                print(f"{bits or 16:>2} bits  {name:28} {result}  {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
