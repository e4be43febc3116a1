"""The page on which two models answer the same messages.

    python -I -u page.py REQUEST.json

It meets what started it in the request (a JSON file, without keys), in the environment variables
that hold the keys of both engines and of the desk, and over HTTP: it asks the engines for answers,
and the desk to keep votes. It listens on 127.0.0.1 alone and asks nothing of any other host.
"""

import json
import os
import sys
from pathlib import Path

# Isolated, Python does not look beside the script.
sys.path.insert(0, str(Path(__file__).parent))

import gradio as gr
import markup
import talk
from room import Room, VoteLost

AS_IN_THE_RUN, THINK, DO_NOT = "as in the run", "on", "off"
CHOICES = {"A": "A is better", "tie": "Tie", "B": "B is better"}
_TICK_SECONDS = 2.0
_TABS = 8
"""Messages that are answered at a time."""

_ROWS = 8
_TITLE = 110
"""Characters of a question in the list of rows."""

_QUIET = {"show_progress": "hidden", "api_visibility": "private"}


class Page:
    """The components of the page, and what they do."""

    def __init__(self, request, room):
        """Take what the page shows and whom it asks."""
        self._request = request
        self._room = room
        self._names = {"baseline": "baseline", "candidate": request["candidate"]}
        self._rows = request["lost_rows"]
        self._voted = set()

    def blocks(self):
        """Return the page."""
        with gr.Blocks(title=f"Chat · {self._request['run']}", fill_width=True) as page:
            self._talk = gr.State(talk.begun)
            gr.HTML(_head(self._request), elem_id="head")
            self._notices = gr.HTML(elem_id="notices", elem_classes="may-be-empty")
            with gr.Row():
                with gr.Column(scale=3, min_width=420):
                    self._lay_conversation()
                with gr.Column(scale=1, min_width=280):
                    self._lay_settings()
                    self._lay_rows()
            self._connect()
            page.load(self._show_preference, None, [self._preference], **_QUIET)
            gr.Timer(_TICK_SECONDS).tick(self._look, None, [self._notices], **_QUIET)
        return page

    def _lay_conversation(self):
        self._past = gr.HTML(elem_id="past", elem_classes="may-be-empty")
        self._current = gr.HTML(elem_id="current", elem_classes="may-be-empty")
        with gr.Row(visible=False, elem_id="voting") as self._voting:
            self._votes = {
                choice: gr.Button(text, elem_id=f"vote-{choice.lower()}")
                for choice, text in CHOICES.items()
            }
        with gr.Row(elem_id="composer"):
            self._box = gr.Textbox(
                label="Message", show_label=False, container=False, autofocus=True, scale=6,
                placeholder="The same message to both models", lines=1, max_lines=12, elem_id="box",
            )  # fmt: skip
            narrow = {"scale": 1, "min_width": 90}
            self._send = gr.Button("Send", variant="primary", elem_id="send", **narrow)
            self._stop = gr.Button("Stop", visible=False, elem_id="stop", **narrow)
        self._preference = gr.HTML(elem_id="preference")

    def _lay_settings(self):
        window = min(arm["window"] for arm in self._request["arms"].values())
        self._blind = gr.Checkbox(
            self._request["blind"], label="Blind", elem_id="blind",
            info="Names are hidden and sides drawn for each message, until you vote",
        )  # fmt: skip
        self._system = gr.Textbox(label="System prompt", lines=2, max_lines=8, elem_id="system")
        self._temperature = gr.Slider(
            0, 2, 0, step=0.05, label="Temperature", elem_id="temperature",
            info="0 takes the likeliest word each time",
        )  # fmt: skip
        self._most = gr.Slider(
            1, window, min(512, window // 2), step=1, label="Most tokens of an answer",
            elem_id="most",
        )  # fmt: skip
        self._thinking = gr.Radio(
            [AS_IN_THE_RUN, THINK, DO_NOT], value=AS_IN_THE_RUN, label="Thinking",
            visible=self._request["thinks"], elem_id="thinking",
        )  # fmt: skip
        self._anew = gr.Button("New conversation", elem_id="anew")

    def _lay_rows(self):
        title = f"Rows the candidate lost ({len(self._rows)})"
        with gr.Accordion(title, open=bool(self._rows), elem_id="rows"):
            if not self._rows:
                gr.HTML(f"<p class='note'>{markup.escape(self._request['no_lost_rows'])}</p>")
                return
            listed = gr.Dataset(
                components=[gr.Textbox(visible=False)], headers=["Question"], layout="table",
                samples=[[f"{row['task']}: {_brief(row['title'])}"] for row in self._rows],
                samples_per_page=_ROWS, show_label=False, type="index", elem_id="lost",
            )  # fmt: skip
            about = gr.HTML(elem_id="about-row")
        listed.click(
            lambda place, blind: (
                self._rows[place]["question"], markup.row_of_the_run(self._rows[place], blind)
            ),
            [listed, self._blind], [self._box, about], **_QUIET,
        )  # fmt: skip

    def _connect(self):
        given = [self._box, self._talk, self._system, self._temperature, self._most,
                 self._thinking, self._blind]  # fmt: skip
        shown = [self._box, self._talk, self._past, self._current, self._voting, self._send,
                 self._stop]  # fmt: skip
        for event in (self._send.click, self._box.submit):
            event(self._ask, given, shown, concurrency_limit=_TABS, **_QUIET)
        self._stop.click(
            lambda now: self._room.stop(now["id"]), [self._talk], None, queue=False, **_QUIET
        )
        changed = [self._talk, self._current, self._voting, self._preference]
        for choice, button in self._votes.items():
            button.click(self._voter(choice), [self._talk], changed, **_QUIET)
        self._anew.click(
            lambda: (talk.begun(), "", "", gr.Row(visible=False)), None,
            [self._talk, self._past, self._current, self._voting], **_QUIET,
        )  # fmt: skip

    async def _ask(self, message, now, system, temperature, most, thinking, blind):
        if not message.strip():
            yield {self._box: gr.skip()}
            return
        settings = {"system": system, "temperature": temperature, "max_tokens": int(most)}
        variables = {}
        if self._request["thinks"] and thinking != AS_IN_THE_RUN:
            settings["enable_thinking"] = variables["enable_thinking"] = thinking == THINK
        before = {side: talk.history(now, side, system) for side in talk.SIDES}
        one = talk.new_round(message.strip(), blind, before, settings)
        yield {
            self._box: "",
            self._past: markup.conversation(now["rounds"], self._names),
            self._current: markup.round_of(one, self._names),
            self._voting: gr.Row(visible=False),
            self._send: gr.Button(visible=False),
            self._stop: gr.Button(visible=True),
        }
        async for _ in self._room.answered(now["id"], one, variables):
            yield {self._current: markup.round_of(one, self._names)}
        yield {
            self._talk: {**now, "rounds": [*now["rounds"], one]},
            self._voting: gr.Row(visible=talk.may_vote(one)),
            self._send: gr.Button(visible=True),
            self._stop: gr.Button(visible=False),
        }

    def _voter(self, choice):
        async def vote(now):
            message = now["id"], len(now["rounds"])
            if message in self._voted:  # two buttons were clicked before the first was heard
                return (gr.skip(),) * 4
            self._voted.add(message)
            try:
                found = await self._room.keep(talk.ballot(now, choice))
            except VoteLost as error:
                self._voted.remove(message)
                raise gr.Error(f"The vote was not kept. {error}", duration=None) from error
            now = talk.voted(now, choice)
            return (
                now,
                markup.round_of(now["rounds"][-1], self._names),
                gr.Row(visible=False),
                markup.preference(found),
            )

        return vote

    async def _show_preference(self):
        found = await self._room.preference()
        return markup.preference(found) if found else gr.skip()

    async def _look(self):
        return markup.notice(await self._room.ended())


def _head(request):
    model, candidate, change, run = (
        markup.escape(request[name]) for name in ("model", "candidate", "change", "run")
    )
    return (
        f"<h1>{model}</h1><p class='about'>baseline beside <b>{candidate}</b>, {change} · "
        f"run {run}</p>"
    )


def _brief(text):
    line = " ".join(text.split())
    return line if len(line) <= _TITLE else f"{line[: _TITLE - 1]}…"


def main():
    """Serve the page until somebody ends this process."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    keys = {
        name: os.environ.pop(f"ASSAY_CHAT_{name.upper()}_KEY") for name in (*talk.SIDES, "desk")
    }
    Page(request, Room(request, keys)).blocks().launch(
        server_name="127.0.0.1",
        server_port=request["port"],
        share=False,
        ssr_mode=False,
        quiet=True,
        show_error=True,
        footer_links=[],
        css_paths=Path(__file__).with_name("page.css"),
        # Fonts of the reader's system: none are fetched.
        theme=gr.themes.Base(
            font=["ui-sans-serif", "system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
    )


if __name__ == "__main__":
    main()
