"""Regression heads: a real number, a probability or a count for each logit."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glmheads.backends import Array
from glmheads.families import BERNOULLI, GAUSSIAN, POISSON, POISSON_WITHOUT_CONSTANT
from glmheads.heads.estimator_spec import ExportOutput, PredictOutput, RegressionOutput
from glmheads.heads.family_head import FamilyHead, is_count
from glmheads.heads.head import Prediction
from glmheads.inputs import NumericColumn
from glmheads.metrics import calibration_metrics, choose, chosen_names, mean_metrics
from glmheads.names import PredictionKeys, Reduction


class _RegressionHead(FamilyHead):
    """A head that predicts a mean for each logit."""

    def __init__(self, label_dimension: int = 1, **arguments: Any) -> None:
        if not is_count(label_dimension):
            raise ValueError(
                f"Invalid label_dimension {label_dimension}. It is the number of labels of an example, >= 1."
            )
        super().__init__(logits_dimension=label_dimension, **arguments)

    @property
    def label_dimension(self) -> int:
        """The number of labels, and of logits, of an example."""
        return self.logits_dimension

    def _export_outputs(self, predictions: Mapping[str, Any]) -> dict[str, ExportOutput]:
        regression = RegressionOutput(value=predictions[PredictionKeys.PREDICTIONS])
        return {"serving_default": regression, "regression": regression, "predict": PredictOutput(predictions)}


class RegressionHead(_RegressionHead):
    """Regression to `label_dimension` real numbers by squared error.

    Parameters
    ----------
    label_dimension : int
        Number of labels, and of logits, of an example.
    weight_column : str or NumericColumn, optional
        The weights' column in the features.
    loss_reduction : Reduction or str
    loss_fn : callable of (labels, logits[, features][, loss_reduction]), optional
        An unreduced loss in place of the squared error.
    inverse_link_fn : callable of (logits), optional
        From logits to predictions; the identity if not given.
    name : str, optional
        Appended to every metric's key.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of its kind.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> head = gh.RegressionHead()
    >>> float(head.loss(labels=np.asarray([1.0, 2.0]), logits=np.asarray([[1.5], [1.0]])))
    0.625
    """

    def __init__(
        self,
        label_dimension: int = 1,
        weight_column: str | NumericColumn | None = None,
        loss_reduction: Reduction | str = Reduction.SUM_OVER_BATCH_SIZE,
        loss_fn: Callable[..., Array] | None = None,
        inverse_link_fn: Callable[[Array], Array] | None = None,
        name: str | None = None,
    ) -> None:
        common: dict[str, Any] = {"weight_column": weight_column, "loss_reduction": loss_reduction, "name": name}
        super().__init__(label_dimension, family=GAUSSIAN, loss_fn=loss_fn, inverse_link_fn=inverse_link_fn, **common)

    def _predictions(self, logits: Array, dtype: Any) -> dict[str, Prediction]:
        found = super()._predictions(logits, dtype)
        if self.inverse_link_fn is None:
            del found[PredictionKeys.LOGITS]
        return found


class LogisticRegressionHead(_RegressionHead):
    """Regression to a probability by sigmoid cross entropy; labels are in [0, 1].

    Parameters
    ----------
    weight_column : str or NumericColumn, optional
        The weights' column in the features.
    loss_reduction : Reduction or str
    name : str, optional
        Appended to every metric's key.
    extra_metrics : sequence of str or "all", optional
        Metrics that are reported too: ``"brier_score"``, ``"expected_calibration_error"``,
        ``"calibration_ratio"``, ``"calibration_intercept"``, ``"calibration_slope"``, ``"normalized_entropy"``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of its kind.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> head = gh.LogisticRegressionHead(weight_column="w")
    >>> labels, logits = np.asarray([0.25, 1.0]), np.asarray([[0.0], [3.0]])
    >>> round(float(head.loss(labels, logits, {"w": np.asarray([2.0, 1.0])})), 6)
    0.717441
    >>> gh.logistic_regression_head(loss_reduction="weighted_sum")
    LogisticRegressionHead(loss_reduction='sum')
    """

    label_messages = ("Labels must be in range [0, 1]", "Labels must be in range [0, 1]")

    def __init__(
        self,
        weight_column: str | NumericColumn | None = None,
        loss_reduction: Reduction | str = Reduction.SUM_OVER_BATCH_SIZE,
        name: str | None = None,
        extra_metrics: Sequence[str] | str | None = None,
    ) -> None:
        metrics = (*mean_metrics(), *choose(extra_metrics, calibration_metrics()))
        self.extra_metrics = chosen_names(extra_metrics)
        common: dict[str, Any] = {"weight_column": weight_column, "loss_reduction": loss_reduction, "name": name}
        super().__init__(family=BERNOULLI, metrics=metrics, **common)


class PoissonRegressionHead(_RegressionHead):
    """Regression to `label_dimension` counts by the log-Poisson loss; labels are nonnegative.

    Parameters
    ----------
    label_dimension : int
        Number of labels, and of logits, of an example.
    weight_column : str or NumericColumn, optional
        The weights' column in the features.
    loss_reduction : Reduction or str
    compute_full_loss : bool
        Whether to add Stirling's approximation of log z!, which does not depend on the logits.
    name : str, optional
        Appended to every metric's key.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of its kind.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> head = gh.PoissonRegressionHead(compute_full_loss=False)
    >>> float(head.loss(labels=np.asarray([3.0]), logits=np.asarray([[0.0]])))
    1.0
    """

    def __init__(
        self,
        label_dimension: int = 1,
        weight_column: str | NumericColumn | None = None,
        loss_reduction: Reduction | str = Reduction.SUM_OVER_BATCH_SIZE,
        compute_full_loss: bool = True,
        name: str | None = None,
    ) -> None:
        self.compute_full_loss = bool(compute_full_loss)
        family = POISSON if compute_full_loss else POISSON_WITHOUT_CONSTANT
        common: dict[str, Any] = {"weight_column": weight_column, "loss_reduction": loss_reduction, "name": name}
        super().__init__(label_dimension, family=family, **common)


logistic_regression_head = LogisticRegressionHead
"""A `LogisticRegressionHead` by the name that tf.contrib had for it."""
