"""Pairs of answers that are too long for the baseline's window lose words, once for all arms.

How many tokens a text has depends on the tokenizer, and all arms must be asked the same words. So
it is the baseline's tokenizer, chat template and window that decide, before any arm is asked; what
comes out is a file of rows again. Where nobody has that tokenizer, or the settings beside the file
set `longest`, letters decide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra.contracts.errors import AssayError, CalibrationError
from infra.contracts.progress import Progress
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.models.chat_template import ChatTemplate, moment_of
from infra.models.tokenizer import load
from infra.store.content import build_once, code_digest, digest_of
from infra.store.settings import Settings
from infra.suite.own.beside import beside_of, read_beside
from infra.suite.own.kinds import kind_of_columns
from infra.suite.own.preference import CUT, GAP, PREFERENCE, UNCUT, allowed, prompts_of, turns_of
from infra.suite.own.table import Cells, read

_CODE = ("suite/cutting.py", "suite/own")
_FREE = 4
"""Tokens of the window that are left: for the letter, a BOS, and the one that engines keep."""


@dataclass(frozen=True)
class Measure:
    """How long a prompt is to one model."""

    tokenizer: Any
    template: ChatTemplate | None
    system: str | None
    window: int

    @classmethod
    def of(
        cls, folder: Path, window: int, spec: EvaluationSpec, *, trust_remote_code: bool = False
    ) -> Measure | None:
        """Return how a model measures; none if its tokenizer cannot say where a token stands."""
        tokenizer = load(folder, trust_remote_code=trust_remote_code)
        if not getattr(tokenizer, "is_fast", False):
            return None
        template = None
        if spec.chat_template and tokenizer.chat_template:
            template = ChatTemplate(
                tokenizer, moment=moment_of(spec), variables=spec.chat_template_kwargs
            )
        return cls(tokenizer, template, spec.system_instruction, window)

    def length(self, prompt: str) -> int:
        """Return the tokens of a prompt as it is asked."""
        return len(self.tokenizer(self._shown(prompt), add_special_tokens=False)["input_ids"])

    def ends(self, text: str) -> list[tuple[int, int]]:
        """Return where each token of a text begins and ends, in letters."""
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return [(int(begin), int(end)) for begin, end in found["offset_mapping"]]

    def _shown(self, prompt: str) -> str:
        if self.template is None:
            return f"{self.system}\n{prompt}" if self.system else prompt
        system = [{"role": "system", "content": self.system}] if self.system else []
        messages = [*system, {"role": "user", "content": prompt}]
        return self.template.render(messages, add_generation_prompt=True)


def pending(spec: EvaluationSpec) -> list[TaskSpec]:
    """Return the tasks of a spec whose pairs are cut to a window, in order.

    A file that cannot be read is not among them: whoever loads it says what is wrong.
    """
    found = []
    for task in spec.tasks:
        try:
            if task.file and _is_cut(Path(task.file).expanduser().absolute()):
                found.append(task)
        except (AssayError, yaml.YAMLError, ValueError, OSError):
            continue
    return found


def _is_cut(file: Path) -> bool:
    columns = {name for _, cells in read(file) for name in cells}
    kind = kind_of_columns(columns, file)
    said = yaml.safe_load(beside_of(file).read_text("utf-8")) if beside_of(file).is_file() else {}
    own = said.get(kind.name) if isinstance(said, dict) else None
    return kind.name == PREFERENCE.name and not (isinstance(own, dict) and "longest" in own)


def cut(
    spec: EvaluationSpec,
    folder: Path,
    window: int | None,
    *,
    settings: Settings,
    progress: Progress,
    trust_remote_code: bool = False,
) -> EvaluationSpec:
    """Return the tasks with pairs that fit the window of the baseline.

    Args:
        spec: The tasks and their conditions.
        folder: With the baseline's tokenizer and chat template.
        window: Tokens of prompt and answer together; None cuts by letters.
        settings: Where the rows are kept.
        progress: Hears how many lose words.
        trust_remote_code: Allow a tokenizer that is code of the repository.

    Raises:
        AssayError: A row cannot be asked, or no tokenizer can be loaded.
    """
    waiting = pending(spec) if window else []
    if not waiting or window is None:
        return spec
    try:
        measure = Measure.of(folder, window, spec, trust_remote_code=trust_remote_code)
    except Exception as error:  # the tokenizers library raises nothing better
        raise CalibrationError(
            f"The tokenizer in {folder} cannot be loaded: {error}",
            remedy="Set preference.longest beside the file: then letters are counted.",
        ) from error
    if measure is None:
        return spec
    found = {task.name: _cut_file(task, spec, measure, folder, settings, progress)
             for task in waiting}  # fmt: skip
    tasks = tuple(found.get(task.name, task) for task in spec.tasks)
    return spec.model_copy(update={"tasks": tasks})


def _cut_file(
    task: TaskSpec,
    spec: EvaluationSpec,
    measure: Measure,
    folder: Path,
    settings: Settings,
    progress: Progress,
) -> TaskSpec:
    file = Path(str(task.file)).expanduser().absolute()
    rows = [cells for _, cells in read(file)]
    kind = kind_of_columns({name for cells in rows for name in cells}, file)
    _, options = read_beside(file, kind)
    found, lost = [], 0
    for cells in rows:
        shorter = _shorter(cells, measure, options)
        lost += shorter is not None
        found.append(shorter or cells)
    if lost:
        progress.say(
            f"{task.name}: {lost:,} of {len(rows):,} pairs lose words, so that each fits "
            f"{measure.window:,} tokens of the baseline's own tokenizer; "
            "all arms are asked the same"
        )
    elif all(_letters(cells) <= options["longest"] for cells in rows):
        return task
    beside = beside_of(file)
    said = yaml.safe_load(beside.read_text("utf-8")) if beside.is_file() else None
    said = {**(said or {})}
    said[kind.name] = {**said.get(kind.name, {}), "longest": UNCUT}
    key = digest_of([found, said, code_digest(*_CODE)])
    final = settings.cache.absolute() / "cut" / key[:32]

    def build(partial: Path) -> None:
        lines = (json.dumps(cells, ensure_ascii=False) + "\n" for cells in found)
        target = partial / f"{file.stem}.jsonl"
        target.write_text("".join(lines), encoding="utf-8")
        text = yaml.safe_dump(said, allow_unicode=True, sort_keys=False)
        beside_of(target).write_text(text, encoding="utf-8")

    build_once(final, build)
    return task.model_copy(update={"file": str(final / f"{file.stem}.jsonl")})


def _letters(cells: Cells) -> int:
    return sum(len(text) for texts in turns_of(cells).values() for text in texts)


def _shorter(cells: Cells, measure: Measure, options: Mapping[str, Any]) -> Cells | None:
    """Return a row of which every order fits; none if it does as it is, or cannot be asked."""
    whole = {**options, "longest": UNCUT}
    room = measure.window - _FREE

    def length(cells: Cells) -> int:
        return max(measure.length(prompt) for prompt in prompts_of(cells, **whole))

    if (over := length(cells) - room) <= 0:
        return None
    words = {
        name: [_Words(text, measure.ends(text)) for text in texts]
        for name, texts in turns_of(cells).items()
    }
    sizes = [len(one.tokens) for texts in words.values() for one in texts]
    gaps = len(measure.ends(GAP)) * len(sizes)
    most = allowed(sizes, max(1, sum(sizes) - over - gaps))
    while True:
        texts = {name: [one.cut(most) for one in listed] for name, listed in words.items()}
        found = {**cells, **texts, CUT: sum(size > most for size in sizes)}
        if most == 1 or length(found) <= room:
            return found
        # Words beside a gap may be other tokens than they were.
        most = max(1, most - max(1, most // 16))


@dataclass(frozen=True)
class _Words:
    """A text, and where each of its tokens begins and ends, in letters."""

    text: str
    tokens: Sequence[tuple[int, int]]

    def cut(self, most: int) -> str:
        """Return the text without its middle, if it has more tokens than allowed."""
        if len(self.tokens) <= most:
            return self.text
        head, tail = (most + 1) // 2, most // 2
        beginning = self.text[: self.tokens[head - 1][1]]
        return beginning + GAP + (self.text[self.tokens[-tail][0] :] if tail else "")
