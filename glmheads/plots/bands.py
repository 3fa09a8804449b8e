"""A ROC or precision–recall curve to draw: a line, and the band in which the exact curve lies.

The statistics hold points on the curve. Between two of them is a tie, where the curve is known, or an interval of
scores in which positives and negatives may have any order. There the true and the false positives each grow from those
of one point to those of the next, which bounds the curve.
"""

from typing import Any, NamedTuple

import numpy as np

from glmheads.heads import FamilyHead
from glmheads.statistics import Ranking, RankingSummary, Statistics

Floats = np.ndarray[Any, np.dtype[np.float64]]

_STEP = 1 / 100
"""About the width and height of the pieces of which a band is drawn; a piece is as high as its bounds need."""


class Band(NamedTuple):
    """Lower and upper ends at ascending x, linear between them; NaN where the curve is known."""

    x: Floats
    low: Floats
    high: Floats


class Curve(NamedTuple):
    """The points of a line, and the band of the exact curve; None if the line is exact."""

    x: Floats
    y: Floats
    band: Band | None


class _Steps(NamedTuple):
    """Shares of the positives and of the negatives above each known point, and which steps between them are ties."""

    tp: Floats
    fp: Floats
    is_tie: np.ndarray[Any, np.dtype[np.bool_]]
    ratio: float
    """Negative mass over positive mass."""


def roc_curve(head: FamilyHead, statistics: Statistics) -> Curve | str:
    """The ROC curve of the data, or why there is none."""
    steps = _steps(head, statistics)
    if isinstance(steps, str):
        return steps
    tp, fp = steps.tp, steps.fp
    return Curve(fp, tp, _band(fp[:-1], fp[1:], tp[:-1], tp[1:], ~steps.is_tie))


def precision_recall_curve(head: FamilyHead, statistics: Statistics) -> Curve | str:
    """The precision–recall curve of the data, or why there is none."""
    steps = _steps(head, statistics)
    if isinstance(steps, str):
        return steps
    # Long steps are divided: along them the curve is not a line.
    parts = np.maximum(1, np.ceil(np.diff(steps.tp) / _STEP)).astype(int)
    step = np.repeat(np.arange(len(parts)), parts)
    done = (np.arange(len(step)) - np.repeat(np.cumsum(parts) - parts, parts)) / parts[step]
    ends = np.minimum(1.0, done + 1 / parts[step])
    d_tp, d_fp = np.diff(steps.tp)[step], np.diff(steps.fp)[step]
    tp0, tp1 = (steps.tp[:-1][step] + share * d_tp for share in (done, ends))
    fp_low, fp_high = steps.fp[:-1][step], steps.fp[1:][step]

    def precision(tp: Floats, fp: Floats) -> Floats:
        positive = tp + steps.ratio * fp
        return np.divide(tp, positive, out=np.ones_like(tp), where=positive > 0)

    start, end = (precision(tp, fp_low + share * d_fp) for tp, share in ((tp0, done), (tp1, ends)))
    # Before the first positive prediction precision is undefined: the curve starts with that of the first.
    start[:1] = end[:1]
    is_tie = steps.is_tie[step]
    low = np.where(is_tie, np.minimum(start, end), precision(tp0, fp_high))
    high = np.where(is_tie, np.maximum(start, end), precision(tp1, fp_low))
    return Curve(np.append(tp0[:1], tp1), np.append(start[:1], end), _band(tp0, tp1, low, high, ~is_tie))


def _steps(head: FamilyHead, statistics: Statistics) -> _Steps | str:
    statistics = statistics.to("numpy")
    curves = head.curves(statistics)
    if "roc" not in curves:
        raise ValueError(f"{type(head).__name__} has no ROC and no precision–recall curve: BinaryClassHead has")
    fp, tp = curves["roc"]["false_positive_rate"], curves["roc"]["true_positive_rate"]
    if not len(tp):
        return "no data"
    if tp[-1] == 0 or fp[-1] == 0:
        return "no positives" if tp[-1] == 0 else "no negatives"
    is_new = np.concatenate([[True], (np.diff(fp) > 0) | (np.diff(tp) > 0)])
    fp, tp, thresholds = fp[is_new], tp[is_new], curves["roc"]["thresholds"][is_new]
    is_tie = np.zeros(len(tp) - 1, dtype=bool)
    state = statistics.states.get(RankingSummary.name)
    if isinstance(state, Ranking):
        is_tie[:] = True
        lo, hi = state.slots[:2]
        # A slot is in the step that ends at the highest threshold at or below it.
        is_tie[np.searchsorted(-thresholds[1:], -lo[hi > lo], side="left").clip(0, len(is_tie) - 1)] = False
    # Rounding may end a sum a little above the total.
    tp, fp = np.minimum(tp, 1.0), np.minimum(fp, 1.0)
    return _Steps(tp, fp, is_tie, float(1 / curves["precision_recall"]["precision"][-1] - 1))


def _band(x0: Floats, x1: Floats, low: Floats, high: Floats, unknown: np.ndarray[Any, Any]) -> Band | None:
    """Pieces that hold the rectangles [x0, x1] × [low, high], which follow each other, wherever some are unknown.

    Neighbours of small extent are held by one parallelogram.
    """
    if not unknown.any():
        return None
    rows: list[tuple[float, float, float]] = []
    start = 0
    lowest, highest = low[0], high[0]
    for stop in range(1, len(x0) + 1):
        if stop < len(x0):
            lowest, highest = min(lowest, low[stop]), max(highest, high[stop])
            if x1[stop] - x0[start] <= _STEP and highest - lowest <= _STEP:
                continue
        piece = slice(start, stop)
        if unknown[piece].any():
            rows += _parallelogram(x0[piece], x1[piece], low[piece], high[piece])
        elif rows and rows[-1][1] == rows[-1][1]:
            rows.append((float(x0[start]), np.nan, np.nan))
        if stop < len(x0):
            start, lowest, highest = stop, low[stop], high[stop]
    return Band(*np.asarray(rows).T)


def _parallelogram(x0: Floats, x1: Floats, low: Floats, high: Floats) -> list[tuple[float, float, float]]:
    """Its two ends, each x, low and high, around the line from the middle of the first to that of the last."""
    ends = np.asarray([x0[0], x1[-1]])
    bottom, top = np.full(2, low.min()), np.full(2, high.max())
    if ends[0] < ends[1]:
        heights = np.asarray([low[0] + high[0], low[-1] + high[-1]]) / 2
        line = np.interp([x0, x1], ends, heights)
        below, above = heights + (low - line).min(), heights + (high - line).max()
        # Not where it would leave the plot: to cut it off at one end would tilt it.
        bottom = below if below.min() >= 0 else bottom
        top = above if above.max() <= 1 else top
    return [(float(x), float(a), float(b)) for x, a, b in zip(ends, bottom, top, strict=True)]
