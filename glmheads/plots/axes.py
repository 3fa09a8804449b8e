"""The plots: each function draws on the Axes it is given, or on those of a new figure, and returns them.

They touch no state of pyplot, and take their colours from matplotlib's settings.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from glmheads.evaluation import Evaluation
from glmheads.evaluation.keys import key_text as shown
from glmheads.heads import Head
from glmheads.names import MetricKeys
from glmheads.plots.bands import Curve, precision_recall_curve, roc_curve
from glmheads.statistics import Statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = ["calibration", "is_of_rare_events", "precision_recall", "roc", "scores", "slices"]

Scale = Literal["probability", "log-odds"]
Floats = np.ndarray[Any, np.dtype[np.float64]]

_EQUAL_EDGES = np.arange(16) / 15
"""Those over which the expected calibration error is defined."""
_QUANTILE = 1.959963984540054
"""Of the normal distribution, for intervals of 95 %."""
_SETTLED = 0.02
"""The recall from which on the axis of the precision holds the whole curve."""
_LONGEST = 28
"""Characters of a slice's name."""


# ---------------------------------------------------------------------------------------------------------------------
# Curves


def roc(head: Head, statistics: Statistics, ax: "Axes | None" = None, *, label: str | None = None) -> "Axes":
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
    Where the record holds every score, or a few scores are all there are, the curve is exact and there is no band.
    Where there are no positives, no negatives or NaN logits, the Axes say so in place of a curve.

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
    ax = _axes(ax)
    _frame(ax, "false positive rate", "true positive rate")
    ax.plot([0, 1], [0, 1], linestyle=":", linewidth=1, color=_muted())
    _curve(ax, statistics, roc_curve(head, statistics), label)
    return ax


def precision_recall(
    head: Head, statistics: Statistics, ax: "Axes | None" = None, *, label: str | None = None
) -> "Axes":
    """Draw the precision–recall curve of the data, and the band in which the exact curve lies.

    Parameters, result and errors are those of `roc`. A dotted line stands at the share of positives, the precision of
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
    ax = _axes(ax)
    before = ax.get_ylim()[1] if ax.lines else 0.0
    _frame(ax, "recall", "precision")
    curve = precision_recall_curve(head, statistics)
    if isinstance(curve, Curve):
        ax.axhline(curve.y[-1], linestyle=":", linewidth=1, color=_muted())
        highest = curve.y[(curve.x >= _SETTLED) | (curve.x == curve.x[-1])].max()
        _set_limits(ax, "y", (0.0, max(before, min(1.0, 1.15 * highest))))
    _curve(ax, statistics, curve, label)
    return ax


def _curve(ax: "Axes", statistics: Statistics, curve: Curve | str, label: str | None) -> None:
    why = _invalid(statistics)
    if why is not None or isinstance(curve, str):
        _say(ax, f"no curve: {why or curve}")
        return
    (line,) = ax.plot(curve.x, curve.y, linewidth=1.6, label=label)
    if curve.band is not None:
        band = curve.band
        ax.fill_between(band.x, band.low, band.high, color=line.get_color(), alpha=0.25, linewidth=0)


# ---------------------------------------------------------------------------------------------------------------------
# Calibration


def calibration(
    head: Head,
    statistics: Statistics,
    ax: "Axes | None" = None,
    *,
    label: str | None = None,
    scale: Scale | None = None,
) -> "Axes":
    """Draw how often positives occur among examples of about the same prediction; counts stand above, as bars.

    Parameters
    ----------
    head : Head
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
    record does not hold how much weights vary within a group. On the scale of the log odds a group without positives or
    without negatives has its bar but no point. The counts are those of the first record that is drawn on the Axes.

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
    ax = _axes(ax)
    _frame(ax, "mean prediction", "observed share of positives")
    why = _invalid(statistics) or ("no data" if bins is None else None)
    if bins is None or why is not None:
        _say(ax, f"no curve: {why}")
        return ax
    groups = _grouped(bins, _EQUAL_EDGES if scale == "probability" else _log_odds_edges(2))
    predicted, observed = groups["prediction"], groups["label"]
    limits = (0.0, 1.0)
    if scale == "log-odds":
        inside = np.concatenate([predicted, observed])
        inside = inside[(inside > 0) & (inside < 1)]
        limits = _log_odds_limits(inside if len(inside) else np.asarray([0.5]))
    ax.plot([*limits], [*limits], linestyle=":", linewidth=1, color=_muted())
    _set_scale(ax, "xy", scale, limits)
    # Log odds of 0 and 1 are nowhere on the scale.
    is_on_scale = (np.minimum(predicted, observed) > 0) & (np.maximum(predicted, observed) < 1)
    if scale == "log-odds":
        observed = np.where(is_on_scale, observed, np.nan)
    (line,) = ax.plot(predicted, observed, marker="o", markersize=4, linewidth=1, label=label)
    if head._weight_column is None:
        low, high = np.clip(_wilson(groups["label"], groups["count"]), *limits)
        ax.vlines(np.clip(predicted, *limits), low, high, color=line.get_color(), linewidth=1.2, alpha=0.6)
    if not ax.child_axes:
        _count_bars(ax, groups, scale, limits)
    return ax


def _count_bars(ax: "Axes", groups: dict[str, Floats], scale: Scale, limits: tuple[float, float]) -> None:
    above = ax.inset_axes((0, 1.03, 1, 0.16))
    edges = np.stack([groups["lower"], groups["upper"]])
    edges = np.clip(edges, *limits) if scale == "log-odds" else edges
    above.bar(
        edges[0], groups["count"], np.diff(edges, axis=0)[0], align="edge", color=_muted(), alpha=0.6, linewidth=0
    )
    _set_scale(above, "x", scale, limits)
    above.set_yscale("log")
    above.set_ylim(0.8, max(10.0, 1.5 * groups["count"].max()))
    above.tick_params(axis="x", which="both", labelbottom=False)
    above.set_yticks([1, 10.0 ** math.floor(math.log10(max(10.0, groups["count"].max())))])
    above.set_yticks([], minor=True)
    above.yaxis.set_major_formatter(lambda count, _: _short(count))
    above.set_ylabel("count", rotation=0, ha="right", va="center")
    above.spines[["top", "right"]].set_visible(False)


def _short(count: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:g}{name}"
    return f"{count:g}"


def _wilson(share: Floats, count: Floats) -> tuple[Floats, Floats]:
    """E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22, 209–212."""
    z2 = _QUANTILE**2 / count
    center = (share + z2 / 2) / (1 + z2)
    half = _QUANTILE / (1 + z2) * np.sqrt(share * (1 - share) / count + z2 / (4 * count))
    return np.where(share == 0, 0.0, center - half), np.where(share == 1, 1.0, center + half)


# ---------------------------------------------------------------------------------------------------------------------
# Scores


def scores(
    head: Head,
    statistics: Statistics,
    ax: "Axes | None" = None,
    *,
    label: str | None = None,
    scale: Scale | None = None,
) -> "Axes":
    """Draw a histogram of the predictions for each class, as shares of the class.

    Parameters, result and errors are those of `calibration`; `label` stands before the names of the classes. On the
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
    ax = _axes(ax)
    _frame(ax, "predicted probability", "share of the class")
    why = _invalid(statistics) or ("no data" if bins is None else None)
    if bins is None or why is not None:
        _say(ax, f"no histogram: {why}")
        return ax
    edges = _EQUAL_EDGES if scale == "probability" else _log_odds_edges(4)
    groups = _grouped(bins, edges)
    limits = (0.0, 1.0)
    if scale == "log-odds":
        ends = np.concatenate([groups["lower"], groups["upper"]])
        limits = _log_odds_limits(np.clip(ends, edges[1], edges[-2]), pad=0.25)
        edges = np.clip(edges, *_probability(np.asarray([-16.0, 16.0])))
    highest = 0.0
    masses = (groups["weight"] * (1 - groups["label"]), groups["weight"] * groups["label"])
    for mass, name, style in zip(masses, ("negatives", "positives"), ("--", "-"), strict=True):
        if not mass.sum() > 0:
            continue
        share = np.bincount(groups["place"].astype(int), mass / mass.sum(), len(edges) - 1)
        highest = max(highest, share.max())
        name = f"{name}, {_percent(mass.sum() / groups['weight'].sum())}"
        name = name if label is None else f"{label}: {name}"
        color = f"C{int(style == '-')}"
        # Only where there is something: of all bars of the scale, few are seen.
        seen = slice(np.flatnonzero(share)[0], np.flatnonzero(share)[-1] + 1)
        ends = edges[seen.start : seen.stop + 1]
        ax.stairs(share[seen], ends, color=color, linestyle=style, linewidth=1.4, label=name)
        ax.stairs(share[seen], ends, color=color, fill=True, alpha=0.18, linewidth=0)
    _set_scale(ax, "x", scale, limits)
    ax.set_ylim(0, 1.1 * highest)
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    for text in ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2).get_texts():
        text.set_parse_math(False)
    return ax


def is_of_rare_events(head: Head, statistics: Statistics) -> bool:
    """Whether the plots of calibration and scores choose log odds by themselves: see `calibration`.

    Examples
    --------
    >>> import glmheads as gh
    >>> from glmheads import plots
    >>> head = gh.LogisticRegressionHead(extra_metrics=["brier_score"])
    >>> plots.is_of_rare_events(head, head.statistics([0.0, 0.0, 1.0], [[-6.0], [-7.0], [-5.0]]))
    True
    """
    bins, scale = _bins(head, statistics, None)
    return bins is not None and scale == "log-odds"


def _bins(head: Head, statistics: Statistics, scale: Scale | None) -> tuple[dict[str, Floats] | None, Scale]:
    """The bins that hold examples, None if there are none; and the scale."""
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
    curve = {key: values[has_weight].astype(np.float64) for key, values in curve.items()}
    if not has_weight.any():
        return None, scale or "probability"
    outside = (curve["upper"] < 1.5 / 15) & (curve["lower"] < 0.99 / 15) | (curve["lower"] > 13.99 / 15)
    share = curve["weight"][outside].sum() / curve["weight"].sum()
    return curve, scale or ("log-odds" if share > 0.5 else "probability")


def _grouped(bins: dict[str, Floats], edges: Floats) -> dict[str, Floats]:
    """The bins between two edges as one, those with examples."""
    middle = (bins["lower"] + bins["upper"]) / 2
    places, group = np.unique(np.searchsorted(edges, middle, side="right") - 1, return_inverse=True)
    weight = _sums(group, bins["weight"])

    def mean(values: Floats) -> Floats:
        return np.clip(_sums(group, bins["weight"] * values) / weight, 0, 1)

    return {
        "place": places.astype(np.float64),
        "lower": edges[places],
        "upper": edges[places + 1],
        "prediction": mean(bins["mean_prediction"]),
        "label": mean(bins["mean_label"]),
        "weight": weight,
        "count": _sums(group, bins["count"]),
    }


def _sums(group: np.ndarray[Any, Any], values: Floats) -> Floats:
    return np.bincount(group, values).astype(np.float64)


def _probability(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def _log_odds_edges(per_unit: int) -> Floats:
    """Those of groups that bins make up, 0 and 1 included."""
    last = 16 * per_unit - 1
    return np.asarray([0.0, *_probability(np.arange(-last, last + 1) / per_unit), 1.0])


def _log_odds_limits(probabilities: Floats, pad: float = 0.5) -> tuple[float, float]:
    log_odds = np.log(probabilities) - np.log1p(-probabilities)
    low, high = _probability(np.asarray([log_odds.min() - pad, log_odds.max() + pad]))
    return float(low), float(high)


def _set_scale(ax: "Axes", which: str, scale: Scale, limits: tuple[float, float]) -> None:
    for name in which:
        axis: Axis = getattr(ax, f"{name}axis")
        if scale == "log-odds":
            set_scale: Callable[..., Any] = getattr(ax, f"set_{name}scale")
            set_scale("logit")
            ticks = _ticks(limits, most=6 if name == "x" else 12)
            axis.set_ticks(ticks)
            axis.set_ticks([], minor=True)
            set_limits: Callable[..., Any] = getattr(ax, f"set_{name}lim")
            set_limits(*limits)
        else:
            _set_limits(ax, name, limits)
        axis.set_major_formatter(lambda share, _: _percent(share))


def _ticks(limits: tuple[float, float], most: int) -> list[float]:
    """Round probabilities within the limits, as few as tell the scale, and no more than have room beside each other."""
    rounds: list[float] = []
    for digits in ((1,), (1, 2, 5)):
        small = [digit * 10.0**-power for power in range(9, 0, -1) for digit in digits]
        inside = sorted({*small, 0.5, *(1 - share for share in small)})
        rounds = [share for share in inside if limits[0] <= share <= limits[1]]
        if len(rounds) >= 3:
            break
    step = math.ceil(len(rounds) / most)
    middle = min(range(len(rounds)), key=lambda index: abs(rounds[index] - 0.5), default=0)
    return [share for index, share in enumerate(rounds) if (index - middle) % step == 0]


def _percent(share: float) -> str:
    """To four digits, or so many that what is not 100 % does not read so."""
    digits = 4 if share <= 0.5 else max(4, 2 + math.ceil(-math.log10(max(1 - share, 1e-12))))
    return f"{100 * share:.{digits}g}%" if 100 * share >= 1e-4 or share == 0 else f"{100 * share:.0e}%"


# ---------------------------------------------------------------------------------------------------------------------
# Slices


def slices(evaluation: Evaluation, ax: "Axes | None" = None, *, metric: str | None = None, most: int = 30) -> "Axes":
    """Draw a metric of each slice as a dot, and of the whole as a line.

    Parameters
    ----------
    evaluation : Evaluation
        With `by`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; on a new figure if not given.
    metric : str, optional
        Its key; the area under the ROC curve if there is one, and else the mean loss.
    most : int
        Of more slices than that, those of the most examples are drawn.

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
    found = [(" · ".join(map(shown, key)), part) for key, part in evaluation.slices.items()]
    largest = sorted(range(len(found)), key=lambda index: -found[index][1].count)[:most]
    found = [found[index] for index in sorted(largest)]
    ax = _axes(ax, height=1.1 + 0.22 * max(4, len(found)))
    _frame(ax, metric, None)
    ax.set_ylim(len(found) - 0.4, -0.6)
    ax.set_yticks(range(len(found)), [_short_name(name) for name, _ in found])
    for text in (*ax.get_yticklabels(), ax.xaxis.label):
        text.set_parse_math(False)
    if not found:
        _say(ax, "no slices")
        return ax
    values = np.asarray([_value(part, metric) for _, part in found])
    bounds = np.asarray([part.bounds.get(metric, (np.nan, np.nan)) for _, part in found])
    bounds[np.isnan(values)] = np.nan
    ax.hlines(range(len(found)), *bounds.T, linewidth=2, alpha=0.5)
    ax.plot(values, range(len(found)), linestyle="none", marker="o", markersize=5)
    whole = _value(evaluation, metric)
    if math.isfinite(whole):
        ax.axvline(whole, linestyle="--", linewidth=1, color=_muted(), zorder=0)
        ax.annotate(
            "all",
            (whole, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=_muted(),
        )
    for row, (_, part) in enumerate(found):
        ax.annotate(
            f"{part.count:,}",
            (1, row),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            ha="left",
            va="center",
            color=_muted(),
            fontsize="small",
        )
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=5)
    ax.margins(x=0.08)
    return ax


def _value(evaluation: Evaluation, metric: str) -> float:
    """A metric; NaN for an area of one class, which is reported as 0."""
    base = metric.removesuffix(f"/{evaluation.head.name}")
    label = evaluation.results[metric.replace(base, MetricKeys.LABEL_MEAN, 1)] if base in _AREAS else 0.5
    return evaluation.results[metric] if 0 < label < 1 else math.nan


_AREAS = (MetricKeys.AUC, MetricKeys.AUC_PR)


def _default_metric(evaluation: Evaluation) -> str:
    suffix = f"/{evaluation.head.name}" if evaluation.head.name else ""
    keys = [f"{key}{suffix}" for key in (MetricKeys.AUC, MetricKeys.LOSS_MEAN)]
    return next((key for key in keys if key in evaluation.results), next(iter(evaluation.results)))


def _short_name(name: str) -> str:
    name = " ".join("".join(character if character.isprintable() else " " for character in name).split())
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


# ---------------------------------------------------------------------------------------------------------------------
# Axes


def _axes(ax: "Axes | None", height: float = 4.2) -> "Axes":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("glmheads.plots draws with matplotlib: pip install 'glmheads[plots]'") from error
    return Figure(figsize=(5, height), layout="constrained").subplots() if ax is None else ax


def _frame(ax: "Axes", x: str, y: str | None) -> None:
    ax.set_xlabel(x)
    if y is None:
        ax.grid(axis="x", linewidth=0.6, alpha=0.6)
    else:
        ax.set_ylabel(y)
        _set_limits(ax, "xy", (0.0, 1.0))
        ax.grid(linewidth=0.6, alpha=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _set_limits(ax: "Axes", which: str, limits: tuple[float, float]) -> None:
    """Limits with room for the width of a line."""
    room = 0.008 * (limits[1] - limits[0])
    for name in which:
        set_limits: Callable[..., Any] = getattr(ax, f"set_{name}lim")
        set_limits(limits[0] - room, min(limits[1], 1.0) + room)


def _muted() -> Any:
    import matplotlib as mpl

    return mpl.rcParams["axes.edgecolor"]


def _say(ax: "Axes", text: str) -> None:
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes)


def _invalid(statistics: Statistics) -> str | None:
    """Why nothing may be drawn: values that no metric could be computed from."""
    counts = statistics.to("numpy").invalid
    return ", ".join(f"{int(count):,} bad {key}" for key, count in counts.items() if count > 0) or None
