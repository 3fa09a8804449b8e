"""The names that people write in their code, each a string: reductions, prediction keys, metric keys.

They are string enumerations, so a member equals its value: ``MetricKeys.AUC == "auc"``.
"""

from enum import StrEnum


class Reduction(StrEnum):
    """How the weighted losses ``w * l`` of ``n`` loss elements become one number.

    The values are those of tf.keras and tf.contrib; a head takes a member or its value.
    """

    SUM = "sum"
    """Σ w l"""
    SUM_OVER_BATCH_SIZE = "sum_over_batch_size"
    """Σ w l / n, 0 when n = 0"""
    AUTO = "auto"
    """The same as ``SUM_OVER_BATCH_SIZE``"""
    NONE = "none"
    """No reduction; heads refuse it"""
    MEAN = "weighted_mean"
    """Σ w l / Σ w, 0 when Σ w = 0"""
    SUM_OVER_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    """Σ w l / number of w ≠ 0, 0 when there is none"""

    @classmethod
    def _missing_(cls, value: object) -> "Reduction | None":
        """What tf.contrib called the first two."""
        return {"weighted_sum": cls.SUM, "weighted_sum_over_batch_size": cls.SUM_OVER_BATCH_SIZE}.get(str(value))


class PredictionKeys(StrEnum):
    """Keys of what ``Head.predictions`` returns."""

    ALL_CLASS_IDS = "all_class_ids"
    ALL_CLASSES = "all_classes"
    CLASSES = "classes"
    CLASS_IDS = "class_ids"
    LOGISTIC = "logistic"
    LOGITS = "logits"
    PREDICTIONS = "predictions"
    PROBABILITIES = "probabilities"


class MetricKeys(StrEnum):
    """Keys of metrics; ``X_AT_THRESHOLD % t`` is the key at a threshold.

    Those from ``BALANCED_ACCURACY`` on are reported only where a head is asked for them, by `extra_metrics`.
    """

    ACCURACY = "accuracy"
    ACCURACY_BASELINE = "accuracy_baseline"
    AUC = "auc"
    AUC_PR = "auc_precision_recall"
    LABEL_MEAN = "label/mean"
    LOSS_MEAN = "average_loss"
    LOSS_REGULARIZATION = "regularization_loss"
    PRECISION = "precision"
    PREDICTION_MEAN = "prediction/mean"
    RECALL = "recall"

    ACCURACY_AT_THRESHOLD = "accuracy/positive_threshold_%g"
    PRECISION_AT_THRESHOLD = "precision/positive_threshold_%g"
    RECALL_AT_THRESHOLD = "recall/positive_threshold_%g"

    BALANCED_ACCURACY = "balanced_accuracy"
    BRIER_SCORE = "brier_score"
    CALIBRATION_ERROR = "expected_calibration_error"
    CALIBRATION_INTERCEPT = "calibration_intercept"
    CALIBRATION_RATIO = "calibration_ratio"
    CALIBRATION_SLOPE = "calibration_slope"
    F1 = "f1"
    MATTHEWS_CORRELATION = "matthews_correlation"
    NORMALIZED_ENTROPY = "normalized_entropy"
    SPECIFICITY = "specificity"

    BALANCED_ACCURACY_AT_THRESHOLD = "balanced_accuracy/positive_threshold_%g"
    F1_AT_THRESHOLD = "f1/positive_threshold_%g"
    MATTHEWS_CORRELATION_AT_THRESHOLD = "matthews_correlation/positive_threshold_%g"
    SPECIFICITY_AT_THRESHOLD = "specificity/positive_threshold_%g"
