"""`Head`, the contract: loss, predictions and metrics of one kind of model output.

A head is mostly a table: a `Family` (loss and inverse link), the `Measure`s that it reports, and its predictions. All
that an evaluation does is here, once, on top of `Head.statistics`; the subclasses hold the tables.
"""

import inspect
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Self

from glmheads import backends
from glmheads import features as inputs
from glmheads import metrics as metrics_
from glmheads.backends import Array
from glmheads.display import html_table
from glmheads.estimator_spec import EstimatorSpec, ExportOutput, ModeKeys, PredictOutput, training_op
from glmheads.families import Family
from glmheads.heads.configuration import Configured, qualified_name
from glmheads.kernels.elementwise import compute_dtype, in_dtype, is_integral, to_compute_dtype
from glmheads.kernels.reductions import Pair, add, divisor, reduce, total, value, weigh
from glmheads.metrics import REGULARIZATION, Measure, Metric, Seen, Waiting
from glmheads.names import PredictionKeys, Reduction
from glmheads.statistics import Batch, Partition, ProbabilityBins, Recipe, RegularizationSums, Statistics, Validity

__all__ = ["Head", "Prediction", "Predictions"]

Prediction = Array | Callable[[], Any]


class Predictions(Mapping[str, Any]):
    """Predictions by key; those that no array library but NumPy can hold (strings) are made when they are read."""

    def __init__(self, values: Mapping[str, Prediction]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        found = self._values[key]
        return found() if callable(found) else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Predictions({list(self._values)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Predictions, (dict(self),)


class Head(Configured):
    """The top of a model: given logits it knows the loss, the predictions and the metrics.

    Use a subclass; this class is what they share, and the base of a head of your own, which gives the arguments below
    and overrides `_mean`, `_predictions` or `_export_outputs` where it differs.

    Parameters
    ----------
    family : Family
        Loss and inverse link.
    measures : sequence of Measure
        The metrics, in the order in which they are reported.
    logits_dimension : int
        Length of the last axis of the logits.
    weight_column : str or NumericColumn, optional
        The weights' column in the features; without one every weight is 1.
    loss_reduction : Reduction or str
    loss_fn : callable of (labels, logits[, features][, loss_reduction]), optional
        An unreduced loss, shaped like the logits, in place of the family's. The loss of an example must depend on that
        example alone.
    inverse_link_fn : callable of (logits), optional
        From logits to predictions, in place of the family's.
    name : str, optional
        Appended to every metric's key, as "/" + name.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of its kind.

    Notes
    -----
    Shapes, in every method: `logits` (D0, ..., DN, logits_dimension); `labels` the same, or without the last axis when
    logits_dimension is 1; weights (D0, ..., DN), (D0, ..., DN, 1), or the logits' shape. What is no array becomes a
    NumPy array. Results are in the library and on the device of the logits.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> from glmheads.families import GAUSSIAN
    >>> from glmheads.metrics import mean_measures
    >>> class LeastSquaresHead(gh.Head):
    ...     def __init__(self, weight_column=None):
    ...         super().__init__(family=GAUSSIAN, measures=mean_measures(), weight_column=weight_column)
    >>> head = LeastSquaresHead()
    >>> float(head.loss(labels=np.asarray([1.0, 2.0]), logits=np.asarray([[1.5], [1.0]])))
    0.625
    """

    _label_messages: tuple[str, str] | None = None
    """What is said of a label that is too high, and of one that is too low or not finite, if not the family's range."""

    def __init__(
        self,
        *,
        family: Family,
        measures: Sequence[Measure],
        logits_dimension: int = 1,
        weight_column: str | inputs.NumericColumn | None = None,
        loss_reduction: Reduction | str = Reduction.SUM_OVER_BATCH_SIZE,
        loss_fn: Callable[..., Array] | None = None,
        inverse_link_fn: Callable[[Array], Array] | None = None,
        name: str | None = None,
    ) -> None:
        if inverse_link_fn is not None and not callable(inverse_link_fn):
            raise TypeError(f"inverse_link_fn must be callable. Given: {inverse_link_fn!r}")
        if weight_column is not None and not isinstance(weight_column, (str, inputs.NumericColumn)):
            raise TypeError(
                f"Weight column must be either a string or NumericColumn. Given type: {type(weight_column)}. "
                "Name the column, or make one with numeric_column."
            )
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string. Given type: {type(name)}")
        self._loss_arguments = () if loss_fn is None else _loss_fn_arguments(loss_fn)
        self._family = family
        self._measures = tuple(measures)
        self._logits_dimension = logits_dimension
        self._weight_column = weight_column
        self._loss_reduction = _reduction(loss_reduction)
        self._loss_fn = loss_fn
        self._inverse_link_fn = inverse_link_fn
        self._name = name
        self._is_compiled = False
        self._compiled_kernels: dict[tuple[str, str], Callable[..., Any]] = {}
        recipes: dict[str, Recipe] = {Validity.name: Validity()}
        recipes.update({measure.recipe.name: measure.recipe for measure in self._measures})
        self._recipes = recipes
        self._has_own_recipes = all(type(recipe).__module__ == Recipe.__module__ for recipe in recipes.values())
        self._partitions = tuple(recipe for recipe in recipes.values() if isinstance(recipe, Partition))
        self._config = json.dumps(self._describe(), sort_keys=True)

    # What it is

    @property
    def name(self) -> str | None:
        """The head's name, or None."""
        return self._name

    @property
    def logits_dimension(self) -> int:
        """Length of the last axis of the logits."""
        return self._logits_dimension

    @property
    def loss_reduction(self) -> Reduction:
        """How the losses of a batch become one."""
        return self._loss_reduction

    def _repr_html_(self) -> str:
        metrics = ", ".join(map(self._key, self._measures))
        return html_table(type(self).__name__, {**self._shown(), "family": self._family.name, "metrics": metrics})

    def _describe(self) -> dict[str, Any]:
        """What the statistics of this head depend on: records add up if this is equal."""
        column = self._weight_column
        return {
            "head": type(self).__name__,
            "family": self._family.name,
            "logits_dimension": self._logits_dimension,
            "parts": [repr(recipe) for recipe in self._recipes.values()],
            "weight_column": column.key if isinstance(column, inputs.NumericColumn) else column,
            "loss_fn": qualified_name(self._loss_fn),
            "inverse_link_fn": qualified_name(self._inverse_link_fn),
        }

    # Loss

    def loss(
        self,
        labels: Any,
        logits: Any,
        features: Any = None,
        mode: ModeKeys | str | None = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> Array:
        """The reduced loss.

        Parameters
        ----------
        labels, logits : array
            See the class for shapes.
        features : mapping of arrays or DataFrame, optional
            Needed for a weight column.
        mode : ModeKeys, optional
            Taken for compatibility; the loss does not depend on it.
        regularization_losses : sequence of scalars, optional
            Their sum is added after the reduction.

        Returns
        -------
        0-d array
            In the logits' dtype, at least float32. Differentiable by the logits in PyTorch and JAX.

        Raises
        ------
        ValueError
            If a shape is wrong, the weight column is missing, or a label or weight at hand is not allowed; elsewhere
            such a value makes the loss NaN. A NaN logit makes it NaN everywhere.
        TypeError
            If an argument does not hold real numbers.
        """
        labels, logits, weights = self._read(labels, logits, features)
        if self._losses_need_whole(logits):
            loss = self._reduced_by_user(labels, logits, weights, features)
        else:
            loss = backends.of(logits).differentiable(
                lambda x: self._reduced(labels, x, weights),
                lambda x: self._reduced_with_gradient(labels, x, weights),
                lambda x: self._derivative(self._gradient_block, labels, x, weights),
                logits,
                labels,
                weights,
            )
        return loss + _sum_of(regularization_losses, loss) if _has(regularization_losses) else loss

    def _reduced(self, labels: Array, logits: Array, weights: Array | None) -> Array:
        summed = self._fold(self._loss_block, labels, logits, weights)
        return _quotient(summed, self._scale(labels, logits, weights), compute_dtype(logits))

    def _reduced_with_gradient(self, labels: Array, logits: Array, weights: Array | None) -> tuple[Array, Array]:
        scale = self._scale(labels, logits, weights)
        if self._compiles(backends.of(logits)):
            summed, gradient = self._run(_call, self._loss_and_gradient_block, (labels, logits, weights, scale))
            gradient = backends.of(logits).xp.reshape(gradient, logits.shape)
        else:
            gradient = backends.of(logits).xp.empty(logits.shape, dtype=compute_dtype(logits))
            summed = self._fold(self._loss_block_filling, labels, logits, weights, scale, gradient)
        return _quotient(summed, scale, compute_dtype(logits)), gradient

    def _loss_block(self, labels: Array, logits: Array, weights: Array | None) -> Pair:
        with backends.of(logits).quiet():
            return self._total(self._family.loss(labels, logits), weights)

    def _total(self, losses: Array, weights: Array | None) -> Pair:
        # Our own losses of what is absent, of label and logit 0, are finite.
        return total(weights * losses if weights is not None and self._family.portable else weigh(losses, weights))

    def _loss_and_gradient_block(
        self, labels: Array, logits: Array, weights: Array | None, scale: Array | None
    ) -> tuple[Pair, Array]:
        with backends.of(logits).quiet():
            losses, gradient = self._family.loss_and_gradient(labels, logits)
            return self._total(losses, weights), _scaled(gradient, weights, scale)

    def _loss_block_filling(
        self, labels: Array, logits: Array, weights: Array | None, scale: Array | None, gradient: Array
    ) -> Pair:
        summed, gradient[...] = self._loss_and_gradient_block(labels, logits, weights, scale)
        return summed

    def _scale(self, labels: Array, logits: Array, weights: Array | None) -> Array | None:
        """What the sum of a batch is divided by, 0-d in the accumulation dtype; 1 in place of 0, where the sum is 0."""
        if self._loss_reduction == Reduction.SUM:
            return None
        if weights is None or self._loss_reduction in (Reduction.SUM_OVER_BATCH_SIZE, Reduction.AUTO):
            return value(divisor(logits, None, self._loss_reduction))
        scale = value(self._fold(self._divisor_block, labels, logits, weights))
        xp = backends.of(scale).xp
        return xp.where(scale == 0, xp.ones_like(scale), scale)

    def _divisor_block(self, labels: Array, logits: Array, weights: Array | None) -> Pair:
        return divisor(logits, weights, self._loss_reduction)

    def _losses_need_whole(self, logits: Array) -> bool:
        """Whether the losses are a function's that must be given whole arrays of the user's own library."""
        return self._loss_fn is not None or (backends.of(logits).borrows and not self._family.portable)

    def _reduced_by_user(self, labels: Array, logits: Array, weights: Array | None, features: Any) -> Array:
        """The reduced loss by functions that a user wrote, which are called once with whole arrays."""
        labels, logits, weights = self._prepare(labels, logits, weights)
        with backends.of(logits).quiet():
            return reduce(self._losses(labels, logits, features), weights, self._loss_reduction)

    def gradient(self, labels: Any, logits: Any, features: Any = None) -> Array:
        """First derivative of the reduced loss by the logits, without regularization.

        Parameters
        ----------
        labels, logits, features
            As in `loss`.

        Returns
        -------
        array
            Shaped like the logits and in their dtype. In closed form; with a `loss_fn`, by the library's autograd.

        Raises
        ------
        TypeError
            If the head has a `loss_fn` and the library no autograd.
        ValueError, TypeError
            As `loss` does.
        """
        labels, logits, weights = self._read(labels, logits, features)
        if self._loss_fn is not None:
            return self._by_autograd("gradient", labels, logits, weights, features)
        return self._derivative(self._gradient_block, labels, logits, weights)

    def hessian(self, labels: Any, logits: Any, features: Any = None) -> Array:
        """Diagonal of the second derivative of the reduced loss by the logits, without regularization.

        Parameters, result and errors are those of `gradient`.
        """
        labels, logits, weights = self._read(labels, logits, features)
        if self._loss_fn is not None:
            return self._by_autograd("hessian_diagonal", labels, logits, weights, features)
        return self._derivative(self._hessian_block, labels, logits, weights)

    def _derivative(self, block: Callable[..., Array], labels: Array, logits: Array, weights: Array | None) -> Array:
        derivative = self._fill(block, labels, logits, weights, self._scale(labels, logits, weights))
        return backends.of(logits).xp.astype(derivative, _result_dtype(logits), copy=False)

    def _gradient_block(self, labels: Array, logits: Array, weights: Array | None, scale: Array | None) -> Array:
        with backends.of(logits).quiet():
            return _scaled(self._family.gradient(labels, logits), weights, scale)

    def _hessian_block(self, labels: Array, logits: Array, weights: Array | None, scale: Array | None) -> Array:
        with backends.of(logits).quiet():
            return _scaled(self._family.hessian(labels, logits), weights, scale)

    def _by_autograd(
        self, derivative: str, labels: Array, logits: Array, weights: Array | None, features: Any
    ) -> Array:
        backend = backends.of(logits)
        dtype = _result_dtype(logits)
        labels, logits, weights = self._prepare(labels, logits, weights)

        def loss(x: Array) -> Array:
            return reduce(self._losses(labels, x, features), weights, self._loss_reduction)

        return backend.xp.astype(getattr(backend, derivative)(loss, logits), dtype, copy=False)

    # From arguments to blocks

    def _read(self, labels: Any, logits: Any, features: Any) -> tuple[Array, Array, Array | None]:
        """Labels, logits and weights as arrays of one library and of shapes that fit; values are not looked at."""
        logits = inputs.as_logits(logits, self._logits_dimension)
        weights = inputs.as_weights(features, self._weight_column, logits)
        return self._labels(labels, logits, weights), logits, weights

    def _prepare(self, labels: Array, logits: Array, weights: Array | None) -> tuple[Array, Array, Array | None]:
        """What was read, checked, in one dtype of at least float32, and 0 in labels and logits where the weight is."""
        x = to_compute_dtype(logits)
        backend = backends.of(x)
        some_absent = False
        if weights is not None:
            weights, some_absent = inputs.check_weights(in_dtype(to_compute_dtype(weights), x.dtype))
        messages = self._label_messages or (self._family.label_rule,) * 2
        labels = inputs.check_labels(to_compute_dtype(labels), weights, *self._family.label_range, messages)
        labels = in_dtype(labels, x.dtype)
        if some_absent:
            absent = weights == 0
            labels, x = backend.zero_where(absent, labels), backend.zero_where(absent, x)
        return labels, x, weights

    def _fold(self, kernel: Callable[..., Any], *arrays: Array | None, add: Callable[[Any, Any], Any] = add) -> Any:
        """Sum of the kernel's records over the batch; the first arrays are labels, logits and weights as read."""
        backend = backends.of(arrays[1])
        return self._run(lambda kernel, arrays: backend.fold(kernel, arrays, add), kernel, arrays)

    def _fill(self, kernel: Callable[..., Array], *arrays: Array | None) -> Array:
        """The kernel's results for the batch, shaped like the logits; the first arrays are those of `_fold`."""
        logits: Array = arrays[1]
        backend = backends.of(logits)
        dtype = compute_dtype(logits)
        filled = self._run(lambda kernel, arrays: backend.fill(kernel, arrays, arrays[1].shape, dtype), kernel, arrays)
        return backend.xp.reshape(filled, logits.shape)

    def _run(self, run: Callable[..., Any], kernel: Callable[..., Any], arrays: tuple[Array | None, ...]) -> Any:
        """``run(kernel, arrays)`` with arrays that are flat and checked: compiled, or in blocks, where that can be."""
        backend = backends.of(arrays[1])
        if self._compiles(backend) and not backend.is_traced(arrays[1]):
            result, is_nan = self._compiled_kernel(backend, kernel)(*arrays)
            if backend.at_hand(is_nan) and bool(is_nan):
                self._prepare(*_flat(*arrays)[:3])  # refuses labels and weights, which became NaN
            return result
        labels, logits, weights, *more = _flat(*arrays)
        if backend.borrows and not self._family.portable:
            return kernel(*self._prepare(labels, logits, weights), *more)
        if not backend.runs_blocks((labels, logits, weights)):
            return run(kernel, (*self._prepare(labels, logits, weights), *more))

        def checked(labels: Array, logits: Array, weights: Array | None, *more: Array) -> Any:
            return kernel(*self._prepare(labels, logits, weights), *more)

        try:
            return run(checked, (labels, logits, weights, *more))
        except ValueError:
            self._prepare(labels, logits, weights)  # says where in the whole batch, not in its block
            raise

    def compiled(self) -> Self:
        """A head like this one whose loss, derivatives and statistics are compiled for PyTorch, JAX and CuPy.

        Every call, checks included, is one function under ``torch.compile`` or ``jax.jit``, with the same results to
        rounding. CuPy arrays are compiled by PyTorch, with which they share their memory, if it is installed and sees
        the device. The first call for a library and a dtype compiles, which takes from half a second to a minute; JAX
        compiles for every shape of a batch, PyTorch for the first two. NumPy and other libraries compute as they do
        without it; functions of your own (`loss_fn`, `inverse_link_fn`) are called as they are.

        Examples
        --------
        >>> import numpy as np, glmheads as gh
        >>> head = gh.BinaryClassHead().compiled()
        >>> round(float(head.loss(np.asarray([1, 0]), np.asarray([[2.0], [0.5]]))), 4)
        0.5505
        """
        head = copy(self)
        head._is_compiled = True
        head._compiled_kernels = {}
        return head

    def _compiles(self, backend: backends.Backend) -> bool:
        return self._is_compiled and backend.compiles and (self._family.portable or not backend.borrows_compiler)

    def __repr__(self) -> str:
        return f"{super().__repr__()}{'.compiled()' if self._is_compiled else ''}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_compiled_kernels": {}}  # compiled functions can't be pickled, and are made again

    def _compiled_kernel(self, backend: backends.Backend, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """The kernel of what was read, compiled, with whether its result is NaN: something may have to be refused."""
        key = backend.name, kernel.__name__
        if key not in self._compiled_kernels:

            def whole(*arrays: Array | None) -> tuple[Any, Array]:
                labels, logits, weights, *more = _flat(*arrays)
                labels, logits, weights = self._prepare(labels, logits, weights)
                result = kernel(labels, logits, weights, *more)
                first = result
                while isinstance(first, (tuple, Statistics)):
                    first = first[0] if isinstance(first, tuple) else first.arrays()[0]
                xp = backends.of(first).xp
                is_nan = xp.any(xp.isnan(first))
                if kernel.__name__ == "_hessian_block":  # which may not depend on the labels
                    is_nan = is_nan | xp.any(xp.isnan(labels))
                return result, is_nan

            self._compiled_kernels[key] = backend.compile(whole)
        return self._compiled_kernels[key]

    def _labels(self, labels: Any, logits: Array, weights: Array | None) -> Array:
        return inputs.as_labels(labels, logits)

    def _losses(self, labels: Array, logits: Array, features: Any) -> Array:
        """The unreduced, unweighted losses, shaped like the logits."""
        if self._loss_fn is None:
            return self._family.loss(labels, logits)
        optional = {"features": features, "loss_reduction": self._loss_reduction}
        given = {key: optional[key] for key in self._loss_arguments}
        losses = self._loss_fn(labels=labels, logits=logits, **given)
        shape = tuple(getattr(losses, "shape", ()))
        if shape != tuple(logits.shape):
            raise ValueError(
                f"loss_fn must return Tensor of shape [D0, D1, ... DN, {self._logits_dimension}]. "
                f"It must not reduce, logits_shape: {tuple(logits.shape)}. loss_shape: {shape}."
            )
        return computed("loss_fn", losses, logits)

    # Predictions

    def predictions(self, logits: Any, keys: Sequence[str] | None = None) -> Mapping[str, Any]:
        """The predictions, by key.

        Parameters
        ----------
        logits : array
        keys : sequence of str, optional
            Which of `PredictionKeys`; all that the head has if there are none.

        Returns
        -------
        mapping of arrays
            Floating arrays have the logits' dtype. Strings are NumPy arrays made when they are read, and are absent
            under a trace.

        Raises
        ------
        ValueError
            If the logits' shape is wrong, or the head has no such key.
        TypeError
            If the logits are not real numbers, or `keys` is a string.
        """
        logits = inputs.as_logits(logits, self._logits_dimension)
        backend = backends.of(logits)
        with backend.quiet():
            found = self._predictions(to_compute_dtype(logits), _result_dtype(logits))
        known = list(PredictionKeys)
        if isinstance(keys, str):
            raise TypeError(f"keys must be a list of prediction keys. Given the string {keys!r}: write [{keys!r}]")
        for key in keys or ():
            if key not in known or key not in found:
                raise ValueError(
                    f"Prediction key must be in PredictionKeys, given: {key}. This head has {list(map(str, found))}."
                )
        chosen = {key: found[key] for key in keys} if keys else found
        if backend.is_traced(logits):
            return {str(key): array for key, array in chosen.items() if not callable(array)}
        return Predictions({str(key): array for key, array in chosen.items()})

    def _predictions(self, logits: Array, dtype: Any) -> dict[str, Prediction]:
        """All predictions by key, as arrays or as functions that make them; floating ones in `dtype`."""
        xp = backends.of(logits).xp
        mean = xp.astype(self._mean(logits), dtype, copy=False)
        return {
            PredictionKeys.PREDICTIONS: mean,
            PredictionKeys.LOGITS: xp.astype(logits, dtype, copy=False),
        }

    def _mean(self, logits: Array) -> Array:
        """The predicted mean, shaped like the logits."""
        if self._inverse_link_fn is None:
            return self._family.inverse_link(logits)
        return computed("inverse_link_fn", self._inverse_link_fn(logits), logits)

    def _means_need_whole(self, logits: Array) -> bool:
        """Whether the means are a function's that must be given whole arrays of the user's own library."""
        is_family_s = self._inverse_link_fn is None and type(self)._mean is Head._mean
        return not is_family_s or (backends.of(logits).borrows and not self._family.portable)

    def _export_outputs(self, predictions: Mapping[str, Any]) -> dict[str, ExportOutput]:
        """What a model that predicts exports, by signature."""
        return {"serving_default": PredictOutput(predictions), "predict": PredictOutput(predictions)}

    # Statistics, the pure core

    def statistics(
        self, labels: Any, logits: Any, features: Any = None, regularization_losses: Sequence[Any] | None = None
    ) -> Statistics:
        """The sufficient statistics of a batch: a pure function, whose results add up.

        Parameters
        ----------
        labels, logits, features, regularization_losses
            As in `loss`.

        Returns
        -------
        Statistics
            In the library and on the device of the logits.

        Raises
        ------
        ValueError, TypeError
            As `loss` does; a value that can't be looked at is counted instead.

        Notes
        -----
        A record of more examples than its summary of the scores has room for (28,672) is compressed when it is made,
        and the bounds of areas widen when such records are added up. `evaluate` and `update_metrics` fold the scores of
        large batches into the summary as they come: their bounds are several times tighter.
        """
        return self._measure(labels, logits, features, regularization_losses).settled()

    def _measure(
        self, labels: Any, logits: Any, features: Any = None, regularization_losses: Sequence[Any] | None = None
    ) -> Statistics:
        """The statistics as they come: add them to others before settling, and the areas' bounds are tighter."""
        return self._measure_read(*self._read(labels, logits, features), features, regularization_losses)

    def _measure_read(
        self, labels: Array, logits: Array, weights: Array | None, features: Any, regularization_losses: Any
    ) -> Statistics:
        backend = backends.of(logits)
        losses = predictions = None
        if self._losses_need_whole(logits):
            labels, logits, weights = self._prepare(labels, logits, weights)
            losses = self._losses(labels, logits, features)
        if self._means_need_whole(logits):
            labels, logits, weights = self._prepare(labels, logits, weights)
            predictions = self._mean(logits)
        statistics = self._measured(labels, logits, weights, losses, predictions)
        if _has(regularization_losses):
            zero = backend.xp.zeros((), dtype=compute_dtype(logits), device=backend.device(logits))
            part = RegularizationSums.of(_sum_of(regularization_losses, zero))
            statistics = statistics.with_part(RegularizationSums.name, part)
        return statistics

    def _measured(
        self,
        labels: Array,
        logits: Array,
        weights: Array | None,
        losses: Array | None = None,
        predictions: Array | None = None,
    ) -> Statistics:
        record: Statistics = self._fold(
            self._measure_block, labels, logits, weights, losses, predictions, add=Statistics.__add__
        )
        return record

    def _measure_or_keep(
        self, labels: Any, logits: Any, features: Any = None, regularization_losses: Sequence[Any] | None = None
    ) -> Statistics | Waiting:
        """What is added to the data seen: a small batch on the host as it is, checked, and of another the statistics.

        Neither keeps a graph of autograd alive.
        """
        if backends.is_array(logits):
            logits = backends.of(logits).detach(logits)  # what autograd would follow can't run in blocks
        labels, logits, weights = self._read(labels, logits, features)
        backend = backends.of(logits)
        size = math.prod(logits.shape)
        may_wait = (
            size <= Waiting.MOST
            and self._family.portable
            and self._has_own_recipes
            and not (self._losses_need_whole(logits) or self._means_need_whole(logits))
            and not _has(regularization_losses)
            and not self._compiles(backend)
        )
        if may_wait:
            lent = backend.lend(_flat(labels, logits, weights))
            if lent is not None:
                self._prepare(*lent)
                copies = tuple(None if array is None else array.copy() for array in lent)
                return Waiting(copies, backend, self._config, self._measured, size)
        return self._measure_read(labels, logits, weights, features, regularization_losses).detach()

    def _measure_block(
        self, labels: Array, logits: Array, weights: Array | None, losses: Array | None, predictions: Array | None
    ) -> Statistics:
        backend = backends.of(logits)
        with backend.quiet():
            if losses is None and predictions is None:
                losses, predictions = self._family.loss_and_mean(labels, logits)
            elif losses is None:
                losses = self._family.loss(labels, logits)
            elif predictions is None:
                predictions = self._mean(logits)
            if weights is not None and weights.shape != logits.shape:
                weights = backend.xp.broadcast_to(weights, logits.shape)
            return self._record(labels, logits, weights, losses, predictions)

    def _record(self, *arrays: Array | None) -> Statistics:
        flat = [a if a is None or a.ndim == 1 else backends.of(a).xp.reshape(a, (-1,)) for a in arrays]
        batch = Batch(self._partitions, *flat)
        return Statistics(self._config, {name: recipe.measure(batch) for name, recipe in self._recipes.items()})

    def empty(self, like: Array | None = None) -> Statistics:
        """The neutral element of ``+``: the statistics of no data.

        Parameters
        ----------
        like : array, optional
            Without it the record holds no arrays and adds to any other. With it, it is a record of zeros in the array's
            library, dtype and device, of the largest shape, which a loop that must not change shapes (``jax.lax.scan``)
            can carry.
        """
        if like is None:
            return Statistics(self._config, {})
        backend = backends.of(like)
        device = None if backend.is_lazy(like) else backend.device(like)
        none = backend.xp.zeros((0,), dtype=compute_dtype(like), device=device)
        weights: Array | None = none if self._weight_column is not None else None
        return self._record(none, none, weights, none, none).padded()

    def results(self, statistics: Statistics) -> dict[str, Array]:
        """Every metric of the data, as 0-d arrays of the accumulation dtype; 0 / 0 is 0.

        Raises
        ------
        ValueError
            If the record is another head's, or holds bad labels or weights that could be counted but not refused; under
            a trace and on lazy arrays those make the results NaN.
        """
        return {self._key(m): metrics_.evaluate(m, statistics) for m in self._measures_of(statistics)}

    def bounds(self, statistics: Statistics) -> dict[str, Array]:
        """Of the areas, by metric key: (lower, upper) that hold the exact value for the data, arrays of shape (2,).

        Raises
        ------
        ValueError
            As `results` does.
        """
        return {
            self._key(m): metrics_.evaluate(m, statistics, bounds=True)
            for m in self._measures_of(statistics)
            if m.bounds is not None
        }

    def curves(self, statistics: Statistics) -> dict[str, dict[str, Array]]:
        """Curves of the data, by name, each a dict of arrays; a head has those that its metrics need.

        Returns
        -------
        dict
            ``"calibration"``, of a head with `extra_metrics` that read bins of the probability, holds for each bin, in
            ascending order, its edges ``lower`` and ``upper``, the ``mean_prediction`` and ``mean_label`` (NaN where
            the bin is empty), the ``weight`` and the ``count`` of the examples in it: arrays of one shape (m,), empty
            before any data. The bins are finer near 0 and 1; neighbours may be joined by their weighted means.

        Raises
        ------
        ValueError
            If the record is another head's.
        """
        self._measures_of(statistics)
        recipe = self._recipes.get(ProbabilityBins.name)
        if not isinstance(recipe, ProbabilityBins):
            return {}
        return {"calibration": recipe.curve(statistics.parts.get(recipe.name))}

    def evaluate(self, batches: Iterable[Any]) -> dict[str, Array]:
        """The results of an iterable of batches.

        Parameters
        ----------
        batches : iterable
            Of tuples (labels, logits[, features[, regularization_losses]]) or of mappings with these keys.

        Raises
        ------
        TypeError
            If a batch is neither.
        ValueError, TypeError
            As `statistics` does.

        Examples
        --------
        >>> import numpy as np, glmheads as gh
        >>> head = gh.RegressionHead()
        >>> batches = [(np.asarray([1.0, 3.0]), np.asarray([[1.0], [1.0]])), (np.asarray([1.0]), np.asarray([[0.0]]))]
        >>> float(head.evaluate(batches)["average_loss"])
        1.6666666666666667
        """
        seen = Seen(self.empty())
        for batch in batches:
            if isinstance(batch, Mapping):
                seen += self._measure_or_keep(**batch)
            elif isinstance(batch, (tuple, list)) and 2 <= len(batch) <= 4:
                seen += self._measure_or_keep(*batch)
            else:
                raise TypeError(
                    "a batch must be a tuple (labels, logits[, features[, regularization_losses]]) or a mapping with "
                    f"these keys. Given type: {type(batch)}"
                )
        return self.results(seen.record)

    def _measures_of(self, statistics: Statistics) -> tuple[Measure, ...]:
        """The measures that can be read from a record of this head."""
        if not isinstance(statistics, Statistics):
            raise TypeError(f"expected Statistics, which Head.statistics makes. Given type: {type(statistics)}")
        if statistics.config != self._config:
            raise ValueError(
                f"the statistics are of a differently configured head: they are of {statistics.config}, "
                f"this head is {self._config}"
            )
        has_regularization = RegularizationSums.name in statistics.parts
        return (*self._measures, REGULARIZATION) if has_regularization else self._measures

    def _key(self, measure: Measure) -> str:
        return f"{measure.key}/{self._name}" if self._name else str(measure.key)

    # Metrics, a thin coat on statistics

    def metrics(self, regularization_losses: Sequence[Any] | None = None) -> dict[str, Metric]:
        """New metrics that have seen no data, by key.

        Parameters
        ----------
        regularization_losses : sequence of scalars, optional
            If there are any, their mean over updates is among the metrics.
        """
        measures = (*self._measures, REGULARIZATION) if _has(regularization_losses) else self._measures
        nothing = Seen(self.empty())
        return {self._key(measure): Metric(measure, nothing) for measure in measures}

    def update_metrics(
        self,
        eval_metrics: dict[str, Metric],
        features: Any,
        logits: Any,
        labels: Any,
        mode: ModeKeys | str | None = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> dict[str, Metric]:
        """Let metrics see a batch.

        Parameters
        ----------
        eval_metrics : dict of Metric
            From `metrics`, or some of them; each is updated in place.
        features, logits, labels, regularization_losses
            As in `loss`.
        mode : ModeKeys, optional
            Taken for compatibility.

        Returns
        -------
        dict of Metric
            `eval_metrics`.

        Raises
        ------
        ValueError, TypeError
            As `statistics` does; no metric is changed then. No graph is kept alive.
        """
        if not isinstance(eval_metrics, Mapping) or not all(isinstance(m, Metric) for m in eval_metrics.values()):
            raise TypeError(f"eval_metrics must be a dict of Metric, as Head.metrics makes. Given: {eval_metrics!r}")
        more = self._measure_or_keep(labels, logits, features, regularization_losses)
        metrics_.update(eval_metrics.values(), lambda seen: seen + more)
        return eval_metrics

    # EstimatorSpec

    def create_estimator_spec(
        self,
        features: Any,
        mode: ModeKeys | str,
        logits: Any,
        labels: Any = None,
        optimizer: Any = None,
        trainable_variables: Sequence[Any] | None = None,
        train_op_fn: Callable[[Array], Any] | None = None,
        update_ops: Sequence[Callable[[], Any]] | None = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> EstimatorSpec:
        """All that a model function returns in a mode.

        Parameters
        ----------
        features, logits, labels, regularization_losses
            As in `loss`; labels are not needed to predict.
        mode : ModeKeys
        optimizer : optional
            A ``torch.optim.Optimizer``, or an object with its methods ``zero_grad`` and ``step``. Nothing changes
            before ``spec.train_op()`` is called, which takes one step, calls the `update_ops` and returns the loss.
        trainable_variables : list or tuple, optional
            The optimizer's own parameters; needed with an optimizer.
        train_op_fn : callable of (loss), optional
            Called at once, on any library; what it returns is ``spec.train_op``. The `update_ops` are called after it.
        update_ops : list or tuple of callables, optional

        Returns
        -------
        EstimatorSpec

        Raises
        ------
        ValueError
            If labels are missing, or what trains is: exactly one of `optimizer` and `train_op_fn` must be given in mode
            TRAIN.
        """
        mode = ModeKeys(mode)
        predictions = self.predictions(logits)
        if mode == ModeKeys.PREDICT:
            return EstimatorSpec(mode, predictions, export_outputs=self._export_outputs(predictions))
        loss = self.loss(labels, logits, features, mode, regularization_losses)
        if mode == ModeKeys.EVAL:
            filled = self.update_metrics(
                self.metrics(regularization_losses), features, logits, labels, mode, regularization_losses
            )
            return EstimatorSpec(mode, predictions, loss=loss, eval_metric_ops=filled)
        train_op = training_op(
            loss,
            optimizer=optimizer,
            trainable_variables=trainable_variables,
            train_op_fn=train_op_fn,
            update_ops=update_ops,
        )
        return EstimatorSpec(mode, predictions, loss=loss, train_op=train_op)


def _flat(labels: Array, logits: Array, weights: Array | None, *more: Array | None) -> list[Array | None]:
    """The arrays with one axis, or with two if the weights of an example are one and its logits several.

    XLA computes arrays of shape (n, 1) tens of times slower than those of shape (n,).
    """
    one_each = weights is None or weights.shape[-1] == logits.shape[-1]
    given = (labels, logits, weights, *more)
    return [
        array
        if array is None or array.ndim == 0
        else backends.of(array).xp.reshape(array, (-1,) if one_each else (-1, array.shape[-1]))
        for array in given
    ]


def _call(kernel: Callable[..., Any], arrays: Sequence[Array | None]) -> Any:
    return kernel(*arrays)


def _quotient(summed: Pair, scale: Array | None, dtype: Any) -> Array:
    result = value(summed) if scale is None else value(summed) / scale
    return in_dtype(result, dtype)


def _scaled(derivative: Array, weights: Array | None, scale: Array | None) -> Array:
    weighted = derivative if weights is None else weights * derivative
    return weighted if scale is None else weighted / backends.of(scale).xp.astype(scale, weighted.dtype, copy=False)


def _result_dtype(logits: Array) -> Any:
    """The dtype of derivatives and predictions: the logits' own, of integers the default real one."""
    return compute_dtype(logits) if is_integral(backends.of(logits).xp, logits.dtype) else logits.dtype


def computed(name: str, result: Any, logits: Array) -> Array:
    """What a user's function made of the logits, as real numbers of their dtype.

    Raises
    ------
    ValueError
        If it is not shaped like the logits.
    TypeError
        If it is not an array of their library or does not hold real numbers.
    """
    backend = backends.of(logits)
    if not backends.is_array(result) or backends.of(result) is not backend:
        raise TypeError(f"{name} must return an array of the logits' library, {backend.name}. Got {type(result)}")
    if tuple(result.shape) != tuple(logits.shape):
        raise ValueError(
            f"{name} must return an array shaped like the logits, {tuple(logits.shape)}. Got {tuple(result.shape)}"
        )
    result = to_compute_dtype(inputs.bring(f"what {name} returns", result, logits))
    return backend.xp.astype(result, logits.dtype, copy=False)


def _reduction(given: Reduction | str) -> Reduction:
    try:
        reduction = Reduction(given)
    except ValueError:
        reduction = Reduction.NONE
    if reduction == Reduction.NONE:
        valid = [str(r) for r in Reduction if r != Reduction.NONE]
        raise ValueError(f"Invalid loss_reduction: {given}. A head takes one of {valid}.")
    return reduction


def _loss_fn_arguments(loss_fn: Callable[..., Array]) -> tuple[str, ...]:
    """The optional arguments that a loss_fn asks for."""
    if not callable(loss_fn):
        raise TypeError(f"loss_fn must be callable. Given: {loss_fn!r}")
    known = ("labels", "logits", "features", "loss_reduction")
    arguments = tuple(
        parameter.name
        for parameter in inspect.signature(loss_fn).parameters.values()
        if (parameter.name in known and parameter.kind is not parameter.POSITIONAL_ONLY)
        or parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        # An option with a default, as functools.partial leaves it, is the function's own business.
        or (parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty)
    )
    for needed in ("labels", "logits"):
        if needed not in arguments:
            raise ValueError(f"loss_fn must contain argument: {needed}. Given arguments: {arguments}")
    unexpected = [argument for argument in arguments if argument not in known]
    if unexpected:
        raise ValueError(
            f"loss_fn has unexpected args: {unexpected}. It may take labels, logits, features and loss_reduction."
        )
    return tuple(argument for argument in arguments if argument in known[2:])


def _has(regularization_losses: Sequence[Any] | None) -> bool:
    return regularization_losses is not None and len(regularization_losses) > 0


def _sum_of(regularization_losses: Any, like: Array) -> Array:
    """Their sum as a 0-d array of the library, dtype and device of `like`."""
    xp = backends.of(like).xp
    result = xp.zeros_like(like)
    for loss in regularization_losses:
        if not backends.is_array(loss):
            result = result + float(loss)
            continue
        if any(length != 1 for length in loss.shape):
            raise ValueError(f"regularization_losses must be scalars. One has shape {tuple(loss.shape)}")
        loss = to_compute_dtype(inputs.bring("regularization_losses", loss, like))
        result = result + xp.astype(xp.reshape(loss, ()), like.dtype, copy=False)
    return result
