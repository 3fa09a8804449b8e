"""Dask arrays: every operation adds to a graph, and nothing is computed before the user asks.

What the graph has no words for (sorting, scattering) runs as one delayed call on the NumPy chunks.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import array_api_compat.dask.array
import dask.array as da
import numpy as np
from dask.base import compute
from dask.delayed import delayed

from glmheads.backends._base import Array, Backend, Device


class _Dask(Backend):
    name = "dask"
    dynamic_shapes = False

    def device(self, array: Array) -> Device:
        return "cpu"

    def is_lazy(self, array: Array) -> bool:
        return True

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return np.asarray(array.compute())

    def to_numpy_all(self, arrays: Sequence[Array]) -> list[np.ndarray[Any, Any]]:
        return [np.asarray(array) for array in compute(*arrays)]

    def from_numpy(self, array: np.ndarray[Any, Any], device: Device = None) -> Array:
        return da.from_array(array, chunks=-1)

    def call(self, function: Callable[..., Array], *arrays: Array, shape: tuple[float, ...], **options: Any) -> Array:
        result = delayed(function, pure=True)(*arrays, **options)
        return da.from_delayed(result, shape=shape, dtype=arrays[0].dtype)

    def execute(self, kernel: Callable[..., Any], arrays: tuple[Array | None, ...]) -> Any:
        first = next(array for array in arrays if array is not None)
        columns = [_row_blocks(array, first.chunks[0]) for array in arrays]
        run, add = delayed(kernel), delayed(operator.add)
        results = [run(*block) for block in zip(*columns, strict=True)]
        # Two small runs tell the structure, the dtypes, and which lengths depend on the number of rows.
        (sums, elementwise), (more, _) = (kernel(*(_rows_of_zeros(array, rows) for array in arrays)) for rows in (1, 2))
        if sums is not None:
            leaves = functools.reduce(add, [result[0] for result in results]).arrays()
            leaves = [
                da.from_delayed(leaves[index], shape=tuple(_known(a.shape, b.shape)), dtype=a.dtype)
                for index, (a, b) in enumerate(zip(sums.arrays(), more.arrays(), strict=True))
            ]
            sums = sums.from_arrays(sums.structure(), leaves)
        if elementwise is not None:
            shape, dtype = elementwise.shape[1:], elementwise.dtype
            parts = zip(results, first.chunks[0], strict=True)
            elementwise = da.concatenate(
                [da.from_delayed(result[1], shape=(rows, *shape), dtype=dtype) for result, rows in parts]
            )
        return sums, elementwise


def _known(one: tuple[int, ...], other: tuple[int, ...]) -> list[float]:
    """The lengths that are equal in both, NaN for the others."""
    return [m if m == n else math.nan for m, n in zip(one, other, strict=True)]


def _row_blocks(array: Array | None, rows: tuple[int, ...]) -> list[Any]:
    if array is None:
        return [None] * len(rows)
    if not array.ndim:
        return [array.to_delayed().item()] * len(rows)
    chunked = array.rechunk({0: rows, **dict.fromkeys(range(1, array.ndim), -1)})
    return list(chunked.to_delayed().ravel())


def _rows_of_zeros(array: Array | None, rows: int) -> Any:
    if array is None:
        return None
    return np.zeros((rows, *array.shape[1:]), dtype=array.dtype) if array.ndim else np.ones((), dtype=array.dtype)


BACKEND: Backend = _Dask(array_api_compat.dask.array, da.Array)
