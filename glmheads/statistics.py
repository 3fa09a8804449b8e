"""The record of sufficient statistics of an evaluation, and its parts.

    statistics(batch_1 followed by batch_2) == statistics(batch_1) + statistics(batch_2)

`Statistics` holds one part per name, and `+` adds part by part. There are two kinds of part: `Sums`, arrays that are
added (means, counts at thresholds, histograms), and `Ranking`, the summary of the scores. A part's recipe (`MeanSums`,
`ThresholdCounts`, ...) says how it is measured on a batch; a further part is one more recipe.
"""

import json
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np

from glmheads import archive, backends
from glmheads.backends import Array
from glmheads.display import html_table, place
from glmheads.kernels import calibration, curves, ranking, thresholds
from glmheads.kernels.reductions import Pair, add, segment_total, total, value
from glmheads.kernels.thresholds import Confusion, Event

__all__ = [
    "Batch",
    "MeanSums",
    "Part",
    "Partition",
    "ProbabilityBins",
    "Ranking",
    "RankingSummary",
    "Recipe",
    "RegularizationSums",
    "ScoreBuckets",
    "Statistics",
    "Sums",
    "ThresholdCounts",
    "Validity",
]


T = TypeVar("T")


class _once:  # noqa: N801
    """A property that is computed once; ``functools.cached_property`` takes a lock, which torch.compile refuses."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = f"_{name}_once"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self.name not in instance.__dict__:
            instance.__dict__[self.name] = self.function(instance)
        return instance.__dict__[self.name]


def _kept(owner: Any, name: str, compute: Callable[[], T]) -> T:
    """``compute()``, which `owner` keeps, unless it is traced: the owner may be read again under another trace."""
    kept: dict[str, T] = owner.__dict__
    if name in kept:
        return kept[name]
    value = compute()
    if not any(backends.of(array).is_traced(array) for array in _arrays_in(value)):
        kept[name] = value
    return value


def _arrays_in(value: Any) -> Iterator[Array]:
    if isinstance(value, (Mapping, list, tuple)):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _arrays_in(each)
    elif isinstance(value, Sums):
        yield from _arrays_in(value.values)
    elif isinstance(value, Ranking):
        yield value.slots
    elif backends.is_array(value):
        yield value


Area = Callable[[curves.Masses], Array]
"""An area under a curve as a function of masses by score."""

# ---------------------------------------------------------------------------------------------------------------------
# Parts


class Part(Protocol):
    """What is known of the data for some metrics: arrays, and how two parts are added."""

    def __add__(self, other: Any) -> "Part": ...

    def settled(self) -> "Part":
        """The same within its bound on memory."""

    def padded(self) -> "Part":
        """The same in the largest shape that it can grow to."""

    def converted(self, dtype: Any) -> "Part":
        """The same in another accumulation dtype; only for a part of NumPy arrays."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Named sums, each a pair of arrays of one shape."""

    values: Mapping[str, Pair]

    def __getitem__(self, key: str) -> Array:
        return value(self.values[key])

    def __add__(self, other: "Sums") -> "Sums":
        return Sums({key: add(pair, other.values[key]) for key, pair in self.values.items()})

    def settled(self) -> "Sums":
        return self

    def padded(self) -> "Sums":
        return self

    def converted(self, dtype: Any) -> "Sums":
        return Sums({key: _convert(pair, dtype) for key, pair in self.values.items()})


class Ranking:
    """The summary of the scores that bounds the areas: slots as in `kernels.ranking`, shape (4 or 6, m).

    Where values are at hand, pieces are joined when they are read, or when they are too many: a stream of small batches
    would copy all its scores for each of them.
    """

    def __init__(self, *pieces: Array) -> None:
        self._pieces = pieces

    @property
    def slots(self) -> Array:
        """All slots."""
        first, *more = self._pieces
        # JAX makes records of other things than arrays on the way to its own.
        if more or (backends.is_array(first) and ranking.waits(first)):
            self._pieces = (ranking.join_pieces(first, *more),)
        return self._pieces[0]

    @property
    def array(self) -> Array:
        """All of it: slots, or scores that wait."""
        return self._pieces[0] if len(self._pieces) == 1 else self.slots

    @property
    def backend(self) -> backends.Backend:
        """That of the slots."""
        return backends.of(self._pieces[0])

    def __add__(self, other: "Ranking") -> "Ranking":
        both = Ranking(*self._pieces, *other._pieces)
        count, waiting = both._counts
        few = len(both._pieces) <= _PIECES and count <= ranking.CAPACITY and waiting <= _WAITING
        return both if few and self.backend.trims and self.backend.at_hand(self._pieces[0]) else both._joined()

    def settled(self) -> "Ranking":
        return self if sum(self._counts) <= ranking.CAPACITY else self._joined()

    @property
    def _counts(self) -> tuple[int, int]:
        """How many slots there are, and how many scores wait."""
        counts = [0, 0]
        for piece in self._pieces:
            counts[ranking.waits(piece)] += piece.shape[1]
        return counts[0], counts[1]

    def _joined(self) -> "Ranking":
        first, *more = self._pieces
        rows = 4 if ranking.waits(first) else first.shape[0]  # only in float64 do scores wait
        return Ranking(self.backend.call(ranking.concat, first, *more, shape=(rows, float("nan"))))

    def call(self, function: Callable[..., Array], *more: Array, shape: tuple[float, ...], **options: Any) -> Array:
        """``function(slots, *more, **options)``, as the slots' library does it best."""
        return self.backend.call(function, self.slots, *more, shape=shape, **options)

    def area(self, area: Area) -> Array:
        """Lower bound, value and upper bound of an area, shape (3,)."""
        if area not in _AREAS:
            return self.call(ranking.areas_with_bounds, shape=(1, 3), areas=(area,))[0, ...]
        shape = (len(_AREAS), 3)
        areas: Array = _kept(self, "_areas", lambda: self.call(ranking.areas_with_bounds, shape=shape, areas=_AREAS))
        return areas[_AREAS.index(area), ...]

    def padded(self) -> "Ranking":
        backend = backends.of(self.slots)
        rows, length = self.slots.shape
        shape = (ranking.CAPACITY - length,)
        empty = [
            backend.xp.full(
                shape, float("inf") if row < 2 else 0.0, dtype=self.slots.dtype, device=backend.device(self.slots)
            )
            for row in range(rows)
        ]
        return Ranking(backend.xp.concat([self.slots, backend.xp.stack(empty)], axis=1))

    def converted(self, dtype: Any) -> "Ranking":
        if self.slots.dtype == dtype:
            return self
        if dtype == np.float64:
            slots = self.slots.astype(np.float64)
            return Ranking(np.concatenate([slots[:2], slots[2:4] + slots[4:6]]))
        with np.errstate(over="ignore"):
            lo, hi = self.slots[:2].astype(np.float32)
        lo = np.where(lo > self.slots[0], np.nextafter(lo, np.float32(-np.inf)), lo)
        hi = np.where(hi < self.slots[1], np.nextafter(hi, np.float32(np.inf)), hi)
        masses = _convert(Pair(self.slots[2:4], np.zeros_like(self.slots[2:4])), dtype)
        return Ranking(np.concatenate([np.stack([lo, hi]), masses.hi, masses.lo]))


_AREAS = (curves.roc_area, curves.precision_recall_area)
_PIECES = 64
"""Most pieces that are not joined."""
_WAITING = 2**18
"""Most scores that wait."""


def _convert(pair: Pair, dtype: Any) -> Pair:
    """A pair of NumPy arrays in another dtype, right to its precision."""
    if pair.hi.dtype == dtype:
        return pair
    hi, lo = pair.hi.astype(np.float64), pair.lo.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = (hi + lo).astype(dtype)
        rest = (hi - rounded) + lo
    return Pair(rounded, np.where(np.isfinite(rounded), rest, 0.0).astype(dtype))


# ---------------------------------------------------------------------------------------------------------------------
# How parts are measured


@dataclass(eq=False)
class Batch:
    """What a recipe may read of a batch: arrays of shape (n,), float32 or float64.

    Weights are None where every weight is 1. A label or a weight that is not allowed is NaN here, where it could not be
    refused; what has weight 0 is 0 in labels and logits, whatever it was. What several recipes need is computed once.
    """

    partitions: tuple["Partition", ...]
    """Those of which there will be a histogram."""
    labels: Array
    logits: Array
    weights: Array | None
    losses: Array
    predictions: Array

    @property
    def backend(self) -> backends.Backend:
        """That of the arrays."""
        return backends.of(self.logits)

    def weigh(self, values: Array) -> Array:
        """``weights * values``"""
        return values if self.weights is None else self.weights * values

    @_once
    def unknown(self) -> dict[str, Array]:
        """Which elements of logits, labels and weights are NaN, for those arrays that may have any."""
        arrays = {"logits": self.logits, "labels": self.labels, "weights": self.weights}
        return {
            key: self.backend.xp.isnan(array)
            for key, array in arrays.items()
            if array is not None and self.backend.may_have_nan(array)
        }

    def known(self, values: Array) -> Array:
        """The values, 0 where anything is NaN."""
        if not self.unknown:
            return values
        return self.backend.zero_where(reduce(operator.or_, self.unknown.values()), values)

    def wide(self, values: Array) -> Array:
        """The values in the accumulation dtype."""
        return self.backend.xp.astype(values, self._wide_dtype, copy=False)

    @property
    def _wide_dtype(self) -> Any:
        return self.backend.accumulation_dtype(self.backend.device(self.logits))

    @property
    def _is_double(self) -> bool:
        return bool(self._wide_dtype == self.backend.xp.float64)

    @_once
    def _known(self) -> tuple[Array, Array]:
        """Labels and weights, both 0 where anything is NaN."""
        weights = self.backend.xp.ones_like(self.labels) if self.weights is None else self.weights
        return self.known(self.labels), self.known(weights)

    @_once
    def _wide_weights(self) -> Array:
        """The known weights in the accumulation dtype."""
        return self.wide(self._known[1])

    @_once
    def masses(self) -> tuple[Array, Array]:
        """Positive mass w z and negative mass w (1 − z) of every element; none where anything is NaN."""
        labels, weights = self._known
        if not self._has_hard_labels:  # in float32 the products would be rounded more than the areas' bounds allow for
            labels, weights = self.wide(labels), self._wide_weights
        return weights * labels, weights * (1 - labels)

    @_once
    def _has_hard_labels(self) -> bool:
        """Whether all labels are known to be 0 or 1."""
        return not self.backend.may_have((self.labels != 0) & (self.labels != 1))

    @_once
    def histograms(self) -> dict[str, Pair]:
        """The masses by place in each partition: pairs of shape (2, length), negatives first."""
        # One histogram of all partitions together takes little longer than one of them, and theirs are its marginals;
        # but in float32 a histogram is kept in thousands of rows.
        if self._is_double and math.prod([each.length for each in self.partitions]) <= self.logits.shape[0]:
            return self._joint(self.partitions)
        return {name: pair for each in self.partitions for name, pair in self._joint((each,)).items()}

    def _joint(self, partitions: tuple["Partition", ...]) -> dict[str, Pair]:
        xp = self.backend.xp
        lengths = tuple(each.length for each in partitions)
        length = math.prod(lengths)
        first, *rest = partitions
        places = first.places(self)
        for each in rest:
            places = each.length * places + each.places(self)
        if self._has_hard_labels:
            places = places + length * xp.astype(self._known[0], xp.int32)
            both = segment_total(self._wide_weights, places, 2 * length)
        else:
            positive, negative = self.masses
            both = segment_total(xp.concat([negative, positive]), xp.concat([places, places + length]), 2 * length)
        joint = both.map(lambda part: xp.reshape(part, (2, *lengths)))
        if len(partitions) == 1:
            return {partitions[0].name: joint}
        axes = range(1, len(lengths) + 1)
        others = [tuple(axis for axis in axes if axis != own) for own in axes]
        return {each.name: Pair(xp.sum(joint.hi, axis=rest)) for each, rest in zip(partitions, others, strict=True)}

    @_once
    def mass(self) -> tuple[Pair, Pair]:
        """Σ w z and Σ w."""
        xp = self.backend.xp
        if self.partitions and self.weights is None and self._is_double and self._has_hard_labels and not self.unknown:
            # Each histogram counts all of them.
            histogram = next(iter(self.histograms.values())).hi
            positive = xp.sum(histogram[1, :])
            return Pair(positive), Pair(positive + xp.sum(histogram[0, :]))
        if self.weights is None:
            return total(self.labels), total(xp.ones_like(self.labels))
        return total(self.weigh(self.labels)), total(self.weights if self.unknown else self._wide_weights)


class Recipe(Protocol):
    """How a part is measured; frozen, and its repr tells it from every other recipe."""

    @property
    def name(self) -> str:
        """The part's name in a record."""

    def measure(self, batch: Batch) -> Part:
        """The part of a batch."""


@runtime_checkable
class Partition(Recipe, Protocol):
    """A recipe that reads only in which of some places each element is."""

    @property
    def length(self) -> int:
        """The number of places."""

    def places(self, batch: Batch) -> Array:
        """Each element's place: int32, shape (n,)."""


@dataclass(frozen=True)
class Validity:
    """How many elements of nonzero weight have a NaN logit, a label that is not allowed, or a weight that is not."""

    name: ClassVar[str] = "validity"

    def measure(self, batch: Batch) -> Sums:
        xp = batch.backend.xp
        none = total(batch.labels[:0])
        found = {key: total(xp.astype(mask, xp.float32)) for key, mask in batch.unknown.items()}
        return Sums({key: found.get(key, none) for key in ("logits", "labels", "weights")})


@dataclass(frozen=True)
class MeanSums:
    """Σ w l, Σ w p, Σ w z and Σ w of losses l, predictions p and labels z."""

    name: ClassVar[str] = "means"

    def measure(self, batch: Batch) -> Sums:
        label, weight = batch.mass
        return Sums(
            {
                "loss": total(batch.weigh(batch.losses)),
                "prediction": total(batch.weigh(batch.predictions)),
                "label": label,
                "weight": weight,
            }
        )


@dataclass(frozen=True)
class ThresholdCounts:
    """Masses of positives and negatives between the thresholds: see `kernels.thresholds`."""

    thresholds: tuple[float, ...]
    events: tuple[Event, ...] = field(init=False, repr=False)
    name: ClassVar[str] = "thresholds"

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", thresholds.events(self.thresholds))

    @property
    def length(self) -> int:
        """The number of cells."""
        return len(self.events) + 1

    def places(self, batch: Batch) -> Array:
        """Each element's cell."""
        return thresholds.cells(batch.predictions, batch.logits, self.events)

    def measure(self, batch: Batch) -> Sums:
        return Sums({"cells": batch.histograms[self.name]})

    def confusion(self, threshold: float | None, part: Sums) -> Confusion:
        """Confusion masses at one of the thresholds, or for None of the class ids."""
        cells = part.values["cells"]
        found = _kept(part, "_confusions", lambda: thresholds.confusions(cells))
        return found[[event.threshold for event in self.events].index(threshold)]


@dataclass(frozen=True)
class ScoreBuckets:
    """Masses of positives and negatives in Keras's buckets of the probability."""

    num_thresholds: int
    name: ClassVar[str] = "buckets"

    @property
    def length(self) -> int:
        """The number of buckets."""
        return self.num_thresholds - 1

    def places(self, batch: Batch) -> Array:
        """Each element's bucket."""
        return thresholds.keras_buckets(batch.predictions, self.num_thresholds)

    def measure(self, batch: Batch) -> Sums:
        return Sums({"buckets": batch.histograms[self.name]})

    def area(self, area: Area, part: Sums) -> Array:
        """An area by the thresholds: a 0-d array."""
        hi, lo = part.values["buckets"]
        return backends.of(hi).call(_bucket_area, hi, lo, shape=(), area=area)

    def area_bounds(self, area: Area, part: Sums) -> Array:
        """Bounds on the area by rank, shape (2,): what lies in one bucket may be in any order."""
        return Ranking(ranking.from_intervals(_bucket_masses(part))).area(area)[0:3:2]

    def points(self, part: Sums) -> Array:
        """Where the curves pass: see `kernels.curves.curve_points`."""
        masses = _bucket_masses(part)
        xp = backends.of(masses.positive.hi).xp
        scores = xp.cumulative_sum(xp.ones_like(masses.positive.hi)) - 1
        return curves.curve_points(scores / (self.num_thresholds - 1), masses)


def _bucket_area(hi: Array, lo: Array, area: Area) -> Array:
    return area(_masses_of(hi, lo))


def _bucket_masses(part: Sums) -> curves.Masses:
    return _masses_of(*part.values["buckets"])


def _masses_of(hi: Array, lo: Array) -> curves.Masses:
    return curves.Masses(positive=Pair(hi[1, :], lo[1, :]), negative=Pair(hi[0, :], lo[0, :]))


@dataclass(frozen=True)
class ProbabilityBins:
    """What calibration is read from: a histogram of the probabilities (see `kernels.calibration`) and Σ w (p − z)².

    For predictions that are the sigmoid of the logits.
    """

    name: ClassVar[str] = "calibration"

    def measure(self, batch: Batch) -> Sums:
        positive, negative = batch.masses
        p = batch.known(batch.predictions)
        bins = calibration.bins(batch.known(batch.logits), p)
        # Of hard labels the masses are as narrow as the labels; their products with the probabilities must not be.
        p = batch.wide(p)
        weighted = batch.weights is not None
        return Sums(
            {
                "bins": calibration.histogram(bins, positive, negative, p, weighted=weighted),
                "squared_error": total(batch.weigh((batch.predictions - batch.labels) ** 2)),
            }
        )

    def call(self, function: Callable[..., Array], shape: tuple[float, ...], part: Sums) -> Array:
        """A function of the histogram, as the part's library does it best."""
        hi, lo = part.values["bins"]
        return backends.of(hi).call(function, hi, lo, shape=shape)

    def curve(self, part: Part | None) -> dict[str, Array]:
        """The calibration curve, by bin; empty without a part."""
        rows: Array = np.zeros((len(_CALIBRATION_CURVE), 0))
        if isinstance(part, Sums):
            rows = self.call(calibration.curve, (len(_CALIBRATION_CURVE), calibration.BINS), part)
        return {key: rows[index, ...] for index, key in enumerate(_CALIBRATION_CURVE)}


_CALIBRATION_CURVE = ("lower", "upper", "mean_prediction", "mean_label", "weight", "count")


@dataclass(frozen=True)
class RankingSummary:
    """The summary of the logits that bounds the areas under their curves."""

    name: ClassVar[str] = "ranking"

    def measure(self, batch: Batch) -> Ranking:
        return Ranking(ranking.from_scores(batch.logits, *batch.masses))

    def area(self, area: Area, part: Ranking) -> Array:
        """The area by rank, within its bounds: a 0-d array."""
        return part.area(area)[1]

    def area_bounds(self, area: Area, part: Ranking) -> Array:
        """Bounds on the area by rank, shape (2,)."""
        return part.area(area)[0:3:2]

    def points(self, part: Ranking) -> Array:
        """Where the curves pass: see `kernels.curves.curve_points`."""
        return part.call(ranking.points, shape=(4, float("nan")))


@dataclass(frozen=True)
class RegularizationSums:
    """The sum of the regularization losses over calls, and the number of calls; a batch holds none."""

    name: ClassVar[str] = "regularization"

    def measure(self, batch: Batch) -> Sums:
        none = total(batch.labels[:0])
        return Sums({"loss": none, "calls": none})

    @staticmethod
    def of(regularization_loss: Array) -> Sums:
        """The part of one call."""
        xp = backends.of(regularization_loss).xp
        return Sums(
            {
                "loss": total(xp.reshape(regularization_loss, (1,))),
                "calls": total(xp.reshape(xp.ones_like(regularization_loss), (1,))),
            }
        )


# ---------------------------------------------------------------------------------------------------------------------
# The record

_FORMAT = "glmheads.Statistics"
_VERSION = 2


Form = tuple[str, tuple[tuple[str, tuple[int, ...]], ...] | None]
"""A part's name, and the keys and shapes of its sums, or None for a `Ranking`."""


class Statistics:
    """All that an evaluation reports is a function of this record; records of one head add up.

    A record is made by ``Head.statistics`` and read by ``Head.results``, ``Head.bounds`` and ``Head.curves``. It is
    immutable, and a JAX pytree. Its size depends on the shapes of the data alone, and is at most about 1 MiB.

    Parameters
    ----------
    config : str
        What the head that made the record measures, as JSON; only records of equal `config` add up.
    parts : mapping of Part
        The parts by name; a part that has seen no data is missing, and the empty record has none.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> head = gh.BinaryClassHead()
    >>> logits, labels = np.asarray([[2.0], [-1.0], [0.5]]), np.asarray([[1], [0], [0]])
    >>> s = head.statistics(labels[:2], logits[:2]) + head.statistics(labels[2:], logits[2:])
    >>> float(head.results(s)["auc"])
    1.0
    """

    # The sums of all parts lie end to end in two arrays, their high and their low parts: two records are added by a
    # handful of operations, however many parts they have.

    config: str
    _forms: tuple[Form, ...]
    _sums: tuple[Array, ...]
    _rankings: tuple[Ranking, ...]

    def __init__(self, config: str, parts: Mapping[str, Part]) -> None:
        forms: list[Form] = []
        pairs: list[Pair] = []
        rankings: list[Ranking] = []
        for name, part in parts.items():
            if isinstance(part, Sums):
                pairs.extend(part.values.values())
                forms.append((name, tuple((key, tuple(pair.hi.shape)) for key, pair in part.values.items())))
            else:
                assert isinstance(part, Ranking)
                rankings.append(part)
                forms.append((name, None))
        self._set(config, tuple(forms), _pack(pairs) if pairs else (), rankings)

    def _set(
        self, config: str, forms: tuple[Form, ...], sums: Sequence[Array], rankings: Iterable[Ranking]
    ) -> "Statistics":
        self.config, self._forms, self._sums, self._rankings = config, forms, tuple(sums), tuple(rankings)
        backends.make_traceable(Statistics)
        return self

    def _with(self, sums: Sequence[Array], rankings: Iterable[Ranking]) -> "Statistics":
        """A record of the same parts."""
        return Statistics.__new__(Statistics)._set(self.config, self._forms, sums, rankings)

    @property
    def any_array(self) -> Array:
        """One of the arrays; there must be some."""
        return self._sums[0] if self._sums else self._rankings[0].array

    @property
    def backend(self) -> backends.Backend:
        """That of the arrays."""
        return backends.of(self.any_array)

    def __reduce__(self) -> tuple[Any, ...]:
        # By the constructor, which tells the libraries of the class; a graph of autograd can't be copied.
        return Statistics.from_arrays, (self.structure(), self.detach().arrays())

    def __repr__(self) -> str:
        shown = self._shown()
        return f"<Statistics of {shown.pop('head')}: {'; '.join(f'{name} {text}' for name, text in shown.items())}>"

    def _repr_html_(self) -> str:
        return html_table("Statistics", self._shown())

    def _shown(self) -> dict[str, str]:
        """What can be said of the record without waiting for a device and without computing what is lazy."""
        shown = {"head": _head_of(self.config), "parts": ", ".join(name for name, _ in self._forms) or "none"}
        arrays = self.arrays()
        if not arrays or not backends.is_array(arrays[0]):  # JAX makes records of other things on the way to its own
            return shown
        shown["in"] = place(arrays[0])
        backend = backends.of(arrays[0])
        if backend.at_hand(arrays[0]):
            means = self.parts.get(MeanSums.name)
            if isinstance(means, Sums):
                shown["weight"] = _number(means["weight"])
            bad = {key: _number(count) for key, count in self.invalid.items()}
            shown.update({f"invalid {key}": count for key, count in bad.items() if count != "0"})
        return shown

    @property
    def parts(self) -> Mapping[str, Part]:
        """The parts by name."""
        if not self._forms:
            return MappingProxyType({})
        return _kept(self, "_parts", self._take_apart)

    def _take_apart(self) -> Mapping[str, Part]:
        found: dict[str, Part] = {}
        rankings = iter(self._rankings)
        at = 0
        for name, shapes in self._forms:
            if shapes is None:
                found[name] = next(rankings)
                continue
            sums: dict[str, Pair] = {}
            for key, shape in shapes:
                size = math.prod(shape)
                sums[key] = Pair(*(_unpack(array, at, size, shape) for array in self._sums))
                at += size
            found[name] = Sums(sums)
        return MappingProxyType(found)

    # Adding

    def __add__(self, other: "Statistics") -> "Statistics":
        """The record of the data of both.

        Raises
        ------
        ValueError
            If the heads that made the records measure different things, or the records are on different devices.
        """
        if not isinstance(other, Statistics):
            return NotImplemented
        if self.config != other.config:
            raise ValueError(
                "statistics of differently configured heads don't add up: "
                f"the left head is {self.config}, the right one {other.config}"
            )
        if not (self._forms and other._forms):
            return self if self._forms else other
        left, right = _in_one_library(self, other)
        with left.backend.quiet():
            if left._forms == right._forms:
                sums = add(Pair(*left._sums), Pair(*right._sums)) if left._sums else ()
                return left._with(sums, (a + b for a, b in zip(left._rankings, right._rankings, strict=True)))
            parts = dict(left.parts)
            for name, part in right.parts.items():
                parts[name] = parts[name] + part if name in parts else part
        return Statistics(self.config, parts)

    def with_part(self, name: str, part: Part) -> "Statistics":
        """The record with one part more, or another one of that name."""
        return Statistics(self.config, {**self.parts, name: part})

    def settled(self) -> "Statistics":
        """The same record within its bound on memory, which one made of many examples at once may exceed."""
        return self._with(self._sums, (part.settled() for part in self._rankings)) if self._rankings else self

    def padded(self) -> "Statistics":
        """The same record in the largest shape that it can grow to, which adding keeps."""
        return self._with(self._sums, (part.padded() for part in self._rankings))

    # Arrays

    def arrays(self) -> list[Array]:
        """All arrays of the record, in a fixed order."""
        return [*self._sums, *(part.array for part in self._rankings)]

    def structure(self) -> tuple[str, tuple[Form, ...]]:
        """What the record is beside its arrays: hashable, as a JAX pytree needs."""
        return self.config, self._forms

    @classmethod
    def from_arrays(cls, structure: tuple[str, Sequence[Any]], arrays: Sequence[Array]) -> "Statistics":
        """The record of this structure, as it is or read from JSON, that holds these arrays."""
        config, forms = structure
        if not isinstance(forms, tuple):
            forms = tuple(
                (name, shapes and tuple((key, tuple(shape)) for key, shape in shapes)) for name, shapes in forms
            )
        count = len(arrays) - sum(shapes is None for _, shapes in forms)
        return cls.__new__(cls)._set(config, forms, arrays[:count], [Ranking(slots) for slots in arrays[count:]])

    def map(self, function: Callable[[Array], Array]) -> "Statistics":
        """The record with `function` applied to every array."""
        return Statistics.from_arrays(self.structure(), [function(array) for array in self.arrays()])

    def detach(self) -> "Statistics":
        """The record without the graph that autograd would keep alive with it."""
        if not self._forms or not self.backend.has_autograd:
            return self
        return self.map(lambda array: backends.of(array).detach(array))

    @property
    def invalid(self) -> dict[str, Array]:
        """How many elements of nonzero weight had a NaN logit, a bad label or a bad weight: 0-d arrays by argument.

        Where values are at hand, bad labels and weights are refused before they can be counted.
        """
        keys = ("logits", "labels", "weights")
        part = self.parts.get(Validity.name)
        if not isinstance(part, Sums):
            return {key: np.asarray(0.0) for key in keys}
        return dict(_kept(part, "_counts", lambda: {key: part[key] for key in keys}))

    # Moving

    def _on_host(self) -> "Statistics":
        """The record as NumPy arrays; what is lazy is computed in one go."""
        arrays = self.arrays()
        return Statistics.from_arrays(self.structure(), backends.of(arrays[0]).to_numpy_all(arrays) if arrays else [])

    def to(self, target: Any, device: Any = None) -> "Statistics":
        """The record in another library or on another device; waits for the device, and computes what is lazy.

        Parameters
        ----------
        target : str, module or device
            A library (``"torch"``, ``jax.numpy``), or a device of the record's own library (``"cuda"``,
            ``torch.device("cuda:1")``).
        device : device, optional
            Where in that library; its default device if it is not given.

        Raises
        ------
        ValueError
            If `target` is neither.
        """
        arrays = self.arrays()
        if not arrays:
            return self
        try:
            backend = backends.named(target)
        except ValueError:
            if device is not None:
                raise
            backend = backends.of(arrays[0])
            try:
                device = backend.find_device(target)
                backend.from_numpy(np.zeros(1, dtype=np.float32), device)
            except Exception as error:
                raise ValueError(
                    f"{target!r} is neither an installed array library nor a device of {backend.name}: {error}"
                ) from error
        else:
            device = None if device is None else backend.find_device(device)
        here = self._on_host()
        probe = backend.from_numpy(np.zeros(1, dtype=np.float32), device)
        double = backend.accumulation_dtype(backend.device(probe)) == backend.xp.float64
        dtype = np.dtype(np.float64 if double else np.float32)
        parts = {name: part.converted(dtype) for name, part in here.parts.items()}
        return Statistics(self.config, parts).map(lambda array: backend.from_numpy(array, device))

    # Saving

    def save(self, file: archive.File) -> None:
        """Write the record to a file, in NumPy's npz format and without pickle.

        Parameters
        ----------
        file : path or binary file
            A path without an ending gets .npz.
        """
        here = self._on_host()
        fields = {"format": _FORMAT, "version": _VERSION, "structure": here.structure()}
        archive.write(file, fields, here.arrays())

    @classmethod
    def load(cls, file: archive.File) -> "Statistics":
        """The record that `save` wrote, as NumPy arrays; ``to`` brings it elsewhere.

        Raises
        ------
        ValueError
            If the file is not such a record, is damaged, or is of a later version of the format.
        """
        fields, arrays = archive.read(file, _FORMAT, _VERSION, noun="glmheads statistics")
        try:
            record = cls.from_arrays(fields["structure"], arrays)
            _ = record.parts
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{file} is not a file of glmheads statistics: its header is {fields!r}") from error
        return record


def _head_of(config: str) -> str:
    """The name of the head's class; what is no head's configuration, as it is."""
    try:
        return str(json.loads(config)["head"])
    except (ValueError, KeyError, TypeError):
        return config


def _number(array: Array) -> str:
    backend = backends.of(array)
    return f"{float(backend.to_numpy(backend.detach(array))):.12g}"


def _pack(pairs: Sequence[Pair]) -> Pair:
    """The pairs' elements end to end."""
    xp = backends.of(pairs[0].hi).xp

    def flat(array: Array) -> Array:
        return array[None] if array.ndim == 0 else xp.reshape(array, (-1,))

    hi = xp.concat([flat(pair.hi) for pair in pairs])
    if all(pair.is_plain for pair in pairs):
        return Pair(hi, xp.zeros_like(hi))
    return Pair(hi, xp.concat([flat(pair.arrays()[1]) for pair in pairs]))


def _unpack(array: Array, at: int, size: int, shape: tuple[int, ...]) -> Array:
    # Under a transformation that has mapped over records, the array has axes in front.
    return backends.of(array).xp.reshape(array[..., at : at + size], (*array.shape[:-1], *shape))


def _in_one_library(left: Statistics, right: Statistics) -> tuple[Statistics, Statistics]:
    """Both records in the library of one: the left one's, unless the right one alone has no values yet."""
    one, other = left.any_array, right.any_array
    ours, theirs = backends.of(one), backends.of(other)
    if ours is theirs:
        here, there = ours.device(one), ours.device(other)
        if here != there and None not in (here, there):
            raise ValueError(
                f"the records are on different devices, {here} and {there}: move one with Statistics.to(device)"
            )
        if one.dtype == other.dtype:
            return left, right
        # One was made where the accumulation dtype is another: without x64, or loaded from the file of such a record.
        return left.to(ours.xp), right.to(ours.xp)
    for backend, array, name in ((ours, one, "left"), (theirs, other, "right")):
        if not backend.on_host(array):
            raise ValueError(
                f"the {name} record is of {backend.name} on {backend.device(array)} and the other of another library: "
                "move one with Statistics.to(library, device)"
            )
    if theirs.is_lazy(other) and not ours.is_lazy(one):
        return left.to(theirs.xp), right
    return left, right.to(ours.xp)
