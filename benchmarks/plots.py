"""The plots of a record: time against size, speed against peers, bandwidth against the device's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.measure import Row
from benchmarks.tables import Record

mpl.rcParams |= {"svg.hashsalt": "glmheads", "axes.spines.top": False, "axes.spines.right": False}
OURS, PEER = "#3f51b5", "#9e9e9e"
STYLES = ("-", "--", ":", "-.")


def draw(record: Record, folder: Path) -> list[Path]:
    """Writes the plots that the record has rows for, and removes the others."""
    timed = [row for row in record["rows"] if "seconds" in row]
    one = [row for row in timed if row["threads"] in (1, None)]
    figures = {"sizes": sizes(one), "peers": peers(one), "bandwidth": bandwidth(one)}
    written = []
    for name, figure in figures.items():
        path = folder / f"{name}.svg"
        if figure is None:
            path.unlink(missing_ok=True)
            continue
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
        written.append(path)
    return written


def sizes(rows: Sequence[Row]) -> Figure | None:
    """Time per example against size, a panel for each race of several sizes."""
    by_race = grouped([row for row in rows if row["race"] in ("report", "loss", "loss with backward")])
    races = {race: found for race, found in by_race.items() if len({row["size"] for row in found}) > 1}
    if not races:
        return None
    figure = Figure(figsize=(5.5 * len(races), 5))
    panels = figure.subplots(1, len(races), squeeze=False)[0]
    for panel, (race, found) in zip(panels, races.items(), strict=True):
        names = list(dict.fromkeys(row["contestant"] for row in found))
        for i, name in enumerate(names):
            line = sorted((row["size"], row["nanoseconds_per_example"]) for row in found if row["contestant"] == name)
            ours = name.startswith("glmheads")
            weight = {"linewidth": 2.0} if ours else {"linewidth": 1.2, "alpha": 0.8}
            panel.plot(
                *zip(*line, strict=True),
                marker="o",
                markersize=3,
                linestyle=STYLES[0 if ours else 1],
                label=name,
                **weight,
            )
            panel.lines[-1].set_color(f"C{i}")
        panel.set(xscale="log", yscale="log", xlabel="examples", ylabel="ns per example, one thread", title=race)
        panel.grid(alpha=0.3, which="major")
        panel.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False)
    return figure


def peers(rows: Sequence[Row]) -> Figure | None:
    """How many times longer a peer takes than the first contestant of ours, at the largest size that both have."""
    bars: list[tuple[str, float]] = []
    for race, found in grouped(rows).items():
        first = next((row["contestant"] for row in found if row["contestant"].startswith("glmheads")), None)
        ours = {row["size"]: row for row in found if row["contestant"] == first}
        for name in dict.fromkeys(row["contestant"] for row in found):
            both = [row for row in found if row["contestant"] == name and row["size"] in ours]
            if both and not name.startswith("glmheads"):
                row = max(both, key=lambda row: row["size"])
                ratio = row["seconds"]["median"] / ours[row["size"]]["seconds"]["median"]
                bars.append((f"{race}, {row['size']:,}: {name}", ratio))
    if not bars:
        return None
    figure, axes = _bars(bars, "time over that of glmheads, for the same work", start=1)
    axes.set(xscale="log")
    axes.axvline(1, color=OURS, linewidth=2, label="glmheads")
    axes.legend(fontsize=7, frameon=False, loc="lower right")
    return figure


def bandwidth(rows: Sequence[Row]) -> Figure | None:
    """GB/s at the largest size, and of a copy."""
    copies = [row["gigabytes_per_second"] for row in rows if row["race"].endswith("copy")]
    if not copies:
        return None
    on_gpu = any(row["race"].startswith("GPU") for row in rows)
    bars = []
    for race, found in grouped(rows).items():
        if on_gpu != race.startswith("GPU") or race.endswith("copy"):
            continue
        for name in dict.fromkeys(row["contestant"] for row in found):
            moved = [row for row in found if row["contestant"] == name and row["gigabytes_per_second"] is not None]
            if moved:
                row = max(moved, key=lambda row: row["size"])
                bars.append((f"{race}, {row['size']:,}: {name}", row["gigabytes_per_second"]))
    if not bars:
        return None
    figure, axes = _bars(bars, "GB/s, each input read once, each output written once")
    axes.axvline(max(copies), color="black", linewidth=1, label="copy")
    axes.legend(fontsize=7, frameon=False, loc="lower right")
    return figure


def _bars(bars: Sequence[tuple[str, float]], label: str, start: float = 0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 0.8 + 0.26 * len(bars)))
    axes = figure.subplots()
    names, values = zip(*bars, strict=True)
    colors = [OURS if "glmheads" in name else PEER for name in names]
    drawn = axes.barh(range(len(bars)), [value - start for value in values], left=start, color=colors)
    axes.bar_label(drawn, [f"{value:.3g}" for value in values], padding=3, fontsize=7)
    axes.set(xlabel=label)
    axes.set_yticks(range(len(bars)), names, fontsize=7)
    axes.invert_yaxis()
    return figure, axes


def grouped(rows: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    """By race, in order."""
    races: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        races.setdefault(row["race"], []).append(row)
    return races
