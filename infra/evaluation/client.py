"""The model that lm-eval asks in our runs: the fast client, on a server that may die.

Imports lm-eval; whoever must be quick imports this late.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from infra.evaluation.exam import AnswerFile, Server
from infra.evaluation.fit import DEFAULT_ANSWER_TOKENS
from infra.scoring.model import AssayCompletions


def build_model(
    server: Server,
    tokenizer_path: Path,
    *,
    concurrency: int | None,
    seed: int,
    answers: AnswerFile | None,
    order: int | None = None,
    say: Callable[[str], None],
) -> AssayCompletions:
    """Return lm-eval's `assay-completions` model for a live server.

    Args:
        server: The server that answers.
        tokenizer_path: Folder of the checkpoint, for its own tokenizer.
        concurrency: Questions in flight at a time; None follows the server's own counters.
        seed: Sent with each request.
        answers: File that keeps every answer, so that a killed run continues where it stopped.
        order: Seed of the order in which questions are asked; None asks those that begin alike one
            after the other.
        say: Told what a user should know.
    """
    return AssayCompletions(
        server=_Reached(server),
        base_url=f"{server.base_url}/completions",
        model=server.model_name,
        tokenizer=str(tokenizer_path),
        tokenizer_backend="huggingface",
        num_concurrent=concurrency,
        max_length=server.max_model_len,
        max_gen_toks=DEFAULT_ANSWER_TOKENS,
        seed=seed,
        answers=answers.path if answers else None,
        identity=answers.identity if answers else None,
        order=order,
        refuse_cut=True,
        say=say,
    )


class _Reached:
    """A live server as the scoring client sees it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def base_url(self) -> str:
        return self._server.base_url

    @property
    def model_name(self) -> str:
        return self._server.model_name

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._server.api_key.get_secret_value()}"}

    def raise_if_dead(self) -> None:
        self._server.raise_if_dead()
