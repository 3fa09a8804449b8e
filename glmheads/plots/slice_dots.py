"""A metric of each slice, as dots."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glmheads.evaluation import Evaluation
from glmheads.evaluation.rows import Group, groups
from glmheads.names import MetricKeys
from glmheads.plots.axes import frame, muted, new_axes, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONGEST = 28
"""Characters of a slice's name."""
_AREAS = (MetricKeys.AUC, MetricKeys.AUC_PR)


def slices(evaluation: Evaluation, ax: "Axes | None" = None, *, metric: str | None = None, most: int = 30) -> "Axes":
    """Draw a metric of each slice as a dot, and of the whole as a line.

    Parameters
    ----------
    evaluation : Evaluation
        One with slices.
    ax : matplotlib.axes.Axes, optional
        Where to draw; on a new figure if not given.
    metric : str, optional
        Its key; the area under the ROC curve if there is one, and else the mean loss.
    most : int
        How many slices are drawn at most: those with the most examples.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the head has no such metric, or `most` is less than 1.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import glmheads as gh
    >>> from glmheads import plots
    >>> data = {"logits": [2.0, -1.0, 0.5], "labels": [1, 0, 0], "site": ["a", "b", "b"]}
    >>> ax = plots.slices(gh.evaluate(gh.BinaryClassHead(), data, by="site"), metric="accuracy")
    >>> [tick.get_text() for tick in ax.get_yticklabels()]
    ['a', 'b']
    """
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ValueError(f"most must be an integer >= 1. Given: {most!r}")
    metric = _default_metric(evaluation) if metric is None else metric
    if metric not in evaluation.results:
        raise ValueError(f"the head has no metric {metric!r}. It has {', '.join(evaluation.results)}")
    drawn = largest([group for group in groups(evaluation) if group.kind == "slice"], most)
    ax = new_axes(ax, height=1.1 + 0.22 * max(4, len(drawn)))
    frame(ax, metric, None)
    ax.set_ylim(len(drawn) - 0.4, -0.6)
    ax.set_yticks(range(len(drawn)), [_name(group) for group in drawn])
    for text in (*ax.get_yticklabels(), ax.xaxis.label):
        text.set_parse_math(False)
    if not drawn:
        note(ax, "no slices")
        return ax
    values = np.asarray([_value(group.evaluation, metric) for group in drawn])
    bounds = np.asarray([group.evaluation.bounds.get(metric, (np.nan, np.nan)) for group in drawn])
    bounds[np.isnan(values)] = np.nan
    ax.hlines(range(len(drawn)), *bounds.T, linewidth=2, alpha=0.5)
    ax.plot(values, range(len(drawn)), linestyle="none", marker="o", markersize=5)
    text_style: dict[str, Any] = {"textcoords": "offset points", "color": muted()}
    whole = _value(evaluation, metric)
    if math.isfinite(whole):
        ax.axvline(whole, linestyle="--", linewidth=1, color=muted(), zorder=0)
        ax.annotate("all", (whole, 1), (0, 2), ("data", "axes fraction"), ha="center", va="bottom", **text_style)
    text_style |= {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": "small"}
    for row, group in enumerate(drawn):
        ax.annotate(f"{group.evaluation.count:,}", (1, row), (4, 0), **text_style)
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=5)
    ax.margins(x=0.08)
    return ax


def largest(candidates: Sequence[Group], most: int) -> list[Group]:
    """The groups with the most examples, in the order in which they are given."""
    kept = sorted(range(len(candidates)), key=lambda index: -candidates[index].evaluation.count)[:most]
    return [candidates[index] for index in sorted(kept)]


def _value(evaluation: Evaluation, metric: str) -> float:
    """A metric; NaN for an area of one class, which is reported as 0."""
    base = metric.removesuffix(f"/{evaluation.head.name}")
    label = evaluation.results[metric.replace(base, MetricKeys.LABEL_MEAN, 1)] if base in _AREAS else 0.5
    return evaluation.results[metric] if 0 < label < 1 else math.nan


def _default_metric(evaluation: Evaluation) -> str:
    suffix = f"/{evaluation.head.name}" if evaluation.head.name else ""
    keys = [f"{key}{suffix}" for key in (MetricKeys.AUC, MetricKeys.LOSS_MEAN)]
    return next((key for key in keys if key in evaluation.results), next(iter(evaluation.results)))


def _name(group: Group) -> str:
    """The values of a slice in one line, without characters that can't be printed."""
    text = "".join(character if character.isprintable() else " " for character in " · ".join(group.cells))
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
