"""Groups of races, each in a process of its own that has so many threads and prints a row of JSON a line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from benchmarks.measure import Row, Setting

THREAD_VARIABLES = (
    "GLMHEADS_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)


def measured(
    groups: Sequence[str], threads: Sequence[int], setting: Setting, tell: Callable[[str], Any]
) -> Iterator[Row]:
    """The rows of groups; a process that fails gives a row that says so."""
    for group in groups:
        for count in [None] if group == "gpu" else threads:
            tell(f"{group}, {'GPU' if count is None else f'threads: {count}'} ...")
            try:
                yield from start(group, replace(setting, threads=count))
            except subprocess.CalledProcessError as error:
                failure = f"the process ended with status {error.returncode}"
                yield {"race": group, "contestant": "all", "threads": count, "failed": failure}


def start(group: str, setting: Setting) -> Iterator[Row]:
    """The rows of a group, as they come from a process of its own.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; what it had printed on stderr says why.
    """
    environment = dict(os.environ)
    if setting.threads is not None:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(setting.threads))
    else:
        environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # the libraries share the device
    command = [sys.executable, "-m", __name__, group, json.dumps(asdict(setting))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def limit_cores(threads: int) -> None:
    """So many cores for this process, where the system can: XLA has no other way to be told."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def main(group: str, options: dict[str, Any]) -> None:
    rows = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no row
    setting = Setting(**options)
    if setting.threads is not None:
        limit_cores(setting.threads)
    # After the limits, which libraries read when they are imported
    from benchmarks import memory, races
    from benchmarks.measure import run

    found = memory.run(setting) if group == "memory" else (row for r in races.GROUPS[group] for row in run(r, setting))
    for row in found:
        print(json.dumps(row), file=rows, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
