"""The ROC and the precision–recall curve."""

from typing import TYPE_CHECKING

from glmheads.heads import FamilyHead
from glmheads.plots.axes import bad_values, frame, muted, new_axes, note, set_limits
from glmheads.plots.bands import Curve, precision_recall_curve, roc_curve
from glmheads.statistics import Statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST_RECALL = 0.02
"""The recall from which on the axis of the precision holds the whole curve."""


def roc(head: FamilyHead, statistics: Statistics, ax: "Axes | None" = None, *, label: str | None = None) -> "Axes":
    """Draw the ROC curve of the data, and the band in which the exact curve lies.

    Parameters
    ----------
    head : BinaryClassHead
        The one that made the statistics.
    statistics : Statistics
    ax : matplotlib.axes.Axes, optional
        Where to draw; on a new figure, ``roc(...).figure``, if not given.
    label : str, optional
        The curve's name in a legend.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the head has no such curve, or the statistics are another head's.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    Where the statistics hold every score, or there are few different scores, the curve is exact and there is no band.
    Without positives, without negatives or with NaN logits there is a note in place of the curve.

    Examples
    --------
    >>> import glmheads as gh
    >>> from glmheads import plots
    >>> head = gh.BinaryClassHead()
    >>> seen = head.statistics([1, 0, 1, 0], [[2.0], [1.0], [0.5], [-1.0]])
    >>> ax = plots.roc(head, seen, label="monday")
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('false positive rate', 'true positive rate')
    """
    ax = new_axes(ax)
    frame(ax, "false positive rate", "true positive rate")
    ax.plot([0, 1], [0, 1], linestyle=":", linewidth=1, color=muted())
    _curve(ax, statistics, roc_curve(head, statistics), label)
    return ax


def precision_recall(
    head: FamilyHead, statistics: Statistics, ax: "Axes | None" = None, *, label: str | None = None
) -> "Axes":
    """Draw the precision–recall curve of the data, and the band in which the exact curve lies.

    Parameters, result and errors are those of `roc`. A dotted line is at the share of positives, the precision of
    a random order. The axis of the precision ends a little above the curve, from a recall of 2 % on: below, a few
    examples decide.

    Examples
    --------
    >>> import glmheads as gh
    >>> from glmheads import plots
    >>> head = gh.BinaryClassHead()
    >>> ax = plots.precision_recall(head, head.statistics([1, 0, 1], [[2.0], [1.0], [0.5]]))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('recall', 'precision')
    """
    ax = new_axes(ax)
    before = ax.get_ylim()[1] if ax.lines else 0.0
    frame(ax, "recall", "precision")
    curve = precision_recall_curve(head, statistics)
    if isinstance(curve, Curve):
        ax.axhline(curve.y[-1], linestyle=":", linewidth=1, color=muted())
        highest = curve.y[(curve.x >= _LEAST_RECALL) | (curve.x == curve.x[-1])].max()
        set_limits(ax, "y", (0.0, max(before, min(1.0, 1.15 * highest))))
    _curve(ax, statistics, curve, label)
    return ax


def _curve(ax: "Axes", statistics: Statistics, curve: Curve | str, label: str | None) -> None:
    why = bad_values(statistics)
    if why is not None or isinstance(curve, str):
        note(ax, f"no curve: {why or curve}")
        return
    (line,) = ax.plot(curve.x, curve.y, linewidth=1.6, label=label)
    if curve.band is not None:
        band = curve.band
        ax.fill_between(band.x, band.low, band.high, color=line.get_color(), alpha=0.25, linewidth=0)
