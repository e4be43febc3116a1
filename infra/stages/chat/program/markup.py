"""A conversation with two models as HTML: two answers a message, the words marked that differ.

Everything that a model or a person wrote is escaped. Standard library only.
"""

import re
from difflib import SequenceMatcher
from html import escape

PLACES = ("A", "B")

_WORD = re.compile(r"\s+|(?:(?![぀-ヿ㐀-鿿가-힣])\w)+|.", re.DOTALL)
"""Space, a word, or one sign; of scripts without spaces between words each sign."""

_MOST = 4_000_000
"""Pairs of words beyond which lines are compared: that takes time with their product."""

_OPEN, _CLOSE = "<think>", "</think>"


def parted(text):
    """Return what was thought and what was answered."""
    before, closed, after = text.partition(_CLOSE)
    if closed:
        return before.strip().removeprefix(_OPEN).strip(), after.lstrip("\n")
    if text.lstrip().startswith(_OPEN):
        return text.strip().removeprefix(_OPEN).strip(), ""
    return "", text


def marked(one, other):
    """Return both texts as HTML, with a mark around what the other one has not."""
    pieces = [_WORD.findall(text) for text in (one, other)]
    if len(pieces[0]) * len(pieces[1]) > _MOST:
        pieces = [text.splitlines(keepends=True) for text in (one, other)]
    same = SequenceMatcher(None, *pieces, autojunk=False).get_matching_blocks()
    html = []
    for side, words in enumerate(pieces):
        parts, place = [], 0
        for block in same:
            parts.append(_mark("".join(words[place : block[side]])))
            parts.append(escape("".join(words[block[side] : block[side] + block.size])))
            place = block[side] + block.size
        html.append("".join(parts))
    return html


def _mark(text):
    if not (inner := text.strip()):
        return escape(text)
    start = text.index(inner)
    end = start + len(inner)
    return f"{escape(text[:start])}<mark>{escape(inner)}</mark>{escape(text[end:])}"


def conversation(rounds, names):
    """Return several rounds as HTML, the first one first."""
    return "".join(round_of(one, names) for one in rounds)


def round_of(one, names):
    """Return one message with both answers.

    Args:
        one: `message`, `sides` (place → side), `answers` (side → `text`, `note`, `error`,
            `running`), `blind`, `vote`.
        names: Side → how it is called.
    """
    answers = [one["answers"][one["sides"][place]] for place in PLACES]
    split = [parted(answer["text"]) for answer in answers]
    shown = [text for _, text in split]
    running = any(answer["running"] for answer in answers)
    if running and one["blind"] and not one["stopped"]:
        # Who writes faster would tell who it is: both are shown as far as the slower one is.
        reach = min(len(answer["text"]) for answer in answers if answer["running"])
        split = [parted(answer["text"][:reach]) for answer in answers]
        shown = [text for _, text in split]
    same = not running and shown[0] == shown[1]
    html = map(escape, shown) if running or same else marked(*shown)
    cards = [
        _card(place, one, answer, thought, text, names, running)
        for place, answer, (thought, _), text in zip(PLACES, answers, split, html, strict=True)
    ]
    foot = _foot(one, names, same and not any(answer["error"] for answer in answers))
    return (
        f'<section class="round"><div class="message">{escape(one["message"])}</div>'
        f'<div class="pair">{"".join(cards)}</div>{foot}</section>'
    )


def _card(place, one, answer, thought, text, names, running):
    hidden = one["blind"] and one["vote"] is None
    side = one["sides"][place]
    name = f"<b>{place}</b>" if one["blind"] else ""
    name += "" if hidden else f'<span class="name">{escape(names[side])}</span>'
    writes = running if hidden else answer["running"]
    state = '<span class="writes">writes …</span>' if writes else ""
    fold = (
        f'<details class="thought"{" open" if writes and not text else ""}><summary>Thought'
        f"</summary><div>{escape(thought)}</div></details>"
        if thought
        else ""
    )
    error = (
        f'<p class="error" role="alert">{escape(answer["error"])}</p>' if answer["error"] else ""
    )
    note = f'<p class="note">{escape(answer["note"])}</p>' if answer["note"] and not running else ""
    won = " won" if one["vote"] == place else ""
    kind = "" if hidden else f" {side}"
    return (
        f'<article class="answer{kind}{won}" data-place="{place}"><header>{name}{state}</header>'
        f'{fold}<div class="text">{text}</div>{error}{note}</article>'
    )


def _foot(one, names, same):
    says = ["Both answers are the same, word for word."] if same else []
    if one["vote"] == "tie":
        says.append("Your vote: a tie.")
    elif one["vote"]:
        says.append(f"Your vote: {one['vote']}, {names[one['sides'][one['vote']]]}.")
    return f'<p class="foot">{escape(" ".join(says))}</p>' if says else ""


def row_of_the_run(row, blind):
    """Return what came of a row in the run as HTML.

    Blind, nothing is: the baseline has it right and the candidate wrong, so that the right answer
    alone tells who is who.
    """
    if blind:
        return "<p class='note'>What came of it in the run is not shown in blind mode.</p>"
    parts = {"right": row["target"], "baseline": row["baseline"], "candidate": row["candidate"]}
    lines = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in parts.items())
    return f"<dl class='row'>{lines}</dl>"


def notice(texts):
    """Return what is wrong with the engines as HTML."""
    return "".join(f'<p class="notice" role="alert">{escape(text)}</p>' for text in texts)


def preference(found):
    """Return what the votes show as HTML."""
    counts = (
        f"<b>{found['votes']}</b> votes: candidate {found['candidate']}, "
        f"baseline {found['baseline']}, ties {found['ties']}."
        if found["votes"] != 1
        else f"<b>1</b> vote: candidate {found['candidate']}, baseline {found['baseline']}, "
        f"ties {found['ties']}."
    )
    return f'<p class="preference">{counts if found["votes"] else ""} {escape(found["text"])}</p>'
