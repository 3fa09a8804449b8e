"""tf.estimator as a contestant: an environment of its own, and a process in it that is given the same batches."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Batch, Contestant, Elsewhere, Make, Setting, SkippedError, Work
from benchmarks.ours import THRESHOLDS

REQUIREMENTS = ("tensorflow-cpu==2.15.1", "tensorflow-estimator==2.15.0")
WORKER = Path(__file__).with_name("tf_worker.py")


def environment() -> Path:
    """The Python of the environment, which is made in the user's cache if it is not there.

    Raises
    ------
    SkippedError
        If it can't be made.
    """
    cached = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "glmheads" / "tf-estimator-2.15"
    python = cached / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = cached / "done"
    if done.exists():
        return python
    base = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
    if base is None:
        raise SkippedError("tf.estimator needs Python 3.11, which is not here")
    try:
        for command in ([base, "-m", "venv", cached], [python, "-m", "pip", "install", "--quiet", *REQUIREMENTS]):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=1800)
    except (OSError, subprocess.SubprocessError) as error:
        last = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        raise SkippedError(f"tf.estimator could not be installed: {last}") from None
    done.touch()
    return python


def versions(python: str) -> dict[str, str]:
    """Of the environment's TensorFlow and tf.estimator."""
    names = [requirement.split("==")[0] for requirement in REQUIREMENTS]
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    done = subprocess.run([python, "-c", code, *names], check=True, stdout=subprocess.PIPE, text=True)
    return dict(zip(names, done.stdout.split(), strict=True))


class Worker:
    """The process; it loads a round's batches once for all of its contestants."""

    def __init__(self, python: str, threads: int) -> None:
        command = [python, WORKER, json.dumps([threads, THRESHOLDS])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._folder = tempfile.TemporaryDirectory(prefix="glmheads-benchmark-")
        self._loaded: Any = lambda: None

    def ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of tf.estimator ended with status {self._process.wait()}")
        return json.loads(line)

    def load(self, batches: Sequence[Batch]) -> None:
        if self._loaded() is batches[0]:
            return
        for name in ("labels", "logits", "weights"):
            np.save(Path(self._folder.name) / name, np.stack([getattr(batch, name) for batch in batches]))
        self.ask(load=self._folder.name)
        self._loaded = weakref.ref(batches[0])

    def close(self) -> None:
        self._process.communicate()
        self._folder.cleanup()


@cache
def worker(python: str, threads: int) -> Worker:
    started = Worker(python, threads)
    atexit.register(started.close)
    return started


def contestant(work: str, compiled: bool) -> Make:
    """A "report" of each batch, or an "update" by it of a stream."""

    def make(setting: Setting) -> Contestant:
        if setting.tf_python is None:
            raise SkippedError(setting.tf_missing)
        process = worker(setting.tf_python, setting.threads or 0)

        def prepare(batches: Sequence[Batch]) -> Work:
            process.load(batches)

            def run() -> Elsewhere:
                answer = process.ask(run=work, compiled=compiled)
                return Elsewhere(answer["seconds"], answer["results"])

            return run

        # It sums in float32; its areas are Keras's, those of num_thresholds=200.
        return Contestant(prepare, dict, default_tolerance=1e-4, largest=2 * 10**6)

    return make
