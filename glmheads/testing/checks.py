"""Checking a head against the laws."""

from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from glmheads import backends
from glmheads.heads import FamilyHead
from glmheads.testing.laws import LAWS, Subject


def check_law(
    law: str, head: FamilyHead, xp: Any = np, device: Any = None, dtype: Any = "float32", max_examples: int = 100
) -> None:
    """Check that a law holds for a head.

    Parameters
    ----------
    law : str
        One of `LAWS`.
    head : FamilyHead
        One of the package's, or one of your own; its loss and inverse link must take NumPy arrays too.
    xp : module or str
        The array library, one that glmheads knows or any that follows the Array API standard.
    device : optional
        A device of that library, or its name.
    dtype : str or dtype
        float16, float32 or float64.
    max_examples : int
        How many times data are drawn; they are the same in every run.

    Raises
    ------
    AssertionError
        If the law does not hold: it names the law, the head and the library, and shows the smallest data found for
        which it fails. A law that is not about such a head (one without weights, say) holds.
    ValueError
        If there is no such law, or the library has no such dtype.

    Examples
    --------
    >>> import glmheads as gh
    >>> from glmheads.testing import check_law
    >>> check_law("additivity", gh.RegressionHead(weight_column="w"), max_examples=5)
    """
    if law not in LAWS:
        raise ValueError(f"there is no law {law!r}; the laws are {', '.join(LAWS)}")
    subject = _subject(head, xp, device, dtype)

    @settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        derandomize=True,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        with np.errstate(all="ignore"):
            LAWS[law](subject, data.draw)

    try:
        holds()
    except Exception as error:
        stated = str(LAWS[law].__doc__).partition("\n")[0]
        drawn = "\n".join(getattr(error, "__notes__", ()))
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        raise AssertionError(f"{law} fails for {subject!r}\n{stated}\n{kind}{error}\n{drawn}") from error


def check_head(
    head: FamilyHead, xp: Any = np, device: Any = None, dtype: Any = "float32", max_examples: int = 100
) -> None:
    """Check that every law holds for a head, one after the other.

    Parameters and errors are those of `check_law`.

    Examples
    --------
    >>> import glmheads as gh
    >>> from glmheads.testing import check_head
    >>> check_head(gh.LogisticRegressionHead(weight_column="w"), dtype="float64", max_examples=5)
    """
    for law in LAWS:
        check_law(law, head, xp, device, dtype, max_examples)


def _subject(head: FamilyHead, xp: Any, device: Any, dtype: Any) -> Subject:
    backend = backends.named(xp)
    device = None if device is None else backend.find_device(device)
    dtype = np.dtype(dtype)
    probe = backend.from_numpy(np.zeros(1, dtype=dtype), device)
    if backend.to_numpy(probe).dtype != dtype:
        raise ValueError(f"{backend.xp.__name__} has no {dtype} here: it makes it {probe.dtype}")
    return Subject(head, backend, device, dtype)
