"""The content of the page, and the page."""

import base64
import hashlib
import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import glmheads
from glmheads import plots
from glmheads.display import Table, number
from glmheads.evaluation import Evaluation
from glmheads.evaluation.rows import Row, groups, largest, number_cells, slice_table
from glmheads.names import MetricKeys
from glmheads.plots.bands import roc_curve

__all__ = ["render", "write"]

_MOST_CELLS = 20_000
"""Of the table of slices, so that a page stays small."""
_MOST_DOTS = 30

_AT_THRESHOLD = "/positive_threshold_"

_ABOUT: dict[str, str] = {
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


class _Figure(NamedTuple):
    """A plot with its heading and caption."""

    heading: str
    svg: str
    caption: str


def write(
    evaluation: Evaluation, file: "str | Path | TextIO", *, title: str | None = None, date: datetime | None = None
) -> None:
    """Write a report of an evaluation: one self-contained page of HTML.

    Parameters
    ----------
    evaluation : Evaluation
        What ``gh.evaluate`` returns; for a `Statistics` without slices, ``gh.Evaluation(head, statistics, count)``.
    file : path or text file
    title : str, optional
    date : datetime, optional
        The date on the page; now, if not given.

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
    environment.filters["typeset"] = _typeset
    loader = environment.loader
    assert loader is not None
    script, style = (loader.get_source(environment, name)[0] for name in ("sort.js", "page.css"))
    rows = list(next(groups(evaluation)).rows.values())
    head, curves = evaluation.head, evaluation.curves()
    has_curve = "roc" in curves and not isinstance(roc_curve(head, evaluation.statistics), str)
    invalid = evaluation.statistics.to("numpy").invalid
    return environment.get_template("page.html").render(
        title=title or "Evaluation",
        date=datetime.now(UTC) if date is None else date,
        version=glmheads.__version__,
        evaluation=evaluation,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=style,
        tiles=_tiles(evaluation, rows),
        metrics=_metrics(evaluation, rows),
        at_thresholds=_at_thresholds(evaluation, rows),
        one_class="roc" in curves and evaluation.count > 0 and not has_curve,
        invalid={key: int(count) for key, count in invalid.items() if count > 0},
        curves=_curves(evaluation, rows, has_curve) if "roc" in curves else [],
        calibration=_calibration(evaluation) if "calibration" in curves else [],
        adds_calibration="extra_metrics" in inspect.signature(type(head)).parameters,
        slices=_slices(evaluation),
        facts=_facts(evaluation, rows[0]["weight"]),
    )


_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0xD800, 0xE000)), "\ufffd")


def _printable(value: Any) -> Any:
    """Text without the characters that HTML does not allow."""
    return value.translate(_CONTROLS) if isinstance(value, str) else value


# ---------------------------------------------------------------------------------------------------------------------
# Numbers


def _typeset(text: str) -> str:
    """A number as the page shows it, with the signs of typography."""
    return {"nan": "NaN", "inf": "∞", "-inf": "−∞"}.get(text, text.replace("-", "−"))


def _base(evaluation: Evaluation, key: str) -> str:
    """A metric's key without the head's name."""
    return key.removesuffix(f"/{evaluation.head.name}")


def _metrics(evaluation: Evaluation, rows: list[Row]) -> list[tuple[str, list[str], str]]:
    """The metrics that are not at a threshold: key, value and bounds, and what each is."""
    keys = {row["metric"]: _base(evaluation, row["metric"]) for row in rows}
    return [
        (row["metric"], number_cells(row), _ABOUT.get(keys[row["metric"]], ""))
        for row in rows
        if _AT_THRESHOLD not in keys[row["metric"]]
    ]


def _at_thresholds(evaluation: Evaluation, rows: list[Row]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """The names of the metrics that are at a threshold, and for each threshold their values by name."""
    values: dict[str, dict[str, str]] = {}
    for row in rows:
        name, separator, threshold = _base(evaluation, row["metric"]).partition(_AT_THRESHOLD)
        if separator:
            values.setdefault(threshold, {})[name] = number(row["value"])
    return list(dict.fromkeys(name for at_threshold in values.values() for name in at_threshold)), values


def _tiles(evaluation: Evaluation, rows: list[Row]) -> list[tuple[str, str]]:
    """The main numbers."""
    values = {_base(evaluation, row["metric"]): row["value"] for row in rows}
    main = [(str(key), number(values[key], digits=4)) for key in _FIRST if key in values]
    return [("examples", f"{evaluation.count:,}"), *main][:5]


# ---------------------------------------------------------------------------------------------------------------------
# Plots


def _figure(
    name: str,
    draw: Callable[..., object],
    size: tuple[float, float],
    *,
    title: str,
    about: str,
    caption: str,
    heading: str | None = None,
) -> _Figure:
    from glmheads.report.figures import svg  # matplotlib takes a while to import

    figure = svg(name, draw, title=title, about=about, size=size)
    return _Figure(title if heading is None else heading, figure, caption)


def _curves(evaluation: Evaluation, rows: list[Row], has_curve: bool) -> list[_Figure]:
    figures = []
    for name, draw, key, title in (
        ("roc", plots.roc, MetricKeys.AUC, "ROC curve"),
        ("precision-recall", plots.precision_recall, MetricKeys.AUC_PR, "Precision–recall curve"),
    ):
        area = next((row for row in rows if _base(evaluation, row["metric"]) == key), None)
        caption = "" if has_curve else "There is no curve."
        if area and has_curve:
            value, low, high = map(_typeset, number_cells(area))
            caption = f"Area {value}; the exact area by rank is between {low} and {high}."
        bound = partial(draw, evaluation.head, evaluation.statistics)
        figures.append(_figure(name, bound, (4.6, 4.2), title=title, about=caption, caption=caption))
    return figures


def _calibration(evaluation: Evaluation) -> list[_Figure]:
    head, statistics = evaluation.head, evaluation.statistics
    scale = "There are 15 equal groups of the prediction."
    if plots.is_of_rare_events(head, statistics):
        scale = "Both scales are log odds, on which rare events stand apart; a group of one class has no point there."
    intervals = "There are no intervals: the record does not hold how much weights vary."
    if head._weight_column is None:
        intervals = "Bars at the points are Wilson’s 95% intervals."
    return [
        _figure(
            "calibration",
            partial(plots.calibration, head, statistics),
            (4.6, 4.9),
            title="Calibration",
            about="Share of positives against mean prediction, by groups of the prediction, with the count of each.",
            caption=f"On the dotted line predictions are calibrated. {intervals} {scale}",
        ),
        _figure(
            "scores",
            partial(plots.scores, head, statistics),
            (4.6, 4.9),
            title="Scores by class",
            about="Histogram of the predicted probability, of positives and of negatives.",
            caption="Each class adds up to 100%; its share of the data stands above.",
        ),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Slices


class _Slices(NamedTuple):
    """The table of the slices, of which some may be left out, and a plot of them."""

    table: Table
    total: int
    figure: _Figure | None


def _slices(evaluation: Evaluation) -> _Slices | None:
    if not evaluation.by:
        return None
    _, *parts = groups(evaluation)
    order = {str(key): place for place, key in enumerate(_FIRST)}
    metrics = sorted(evaluation.results, key=lambda key: order.get(_base(evaluation, key), len(order)))
    kept = largest(parts, max(1, _MOST_CELLS // (len(metrics) + len(evaluation.by) + 1)))
    table = slice_table(kept, evaluation.by, metrics, digits=5)
    count = len(evaluation.slices)
    if not count:
        return _Slices(table, len(parts), None)
    drawn = min(_MOST_DOTS, count)
    which = f"The {drawn} largest of {count:,} slices" if drawn < count else "Every slice"
    caption = f"{which}, with the number of examples; small ones scatter by chance. The dashed line is the whole."
    figure = _figure(
        "slices",
        partial(plots.slices, evaluation, most=_MOST_DOTS),
        (5.2, 1.0 + 0.21 * max(4, drawn)),
        heading="",
        title="Slices",
        about="A metric of each slice as a dot; the table has the numbers.",
        caption=caption + (" A slice of one class has no area, and no dot." if "roc" in evaluation.curves() else ""),
    )
    return _Slices(table, len(parts), figure)


# ---------------------------------------------------------------------------------------------------------------------
# The data


def _facts(evaluation: Evaluation, weight: float | None) -> dict[str, list[str]]:
    """Where the data came from, and how they were evaluated."""
    head = evaluation.head
    column = head._weight_column
    is_unweighted = column is None
    facts = {
        "Sources": list(evaluation.sources),
        "Examples": [f"{evaluation.count:,}"],
        "Weight column": ["none: every example has weight 1" if is_unweighted else str(getattr(column, "key", column))],
        "Total weight": [] if is_unweighted or weight is None else [_typeset(number(weight, digits=12))],
        "Slices by": [", ".join(evaluation.by)] if evaluation.by else [],
        "Smallest slice": [f"{evaluation.min_count:,} examples"] if evaluation.by and evaluation.min_count > 1 else [],
        "Head": [repr(head)],
    }
    return {name: texts for name, texts in facts.items() if texts}
