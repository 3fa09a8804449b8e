"""How much memory the work takes beside the data: the growth of a process's peak, measured in a process for each."""

import json
import subprocess
import sys
from collections.abc import Iterator

import numpy as np

from benchmarks import ours
from benchmarks.measure import Row, Setting, SkippedError, batches, enough_memory

SIZE = 10**8
WORK = {
    "loss, NumPy": ours.loss(ours.numpy),
    "report, NumPy": ours.report(ours.numpy),
    "report, NumPy, default areas": ours.report(ours.numpy, None),
    "loss, torch": ours.loss(ours.torch),
    "report, torch": ours.report(ours.torch),
}


def run(setting: Setting) -> Iterator[Row]:
    """A row for each kind of work."""
    for name in WORK:
        row = {"race": "memory", "contestant": f"glmheads, {name}", "threads": setting.threads, "size": SIZE}
        try:
            if setting.largest < SIZE:
                raise SkippedError(f"it is measured with {SIZE:,} examples only")
            enough_memory(SIZE)
            command = [sys.executable, "-m", __name__, name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            yield {**row, "extra_bytes": json.loads(done.stdout)}
        except SkippedError as error:
            yield {**row, "skipped": str(error)}


def extra_bytes(name: str, size: int) -> int:
    """By how much the peak of this process grows; what is loaded at the first call is loaded before."""
    contestant = WORK[name](Setting())
    rng = np.random.default_rng(0)
    contestant.answer(contestant.prepare(batches(rng, 1000, 1))())
    work = contestant.prepare(batches(rng, size, 1))
    before = peak()
    work()
    return peak() - before


def peak() -> int:
    """The most bytes that this process has held."""
    import resource  # Unix has it

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    print(extra_bytes(sys.argv[1], SIZE))
