"""The laws that hold for every head on every library, each a function that draws batches and asserts.

The first line of a law's docstring states it. Tolerances are not chosen: a sum of n terms may be wrong by n + 16 units
in the last place of the sum of the terms' magnitudes, which `reference` tells; 16 is what elementary functions and a
few operations cost.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import strategies as st

from glmheads import backends
from glmheads.backends import Array, Backend
from glmheads.heads import FamilyHead
from glmheads.kernels import ranking
from glmheads.statistics import Ranking, ScoreBuckets, Statistics, Sums
from glmheads.testing import reference
from glmheads.testing.reference import Expected
from glmheads.testing.strategies import Batch, NumPyArray, batches, label_range, weight_column

Draw = Callable[..., Any]


# ---------------------------------------------------------------------------------------------------------------------
# The head under test


@dataclass(frozen=True)
class Subject:
    """A head on one library, device and dtype; what it answers comes back as NumPy arrays and numbers."""

    head: FamilyHead
    backend: Backend
    device: Any
    dtype: np.dtype[Any]

    def __repr__(self) -> str:
        where = "" if self.device is None else f" on {self.device}"
        return f"{self.head!r} with {self.backend.xp.__name__.removeprefix('array_api_compat.')} in {self.dtype}{where}"

    # Data

    def draw(
        self, draw: Draw, count: int, rows: int | None = None, inner: tuple[int, ...] | None = None
    ) -> list[Batch]:
        """Some batches that can follow each other."""
        if not self.backend.dynamic_shapes:  # every new shape is compiled
            rows, inner = rows or 4, ()
        found: list[Batch] = []
        for _ in range(count):
            found.append(draw(batches(self.head, self.dtype, rows=rows, inner=inner)))
            inner = found[0].logits.shape[1:-1]
        return found

    def given(self, batch: Batch) -> tuple[Array, Array, Any]:
        """Labels, logits and features as arrays of the library."""
        return batch.arguments(self.head, self.backend, self.device)

    # Answers

    def numpy(self, array: Array) -> NumPyArray:
        return np.asarray(backends.of(array).to_numpy(array)).astype(np.float64)

    def loss(self, batch: Batch) -> float:
        return float(self.numpy(self.head.loss(*self.given(batch))))

    def total_loss(self, batch: Batch) -> float:
        """The sum of the weighted losses, whatever the head's reduction."""
        return self.loss(batch) * reference.divisor(self.head, batch)

    def total_gradient(self, batch: Batch) -> NumPyArray:
        """The derivative of `total_loss`."""
        gradient: NumPyArray = self.numpy(self.head.gradient(*self.given(batch)))
        return gradient * reference.divisor(self.head, batch)

    def statistics(self, batch: Batch) -> Statistics:
        return self.head.statistics(*self.given(batch))

    def results(self, statistics: Statistics) -> dict[str, NumPyArray]:
        return {key: self.numpy(value) for key, value in self.head.results(statistics).items()}

    def bounds(self, statistics: Statistics) -> dict[str, NumPyArray]:
        return {key: self.numpy(value) for key, value in self.head.bounds(statistics).items()}

    # Comparing

    def eps(self, *, result: bool = False) -> float:
        """Of the dtype that the head computes in, or that it returns elementwise results in."""
        return float(np.finfo(self.dtype if result else np.promote_types(self.dtype, np.float32)).eps)

    def assert_close(
        self, name: str, found: Any, expected: Any, size: Any, terms: int, *, result: bool = False
    ) -> None:
        """Both are equal to the rounding of so many terms of that size in all."""
        tolerance = (16 + terms) * (self.eps(result=result) * size + float(np.finfo(self.dtype).tiny))
        with np.errstate(invalid="ignore"):
            right = (found == expected) | (np.isnan(found) & np.isnan(expected)) | (abs(found - expected) <= tolerance)
        right &= np.isfinite(found) == np.isfinite(expected)
        assert np.all(right), f"{name} is {_shown(found)} and should be {_shown(expected)}, ± {_shown(tolerance)}"

    def assert_results(self, found: Mapping[str, Any], expected: Mapping[str, Expected], terms: int) -> None:
        assert found.keys() == expected.keys(), f"the metrics are {sorted(found)} and should be {sorted(expected)}"
        for key, (value, size) in expected.items():
            self.assert_close(key, found[key], value, size, terms)

    def assert_same(self, one: Statistics, other: Statistics, batch: Batch, more: Batch | None = None) -> None:
        """Two records of a batch tell the same, also when another batch is added to both."""
        left, right = self.results(one), self.results(other)
        sizes = reference.results(self.head, batch)
        self.assert_results(left, {key: Expected(right[key], sizes[key].size) for key in right}, batch.logits.size)
        if more is not None:
            seen = self.statistics(more)
            self.assert_same(one + seen, other + seen, batch.followed_by(more))

    def assert_total_loss(self, found: float, expected: float, batch: Batch) -> None:
        size = reference.loss(self.head, batch).size * reference.divisor(self.head, batch)
        self.assert_close("the loss (before it is divided)", found, expected, size, batch.logits.size)


def _shown(value: Any) -> Any:
    return np.asarray(value).tolist()


def _has_gradient(subject: Subject) -> bool:
    return subject.head.loss_fn is None or subject.backend.has_autograd


@contextmanager
def small_summaries() -> Iterator[None]:
    """Summaries of scores so small that a few examples fill them."""

    def anew(function: Callable[..., Array]) -> Callable[..., Array]:
        # What a library has compiled for the usual size stays with the function that it was compiled from.
        return functools.wraps(function)(lambda *arguments: function(*arguments))

    with mock.patch.multiple(
        ranking, CAPACITY=8, TARGET=4, concat=anew(ranking.concat), compress=anew(ranking.compress)
    ):
        yield


# ---------------------------------------------------------------------------------------------------------------------
# The laws

Law = Callable[[Subject, Draw], None]
LAWS: dict[str, Law] = {}
"""Every law by name, in the order in which `check_head` checks them."""


def law(function: Law) -> Law:
    """Enter a law under its name."""
    LAWS[function.__name__] = function
    return function


@law
def additivity(subject: Subject, draw: Draw) -> None:
    """The statistics of a batch followed by another are the sum of theirs; so is the sum of the losses.

    The empty record is neutral, and metrics that are updated and `evaluate` tell what the sum tells.
    """
    head = subject.head
    a, b, more = subject.draw(draw, 3)
    both = a.followed_by(b)
    added = subject.statistics(a) + subject.statistics(b)
    subject.assert_same(added, subject.statistics(both), both, more)
    subject.assert_same(head.empty() + added, added, both)
    subject.assert_total_loss(subject.total_loss(a) + subject.total_loss(b), subject.total_loss(both), both)

    metrics = head.metrics()
    for labels, logits, features in (subject.given(a), subject.given(b)):
        head.update_metrics(metrics, features, logits, labels)
    told = subject.results(added)
    expected = {key: Expected(told[key], size) for key, (_, size) in reference.results(head, both).items()}
    updated = {key: subject.numpy(metric.result()) for key, metric in metrics.items()}
    evaluated = {key: subject.numpy(value) for key, value in head.evaluate(map(subject.given, (a, b))).items()}
    for found in (updated, evaluated):
        subject.assert_results(found, expected, both.logits.size)


@law
def order(subject: Subject, draw: Draw) -> None:
    """Neither the order of the examples nor that of the batches matters."""
    a, b = subject.draw(draw, 2)
    both = a.followed_by(b)
    rows = np.asarray(draw(st.permutations(range(len(both)))), dtype=int)
    one, other = subject.statistics(a), subject.statistics(b)
    subject.assert_same(one + other, other + one, both)
    subject.assert_same(subject.statistics(both[rows]), subject.statistics(both), both)
    subject.assert_total_loss(subject.total_loss(both[rows]), subject.total_loss(both), both)
    if _has_gradient(subject):
        _assert_gradient(subject, subject.total_gradient(both[rows]), subject.total_gradient(both)[rows], both[rows])


def _assert_gradient(subject: Subject, found: NumPyArray, expected: NumPyArray, batch: Batch) -> None:
    weights = reference.weights_of(subject.head, batch)
    derivative = reference.pointwise(subject.head, batch).gradient
    size = 1 + abs(expected) if derivative is None else weights * derivative.size
    largest = 1 + reference.divisor(subject.head, batch)  # what is tiny has been multiplied by that
    subject.assert_close("the gradient", found / largest, expected / largest, size / largest, 0, result=True)


@law
def zero_weights(subject: Subject, draw: Draw) -> None:
    """An example of weight 0 is absent, whatever its label and its logit: NaN, infinite, out of range.

    It only counts in the size of the batch, by which two of the reductions divide.
    """
    head = subject.head
    if weight_column(head) is None:
        return
    batch, absent, more = subject.draw(draw, 3)
    awkward = st.sampled_from([math.nan, math.inf, -math.inf, -7.0])
    absent = absent.weighing(0.0)
    if absent.logits.size:
        absent.logits[...] = draw(awkward)
        if getattr(head, "label_vocabulary", None) is None:
            absent.labels[...] = draw(awkward)
    both = absent.followed_by(batch)
    subject.assert_same(subject.statistics(both), subject.statistics(batch), batch, more)
    subject.assert_total_loss(subject.total_loss(both), subject.total_loss(batch), batch)
    if _has_gradient(subject):
        gradient = subject.total_gradient(both)
        assert np.all(gradient[: len(absent)] == 0), f"the gradient of what is absent is {gradient[: len(absent)]}"
        _assert_gradient(subject, gradient[len(absent) :], subject.total_gradient(batch), batch)


@law
def repetition(subject: Subject, draw: Draw) -> None:
    """An example of twice the weight is the example twice, in the loss and in every mean, count and area."""
    if weight_column(subject.head) is None:
        return
    a, b, more = subject.draw(draw, 3)
    twice, heavy = a.followed_by(b).followed_by(b), a.followed_by(b.weighing(2 * b.weights))
    subject.assert_same(subject.statistics(heavy), subject.statistics(twice), twice, more)
    subject.assert_total_loss(subject.total_loss(heavy), subject.total_loss(twice), twice)


@law
def scale(subject: Subject, draw: Draw) -> None:
    """All weights times a constant change no mean, no share and no area, and multiply the sum of the losses."""
    if weight_column(subject.head) is None:
        return
    (batch,) = subject.draw(draw, 1)
    factor = 2.0 ** draw(st.integers(-6, 6))
    scaled = batch.weighing(factor * batch.weights)
    subject.assert_same(subject.statistics(scaled), subject.statistics(batch), batch)
    subject.assert_total_loss(subject.total_loss(scaled), factor * subject.total_loss(batch), scaled)


@law
def accumulation(subject: Subject, draw: Draw) -> None:
    """After 2⁴⁰ examples one more still counts, in every sum of the record."""
    (batch,) = subject.draw(draw, 1, rows=1)
    batch = batch[:1].weighing(1.0)
    with small_summaries():
        one = big = subject.statistics(batch)
        for _ in range(40):
            big = (big + big).compressed()
            if any(map(subject.backend.is_lazy, big.arrays())):  # a graph of 2⁴⁰ paths takes long to walk
                big = big.to(subject.backend.xp)
        more = (big + one).compressed()
        before, step, after = (_sums(subject, record) for record in (big, one, more))
    assert after.keys() == before.keys() == step.keys()
    for key, terms in after.items():
        size = math.fsum(step[key])
        grown = math.fsum([*terms, *(-term for term in before[key])])
        assert abs(grown - size) <= abs(size) / 8, f"{key} grows by {grown} and not by {size}"
        counted = math.fsum(before[key])
        assert abs(counted - size * 2.0**40) <= abs(counted) / 2**20, f"{key} is {counted} and not {size} × 2⁴⁰"


def _sums(subject: Subject, statistics: Statistics) -> dict[str, list[float]]:
    """The sums of a record, each as the terms that it is held in, which float64 holds exactly."""
    found = {}
    for name, part in statistics.states.items():
        if isinstance(part, Sums):
            for key, pair in part.values.items():
                halves = [subject.numpy(array).ravel() for array in pair]
                found.update({f"{name}/{key}[{i}]": [*map(float, p)] for i, p in enumerate(zip(*halves, strict=True))})
        elif isinstance(part, Ranking):
            slots = subject.numpy(part.slots)
            found[f"{name}/positive"] = slots[2::2].ravel().tolist()
            found[f"{name}/negative"] = slots[3::2].ravel().tolist()
    return found


@law
def derivative(subject: Subject, draw: Draw) -> None:
    """The gradient is the derivative of the loss and the hessian the second: by differences, and by autograd.

    The differences are of the head's loss on float64 NumPy, one example at a time.
    """
    head, backend = subject.head, subject.backend
    if not _has_gradient(subject):
        return
    (batch,) = subject.draw(draw, 1)
    labels, logits, features = subject.given(batch)
    by = reference.divisor(head, batch) or math.inf
    first, second, size = _differences(head, batch)
    rounding, tiny = 16 * subject.eps(result=True), np.finfo(subject.dtype).tiny
    derivatives = (
        ("gradient", head.gradient, first / by, backend.gradient),
        ("hessian", head.hessian, second / by, backend.hessian_diagonal),
    )
    for name, function, difference, differentiate in derivatives:
        found = subject.numpy(function(labels, logits, features))
        shown = f"the {name} is {_shown(found)}"
        # 1e-7 is what a step of 2**-7 costs; the rest is the rounding of the result.
        slack = (1e-7 + rounding) * (size / by + abs(difference)) + tiny
        assert np.all(abs(found - difference) <= slack), f"{shown}, and the loss differs by {_shown(difference)}"
        if backend.has_autograd and head.loss_fn is None:
            automatic = subject.numpy(differentiate(lambda x: head.loss(labels, x, features), logits))
            slack = rounding * (size + abs(automatic)) / by + tiny
            assert np.all(abs(found - automatic) <= slack), f"{shown}, autograd's {_shown(automatic)}"


_STEP = 2.0**-7


def _differences(head: FamilyHead, batch: Batch) -> tuple[NumPyArray, NumPyArray, NumPyArray]:
    """First and second differences of fourth order of the undivided loss by every logit, and the loss's size there."""
    first, second, size = (np.zeros(batch.logits.shape) for _ in range(3))
    there = batch.astype(np.float64)
    for index in np.ndindex(batch.logits.shape):
        row = there[index[0] : index[0] + 1]
        weights = np.zeros(row.logits.shape)
        weights[0, *index[1:]] = 1.0
        alone = weights if weight_column(head) is not None else np.ones_like(weights)

        def loss(step: float, row: Batch = row, weights: NumPyArray = weights, alone: NumPyArray = alone) -> float:
            moved = Batch(row.labels, row.logits + step * weights, alone, row.flat)
            return float(head.loss(*moved.arguments(head))) * reference.divisor(head, moved)

        low2, low, here, high, high2 = (loss(k * _STEP) for k in (-2, -1, 0, 1, 2))
        weight = float(reference.weights_of(head, there)[index])
        first[index] = weight * ((8 * (high - low) - (high2 - low2)) / (12 * _STEP))
        second[index] = weight * ((16 * (high + low) - (high2 + low2) - 30 * here) / (12 * _STEP**2))
        size[index] = weight * (1 + abs(here))
    return first, second, size


@law
def bounds(subject: Subject, draw: Draw) -> None:
    """Bounds hold the value, and for an area by rank the exact one, however many scores have been joined."""
    head = subject.head
    parts = subject.draw(draw, 3, rows=draw(st.sampled_from([1, 6])) if subject.backend.dynamic_shapes else 6, inner=())
    everything = parts[0].followed_by(parts[1]).followed_by(parts[2])
    areas = reference.areas_by_rank(head, everything)
    exact = {reference.metric_key(head, m): areas.get(m.key) for m in head.metric_specs if m.bounds is not None}
    slack = 4 * (16 + everything.logits.size) * float(np.finfo(np.float64).eps)  # of the exact area
    whole = subject.statistics(everything)
    with small_summaries():
        merged = functools.reduce(lambda a, b: (a + b).compressed(), map(subject.statistics, parts))
        found = [(subject.results(record), subject.bounds(record)) for record in (whole, merged)]
    ranks = not any(isinstance(m.statistic, ScoreBuckets) for m in head.metric_specs)
    for results, limits in found:
        assert limits.keys() == exact.keys(), f"the bounds are of {sorted(limits)} and should be of {sorted(exact)}"
        for key, (lower, upper) in limits.items():
            value = results[key]
            assert lower <= upper, f"the bounds of {key} are {lower} and {upper}"
            if ranks:
                assert lower <= value <= upper, f"{key} is {value}, outside its bounds {lower} and {upper}"
            area = exact[key]
            if area is not None and not lower - slack <= area <= upper + slack:
                raise AssertionError(f"{key} is {area}, outside its bounds {lower} and {upper}")


@law
def infinity(subject: Subject, draw: Draw) -> None:
    """An infinite logit gives what ever larger logits tend to, and never NaN where there is a limit."""
    (batch,) = subject.draw(draw, 1)
    sign = draw(st.sampled_from([1.0, -1.0]))
    infinite = np.asarray(draw(st.lists(st.booleans(), min_size=batch.logits.size, max_size=batch.logits.size)), bool)
    batch.logits[infinite.reshape(batch.logits.shape)] = sign * math.inf
    _assert_agrees(subject, batch)


@law
def purity(subject: Subject, draw: Draw) -> None:
    """Nothing changes its arguments or remembers them: the same call again gives the same."""
    head = subject.head
    (batch,) = subject.draw(draw, 1)
    labels, logits, features = subject.given(batch)
    given = {"labels": labels, "logits": logits, **(features or {})}
    words = getattr(head, "label_vocabulary", None) is not None
    kept = {key: backends.of(a).to_numpy(a).copy() for key, a in given.items() if not (words and key == "labels")}
    calls: dict[str, Callable[[], Any]] = {
        "loss": lambda: [head.loss(labels, logits, features)],
        "predictions": lambda: _numeric(head.predictions(logits)).values(),
        "results": lambda: head.results(head.statistics(labels, logits, features)).values(),
    }
    if _has_gradient(subject):
        calls["gradient"] = lambda: [head.gradient(labels, logits, features)]
        calls["hessian"] = lambda: [head.hessian(labels, logits, features)]
    for name, call in calls.items():
        once = [subject.numpy(array) for array in call()]
        again = [subject.numpy(array) for array in call()]
        for key, before in kept.items():
            after = backends.of(given[key]).to_numpy(given[key])
            changed = f"{name} changes its {key} from {_shown(before)} to {_shown(after)}"
            assert before.tobytes() == after.tobytes(), changed
        for one, other in zip(once, again, strict=True):
            # On an accelerator two sums of the same numbers may differ by rounding.
            subject.assert_close(f"{name} when called again", other, one, 1 + abs(one), batch.logits.size)


def _numeric(predictions: Mapping[str, Any]) -> dict[str, Array]:
    """The predictions that are arrays of numbers, not words."""
    return {key: p for key, p in predictions.items() if getattr(getattr(p, "dtype", None), "kind", "f") not in "OSUT"}


@law
def result_types(subject: Subject, draw: Draw) -> None:
    """Results are arrays of the logits' library, on their device, of the promised shape and dtype.

    Derivatives and predictions have the logits' dtype; what is lazy stays lazy.
    """
    head, backend, xp = subject.head, subject.backend, subject.backend.xp
    (batch,) = subject.draw(draw, 1)
    labels, logits, features = subject.given(batch)
    loss, statistics = head.loss(labels, logits, features), head.statistics(labels, logits, features)
    found: dict[str, tuple[Array, tuple[int, ...] | None]] = {"loss": (loss, ())}
    if _has_gradient(subject):
        found["gradient"] = head.gradient(labels, logits, features), logits.shape
        found["hessian"] = head.hessian(labels, logits, features), logits.shape
    elementwise = dict(found) | {key: (p, None) for key, p in _numeric(head.predictions(logits)).items()}
    reported: dict[str, tuple[Array, tuple[int, ...]]] = {k: (v, ()) for k, v in head.results(statistics).items()}
    reported |= {f"bounds of {key}": (value, (2,)) for key, value in head.bounds(statistics).items()}
    for name, (array, shape) in (elementwise | reported).items():
        assert backends.of(array) is backend, f"{name} is a {type(array)}"
        assert backend.device(array) == backend.device(logits), f"{name} is on {backend.device(array)}"
        assert backend.is_lazy(array) == backend.is_lazy(logits), f"{name} is a {type(array)}"
        assert shape is None or tuple(array.shape) == tuple(shape), f"{name} has shape {array.shape}, not {shape}"
        if name in reported:
            expected = backend.accumulation_dtype(backend.device(logits))
        elif name == "loss":
            expected = xp.float64 if logits.dtype == xp.float64 else xp.float32
        elif xp.isdtype(array.dtype, "real floating"):
            expected = logits.dtype
        else:
            continue
        assert array.dtype == expected, f"{name} has dtype {array.dtype}, not {expected}"


@law
def refusal(subject: Subject, draw: Draw) -> None:
    """A bad label or weight is refused where it can be seen, and elsewhere makes loss and metrics NaN or an error.

    Bad are NaN, infinities, labels out of the family's range and weights below 0.
    """
    head = subject.head
    (batch,) = subject.draw(draw, 1, rows=draw(st.integers(1, 4)))
    batch = batch.weighing(1.0)
    low, high = label_range(head)
    bad_labels = [math.nan, math.inf, -math.inf, *(x for x in (low - 1, high + 1) if math.isfinite(x))]
    choices = [("label", value) for value in bad_labels if getattr(head, "label_vocabulary", None) is None]
    if weight_column(head) is not None:
        choices += [("weight", value) for value in (math.nan, math.inf, -1.0)]
    if not choices:
        return
    name, value = draw(st.sampled_from(choices))
    place = draw(st.integers(0, batch.logits.size - 1))
    (batch.labels if name == "label" else batch.weights).flat[place] = value
    loss = _unless_refused(name, lambda: subject.loss(batch))
    assert loss is None or math.isnan(loss), f"with a {name} of {value} the loss is {loss}"
    results = _unless_refused(name, lambda: subject.results(subject.statistics(batch)))
    wrong = {} if results is None else {key: float(r) for key, r in results.items() if not np.isnan(r)}
    assert not wrong, f"with a {name} of {value} the metrics are {wrong}"


def _unless_refused(name: str, call: Callable[[], Any]) -> Any:
    """What the call returns, None where it raises a ValueError that names the argument."""
    try:
        return call()
    except ValueError as error:
        said = str(error)
    assert name in said.lower(), f"a bad {name} is refused with the words {said!r}"
    return None


@law
def agreement(subject: Subject, draw: Draw) -> None:
    """Loss, derivatives, predictions and metrics are those of float64 NumPy, worked out by another route."""
    (batch,) = subject.draw(draw, 1)
    _assert_agrees(subject, batch)


def _assert_agrees(subject: Subject, batch: Batch) -> None:
    head = subject.head
    expected = reference.loss(head, batch)
    subject.assert_close("the loss", subject.loss(batch), *expected, batch.logits.size)
    points = reference.pointwise(head, batch)
    weights, by = reference.weights_of(head, batch), reference.divisor(head, batch) or math.inf
    for name, derivative in (("gradient", points.gradient), ("hessian", points.hessian)):
        if derivative is not None:
            value, size = (np.where(weights == 0, 0, weights * part) / by for part in derivative)
            found = subject.numpy(getattr(head, name)(*subject.given(batch)))
            subject.assert_close(f"the {name}", found, value, size, 0, result=True)
    _, logits, _ = subject.given(batch)
    predictions = _numeric(head.predictions(logits))
    for key, (value, size) in reference.predictions(head, batch).items():
        subject.assert_close(key, subject.numpy(predictions[key]), value, size, 0, result=True)
    metrics = subject.results(subject.statistics(batch))
    subject.assert_results(metrics, reference.results(head, batch), batch.logits.size)
