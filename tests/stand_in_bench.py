"""Stands in for the interpreter of `vllm bench serve`: measures nothing, or fails on demand.

    stand_in_bench.py MODE FOLDER -I -u WORKER REQUEST RESPONSE

FOLDER receives each run's environment. Modes: `good`, `fails`, `hangs`, `silent`, `broken`,
`lacks`, `nan`, `few`, `unanswered`, `some-failed`, `other-lengths`; `torn` writes half a line and
waits a moment; `kills` ends the server and
goes on, `kills-and-ends` fails as one does whose server is gone.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

GOLDEN = Path(__file__).parent / "infra" / "golden" / "bench_response.json"


def main() -> int:
    mode, folder = sys.argv[1], Path(sys.argv[2])
    note = folder / f".bench-{os.getpid()}"
    note.write_text(json.dumps(dict(os.environ)))
    note.rename(folder / f"bench-{os.getpid()}")
    while not Path(sys.argv[-2]).exists():
        time.sleep(0.01)
    request, answered = json.loads(Path(sys.argv[-2]).read_text()), Path(sys.argv[-1])
    kept = [run for run in request["runs"] if run["timed"]]
    print(json.dumps({"event": "progress", "phase": kept[0]["what"]}), flush=True)
    print("\r 50%|#####     | 8/16 [00:01<00:01,  8.0it/s]", end="", flush=True)
    if mode == "torn":
        print('\n{"event": "progr', flush=True)
        time.sleep(2)
    if mode in ("kills", "kills-and-ends"):
        server(kept[0]["arguments"]).kill()
    if mode in ("hangs", "kills"):
        time.sleep(600)
    if mode in ("fails", "kills-and-ends"):
        print("\nValueError: the timing went wrong", flush=True)
        return 1
    if mode == "silent":
        return 0
    if mode == "broken":
        answered.write_text('{"version": 1, "results": [')
        return 0
    response = json.loads(GOLDEN.read_text())
    result = response["results"][0]
    result |= {
        "lacks": {"p99_ttft_ms": None},
        "nan": {"median_tpot_ms": float("nan")},
        "unanswered": {"completed": 0, "failed": 16},
        "some-failed": {"completed": 15, "failed": 1},
        "other-lengths": {"total_input_tokens": 16 * 200, "total_output_tokens": 16 * 8},
    }.get(mode, {})
    if request["meter"]:
        result["readings"] = [[reading(request["meter"]), reading(request["meter"])]]
    response["results"] = [result] * (len(kept) - (mode == "few"))
    answered.write_text(json.dumps(response))
    return 0


def reading(meter: list[str]) -> str:
    return subprocess.run(meter, capture_output=True, text=True, check=True).stdout


def server(arguments: list[str]) -> psutil.Process:
    port = int(arguments[arguments.index("--base-url") + 1].rpartition(":")[2])
    for connection in psutil.net_connections("tcp"):
        local = connection.laddr
        if connection.status == psutil.CONN_LISTEN and local and local.port == port:
            return psutil.Process(connection.pid)
    raise SystemExit("there is no server")


if __name__ == "__main__":
    sys.exit(main())
