"""Plots as SVG in a page of HTML: coloured by its style sheet, with text as text, the same on every run."""

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import Any

from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_COLORS = {
    "--ink": "#010203",
    "--muted": "#010204",
    "--line": "#010205",
    "--first": "#010206",
    "--second": "#010207",
}
"""The colours of the page by CSS variable, and the value that stands for each while matplotlib draws."""

_SETTINGS: dict[Any, Any] = {
    "text.color": _COLORS["--ink"],
    "axes.labelcolor": _COLORS["--ink"],
    "axes.edgecolor": _COLORS["--muted"],
    "xtick.color": _COLORS["--muted"],
    "ytick.color": _COLORS["--muted"],
    "grid.color": _COLORS["--line"],
    "axes.prop_cycle": f"cycler('color', ['{_COLORS['--first']}', '{_COLORS['--second']}'])",
    "axes.linewidth": 0.8,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "font.size": 10,
    "font.family": "DejaVu Sans",  # comes with matplotlib, which lays out text by it
    "svg.fonttype": "none",
    "path.simplify": True,
}


def svg(name: str, draw: Callable[[Axes], object], *, title: str, about: str, size: tuple[float, float]) -> str:
    """The plot that `draw` makes on Axes, as an element ``<svg>``.

    Parameters
    ----------
    name : str
        The start of the ids in it, which must be unique in the page.
    draw : callable of (Axes)
    title, about : str
        For screen readers.
    size : (float, float)
        Width and height in inches of 72 units; the page scales it.
    """
    with rc_context(), warnings.catch_warnings():
        rcdefaults()  # the user's settings are not made for this page
        rcParams.update({**_SETTINGS, "svg.hashsalt": name})
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the browser has them
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    drawn = file.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    view = re.search(r'viewBox="([^"]*)"', drawn)
    assert view is not None
    body = drawn[drawn.index(">") + 1 : drawn.rindex("</svg>")]
    # The style would be the whole page's.
    body = re.sub(r"<style.*?</style>|<metadata.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # the same in every figure, and nothing refers to them
    body = re.sub(r"font: ([\d.]+px) 'DejaVu Sans'", r"font-size: \1", body)
    body = re.sub(r'(?<= d=")[^"]*', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), body)
    body = re.sub(r">\s*\n\s*<", ">\n<", body).replace("xlink:href", "href")
    for variable, color in _COLORS.items():
        body = body.replace(color, f"var({variable})")
    ids = f"{name}-title", f"{name}-about"
    return (
        f'<svg viewBox="{view[1]}" role="img" aria-labelledby="{ids[0]} {ids[1]}">'
        f'<title id="{ids[0]}">{escape(title)}</title><desc id="{ids[1]}">{escape(about)}</desc>{body.strip()}</svg>'
    )
