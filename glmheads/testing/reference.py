"""What a head must say of a batch, in float64 NumPy and by another route than the package's.

Losses, derivatives and means of the families of the package are textbook formulas; those of any other family are the
family's own functions on float64 arrays. Metrics are counted example by example and pair by pair. Every number comes
with the size of the terms that it is a sum of, so that size × eps is what rounding may cost.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from glmheads.families import BERNOULLI, GAUSSIAN, POISSON, POISSON_WITHOUT_CONSTANT, Family
from glmheads.heads import FamilyHead
from glmheads.inputs import NumericColumn
from glmheads.metrics import MetricSpec
from glmheads.names import MetricKeys, PredictionKeys, Reduction
from glmheads.statistics import ProbabilityBins, RankingSummary, ScoreBuckets, ThresholdCounts
from glmheads.testing.strategies import Batch, NumPyArray, mean


class Expected(NamedTuple):
    """A value (a number or an array), and the sum of the magnitudes of its terms."""

    value: Any
    size: Any


class Pointwise(NamedTuple):
    """Of every element, the loss, its derivatives by the logit (None if only autograd knows them) and the mean."""

    loss: Expected
    gradient: Expected | None
    hessian: Expected | None
    mean: Expected


# ---------------------------------------------------------------------------------------------------------------------
# Textbook formulas


def _sigmoid(x: NumPyArray) -> NumPyArray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _shared(z: NumPyArray, positive: NumPyArray, negative: NumPyArray) -> NumPyArray:
    """Z · positive + (1 − z) · negative, in which 0 · ∞ is 0."""
    return np.asarray(np.where(z == 0, 0, z * positive) + np.where(z == 1, 0, (1 - z) * negative))


def _bernoulli(z: NumPyArray, x: NumPyArray) -> Pointwise:
    """−z log σ(x) − (1 − z) log σ(−x)"""
    loss = _shared(z, np.logaddexp(0, -x), np.logaddexp(0, x))
    up, down = _sigmoid(x), _sigmoid(-x)
    gradient = Expected(_shared(z, -down, up), _shared(z, down, up))
    return Pointwise(Expected(loss, loss), gradient, Expected(up * down, up * down), Expected(up, up))


def _gaussian(z: NumPyArray, x: NumPyArray) -> Pointwise:
    """(z − x)²"""
    loss, gradient, two = (z - x) ** 2, 2 * (x - z), np.full_like(x, 2)
    return Pointwise(Expected(loss, loss), Expected(gradient, abs(gradient)), Expected(two, two), Expected(x, abs(x)))


def _poisson(z: NumPyArray, x: NumPyArray) -> Pointwise:
    """eˣ − x z"""
    rate = np.exp(x)
    product = np.where((z == 0) | np.isposinf(rate), 0, x * z)
    hessian = Expected(rate, rate)
    return Pointwise(Expected(rate - product, rate + abs(product)), Expected(rate - z, rate + z), hessian, hessian)


def _poisson_with_constant(z: NumPyArray, x: NumPyArray) -> Pointwise:
    """eˣ − x z + z log z − z + ½ log(2πz), the last three where z > 1"""
    found = _poisson(z, x)
    many = np.where(z > 1, z, 1)
    terms = (many * np.log(many), -many, np.log(2 * math.pi * many) / 2)
    constant = Expected(sum(terms), sum(abs(term) for term in terms))
    loss = (a + np.where(z > 1, b, 0) for a, b in zip(found.loss, constant, strict=True))
    return found._replace(loss=Expected(*loss))


_TEXTBOOK: dict[tuple[type[Family], str], Callable[[NumPyArray, NumPyArray], Pointwise]] = {
    (type(family), family.name): formula
    for family, formula in (
        (BERNOULLI, _bernoulli),
        (GAUSSIAN, _gaussian),
        (POISSON, _poisson_with_constant),
        (POISSON_WITHOUT_CONSTANT, _poisson),
    )
}
"""By class and name, which a family keeps whose functions are replaced."""


def metric_key(head: FamilyHead, spec: MetricSpec) -> str:
    """The key under which the head reports a metric."""
    return f"{spec.key}/{head.name}" if head.name else spec.key


def pointwise(head: FamilyHead, batch: Batch) -> Pointwise:
    """The loss, its derivatives and the mean of every element, as arrays shaped like the logits.

    An element of weight 0 is one of label and logit 0.
    """
    absent = weights_of(head, batch) == 0
    z, x = (np.where(absent, 0, array).astype(np.float64) for array in (batch.labels, batch.logits))
    family = head.family

    def sized(value: NumPyArray) -> Expected:
        """A value of which only the arguments are known."""
        return Expected(value, abs(value) + (1 + abs(x)) * (1 + abs(z) + abs(mean(head, x))))

    with np.errstate(all="ignore"):
        if (type(family), family.name) in _TEXTBOOK:
            found = _TEXTBOOK[type(family), family.name](z, x)
        else:
            functions = (family.loss, family.gradient, family.hessian)
            loss, gradient, hessian = (sized(function(z, x)) for function in functions)
            found = Pointwise(loss, gradient, hessian, mean=sized(family.inverse_link(x)))
        if head.loss_fn is not None:
            losses = head.examples(*replace(batch, labels=z, logits=x).arguments(head), evaluated=True).losses
            found = Pointwise(sized(np.asarray(losses)), gradient=None, hessian=None, mean=found.mean)
        if head.inverse_link_fn is not None:
            found = found._replace(mean=sized(mean(head, x)))
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Reduction


def weights_of(head: FamilyHead, batch: Batch) -> NumPyArray:
    """The weights as the head reads them from their column, in float64."""
    weights = batch.weights.astype(np.float64)
    column = head.weight_column
    if isinstance(column, NumericColumn) and column.normalizer_fn is not None:
        weights = np.asarray(column.normalizer_fn(weights))
    return weights


def divisor(head: FamilyHead, batch: Batch) -> float:
    """What the head divides the sum of the weighted losses by; 0 stands for the loss 0."""
    weights = weights_of(head, batch)
    if head.loss_reduction == Reduction.SUM:
        return 1.0
    if head.loss_reduction == Reduction.MEAN:
        return float(weights.sum())
    if head.loss_reduction == Reduction.SUM_OVER_NONZERO_WEIGHTS:
        return float((weights != 0).sum())
    return float(weights.size)


def loss(head: FamilyHead, batch: Batch) -> Expected:
    """The reduced loss."""
    by = divisor(head, batch)
    weights = weights_of(head, batch)
    losses = pointwise(head, batch).loss
    return Expected(*(float((weights * part).sum()) / by if by else 0.0 for part in losses))


# ---------------------------------------------------------------------------------------------------------------------
# Metrics


def results(head: FamilyHead, batch: Batch) -> dict[str, Expected]:
    """Every metric of the batch, by key."""
    present = weights_of(head, batch) != 0
    weights = weights_of(head, batch)[present]
    labels, logits = (array[present].astype(np.float64) for array in (batch.labels, batch.logits))
    points = pointwise(head, batch)
    losses, means = (Expected(*(part[present] for part in each)) for each in (points.loss, points.mean))

    def weighted_mean(values: NumPyArray) -> float:
        return float((weights * values).sum() / weights.sum()) if weights.size else 0.0

    with np.errstate(all="ignore"):
        share = weighted_mean(labels)
        known = {
            MetricKeys.LOSS_MEAN: Expected(*map(weighted_mean, losses)),
            MetricKeys.PREDICTION_MEAN: Expected(*map(weighted_mean, means)),
            MetricKeys.LABEL_MEAN: Expected(weighted_mean(labels), weighted_mean(abs(labels))),
            MetricKeys.ACCURACY_BASELINE: Expected(max(share, 1 - share) if weights.size else 0.0, 1.0),
        }
        found: dict[str, Expected] = {str(key): value for key, value in known.items()}
        found |= _against_label_mean(found, weights.size)
        for statistic in {spec.statistic for spec in head.metric_specs}:
            if isinstance(statistic, ThresholdCounts):
                found |= _shares(labels, logits > 0, weights)
                for threshold in statistic.thresholds:
                    found |= _shares(labels, means.value > threshold, weights, f"/positive_threshold_{threshold:g}")
            elif isinstance(statistic, (RankingSummary, ScoreBuckets)):
                scores = logits if isinstance(statistic, RankingSummary) else _keras_buckets(means.value, statistic)
                found |= {key: Expected(area, 1.0) for key, area in _areas(labels, scores, weights).items()}
            elif isinstance(statistic, ProbabilityBins):
                found |= _calibration(labels, logits, means.value, weights)
        if any(spec.key not in found for spec in head.metric_specs):
            # Of a metric that the kit does not know: what the head says on float64 NumPy.
            own = head.results(head.statistics(*batch.astype(np.float64).arguments(head)))
            unknown = {m.key: float(own[metric_key(head, m)]) for m in head.metric_specs if m.key not in found}
            size = 1 + found[MetricKeys.LOSS_MEAN].size
            found |= {key: Expected(value, size + abs(value)) for key, value in unknown.items()}
    return {metric_key(head, spec): found[spec.key] for spec in head.metric_specs}


def _shares(labels: NumPyArray, positive: NumPyArray, weights: NumPyArray, at: str = "") -> dict[str, Expected]:
    """Whatever a confusion matrix tells, given which examples are taken for positive."""
    tp, fn = (weights * labels)[positive].sum(), (weights * labels)[~positive].sum()
    fp, tn = (weights * (1 - labels))[positive].sum(), (weights * (1 - labels))[~positive].sum()
    recall, specificity = tp / (tp + fn) if tp + fn else 0.0, tn / (tn + fp) if tn + fp else 0.0
    margins = math.prod(math.sqrt(margin) for margin in (tp + fp, tp + fn, tn + fp, tn + fn))
    return {
        MetricKeys.ACCURACY + at: Expected((tp + tn) / (tp + tn + fp + fn) if weights.size else 0.0, 1.0),
        MetricKeys.PRECISION + at: Expected(tp / (tp + fp) if tp + fp else 0.0, 1.0),
        MetricKeys.RECALL + at: Expected(recall, 1.0),
        MetricKeys.F1 + at: Expected(2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0, 1.0),
        MetricKeys.SPECIFICITY + at: Expected(specificity, 1.0),
        MetricKeys.BALANCED_ACCURACY + at: Expected((recall + specificity) / 2, 1.0),
        MetricKeys.MATTHEWS_CORRELATION + at: Expected((tp * tn - fp * fn) / margins if margins else 0.0, 1.0),
    }


def _against_label_mean(found: dict[str, Expected], count: int) -> dict[str, Expected]:
    """What is relative to the label mean: the prediction mean, and the mean loss to that of predicting it always."""
    mean, loss = found[MetricKeys.LABEL_MEAN].value, found[MetricKeys.LOSS_MEAN]
    entropy = -mean * math.log(mean) - (1 - mean) * math.log1p(-mean) if 0 < mean < 1 else 0.0
    undetermined = Expected(math.nan if count else 0.0, 0.0)
    ratio = found[MetricKeys.PREDICTION_MEAN].value / mean if mean > 0 else 0.0
    return {
        MetricKeys.CALIBRATION_RATIO: Expected(ratio, ratio) if mean > 0 else undetermined,
        MetricKeys.NORMALIZED_ENTROPY: Expected(*(part / entropy for part in loss)) if entropy else undetermined,
    }


def _calibration(labels: NumPyArray, logits: NumPyArray, p: NumPyArray, weights: NumPyArray) -> dict[str, Expected]:
    """Brier score, and what is told by the examples of one bin together, by the two grids of `kernels.calibration`."""
    if not weights.size:
        keys = ("BRIER_SCORE", "CALIBRATION_ERROR", "CALIBRATION_INTERCEPT", "CALIBRATION_SLOPE")
        return {MetricKeys[key]: Expected(0.0, 0.0) for key in keys}
    total = weights.sum()
    equal = np.minimum(np.floor(15 * p), 14)
    error = sum(abs((weights * (p - labels))[equal == b].sum()) for b in range(15)) / total
    _, inverse = np.unique([equal, np.floor(np.clip(4 * logits, -64, 63))], axis=1, return_inverse=True)
    line, size = _line(*(np.bincount(inverse.ravel(), weights * a) / total for a in (p, 1 - labels, labels)))
    return {
        MetricKeys.BRIER_SCORE: Expected((weights * (p - labels) ** 2).sum() / total, 2.0),
        MetricKeys.CALIBRATION_ERROR: Expected(error, 2.0),
        MetricKeys.CALIBRATION_INTERCEPT: Expected(line[0], size[0]),
        MetricKeys.CALIBRATION_SLOPE: Expected(line[1], size[1]),
    }


def _line(predicted: NumPyArray, negative: NumPyArray, positive: NumPyArray) -> tuple[NumPyArray, NumPyArray]:
    """Intercept and slope of the logistic regression of groups on the log odds of their mean predictions."""
    weight = negative + positive
    mean = np.minimum(predicted / weight, 1)
    x = np.clip(np.log(mean) - np.log1p(-mean), -16, 16)
    up, down = x[positive > 0], x[negative > 0]
    if not (up.size and down.size) or down.max() <= up.min() or up.max() <= down.min():
        return np.full(2, math.nan), np.zeros(2)
    design = np.stack([np.ones_like(x), x])
    line, step = np.asarray([math.log(positive.sum() / negative.sum()), 0.0]), np.ones(2)

    def loss(line: NumPyArray) -> float:
        return float((positive * np.logaddexp(0, -line @ design) + negative * np.logaddexp(0, line @ design)).sum())

    while abs(step).max() > 1e-12 * (1 + abs(line)).max():
        p, q = _sigmoid(line @ design), _sigmoid(-line @ design)
        hessian = (weight * p * q * design) @ design.T
        step = np.linalg.solve(hessian, design @ (positive * q - negative * p))
        while loss(line + step) > loss(line) and abs(step).max() > 1e-9:
            step = step / 2
        line = line + step
    # What a rounding of the masses, and of the mean predictions, may change.
    x_size = 1 + abs(x) + 1 / np.maximum(1 - mean, 2.0**-21)
    residual = abs(positive * q - negative * p)
    by_x = np.stack([0 * x, residual]) + abs(line[1]) * weight * p * q * abs(design)
    size = abs(np.linalg.inv(hessian)) @ ((positive * q + negative * p) * abs(design) + by_x * x_size).sum(axis=1)
    return line, size + abs(line)


def _keras_buckets(probabilities: NumPyArray, statistic: ScoreBuckets) -> NumPyArray:
    """Keras's thresholds tell no more of a probability than its bucket."""
    scaled = probabilities.astype(np.float32) * np.float32(statistic.num_thresholds - 1)
    return np.asarray(np.maximum(np.ceil(scaled) - 1, 0))


def _areas(labels: NumPyArray, scores: NumPyArray, weights: NumPyArray) -> dict[str, float]:
    """Both areas, from the order of the scores: shares of pairs, and Davis and Goadrich's integral score by score."""
    positive, negative = weights * labels, weights * (1 - labels)
    pairs = np.outer(positive, negative)
    ahead = (scores[:, None] > scores) + (scores[:, None] == scores) / 2
    area = tp = fp = 0.0
    for score in np.unique(scores)[::-1]:
        p, n = positive[scores == score].sum(), negative[scores == score].sum()
        if p > 0:
            slope = p / (p + n)
            intercept = tp - slope * (tp + fp)
            area += slope * (p + (intercept * math.log1p((p + n) / (tp + fp)) if tp + fp else 0.0))
        tp, fp = tp + p, fp + n
    return {
        MetricKeys.AUC: float((pairs * ahead).sum() / pairs.sum()) if pairs.sum() else 0.0,
        MetricKeys.AUC_PR: float(area / tp) if tp else 0.0,
    }


def areas_by_rank(head: FamilyHead, batch: Batch) -> dict[str, float]:
    """Both areas by rank of the logits."""
    present = weights_of(head, batch) != 0
    labels, logits = (array[present].astype(np.float64) for array in (batch.labels, batch.logits))
    return _areas(labels, logits, weights_of(head, batch)[present])


# ---------------------------------------------------------------------------------------------------------------------
# Predictions


def predictions(head: FamilyHead, batch: Batch) -> dict[str, Expected]:
    """Every numeric prediction, by key."""
    there = batch.weighing(1.0)
    x = batch.logits.astype(np.float64)
    mean = pointwise(head, there).mean
    known = {
        PredictionKeys.LOGITS: Expected(x, 0 * abs(x)),
        PredictionKeys.PREDICTIONS: mean,
        PredictionKeys.LOGISTIC: mean,
    }
    if PredictionKeys.PROBABILITIES in (own := head.predictions(x)):
        opposite = pointwise(head, Batch(there.labels, -there.logits, there.weights)).mean
        both = (np.concatenate([a, b], axis=-1) for a, b in zip(opposite, mean, strict=True))
        known[PredictionKeys.PROBABILITIES] = Expected(*both)
        known[PredictionKeys.CLASS_IDS] = Expected(x > 0, 0.0 * x)
    found: dict[str, Expected] = {str(key): value for key, value in known.items() if key in own}
    for key in own.keys() - found.keys():
        value = np.asarray(own[key])
        if value.dtype.kind in "biuf":
            found[key] = Expected(value, abs(value) + 1.0)
    return found
