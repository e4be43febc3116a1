"""What everybody who opens the page shares: both engines, and the desk that keeps votes."""

import asyncio

import httpx
from streams import NoAnswer, stream
from talk import SIDES

_DESK_SECONDS = 30.0
_NOTICE_SECONDS = 3.0
_POLL_SECONDS = 0.3
_UPDATE_SECONDS = 0.12


class VoteLost(Exception):
    """The desk did not keep a vote; the text says why."""


class Room:
    """Asks both engines, and the desk."""

    def __init__(self, request, keys):
        """Take the request, and the keys of both sides and of the `desk`."""
        self._arms = request["arms"]
        self._variables = request["variables"]
        self._keys = keys
        self._desk = httpx.AsyncClient(
            base_url=request["desk"], headers={"Authorization": f"Bearer {keys['desk']}"},
            timeout=_DESK_SECONDS, trust_env=False,
        )  # fmt: skip
        self._stops = {}

    async def ended(self):
        """Return what there is to say of engines that answer no more."""
        try:
            ended = (await self._desk.get("/ended")).raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            return ["This chat has ended: nobody answers here any more. Votes are kept."]
        return [f"The engine of the {side} has ended: {why}" for side, why in ended.items()]

    async def preference(self):
        """Return what all votes show; none if nobody says."""
        try:
            return (await self._desk.get("/preference")).raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            return None

    async def keep(self, ballot):
        """Hand in a vote, and return what all votes show.

        Raises:
            VoteLost: It was not kept.
        """
        try:
            response = await self._desk.post("/votes", json=ballot)
            said = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise VoteLost(f"The chat has ended ({type(error).__name__}).") from error
        if response.is_error:
            raise VoteLost(said.get("error", "No reason is given."))
        return said

    async def answered(self, name, one, variables):
        """Yield whenever there is more of the answers, which are filled into a round.

        Args:
            name: Of the conversation; by it `stop` ends the answers.
            one: The round.
            variables: Of the chat template, beside the run's.
        """
        stop = self._stops[name] = asyncio.Event()
        variables = {**self._variables, **variables}
        tasks = [asyncio.create_task(self._answer(side, one, variables)) for side in SIDES]
        stopping = asyncio.create_task(stop.wait())
        try:
            while not all(task.done() for task in tasks) and not stop.is_set():
                yield
                left = [task for task in tasks if not task.done()]
                await asyncio.wait(
                    [*left, stopping], timeout=_UPDATE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            self._stops.pop(name, None)
            for task in (*tasks, stopping):
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)
        if stop.is_set():
            one["stopped"] = True
            for answer in one["answers"].values():
                answer["note"] = answer["note"] or "Stopped."
        yield

    def stop(self, name):
        """End the answers under way in a conversation."""
        if name in self._stops:
            self._stops[name].set()

    async def _answer(self, side, one, variables):
        into = one["answers"][side]
        settings = {key: one["settings"][key] for key in ("temperature", "max_tokens")}
        messages = [*one["before"][side], {"role": "user", "content": one["message"]}]
        try:
            async for text, ended in stream(
                self._arms[side], self._keys[side], messages, settings, variables
            ):
                into["text"] += text
                if ended == "length":
                    into["note"] = "Cut: it reached the limit of tokens."
        except NoAnswer as error:
            into["error"] = f"No answer: {error}."
            if not error.refused:
                into["error"] = await self._because(side, str(error))
        finally:
            into["running"] = False

    async def _because(self, side, seen):
        """Return why an engine does not answer: it takes a moment to be noticed."""
        for _ in range(int(_NOTICE_SECONDS / _POLL_SECONDS)):
            if said := [text for text in await self.ended() if side in text]:
                return said[0]
            await asyncio.sleep(_POLL_SECONDS)
        return f"The engine does not answer: {seen}."
