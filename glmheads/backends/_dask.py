"""Dask arrays: every operation adds to a graph, and nothing is computed before the user asks.

What the graph has no words for (sorting, scattering) runs as one delayed call on the NumPy chunks.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import array_api_compat.dask.array
import dask.array as da
import numpy as np
from dask.base import compute
from dask.delayed import delayed

from glmheads.backends._base import Array, Backend, Device

__all__ = ["BACKEND"]


class _Dask(Backend):
    name = "dask"
    trims = False

    def owns(self, array: Array) -> bool:
        return isinstance(array, da.Array)

    def device(self, array: Array) -> Device:
        return "cpu"

    def at_hand(self, array: Array) -> bool:
        return False

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

    def fold(self, kernel: Callable[..., Any], arrays: tuple[Array | None, ...], add: Callable[[Any, Any], Any]) -> Any:
        first = next(array for array in arrays if array is not None)
        blocks = [_row_blocks(array, first.chunks[0]) for array in arrays]
        run, plus = delayed(kernel), delayed(add)
        total = None
        for block in zip(*blocks, strict=True):
            part = run(*block)
            total = part if total is None else plus(total, part)
        # Two small runs tell the structure, the dtypes, and which lengths follow the data's.
        one, two = (kernel(*(_rows_of_zeros(array, rows) for array in arrays)) for rows in (1, 2))
        take = delayed(_leaf)
        leaves = [
            da.from_delayed(
                take(total, index),
                shape=tuple(m if m == n else math.nan for m, n in zip(a.shape, b.shape, strict=True)),
                dtype=a.dtype,
            )
            for index, (a, b) in enumerate(zip(one.arrays(), two.arrays(), strict=True))
        ]
        return one.from_arrays(one.structure(), leaves)


def _leaf(record: Any, index: int) -> Array:
    return record.arrays()[index]


def _row_blocks(array: Array | None, rows: tuple[int, ...]) -> list[Any]:
    if array is None:
        return [None] * len(rows)
    chunked = array.rechunk({0: rows, **dict.fromkeys(range(1, array.ndim), -1)})
    return list(chunked.to_delayed().ravel())


def _rows_of_zeros(array: Array | None, rows: int) -> Any:
    return None if array is None else np.zeros((rows, *array.shape[1:]), dtype=array.dtype)


BACKEND = _Dask(array_api_compat.dask.array)
