"""Calibration, and the histogram of the scores by class, from the bins of the probability."""

import math
from typing import TYPE_CHECKING

import numpy as np

from glmheads.heads import FamilyHead
from glmheads.plots.axes import Floats, Scale, bad_values, frame, muted, new_axes, note, percent, set_scale
from glmheads.statistics import Statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EQUAL_EDGES = np.arange(16) / 15
"""The edges of the groups over which the expected calibration error is defined."""
_QUANTILE = 1.959963984540054
"""Of the normal distribution, for intervals of 95 %."""


def calibration(
    head: FamilyHead,
    statistics: Statistics,
    ax: "Axes | None" = None,
    *,
    label: str | None = None,
    scale: Scale | None = None,
) -> "Axes":
    """Draw how often positives occur among examples of about the same prediction; bars above are counts.

    Parameters
    ----------
    head : FamilyHead
        The one that made the statistics, with `extra_metrics` that measure calibration.
    statistics : Statistics
    ax : matplotlib.axes.Axes, optional
        Where to draw; on a new figure if not given.
    label : str, optional
        The name of the points in a legend.
    scale : {"probability", "log-odds"}, optional
        ``"probability"`` has the 15 equal groups over which the expected calibration error is defined.
        ``"log-odds"`` has groups half a unit of the log odds wide, which tell rare events apart. If not given, it is
        log odds where more than half of the data are in the first and the last of the equal groups.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the head does not measure calibration, the statistics are another head's, or there is no such scale.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    The bars at the points are Wilson's intervals of 95 %. They are drawn only where the head has no weight column: the
    statistics do not hold how much weights vary within a group. On the scale of the log odds a group without positives
    or without negatives has its bar but no point. The counts are those of the first statistics drawn on the Axes.

    Examples
    --------
    >>> import glmheads as gh
    >>> from glmheads import plots
    >>> head = gh.LogisticRegressionHead(extra_metrics=["brier_score"])
    >>> ax = plots.calibration(head, head.statistics([1.0, 0.0, 1.0], [[2.0], [1.0], [0.5]]), scale="probability")
    >>> ax.get_xlabel()
    'mean prediction'
    """
    bins, scale = _bins(head, statistics, scale)
    ax = new_axes(ax)
    frame(ax, "mean prediction", "observed share of positives")
    why = _why_not(bins, statistics)
    if why:
        note(ax, f"no curve: {why}")
        return ax
    groups = _grouped(bins, _EQUAL_EDGES if scale == "probability" else _log_odds_edges(2))
    predicted, observed = groups["prediction"], groups["label"]
    limits = (0.0, 1.0)
    if scale == "log-odds":
        inside = np.concatenate([predicted, observed])
        inside = inside[(inside > 0) & (inside < 1)]
        limits = _log_odds_limits(inside if len(inside) else np.asarray([0.5]))
    ax.plot([*limits], [*limits], linestyle=":", linewidth=1, color=muted())
    set_scale(ax, "xy", scale, limits)
    if scale == "log-odds":  # 0 and 1 are nowhere on the scale
        is_on_scale = (np.minimum(predicted, observed) > 0) & (np.maximum(predicted, observed) < 1)
        observed = np.where(is_on_scale, observed, np.nan)
    (line,) = ax.plot(predicted, observed, marker="o", markersize=4, linewidth=1, label=label)
    if head.weight_column is None:
        low, high = np.clip(_wilson(groups["label"], groups["count"]), *limits)
        ax.vlines(np.clip(predicted, *limits), low, high, color=line.get_color(), linewidth=1.2, alpha=0.6)
    if not ax.child_axes:
        _count_bars(ax, groups, scale, limits)
    return ax


def _count_bars(ax: "Axes", groups: dict[str, Floats], scale: Scale, limits: tuple[float, float]) -> None:
    """Draw the number of examples of each group above the Axes."""
    from matplotlib.ticker import EngFormatter

    above = ax.inset_axes((0, 1.03, 1, 0.16))
    count = groups["count"]
    lower, upper = (np.clip(groups[end], *limits) if scale == "log-odds" else groups[end] for end in ("lower", "upper"))
    above.bar(lower, count, upper - lower, align="edge", color=muted(), alpha=0.6, linewidth=0)
    set_scale(above, "x", scale, limits)
    highest = max(10.0, count.max())
    above.set(yscale="log", ylim=(0.8, max(10.0, 1.5 * count.max())))
    above.set_yticks([1, 10.0 ** math.floor(math.log10(highest))])
    above.set_yticks([], minor=True)
    above.tick_params(axis="x", which="both", labelbottom=False)
    above.yaxis.set_major_formatter(EngFormatter(sep=""))
    above.set_ylabel("count", rotation=0, ha="right", va="center")
    above.spines[["top", "right"]].set_visible(False)


def _wilson(share: Floats, count: Floats) -> tuple[Floats, Floats]:
    """E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22, 209–212."""
    z2 = _QUANTILE**2 / count
    center = (share + z2 / 2) / (1 + z2)
    half = _QUANTILE / (1 + z2) * np.sqrt(share * (1 - share) / count + z2 / (4 * count))
    return np.where(share == 0, 0.0, center - half), np.where(share == 1, 1.0, center + half)


def scores(
    head: FamilyHead,
    statistics: Statistics,
    ax: "Axes | None" = None,
    *,
    label: str | None = None,
    scale: Scale | None = None,
) -> "Axes":
    """Draw a histogram of the predictions for each class, as shares of the class.

    Parameters, result and errors are those of `calibration`; `label` precedes the names of the classes. On the
    scale of the log odds a bar is a quarter of a unit wide.

    Examples
    --------
    >>> import glmheads as gh
    >>> from glmheads import plots
    >>> head = gh.LogisticRegressionHead(extra_metrics=["brier_score"])
    >>> ax = plots.scores(head, head.statistics([1.0, 0.0, 1.0], [[2.0], [1.0], [0.5]]))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['negatives, 33.33%', 'positives, 66.67%']
    """
    bins, scale = _bins(head, statistics, scale)
    ax = new_axes(ax)
    frame(ax, "predicted probability", "share of the class")
    why = _why_not(bins, statistics)
    if why:
        note(ax, f"no histogram: {why}")
        return ax
    edges = _EQUAL_EDGES if scale == "probability" else _log_odds_edges(4)
    groups = _grouped(bins, edges)
    limits = (0.0, 1.0)
    if scale == "log-odds":
        ends = np.concatenate([groups["lower"], groups["upper"]])
        limits = _log_odds_limits(np.clip(ends, edges[1], edges[-2]), pad=0.25)
        edges = np.clip(edges, *_probability(np.asarray([-16.0, 16.0])))
    classes = (("negatives", 1 - groups["label"], "C0", "--"), ("positives", groups["label"], "C1", "-"))
    highest = 0.0
    for name, share_of_class, color, style in classes:
        mass = groups["weight"] * share_of_class
        if not mass.sum() > 0:
            continue
        share = np.bincount(groups["place"].astype(int), mass / mass.sum(), len(edges) - 1)
        highest = max(highest, share.max())
        name = f"{'' if label is None else f'{label}: '}{name}, {percent(mass.sum() / groups['weight'].sum())}"
        filled = np.flatnonzero(share)  # of all bars of the scale, few are seen
        seen, ends = share[filled[0] : filled[-1] + 1], edges[filled[0] : filled[-1] + 2]
        ax.stairs(seen, ends, color=color, linestyle=style, linewidth=1.4, label=name)
        ax.stairs(seen, ends, color=color, fill=True, alpha=0.18, linewidth=0)
    set_scale(ax, "x", scale, limits)
    ax.set_ylim(0, 1.1 * highest)
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    for text in ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2).get_texts():
        text.set_parse_math(False)
    return ax


def is_of_rare_events(head: FamilyHead, statistics: Statistics) -> bool:
    """Whether the plots of calibration and scores choose log odds by themselves: see `calibration`.

    Examples
    --------
    >>> import glmheads as gh
    >>> from glmheads import plots
    >>> head = gh.LogisticRegressionHead(extra_metrics=["brier_score"])
    >>> plots.is_of_rare_events(head, head.statistics([0.0, 0.0, 1.0], [[-6.0], [-7.0], [-5.0]]))
    True
    """
    return _bins(head, statistics, None)[1] == "log-odds"


def _bins(head: FamilyHead, statistics: Statistics, scale: Scale | None) -> tuple[dict[str, Floats], Scale]:
    """The bins that hold examples, and the scale; where none does it is that of the probability."""
    if scale not in (None, "probability", "log-odds"):
        raise ValueError(f'scale must be "probability" or "log-odds". Given: {scale!r}')
    curves = head.curves(statistics.to("numpy"))
    if "calibration" not in curves:
        raise ValueError(
            f"{head!r} does not measure calibration: make a BinaryClassHead or a LogisticRegressionHead with "
            'extra_metrics="all", or with one of them that reads probabilities, such as extra_metrics=["brier_score"]'
        )
    curve = curves["calibration"]
    has_weight = curve["weight"] > 0
    bins = {key: values[has_weight].astype(np.float64) for key, values in curve.items()}
    outside = (bins["upper"] < 1.5 / 15) & (bins["lower"] < 0.99 / 15) | (bins["lower"] > 13.99 / 15)
    is_rare = bins["weight"][outside].sum() > 0.5 * bins["weight"].sum()
    return bins, scale or ("log-odds" if is_rare else "probability")


def _why_not(bins: dict[str, Floats], statistics: Statistics) -> str | None:
    """Why there is nothing to draw, None if there is."""
    return bad_values(statistics) or (None if len(bins["weight"]) else "no data")


def _grouped(bins: dict[str, Floats], edges: Floats) -> dict[str, Floats]:
    """The bins between two edges as one group; groups without examples are left out."""
    middle = (bins["lower"] + bins["upper"]) / 2
    places, group = np.unique(np.searchsorted(edges, middle, side="right") - 1, return_inverse=True)

    def sums(values: Floats) -> Floats:
        return np.bincount(group, values).astype(np.float64)

    weight = sums(bins["weight"])
    return {
        "place": places.astype(np.float64),
        "lower": edges[places],
        "upper": edges[places + 1],
        "prediction": np.clip(sums(bins["weight"] * bins["mean_prediction"]) / weight, 0, 1),
        "label": np.clip(sums(bins["weight"] * bins["mean_label"]) / weight, 0, 1),
        "weight": weight,
        "count": sums(bins["count"]),
    }


def _probability(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def _log_odds_edges(per_unit: int) -> Floats:
    """The edges of the groups of bins, so many to a unit of the log odds, 0 and 1 included."""
    last = 16 * per_unit - 1
    return np.asarray([0.0, *_probability(np.arange(-last, last + 1) / per_unit), 1.0])


def _log_odds_limits(probabilities: Floats, pad: float = 0.5) -> tuple[float, float]:
    log_odds = np.log(probabilities) - np.log1p(-probabilities)
    low, high = _probability(np.asarray([log_odds.min() - pad, log_odds.max() + pad]))
    return float(low), float(high)
