"""What stands between a run and its Prefect API: a network that is slow, gone, or loses answers."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_HEAD = re.compile(rb"(GET|POST|PATCH|PUT|DELETE) (\S+) HTTP/1\.1\r\n")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")

ENDS = re.compile(rb'\{"state":\{"type":"(COMPLETED|FAILED)"')
"""What a run says at its end."""


class ApiProxy:
    """Passes connections on to a server on loopback, WebSockets as well as HTTP.

    What a client sends arrives `seconds` later: so each call takes that much longer.
    """

    def __init__(self, server: str, seconds: float) -> None:
        """Prepare; `running` starts it.

        Args:
            server: The address that it stands for: `http://127.0.0.1:4200/api`.
            seconds: By how much calls are delayed.
        """
        self.seconds = seconds
        self.calls: Counter[str] = Counter()
        """Method and path, without ids → how often it was called."""
        self.losing: re.Pattern[bytes] | None = None
        """The server hears calls whose body begins so, but the first answer to each is lost."""
        self.lost: list[bytes] = []
        """Bodies of calls whose answer was lost."""
        self._server = urlsplit(server)
        self._loop = asyncio.new_event_loop()
        self._listening: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}{self._server.path}"

    def leave(self) -> None:
        """Cut all connections and refuse new ones."""
        self._call(self._leave())

    def come_back(self) -> None:
        """Take connections again, at the same address."""
        self._call(self._listen())

    @contextmanager
    def running(self) -> Iterator[ApiProxy]:
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        try:
            self.come_back()
            yield self
        finally:
            self.leave()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def _call(self, coroutine: object) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        # asyncio's servers set SO_REUSEADDR: connections that were cut do not hold the port.
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._listening.sockets[0].getsockname()[1]

    async def _leave(self) -> None:
        if self._listening:
            self._listening.close()
            self._listening = None
        for writer in self._open:
            writer.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        self._open.add(writer)
        try:
            there, back = await asyncio.open_connection(self._server.hostname, self._server.port)
            ends.append(back)
            self._open.add(back)
            lose = asyncio.Event()
            await asyncio.gather(
                self._later(reader, back, lose), self._at_once(there, writer, lose)
            )
        except (OSError, asyncio.CancelledError):
            pass  # asyncio would print that it was cancelled
        finally:
            for end in ends:
                self._open.discard(end)
                end.transport.abort()

    async def _later(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lose: asyncio.Event
    ) -> None:
        """Pass on what a client sends, each piece `seconds` after it came."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def send() -> None:
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(due - self._loop.time())
                writer.write(piece)
                await writer.drain()
                if not piece:
                    writer.write_eof()
                    return

        sending = asyncio.ensure_future(send())
        try:
            while True:
                piece = await reader.read(1 << 16)
                if head := _HEAD.match(piece):
                    method, path = (part.decode() for part in head.groups())
                    self.calls[f"{method} {_ID.sub('…', path.partition('?')[0])}"] += 1
                body = piece.partition(b"\r\n\r\n")[2] if head else piece
                if self.losing and self.losing.match(body) and body not in self.lost:
                    self.lost.append(body)
                    lose.set()
                pieces.put_nowait((self._loop.time() + self.seconds, piece))
                if not piece:
                    break
            await sending
        finally:
            sending.cancel()

    @staticmethod
    async def _at_once(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lose: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                if lose.is_set():
                    writer.transport.abort()
                    return
                writer.write(piece)
                await writer.drain()
            writer.write_eof()


@contextmanager
def api_proxy(server: str, seconds: float = 0.0) -> Iterator[ApiProxy]:
    """Stand before a Prefect API as long as the block runs."""
    with ApiProxy(server, seconds).running() as proxy:
        yield proxy
