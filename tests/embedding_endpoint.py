"""An endpoint that embeds: the more words two texts share, the nearer their vectors.

It can lie in every way that is refused. As a server of ours it is run as

    python -I -u embedding_endpoint.py PORT NAME [FAULT …]

Faults: `other-order`, `missing`, `twice`, `nan`, `zero`, `longer` (another dimension from the
second request on), `ragged`, `no-json`, `long` (as sent, not of length 1), `short-window` (refuses
texts of more than eight words), `refuses`, `dies` (with the second request), `hangs` (from the
second request on), `hangs-up` (on whoever asks for a page that is not there). As
`embedding_endpoint.py FAULT,… --port N …` it takes vLLM's command line.
"""

import argparse
import json
import math
import os
import sys
import threading
import time
import zlib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIMENSION = 64


def vector(text):
    numbers = [0.0] * DIMENSION
    for word in text.casefold().split():
        numbers[zlib.crc32(word.encode()) % DIMENSION] += 1.0
    return numbers


class Embeds(ThreadingHTTPServer):
    """The endpoint, with what it was asked."""

    daemon_threads = True

    def __init__(self, port=0, name="embeds", faults=(), key=None):
        super().__init__(("127.0.0.1", port), Handler)
        self.name, self.faults, self.key = name, set(faults), key
        self.asked = []
        self.listed = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def texts(self):
        return [text for texts in self.asked for text in texts]

    def answer(self, texts):
        self.asked.append(texts)
        faults = self.faults
        if "dies" in faults and len(self.asked) > 2:  # the first one is asked before all others
            print("ERROR 01-01 00:00:00 [engine.py:1] ValueError: engine trouble", flush=True)
            os._exit(3)
        if "hangs" in faults and len(self.asked) > 1:
            print("hangs", flush=True)
            time.sleep(600)
        if "refuses" in faults or (
            "short-window" in faults and any(len(text.split()) > 8 for text in texts)
        ):
            return 400, {"error": {"message": "This model's maximum context length is 8 tokens."}}
        vectors = [vector(text) for text in texts]
        if "long" not in faults:
            vectors = [[n / math.sqrt(sum(m * m for m in one)) for n in one] for one in vectors]
        if "nan" in faults:
            vectors[-1][0] = math.nan
        if "zero" in faults:
            vectors[-1] = [0.0] * DIMENSION
        if "ragged" in faults:
            vectors[-1] = vectors[-1][1:]
        if "longer" in faults and len(self.asked) > 1:
            vectors = [[*one, 0.5] for one in vectors]
        data = [
            {"object": "embedding", "index": number, "embedding": one}
            for number, one in enumerate(vectors)
        ]
        if "other-order" in faults:
            data.reverse()
        if "missing" in faults:
            data.pop()
        if "twice" in faults:
            data[-1] = data[0]
        return 200, {"object": "list", "model": self.name, "data": data}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            self.say(200, {})
        elif self.path == "/version":
            self.say(200, {"version": "0.0.test"})
        elif self.path == "/v1/models":
            if self.allowed():
                listed = {"id": self.server.name, "max_model_len": 256}
                self.say(200, {"data": [listed | self.server.listed]})
        elif "hangs-up" not in self.server.faults:
            self.say(404, {"detail": "Not Found"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        if self.path != "/v1/embeddings" or body["model"] != self.server.name:
            self.say(404, {"error": "no such model"})
        elif "no-json" in self.server.faults:
            self.say(200, None, b"<html>welcome</html>")
        else:
            self.say(*self.server.answer(body["input"]))

    def allowed(self):
        key = self.server.key
        if key is None or self.headers["Authorization"] == f"Bearer {key}":
            return True
        self.say(401, {"error": {"message": f"wrong key {self.headers['Authorization']}"}})
        return False

    def say(self, status, answer, content=None):
        content = json.dumps(answer).encode() if content is None else content
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@contextmanager
def embedding(*faults, key=None):
    """Run one in this process while the block runs."""
    server = Embeds(faults=faults, key=key)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    if "--port" in sys.argv:  # in the place of vLLM's API server
        parser = argparse.ArgumentParser()
        parser.add_argument("--port", type=int)
        parser.add_argument("--served-model-name")
        parser.add_argument("--convert")
        given, _ = parser.parse_known_args()
        assert given.convert == "embed"
        PORT, NAME, FAULTS = given.port, given.served_model_name, sys.argv[1].split(",")
    else:
        PORT, NAME, *FAULTS = sys.argv[1:]
    Embeds(int(PORT), NAME, FAULTS, os.environ["VLLM_API_KEY"]).serve_forever()
