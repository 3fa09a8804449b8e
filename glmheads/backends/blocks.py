"""The engine: a kernel run over cache-sized blocks of NumPy arrays, on threads.

What is computed of a batch is either a sum over its examples or an array with one element for each, so it can be
computed block by block: temporaries stay in a core's cache, and blocks can go to threads, since NumPy lets go of the
interpreter while it computes. How arrays are cut depends on their size alone, and results are handed on in the order
of the blocks: they have the same bits for any number of threads.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ContextDecorator
from contextvars import ContextVar
from functools import cache
from types import TracebackType
from typing import Any

import numpy as np

__all__ = ["fill", "fold", "thread_count", "threads"]

_BLOCK = 128 * 1024
"""Elements of a block: its dozen of temporaries fit in a core's second-level cache."""
_WAITING = 2
"""Blocks whose results wait to be added up, or as many as there are threads. Each thread takes its share of so many
consecutive ones; few, because a block's scores, for areas by rank, are 4 MiB."""

_chosen: ContextVar[int | None] = ContextVar("glmheads_threads", default=None)


class threads(ContextDecorator):  # noqa: N801
    """Limit the threads that computations on host arrays use, in a block of code or in a function.

    Without it they are as many as the environment variable ``GLMHEADS_THREADS`` says, or as the process may use
    processors (for PyTorch no more than ``torch.get_num_threads()``). Small arrays never start a thread, and results do
    not depend on the number.

    Parameters
    ----------
    count : int
        At least 1.

    Raises
    ------
    ValueError
        If `count` is not a positive integer.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> head = gh.BinaryClassHead()
    >>> with gh.threads(1):
    ...     s = head.statistics([1, 0], [[2.0], [0.5]])

    For one call:

    >>> s = gh.threads(2)(head.statistics)([1, 0], [[2.0], [0.5]])
    """

    def __init__(self, count: int) -> None:
        self._count = _positive(count, "threads takes")
        self._tokens: list[Any] = []

    def __enter__(self) -> None:
        self._tokens.append(_chosen.set(self._count))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _chosen.reset(self._tokens.pop())

    def _recreate_cm(self) -> "threads":
        return threads(self._count)  # one for each call of a decorated function, which may recurse or run on threads


def _positive(count: Any, what: str) -> int:
    if isinstance(count, bool) or not hasattr(count, "__index__") or count < 1:
        raise ValueError(f"{what} a number of threads, an integer >= 1. Given: {count!r}")
    return int(count)


def thread_count(at_most: Callable[[], int] | None = None) -> int:
    """How many threads a computation may use here and now; no more than `at_most` says, where nobody has said."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    given = os.environ.get("GLMHEADS_THREADS")
    if given:
        return _positive(int(given) if given.isdecimal() else given, "the environment variable GLMHEADS_THREADS takes")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return available if at_most is None else min(available, at_most())


def fold(
    kernel: Callable[..., Any],
    arrays: tuple[Any, ...],
    add: Callable[[Any, Any], Any],
    at_most: Callable[[], int] | None = None,
) -> Any:
    """The sum under `add`, in their order, of ``kernel(*block)`` over the blocks of the arrays.

    `at_most` is the number of threads where nobody has said how many.
    """
    total = None
    for part in _run(kernel, arrays, at_most):
        total = part if total is None else add(total, part)
    return total


def fill(
    out: np.ndarray[Any, Any],
    kernel: Callable[..., Any],
    arrays: tuple[Any, ...],
    at_most: Callable[[], int] | None = None,
) -> None:
    """Write ``kernel(*block)`` over the blocks of the arrays to the same places of `out`."""

    def write(out: np.ndarray[Any, Any], *block: Any) -> None:
        out[...] = kernel(*block)

    for _ in _run(write, (out, *arrays), at_most):
        pass


@cache
def _keep_memory() -> None:
    """Let the C library keep what temporaries free.

    glibc gives the top of its heap back to the system, and takes it again page by page, whenever more is free than
    twice the largest block that it has mapped and unmapped: so it is shown a large one, once.
    """
    np.empty(2**20)


def _run(kernel: Callable[..., Any], arrays: tuple[Any, ...], at_most: Callable[[], int] | None) -> Iterator[Any]:
    """``kernel(*block)`` for each block of the arrays' first axis, in order; None and 0-d arrays go with all."""
    first = next(array for array in arrays if array is not None)
    rows = first.shape[0]
    size = max(1, _BLOCK * rows // max(1, first.size))
    if rows <= size:
        yield kernel(*arrays)
        return

    def run(start: int, stop: int) -> Iterator[Any]:
        for at in range(start, min(stop, rows), size):
            yield kernel(*(array if array is None or array.ndim == 0 else array[at : at + size] for array in arrays))

    _keep_memory()
    workers = min(thread_count(at_most), -(-rows // (2 * size)))
    if workers == 1:
        yield from run(0, rows)
        return
    length = max(1, _WAITING // workers) * size
    with ThreadPoolExecutor(workers - 1, thread_name_prefix="glmheads") as pool:
        for wave in range(0, rows, workers * length):
            mine, *others = range(wave, min(wave + workers * length, rows), length)
            waiting = [pool.submit(lambda start: list(run(start, start + length)), start) for start in others]
            yield from run(mine, mine + length)
            for future in waiting:
                yield from future.result()
