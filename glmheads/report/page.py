"""What is on the page, and the page."""

import base64
import hashlib
import inspect
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import glmheads
from glmheads import plots
from glmheads.display import rounded
from glmheads.evaluation import Evaluation
from glmheads.evaluation.keys import shown
from glmheads.names import MetricKeys
from glmheads.plots.bands import roc_curve
from glmheads.statistics import Sums

__all__ = ["render", "write"]

_MOST_CELLS = 20_000
"""Of the table of slices, so that a page stays small."""
_MOST_DOTS = 30
_DIGITS = 6

_ON_LOG_ODDS = "Both scales are log odds, on which rare events stand apart; a group of one class has no point there."
_NO_DOT = " A slice of one class has no area, and no dot."

_AT_THRESHOLD = "/positive_threshold_"

_ABOUT = {
    MetricKeys.ACCURACY: "share of examples in the right class",
    MetricKeys.ACCURACY_BASELINE: "accuracy of always predicting the more frequent class",
    MetricKeys.AUC: "chance that a positive ranks above a negative: area under the ROC curve",
    MetricKeys.AUC_PR: "area under the precision–recall curve",
    MetricKeys.LABEL_MEAN: "mean label",
    MetricKeys.LOSS_MEAN: "mean loss",
    MetricKeys.LOSS_REGULARIZATION: "mean of the regularization losses",
    MetricKeys.PRECISION: "share of positives among those predicted positive",
    MetricKeys.PREDICTION_MEAN: "mean prediction",
    MetricKeys.RECALL: "share of the positives that are predicted positive",
    MetricKeys.BALANCED_ACCURACY: "mean of recall and specificity",
    MetricKeys.BRIER_SCORE: "mean squared error of the probability",
    MetricKeys.CALIBRATION_ERROR: "mean gap of prediction and label over 15 equal groups of the probability",
    MetricKeys.CALIBRATION_INTERCEPT: "of the logistic regression of labels on logits; 0 is calibrated",
    MetricKeys.CALIBRATION_RATIO: "mean prediction over mean label; 1 is calibrated",
    MetricKeys.CALIBRATION_SLOPE: "of the logistic regression of labels on logits; 1 is calibrated",
    MetricKeys.F1: "harmonic mean of precision and recall",
    MetricKeys.MATTHEWS_CORRELATION: "correlation of predicted and true class",
    MetricKeys.NORMALIZED_ENTROPY: "mean loss over that of always predicting the mean label",
    MetricKeys.SPECIFICITY: "share of the negatives that are predicted negative",
}
_FIRST = (MetricKeys.AUC, MetricKeys.AUC_PR, MetricKeys.LOSS_MEAN, MetricKeys.LABEL_MEAN, MetricKeys.PREDICTION_MEAN)


class _Row(NamedTuple):
    """A metric."""

    key: str
    about: str
    value: str
    least: str
    most: str


class _Figure(NamedTuple):
    """A plot, with what is said below it."""

    heading: str
    svg: str
    caption: str


def write(
    evaluation: Evaluation, file: "str | Path | TextIO", *, title: str | None = None, date: datetime | None = None
) -> None:
    """Write a report of an evaluation: one page of HTML that needs nothing but itself.

    Parameters
    ----------
    evaluation : Evaluation
        What ``gh.evaluate`` returns. Of a record alone it is ``gh.Evaluation(head, statistics, count)``.
    file : path or text file
    title : str, optional
    date : datetime, optional
        What the page says of when it was made; now, if not given.

    Raises
    ------
    ValueError
        If the data held bad labels or weights that could be counted but not refused.
    ImportError
        If matplotlib or jinja2 is not installed.

    Examples
    --------
    >>> import io
    >>> import glmheads as gh
    >>> from glmheads import report
    >>> data = {"logits": [2.0, -1.0, 0.5], "labels": [1, 0, 0]}
    >>> file = io.StringIO()
    >>> report.write(gh.evaluate(gh.BinaryClassHead(extra_metrics="all"), data), file, title="Monday")
    >>> "<title>Monday</title>" in file.getvalue()
    True
    """
    page = render(evaluation, title=title, date=date)
    if hasattr(file, "write"):
        file.write(page)
    else:
        Path(file).write_text(page, encoding="utf-8")


def render(evaluation: Evaluation, *, title: str | None = None, date: datetime | None = None) -> str:
    """The page that `write` writes, as a string; the same for the same arguments.

    Examples
    --------
    >>> import glmheads as gh
    >>> from glmheads import report
    >>> page = report.render(gh.evaluate(gh.RegressionHead(), {"logits": [2.0, -1.0], "labels": [1.0, 0.0]}))
    >>> "average_loss" in page
    True
    """
    if not isinstance(evaluation, Evaluation):
        raise TypeError(f"evaluation must be an Evaluation, which gh.evaluate returns. Given type: {type(evaluation)}")
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ImportError("glmheads.report writes with jinja2: pip install 'glmheads[report]'") from error
    environment = Environment(
        loader=PackageLoader("glmheads.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loader = environment.loader
    assert loader is not None
    script = loader.get_source(environment, "sort.js")[0]
    return environment.get_template("page.html").render(
        title=title or "Evaluation",
        date=datetime.now(UTC) if date is None else date,
        version=glmheads.__version__,
        evaluation=evaluation,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=loader.get_source(environment, "page.css")[0],
        tiles=_tiles(evaluation),
        rows=_rows(evaluation),
        at_thresholds=_at_thresholds(evaluation),
        one_class=_one_class(evaluation),
        invalid={key: int(count) for key, count in evaluation._on_host.invalid.items() if count > 0},
        curves=_curves(evaluation),
        calibration=_calibration(evaluation),
        adds_calibration="extra_metrics" in inspect.signature(type(evaluation.head)).parameters,
        slices=_slices(evaluation),
        facts=_facts(evaluation),
    )


_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0xD800, 0xE000)), "\ufffd")


def _printable(value: Any) -> Any:
    """Text without what HTML may not hold."""
    return value.translate(_CONTROLS) if isinstance(value, str) else value


# ---------------------------------------------------------------------------------------------------------------------
# Numbers


def _number(value: float, rounding: str = ROUND_HALF_EVEN, digits: int = _DIGITS) -> str:
    """To so many significant digits; a bound is rounded outward."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'−' if value < 0 else ''}∞"
    return f"{rounded(value, digits, rounding):.{digits}g}".replace("-", "−")


def _base(evaluation: Evaluation, key: str) -> str:
    """A metric's key without the head's name."""
    return key.removesuffix(f"/{evaluation.head.name}")


def _rows(evaluation: Evaluation) -> list[_Row]:
    """The metrics that are not at a threshold."""
    found = []
    for key, value in evaluation.results.items():
        base = _base(evaluation, key)
        if _AT_THRESHOLD in base:
            continue
        low, high = evaluation.bounds.get(key, (None, None))
        least = "" if low is None else _number(low, ROUND_FLOOR)
        most = "" if high is None else _number(high, ROUND_CEILING)
        found.append(_Row(key, _ABOUT.get(MetricKeys(base), "") if base in _ABOUT else "", _number(value), least, most))
    return found


def _at_thresholds(evaluation: Evaluation) -> tuple[list[str], dict[str, dict[str, str]]]:
    """The metrics that are, by name, and by threshold the values."""
    rows: dict[str, dict[str, str]] = {}
    for key, value in evaluation.results.items():
        name, is_there, threshold = _base(evaluation, key).partition(_AT_THRESHOLD)
        if is_there:
            rows.setdefault(threshold, {})[name] = _number(value)
    return list(dict.fromkeys(name for row in rows.values() for name in row)), rows


def _tiles(evaluation: Evaluation) -> list[tuple[str, str]]:
    """What is seen first."""
    found = [("examples", f"{evaluation.count:,}")]
    by_base = {_base(evaluation, key): value for key, value in evaluation.results.items()}
    found += [(str(key), _number(by_base[key], digits=4)) for key in _FIRST if key in by_base]
    return found[:5]


# ---------------------------------------------------------------------------------------------------------------------
# Plots


def _curves(evaluation: Evaluation) -> list[_Figure]:
    if "roc" not in evaluation.curves():
        return []
    from glmheads.report.figures import svg

    head, statistics = evaluation.head, evaluation._on_host
    has_curve = not isinstance(roc_curve(head, statistics), str)
    found = []
    for name, draw, key, heading in (
        ("roc", plots.roc, MetricKeys.AUC, "ROC curve"),
        ("precision-recall", plots.precision_recall, MetricKeys.AUC_PR, "Precision–recall curve"),
    ):
        areas = [full for full in evaluation.bounds if _base(evaluation, full) == key]
        caption = "" if has_curve else "There is no curve."
        if areas and has_curve:
            low, high = evaluation.bounds[areas[0]]
            between = f"between {_number(low, ROUND_FLOOR)} and {_number(high, ROUND_CEILING)}"
            caption = f"Area {_number(evaluation.results[areas[0]])}; the exact area by rank is {between}."
        figure = svg(name, partial(draw, head, statistics), title=heading, about=caption, size=(4.6, 4.2))
        found.append(_Figure(heading, figure, caption))
    return found


def _one_class(evaluation: Evaluation) -> bool:
    """Whether a head of two classes has seen data of one."""
    return (
        "roc" in evaluation.curves()
        and evaluation.count > 0
        and isinstance(roc_curve(evaluation.head, evaluation._on_host), str)
    )


def _calibration(evaluation: Evaluation) -> list[_Figure]:
    if "calibration" not in evaluation.curves():
        return []
    from glmheads.report.figures import svg

    head, statistics = evaluation.head, evaluation._on_host
    is_rare = plots.is_of_rare_events(head, statistics)
    scale = _ON_LOG_ODDS if is_rare else "There are 15 equal groups of the prediction."
    unweighted = "Bars at the points are Wilson’s 95% intervals."
    weighted = "There are no intervals: the record does not hold how much weights vary."
    calibration = svg(
        "calibration",
        partial(plots.calibration, head, statistics),
        title="Calibration",
        about="Share of positives against mean prediction, by groups of the prediction, with the count of each group.",
        size=(4.6, 4.9),
    )
    scores = svg(
        "scores",
        partial(plots.scores, head, statistics),
        title="Scores by class",
        about="Histogram of the predicted probability, of positives and of negatives.",
        size=(4.6, 4.9),
    )
    intervals = unweighted if head._weight_column is None else weighted
    return [
        _Figure("Calibration", calibration, f"On the dotted line predictions are calibrated. {intervals} {scale}"),
        _Figure("Scores by class", scores, "Each class adds up to 100%; its share of the data stands above."),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Slices


class _Slices(NamedTuple):
    """The table of the slices, and a plot of them."""

    by: tuple[str, ...]
    metrics: list[str]
    rows: list[tuple[list[str], str, list[str]]]
    """Key, count and metrics."""
    left_out: int
    total: int
    figure: _Figure | None


def _slices(evaluation: Evaluation) -> _Slices | None:
    if not evaluation.by:
        return None
    from glmheads.report.figures import svg

    order = {str(key): place for place, key in enumerate(_FIRST)}
    metrics = sorted(evaluation.results, key=lambda key: order.get(_base(evaluation, key), len(order)))
    found = [(list(map(shown, key)), part) for key, part in evaluation.slices.items()]
    if evaluation.other is not None:
        blank = [""] * (len(evaluation.by) - 1)
        found.append(([f"(other: {len(evaluation.other.all_slices):,} slices)", *blank], evaluation.other))
    total = len(found)
    kept = _largest([part.count for _, part in found], max(1, _MOST_CELLS // (len(metrics) + len(evaluation.by) + 1)))
    rows = [
        (key, f"{part.count:,}", [_number(part.results[metric], digits=5) for metric in metrics])
        for key, part in (found[index] for index in kept)
    ]
    figure = None
    if evaluation.slices:
        shown_here = min(_MOST_DOTS, len(evaluation.slices))
        drawn = svg(
            "slices",
            partial(plots.slices, evaluation, most=_MOST_DOTS),
            title="Slices",
            about="A metric of each slice as a dot; the table has the numbers.",
            size=(5.2, 1.0 + 0.21 * max(4, shown_here)),
        )
        which = (
            f"The {shown_here} largest of {len(evaluation.slices):,} slices"
            if shown_here < len(evaluation.slices)
            else "Every slice"
        )
        caption = f"{which}, with the number of examples; small ones scatter by chance. The dashed line is the whole."
        caption += _NO_DOT if "roc" in evaluation.curves() else ""
        figure = _Figure("", drawn, caption)
    return _Slices(evaluation.by, metrics, rows, total - len(rows), total, figure)


def _largest(counts: list[int], most: int) -> Iterable[int]:
    return sorted(sorted(range(len(counts)), key=lambda index: -counts[index])[:most])


# ---------------------------------------------------------------------------------------------------------------------
# The data


def _facts(evaluation: Evaluation) -> dict[str, list[str]]:
    """What the page is of."""
    head = evaluation.head
    column = head._weight_column
    means = evaluation._on_host.parts.get("means")
    total = [_number(float(means["weight"]), digits=12)] if isinstance(means, Sums) and column is not None else []
    facts = {
        "Sources": list(evaluation.sources),
        "Examples": [f"{evaluation.count:,}"],
        "Weight column": ["none: every example has weight 1"]
        if column is None
        else [str(getattr(column, "key", column))],
        "Total weight": total,
        "Slices by": [", ".join(evaluation.by)] if evaluation.by else [],
        "Smallest slice": [f"{evaluation.min_count:,} examples"] if evaluation.by and evaluation.min_count > 1 else [],
        "Head": [repr(head)],
    }
    return {name: texts for name, texts in facts.items() if texts}
