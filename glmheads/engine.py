"""The engine: runs a kernel over examples, in cache-sized blocks on threads, whole, or compiled.

A kernel takes validated examples and returns what is summed over them, what has an element for each logit, or both. It
writes to nothing that it was given. So it can run on one block of the examples after another: temporaries stay in a
core's cache, and blocks can go to threads, since NumPy releases the interpreter while it computes. How arrays are cut
depends on their size alone, and results are taken in the order of the blocks: they have the same bits for any number
of threads.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ContextDecorator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np

from glmheads.backends import Array, Backend
from glmheads.inputs import Examples, LabelRule

Scalars: TypeAlias = Sequence[Array | None]
Result: TypeAlias = tuple[Any, Array | None]
"""The sums and the elements of a kernel, each None where it has none."""

_BLOCK = 128 * 1024
"""Elements of a block: its dozen of temporaries fit in a core's second-level cache."""
_AHEAD = 2
"""Blocks whose results wait to be added up, or as many as there are threads. Each thread takes its share of so many
consecutive ones; few, because a block's scores, for areas by rank, are 4 MiB."""

_chosen: ContextVar[int | None] = ContextVar("glmheads_threads", default=None)


class Kernel(Protocol):
    """A hashable function of examples; equal ones compute the same."""

    @property
    def elementwise(self) -> bool:
        """Whether it takes examples with one axis where each logit has its label and weight."""

    @property
    def portable(self) -> bool:
        """Whether it takes NumPy arrays in place of the library's own."""

    def __call__(self, *examples_and_scalars: Any, **options: Any) -> Result:
        """The sums, a record with ``+``, ``arrays()``, ``structure()`` and ``from_arrays(structure, arrays)``, or None;
        and an array shaped like the logits, or None.
        """


def run(kernel: Kernel, examples: Examples, *scalars: Array | None, compiled: bool = False) -> Result:
    """``kernel(examples, *scalars)``, over all examples; they are validated on the way.

    Parameters
    ----------
    kernel : Kernel
    examples : Examples
    *scalars : 0-d array or None
    compiled : bool
        Whether the whole call, checks included, is compiled where the library has a compiler.

    Raises
    ------
    ValueError
        If a label or weight at hand is not allowed.
    """
    backend = examples.backend
    compiles = compiled and backend.compiles and (kernel.portable or not backend.shares_compiler)
    if compiles and not backend.is_traced(examples.logits):
        sums, elementwise = _run_compiled(kernel, examples, scalars)
    else:
        sums, elementwise = _run(kernel, examples.flattened(elementwise=kernel.elementwise), scalars)
    return sums, None if elementwise is None else backend.xp.reshape(elementwise, examples.logits.shape)


def _run(kernel: Kernel, examples: Examples, scalars: Scalars) -> Result:
    backend = examples.backend
    portable = kernel.portable or not backend.shares_memory
    views = backend.numpy_views((*examples.arrays(), *scalars)) if portable else None
    if views is None:
        arrays = (*examples.validated().arrays(), *scalars)
        return backend.execute(_OnArrays(kernel, examples.rule), arrays)  # type: ignore[no-any-return]
    if not backend.shares_memory:
        return _run_blocks(kernel, examples, scalars, backend)
    count = len(views) - len(scalars)
    sums, elementwise = _run_blocks(kernel, examples.with_arrays(views[:count]), tuple(views[count:]), backend)
    if sums is not None:
        sums = sums.from_arrays(sums.structure(), [backend.from_numpy(array) for array in sums.arrays()])
    return sums, None if elementwise is None else backend.from_numpy(elementwise)


@dataclass(frozen=True)
class _OnArrays:
    """A kernel as a function of the arrays of validated examples, and of scalars."""

    kernel: Kernel
    rule: LabelRule

    def __call__(self, *arrays: Array | None) -> Result:
        labels, logits, weights, losses, predictions, *scalars = arrays
        return _applied(self.kernel, Examples(labels, logits, weights, self.rule, losses, predictions, True), scalars)


def _applied(kernel: Kernel, examples: Examples, scalars: Scalars) -> Result:
    with examples.backend.errstate():
        return kernel(examples.validated(), *scalars)


# ---------------------------------------------------------------------------------------------------------------------
# Compiled


def _run_compiled(kernel: Kernel, examples: Examples, scalars: Scalars) -> Result:
    backend = examples.backend
    function = _compiled(backend, kernel, examples.rule, examples.is_validated)  # type: ignore[arg-type]
    result, is_nan = function(*examples.arrays(), *scalars)
    if backend.is_concrete(is_nan) and bool(is_nan):
        examples.flattened(elementwise=kernel.elementwise).validated()  # refuses labels and weights that became NaN
    return result  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def _compiled(backend: Backend, kernel: Kernel, rule: LabelRule, is_validated: bool) -> Callable[..., Any]:
    """The kernel with the checks, compiled, and whether its result is NaN: a value may have to be refused."""

    def whole(*arrays: Array | None) -> tuple[Any, Array]:
        labels, logits, weights, losses, predictions, *scalars = arrays
        examples = Examples(labels, logits, weights, rule, losses, predictions, is_validated)
        examples = examples.flattened(elementwise=kernel.elementwise).validated()
        sums, elementwise = kernel(examples, *scalars)
        # A derivative need not depend on the labels, but every sum does.
        checked = [examples.labels, examples.weights] if sums is None else sums.arrays()[:1]
        xp = examples.backend.xp
        is_nan = [xp.any(xp.isnan(array)) for array in checked if array is not None]
        return (sums, elementwise), is_nan[0] if len(is_nan) == 1 else is_nan[0] | is_nan[1]

    return backend.compile(whole)


# ---------------------------------------------------------------------------------------------------------------------
# Blocks


def _run_blocks(kernel: Kernel, examples: Examples, scalars: Scalars, backend: Backend) -> Result:
    """The sum and the elements, end to end, of the kernel's results on consecutive blocks of NumPy arrays."""
    _keep_memory()
    logits = examples.logits
    rows = logits.shape[0]
    size = max(1, _BLOCK * rows // max(1, logits.size))
    if rows <= size:
        return _applied(kernel, examples, scalars)
    total = out = None
    start = 0
    try:
        for sums, elementwise in _blocks(kernel, examples, scalars, size, backend):
            total = sums if total is None else total + sums
            if elementwise is not None:
                if out is None:
                    out = np.empty((rows, *elementwise.shape[1:]), dtype=elementwise.dtype)
                out[start : start + size] = elementwise
            start += size
    except ValueError:
        examples.validated()  # names the place in the whole batch, not in its block
        raise
    return total, out


def _blocks(kernel: Kernel, examples: Examples, scalars: Scalars, size: int, backend: Backend) -> Iterator[Result]:
    """The kernel's result on each block, in order."""
    rows = examples.logits.shape[0]

    def results(start: int, stop: int) -> Iterator[Result]:
        for at in range(start, min(stop, rows), size):
            yield _applied(kernel, examples[at : at + size], scalars)

    workers = min(thread_count(backend.thread_limit), -(-rows // (2 * size)))
    if workers == 1:
        yield from results(0, rows)
        return
    length = max(1, _AHEAD // workers) * size
    with ThreadPoolExecutor(workers - 1, thread_name_prefix="glmheads") as pool:
        for wave in range(0, rows, workers * length):
            mine, *others = range(wave, min(wave + workers * length, rows), length)
            futures = [pool.submit(lambda start: list(results(start, start + length)), start) for start in others]
            yield from results(mine, mine + length)
            for future in futures:
                yield from future.result()


@cache
def _keep_memory() -> None:
    """Let the C library keep what temporaries free.

    glibc returns the top of its heap to the system, and takes it again page by page, whenever more is free than twice
    the largest block that it has mapped and unmapped: so it is shown a large one, once.
    """
    np.empty(2**20)


# ---------------------------------------------------------------------------------------------------------------------
# Threads


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

    def __exit__(self, *error: object) -> None:
        _chosen.reset(self._tokens.pop())

    def _recreate_cm(self) -> "threads":
        return threads(self._count)  # one for each call of a decorated function, which may recurse or run on threads


def _positive(count: Any, what: str) -> int:
    if isinstance(count, bool) or not hasattr(count, "__index__") or count < 1:
        raise ValueError(f"{what} a number of threads, an integer >= 1. Given: {count!r}")
    return int(count)


def thread_count(limit: Callable[[], int | None] = lambda: None) -> int:
    """How many threads a computation may use now: what the user chose, else the processors, up to a library's limit."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    given = os.environ.get("GLMHEADS_THREADS")
    if given:
        return _positive(int(given) if given.isdecimal() else given, "the environment variable GLMHEADS_THREADS takes")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, limit() or available)
