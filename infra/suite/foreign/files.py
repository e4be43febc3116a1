"""Files of other programs: read whole, refused by name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn

from infra.contracts.errors import ComparisonError

Line = dict[str, Any]

_WRITTEN_AGAIN = "Name a file that the program has finished writing, or let it write it again."


def lines(path: Path) -> list[Line]:
    """Return the objects of a file with one on each line; empty lines do not count.

    Raises:
        ComparisonError: A line is no object, or there is none.
    """
    found = []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        refuse(path, f"cannot be read: {error}")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            refuse(path, f"is broken at line {number}: {error}", "It was cut, or is no JSON lines.")
        if not isinstance(value, dict):
            refuse(path, f"holds no object at line {number}")
        found.append(value)
    if not found:
        refuse(path, "is empty")
    return found


def document(path: Path) -> Any:
    """Return the JSON of a file.

    Raises:
        ComparisonError: It is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        refuse(path, f"cannot be read as JSON: {error}")


def refuse(path: Path, what: str, cause: str = "", remedy: str = _WRITTEN_AGAIN) -> NoReturn:
    """Refuse a file of results.

    Args:
        path: The file.
        what: What is the matter, the rest of a sentence that begins with the file.
        cause: Why that may be so.
        remedy: What to do.

    Raises:
        ComparisonError: Always.
    """
    raise ComparisonError(f"{path} {what}.", cause=cause, remedy=remedy, field="rows") from None


def digest(value: Any) -> str:
    """Return a hash of something that JSON can say."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def messages_text(messages: Any) -> str:
    """Return a conversation as text.

    Args:
        messages: A text, or a list of messages, each with `role` and `content`.
    """
    if isinstance(messages, str):
        return messages
    return "\n\n".join(
        f"{message.get('role')}: {_content(message.get('content'))}"
        for message in (messages if isinstance(messages, list) else [])
        if isinstance(message, dict)
    )


def prompt_text(messages: Any) -> str:
    """Return what of a conversation was there before the model wrote anything, as text.

    Examples may be answers as well; what the model wrote says so, or is the last answer.

    Args:
        messages: As for `messages_text`.
    """
    if not isinstance(messages, list):
        return messages_text(messages)
    answers = [
        place
        for place, message in enumerate(messages)
        if isinstance(message, dict) and message.get("role") == "assistant"
    ]
    written = [place for place in answers if messages[place].get("source") == "generate"]
    return messages_text(messages[: (written or answers[-1:] or [len(messages)])[0]])


def _content(content: Any) -> str:
    if isinstance(content, list):  # of parts: what is no text counts by its content
        return "\n".join(
            str(part.get("text", digest(part))) if isinstance(part, dict) else str(part)
            for part in content
        )
    return str(content)
