"""Write conversations as Assay reads them, from data that leaves more than one reading.

`python -m infra.conversations.conversions SPEC TARGET …` is named by the errors that refuse such
data. SPEC is `quantization.calibration` as JSON (`{"path": "chats.parquet"}`), TARGET a new JSONL
file.

    --user C [--assistant D]    column C is a question, D its answer
    --rendered C                column C is text that a chat template has written
    --chosen                    of preference data the preferred answers
    --roles                     human, gpt and the like become user and assistant
    --merge-system              system messages become the beginning of the next user message
    --text-only                 conversations with images, audio or video are left out
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra.contracts.errors import AssayError, CalibrationError
from infra.contracts.specs import CalibrationSpec
from infra.conversations.forms import SHAREGPT_ROLES, Conversation, Message, read_row, turns_of
from infra.conversations.loading import raw_rows
from infra.store.settings import Settings


def converted(
    spec: CalibrationSpec, given: argparse.Namespace, settings: Settings
) -> Iterator[dict[str, Any]]:
    """Yield each conversation as `{"messages": […], "tools": […]}`.

    Raises:
        CalibrationError: The source cannot be read, or not in this way.
        WeightsError: The hub did not give the dataset.
    """
    for place, row in raw_rows(spec, settings=settings):
        if given.text_only:
            with suppress(CalibrationError):
                yield _plain(_read(spec, row, place))
        elif given.rendered:
            _check_columns(row, [given.rendered], place)
            if turns := turns_of(str(row[given.rendered])):
                yield {"messages": turns}
        elif given.chosen:
            _check_columns(row, ["chosen"], place)
            yield {"messages": _chosen(row)}
        elif given.user:
            _check_columns(row, [given.user, given.assistant], place)
            yield {"messages": _pair(row, given)}
        else:
            found = _plain(_read(spec, row, place))
            if given.roles:
                found["messages"] = [_renamed(message) for message in found["messages"]]
            if given.merge_system:
                found["messages"] = _merged(found["messages"])
            if found["messages"]:
                yield found


def _read(spec: CalibrationSpec, row: Any, place: str) -> Conversation:
    return read_row(row, spec.messages_field, place, lambda _: "")


def _plain(found: Conversation) -> dict[str, Any]:
    plain: dict[str, Any] = {"messages": found.messages}
    return plain | {"tools": found.tools} if found.tools else plain


def _check_columns(row: Any, names: Sequence[str | None], place: str) -> None:
    has = row if isinstance(row, dict) else ()
    missing = [name for name in names if name and name not in has]
    if missing:
        raise CalibrationError(
            f"{place} has no column {missing[0]!r}.", remedy="Name columns that every row has."
        )


def _chosen(row: dict[str, Any]) -> list[Message]:
    """Return the preferred conversation; its question may stand in `prompt` alone."""
    prompt, answer = _turns(row.get("prompt"), "user"), _turns(row["chosen"], "assistant")
    return answer if answer[: len(prompt)] == prompt else prompt + answer


def _pair(row: dict[str, Any], given: argparse.Namespace) -> list[Message]:
    answer = _turns(row[given.assistant], "assistant") if given.assistant else []
    return _turns(row[given.user], "user") + answer


def _turns(value: Any, role: str) -> list[Message]:
    if isinstance(value, list | dict):
        return value if isinstance(value, list) else [value]
    return [{"role": role, "content": str(value)}] if value else []


def _renamed(message: Message) -> Message:
    return message | {"role": SHAREGPT_ROLES.get(message["role"].lower(), message["role"])}


def _merged(messages: list[Message]) -> list[Message]:
    kept: list[Message] = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] in {"system", "developer"}:
            waiting.append(message["content"])
        elif message["role"] == "user" and waiting:
            kept.append(message | {"content": "\n\n".join([*waiting, message["content"]])})
            waiting = []
        else:
            kept.append(message)
    return kept


def main(arguments: list[str] | None = None) -> int:
    """Convert; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.conversations.conversions", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("spec", type=json.loads)
    parser.add_argument("target", type=Path)
    parser.add_argument("--user", metavar="COLUMN")
    parser.add_argument("--assistant", metavar="COLUMN")
    parser.add_argument("--rendered", metavar="COLUMN")
    for flag in ("--chosen", "--roles", "--merge-system", "--text-only"):
        parser.add_argument(flag, action="store_true")
    given = parser.parse_args(arguments)
    count = 0
    try:
        spec = CalibrationSpec.model_validate(given.spec)
        with given.target.open("x", encoding="utf-8") as file:
            for row in converted(spec, given, Settings()):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
    except FileExistsError:
        print(f"{given.target} exists; remove it or name another file.", file=sys.stderr)
        return 2
    except AssayError as error:
        given.target.unlink(missing_ok=True)
        print(error, file=sys.stderr)
        return 2
    print(f"{count} conversations in {given.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
