"""Time a server with `vllm bench serve`, run after run: one JSON file in, one JSON file out.

    OPENAI_API_KEY=… python -I -u bench_serve.py REQUEST.json RESPONSE.json

Runs in the server's environment and imports nothing of ours. The request (version 1):

    {"version": 1, "runs": [{"what": text, "arguments": [text, …], "keep": bool}, …]}

`arguments` are those of the command line after `vllm bench serve`. The response: `results`, of
every run with `keep` what the command saves with `--save-result`. A run that fails ends all of
them, with a traceback and exit code 1. Lines on stdout that start with `{"event"` tell of progress.

The command itself would import vLLM again for every run, 10 to 20 seconds each time, and does not
start at all with the CPU build, whose distribution has another name than it asks for.
"""

import json
import sys
import tempfile
from pathlib import Path

VERSION = 1


def main():
    """Do all runs of the request, and write the response."""
    request_file, response_file = map(Path, sys.argv[1:])
    request = json.loads(request_file.read_text(encoding="utf-8"))
    if request["version"] != VERSION:
        sys.exit(f"this is version {VERSION}, not {request['version']}")
    runs = request["runs"]
    tell("loading vLLM", 0, len(runs))
    from vllm.benchmarks import serve
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser(prog="vllm bench serve")
    serve.add_cli_args(parser)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for number, run in enumerate(runs):
            tell(run["what"], number, len(runs))
            saved = ["--save-result", "--result-dir", folder, "--result-filename", f"{number}.json"]
            serve.main(parser.parse_args([*run["arguments"], *saved]))
            if run["keep"]:
                text = (Path(folder) / f"{number}.json").read_text(encoding="utf-8")
                results.append(json.loads(text))
    response = {"version": VERSION, "results": results}
    response_file.write_text(json.dumps(response, indent=2), encoding="utf-8")


def tell(phase, done, total):
    """Tell which run begins."""
    event = {"event": "progress", "phase": phase, "done": done, "total": total, "unit": "runs"}
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    main()
