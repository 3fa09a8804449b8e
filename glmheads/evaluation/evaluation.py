"""`Evaluation`: the results of `evaluate`, for all examples and for slices; adds, saves, loads and shows them."""

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from glmheads import archive, heads
from glmheads.display import Table
from glmheads.evaluation.keys import Key, in_order
from glmheads.evaluation.rows import Row, groups, metric_table, slice_table
from glmheads.heads import FamilyHead
from glmheads.statistics import Statistics

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Evaluation"]


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The statistics of all examples and of each slice; evaluations of one head add up.

    It is immutable; ``dataclasses.replace`` gives one with another `min_count` or other `sources`.

    Attributes
    ----------
    head : FamilyHead
    statistics : Statistics
        Of all examples.
    count : int
        The number of examples, those of weight 0 included.
    by : tuple of str
        The columns that define the slices.
    all_slices : mapping from tuple to Evaluation
        Every slice by its key, however small, in order. A key has a value for each column of `by`: a string, a number,
        a bool, or None where the value was missing (null or NaN). Any other value (a date, a decimal number) is
        written as a string.
    min_count : int
        Examples that a slice must have to be among the `slices`.
    sources : tuple of str
        Where the data came from, for reports; a sum of evaluations has the sources of both.

    Examples
    --------
    >>> import glmheads as gh
    >>> monday = {"logits": [2.0, -1.0], "labels": [1, 0], "site": ["a", "b"]}
    >>> tuesday = {"logits": [0.5, -3.0], "labels": [0, 0], "site": ["a", "c"]}
    >>> head = gh.LogisticRegressionHead()
    >>> both = gh.evaluate(head, monday, by="site") + gh.evaluate(head, tuesday, by="site")
    >>> both.count, list(both.slices)
    (4, [('a',), ('b',), ('c',)])
    >>> both.slices["a",].results["label/mean"]
    0.5
    """

    head: FamilyHead
    statistics: Statistics
    count: int
    by: tuple[str, ...] = ()
    all_slices: Mapping[Key, "Evaluation"] = field(default_factory=dict)
    min_count: int = 1
    sources: tuple[str, ...] = ()

    # Reading

    @cached_property
    def results(self) -> dict[str, float]:
        """Every metric of all examples.

        Raises
        ------
        ValueError
            If the data held bad labels or weights that could be counted but not refused.
        """
        return {key: float(value) for key, value in self.head.results(self._on_host).items()}

    @cached_property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Bounds of the areas by metric key: (lower, upper) that hold the exact value for the data."""
        return {key: (float(low), float(high)) for key, (low, high) in self.head.bounds(self._on_host).items()}

    def curves(self) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
        """Curves of all examples, by name: see ``Head.curves``."""
        return self.head.curves(self._on_host)

    @cached_property
    def _on_host(self) -> Statistics:
        return self.statistics.to("numpy")

    @property
    def _weight(self) -> float | None:
        """The total weight of the examples; None where the statistics don't have it."""
        if self.head.weight_column is None:
            return float(self.count)
        means: Any = self._on_host.states.get("means")
        return None if means is None else float(means["weight"]) / self.head.logits_dimension

    @property
    def slices(self) -> dict[Key, "Evaluation"]:
        """The slices of at least `min_count` examples by key, in order: numbers before words, missing values last."""
        return {key: part for key, part in self.all_slices.items() if part.count >= self.min_count}

    @cached_property
    def other(self) -> "Evaluation | None":
        """The slices of fewer than `min_count` examples together, its `all_slices`; None if there are none."""
        small = {key: part for key, part in self.all_slices.items() if part.count < self.min_count}
        if not small:
            return None
        statistics = sum((part.statistics for part in small.values()), start=self.head.empty())
        return Evaluation(self.head, statistics, sum(part.count for part in small.values()), self.by, small)

    def rows(self) -> list[Row]:
        """The results as rows: one for each metric of all examples, then one for each metric of each slice.

        Returns
        -------
        list of dict
            ``slice``, a dict from column to value, which is empty for all examples; ``metric``; ``value``;
            ``lower_bound`` and ``upper_bound``, None where the metric has no bounds; ``interval_lower`` and
            ``interval_upper``, which are None; ``count``; ``weight``, the total weight of the examples, None where it
            is not known. Slices of fewer than `min_count` examples have no rows here, but in ``other.rows()``.

        Examples
        --------
        >>> import glmheads as gh
        >>> data = {"logits": [2.0, -1.0, 0.5], "labels": [1, 0, 0], "site": ["a", "b", "b"]}
        >>> evaluation = gh.evaluate(gh.BinaryClassHead(), data, by="site")
        >>> [(row["slice"], row["value"]) for row in evaluation.rows() if row["metric"] == "accuracy"]
        [({}, 0.6666666666666666), ({'site': 'a'}, 1.0), ({'site': 'b'}, 0.5)]
        """
        return [row for group in groups(self) if group.kind != "other" for row in group.rows.values()]

    def to_pandas(self) -> "DataFrame":
        """The `rows` as a DataFrame, with a column for each column of `by` in place of ``slice``.

        Their value is "(all)" in the rows of all examples. A column of `by` that is named as another field is called
        ``slice.NAME``.

        Raises
        ------
        ImportError
            If pandas is not installed.

        Examples
        --------
        >>> import glmheads as gh
        >>> data = {"logits": [2.0, -1.0, 0.5], "labels": [1, 0, 0], "site": ["a", "b", "b"]}
        >>> frame = gh.evaluate(gh.BinaryClassHead(), data, by="site").to_pandas()
        >>> frame.pivot(index="site", columns="metric", values="value")["accuracy"].to_dict()
        {'(all)': 0.6666666666666666, 'a': 1.0, 'b': 0.5}
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("Evaluation.to_pandas needs pandas: pip install pandas") from error
        rows = self.rows()
        fields = [field for field in rows[0] if field != "slice"]
        names = [f"slice.{name}" if name in fields else name for name in self.by]
        keys = ([row["slice"].get(name, "(all)") for name in self.by] for row in rows)
        cells = [[*key, *(row[field] for field in fields)] for key, row in zip(keys, rows, strict=True)]
        floats = dict.fromkeys((field for field in fields if field not in ("metric", "count")), float)
        return pandas.DataFrame(cells, columns=[*names, *fields]).astype(floats)

    # Adding

    def __add__(self, other: "Evaluation") -> "Evaluation":
        """The evaluation of the data of both, with the larger `min_count`.

        Raises
        ------
        ValueError
            If the heads are configured differently, or the slices are by different columns.
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
        """Write the statistics of all examples and of every slice to a file, in NumPy's npz format without pickle.

        The configuration of the head is written too, if it can be (see ``Head.to_dict``).

        Parameters
        ----------
        file : path or binary file
            A path without an ending gets .npz.
        """
        evaluations = [self, *self.all_slices.values()]
        records = [evaluation._on_host for evaluation in evaluations]
        forms = [record.structure()[1] for record in records]
        arrays = [record.arrays() for record in records]
        structures = list(dict.fromkeys(forms))
        flat: dict[str, list[np.ndarray[Any, Any]]] = {}  # one array for each dtype: many members make a slow file
        for array in (array for group in arrays for array in group):
            flat.setdefault(array.dtype.str, []).append(array.ravel())
        dtypes = list(flat)
        fields = {
            "format": _FORMAT,
            "version": _VERSION,
            "head": _to_dict(self.head),
            "config": self.statistics.config,
            "by": self.by,
            "min_count": self.min_count,
            "sources": self.sources,
            "dtypes": dtypes,
            "structures": structures,
            "keys": list(self.all_slices),
            "counts": [evaluation.count for evaluation in evaluations],
            "records": [
                [structures.index(form), [[dtypes.index(array.dtype.str), *array.shape] for array in group]]
                for form, group in zip(forms, arrays, strict=True)
            ],
        }
        archive.write(file, fields, [np.concatenate(pieces, dtype=np.dtype(dtype)) for dtype, pieces in flat.items()])

    @classmethod
    def load(cls, file: archive.File, head: FamilyHead | None = None) -> "Evaluation":
        """The evaluation that `save` wrote, with statistics as NumPy arrays.

        Parameters
        ----------
        file : path or binary file
        head : Head, optional
            One that is configured like the head that made the evaluation. If it is not given, the head is made from
            the configuration in the file; no code is imported for that, so it must be a head of glmheads itself
            without functions of your own.

        Raises
        ------
        ValueError
            If the file is not such an evaluation, is damaged, is of a later version of the format, or is of a
            differently configured head; or if `head` is not given and can't be made from the file.
        """
        if not (head is None or isinstance(head, FamilyHead)):
            raise TypeError(f"head must be the Head that made the evaluation, or one like it. Given type: {type(head)}")
        fields, flat = archive.read(file, _FORMAT, _VERSION, noun="a glmheads evaluation")
        label = getattr(file, "name", file)
        saved_head = fields.get("head")
        if head is None:
            head = _from_dict(label, saved_head)
        if fields.get("config") != head.empty().config:
            raise ValueError(
                f"{label} is of a differently configured head: it is of {saved_head or fields.get('config')}, this "
                f"head is {head!r}"
            )
        try:
            return cls._from_fields(head, fields, flat)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise ValueError(f"{label} is not a file of a glmheads evaluation, or is damaged: {error}") from error

    @classmethod
    def _from_fields(cls, head: FamilyHead, fields: dict[str, Any], flat: list[np.ndarray[Any, Any]]) -> "Evaluation":
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
        _ = [record.states for record in records]  # checks them
        whole, *evaluations = [cls(head, *both) for both in zip(records, fields["counts"], strict=True)]
        by, keys = tuple(fields["by"]), [tuple(key) for key in fields["keys"]]
        if any(len(key) != len(by) or any(isinstance(value, (list, dict)) for value in key) for key in keys):
            raise ValueError("a key of a slice must have a value for each column")
        slices = dict(zip(keys, evaluations, strict=True))
        sources = tuple(fields["sources"])
        return replace(whole, by=by, all_slices=slices, min_count=fields["min_count"], sources=sources)

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
        content: dict[str, Any] = {**self._numbers(), "by": list(self.by), "sources": list(self.sources)}
        if self.by:
            content["min_count"] = self.min_count
            content["slices"] = [
                {"key": dict(zip(self.by, key, strict=True)), **part._numbers()} for key, part in self.slices.items()
            ]
            other = self.other
            content["other"] = None if other is None else {"slices": len(other.all_slices), **other._numbers()}
        return content

    def _numbers(self) -> dict[str, Any]:
        bounds = {key: list(both) for key, both in self.bounds.items()}
        return {"count": self.count, "results": dict(self.results), "bounds": bounds}

    def _title(self) -> str:
        by = f", {len(self.all_slices):,} slices by {', '.join(self.by)}" if self.by else ""
        return f"Evaluation of {self.head!r}: {self.count:,} examples{by}"

    def _tables(self) -> list[Table]:
        """The metrics, and the slices if there are any, at most `_MOST_SLICES` of them; or what is wrong with them."""
        whole, *slices = groups(self)
        try:
            tables = [metric_table(whole.rows.values())]
        except ValueError as error:
            return [Table([str(error)], [])]
        if slices:
            table = slice_table(slices[:_MOST_SLICES], self.by, list(slices[0].evaluation.results))
            if len(slices) > _MOST_SLICES:
                more = [f"({len(slices) - _MOST_SLICES:,} more)", *[""] * (len(table.header) - 1)]
                table = table._replace(rows=[*table.rows, more])
            tables.append(table)
        return tables

    def __repr__(self) -> str:
        return "\n\n".join([self._title(), *(table.as_text(_WIDTH) for table in self._tables())])

    def _repr_html_(self) -> str:
        return "\n".join([f"<p>{html.escape(self._title())}</p>", *(table.as_html() for table in self._tables())])


_FORMAT = "glmheads.Evaluation"
_VERSION = 1
_WIDTH = 118
_MOST_SLICES = 60
_OF_GLMHEADS = {f"glmheads.{name}" for name in (*heads.__all__, "NumericColumn")}
"""What a file may name: making it runs no code but glmheads' own."""


def _to_dict(head: FamilyHead) -> dict[str, Any] | None:
    """The configuration of the head; None where it can't be written."""
    try:
        return head.to_dict()
    except (TypeError, ValueError):
        return None


def _from_dict(label: Any, config: Any) -> FamilyHead:
    """The head of a configuration that was read from a file."""
    if config is None:
        raise ValueError(f"{label} does not tell its head, which has parts that can't be written: give the head")
    foreign = sorted(set(_imports(config)) - _OF_GLMHEADS)
    if foreign:
        raise ValueError(
            f"{label} is of a head with parts that are not of glmheads, {', '.join(foreign)}: give the head; a file's "
            "code is not imported"
        )
    try:
        return FamilyHead.from_dict(config)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{label} does not hold a head that this glmheads can make: {error}") from error


def _imports(config: Any) -> Iterator[str]:
    """The names that ``Head.from_dict`` would import."""
    if isinstance(config, dict):
        yield from (str(config[key]) for key in ("class", "function") if key in config)
    if isinstance(config, (dict, list)):
        for element in config.values() if isinstance(config, dict) else config:
            yield from _imports(element)
