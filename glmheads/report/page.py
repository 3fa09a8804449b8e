"""The content of the page, and the page."""

import base64
import hashlib
import inspect
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import glmheads
from glmheads import plots
from glmheads.display import Table, number
from glmheads.evaluation import Evaluation
from glmheads.evaluation.rows import Row, groups, number_cells, slice_table
from glmheads.heads import Head
from glmheads.names import MetricKeys
from glmheads.plots.bands import roc_curve
from glmheads.plots.slice_dots import largest

_MOST_CELLS = 20_000
"""Of the table of slices, so that a page stays small."""
_MOST_DOTS = 30
_AT = "/positive_threshold_"
_FIRST = (MetricKeys.AUC, MetricKeys.AUC_PR, MetricKeys.LOSS_MEAN, MetricKeys.LABEL_MEAN, MetricKeys.PREDICTION_MEAN)


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
    loader = PackageLoader("glmheads.report")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typeset"] = _typeset
    script, style = (loader.get_source(environment, name)[0] for name in ("sort.js", "page.css"))
    head, statistics, curves = evaluation.head, evaluation.statistics, evaluation.curves()
    rows = {_base(head, row["metric"]): row for row in next(groups(evaluation)).rows.values()}
    return environment.get_template("page.html").render(
        title=title or "Evaluation",
        date=datetime.now(UTC) if date is None else date,
        version=glmheads.__version__,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=style,
        evaluation=evaluation,
        tiles=[(str(key), number(rows[key]["value"], digits=4)) for key in _FIRST if key in rows][:4],
        metrics={base: (row["metric"], *number_cells(row)) for base, row in rows.items() if _AT not in base},
        at_thresholds=_at_thresholds(rows),
        invalid={key: int(count) for key, count in statistics.to("numpy").invalid.items() if count > 0},
        curves=curves,
        has_curve="roc" in curves and not isinstance(roc_curve(head, statistics), str),
        is_rare="calibration" in curves and plots.is_of_rare_events(head, statistics),
        adds_calibration="extra_metrics" in inspect.signature(type(head)).parameters,
        weight_column=getattr(head.weight_column, "key", head.weight_column),
        weight=number(next((row["weight"] for row in rows.values()), None), digits=12),
        svg=partial(_svg, evaluation),
        slices=_slices(evaluation) if evaluation.by else None,
    )


_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0xD800, 0xE000)), "\ufffd")


def _printable(value: Any) -> Any:
    """Text without the characters that HTML does not allow."""
    return value.translate(_CONTROLS) if isinstance(value, str) else value


def _typeset(text: str) -> str:
    """A number as the page shows it, with the signs of typography."""
    return {"nan": "NaN", "inf": "∞", "-inf": "−∞"}.get(text, text.replace("-", "−"))


def _base(head: Head, key: str) -> str:
    """A metric's key without the head's name."""
    return key.removesuffix(f"/{head.name}")


def _at_thresholds(rows: dict[str, Row]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """The names of the metrics that are at a threshold, and for each threshold their values by name."""
    values: dict[str, dict[str, str]] = {}
    for base, row in rows.items():
        name, separator, threshold = base.partition(_AT)
        if separator:
            values.setdefault(threshold, {})[name] = number(row["value"])
    return list(dict.fromkeys(name for at_threshold in values.values() for name in at_threshold)), values


class _Slices(NamedTuple):
    """The table of the slices, of how many rows it has the largest, and how many dots the plot has."""

    table: Table
    total: int
    dots: int


def _slices(evaluation: Evaluation) -> _Slices:
    _, *parts = groups(evaluation)
    order = {str(key): place for place, key in enumerate(_FIRST)}
    metrics = sorted(evaluation.results, key=lambda key: order.get(_base(evaluation.head, key), len(order)))
    kept = largest(parts, max(1, _MOST_CELLS // (len(metrics) + len(evaluation.by) + 1)))
    table = slice_table(kept, evaluation.by, metrics, digits=5)
    return _Slices(table, len(parts), min(_MOST_DOTS, len(evaluation.slices)))


def _svg(evaluation: Evaluation, name: str, title: str, about: str, width: float, height: float) -> str:
    """A plot of the page, by the name of its function."""
    from glmheads.report.figures import svg  # matplotlib takes a while to import

    draw = partial(getattr(plots, name), evaluation.head, evaluation.statistics)
    if name == "slices":
        draw = partial(plots.slices, evaluation, most=_MOST_DOTS)
    return svg(name, draw, title=title, about=str(about), size=(width, height))
