"""The record of sufficient statistics of an evaluation, and its parts.

    statistics(batch_1 followed by batch_2) == statistics(batch_1) + statistics(batch_2)

`Statistics` holds one part per name, and `+` adds part by part. There are two kinds of part: `Sums`, arrays that are
added (means, counts at thresholds, histograms), and `Ranking`, the summary of the scores. A part's recipe (`MeanSums`,
`ThresholdCounts`, ...) says how it is measured on a batch; a further part is one more recipe.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from os import PathLike
from typing import IO, Any, ClassVar, Protocol
from zipfile import BadZipFile

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.kernels import calibration, curves, ranking, thresholds
from glmheads.kernels.reductions import Pair, add, total, value
from glmheads.kernels.thresholds import Confusion, Event

__all__ = [
    "Batch",
    "MeanSums",
    "Part",
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


Area = Callable[[curves.Masses], Array]
"""An area under a curve as a function of masses by score."""

# ---------------------------------------------------------------------------------------------------------------------
# Parts


class Part(Protocol):
    """What is known of the data for some metrics: arrays, and how two parts are added."""

    kind: ClassVar[str]

    def keys(self) -> tuple[str, ...]:
        """What tells the arrays apart."""

    def arrays(self) -> list[Array]:
        """The arrays, in a fixed order."""

    @classmethod
    def from_arrays(cls, keys: tuple[str, ...], arrays: Sequence[Array]) -> "Part":
        """The part that holds these arrays."""

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
    kind: ClassVar[str] = "sums"

    def __getitem__(self, key: str) -> Array:
        return value(self.values[key])

    def keys(self) -> tuple[str, ...]:
        return tuple(self.values)

    def arrays(self) -> list[Array]:
        return [array for pair in self.values.values() for array in pair]

    @classmethod
    def from_arrays(cls, keys: tuple[str, ...], arrays: Sequence[Array]) -> "Sums":
        return cls({key: Pair(arrays[2 * i], arrays[2 * i + 1]) for i, key in enumerate(keys)})

    def __add__(self, other: "Sums") -> "Sums":
        return Sums({key: add(pair, other.values[key]) for key, pair in self.values.items()})

    def settled(self) -> "Sums":
        return self

    def padded(self) -> "Sums":
        return self

    def converted(self, dtype: Any) -> "Sums":
        return Sums({key: _convert(pair, dtype) for key, pair in self.values.items()})


@dataclass(frozen=True, eq=False)
class Ranking:
    """The summary of the scores that bounds the areas: slots as in `kernels.ranking`, shape (4 or 6, m)."""

    slots: Array
    kind: ClassVar[str] = "ranking"

    def keys(self) -> tuple[str, ...]:
        return ("slots",)

    def arrays(self) -> list[Array]:
        return [self.slots]

    @classmethod
    def from_arrays(cls, keys: tuple[str, ...], arrays: Sequence[Array]) -> "Ranking":
        return cls(arrays[0])

    def __add__(self, other: "Ranking") -> "Ranking":
        return self._with(ranking.concat, other.slots)

    def settled(self) -> "Ranking":
        if self.slots.shape[1] <= ranking.CAPACITY:
            return self
        return self._with(ranking.compress)

    def _with(self, function: Callable[..., Array], *more: Array) -> "Ranking":
        return Ranking(self.call(function, *more, shape=(self.slots.shape[0], float("nan"))))

    def call(self, function: Callable[..., Array], *more: Array, shape: tuple[float, ...], **options: Any) -> Array:
        """``function(slots, *more, **options)``, as the slots' library does it best."""
        return backends.of(self.slots).call(function, self.slots, *more, shape=shape, **options)

    def area(self, area: Area) -> Array:
        """Lower bound, value and upper bound of an area, shape (3,)."""
        return self.call(ranking.area_with_bounds, shape=(3,), area=area)

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


_KINDS: dict[str, type[Sums] | type[Ranking]] = {kind.kind: kind for kind in (Sums, Ranking)}


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


@dataclass(frozen=True, eq=False)
class Batch:
    """What a recipe may read of a batch: arrays of shape (n, d), float32 or float64.

    Weights have the shape of the others, or are None where every weight is 1. A label or a weight that is not allowed
    is NaN here, where it could not be refused; what has weight 0 is 0 in labels and logits, whatever it was.
    """

    labels: Array
    logits: Array
    weights: Array | None
    losses: Array
    predictions: Array

    def weigh(self, values: Array) -> Array:
        """``weights * values``"""
        return values if self.weights is None else self.weights * values

    def masses(self) -> tuple[Array, Array, Array]:
        """Logits, positive mass w z and negative mass w (1 − z) of every element, flat; no mass where one is NaN."""
        backend = backends.of(self.logits)
        xp = backend.xp
        # In float32 the products would be rounded more than the bounds of the areas allow for.
        dtype = backend.accumulation_dtype(backend.device(self.logits))
        labels = xp.astype(self.labels, dtype, copy=False)
        weights = None if self.weights is None else xp.astype(self.weights, dtype, copy=False)
        positive, negative = (z if weights is None else weights * z for z in (labels, 1 - labels))
        known = ~(xp.isnan(self.logits) | xp.isnan(positive))
        arrays = (self.logits, positive, negative)
        return tuple(xp.reshape(xp.where(known, a, xp.zeros_like(a)), (-1,)) for a in arrays)


class Recipe(Protocol):
    """How a part is measured; frozen, and its repr tells it from every other recipe."""

    @property
    def name(self) -> str:
        """The part's name in a record."""

    def measure(self, batch: Batch) -> Part:
        """The part of a batch."""


@dataclass(frozen=True)
class Validity:
    """How many elements of nonzero weight have a NaN logit, a label that is not allowed, or a weight that is not."""

    name: ClassVar[str] = "validity"

    def measure(self, batch: Batch) -> Sums:
        xp = backends.of(batch.logits).xp

        def count(array: Array) -> Pair:
            return total(xp.astype(xp.isnan(array), xp.float32))

        weights = batch.labels[:0, ...] if batch.weights is None else batch.weights
        return Sums({"logits": count(batch.logits), "labels": count(batch.labels), "weights": count(weights)})


@dataclass(frozen=True)
class MeanSums:
    """Σ w l, Σ w p, Σ w z and Σ w of losses l, predictions p and labels z."""

    name: ClassVar[str] = "means"

    def measure(self, batch: Batch) -> Sums:
        xp = backends.of(batch.logits).xp
        weights = xp.ones_like(batch.labels) if batch.weights is None else batch.weights
        return Sums(
            {
                "loss": total(batch.weigh(batch.losses)),
                "prediction": total(batch.weigh(batch.predictions)),
                "label": total(batch.weigh(batch.labels)),
                "weight": total(weights),
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

    def measure(self, batch: Batch) -> Sums:
        xp = backends.of(batch.logits).xp
        _, positive, negative = batch.masses()
        cells = xp.reshape(thresholds.cells(batch.predictions, batch.logits, self.events), (-1,))
        return Sums({"cells": thresholds.histogram(cells, positive, negative, len(self.events) + 1)})

    def confusion(self, threshold: float | None, part: Sums) -> Confusion:
        """Confusion masses at one of the thresholds, or for None of the class ids."""
        position = [event.threshold for event in self.events].index(threshold)
        return thresholds.confusion(part.values["cells"], position)


@dataclass(frozen=True)
class ScoreBuckets:
    """Masses of positives and negatives in Keras's buckets of the probability."""

    num_thresholds: int
    name: ClassVar[str] = "buckets"

    def measure(self, batch: Batch) -> Sums:
        xp = backends.of(batch.logits).xp
        _, positive, negative = batch.masses()
        p = xp.reshape(batch.predictions, (-1,))
        buckets = thresholds.keras_buckets(xp.where(xp.isnan(p), xp.zeros_like(p), p), self.num_thresholds)
        return Sums({"buckets": thresholds.histogram(buckets, positive, negative, self.num_thresholds - 1)})

    def area(self, area: Area, part: Sums) -> Array:
        """An area by the thresholds: a 0-d array."""
        return area(_bucket_masses(part))

    def area_bounds(self, area: Area, part: Sums) -> Array:
        """Bounds on the area by rank, shape (2,): what lies in one bucket may be in any order."""
        return Ranking(ranking.from_intervals(_bucket_masses(part))).area(area)[0:3:2]

    def points(self, part: Sums) -> Array:
        """Where the curves pass: see `kernels.curves.curve_points`."""
        masses = _bucket_masses(part)
        xp = backends.of(masses.positive.hi).xp
        scores = xp.cumulative_sum(xp.ones_like(masses.positive.hi)) - 1
        return curves.curve_points(scores / (self.num_thresholds - 1), masses)


def _bucket_masses(part: Sums) -> curves.Masses:
    hi, lo = part.values["buckets"]
    return curves.Masses(positive=Pair(hi[1, :], lo[1, :]), negative=Pair(hi[0, :], lo[0, :]))


@dataclass(frozen=True)
class ProbabilityBins:
    """What calibration is read from: a histogram of the probabilities (see `kernels.calibration`) and Σ w (p − z)².

    For predictions that are the sigmoid of the logits.
    """

    name: ClassVar[str] = "calibration"

    def measure(self, batch: Batch) -> Sums:
        xp = backends.of(batch.logits).xp
        logits, positive, negative = batch.masses()
        p = xp.reshape(batch.predictions, (-1,))
        p = xp.where(xp.isnan(p), xp.zeros_like(p), p)
        bins = calibration.bins(logits, p)
        p = xp.astype(p, positive.dtype, copy=False)
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
        return Ranking(ranking.from_scores(*batch.masses()))

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
        none = total(batch.labels[:0, ...])
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
_VERSION = 1

# What reading a damaged npz file may raise: RuntimeError where a bit says that it is encrypted or compressed otherwise.
_DAMAGED = (
    AttributeError,
    BadZipFile,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Statistics:
    """All that an evaluation reports is a function of this record; records of one head add up.

    A record is made by ``Head.statistics`` and read by ``Head.results``, ``Head.bounds`` and ``Head.curves``. It is
    immutable, and a JAX pytree. Its size depends on the shapes of the data alone, and is at most about 1 MiB.

    Attributes
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

    config: str
    parts: Mapping[str, Part]

    def __post_init__(self) -> None:
        backends.make_traceable(Statistics)

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
        if not (self.parts and other.parts):
            return self if self.parts else other
        left, right = _in_one_library(self, other)
        parts = dict(left.parts)
        with backends.of(left.arrays()[0]).quiet():
            for name, part in right.parts.items():
                parts[name] = parts[name] + part if name in parts else part
        return Statistics(self.config, parts)

    def settled(self) -> "Statistics":
        """The same record within its bound on memory, which one made of many examples at once may exceed."""
        return Statistics(self.config, {name: part.settled() for name, part in self.parts.items()})

    def padded(self) -> "Statistics":
        """The same record in the largest shape that it can grow to, which adding keeps."""
        return Statistics(self.config, {name: part.padded() for name, part in self.parts.items()})

    # Arrays

    def arrays(self) -> list[Array]:
        """All arrays of the record, in a fixed order."""
        return [array for part in self.parts.values() for array in part.arrays()]

    def structure(self) -> tuple[str, tuple[tuple[str, str, tuple[str, ...]], ...]]:
        """What the record is beside its arrays: hashable, as a JAX pytree needs."""
        return self.config, tuple((name, part.kind, part.keys()) for name, part in self.parts.items())

    @classmethod
    def from_arrays(cls, structure: Any, arrays: Sequence[Array]) -> "Statistics":
        """The record of this structure that holds these arrays."""
        config, forms = structure
        parts: dict[str, Part] = {}
        position = 0
        for name, kind, keys in forms:
            count = len(keys) * (2 if kind == Sums.kind else 1)
            parts[name] = _KINDS[kind].from_arrays(tuple(keys), arrays[position : position + count])
            position += count
        return cls(config, parts)

    def map(self, function: Callable[[Array], Array]) -> "Statistics":
        """The record with `function` applied to every array."""
        return Statistics.from_arrays(self.structure(), [function(array) for array in self.arrays()])

    def detach(self) -> "Statistics":
        """The record without the graph that autograd would keep alive with it."""
        return self.map(lambda array: backends.of(array).detach(array))

    @property
    def invalid(self) -> dict[str, Array]:
        """How many elements of nonzero weight had a NaN logit, a bad label or a bad weight: 0-d arrays by argument.

        Where values are at hand, bad labels and weights are refused before they can be counted.
        """
        part = self.parts.get(Validity.name)
        keys = ("logits", "labels", "weights")
        return {key: part[key] if isinstance(part, Sums) else np.asarray(0.0) for key in keys}

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

    def save(self, file: str | PathLike[str] | IO[bytes]) -> None:
        """Write the record to a file, in NumPy's npz format and without pickle.

        Parameters
        ----------
        file : path or binary file
            A path without an ending gets .npz.
        """
        here = self._on_host()
        header = json.dumps({"format": _FORMAT, "version": _VERSION, "structure": here.structure()})
        arrays = {f"array_{index}": array for index, array in enumerate(here.arrays())}
        digest = _digest(header, list(arrays.values()))
        np.savez(file, header=np.asarray(header), digest=np.asarray(digest), **arrays)

    @classmethod
    def load(cls, file: str | PathLike[str] | IO[bytes]) -> "Statistics":
        """The record that `save` wrote, as NumPy arrays; ``to`` brings it elsewhere.

        Raises
        ------
        ValueError
            If the file is not such a record, is damaged, or is of a later version of the format.
        """
        label = getattr(file, "name", file)
        try:
            # np.load leaves a damaged file open that it opened itself
            opened = open(file, "rb") if isinstance(file, (str, PathLike)) else nullcontext(file)  # noqa: SIM115
            with opened as stream, np.load(stream, allow_pickle=False) as content:
                header = str(content["header"])
                digest = str(content["digest"])
                count = len(content.files) - 2
                arrays = [content[f"array_{index}"] for index in range(count)]
        except FileNotFoundError:
            raise
        except _DAMAGED as error:
            raise ValueError(f"{label} is not a file of glmheads statistics, or is damaged: {error}") from error
        try:
            fields = json.loads(header)
            format_, version, structure = fields["format"], fields["version"], fields["structure"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{label} is not a file of glmheads statistics: its header is {header!r}") from error
        if format_ != _FORMAT:
            raise ValueError(f"{label} is not a file of glmheads statistics: its format is {format_!r}")
        if version != _VERSION:
            raise ValueError(
                f"{label} has version {version} of the format, and this glmheads reads version {_VERSION}: "
                "read it with the glmheads that wrote it"
            )
        if digest != _digest(header, arrays):
            raise ValueError(f"{label} is damaged: its content does not match its checksum")
        return cls.from_arrays(structure, arrays)


def _digest(header: str, arrays: list[Any]) -> str:
    digest = hashlib.sha256(header.encode())
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _accumulation_dtype(statistics: Statistics) -> Any:
    return statistics.arrays()[0].dtype


def _in_one_library(left: Statistics, right: Statistics) -> tuple[Statistics, Statistics]:
    """Both records in the library of one: the left one's, unless the right one alone has no values yet."""
    one, other = left.arrays()[0], right.arrays()[0]
    ours, theirs = backends.of(one), backends.of(other)
    if ours is theirs:
        here, there = ours.device(one), ours.device(other)
        if here != there and None not in (here, there):
            raise ValueError(
                f"the records are on different devices, {here} and {there}: move one with Statistics.to(device)"
            )
        if _accumulation_dtype(left) == _accumulation_dtype(right):
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
