"""Columns as people have them become arrays, without a copy where there need be none; the rest is refused by name."""

import datetime
import decimal
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import glmheads as gh
from glmheads.inputs import as_labels, as_logits, as_weights
from glmheads.inputs.arrays import as_array

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")

LOGITS = np.asarray([[1.0], [-2.0], [0.5], [3.0]])
NUMBERS = [1.0, 0.0, 1.0, 0.0]
NULLS = [1, None, 0, None]


class DLPack:
    """An object that has nothing but ``__dlpack__``."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


class ArrayLike:
    """An object that has nothing but ``__array__``."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self._values, dtype=dtype)


def torch_dlpack(values: list[Any]) -> Any:
    return DLPack(pytest.importorskip("torch").tensor(values))


def jax_dlpack(values: list[Any]) -> Any:
    return DLPack(pytest.importorskip("jax").numpy.asarray(values))


def half(values: list[Any]) -> int:
    return len(values) // 2


COLUMNS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "list-of-scalars": lambda values: [np.asarray(value)[()] for value in values],
    "numpy": np.asarray,
    "memoryview": lambda values: memoryview(np.asarray(values)),
    "array-like": ArrayLike,
    "dlpack-numpy": lambda values: DLPack(np.asarray(values)),
    "dlpack-torch": torch_dlpack,
    "dlpack-jax": jax_dlpack,
    "pandas": lambda values: pandas.Series(values, index=range(len(values), 0, -1)),
    "pandas-index": pandas.Index,
    "pandas-nullable": lambda values: pandas.Series(values, dtype="Float64"),
    "pandas-integer": lambda values: pandas.Series(values).astype("Int64"),
    "pandas-array": lambda values: pandas.array(values, dtype="Float64"),
    "pandas-arrow": lambda values: pandas.Series(values, dtype="double[pyarrow]"),
    "pandas-category": lambda values: pandas.Series(values, dtype="category"),
    "pandas-sparse": lambda values: pandas.Series(values, dtype="Sparse[float]"),
    "polars": polars.Series,
    "polars-integer": lambda values: polars.Series(values).cast(polars.Int8),
    "polars-chunks": lambda values: polars.concat(
        [polars.Series(values[: half(values)]), polars.Series(values[half(values) :])], rechunk=False
    ),
    "arrow": pyarrow.array,
    "arrow-slice": lambda values: pyarrow.array([9.0, *values, 9.0])[1:-1],
    "arrow-integer": lambda values: pyarrow.array([int(value) for value in values], pyarrow.uint8()),
    "arrow-half": lambda values: pyarrow.array(np.asarray(values, dtype=np.float16)),
    "arrow-dictionary": lambda values: pyarrow.array(values).dictionary_encode(),
    "arrow-chunks": lambda values: pyarrow.chunked_array([values[: half(values)], values[half(values) :]]),
    "arrow-dictionary-chunks": lambda values: pyarrow.chunked_array(
        [pyarrow.array(part).dictionary_encode() for part in (values[: half(values)], values[half(values) :])]
    ),
}
each_column = pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)


class TestColumns:
    @each_column
    def test_is_the_plain_array(self, column):
        found = as_array("labels", column(NUMBERS))
        assert isinstance(found, np.ndarray) or found.__array_namespace__() is not None
        assert_array_equal(np.asarray(found), NUMBERS)

    @each_column
    def test_as_labels_weights_and_logits_gives_the_same_bits(self, column):
        head = gh.BinaryClassHead(weight_column="w")
        weights = [2.0, 1.0, 0.0, 3.0]
        expected = head.loss(np.asarray(NUMBERS), LOGITS, {"w": np.asarray(weights)})
        assert head.loss(column(NUMBERS), LOGITS, {"w": column(weights)}) == expected
        logits = as_logits(np.asarray(as_array("logits", column(weights)))[:, None], 1)
        assert_array_equal(logits, np.asarray(weights)[:, None])

    @pytest.mark.parametrize("dtype", ["bool", "boolean", "bool[pyarrow]"])
    def test_booleans_of_pandas(self, dtype):
        assert_array_equal(as_array("labels", pandas.Series([True, False], dtype=dtype)), [True, False])

    @pytest.mark.parametrize(
        "column",
        [polars.Series([True, False]), pyarrow.array([True, False]), pyarrow.chunked_array([[True], [False]])],
        ids=["polars", "arrow", "arrow-chunks"],
    )
    def test_booleans(self, column):
        assert_array_equal(as_array("labels", column), [True, False])

    def test_nan_is_a_number_where_null_is_another_thing(self):
        for column in (polars.Series([1.0, np.nan]), pyarrow.array([1.0, np.nan]), pandas.Series([1.0, np.nan])):
            assert_array_equal(as_array("logits", column), [1.0, np.nan])

    @pytest.mark.parametrize(
        "table",
        [
            pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0, 1, 0]}),
            pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0, 1, 0]}, dtype="Float64"),
            polars.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0, 1, 0]}),
            pyarrow.table({"a": [1.0, 2.0, 3.0], "b": [0, 1, 0]}),
            pyarrow.record_batch({"a": [1.0, 2.0, 3.0], "b": [0, 1, 0]}),
            polars.Series([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]]),
            polars.Series([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]], dtype=polars.Array(polars.Float64, 2)),
            pyarrow.array([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]]),
            pyarrow.array([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]], pyarrow.list_(pyarrow.float64(), 2)),
            pandas.Series([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]]),
        ],
        ids=[
            *("pandas", "pandas-nullable", "polars", "arrow", "arrow-batch"),
            *("polars-lists", "polars-arrays", "arrow-lists", "arrow-arrays", "pandas-lists"),
        ],
    )
    def test_several_numbers_for_each_example(self, table):
        expected = np.asarray([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
        assert_array_equal(as_logits(table, 2), expected)
        head = gh.RegressionHead(label_dimension=2)
        assert head.loss(table, np.ones((3, 2))) == head.loss(expected, np.ones((3, 2)))

    def test_one_column_of_a_table_is_one_logit(self):
        for make in (pandas.DataFrame, polars.DataFrame, pyarrow.table, pyarrow.record_batch):
            assert as_logits(make({"a": [1.0, 2.0]}), 1).tolist() == [[1.0], [2.0]]

    def test_empty(self):
        for column in ([], polars.Series([], dtype=polars.Float64), pyarrow.chunked_array([], type=pyarrow.float64())):
            assert as_array("labels", column).shape == (0,)


class TestCopies:
    """The memory of a source without nulls is used, not copied."""

    @pytest.mark.parametrize(
        "column",
        [
            DLPack(np.asarray(NUMBERS)),
            pandas.Series(NUMBERS),
            pandas.DataFrame({"a": NUMBERS}),
            pandas.array(NUMBERS, dtype="double[pyarrow]"),
            polars.Series(NUMBERS),
            polars.DataFrame({"a": NUMBERS}),
            pyarrow.array(NUMBERS),
            pyarrow.chunked_array([NUMBERS]),
            pyarrow.table({"a": NUMBERS}),
        ],
        ids=lambda column: type(column).__module__.split(".")[0] + "-" + type(column).__name__,
    )
    def test_none_is_made(self, column):
        first, second = as_array("labels", column), as_array("labels", column)
        assert np.shares_memory(first, second)

    def test_an_array_is_itself(self):
        array = np.asarray(NUMBERS)
        assert as_array("labels", array) is array
        assert as_logits(LOGITS, 1) is LOGITS
        assert np.shares_memory(as_labels(array, LOGITS), array)
        assert np.shares_memory(as_weights({"w": array}, "w", LOGITS), array)


NULLABLE: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "list-of-booleans": lambda values: [None if value is None else bool(value) for value in values],
    "numpy-object": lambda values: np.asarray(values, dtype=object),
    "list-of-NA": lambda values: [pandas.NA if value is None else value for value in values],
    "pandas-object": lambda values: pandas.Series(values, dtype=object),
    "pandas-integer": lambda values: pandas.Series(values, dtype="Int64"),
    "pandas-float": lambda values: pandas.Series(values, dtype="Float64"),
    "pandas-boolean": lambda values: pandas.Series(values, dtype="boolean"),
    "pandas-arrow": lambda values: pandas.Series(values, dtype="int64[pyarrow]"),
    "pandas-arrow-float": lambda values: pandas.Series(values, dtype="double[pyarrow]"),
    "pandas-category": lambda values: pandas.Series(values, dtype="category"),
    "pandas-array": lambda values: pandas.array(values, dtype="Int64"),
    "polars": polars.Series,
    "polars-boolean": lambda values: polars.Series(values).cast(polars.Boolean),
    "polars-decimal": lambda values: polars.Series(values).cast(polars.Decimal(5, 2)),
    "arrow": pyarrow.array,
    "arrow-boolean": lambda values: pyarrow.array(values).cast(pyarrow.bool_()),
    "arrow-dictionary": lambda values: pyarrow.array(values).dictionary_encode(),
    "arrow-null-in-dictionary": lambda values: pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([int(value is None) for value in values]), pyarrow.array([1, None])
    ),
    "arrow-chunks": lambda values: pyarrow.chunked_array([values[: half(values)], values[half(values) :]]),
    "decimals": lambda values: [None if value is None else decimal.Decimal(value) for value in values],
}
each_nullable = pytest.mark.parametrize("column", NULLABLE.values(), ids=NULLABLE)


class TestNulls:
    @each_nullable
    def test_are_refused_with_their_number_and_place(self, column):
        text = "must not be missing: 2 of 4 are null, at 1, 3. Drop or fill them"
        head = gh.BinaryClassHead(weight_column="w")
        with pytest.raises(ValueError, match=f"^labels {text}"):
            head.loss(column(NULLS), LOGITS, {"w": NUMBERS})
        with pytest.raises(ValueError, match=re.escape(f"weights (feature w) {text}")):
            head.loss(NUMBERS, LOGITS, {"w": column(NULLS)})
        with pytest.raises(ValueError, match=f"^logits {text}"):
            head.loss(NUMBERS, column(NULLS), {"w": NUMBERS})

    @each_nullable
    def test_only_the_first_places_are_shown(self, column):
        with pytest.raises(ValueError, match=re.escape("7 of 8 are null, at 1, 2, 3, 4, 5, ...")):
            as_array("labels", column([1, *[None] * 7]))

    def test_normalizers_see_none(self):
        column = gh.numeric_column("w", normalizer_fn=lambda w: w / 2)
        with pytest.raises(ValueError, match="4 are null"):
            gh.BinaryClassHead(column).loss(NUMBERS, LOGITS, {"w": polars.Series(NULLS)})

    @pytest.mark.parametrize(
        "table",
        [
            pandas.DataFrame({"a": [1, 2], "b": pandas.array([1, None], dtype="Int64")}),
            polars.DataFrame({"a": [1, 2], "b": [1, None]}),
            pyarrow.table({"a": [1, 2], "b": [1, None]}),
        ],
        ids=["pandas", "polars", "arrow"],
    )
    def test_of_a_table_name_the_column(self, table):
        with pytest.raises(ValueError, match=re.escape("logits (column b) must not be missing: 1 of 2 are null, at 1")):
            as_logits(table, 2)

    @pytest.mark.parametrize(
        "column",
        [
            polars.Series([[1.0, 2.0], [3.0, None]]),
            polars.Series([[1.0, 2.0], [3.0, None]], dtype=polars.Array(polars.Float64, 2)),
            pyarrow.array([[1.0, 2.0], [3.0, None]]),
            pyarrow.array([[1.0, 2.0], [3.0, None]], pyarrow.list_(pyarrow.float64(), 2)),
            pandas.Series([[1.0, 2.0], [3.0, None]]),
            [[1.0, 2.0], [3.0, None]],
        ],
        ids=["polars-lists", "polars-arrays", "arrow-lists", "arrow-arrays", "pandas-lists", "lists"],
    )
    def test_inside_lists(self, column):
        with pytest.raises(ValueError, match="logits must not be missing: 1 of 4 are null, at 3"):
            as_logits(column, 2)


DAY = datetime.date(2024, 1, 1)
ONE = decimal.Decimal("1.5")
REFUSED = {
    "words": (["a", "b"], "words or objects: give label_vocabulary"),
    "words-pandas": (pandas.Series(["a", "b"]), "words or objects: give label_vocabulary"),
    "words-polars": (polars.Series(["a", "b"]), "words or objects: give label_vocabulary"),
    "words-arrow": (pyarrow.array(["a", "b"]), "words or objects: give label_vocabulary"),
    "words-category": (pandas.Series(["a", "b"], dtype="category"), "words or objects: give label_vocabulary"),
    "words-and-null": (polars.Series(["a", None]), "must not be missing: 1 of 2 are null"),
    "ragged": ([[1.0], [1.0, 2.0]], "nested lists of unequal length"),
    "ragged-pandas": (pandas.Series([[1.0], [1.0, 2.0]]), "nested lists of unequal length"),
    "ragged-polars": (polars.Series([[1.0], [1.0, 2.0]]), "nested lists of unequal length"),
    "ragged-arrow": (pyarrow.array([[1.0], [1.0, 2.0]]), "nested lists of unequal length"),
    "masked": (np.ma.array([1.0, 2.0], mask=[True, False]), "must not be a masked array"),
    "dates": (np.asarray(["2024-01-01"], dtype="M8[D]"), "not dates or times"),
    "dates-pandas": (pandas.to_datetime(pandas.Series([DAY])), "not dates or times"),
    "dates-polars": (polars.Series([DAY]), "not dates or times"),
    "dates-arrow": (pyarrow.array([DAY]), "not dates or times"),
    "dates-list": ([DAY], "words or objects"),
    "durations": (polars.Series([datetime.timedelta(1)]), "not dates or times"),
    "decimals-pandas": (pandas.Series([ONE]), "'decimal.Decimal'>: convert them to float"),
    "decimals-pandas-arrow": (
        pandas.Series([ONE], dtype=pandas.ArrowDtype(pyarrow.decimal128(5, 2))),
        "'decimal.Decimal'>: convert them to float",
    ),
    "decimals-polars": (polars.Series([ONE]), "'decimal.Decimal'>: convert them to float"),
    "decimals-arrow": (pyarrow.array([ONE]), "'decimal.Decimal'>: convert them to float"),
    "complex": ([1j], "must be real numbers. Given dtype: complex128"),
    "records": (np.zeros(2, dtype=[("a", float)]), "must be real numbers"),
    "structs": (polars.Series([{"a": 1}]), "must be real numbers, not records"),
    "twins": (pandas.DataFrame([[1.0, 2.0]], columns=["a", "a"]), "columns of different names. Given: ['a', 'a']"),
    "column-of-words": (pandas.DataFrame({"a": [1.0], "b": ["x"]}), "(column b) must be real numbers"),
}
"""Columns that are refused and why; test_bad_input.py has lists, sparse arrays and objects that are no columns."""


@pytest.mark.parametrize(("column", "text"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(column, text):
    with pytest.raises((TypeError, ValueError), match=re.escape(text)) as caught:
        gh.BinaryClassHead().loss(column, LOGITS)
    assert str(caught.value).startswith("labels")
