"""Answers in the place of vLLM's API server: any model at once, the same each time.

    python stand_in_engine.py --fuse FILE … --port N --served-model-name NAME …

Takes vLLM's command line. Prints `prompt KIND DIGEST` for every prompt, so that the log tells what
came in which order. Where the fuse is there, a reading of a text fails as it says:

    (empty)   the process ends, and the fuse is removed
    always    the process ends, each time
    for good  the process ends, and no other comes up
    refuse    it is answered with an error
    wide      a token has a log-probability that no float32 holds

`overwrite N SOURCE TARGET` there has somebody write to TARGET before question N is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import instant_server
from tests.instant_server import Answers, Connection, Oracle


class Engine(Answers):
    """Answers that also tell what is expected at every position of a prompt."""

    def __init__(self, oracle: Oracle, fuse: Path) -> None:
        super().__init__(oracle)
        self.fuse = fuse
        self.questions = 0

    def complete(self, request: dict[str, Any]) -> tuple[int, str]:
        prompts = request["prompt"]
        if isinstance(prompts, str):
            return super().complete(request)
        reading = request.get("prompt_logprobs") is not None
        mode = self.fuse.read_text() if reading and self.fuse.exists() else None
        if mode == "refuse":
            return 500, '{"error": {"message": "Out of range float values"}}'
        if mode in ("", "always", "for good"):
            if mode == "":
                self.fuse.unlink()
            if mode == "for good":
                self.fuse.write_text("burnt")
            os._exit(3)
        for prompt in prompts:
            print("prompt", "text" if reading else "question", Oracle.state(prompt), flush=True)
        if not reading:
            self.questions += len(prompts)
            self._overwrite()
            return super().complete(request)
        choices = [
            {"index": i, "text": "", "prompt_logprobs": self._positions(prompt)}
            for i, prompt in enumerate(prompts)
        ]
        if mode == "wide":
            for entry in choices[0]["prompt_logprobs"][1].values():
                entry["logprob"] = -1e300
        return 200, json.dumps({"choices": choices})

    def _overwrite(self) -> None:
        mode = self.fuse.read_text() if self.fuse.exists() else ""
        if mode.startswith("overwrite ") and self.questions >= int(mode.split()[1]):
            self.fuse.unlink()
            shutil.copyfile(*mode.split()[2:])

    def _positions(self, prompt: Sequence[int]) -> list[Any]:
        found: list[Any] = [None]
        for place in range(1, len(prompt)):
            state = Oracle.state(prompt[:place])
            tokens = {prompt[place], self._oracle.likeliest(state), 300, 301}
            scores = {token: float(self._oracle.score(state, token)) for token in tokens}
            found.append({str(token): {"logprob": score} for token, score in scores.items()})
        return found


class Chatting(Connection):
    """A connection that answers chats too."""

    def _route(self, path: str, body: bytes) -> tuple[int, str, str]:
        if path == "/v1/chat/completions":
            message = {"role": "assistant", "content": "2"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return 200, "application/json", json.dumps({"choices": [choice]})
        return super()._route(path, body)


async def listen(port: int, answers: Answers) -> None:
    server = await asyncio.get_running_loop().create_server(
        partial(Chatting, answers), "127.0.0.1", port
    )
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--fuse", type=Path)
    parser.add_argument("--served-model-name")
    given, _ = parser.parse_known_args()
    if given.fuse.exists() and given.fuse.read_text() == "burnt":
        raise SystemExit(3)
    instant_server.MODEL = given.served_model_name
    asyncio.run(listen(given.port, Engine(Oracle(range(256)), given.fuse)))
