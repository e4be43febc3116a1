"""How lm-eval's Hugging Face backend tokenizes: its own functions, taken from its source.

The module itself cannot be imported without PyTorch, which the orchestrator does without.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
from pathlib import Path
from typing import Any

import transformers
from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import _add_special_kwargs, has_bos_prefix

_TAKEN = ("tok_encode", "tok_batch_encode", "prefix_token_id", "eot_token_id", "_create_tokenizer")


def _functions() -> dict[str, Any]:
    package = importlib.util.find_spec("lm_eval")
    assert package and package.origin
    source = (Path(package.origin).parent / "models" / "huggingface.py").read_text()
    (whole,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "HFLM"
    )
    taken = [
        copy.copy(node)
        for node in whole.body
        if isinstance(node, ast.FunctionDef) and node.name in _TAKEN
    ]
    assert sorted(node.name for node in taken) == sorted(_TAKEN)
    future = ast.parse("from __future__ import annotations").body
    module = ast.Module(body=[*future, *taken], type_ignores=[])
    space: dict[str, Any] = {
        "transformers": transformers,
        "has_bos_prefix": has_bos_prefix,
        "_add_special_kwargs": _add_special_kwargs,
    }
    exec(compile(ast.fix_missing_locations(module), "huggingface.py", "exec"), space)
    return {name: space[name] for name in _TAKEN}


class _Lists:
    """A tokenizer that answers with lists where tensors are wanted."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, texts: Any, **options: Any) -> Any:
        options.pop("return_tensors")
        return self._tokenizer(texts, **{**options, "padding": False})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


class HuggingFace(TemplateLM):  # type: ignore[misc]
    """Tells what the backend would have the model read."""

    locals().update(_functions())

    def __init__(self, folder: Path, add_bos_token: bool | None = None) -> None:
        super().__init__()
        self.add_bos_token = add_bos_token
        self.custom_prefix_token_id = None
        self._create_tokenizer(str(folder), None, add_bos_token=add_bos_token)

    def pairs(self, pairs: list[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        """Return context and continuation of each pair."""
        requests = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
        return self.loglikelihood(requests, disable_tqdm=True)  # type: ignore[no-any-return]

    def prompt(self, text: str) -> list[int]:
        """Return what an answer is generated after."""
        tokenizer, self.tokenizer = self.tokenizer, _Lists(self.tokenizer)
        try:
            (ids,), _ = self.tok_batch_encode([text])
        finally:
            self.tokenizer = tokenizer
        return list(ids)

    def windows(self, text: str, window: int) -> list[tuple[list[int], list[int]]]:
        """Return the windows in which a text is read."""
        return [
            utils.make_disjoint_window(one)
            for one in utils.get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=window,
                context_len=1,
            )
        ]

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> Any:
        return [(context, continuation) for _, context, continuation in requests]

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError
