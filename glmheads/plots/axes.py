"""What the plots share: new Axes, their frame, limits and scales, and notes in place of a plot."""

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from glmheads.statistics import Statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = np.ndarray[Any, np.dtype[np.float64]]
Scale = Literal["probability", "log-odds"]


def new_axes(ax: "Axes | None", height: float = 4.2) -> "Axes":
    """The given Axes, or those of a new figure.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("glmheads.plots draws with matplotlib: pip install 'glmheads[plots]'") from error
    return Figure(figsize=(5, height), layout="constrained").subplots() if ax is None else ax


def frame(ax: "Axes", x: str, y: str | None) -> None:
    """Label the axes and draw a grid: from 0 to 1, or vertical lines alone where there is no y axis."""
    ax.set_xlabel(x)
    if y is not None:
        ax.set_ylabel(y)
        set_limits(ax, "xy", (0.0, 1.0))
    ax.grid(axis="x" if y is None else "both", linewidth=0.6, alpha=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def muted() -> Any:
    """The colour of what stands in the background."""
    import matplotlib as mpl

    return mpl.rcParams["axes.edgecolor"]


def note(ax: "Axes", text: str) -> None:
    """Write a text in the middle, where there is nothing to draw."""
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes)


def bad_values(statistics: Statistics) -> str | None:
    """Why nothing may be drawn: values from which no metric could be computed."""
    counts = statistics.to("numpy").invalid
    return ", ".join(f"{int(count):,} bad {key}" for key, count in counts.items() if count > 0) or None


def set_limits(ax: "Axes", which: str, limits: tuple[float, float]) -> None:
    """Set the limits of the axes of `which`, "x", "y" or "xy", with room for the width of a line."""
    room = 0.008 * (limits[1] - limits[0])
    ax.set(**{f"{name}lim": (limits[0] - room, min(limits[1], 1.0) + room) for name in which})


def set_scale(ax: "Axes", which: str, scale: Scale, limits: tuple[float, float]) -> None:
    """Make the axes of `which` scales of probabilities, which have no room beside the limits if they are log odds."""
    for name in which:
        axis = getattr(ax, f"{name}axis")
        if scale == "log-odds":
            ax.set(**{f"{name}scale": "logit"})
            axis.set_ticks(_ticks(limits, most=6 if name == "x" else 12))
            axis.set_ticks([], minor=True)
            ax.set(**{f"{name}lim": limits})
        else:
            set_limits(ax, name, limits)
        axis.set_major_formatter(lambda share, _: percent(share))


def _ticks(limits: tuple[float, float], most: int) -> list[float]:
    """Round probabilities within the limits: at least three, and no more than have room beside each other."""
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


def percent(share: float) -> str:
    """A share to four digits, or to so many that one that is not 100 % does not read so."""
    digits = 4 if share <= 0.5 else max(4, 2 + math.ceil(-math.log10(max(1 - share, 1e-12))))
    return f"{100 * share:.{digits}g}%" if 100 * share >= 1e-4 or share == 0 else f"{100 * share:.0e}%"
