"""`Statistic`: how one additive state is computed from examples; and the statistics that the metrics read."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.inputs import Examples
from glmheads.kernels import calibration, curves, ranking, thresholds
from glmheads.kernels.reductions import Pair, segment_total, total
from glmheads.kernels.thresholds import Confusion, Event
from glmheads.statistics.states import Area, Ranking, State, Sums, kept


class Statistic:
    """How one state is computed from examples. A subclass is a frozen dataclass; its repr tells it from every other.

    Attributes
    ----------
    name : str
        The state's name in a record.
    """

    name: ClassVar[str]
    is_safe: ClassVar[bool] = False
    """Whether `state` never fails on validated examples, so that it can be computed later together with others."""

    def __init_subclass__(cls, *, is_safe: bool = False) -> None:
        cls.is_safe = is_safe  # a subclass of a safe one may fail

    def state(self, examples: Examples) -> State:
        """The state of validated examples that hold losses and predictions.

        Elementwise families have arrays of shape (n,), others of shape (n, d).
        """
        raise NotImplementedError


class BinnedStatistic(Statistic):
    """A statistic that reads only in which of some bins each element is: the class weights in each bin."""

    @property
    def length(self) -> int:
        """The number of bins."""
        raise NotImplementedError

    def bins(self, examples: Examples) -> Array:
        """Each element's bin: int32, shape (n,)."""
        raise NotImplementedError

    def state(self, examples: Examples) -> Sums:
        return histograms((self,), examples)[self.name]


def histograms(statistics: tuple[BinnedStatistic, ...], examples: Examples) -> dict[str, Sums]:
    """The states of binned statistics, by name: ``"bins"``, class weights of shape (2, length), negatives first."""
    xp = examples.backend.xp
    lengths = tuple(each.length for each in statistics)
    length = math.prod(lengths)
    # One histogram over the bins of all takes little longer than one of them, and theirs are its marginals; but in
    # float32 a histogram is kept in thousands of rows.
    if len(statistics) > 1 and (length > examples.logits.shape[0] or examples.accumulation_dtype != xp.float64):
        return {each.name: each.state(examples) for each in statistics}
    first, *rest = statistics
    bins = first.bins(examples)
    for each in rest:
        bins = each.length * bins + each.bins(examples)
    if examples.has_hard_labels:
        bins = bins + length * xp.astype(examples.known_labels, xp.int32)
        both = segment_total(examples.wide_weights, bins, 2 * length)
    else:
        positive, negative = examples.class_weights
        both = segment_total(xp.concat([negative, positive]), xp.concat([bins, bins + length]), 2 * length)
    joint = both.map(lambda part: xp.reshape(part, (2, *lengths)))
    if len(statistics) == 1:
        return {first.name: Sums({"bins": joint})}
    axes = set(range(1, len(lengths) + 1))
    marginals = (Pair(xp.sum(joint.hi, axis=tuple(axes - {own}))) for own in sorted(axes))
    return {each.name: Sums({"bins": marginal}) for each, marginal in zip(statistics, marginals, strict=True)}


@dataclass(frozen=True)
class Validity(Statistic, is_safe=True):
    """How many elements of nonzero weight have a NaN logit, a label that is not allowed, or a weight that is not."""

    name: ClassVar[str] = "validity"

    def state(self, examples: Examples) -> Sums:
        xp = examples.backend.xp
        none = total(examples.labels[:0, ...])
        found = {key: total(xp.astype(mask, xp.float32)) for key, mask in examples.unknown.items()}
        return Sums({"logits": none, "labels": none, "weights": none, **found})


@dataclass(frozen=True)
class Means(Statistic, is_safe=True):
    """Σ w l, Σ w p, Σ w z and Σ w of losses l, predictions p and labels z."""

    name: ClassVar[str] = "means"

    def state(self, examples: Examples) -> Sums:
        loss, prediction = examples.total_of(examples.losses), examples.total_of(examples.predictions)
        label, weight = examples.total_label, examples.total_weight
        return Sums({"loss": loss, "prediction": prediction, "label": label, "weight": weight})


@dataclass(frozen=True)
class ThresholdCounts(BinnedStatistic, is_safe=True):
    """Class weights between the thresholds: see `kernels.thresholds`."""

    thresholds: tuple[float, ...]
    events: tuple[Event, ...] = field(init=False, repr=False)
    name: ClassVar[str] = "thresholds"

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", thresholds.events(self.thresholds))

    @property
    def length(self) -> int:
        return len(self.events) + 1

    def bins(self, examples: Examples) -> Array:
        return thresholds.threshold_bins(examples.predictions, examples.logits, self.events)

    def confusion(self, threshold: float | None, state: Sums) -> Confusion:
        """The confusion weights at one of the thresholds, or for None of the class ids."""
        bins = state.values["bins"]
        found: list[Confusion] = kept(state, "_confusions", bins.hi, lambda: thresholds.confusions(bins))
        return found[[event.threshold for event in self.events].index(threshold)]


@dataclass(frozen=True)
class ScoreBuckets(BinnedStatistic, is_safe=True):
    """Class weights in Keras's buckets of the probability."""

    num_thresholds: int
    name: ClassVar[str] = "buckets"

    @property
    def length(self) -> int:
        return self.num_thresholds - 1

    def bins(self, examples: Examples) -> Array:
        return thresholds.keras_buckets(examples.predictions, self.num_thresholds)

    def area(self, area: Area, state: Sums) -> Array:
        """An area by the thresholds: a 0-d array."""
        hi, lo = state.values["bins"]
        return backends.of(hi).call(_bucket_area, hi, lo, shape=(), area=area)

    def area_bounds(self, area: Area, state: Sums) -> Array:
        """Bounds on the area by rank, shape (2,): what lies in one bucket may be in any order."""
        return Ranking(ranking.from_intervals(_class_weights(*state.values["bins"]))).area(area)[0:3:2]

    def points(self, state: Sums) -> Array:
        """Where the curves pass: see `kernels.curves.curve_points`."""
        weights = _class_weights(*state.values["bins"])
        xp = backends.of(weights.positive.hi).xp
        scores = xp.cumulative_sum(xp.ones_like(weights.positive.hi)) - 1
        return curves.curve_points(scores / (self.num_thresholds - 1), weights)


def _bucket_area(hi: Array, lo: Array, area: Area) -> Array:
    return area(_class_weights(hi, lo))


def _class_weights(hi: Array, lo: Array) -> curves.ClassWeights:
    return curves.ClassWeights(positive=Pair(hi[1, :], lo[1, :]), negative=Pair(hi[0, :], lo[0, :]))


@dataclass(frozen=True)
class ProbabilityBins(Statistic, is_safe=True):
    """What calibration is read from: a histogram of the probabilities (see `kernels.calibration`) and Σ w (p − z)².

    For predictions that are the sigmoid of the logits.
    """

    name: ClassVar[str] = "calibration"

    def state(self, examples: Examples) -> Sums:
        positive, negative = examples.class_weights
        p = examples.known(examples.predictions)
        bins = calibration.bins(examples.known(examples.logits), p)
        # Class weights of hard labels are as narrow as the labels; their products with probabilities must not be.
        p, weighted = examples.wide(p), examples.weights is not None
        histogram = calibration.histogram(bins, positive, negative, p, weighted=weighted)
        squared_error = total(examples.weigh((examples.predictions - examples.labels) ** 2))
        return Sums({"bins": histogram, "squared_error": squared_error})

    def call(self, function: Callable[..., Array], shape: tuple[float, ...], state: Sums) -> Array:
        """A function of the histogram."""
        hi, lo = state.values["bins"]
        return backends.of(hi).call(function, hi, lo, shape=shape)

    def curve(self, state: State | None) -> dict[str, Array]:
        """The calibration curve, by bin; empty without a state."""
        rows: Array = np.zeros((len(_CALIBRATION_CURVE), 0))
        if isinstance(state, Sums):
            rows = self.call(calibration.curve, (len(_CALIBRATION_CURVE), calibration.BINS), state)
        return {key: rows[index, ...] for index, key in enumerate(_CALIBRATION_CURVE)}


_CALIBRATION_CURVE = ("lower", "upper", "mean_prediction", "mean_label", "weight", "count")


@dataclass(frozen=True)
class RankingSummary(Statistic, is_safe=True):
    """The summary of the logits that bounds the areas under their curves."""

    name: ClassVar[str] = "ranking"

    def state(self, examples: Examples) -> Ranking:
        return Ranking(ranking.from_scores(examples.logits, *examples.class_weights))

    def area(self, area: Area, state: Ranking) -> Array:
        """The area by rank, within its bounds: a 0-d array."""
        return state.area(area)[1]

    def area_bounds(self, area: Area, state: Ranking) -> Array:
        """Bounds on the area by rank, shape (2,)."""
        return state.area(area)[0:3:2]

    def points(self, state: Ranking) -> Array:
        """Where the curves pass: see `kernels.curves.curve_points`."""
        return state.call(ranking.points, shape=(4, float("nan")))


@dataclass(frozen=True)
class Regularization(Statistic, is_safe=True):
    """The sum of the regularization losses over calls, and the number of calls; examples hold none."""

    name: ClassVar[str] = "regularization"

    def state(self, examples: Examples) -> Sums:
        none = total(examples.labels[:0, ...])
        return Sums({"loss": none, "calls": none})

    def of_call(self, regularization_loss: Any) -> Sums:
        """The state of one call, with its summed regularization losses, a 0-d array."""
        xp = backends.of(regularization_loss).xp
        loss = xp.reshape(regularization_loss, (1,))
        return Sums({"loss": total(loss), "calls": total(xp.ones_like(loss))})
