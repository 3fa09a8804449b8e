"""`Metric`: a metric with the data that it has seen."""

from collections.abc import Callable, Iterable

import numpy as np

from glmheads import backends
from glmheads.accumulator import Accumulator
from glmheads.backends import Array
from glmheads.display import html_table, place
from glmheads.metrics.spec import MetricSpec
from glmheads.statistics import Statistics

__all__ = ["Metric", "update"]


class Metric:
    """A metric and the data that it has seen.

    ``Head.metrics`` makes it and ``Head.update_metrics`` feeds it; the metrics of a head share one accumulator.

    Parameters
    ----------
    spec : MetricSpec
    accumulator : Accumulator

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> head = gh.BinaryClassHead()
    >>> metrics = head.metrics()
    >>> metrics = head.update_metrics(metrics, None, logits=[[2.0], [0.5]], labels=[1, 0])
    >>> float(metrics["accuracy"].result())
    0.5
    >>> metrics["accuracy"].reset()
    >>> float(metrics["accuracy"].result())
    0.0
    """

    def __init__(self, spec: MetricSpec, accumulator: Accumulator) -> None:
        self._spec = spec
        self._accumulator = self._initial = accumulator

    @property
    def statistics(self) -> Statistics:
        """The record of the data seen since the last reset."""
        return self._accumulator.statistics

    def result(self) -> Array:
        """The value, a 0-d array of the accumulation dtype; 0 before any update.

        Raises
        ------
        ValueError
            If the data held bad labels or weights that could not be refused when they came.
        """
        return self._spec.compute(self.statistics)

    def bounds(self) -> Array:
        """An interval (lower, upper) that holds the exact value for the data seen, shape (2,).

        For an area it is as wide as the summary of the scores makes it; for any other metric both are the value.
        """
        return self._spec.compute_bounds(self.statistics)

    def reset(self) -> None:
        """Forget the data seen; the other metrics of the head keep theirs."""
        self._accumulator = self._initial

    def __repr__(self) -> str:
        return f"<Metric {self._spec.key}: {self._shown(self.result)}>"

    def _repr_html_(self) -> str:
        rows = {"value": self._shown(self.result)}
        if self._spec.bounds is not None:
            rows["bounds"] = self._shown(self.bounds)
        return html_table(str(self._spec.key), rows)

    def _shown(self, read: Callable[[], Array]) -> str:
        """The values as text; where reading them would wait for a device or compute what is lazy, the place."""
        arrays = self.statistics.arrays()
        if not arrays:
            return "no data"
        backend = backends.of(arrays[0])
        if not backend.is_concrete(arrays[0]):
            return place(arrays[0])
        try:
            found = backend.to_numpy(backend.detach(read()))
        except ValueError:
            return "the data have bad labels or weights"
        return " to ".join(f"{value:.6g}" for value in np.ravel(found))


def update(metrics: Iterable[Metric], add: Callable[[Accumulator], None]) -> None:
    """Apply ``add`` to what every metric has seen; none is changed if it fails for one."""
    metrics = list(metrics)
    updated = {accumulator: accumulator.copy() for accumulator in {metric._accumulator for metric in metrics}}
    for accumulator in updated.values():
        add(accumulator)
    for metric in metrics:
        metric._accumulator = updated[metric._accumulator]
