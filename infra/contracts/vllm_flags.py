"""Which of vLLM's flags are given, read as vLLM itself reads them.

Its parser is argparse and a few habits of its own: `_` for `-`, any unambiguous beginning of a
name, `--no-` before a switch, `-O3`, and single keys of a JSON value (`-cc.mode=3`). One flag has
many spellings, and the last one given wins.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from infra.contracts.errors import SpecError

_TABLE = Path(__file__).with_suffix(".txt")
"""A line a flag of the vLLM that is locked: how many values it takes, then its names."""

_LEFT_OUT = "leave it out"
_COPY = "write it into the config.json of a copy of the model, and name that as model.id"

OWNED = {
    # from fields
    "--model": "use model.id",
    "--tokenizer": "keep the tokenizer in the model's folder",
    "--revision": "use model.revision",
    "--trust-remote-code": "use model.trust_remote_code",
    "--dtype": "use serving.dtype",
    "--max-model-len": "use serving.max_model_len",
    "--tensor-parallel-size": "use serving.tensor_parallel_size",
    "--gpu-memory-utilization": "use serving.memory_fraction",
    "--enforce-eager": "use serving.enforce_eager",
    "--optimization-level": "use serving.enforce_eager",
    "--compilation-config": "use serving.enforce_eager",
    "--port": "use serving.port",
    "--max-logprobs": "use fidelity.top_k",
    "--device-ids": "use ASSAY_ACCELERATORS",
    "--hf-token": "use the variable HF_TOKEN",
    # other places that the same could come from
    "--config": "name its flags one by one",
    "--hf-overrides": _COPY,
    "--hf-config-path": _COPY,
    "--quantization-config": _COPY,
    "--config-format": _LEFT_OUT,
    "--load-format": _LEFT_OUT,
    "--code-revision": _LEFT_OUT,
    "--tokenizer-revision": _LEFT_OUT,
    "--tokenizer-mode": _LEFT_OUT,
    "--model-class-overrides": _LEFT_OUT,
    "--quantization": _LEFT_OUT,
    "--generation-config": _LEFT_OUT,
    "--override-generation-config": _LEFT_OUT,
    "--seed": _LEFT_OUT,
    # how clients reach the server: its place, its key, what it answers and counts
    "--served-model-name": _LEFT_OUT,
    "--host": _LEFT_OUT,
    "--uds": _LEFT_OUT,
    "--root-path": _LEFT_OUT,
    "--api-key": _LEFT_OUT,
    "--ssl-keyfile": _LEFT_OUT,
    "--ssl-certfile": _LEFT_OUT,
    "--ssl-ca-certs": _LEFT_OUT,
    "--ssl-cert-reqs": _LEFT_OUT,
    "--headless": _LEFT_OUT,
    "--grpc": _LEFT_OUT,
    "--tokens-only": _LEFT_OUT,
    "--skip-tokenizer-init": _LEFT_OUT,
    "--runner": _LEFT_OUT,
    "--convert": _LEFT_OUT,
    "--logprobs-mode": _LEFT_OUT,
    "--disable-log-stats": _LEFT_OUT,
    "--disable-uvicorn-access-log": _LEFT_OUT,
    "--help": _LEFT_OUT,
    # GPUs beyond those that tensor_parallel_size takes
    "--pipeline-parallel-size": "use serving.tensor_parallel_size",
    "--data-parallel-size": "use serving.tensor_parallel_size",
    "--prefill-context-parallel-size": "use serving.tensor_parallel_size",
    "--nnodes": _LEFT_OUT,
    "--node-rank": _LEFT_OUT,
}
"""Engine flags that Assay sets itself, from fields of the spec or for safety, and those that would
bring the same by another road → what to do instead. All data-parallel flags count as owned too."""

CHAT_ONLY = frozenset(
    [
        "--anthropic-disabled-thinking-effort",
        "--chat-template",
        "--chat-template-content-format",
        "--cohere-format",
        "--cohere-is-reasoning-model",
        "--default-chat-template-kwargs",
        "--enable-auto-tool-choice",
        "--exclude-tools-when-tool-choice-none",
        "--reasoning-config",
        "--reasoning-parser",
        "--reasoning-parser-plugin",
        "--response-role",
        "--tool-call-parser",
        "--tool-parser-plugin",
        "--tool-server",
        "--tool-strict-level",
        "--trust-request-chat-template",
        # of earlier versions
        "--enable-reasoning",
    ]
)
"""Engine flags that act on requests for a chat alone. The evaluation renders its questions itself
and sends tokens, so that these would change nothing, whatever they were meant to change; for chats
with functions it sets those that they take."""

_CHAT_FIELDS = {
    "--default-chat-template-kwargs": "use evaluation.chat_template_kwargs",
    "--tool-call-parser": "use serving.tool_parser",
    "--chat-template": "put the template into the model's folder as chat_template.jinja",
    "--reasoning-parser": "leave it out, and switch thinking on or off with "
    "evaluation.chat_template_kwargs",
}

MERGED = frozenset(
    ["--max-num-seqs", "--kv-cache-memory-bytes", "--block-size", "--enable-chunked-prefill"]
)
"""Engine flags that Assay sets unless the user does."""


def flag_names(arguments: Sequence[str]) -> frozenset[str]:
    """Return the flags among these arguments, each by its one full name.

    `-tp`, `--tensor_parallel_size=2` and `--tensor-par` are all `--tensor-parallel-size`, and
    `--no-enforce-eager` is `--enforce-eager`. A flag that the locked vLLM does not know keeps its
    name, with `-` for `_`.

    Raises:
        SpecError: The engine could not read them, or a value belongs to no flag.
    """
    given, rest = _parser().parse_known_args(_plain(arguments), argparse.Namespace(names=set()))
    unknown = [text for text in rest if re.match("--?[^ -][^ ]*$", text)]
    # Behind a flag that is not known here, a value may be its own.
    strays = [text for text in rest if text not in unknown]
    if strays and (rest[0] in strays or any(text.startswith("-") for text in strays)):
        raise _unreadable(f"{strays[0]!r} belongs to no flag")
    return frozenset([*given.names, *map(_name, unknown)])


def owned_among(arguments: Sequence[str]) -> dict[str, str]:
    """Return the flags among these arguments that Assay sets itself → what to do instead.

    Raises:
        SpecError: As `flag_names`.
    """
    return {
        name: OWNED.get(name, _LEFT_OUT)
        for name in sorted(flag_names(arguments))
        if name in OWNED or name.startswith("--data-parallel-")
    }


def chat_only_among(arguments: Sequence[str]) -> dict[str, str]:
    """Return the flags among these arguments that act on chats alone → what to do instead.

    Raises:
        SpecError: As `flag_names`.
    """
    return {
        name: _CHAT_FIELDS.get(name, _LEFT_OUT)
        for name in sorted(flag_names(arguments))
        if name in CHAT_ONLY
    }


class _Given(argparse.Action):
    """Remembers that a flag was given."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        namespace.names.add(self.option_strings[0])


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _unreadable(message)


@cache
def _parser() -> _Parser:
    parser = _Parser(add_help=False, usage="")
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        values, *names = line.split()
        number: Any = {"0": 0, "1": None}.get(values, values)
        parser.add_argument(*names, action=_Given, nargs=number, dest="flags", default=None)
    return parser


def _plain(arguments: Sequence[str]) -> list[str]:
    """Return the arguments as vLLM hands them to argparse."""
    plain: list[str] = []
    rest = iter(arguments)
    for text in rest:
        name, equals, value = text.partition("=")
        if text.startswith("--help="):
            plain.append("--help")
        elif text.startswith("-O") and text != "-O":
            plain += ["--optimization-level", text[2:]]
        elif text == "-O":
            plain += ["--optimization-level", *_first(rest)]
        elif re.fullmatch(r"--?[^.\s]*\..*", name):  # one key of a JSON value
            value = value if equals else "".join(_first(rest))
            plain += [_dashed(name.partition(".")[0]), value]
        elif text.startswith("--"):
            plain.append(_dashed(name) + equals + value)
        else:
            plain.append(text)
    return plain


def _first(rest: Iterator[str]) -> list[str]:
    return [text for text in (next(rest, None),) if text is not None]


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _name(unknown: str) -> str:
    """Return what a flag is called that argparse did not know: `-tp2` is meant for `-tp`."""
    actions = _parser()._option_string_actions
    short = [name for name in actions if not name.startswith("--") and unknown.startswith(name)]
    if short and not unknown.startswith("--"):
        return actions[max(short, key=len)].option_strings[0]
    return unknown.partition("=")[0]


def _unreadable(what: str) -> SpecError:
    return SpecError(
        f"serving.extra_args cannot be read: {what}.",
        cause="vLLM takes flags, each with its own values behind it.",
        remedy='Write each flag and each value as an item of its own: ["--max-num-seqs", "64"].',
    )
