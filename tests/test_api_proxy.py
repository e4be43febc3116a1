"""The proxy passes everything on, and refuses or loses what it is told to."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.api_proxy import api_proxy


class _Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[str]:
    echo = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    echo.daemon_threads = True
    thread = threading.Thread(target=echo.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{echo.server_port}/api"
    echo.shutdown()
    echo.server_close()
    thread.join()


def test_it_passes_on_counts_refuses_and_takes_again(server: str) -> None:
    with api_proxy(server, 0.01) as proxy, httpx.Client(trust_env=False) as client:
        large = bytes(range(256)) * 4096
        for body in (b"small", large):
            assert client.post(f"{proxy.url}/flow_runs", content=body).content == body
        assert proxy.calls == {"POST /api/flow_runs": 2}
        proxy.leave()
        with pytest.raises(httpx.TransportError):
            client.post(f"{proxy.url}/flow_runs", content=b"lost")
        with pytest.raises(httpx.ConnectError):
            client.post(f"{proxy.url}/flow_runs", content=b"lost")
        proxy.come_back()
        assert client.post(f"{proxy.url}/flow_runs", content=b"again").content == b"again"


def test_it_loses_the_first_answer_to_a_call(server: str) -> None:
    with api_proxy(server) as proxy, httpx.Client(trust_env=False) as client:
        proxy.losing = re.compile(b"end")
        assert client.post(f"{proxy.url}/flow_runs", content=b"begin").content == b"begin"
        with pytest.raises(httpx.TransportError):
            client.post(f"{proxy.url}/flow_runs", content=b"end of all")
        assert client.post(f"{proxy.url}/flow_runs", content=b"end of all").content == b"end of all"
        assert proxy.lost == [b"end of all"]
