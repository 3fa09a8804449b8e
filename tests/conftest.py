"""Fixtures that run one test body on every array library.

A library that is not installed, or a device that is not there, is skipped by name.

Hypothesis draws new examples in each run and prints the decorator that reproduces a failure. With
``--hypothesis-profile=repeat``, as in ``.ci/run``, it draws the same ones in each run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from glmheads import backends

settings.register_profile(
    "explore",
    deadline=None,
    max_examples=25,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile("repeat", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("explore")

LIBRARIES = ("numpy", "array_api_strict", "torch", "jax", "jax-x64", "dask", "cupy", "torch-cuda")


@dataclass(frozen=True)
class Library:
    """An array library under test, on one device."""

    name: str
    backend: backends.Backend
    device: Any = None

    @property
    def xp(self) -> Any:
        return self.backend.xp

    @property
    def is_lazy(self) -> bool:
        """Whether values are computed only when they are asked for."""
        return self.backend.name == "dask"

    @property
    def checks_values(self) -> bool:
        """Whether bad values are refused at once, and not only counted."""
        return self.backend.is_concrete(self.array([0.0]))

    @property
    def has_float64(self) -> bool:
        return self.name != "jax"

    def array(self, values: Any, dtype: str | None = None) -> Any:
        """An array of this library from what NumPy takes, float64 narrowed where the library has none."""
        return self.backend.from_numpy(np.asarray(values, dtype=dtype), self.device)

    def numpy(self, array: Any) -> np.ndarray:
        """The array's values; text and host arrays may be NumPy's already."""
        return backends.of(array).to_numpy(array)


def _make(name: str) -> Library:
    package = name.split("-")[0]
    pytest.importorskip(package)
    if name == "torch-cuda":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("torch-cuda: no CUDA device")
        return Library(name, backends.named("torch"), torch.device("cuda"))
    if name == "cupy":
        import cupy

        try:
            cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError:
            pytest.skip("cupy: no CUDA device")
    return Library(name, backends.named(package))


@pytest.fixture(params=LIBRARIES)
def lib(request: pytest.FixtureRequest) -> Iterator[Library]:
    """Each array library in turn."""
    library = _make(request.param)
    if request.param != "jax-x64":
        yield library
        return
    import jax

    with jax.enable_x64(True):
        yield library


@pytest.fixture
def library() -> Callable[[str], Library]:
    """A library by name, for a test that needs a certain one; skips where it is missing."""
    return _make
