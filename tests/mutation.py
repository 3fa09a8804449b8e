"""Mutation testing: change the package in one place at a time and see whether a test fails.

    python -m tests.mutation                                         # 300 mutants of the core
    python -m tests.mutation 'glmheads/kernels/*' --count 50 --seed 1
    python -m tests.mutation glmheads/kernels/losses.py:80           # all mutants of a line
    python -m tests.mutation --list                                  # the sample, without running it

First each test file runs under coverage on the unchanged package (the lines found are kept in ``.mutation_cache`` until
the package or the test file changes). Then each mutant, in a copy of the tree, meets the test files that run its line:
the nearest ones on NumPy, all of them on NumPy, all of them on the other libraries. If no test fails, it survives.
Mutants that behave as the original does are listed in ``data/equivalent_mutants.toml`` and left out of the score.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from fnmatch import fnmatch
from pathlib import Path
from queue import SimpleQueue

import coverage

from tests.mutators import Mutant, mutants

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".mutation_cache" / "lines.json"
EQUIVALENT = ROOT / "tests" / "data" / "equivalent_mutants.toml"
OUTSIDE = ("*/__init__.py", "*/backends/_*", *(f"glmheads/{name}/*" for name in ("cli", "plots", "report", "testing")))
"""What is not drawn from where no files are named."""
OTHERS = "array_api_strict or torch or jax or dask or cupy"
"""In the names of tests that run on other libraries than NumPy."""
NEAREST = 3

Found = dict[str, set[tuple[str, int]]]
"""The lines of the package that each test file runs."""


def copy_tree(folder: Path) -> Path:
    """A copy of the tree, without what git ignores."""
    ignored = ("__pycache__", ".*_cache", ".git", ".hypothesis", ".nox", ".venv", "build", "dist", "site")
    return Path(shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*ignored)))


def passes(tree: Path, *command: str, timeout: float | None = None) -> bool:
    """Whether a run of pytest in the tree passes in time; a run without tests does."""
    options = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=repeat")
    process = subprocess.Popen(
        [sys.executable, "-m", *command, *options],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(timeout) in (0, 5)
    except subprocess.TimeoutExpired:
        return False
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# ---------------------------------------------------------------------------------------------------------------------
# Which tests run which lines


def digest(*files: Path) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in sorted(files))).hexdigest()


def lines_of(tree: Path, test: str) -> list[tuple[str, int]]:
    """The lines that a test file runs; none if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        config, data = str(Path(folder, "coveragerc")), str(Path(folder, "data"))
        Path(config).write_text("[run]\nsource = glmheads\nparallel = true\npatch = subprocess\n")
        if not passes(tree, "coverage", "run", f"--rcfile={config}", f"--data-file={data}", "-m", "pytest", test):
            return []
        measured = coverage.Coverage(data_file=data, config_file=config)
        measured.combine([folder])
        found = measured.get_data()
        files = {Path(file).relative_to(tree).as_posix(): file for file in found.measured_files()}
        return [(file, line) for file, path in files.items() for line in found.lines(path) or ()]


def measure(pool: ThreadPoolExecutor, trees: "SimpleQueue[Path]", tests: list[str]) -> tuple[Found, dict[str, float]]:
    """The lines that each test file runs, and the seconds that it takes."""
    known = json.loads(CACHE.read_text()) if CACHE.exists() else {}

    def update(test: str) -> None:
        tree = trees.get()
        key = digest(tree / test, tree / "tests" / "conftest.py", *(tree / "glmheads").rglob("*.py"))
        if known.get(test, {}).get("key") != key:
            start = time.monotonic()
            lines = lines_of(tree, test)
            known[test] = {"key": key, "lines": lines, "seconds": time.monotonic() - start}
            print(f"{known[test]['seconds']:5.0f} s  {test}", flush=True)
        trees.put(tree)

    for _ in pool.map(update, tests):
        CACHE.parent.mkdir(exist_ok=True)
        CACHE.write_text(json.dumps(known))
    for test in tests:
        if not known[test]["lines"]:
            print(f"{test} fails on the unchanged package and is left out")
    found = {test: set(map(tuple, known[test]["lines"])) for test in tests if known[test]["lines"]}
    return found, {test: known[test]["seconds"] for test in found}


def by_distance(mutant: Mutant, found: Found) -> list[str]:
    """The test files that run the mutant's line, those first that run little besides its file.

    Lines that every test file runs, by importing the package, do not count.
    """
    everywhere = set.intersection(*found.values())

    def share(test: str) -> float:
        files = [file for file, _ in found[test] - everywhere]
        return files.count(mutant.file) / max(1, len(files))

    running = [test for test in found if any((mutant.file, line) in found[test] for line in mutant.lines)]
    return sorted(running, key=share, reverse=True)


# ---------------------------------------------------------------------------------------------------------------------
# The mutants


def chosen(patterns: list[str]) -> Iterator[Mutant]:
    """The mutants of the files, or lines ``file:line``, that match a pattern; of the core if there is none."""
    for path in sorted((ROOT / "glmheads").rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        if not patterns and any(fnmatch(file, excluded) for excluded in OUTSIDE):
            continue
        for mutant in mutants(file, path.read_bytes()):
            if not patterns or any(fnmatch(name, p) for p in patterns for name in (file, f"{file}:{mutant.line}")):
                yield mutant


def survives(mutant: Mutant, tests: list[str], seconds: dict[str, float], tree: Path) -> bool:
    """Whether all of the tests pass, the nearest ones first."""
    path = tree / mutant.file
    original = path.read_bytes()
    path.write_bytes(mutant.apply(original))
    timeout = 120 + 3 * sum(seconds[test] for test in tests)
    try:
        return (
            passes(tree, "pytest", mutant.file, *tests[:NEAREST], "-k", f"not ({OTHERS})", timeout=timeout)
            and (
                not tests[NEAREST:]
                or passes(tree, "pytest", *tests[NEAREST:], "-k", f"not ({OTHERS})", timeout=timeout)
            )
            and (not tests or passes(tree, "pytest", *tests, "-k", OTHERS, timeout=timeout))
        )
    finally:
        path.write_bytes(original)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", help="files of the package, or file:line")
    parser.add_argument("--count", type=int, default=300, help="mutants to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tests", nargs="+", default=["tests/test_*.py"], help="test files to run")
    parser.add_argument("--list", action="store_true", help="show the sample only")
    given = parser.parse_args()

    population = list(chosen(given.patterns))
    sample = random.Random(given.seed).sample(population, min(given.count, len(population)))
    reviewed = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    equivalent = {(entry["file"], entry["before"], entry["after"]) for entry in reviewed}
    tested = [mutant for mutant in sample if mutant.key not in equivalent]
    print(f"{len(sample)} of {len(population)} mutants, {len(sample) - len(tested)} of them known to be equivalent")
    if given.list:
        print(*tested, sep="\n")
        return

    files = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").glob("test_*.py"))
    tests = [file for file in files if any(fnmatch(file, pattern) for pattern in given.tests)]
    survived = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for job in range(given.jobs):
            trees.put(copy_tree(Path(folder, str(job))))
        found, seconds = measure(pool, trees, tests)

        def run(mutant: Mutant) -> bool:
            tree = trees.get()
            try:
                return survives(mutant, by_distance(mutant, found), seconds, tree)
            finally:
                trees.put(tree)

        running = {pool.submit(run, mutant): mutant for mutant in tested}
        for done, future in enumerate(as_completed(running), 1):
            if future.result():
                survived += 1
                print(f"survived: {running[future]}", flush=True)
            if done % 10 == 0 or done == len(tested):
                print(f"{done} of {len(tested)}: {done - survived} killed, {1 - survived / done:.1%}", flush=True)


if __name__ == "__main__":
    main()
