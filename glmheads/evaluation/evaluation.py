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
        keys = [row.pop("slice") for row in rows]
        floats = dict.fromkeys(rows[0].keys() - {"metric", "count"}, float)
        frame = pandas.DataFrame(rows).astype(floats)
        for position, name in enumerate(self.by):
            title = f"slice.{name}" if name in rows[0] else name
            frame.insert(position, title, [key.get(name, "(all)") for key in keys], allow_duplicates=True)
        return frame

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
        statistics, count = self.statistics + other.statistics, self.count + other.count
        min_count = max(self.min_count, other.min_count)
        sources = tuple(dict.fromkeys((*self.sources, *other.sources)))
        return Evaluation(self.head, statistics, count, self.by, in_order(slices), min_count, sources)

    # Saving

    def save(self, file: archive.File) -> None:
        """Write the statistics of all examples and of every slice to a file, in NumPy's npz format without pickle.

        The configuration of the head is written too, if it can be (see ``Head.to_dict``).

        Parameters
        ----------
        file : path or binary file
            A path without an ending gets .npz.
        """
        parts = [self, *self.all_slices.values()]
        structures: dict[Any, int] = {}
        records: list[Any] = []
        arrays = [np.empty(0)]  # all of float64, and written as one: a file of many members is slow
        for record in (part._on_host for part in parts):
            structure = structures.setdefault(record.structure()[1], len(structures))
            own = record.arrays()
            records.append([structure, [[0, *array.shape] for array in own]])  # 0 is the number of the one array
            arrays += [array.ravel() for array in own]
        try:
            head = self.head.to_dict()
        except (TypeError, ValueError):
            head = None
        about = {"format": _FORMAT, "version": _VERSION, "head": head, "config": self.statistics.config, "by": self.by}
        about |= {"min_count": self.min_count, "sources": self.sources}
        counts, keys = [part.count for part in parts], list(self.all_slices)
        data = {"structures": list(structures), "keys": keys, "counts": counts, "records": records}
        archive.write(file, about | data, [np.concatenate(arrays)])

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
        fields, arrays = archive.read(file, _FORMAT, _VERSION, noun="a glmheads evaluation")
        label = getattr(file, "name", file)
        saved_head = fields.get("head")
        if head is None:
            head = _from_dict(label, saved_head)
        if fields.get("config") != head.empty().config:
            it_is_of = saved_head or fields.get("config")
            raise ValueError(f"{label} is of a differently configured head: it is of {it_is_of}, this head is {head!r}")
        try:
            evaluations = [cls(head, *both) for both in zip(_records(fields, arrays), fields["counts"], strict=True)]
            by, keys = tuple(fields["by"]), [tuple(key) for key in fields["keys"]]
            if any(len(key) != len(by) or any(isinstance(value, (list, dict)) for value in key) for key in keys):
                raise ValueError("a key of a slice must have a value for each column")
            slices = dict(zip(keys, evaluations[1:], strict=True))
            sources = tuple(fields["sources"])
            return replace(evaluations[0], by=by, all_slices=slices, min_count=fields["min_count"], sources=sources)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise ValueError(f"{label} is not a file of a glmheads evaluation, or is damaged: {error}") from error

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
            keyed = ((dict(zip(self.by, key, strict=True)), part) for key, part in self.slices.items())
            slices = [{"key": key, **part._numbers()} for key, part in keyed]
            other = self.other and {"slices": len(self.other.all_slices), **self.other._numbers()}
            content |= {"min_count": self.min_count, "slices": slices, "other": other}
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
                table.rows.append([f"({len(slices) - _MOST_SLICES:,} more)", *[""] * (len(table.header) - 1)])
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


def _records(fields: dict[str, Any], arrays: list[np.ndarray[Any, Any]]) -> Iterator[Statistics]:
    """The records of a file, checked: that of all examples, and that of each slice."""
    flat, at = arrays[0] if arrays else np.empty(0), 0
    for index, forms in fields["records"]:
        pieces = []
        for _, *shape in forms:
            start, at = at, at + math.prod(shape)
            pieces.append(flat[start:at].reshape(shape))
        record = Statistics.from_arrays((fields["config"], fields["structures"][index]), pieces)
        _ = record.states  # checks it
        yield record


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
        config = list(config.values())
    if isinstance(config, list):
        for element in config:
            yield from _imports(element)
