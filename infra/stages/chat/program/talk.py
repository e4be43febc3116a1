"""Conversations with two models at a time, as plain values: JSON may hold them."""

import random
import secrets

import markup

SIDES = ("baseline", "candidate")


def begun():
    """Return a conversation in which nothing was said."""
    return {"id": secrets.token_hex(8), "rounds": []}


def new_round(message, blind, before, settings):
    """Return a message that nobody has answered yet.

    Args:
        message: To both models.
        blind: Hide who answers; the sides are drawn.
        before: Side → the conversation as that model sees it.
        settings: What both are asked with.
    """
    sides = list(SIDES)
    if blind:
        random.SystemRandom().shuffle(sides)
    return {
        "message": message,
        "blind": blind,
        "vote": None,
        "stopped": False,
        "before": before,
        "settings": settings,
        "sides": dict(zip(markup.PLACES, sides, strict=True)),
        "answers": {side: {"text": "", "note": "", "error": "", "running": True} for side in SIDES},
    }


def history(talk, side, system):
    """Return a conversation as one model sees it: its own answers, without its thoughts."""
    turns = [{"role": "system", "content": system}] if system.strip() else []
    for one in talk["rounds"]:
        answer = one["answers"][side]
        if answer["error"]:
            continue
        turns.append({"role": "user", "content": one["message"]})
        turns.append({"role": "assistant", "content": markup.parted(answer["text"])[1]})
    return turns


def may_vote(one):
    """Tell whether a round waits for a vote: blind, and answered by both."""
    answers = one["answers"].values()
    open_ = one["blind"] and one["vote"] is None
    return open_ and not any(answer["error"] or answer["running"] for answer in answers)


def ballot(talk, choice):
    """Return a vote on the last round, as the desk takes it."""
    one = talk["rounds"][-1]
    return {
        "conversation": talk["id"],
        "before": one["before"],
        "message": one["message"],
        "answers": {side: one["answers"][side]["text"] for side in SIDES},
        "settings": one["settings"],
        "sides": one["sides"],
        "vote": choice,
    }


def voted(talk, choice):
    """Return a conversation with a vote on its last round."""
    *before, one = talk["rounds"]
    return {**talk, "rounds": [*before, {**one, "vote": choice}]}
