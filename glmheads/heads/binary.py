"""The head of a binary classifier."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glmheads import backends, metrics
from glmheads.backends import Array
from glmheads.families import BERNOULLI
from glmheads.heads.estimator_spec import ClassificationOutput, ExportOutput, PredictOutput, RegressionOutput
from glmheads.heads.family_head import FamilyHead, is_count
from glmheads.heads.head import Prediction
from glmheads.inputs import NumericColumn, as_labels
from glmheads.kernels.curves import named_curves
from glmheads.kernels.elementwise import in_dtype
from glmheads.names import PredictionKeys, Reduction
from glmheads.statistics import RankingSummary, ScoreBuckets, Statistics


class BinaryClassHead(FamilyHead):
    """Classification into two classes by sigmoid cross entropy.

    Labels are 0 and 1, or the words of `label_vocabulary`; a label between 0 and 1 counts as that much of a positive
    and the rest of a negative in every metric.

    Parameters
    ----------
    weight_column : str or NumericColumn, optional
        The weights' column in the features.
    thresholds : sequence of float, optional
        Probabilities in (0, 1) at which accuracy, precision and recall are reported too.
    label_vocabulary : list or tuple of two strings, optional
        The negative class and the positive one.
    loss_reduction : Reduction or str
    loss_fn : callable of (labels, logits[, features][, loss_reduction]), optional
        An unreduced loss in place of the sigmoid cross entropy.
    name : str, optional
        Appended to every metric's key.
    num_thresholds : int, optional
        If given, the areas are Keras's, by so many equally spaced thresholds of the probability (tf.estimator used
        200). If not, they rank the logits, so that scores near 0 or 1 don't tie, and have bounds that hold.
    extra_metrics : sequence of str or "all", optional
        Metrics that are reported too: ``"brier_score"``, ``"expected_calibration_error"``,
        ``"calibration_ratio"``, ``"calibration_intercept"``, ``"calibration_slope"``, ``"normalized_entropy"`` (not
        with a `loss_fn`), and ``"f1"``, ``"specificity"``, ``"balanced_accuracy"``, ``"matthews_correlation"``, these
        four also at each of the `thresholds`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of its kind.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> head = gh.BinaryClassHead(label_vocabulary=["stay", "leave"])
    >>> logits = np.asarray([[1.5], [-0.5]])
    >>> head.predictions(logits)["classes"].tolist()
    [['leave'], ['stay']]
    >>> round(float(head.loss(["leave", "leave"], logits)), 6)
    0.587745
    >>> gh.binary_classification_head(thresholds=[0.25], name="clicks")
    BinaryClassHead(thresholds=[0.25], name='clicks')
    """

    label_messages = ("Labels must be <= 2 - 1", "Labels must be >= 0")

    def __init__(
        self,
        weight_column: str | NumericColumn | None = None,
        thresholds: Sequence[float] | None = None,
        label_vocabulary: Sequence[str] | None = None,
        loss_reduction: Reduction | str = Reduction.SUM_OVER_BATCH_SIZE,
        loss_fn: Callable[..., Array] | None = None,
        name: str | None = None,
        num_thresholds: int | None = None,
        extra_metrics: Sequence[str] | str | None = None,
    ) -> None:
        at = () if thresholds is None else _checked_thresholds(thresholds)
        if num_thresholds is not None and not is_count(num_thresholds, least=2):
            raise ValueError(f"num_thresholds must be an integer >= 2, or None. Given: {num_thresholds!r}")
        self.thresholds = None if thresholds is None else at
        self.label_vocabulary = None if label_vocabulary is None else _checked_vocabulary(label_vocabulary)
        self.num_thresholds = None if num_thresholds is None else int(num_thresholds)
        self._ranking: Any = RankingSummary() if self.num_thresholds is None else ScoreBuckets(self.num_thresholds)
        available = {**metrics.calibration_metrics(log_loss=loss_fn is None), **metrics.confusion_metrics(at)}
        chosen = metrics.choose(extra_metrics, available)
        self.extra_metrics = metrics.chosen_names(extra_metrics)
        basic = (*metrics.mean_metrics(), *metrics.threshold_metrics(at), *metrics.area_metrics(self._ranking))
        common: dict[str, Any] = {"weight_column": weight_column, "loss_reduction": loss_reduction, "name": name}
        super().__init__(family=BERNOULLI, metrics=(*basic, *chosen), loss_fn=loss_fn, **common)

    def _describe(self, statistics: list[str]) -> dict[str, Any]:
        return {**super()._describe(statistics), "label_vocabulary": self.label_vocabulary}

    def _read_labels(self, labels: Any, logits: Array, weights: Array | None) -> Array:
        return as_labels(labels, logits, self.label_vocabulary, weights)

    def _predictions(self, logits: Array, dtype: Any) -> dict[str, Prediction]:
        backend = backends.of(logits)
        xp = backend.xp
        integer = xp.__array_namespace_info__().default_dtypes()["integral"]
        device = None if backend.is_lazy(logits) else backend.device(logits)
        logistic = self._mean(logits)
        probabilities = xp.concat([self._mean(-logits), logistic], axis=-1)  # softmax([0, x]) is [σ(−x), σ(x)]
        class_ids = xp.astype(logits > 0, integer)
        all_class_ids = xp.reshape(xp.arange(2, dtype=xp.int32, device=device), (1, 2))
        rows = logits.shape[0]
        words = self.label_vocabulary or ("0", "1")
        return {
            PredictionKeys.LOGITS: in_dtype(logits, dtype),
            PredictionKeys.LOGISTIC: in_dtype(logistic, dtype),
            PredictionKeys.PROBABILITIES: in_dtype(probabilities, dtype),
            PredictionKeys.CLASS_IDS: class_ids,
            PredictionKeys.CLASSES: lambda: np.asarray(words)[backend.to_numpy(class_ids)],
            PredictionKeys.ALL_CLASS_IDS: xp.broadcast_to(all_class_ids, (rows, 2)),
            PredictionKeys.ALL_CLASSES: lambda: np.tile(words, (rows, 1)),
        }

    def _export_outputs(self, predictions: Mapping[str, Any]) -> dict[str, ExportOutput]:
        classes = predictions.get(PredictionKeys.ALL_CLASSES)
        classification = ClassificationOutput(predictions[PredictionKeys.PROBABILITIES], classes)
        return {
            "serving_default": classification,
            "classification": classification,
            "regression": RegressionOutput(value=predictions[PredictionKeys.LOGISTIC]),
            "predict": PredictOutput(predictions),
        }

    def curves(self, statistics: Statistics) -> dict[str, dict[str, Array]]:
        """Points of the ROC and of the precision–recall curve of the data, and its calibration if the head measures it.

        Returns
        -------
        dict
            ``"roc"`` holds ``false_positive_rate`` and ``true_positive_rate``; ``"precision_recall"`` holds
            ``precision`` and ``recall``; each also holds ``thresholds``, in descending order: an example is positive
            whose logit (with `num_thresholds`, probability) is at least that, the first being ∞. All are arrays of one
            shape (m + 1,), empty before any data. Between two points true and false positives are each between those of
            the two: so the ROC curve stays in the rectangle that they span, and the precision may leave it.
            ``"calibration"``, with `extra_metrics` that read bins of the probability, is as in `Head.curves`.

        Raises
        ------
        ValueError
            If the record is another head's.
        """
        others = super().curves(statistics)
        state = statistics.states.get(self._ranking.name)
        points = np.zeros((4, 0)) if state is None else self._ranking.points(state)
        return {**named_curves(points), **others}


def _checked_thresholds(given: Sequence[float]) -> tuple[float, ...]:
    try:
        thresholds = tuple(dict.fromkeys(float(threshold) for threshold in given))
    except (TypeError, ValueError):
        raise TypeError(f"thresholds must be a sequence of numbers in (0, 1). Given: {given!r}") from None
    if any(not 0 < threshold < 1 for threshold in thresholds):
        raise ValueError(f"thresholds not in (0, 1): ({tuple(thresholds)},). Each is a probability between 0 and 1.")
    if len({f"{threshold:g}" for threshold in thresholds}) < len(thresholds):
        raise ValueError(f"thresholds must differ in their first six digits, by which metrics are named: {thresholds}")
    return thresholds


def _checked_vocabulary(given: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(given, (list, tuple)):
        raise ValueError(f"label_vocabulary should be a list or a tuple. Given type: {type(given)}")
    words = tuple(word.decode() if isinstance(word, bytes) else str(word) for word in given)
    if len(set(words)) != 2 or len(words) != 2:
        raise ValueError(f"label_vocabulary must hold two different words, the negative class first. Given: {given}")
    return words


binary_classification_head = BinaryClassHead
"""A `BinaryClassHead` by the name that tf.contrib had for it."""
