"""An evaluation as rows, one for each metric of the whole and of each slice, and as tables of text.

Everything that shows an evaluation reads it here: order, rounding, missing values and the slices of few examples.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from glmheads.display import Table, number
from glmheads.evaluation.keys import key_text

if TYPE_CHECKING:
    from glmheads.evaluation.evaluation import Evaluation

Row = dict[str, Any]
"""A metric of a group: see ``Evaluation.rows``."""


class Group(NamedTuple):
    """Examples that are reported together: all, those of a slice, or those of all slices that have too few."""

    kind: Literal["whole", "slice", "other"]
    key: dict[str, Any]
    """The slice: a value for each column, none of "whole" and "other"."""
    cells: list[str]
    """What a table shows in the columns of the slices."""
    evaluation: "Evaluation"

    @property
    def rows(self) -> dict[str, Row]:
        """The rows by metric; their weight is None where the statistics don't have it."""
        evaluation, rows = self.evaluation, {}
        means: Any = evaluation._on_host.states.get("means")
        weight = None if means is None else float(means["weight"]) / evaluation.head.logits_dimension
        if evaluation.head.weight_column is None:
            weight = float(evaluation.count)
        of_group = {"interval_lower": None, "interval_upper": None, "count": evaluation.count, "weight": weight}
        for metric, value in evaluation.results.items():
            lower, upper = evaluation.bounds.get(metric, (None, None))
            of_metric = {"metric": metric, "value": value, "lower_bound": lower, "upper_bound": upper}
            rows[metric] = {"slice": dict(self.key), **of_metric, **of_group}
        return rows


def groups(evaluation: "Evaluation") -> Iterator[Group]:
    """The whole, the slices in order, and the slices of too few examples together, if there are any."""
    blank = [""] * (len(evaluation.by) - 1)
    yield Group("whole", {}, ["(all)", *blank], evaluation)
    for key, part in evaluation.slices.items():
        yield Group("slice", dict(zip(evaluation.by, key, strict=True)), list(map(key_text, key)), part)
    other = evaluation.other
    if other is not None:
        yield Group("other", {}, [f"(other: {len(other.all_slices):,} slices)", *blank], other)


def number_cells(row: Row, **style: Any) -> list[str]:
    """The value of a row and its bounds, rounded outward, as text in the style of `number`."""
    bounds = ((row["lower_bound"], ROUND_FLOOR), (row["upper_bound"], ROUND_CEILING))
    return [number(row["value"], **style), *(number(bound, rounding=away, **style) for bound, away in bounds)]


def metric_table(rows: Iterable[Row], **style: Any) -> Table:
    """A line for each row: the metric, its value and, if any has them, its bounds."""
    lines = [[row["metric"], *number_cells(row, **style)] for row in rows]
    width = 4 if any(line[2] for line in lines) else 2
    return Table(["metric", "value", "at least", "at most"][:width], [line[:width] for line in lines])


def slice_table(selected: Iterable[Group], by: Sequence[str], metrics: Sequence[str], **style: Any) -> Table:
    """A line for each group: the values of `by`, the number of examples, and the metrics in the given order."""
    lines = []
    for group in selected:
        numbers = [number(group.evaluation.results.get(metric), **style) for metric in metrics]
        lines.append([*group.cells, f"{group.evaluation.count:,}", *numbers])
    return Table([*by, "examples", *metrics], lines, words=len(by))
