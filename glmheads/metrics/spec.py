"""`MetricSpec`: a metric's definition, a function of one state of the statistics."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.statistics import Statistic, Statistics, Validity

__all__ = ["MetricSpec", "Partial", "choose", "chosen_names"]

StateFunction = Callable[[Any], Array]
"""A function of the state that a metric's statistic computes."""


@dataclass(frozen=True)
class Partial:
    """``function(*arguments, state)``: like ``functools.partial``, but equal to another of the same parts."""

    function: Callable[..., Array]
    arguments: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", tuple(self.arguments))

    def __call__(self, state: Any) -> Array:
        return self.function(*self.arguments, state)


@dataclass(frozen=True)
class MetricSpec:
    """The definition of a metric.

    Attributes
    ----------
    key : str
    statistic : Statistic
        Whose state the metric reads.
    value : callable of (state)
        The metric, a 0-d array of the accumulation dtype; 0 / 0 is 0.
    bounds : callable of (state), optional
        For an area, an array (lower, upper) that holds its exact value.
    reads_logits : bool
        Whether a NaN logit makes the metric NaN.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> from glmheads.families import BERNOULLI
    >>> from glmheads.statistics import Means
    >>> total = gh.MetricSpec("total_loss", Means(), value=lambda state: state["loss"])
    >>> head = gh.FamilyHead(family=BERNOULLI, metrics=[total])
    >>> round(float(head.evaluate([([1, 0], [[2.0], [0.5]])])["total_loss"]), 4)
    1.101
    """

    key: str
    statistic: Statistic = field(repr=False)
    value: StateFunction = field(repr=False)
    bounds: StateFunction | None = field(default=None, repr=False)
    reads_logits: bool = field(default=True, repr=False)

    def compute(self, statistics: Statistics) -> Array:
        """The value: a 0-d array, 0 before any data.

        A NaN logit makes it NaN; so does a bad label or weight under a trace.

        Raises
        ------
        ValueError
            If bad labels or weights have been counted and their number can be looked at.
        """
        return self._computed(statistics, self.value, np.asarray(0.0))

    def compute_bounds(self, statistics: Statistics) -> Array:
        """(lower, upper), an array of shape (2,) that holds the exact value; both are the value if it has no bounds.

        Raises
        ------
        ValueError
            As `compute` does.
        """
        value = self.value
        both = self.bounds or (lambda state: statistics.backend.xp.stack([value(state)] * 2))
        return self._computed(statistics, both, np.zeros(2))

    def _computed(self, statistics: Statistics, function: StateFunction, without_data: Array) -> Array:
        state = statistics.states.get(self.statistic.name)
        if state is None:
            return without_data
        with statistics.backend.errstate():
            result = function(state)
        if Validity.name not in statistics.states:
            return result
        invalid, backend = statistics.invalid, backends.of(result)
        if not backend.is_lazy(result):
            counts = {key: int(invalid[key]) for key in ("labels", "weights")}
            if any(counts.values()):
                found = " and ".join(f"{count} bad {key}" for key, count in counts.items() if count)
                raise ValueError(
                    f"{self.key} is of data with {found} (NaN, infinite or out of range), which could not be refused "
                    "when they came because their values were not at hand. Check them before they reach the head."
                )
        count = invalid["labels"] + invalid["weights"] + invalid["logits"] * float(self.reads_logits)
        return backend.xp.where(count > 0, backend.xp.full_like(result, float("nan")), result)


def choose(
    extra_metrics: Sequence[str] | str | None, available: Mapping[str, tuple[MetricSpec, ...]]
) -> tuple[MetricSpec, ...]:
    """The metrics that a head's `extra_metrics` names, in its order; all for ``"all"``.

    Raises
    ------
    ValueError
        If a name is not available.
    TypeError
        If `extra_metrics` is not a sequence of strings.
    """
    known = ", ".join(map(str, available))
    if extra_metrics is None:
        return ()
    if extra_metrics == "all":
        extra_metrics = list(available)
    if isinstance(extra_metrics, str):
        raise ValueError(
            f'extra_metrics must be "all" or a list of names. Given the string {extra_metrics!r}. The names: {known}'
        )
    if not isinstance(extra_metrics, Iterable) or not all(isinstance(name, str) for name in extra_metrics):
        raise TypeError(f'extra_metrics must be "all" or a list of names. Given: {extra_metrics!r}')
    unknown = [str(name) for name in extra_metrics if name not in available]
    if unknown:
        raise ValueError(
            f"extra_metrics has names that this head does not know: {unknown}. It knows {known}; what a head reports "
            "by default, and thresholds, are not named here."
        )
    return tuple(spec for name in dict.fromkeys(extra_metrics) for spec in available[name])


def chosen_names(extra_metrics: Sequence[str] | str | None) -> tuple[str, ...] | str | None:
    """A head's `extra_metrics` as it is kept."""
    if extra_metrics is None or isinstance(extra_metrics, str):
        return extra_metrics
    return tuple(map(str, extra_metrics))
