"""`Evaluation`: what `evaluate` found, of the whole and of slices; adding, saving, loading and showing it."""

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from glmheads import archive
from glmheads.evaluation.keys import Key, in_order, shown
from glmheads.heads import BinaryClassHead, Head, LogisticRegressionHead, PoissonRegressionHead, RegressionHead
from glmheads.inputs import NumericColumn
from glmheads.statistics import Statistics

__all__ = ["Evaluation"]


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What `evaluate` found: the statistics of the whole and of each slice. Evaluations of one head add up.

    It is immutable; ``dataclasses.replace`` gives one with another `min_count` or other `sources`.

    Attributes
    ----------
    head : Head
    statistics : Statistics
        Of the whole.
    count : int
        How many examples there were, those of weight 0 too.
    by : tuple of str
        The columns that tell the slices.
    all_slices : mapping from tuple to Evaluation
        Every slice by its key, however small, in order. A key has a value for each column of `by`: a string, a number,
        a bool, or None where the value was missing (null or NaN). What else it may be (a date, a decimal number) is
        written as a string.
    min_count : int
        Examples that a slice must have to be among the `slices`.
    sources : tuple of str
        What data it is of, for reports; evaluations that are added up keep those of both.

    Examples
    --------
    >>> import glmheads as gh
    >>> monday = {"logits": [2.0, -1.0], "labels": [1, 0], "site": ["a", "b"]}
    >>> tuesday = {"logits": [0.5, -3.0], "labels": [0, 0], "site": ["a", "c"]}
    >>> head = gh.LogisticRegressionHead()
    >>> found = gh.evaluate(head, monday, by="site") + gh.evaluate(head, tuesday, by="site")
    >>> found.count, list(found.slices)
    (4, [('a',), ('b',), ('c',)])
    >>> found.slices["a",].results["label/mean"]
    0.5
    """

    head: Head
    statistics: Statistics
    count: int
    by: tuple[str, ...] = ()
    all_slices: Mapping[Key, "Evaluation"] = field(default_factory=dict)
    min_count: int = 1
    sources: tuple[str, ...] = ()

    # Reading

    @cached_property
    def results(self) -> dict[str, float]:
        """Every metric of the whole.

        Raises
        ------
        ValueError
            If the data held bad labels or weights that could be counted but not refused.
        """
        return {key: float(value) for key, value in self.head.results(self._on_host).items()}

    @cached_property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Of the areas, by metric key: (lower, upper) that hold the exact value for the data."""
        return {key: (float(low), float(high)) for key, (low, high) in self.head.bounds(self._on_host).items()}

    def curves(self) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
        """Curves of the whole, by name: see ``Head.curves``."""
        return self.head.curves(self._on_host)

    @cached_property
    def _on_host(self) -> Statistics:
        return self.statistics.to("numpy")

    @property
    def slices(self) -> dict[Key, "Evaluation"]:
        """The slices of at least `min_count` examples by key, in order: numbers before words, what is missing last."""
        return {key: part for key, part in self.all_slices.items() if part.count >= self.min_count}

    @cached_property
    def other(self) -> "Evaluation | None":
        """The slices of fewer than `min_count` examples together, its `all_slices`; None if there are none."""
        small = {key: part for key, part in self.all_slices.items() if part.count < self.min_count}
        if not small:
            return None
        statistics = sum((part.statistics for part in small.values()), start=self.head.empty())
        return Evaluation(self.head, statistics, sum(part.count for part in small.values()), self.by, small)

    # Adding

    def __add__(self, other: "Evaluation") -> "Evaluation":
        """The evaluation of the data of both, with the larger `min_count`.

        Raises
        ------
        ValueError
            If the heads measure different things, or the slices are by different columns.
        """
        if not isinstance(other, Evaluation):
            return NotImplemented
        if self.by != other.by:
            raise ValueError(
                "evaluations by different columns don't add up: "
                f"the left one is by {list(self.by)}, the right one by {list(other.by)}"
            )
        slices = dict(self.all_slices)
        for key, part in other.all_slices.items():
            slices[key] = slices[key] + part if key in slices else part
        return Evaluation(
            self.head,
            self.statistics + other.statistics,
            self.count + other.count,
            self.by,
            in_order(slices),
            max(self.min_count, other.min_count),
            tuple(dict.fromkeys((*self.sources, *other.sources))),
        )

    # Saving

    def save(self, file: archive.File) -> None:
        """Write the statistics of the whole and of every slice to a file, in NumPy's npz format and without pickle.

        What the head was made with goes along, if it can be written (see ``Head.to_dict``).

        Parameters
        ----------
        file : path or binary file
            A path without an ending gets .npz.
        """
        evaluations = [self, *self.all_slices.values()]
        records = [evaluation._on_host for evaluation in evaluations]
        arrays = [array for record in records for array in record.arrays()]
        # One array for each dtype: thousands of members make a slow file.
        dtypes = list(dict.fromkeys(array.dtype.str for array in arrays))
        flat = [
            np.concatenate([array.ravel() for array in arrays if array.dtype.str == dtype], dtype=np.dtype(dtype))
            for dtype in dtypes
        ]
        structures = list(dict.fromkeys(record.structure()[1] for record in records))
        archive.write(
            file,
            {
                "format": _FORMAT,
                "version": _VERSION,
                "head": _written(self.head),
                "config": self.statistics.config,
                "by": self.by,
                "min_count": self.min_count,
                "sources": self.sources,
                "dtypes": dtypes,
                "structures": structures,
                "keys": list(self.all_slices),
                "counts": [evaluation.count for evaluation in evaluations],
                "records": [
                    [
                        structures.index(record.structure()[1]),
                        [[dtypes.index(array.dtype.str), *array.shape] for array in record.arrays()],
                    ]
                    for record in records
                ],
            },
            flat,
        )

    @classmethod
    def load(cls, file: archive.File, head: Head | None = None) -> "Evaluation":
        """The evaluation that `save` wrote, with statistics as NumPy arrays.

        Parameters
        ----------
        file : path or binary file
        head : Head, optional
            One that measures what the head did that made the evaluation. If it is not given, that head is made again
            from what the file says of it; no code is imported for that, so it must be a head of glmheads itself without
            functions of your own.

        Raises
        ------
        ValueError
            If the file is not such an evaluation, is damaged, is of a later version of the format, or is of a
            differently configured head; or if `head` is not given and the file's can't be made again.
        """
        if not (head is None or isinstance(head, Head)):
            raise TypeError(f"head must be the Head that made the evaluation, or one like it. Given type: {type(head)}")
        fields, flat = archive.read(file, _FORMAT, _VERSION, noun="a glmheads evaluation")
        label = getattr(file, "name", file)
        made_by = fields.get("head")
        if head is None:
            head = _made_again(label, made_by)
        config = head.empty().config
        if fields.get("config") != config:
            raise ValueError(
                f"{label} is of a differently configured head: it is of {made_by or fields.get('config')}, this "
                f"head is {head!r}"
            )
        try:
            return cls._from_fields(head, fields, flat)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise ValueError(f"{label} is not a file of a glmheads evaluation, or is damaged: {error}") from error

    @classmethod
    def _from_fields(cls, head: Head, fields: dict[str, Any], flat: list[np.ndarray[Any, Any]]) -> "Evaluation":
        used = [0] * len(flat)

        def take(dtype: int, *shape: int) -> np.ndarray[Any, Any]:
            start = used[dtype]
            used[dtype] += math.prod(shape)
            return flat[dtype][start : used[dtype]].reshape(shape)

        structures = fields["structures"]
        records = [
            Statistics.from_arrays((fields["config"], structures[index]), [take(*form) for form in forms])
            for index, forms in fields["records"]
        ]
        _ = [record.states for record in records]
        whole, *evaluations = [cls(head, *both) for both in zip(records, fields["counts"], strict=True)]
        keys = [tuple(key) for key in fields["keys"]]
        if any(len(key) != len(fields["by"]) or any(isinstance(v, (list, dict)) for v in key) for key in keys):
            raise ValueError("a key of a slice must have a value for each column")
        return replace(
            whole,
            by=tuple(fields["by"]),
            all_slices=dict(zip(keys, evaluations, strict=True)),
            min_count=fields["min_count"],
            sources=tuple(fields["sources"]),
        )

    # Showing

    def to_dict(self) -> dict[str, Any]:
        """All results and bounds as plain dicts, lists, strings and numbers; NaN and infinities stay what they are.

        Returns
        -------
        dict
            ``count``, ``results``, ``bounds``, ``by``, ``sources``; with `by` also ``min_count``, ``slices``, a list of
            dicts with ``key`` (a dict from column to value), ``count``, ``results`` and ``bounds``, and ``other``, None
            or such a dict with ``slices``, their number, in place of the key.
        """
        found: dict[str, Any] = {**self._numbers(), "by": list(self.by), "sources": list(self.sources)}
        if self.by:
            found["min_count"] = self.min_count
            found["slices"] = [
                {"key": dict(zip(self.by, key, strict=True)), **part._numbers()} for key, part in self.slices.items()
            ]
            other = self.other
            found["other"] = None if other is None else {"slices": len(other.all_slices), **other._numbers()}
        return found

    def _numbers(self) -> dict[str, Any]:
        bounds = {key: list(both) for key, both in self.bounds.items()}
        return {"count": self.count, "results": dict(self.results), "bounds": bounds}

    def _title(self) -> str:
        by = f", {len(self.all_slices):,} slices by {', '.join(self.by)}" if self.by else ""
        return f"Evaluation of {self.head!r}: {self.count:,} examples{by}"

    def _metric_rows(self) -> list[list[str]]:
        rows = [["metric", "value", "at least", "at most"]]
        for key, value in self.results.items():
            bounds = self.bounds.get(key)
            rows.append([key, f"{value:.6g}", *(("", "") if bounds is None else map("{:.6g}".format, bounds))])
        return rows

    def _slice_rows(self) -> list[list[str]]:
        """A row for each slice, to `_MOST_ROWS` of them."""
        found = [(list(map(shown, key)), part) for key, part in self.slices.items()]
        if self.other is not None:
            blank = [""] * (len(self.by) - 1)
            found.append(([f"(other: {len(self.other.all_slices):,} slices)", *blank], self.other))
        if not found:
            return []
        names = list(found[0][1].results)
        rows = [[*self.by, "count", *names]]
        for key, part in found[:_MOST_ROWS]:
            rows.append([*key, f"{part.count:,}", *(f"{part.results[name]:.6g}" for name in names)])
        if len(found) > _MOST_ROWS:
            rows.append([f"({len(found) - _MOST_ROWS:,} more)", *[""] * (len(rows[0]) - 1)])
        return rows

    def __repr__(self) -> str:
        try:
            tables = [(1, self._metric_rows()), (len(self.by), self._slice_rows())]
        except ValueError as error:
            return f"{self._title()}\n\n  {error}"
        return "\n\n".join([self._title(), *(_as_text(rows, names) for names, rows in tables if rows)])

    def _repr_html_(self) -> str:
        title = f"<p>{html.escape(self._title())}</p>"
        try:
            return "\n".join([title, *(_as_html(rows) for rows in (self._metric_rows(), self._slice_rows()) if rows)])
        except ValueError as error:
            return f"{title}\n<p>{html.escape(str(error))}</p>"


_FORMAT = "glmheads.Evaluation"
_VERSION = 1
_WIDTH = 118
_MOST_ROWS = 60
_OF_GLMHEADS = {
    f"glmheads.{made.__name__}"
    for made in (BinaryClassHead, LogisticRegressionHead, NumericColumn, PoissonRegressionHead, RegressionHead)
}
"""Classes that a file may name: making them runs no code but glmheads' own."""


def _written(head: Head) -> dict[str, Any] | None:
    """What the head was made with; None where that can't be written."""
    try:
        return head.to_dict()
    except (TypeError, ValueError):
        return None


def _made_again(label: Any, config: Any) -> Head:
    """The head that a file tells of."""
    if config is None:
        raise ValueError(f"{label} does not tell its head, which has parts that can't be written: give the head")
    foreign = sorted(set(_imports(config)) - _OF_GLMHEADS)
    if foreign:
        raise ValueError(
            f"{label} is of a head with parts that are not of glmheads, {', '.join(foreign)}: give the head; a file's "
            "code is not imported"
        )
    try:
        return Head.from_dict(config)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{label} tells of no head that this glmheads can make: {error}") from error


def _imports(config: Any) -> Iterator[str]:
    """The names that ``Head.from_dict`` would import."""
    if isinstance(config, list):
        for element in config:
            yield from _imports(element)
    elif isinstance(config, dict):
        for key, element in config.items():
            if key in ("class", "function"):
                yield str(element)
            yield from _imports(element)


def _as_text(rows: list[list[str]], names: int) -> str:
    """A table of the columns that fit in a line; the first `names` columns are not numbers."""
    lines = [""] * len(rows)
    for index, cells in enumerate(zip(*rows, strict=True)):
        width = max(map(len, cells))
        if index > names and len(lines[0]) + width + 2 > _WIDTH:
            break
        place = str.ljust if index < names else str.rjust
        lines = [f"{line}  {place(cell, width)}" for line, cell in zip(lines, cells, strict=True)]
    return "\n".join(line.rstrip() for line in lines)


def _as_html(rows: list[list[str]]) -> str:
    head, *body = [[html.escape(cell) for cell in row] for row in rows]
    lines = ["".join(f"<th>{cell}</th>" for cell in head)]
    lines += ["".join(f"<td>{cell}</td>" for cell in row) for row in body]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
