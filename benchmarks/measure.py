"""Timing contestants against each other: interleaved, after a warm-up, on fresh random data, once they agree.

A `Race` is one kind of work at several sizes; a `Contestant` is one way to do it. In a round, each contestant does the
work on that round's data, and the contestants take turns at being first. Before the rounds that are timed, all work on
the same data (which also warms them up), and their answers must agree.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

Row = dict[str, Any]
Answer = Mapping[str, float]
Work = Callable[[], Any]


class SkippedError(Exception):
    """A contestant or a size that can't run here; says why."""


@dataclass(frozen=True)
class Setting:
    """Under what the races are run; `threads` is None on a GPU, `tf_missing` says why there is no `tf_python`."""

    threads: int | None = 1
    rounds: int = 9
    largest: int = 10**8
    seed: int = 0
    tf_python: str | None = None
    tf_missing: str = ""


@dataclass(frozen=True)
class Batch:
    """Weighted examples: three float32 arrays of shape (n, 1)."""

    labels: np.ndarray
    logits: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Elsewhere:
    """What a contestant that times itself (in another process) returns."""

    seconds: float
    value: Any


@dataclass(frozen=True)
class Contestant:
    """One way to do the work.

    `prepare` moves batches to where the contestant wants them and returns the work, which is timed: all batches, until
    the result is there. `answer` reads the numbers off what the work returned. They must be as near as `tolerance`
    (relative, by key, else `default_tolerance`) to those of the race's first contestant that is weighted alike.
    """

    prepare: Callable[[Sequence[Batch]], Work]
    answer: Callable[[Any], Answer]
    weighted: bool = True
    tolerance: Mapping[str, float] = field(default_factory=dict)
    default_tolerance: float = 1e-5
    largest: int = 10**9
    bytes_per_example: int | None = None


Make = Callable[[Setting], Contestant]
"""Makes a contestant; raises ImportError or SkippedError where it can't run."""


@dataclass(frozen=True)
class Race:
    """One kind of work at several sizes, and who does it, by name."""

    name: str
    sizes: tuple[int, ...]
    contestants: Mapping[str, Make]
    examples_per_round: int = 2**20
    most_batches: int = 112

    def batches(self, size: int) -> int:
        """How many batches a contestant works on in a round: enough to time, however small they are."""
        return min(max(self.examples_per_round // size, 1), self.most_batches)


def run(race: Race, setting: Setting) -> Iterator[Row]:
    """A row for each contestant and size: its times, or why it was skipped or failed."""
    contestants = {}
    for name, make in race.contestants.items():
        try:
            contestants[name] = make(setting)
        except (ImportError, SkippedError) as error:
            yield {"race": race.name, "contestant": name, "threads": setting.threads, "skipped": str(error)}
    for size in race.sizes:
        entered = {name: c for name, c in contestants.items() if size <= min(c.largest, setting.largest)}
        try:
            if entered:
                enough_memory(size * race.batches(size))
                yield from _run_at(race, size, entered, setting)
        except SkippedError as error:
            yield {"race": race.name, "contestant": "all", "threads": setting.threads, "skipped": str(error)}


def _run_at(race: Race, size: int, contestants: Mapping[str, Contestant], setting: Setting) -> Iterator[Row]:
    rng = np.random.default_rng([setting.seed, size])
    count = race.batches(size)
    shared = {"race": race.name, "threads": setting.threads, "size": size}
    checks, failures = _checked(contestants, batches(rng, size, count))
    for name, failure in failures.items():
        yield {**shared, "contestant": name, "failed": failure}
    rounds = setting.rounds if size <= 10**7 else min(setting.rounds, 5)
    seconds: dict[str, list[float]] = {name: [] for name in checks}
    order = list(checks)
    for _ in range(rounds):
        fresh = batches(rng, size, count)
        for name in order:
            seconds[name].append(_timed(contestants[name].prepare(fresh))[0] / count)
        order = [*order[1:], order[0]]
    for name, times in seconds.items():
        lower, median, upper = (float(quartile) for quartile in np.quantile(times, (0.25, 0.5, 0.75)))
        moved = contestants[name].bytes_per_example
        yield {
            **shared,
            "contestant": name,
            "batches": count,
            "seconds": {"median": median, "lower_quartile": lower, "upper_quartile": upper, "rounds": times},
            "nanoseconds_per_example": median / size * 1e9,
            "gigabytes_per_second": None if moved is None else moved * size / median / 1e9,
            "check": checks[name],
        }


def _timed(work: Work) -> tuple[float, Any]:
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        value = work()
        seconds = time.perf_counter() - start
    finally:
        gc.enable()
    return (value.seconds, value.value) if isinstance(value, Elsewhere) else (seconds, value)


def _checked(contestants: Mapping[str, Contestant], batches: Sequence[Batch]) -> tuple[dict[str, Row], dict[str, str]]:
    """Of those that agree with the first that is weighted alike: how closely. Of the others: why they are not timed."""
    first: dict[bool, tuple[str, Answer]] = {}
    checks, failures = {}, {}
    for name, contestant in contestants.items():
        try:
            answer = contestant.answer(_timed(contestant.prepare(batches))[1])
            against, expected = first.setdefault(contestant.weighted, (name, answer))
            checks[name] = {"against": against, **_compared(contestant, answer, expected)}
        except Exception as error:
            failures[name] = f"{type(error).__name__}: {error}"
            print(f"{name} is not timed: {failures[name]}", file=sys.stderr)
    return checks, failures


def _compared(contestant: Contestant, answer: Answer, expected: Answer) -> Row:
    """The answer that came nearest to its tolerance."""
    worst: Row = {"key": None, "difference": 0.0, "tolerance": contestant.default_tolerance}
    for key in sorted(answer.keys() & expected.keys()):
        difference = abs(answer[key] - expected[key]) / max(abs(expected[key]), 1e-12)
        tolerance = contestant.tolerance.get(key, contestant.default_tolerance)
        if not difference <= tolerance:
            raise ValueError(f"{key} is {answer[key]!r}, not {expected[key]!r} to a relative {tolerance:.0e}")
        if worst["key"] is None or difference / tolerance > worst["difference"] / worst["tolerance"]:
            worst = {"key": key, "difference": difference, "tolerance": tolerance}
    return worst


def batches(rng: np.random.Generator, size: int, count: int) -> list[Batch]:
    """Fresh weighted examples: logits N(0, 2²), labels by their probability, weights exponential."""
    shape = (size * count, 1)
    arrays = [np.empty(shape, np.float32) for _ in range(3)]
    labels, logits, weights = arrays
    for start in range(0, len(labels), 2**16):  # a block at a time: no temporary as large as the data
        part = slice(start, start + 2**16)
        rng.standard_normal(out=logits[part], dtype=np.float32)
        logits[part] *= 2
        rng.standard_exponential(out=weights[part], dtype=np.float32)
        rng.random(out=labels[part], dtype=np.float32)
        labels[part] = labels[part] < 1 / (1 + np.exp(-logits[part]))
    cuts = [slice(i * size, (i + 1) * size) for i in range(count)]
    return [Batch(labels[cut], logits[cut], weights[cut]) for cut in cuts]


def enough_memory(examples: int) -> None:
    """Raises SkippedError where the examples, and as much again to work in, don't fit."""
    needed, available = 24 * examples, psutil.virtual_memory().available
    if needed > available:
        raise SkippedError(
            f"{examples:,} examples want {needed / 2**30:.1f} GiB, {available / 2**30:.1f} are available"
        )


def each(
    batches: Sequence[Batch],
    array: Callable[[np.ndarray], Any],
    function: Callable[..., Any],
    wait: Callable[[Any], Any],
) -> Work:
    """The work of calling a function of (labels, logits, weights) on each batch, and waiting for the last result."""
    arrays = [(array(batch.labels), array(batch.logits), array(batch.weights)) for batch in batches]
    wait(arrays)

    def work() -> Any:
        for labels, logits, weights in arrays:
            value = function(labels, logits, weights)
        wait(value)
        return value

    return work
