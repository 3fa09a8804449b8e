"""Logits, labels and weights as arrays whose shapes fit, in the logits' library and on their device.

Shapes and dtypes are checked here; values are checked by `Examples.validated`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from glmheads import backends
from glmheads.backends import Array
from glmheads.inputs.arrays import SHOWN, as_array, as_numpy, native, to_library
from glmheads.inputs.tables import feature


@dataclass(frozen=True)
class NumericColumn:
    """A column of weights that is normalized when it is read; `numeric_column` is another name of it.

    Parameters
    ----------
    key : str
        The column's name in the features.
    normalizer_fn : callable, optional
        Takes the column as it is found in the features (an array as it is, any other column as a NumPy array) and
        returns the weights.

    Raises
    ------
    TypeError
        If `key` is not a string or `normalizer_fn` not callable.

    Examples
    --------
    >>> import glmheads as gh
    >>> weight = gh.numeric_column("count", normalizer_fn=lambda column: column / 10)
    >>> head = gh.BinaryClassHead(weight_column=weight)
    >>> weight.key
    'count'
    """

    key: str
    normalizer_fn: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise TypeError(f"key must be a string, the name of a column. Given type: {type(self.key)}")
        if self.normalizer_fn is not None and not callable(self.normalizer_fn):
            raise TypeError(f"normalizer_fn must be callable. Given: {self.normalizer_fn!r}")


numeric_column = NumericColumn
"""A `NumericColumn` by the name that TensorFlow has for it."""


def as_logits(logits: Any, dimension: int) -> Array:
    """Logits as an array of shape (D0, ..., DN, dimension); what is no array becomes a NumPy one.

    Raises
    ------
    ValueError
        If the shape is another.
    TypeError
        If they are not real numbers.
    """
    logits = native(as_array("logits", logits))
    shape = tuple(logits.shape)
    if len(shape) < 2:
        raise ValueError(
            f"logits must have rank at least 2.  Received rank {len(shape)}, shape {shape}. Give (..., {dimension})."
        )
    if shape[-1] != dimension:
        raise ValueError(
            f"logits shape must be [D0, D1, ... DN, logits_dimension], got {shape}. logits_dimension is {dimension}."
        )
    return logits


def as_labels(
    labels: Any,
    logits: Array,
    vocabulary: tuple[str, ...] | None = None,
    weights: Array | None = None,
    *,
    elementwise: bool = True,
) -> Array:
    """Labels as an array shaped like the logits; they may come without the last axis when it has length 1.

    If they are not `elementwise`, one label for each row of logits is taken too, as an array of shape (..., 1).

    Words of the vocabulary become their positions in it; an unknown one of weight 0 becomes NaN.

    Raises
    ------
    ValueError
        If there are none, the shape is another, or a word is unknown.
    TypeError
        If they are not real numbers, or are words without a vocabulary.
    """
    if labels is None:
        raise ValueError(
            "You must provide a labels Tensor. Given: None. Check that your input function returns the labels."
        )
    if vocabulary is not None:
        labels = _look_up(labels, vocabulary, weights)
    labels = to_library("labels", labels, logits)
    shape = tuple(logits.shape)
    if len(labels.shape) == len(shape) - 1:
        labels = backends.of(labels).xp.reshape(labels, (*labels.shape, 1))
    found = tuple(labels.shape)
    if found == shape or (not elementwise and found == (*shape[:-1], 1)):
        return labels
    if len(found) < 2:
        raise ValueError(
            f"labels must have rank at least 2.  Received rank {len(found)}, shape {found}. The logits have {shape}."
        )
    if found[-1] != shape[-1]:
        raise ValueError(
            f"Mismatched label shape. Expected labels dimension={shape[-1]}.  Received {found[-1]}. "
            f"Labels of shape {found} don't fit logits of shape {shape}: if they are one-hot, give the class instead."
        )
    raise ValueError(
        f"labels shape must be [D0, D1, ... DN, {shape[-1]}]. "
        f"Give each logit its label, expected_labels_shape: {shape}. labels_shape: {found}."
    )


def as_weights(
    features: Any, weight_column: str | NumericColumn | None, logits: Array, *, elementwise: bool = True
) -> Array | None:
    """Weights from the features as an array that broadcasts to the logits, None without a weight column.

    If they are not `elementwise`, there is one for each row of logits.

    Raises
    ------
    ValueError
        If the column is missing or its shape is another.
    TypeError
        If it does not hold real numbers.
    """
    if weight_column is None:
        return None
    normalize = None if isinstance(weight_column, str) else weight_column.normalizer_fn
    key = weight_column if isinstance(weight_column, str) else weight_column.key
    name = f"weights (feature {key})"
    weights = feature(features, key)
    if normalize is not None:
        weights = normalize(weights if backends.is_array(weights) else as_numpy(name, weights))
    weights = to_library(name, weights, logits)
    shape = tuple(logits.shape)
    if tuple(weights.shape) == shape[:-1]:
        weights = backends.of(weights).xp.reshape(weights, (*weights.shape, 1))
    found = tuple(weights.shape)
    if found != (*shape[:-1], 1) and not (elementwise and found == shape):
        allowed = "[D0, D1, ... DN] or [D0, D1, ... DN, 1]"
        if elementwise and shape[-1] > 1:
            allowed = "[D0, D1, ... DN], [D0, D1, ... DN, 1] or [D0, D1, ... DN, logits_dimension]"
        raise ValueError(f"weights shape must be {allowed}, logits_shape: {shape}. weights_shape: {found}.")
    return weights


def _look_up(labels: Any, vocabulary: tuple[str, ...], weights: Array | None) -> np.ndarray[Any, Any]:
    """Positions of words in the vocabulary."""
    if backends.is_array(labels):
        if backends.of(labels).is_traced(labels):
            raise ValueError(
                "labels, words of label_vocabulary, can't be looked up under a trace: give numbers to a head without"
            )
        labels = backends.of(labels).to_numpy(labels)
    labels = np.asarray(labels)
    words = labels.ravel()
    if words.dtype.kind != "U":
        words = np.asarray([w.decode() if isinstance(w, bytes) else str(w) for w in words.tolist()], dtype=str)
    ids = np.full(words.shape, np.nan)
    for position, word in enumerate(vocabulary):
        ids[words == word] = position
    unknown = np.isnan(ids)
    if weights is not None and np.any(unknown) and not backends.of(weights).is_lazy(weights):
        present = backends.of(weights).to_numpy(weights).ravel() != 0
        unknown = unknown & present if present.shape == unknown.shape else unknown
    if np.any(unknown):
        raise ValueError(
            f"Labels must be >= 0, a word of label_vocabulary {list(vocabulary)}: {int(unknown.sum())} of "
            f"{unknown.size} are not, the first at {int(np.argmax(unknown))}; "
            f"unknown are {np.unique(words[unknown]).tolist()[:SHOWN]}"
        )
    return ids.reshape(labels.shape)
