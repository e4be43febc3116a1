"""Kill a scoring run again and again, and show that it ends as if nothing had happened.

    python -m tests.resume [--kills 20] [--seed 0] [--real [--model FOLDER]]

A process asks choices, long endings and generations through `assay-completions`, with a file of
answers. It is killed by SIGKILL whenever a drawn number of questions has been answered, and started
again with the same file. In the end its results have to be those of a run that nobody killed, and
no more may have been sent twice than was under way at the kills.

It asks a server of hashes, where results have to be equal to the last bit. With `--real` it asks
vLLM through a counting server in between; restarts change what is computed together, so numbers
have to be equal within the limits of `tests.exactness`.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from infra.contracts.progress import Silent
from infra.machine.device import detect
from infra.machine.environments import ensure
from infra.store.settings import Settings
from tests.infra.scoring import stub
from tests.infra.scoring.cases import Made
from tests.infra.scoring.comparison import LIMITS, Limits, Request, Verdict, compare, table
from tests.infra.scoring.stub import Stub

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "infra" / "sample" / "model"
EXACT = Limits(score=0, share=0, tie=0)
SETTINGS = {"until": ["Question:"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 24}
LONGEST_PAUSE_SECONDS = 0.03
"""Between the answer that decides a kill and the kill."""


@dataclass(frozen=True)
class Job:
    """What the process that is killed has to do."""

    base_url: str
    model: str
    key: str
    answers: str
    output: str
    concurrency: int = 16
    size: int = 60
    """Documents of each kind; of one-token choices four times as many."""


def questions(size: int) -> list[Made]:
    """Return the questions: one-token choices, long endings, generations."""

    def contexts(kind: str, number: int) -> list[tuple[tuple[str, int], str]]:
        words = [
            f"{n}. {kind}: Mary has {n * 37 % 101} apples and buys {n}." for n in range(number)
        ]
        return [((kind, n), f"{text}\nAnswer:") for n, text in enumerate(words)]

    letters = (" A", " B", " C", " D")
    ends = (" She", " She has all of them", " She counts her apples and puts them into the bag")
    choices = [Request(d, c, end) for d, c in contexts("choices", 4 * size) for end in letters]
    endings = [Request(d, c, end) for d, c in contexts("endings", size) for end in ends]
    texts = [Request(d, c, SETTINGS) for d, c in contexts("texts", size)]
    return [
        Made("choices", "loglikelihood", choices),
        Made("endings", "loglikelihood", endings),
        Made("texts", "generate_until", texts),
    ]


def work(job: Job) -> None:
    """Do the job: ask all, write the answers down."""
    from infra.scoring.model import AssayCompletions
    from infra.suite.harness.libraries.quiet import quiet

    with quiet():
        model = AssayCompletions(
            base_url=f"{job.base_url}/completions",
            model=job.model,
            tokenizer=str(SAMPLE),
            tokenizer_backend="huggingface",
            max_length=stub.MAX_MODEL_LEN,
            header={"Authorization": f"Bearer {job.key}"},
            num_concurrent=job.concurrency,
            answers=job.answers,
            say=lambda text: print(text, file=sys.stderr),
        )
        found = [getattr(model, made.kind)(made.instances()) for made in questions(job.size)]
        model.close()
    Path(job.output).write_text(json.dumps(found))


@contextmanager
def started(job: Job, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the job in a process of its own, which is killed if it still runs at the end."""
    command = [sys.executable, "-m", "tests.resume", "--job", json.dumps(asdict(job))]
    with (
        log.open("ab") as stream,
        subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def finish(job: Job, log: Path) -> Any:
    """Let the job run to its end, and return its results."""
    with started(job, log) as process:
        code = process.wait()
    if code or log.read_bytes():  # a file that is put aside would be named there
        raise AssertionError(f"exit code {code}: {log.read_text()[-3000:]}")
    return json.loads(Path(job.output).read_text())


@dataclass(frozen=True)
class Outcome:
    """What came of a run that was killed again and again."""

    verdicts: Sequence[Verdict]
    kills: int
    concurrency: int
    distinct: int
    """Questions there are."""

    answered: int
    """Questions the server answered over all lives of the process."""

    strangers: int
    """Questions that only one of the two runs asked."""

    again: int
    """Questions asked by one more run after the last."""

    @property
    def allowed(self) -> int:
        """How often a question may be answered in vain: those under way at the kills."""
        return self.kills * self.concurrency

    @property
    def fine(self) -> bool:
        equal = all(verdict.equal for verdict in self.verdicts)
        few = self.answered - self.distinct <= self.allowed
        return equal and few and not self.strangers and not self.again

    def __str__(self) -> str:
        return (
            f"{table(self.verdicts)}\n{self.kills} kills; {self.distinct} questions, answered "
            f"{self.answered} times, {self.answered - self.distinct} in vain of {self.allowed} "
            f"allowed; asked otherwise: {self.strangers}; asked again after the end: {self.again}"
        )


class NoTies:
    """A judge for whom nothing is a tie."""

    def greedy_is_tied(self, request: Request, tie: float) -> bool:
        return False

    def texts_are_tied(self, request: Request, one: str, other: str, tie: float) -> bool:
        return False


def torment(
    server: Stub, job: Job, folder: Path, *, kills: int, seed: int, limits: Limits = EXACT
) -> Outcome:
    """Run the job undisturbed, then with kills at drawn moments, and compare.

    Args:
        server: Where requests go.
        job: What to do; its files are replaced by those of each run.
        folder: Where they go.
        kills: How often the process is killed.
        seed: Draws the moments.
        limits: What may differ.
    """

    def named(name: str) -> Job:
        return replace(job, answers=str(folder / f"{name}.db"), output=str(folder / f"{name}.json"))

    undisturbed = finish(named("undisturbed"), folder / "undisturbed.log")
    expected = set(server.answered)
    server.answered.clear()
    draw = random.Random(seed)
    moments = sorted(draw.sample(range(len(expected)), kills))
    server.withhold = len(expected)
    for number, moment in enumerate(moments):
        with started(named("killed"), folder / f"killed-{number}.log") as process:
            server.wait_for(moment, lambda: process.poll() is not None)
            time.sleep(draw.uniform(0, LONGEST_PAUSE_SECONDS))
            if (code := process.poll()) is not None:
                log = (folder / f"killed-{number}.log").read_text()
                raise AssertionError(f"it ended before kill {number} with {code}: {log[-3000:]}")
    server.withhold = None
    killed = finish(named("killed"), folder / "killed.log")
    seen, total = set(server.answered), server.answered.total()
    repeated = finish(named("killed"), folder / "repeated.log")
    verdicts = [
        compare(made.name, made.requests, theirs, ours, NoTies(), limits)
        for made, theirs, ours in zip(questions(job.size), undisturbed, killed, strict=True)
    ]
    if repeated != killed:
        verdicts[0].differ("what was answered is not what was kept")
    return Outcome(
        verdicts=verdicts,
        kills=kills,
        concurrency=job.concurrency,
        distinct=len(expected),
        answered=total,
        strangers=len(seen ^ expected),
        again=server.answered.total() - total,
    )


@contextmanager
def real(model: Path, folder: Path) -> Iterator[tuple[Stub, Mapping[str, str]]]:
    """Serve a checkpoint with vLLM behind a server that counts."""
    from tests.exactness import served

    environment = ensure(
        "vllm", detect("auto").kind, settings=Settings(), progress=Silent(),
        log=folder / "build.log",
    )  # fmt: skip
    with served(model, "float32", environment, folder / "server.log") as engine:
        key = engine.api_key.get_secret_value()
        bearer = {"Authorization": f"Bearer {key}"}
        respond = partial(stub.forward, url=engine.base_url, headers=bearer)
        with stub.serving(respond, name=engine.model) as server:
            yield server, {"model": engine.model, "key": key}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", action="store_true", help="ask vLLM")
    parser.add_argument("--model", type=Path, default=SAMPLE, help="what vLLM serves")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        work(Job(**json.loads(given.job)))
        return 0
    with tempfile.TemporaryDirectory(prefix="assay-resume-") as name:
        folder = Path(name)
        job = Job(base_url="", model=stub.MODEL, key="any", answers="", output="")
        if given.real:
            with real(given.model.resolve(), folder) as (server, names):
                job = replace(job, base_url=server.base_url, **names)
                outcome = torment(
                    server, job, folder, kills=given.kills, seed=given.seed,
                    limits=LIMITS["float32"],
                )  # fmt: skip
        else:
            with stub.serving() as server:
                job = replace(job, base_url=server.base_url)
                outcome = torment(server, job, folder, kills=given.kills, seed=given.seed)
    print(outcome)
    return int(not outcome.fine)


if __name__ == "__main__":
    sys.exit(main())
