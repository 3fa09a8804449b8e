"""`evaluate` over tables and batches: the whole, the slices, and what an `Evaluation` can do."""

import datetime
import decimal
import io
import json
import re
import sys
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import glmheads as gh
from glmheads import archive, backends
from glmheads.evaluation import Evaluator
from glmheads.evaluation.evaluator import log_odds
from glmheads.evaluation.keys import factorize

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")
arrow_dataset = pytest.importorskip("pyarrow.dataset")

N = 200
RNG = np.random.default_rng(0)
DATA: dict[str, Any] = {
    "x": RNG.normal(size=N),
    "y": RNG.integers(0, 2, N),
    "w": RNG.integers(0, 4, N).astype(float),
    "site": RNG.choice(["north", "south", "east"], N),
    "day": RNG.integers(1, 4, N),
}
HEAD = gh.BinaryClassHead(weight_column="w", thresholds=[0.25])
NAMES = {"logits": "x", "labels": "y"}


def rows(index: Any, data: dict[str, Any] = DATA) -> dict[str, Any]:
    return {name: column[index] for name, column in data.items()}


def statistics(data: dict[str, Any], head: gh.Head = HEAD) -> gh.Statistics:
    return head.statistics(data["y"], data["x"][:, None], data)


def same_bits(left: gh.Statistics, right: gh.Statistics) -> bool:
    return left.structure() == right.structure() and all(
        np.array_equal(a, b) for a, b in zip(left.arrays(), right.arrays(), strict=True)
    )


def agree(left: gh.Evaluation, right: gh.Evaluation) -> None:
    """The same examples, to the rounding of sums."""
    assert (left.count, left.by, list(left.all_slices)) == (right.count, right.by, list(right.all_slices))
    for one, other in zip((left, *left.all_slices.values()), (right, *right.all_slices.values()), strict=True):
        assert one.count == other.count
        assert_allclose(list(one.results.values()), list(other.results.values()), rtol=1e-12)


def dataset(folder: Any) -> Any:
    arrow_dataset.write_dataset(
        pyarrow.table(DATA), folder, format="parquet", max_rows_per_file=90, max_rows_per_group=90
    )
    return arrow_dataset.dataset(folder)


class Unnamed:
    """A mapping that is no dict."""

    def keys(self) -> Any:
        return DATA.keys()

    def __getitem__(self, name: str) -> Any:
        return DATA[name]


SOURCES = {
    "mapping": lambda _: DATA,
    "mapping-of-lists": lambda _: {name: column.tolist() for name, column in DATA.items()},
    "mapping-of-columns": lambda _: {"x": polars.Series(DATA["x"]), **rows(slice(None), DATA)},
    "no-dict": lambda _: Unnamed(),
    "pandas": lambda _: pandas.DataFrame(DATA, index=range(N, 0, -1)),
    "pandas-nullable": lambda _: pandas.DataFrame(DATA).convert_dtypes(),
    "pandas-arrow": lambda _: pandas.DataFrame(DATA).convert_dtypes(dtype_backend="pyarrow"),
    "polars": lambda _: polars.DataFrame(DATA),
    "lazy": lambda _: polars.LazyFrame(DATA),
    "arrow": lambda _: pyarrow.table(DATA),
    "arrow-chunks": lambda _: pyarrow.concat_tables(
        [pyarrow.table(rows(slice(0, 70))), pyarrow.table(rows(slice(70, N)))]
    ),
    "arrow-batch": lambda _: pyarrow.record_batch(DATA),
    "arrow-reader": lambda _: pyarrow.table(DATA).to_reader(max_chunksize=64),
    "arrow-dataset": dataset,
    "batches": lambda _: (pandas.DataFrame(rows(slice(i, i + 64))) for i in range(0, N, 64)),
    "list-of-mappings": lambda _: [rows(slice(i, i + 64)) for i in range(0, N, 64)],
    "tuples": lambda _: (
        (part["y"], part["x"][:, None], part) for part in (rows(slice(i, i + 64)) for i in range(0, N, 64))
    ),
    "arguments": lambda _: (
        {"labels": part["y"], "logits": part["x"][:, None], "features": part}
        for part in (rows(slice(i, i + 64)) for i in range(0, N, 64))
    ),
}
each_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


class TestWhole:
    @each_source
    def test_is_that_of_the_plain_arrays(self, source, tmp_path):
        found = gh.evaluate(HEAD, source(tmp_path / "data"), by=["site", "day"], **NAMES)
        agree(found, gh.evaluate(HEAD, DATA, by=["site", "day"], **NAMES))
        expected = HEAD.results(statistics(DATA))
        assert_allclose(list(found.results.values()), list(expected.values()), rtol=1e-12)
        assert found.count == N

    def test_has_the_bits_of_head_evaluate_and_does_not_depend_on_slices(self):
        batches = [rows(slice(i, i + 64)) for i in range(0, N, 64)]
        plain = HEAD.evaluate((part["y"], part["x"][:, None], part) for part in batches)
        for by in (None, "site", ["site", "day"]):
            found = gh.evaluate(HEAD, batches, by=by, **NAMES)
            assert {key: float(value) for key, value in plain.items()} == found.results
            assert same_bits(found.statistics, gh.evaluate(HEAD, batches, **NAMES).statistics)

    def test_stays_in_the_library_of_the_logits(self, lib):
        data = {**DATA, "x": lib.array(DATA["x"]), "y": lib.array(DATA["y"])}
        found = gh.evaluate(HEAD, data, by="site", **NAMES)
        assert backends.of(found.statistics.arrays()[0]) is lib.backend
        expected = gh.evaluate(HEAD, DATA, by="site", **NAMES)
        rtol = 1e-12 if lib.has_float64 else 1e-5
        assert all(type(value) is float for value in found.results.values())
        assert_allclose(list(found.results.values()), list(expected.results.values()), rtol=rtol)
        for key, part in expected.slices.items():
            assert_allclose(list(found.slices[key].results.values()), list(part.results.values()), rtol=rtol)

    def test_default_names(self):
        found = gh.evaluate(HEAD, {"logits": DATA["x"], "labels": DATA["y"], "w": DATA["w"]})
        assert found.results == gh.evaluate(HEAD, DATA, **NAMES).results
        assert found.by == ()
        assert found.slices == {}

    def test_weights_of_another_name(self):
        data = {name: column for name, column in DATA.items() if name != "w"} | {"cost": DATA["w"]}
        expected = gh.evaluate(HEAD, DATA, by="site", **NAMES)
        for table in (data, polars.DataFrame(data), [(DATA["y"], DATA["x"][:, None], data)]):
            found = gh.evaluate(HEAD, table, weights="cost", by="site", **NAMES)
            assert found.to_dict() == expected.to_dict()

    def test_several_logits(self):
        head = gh.RegressionHead(label_dimension=2)
        data = {"a": DATA["x"], "b": DATA["w"], "c": DATA["y"], "d": DATA["day"]}
        expected = head.evaluate([(np.stack([data["c"], data["d"]], 1), np.stack([data["a"], data["b"]], 1))])
        whole = {"both": np.stack([data["a"], data["b"]], 1), "truth": np.stack([data["c"], data["d"]], 1), **data}
        for table, names in (
            (polars.DataFrame(data), {"logits": ["a", "b"], "labels": ["c", "d"]}),
            (whole, {"logits": "both", "labels": "truth"}),
        ):
            found = gh.evaluate(head, table, by="d", **names)
            assert found.results == pytest.approx({key: float(value) for key, value in expected.items()}, rel=1e-12)
            assert sum(part.count for part in found.slices.values()) == N

    def test_words(self):
        head = gh.BinaryClassHead("w", label_vocabulary=["no", "yes"])
        data = {**DATA, "y": np.asarray(["no", "yes"])[DATA["y"]]}
        for table in (data, pandas.DataFrame(data), polars.DataFrame(data), pyarrow.table(data)):
            found = gh.evaluate(head, table, by="site", **NAMES)
            expected = gh.evaluate(gh.BinaryClassHead("w"), DATA, by="site", **NAMES)
            assert found.to_dict() | {"head": None} == expected.to_dict() | {"head": None}

    def test_a_loss_function_of_the_features(self):
        def loss_fn(labels, logits, features):
            return (labels - logits) ** 2 * np.asarray(features["day"])[:, None]

        head = gh.BinaryClassHead(loss_fn=loss_fn)
        found = gh.evaluate(head, polars.DataFrame(DATA), by="site", **NAMES)
        each = (DATA["y"] - DATA["x"]) ** 2 * DATA["day"]
        assert found.results["average_loss"] == pytest.approx(each.mean())
        for (site,), part in found.slices.items():
            assert part.results["average_loss"] == pytest.approx(each[DATA["site"] == site].mean())

    def test_regularization_is_of_the_whole(self):
        found = gh.evaluate(gh.BinaryClassHead(), [([1], [[0.0]], {"g": [1]}, [0.5])], by="g")
        assert found.results["regularization_loss"] == 0.5
        assert "regularization_loss" not in found.slices[1,].results
        assert "regularization_loss" in repr(found)

    def test_no_data(self):
        for data in ([], {"x": [], "y": [], "w": [], "site": []}):
            found = gh.evaluate(HEAD, data, by="site", **NAMES)
            assert found.count == 0
            assert set(found.results.values()) == {0.0}
            assert found.slices == {}
            assert found.other is None

    def test_progress_counts_examples(self):
        seen: list[int] = []
        gh.evaluate(HEAD, pyarrow.table(DATA).to_reader(64), progress=seen.append, **NAMES)
        assert seen == [64, 128, 192, 200]

    def test_only_the_columns_that_are_needed_are_read(self):
        read: list[str] = []

        class Columns(dict):
            def __getitem__(self, name):
                read.append(name)
                return super().__getitem__(name)

        gh.evaluate(HEAD, Columns(DATA, big=None), by="site", **NAMES)
        assert set(read) == {"x", "y", "w", "site"}
        assert Evaluator(HEAD, by="site", **NAMES).columns == ("x", "y", "w", "site")

    def test_memory_that_is_used_again(self):
        buffer = {name: column[:50].copy() for name, column in DATA.items()}

        def batches():
            for start in range(0, N, 50):
                for name, column in buffer.items():
                    column[:] = DATA[name][start : start + 50]
                yield buffer

        agree(gh.evaluate(HEAD, batches(), by="site", **NAMES), gh.evaluate(HEAD, DATA, by="site", **NAMES))

    def test_names_the_batch_that_is_refused(self):
        batches = [rows(slice(0, 100)), {**rows(slice(100, N)), "y": np.full(100, 2)}]
        with pytest.raises(ValueError, match="of 100 labels are not") as caught:
            gh.evaluate(HEAD, batches, **NAMES)
        assert caught.value.__notes__ == ["in batch 1, after 100 examples"]


class TestEvaluator:
    def test_is_evaluate_batch_by_batch(self):
        evaluator = Evaluator(HEAD, by="site", min_count=3, **NAMES)
        for start in range(0, N, 64):
            evaluator.update(rows(slice(start, start + 64)))
        batches = [rows(slice(i, i + 64)) for i in range(0, N, 64)]
        assert evaluator.evaluation().to_dict() == gh.evaluate(HEAD, batches, by="site", min_count=3, **NAMES).to_dict()

    def test_goes_on_after_it_was_read(self):
        evaluator = Evaluator(HEAD, by="site", **NAMES)
        evaluator.update(rows(slice(0, 100)))
        first = evaluator.evaluation()
        before = first.to_dict()
        evaluator.update(rows(slice(100, N)))
        assert first.to_dict() == before
        agree(evaluator.evaluation(), gh.evaluate(HEAD, DATA, by="site", **NAMES))

    @pytest.mark.parametrize(
        "bad",
        [
            {"y": np.full(N, 2)},
            {"site": ["short"]},
            {"w": np.full(N, -1.0)},
            {"x": [None] * N},
            {"site": [[1]] * N},
        ],
        ids=lambda bad: next(iter(bad)),
    )
    def test_is_not_changed_by_what_it_refuses(self, bad):
        evaluator = Evaluator(HEAD, by="site", **NAMES)
        evaluator.update(DATA)
        with pytest.raises((ValueError, TypeError)):
            evaluator.update({**DATA, **bad})
        assert evaluator.count == N
        assert evaluator.evaluation().to_dict() == gh.evaluate(HEAD, DATA, by="site", **NAMES).to_dict()


class TestSlices:
    def test_are_the_subsets_alone(self):
        found = gh.evaluate(HEAD, DATA, by=["site", "day"], **NAMES)
        keys = sorted({(str(site), int(day)) for site, day in zip(DATA["site"], DATA["day"], strict=True)})
        assert list(found.slices) == keys
        for (site, day), part in found.slices.items():
            subset = rows((DATA["site"] == site) & (DATA["day"] == day))
            assert part.count == len(subset["x"])
            assert same_bits(part.statistics, statistics(subset))

    @given(st.data())
    def test_are_the_subsets_alone_for_any_batches(self, data):
        cuts = sorted(data.draw(st.lists(st.integers(0, N), max_size=5)))
        batches = [rows(slice(a, b)) for a, b in zip([0, *cuts], [*cuts, N], strict=True)]
        found = gh.evaluate(HEAD, batches, by="site", **NAMES)
        for (site,), part in found.slices.items():
            assert same_bits(part.statistics, statistics(rows(DATA["site"] == site)))

    @pytest.mark.parametrize("waiting", [1, 7, 64, 1000])
    def test_do_not_depend_on_how_many_examples_wait(self, waiting, monkeypatch):
        monkeypatch.setattr("glmheads.accumulator._SLICE_CAPACITY", waiting)
        batches = [rows(slice(i, i + 30)) for i in range(0, N, 30)]
        agree(
            gh.evaluate(HEAD, batches, by=["site", "day"], **NAMES),
            gh.evaluate(HEAD, DATA, by=["site", "day"], **NAMES),
        )

    def test_add_up_to_the_whole(self):
        found = gh.evaluate(HEAD, DATA, by="site", **NAMES)
        total = sum((part.statistics for part in found.slices.values()), start=HEAD.empty())
        for one, other in zip(HEAD.results(total).values(), found.results.values(), strict=True):
            assert float(one) == pytest.approx(other, rel=1e-14)

    def test_batches_of_other_shapes_and_dtypes(self):
        batches = [
            {"x": np.float32([0.5, 1]), "y": [1, 0], "w": [1.0, 2.0], "site": ["a", "b"]},
            {
                "x": np.asarray([[0.5], [1]]),
                "y": np.asarray([[True], [False]]),
                "w": np.ones((2, 1)),
                "site": ["a", "c"],
            },
            {"x": [1, 2], "y": [0.5, 1.0], "w": [1, 1], "site": ["a", "longer than it was"]},
        ]
        found = gh.evaluate(HEAD, batches, by="site", **NAMES)
        assert {key: part.count for key, part in found.slices.items()} == {
            ("a",): 3, ("b",): 1, ("c",): 1, ("longer than it was",): 1,
        }  # fmt: skip
        assert found.slices["a",].results["label/mean"] == pytest.approx(2.5 / 3)

    def test_more_axes(self):
        head = gh.BinaryClassHead()
        logits, labels = RNG.normal(size=(6, 5, 1)), RNG.integers(0, 2, (6, 5))
        found = gh.evaluate(head, [(labels, logits, {"g": [0, 1, 0, 1, 0, 1]})], by="g")
        for group in (0, 1):
            assert same_bits(found.slices[group,].statistics, head.statistics(labels[group::2], logits[group::2]))

    def test_thousands(self):
        count = 20_000
        data = {"logits": RNG.normal(size=count), "labels": RNG.integers(0, 2, count)}
        data["g"] = np.arange(count) % 5000
        found = gh.evaluate(gh.BinaryClassHead(), data, by="g")
        assert list(found.slices) == [(i,) for i in range(5000)]
        assert {part.count for part in found.slices.values()} == {4}

    def test_bad_values_elsewhere_are_refused_by_slices(self, library):
        lazy = library("dask")
        data = {"logits": lazy.array([0.0, 1.0]), "labels": lazy.array([0.0, 2.0]), "g": [1, 2]}
        with pytest.raises(ValueError, match="1 bad labels"):
            _ = gh.evaluate(gh.RegressionHead(), data | {"labels": lazy.array([0.0, np.nan])}).results
        with pytest.raises(ValueError, match="1 of 2 labels"):
            gh.evaluate(gh.LogisticRegressionHead(), data, by="g")


class TestMinCount:
    def test_small_slices_are_reported_together(self):
        data = {"logits": np.zeros(7), "labels": [1, 0, 1, 1, 0, 0, 1], "g": list("aaabbcd")}
        head = gh.LogisticRegressionHead()
        found = gh.evaluate(head, data, by="g", min_count=3)
        assert list(found.slices) == [("a",)]
        assert list(found.other.all_slices) == [("b",), ("c",), ("d",)]
        assert found.other.count == 4
        assert found.other.results["label/mean"] == 0.5
        assert list(found.all_slices) == [("a",), ("b",), ("c",), ("d",)]
        assert replace(found, min_count=2).other.count == 2
        assert replace(found, min_count=1).other is None

    def test_small_slices_grow_when_evaluations_are_added(self):
        head = gh.LogisticRegressionHead()
        parts = [gh.evaluate(head, {"logits": [0.0], "labels": [1], "g": ["a"]}, by="g", min_count=3) for _ in range(3)]
        assert parts[0].slices == {}
        assert reduce(add, parts).slices["a",].count == 3

    @pytest.mark.parametrize("bad", [0, -1, 1.5, True, "3", None])
    def test_is_a_positive_integer(self, bad):
        with pytest.raises(ValueError, match="min_count must be an integer >= 1"):
            gh.evaluate(HEAD, DATA, by="site", min_count=bad, **NAMES)


DAY = datetime.date(2024, 1, 2)
KEYS: dict[str, tuple[Any, list[Any]]] = {
    "list": (["b", None, "a", "b"], ["b", None, "a", "b"]),
    "list-of-both": ([1, "1"], [1, "1"]),
    "mixed": ([1, "1", None, float("nan")], [1, "1", None, None]),
    "numpy-words": (np.asarray(["b", "a"]), ["b", "a"]),
    "numpy-bytes": (np.asarray([b"b", b"a"]), ["b", "a"]),
    "numpy-strings": (np.asarray(["b", "a"], dtype=np.dtypes.StringDType()), ["b", "a"]),
    "numpy-floats": (np.asarray([1.5, np.nan, -0.0, 0.0]), [1.5, None, 0.0, 0.0]),
    "numpy-half": (np.float16([1.5, np.nan]), [1.5, None]),
    "numpy-long": (np.longdouble([1.5, np.nan]), [1.5, None]),
    "numpy-booleans": (np.asarray([True, False]), [True, False]),
    "numpy-large": (np.asarray([2**63 + 1], dtype=np.uint64), [2**63 + 1]),
    "numpy-dates": (np.asarray(["2024-01-02", "NaT"], dtype="M8[D]"), ["2024-01-02", None]),
    "pandas-words": (pandas.Series(["b", None, "b"], index=[5, 1, 9]), ["b", None, "b"]),
    "pandas-objects": (pandas.Series(["b", 1, None, np.nan], dtype=object), ["b", 1, None, None]),
    "pandas-categories": (pandas.Series(["b", "a", None], dtype="category"), ["b", "a", None]),
    "pandas-nullable": (pandas.Series([2, None, 2], dtype="Int64"), [2, None, 2]),
    "pandas-floats": (pandas.Series([2, None, 2.5]), [2.0, None, 2.5]),
    "pandas-booleans": (pandas.Series([True, None], dtype="boolean"), [True, None]),
    "pandas-arrow": (pandas.Series(["b", None], dtype="string[pyarrow]"), ["b", None]),
    "pandas-dates": (pandas.to_datetime(pandas.Series([DAY, None])), ["2024-01-02 00:00:00", None]),
    "pandas-intervals": (pandas.cut(pandas.Series([1.0, 5.0]), [0, 3, 10]), ["(0, 3]", "(3, 10]"]),
    "polars-words": (polars.Series(["b", None, "a"]), ["b", None, "a"]),
    "polars-categories": (polars.Series(["b", None], dtype=polars.Categorical), ["b", None]),
    "polars-floats": (polars.Series([1.5, None, float("nan")]), [1.5, None, None]),
    "polars-dates": (polars.Series([DAY, None]), ["2024-01-02", None]),
    "polars-decimals": (polars.Series([decimal.Decimal("1.20")]), ["1.20"]),
    "arrow-words": (pyarrow.array(["b", None, "a"]), ["b", None, "a"]),
    "arrow-views": (pyarrow.array(["b", "a"]).cast(pyarrow.string_view()), ["b", "a"]),
    "arrow-bytes": (pyarrow.array([b"b", b"\xff"]), ["b", "\\xff"]),
    "arrow-dictionary": (pyarrow.array(["b", None, "a"]).dictionary_encode(), ["b", None, "a"]),
    "arrow-null-in-dictionary": (
        pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 1, 2]), pyarrow.array(["a", None, "a"])),
        ["a", None, "a"],
    ),
    "arrow-chunks": (
        pyarrow.chunked_array([pyarrow.array(words).dictionary_encode() for words in (["b", "a"], ["a", "c"])]),
        ["b", "a", "a", "c"],
    ),
    "arrow-nulls": (pyarrow.nulls(2), [None, None]),
    "arrow-floats": (pyarrow.array([1.5, float("nan"), None]), [1.5, None, None]),
    "arrow-dates": (pyarrow.array([DAY, None]), ["2024-01-02", None]),
}


class TestKeys:
    @pytest.mark.parametrize(("column", "expected"), KEYS.values(), ids=KEYS)
    def test_of_a_column(self, column, expected):
        keys, codes = factorize([("g", column)], len(expected))
        found = [keys[code][0] for code in codes]
        assert found == expected
        assert list(map(type, found)) == list(map(type, expected))
        assert len(set(keys)) == len(keys)

    @pytest.mark.parametrize("library", ["torch", "jax"])
    def test_of_an_array(self, library):
        column = backends.named(pytest.importorskip(library).__name__).from_numpy(np.asarray([2, 1, 2]))
        keys, codes = factorize([("g", column)], 3)
        assert [keys[code] for code in codes] == [(2,), (1,), (2,)]

    @given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-2, 2), st.none() | st.booleans()), max_size=30))
    def test_of_several_columns(self, expected):
        columns = [(str(i), [row[i] for row in expected]) for i in range(3)]
        keys, codes = factorize(columns, len(expected))
        assert [keys[code] for code in codes] == expected
        assert set(keys) == set(expected)

    def test_are_in_order_numbers_first_and_missing_last(self):
        data = {"logits": np.zeros(6), "labels": np.zeros(6), "g": [None, "b", 10, "a", 9, 2.5]}
        found = gh.evaluate(gh.RegressionHead(), data, by="g")
        assert list(found.slices) == [(2.5,), (9,), (10,), ("a",), ("b",), (None,)]

    def test_a_word_is_not_what_is_missing(self):
        data = {"logits": np.zeros(3), "labels": np.zeros(3), "g": ["None", None, "(missing)"]}
        assert list(gh.evaluate(gh.RegressionHead(), data, by="g").slices) == [("(missing)",), ("None",), (None,)]

    def test_integers_that_became_floats_are_the_same_slice(self):
        batches = [pandas.DataFrame({"logits": 0.0, "labels": 0.0, "g": g}) for g in ([1, 2], [1, None])]
        found = gh.evaluate(gh.RegressionHead(), batches, by="g")
        assert {key: part.count for key, part in found.slices.items()} == {(1,): 2, (2,): 1, (None,): 1}


class TestProbabilities:
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
    def test_are_exact_log_odds(self, p):
        mpmath = pytest.importorskip("mpmath")
        with mpmath.workdps(400):
            exact = [float(mpmath.log(x) - mpmath.log(1 - x)) for x in map(mpmath.mpf, p) if 0 < x < 1]
        found = log_odds(np.asarray([x for x in p if 0 < x < 1]))
        assert_allclose(found, exact, rtol=1e-15, atol=0)

    def test_0_and_1_become_infinite(self, lib):
        assert_array_equal(lib.numpy(log_odds(lib.array([0.0, 0.5, 1.0]))), [-np.inf, 0.0, np.inf])

    def test_the_metrics_are_those_of_the_logits(self):
        p = 1 / (1 + np.exp(-DATA["x"]))
        found = gh.evaluate(HEAD, {**DATA, "p": p}, probabilities="p", labels="y", by="site")
        agree(found, gh.evaluate(HEAD, DATA, by="site", **NAMES))

    def test_certain_and_right_costs_nothing_certain_and_wrong_everything(self):
        right = gh.evaluate(gh.BinaryClassHead(), {"p": [0.0, 1.0], "labels": [0, 1]}, probabilities="p")
        assert right.results["average_loss"] == 0
        wrong = gh.evaluate(gh.BinaryClassHead(), {"p": [0.0, 1.0], "labels": [1, 1]}, probabilities="p")
        assert wrong.results["average_loss"] == np.inf

    def test_outside_of_0_and_1_are_refused(self):
        for p in ([0.5, -0.1, 1.5], [0.5, -np.inf, np.inf]):
            data = {"p": p, "labels": [1, 0, 1], "w": [1, 1, 1]}
            with pytest.raises(
                ValueError, match=r"probabilities must be in \[0, 1\]; 2 of 3 are not: .* at 1, .* at 2"
            ):
                gh.evaluate(HEAD, data, probabilities="p")
            found = gh.evaluate(HEAD, {**data, "w": [1, 0, 0]}, probabilities="p")
            assert found.results["average_loss"] == pytest.approx(np.log(2))

    def test_are_not_guessed(self):
        with pytest.raises(ValueError, match="give logits or probabilities, not both"):
            gh.evaluate(HEAD, DATA, logits="x", probabilities="x")
        for head in (gh.RegressionHead(), gh.PoissonRegressionHead()):
            with pytest.raises(ValueError, match="probabilities are for a head of two classes"):
                gh.evaluate(head, DATA, probabilities="x")
        with pytest.raises(TypeError, match="a batch must be"):
            gh.evaluate(HEAD, [([1], [[0.5]])], probabilities="p")


class TestAdding:
    @given(st.lists(st.integers(0, N), max_size=4))
    def test_is_the_evaluation_of_the_data_of_all(self, cuts):
        cuts = sorted(cuts)
        pieces = [rows(slice(a, b)) for a, b in zip([0, *cuts], [*cuts, N], strict=True)]
        found = [gh.evaluate(HEAD, piece, by=["site", "day"], **NAMES) for piece in pieces]
        whole = gh.evaluate(HEAD, DATA, by=["site", "day"], **NAMES)
        agree(reduce(add, found), whole)
        agree(reduce(add, reversed(found)), whole)

    def test_keeps_the_larger_floor_and_all_sources(self):
        one, two = (gh.evaluate(HEAD, DATA, by="site", min_count=n, **NAMES) for n in (1, 50))
        both = replace(one, sources=("a.csv", "b.csv")) + replace(two, sources=("b.csv", "c.csv"))
        assert both.min_count == (two + one).min_count == 50
        assert both.sources == ("a.csv", "b.csv", "c.csv")

    def test_of_other_heads_or_columns_is_refused(self):
        found = gh.evaluate(HEAD, DATA, by="site", **NAMES)
        with pytest.raises(ValueError, match="differently configured heads"):
            _ = found + gh.evaluate(gh.LogisticRegressionHead("w"), DATA, by="site", **NAMES)
        for by in (None, "day", ["site", "day"]):
            with pytest.raises(ValueError, match="by different columns"):
                _ = found + gh.evaluate(HEAD, DATA, by=by, **NAMES)
        with pytest.raises(TypeError):
            _ = found + found.statistics


def saved(evaluation: gh.Evaluation) -> io.BytesIO:
    file = io.BytesIO()
    evaluation.save(file)
    file.seek(0)
    return file


class TestSaving:
    @pytest.mark.parametrize("by", [None, "site", ["site", "day"]], ids=str)
    def test_keeps_every_bit(self, by):
        found = replace(gh.evaluate(HEAD, DATA, by=by, min_count=60, **NAMES), sources=("a.csv",))
        loaded = gh.Evaluation.load(saved(found), HEAD)
        assert loaded.to_dict() == found.to_dict()
        assert list(loaded.all_slices) == list(found.all_slices)
        assert same_bits(loaded.statistics, found.statistics)
        for key, part in found.all_slices.items():
            assert same_bits(loaded.all_slices[key].statistics, part.statistics)

    def test_keeps_keys_of_every_kind(self):
        keys = [3, 2**70, 2.5, float("inf"), True, "3", "é\x00\ud800", "", None]
        data = {"logits": np.zeros(9), "labels": np.zeros(9), "g": list(range(9))}
        found = gh.evaluate(gh.RegressionHead(), {**data, "h": [keys[i] for i in range(9)]}, by=["g", "h"])
        loaded = gh.Evaluation.load(saved(found), gh.RegressionHead())
        assert list(loaded.slices) == [(i, key) for i, key in enumerate(keys)]
        assert [type(key[1]) for key in loaded.slices] == list(map(type, keys))

    def test_resumes(self, tmp_path):
        path = tmp_path / "monday.npz"
        gh.evaluate(HEAD, rows(slice(0, 90)), by="site", **NAMES).save(path)
        found = gh.Evaluation.load(path, HEAD) + gh.evaluate(HEAD, rows(slice(90, N)), by="site", **NAMES)
        agree(found, gh.evaluate(HEAD, DATA, by="site", **NAMES))

    def test_of_any_library(self, lib):
        data = {**DATA, "x": lib.array(DATA["x"])}
        found = gh.evaluate(HEAD, data, by="site", **NAMES)
        assert gh.Evaluation.load(saved(found), HEAD).to_dict() == found.to_dict()

    def test_of_no_data(self):
        found = gh.evaluate(HEAD, [], by="site", **NAMES)
        assert gh.Evaluation.load(saved(found), HEAD).to_dict() == found.to_dict()

    def test_another_head_is_refused(self):
        file = saved(gh.evaluate(HEAD, DATA, by="site", **NAMES))
        for head in (gh.BinaryClassHead("w"), gh.LogisticRegressionHead("w")):
            file.seek(0)
            with pytest.raises(ValueError, match="is of a differently configured head"):
                gh.Evaluation.load(file, head)
        with pytest.raises(TypeError, match="head must be"):
            gh.Evaluation.load(file, "binary")

    def test_loads_without_the_head(self):
        for head in (
            HEAD,
            gh.BinaryClassHead(gh.numeric_column("w"), [0.1], ["a", "b"], name="m", extra_metrics="all"),
            gh.BinaryClassHead(num_thresholds=50),
            gh.LogisticRegressionHead("w"),
            gh.PoissonRegressionHead(compute_full_loss=False),
            gh.RegressionHead(2),
        ):
            found = gh.evaluate(head, [])
            assert gh.Evaluation.load(saved(found)).head == head
        found = gh.evaluate(HEAD, DATA, by="site", **NAMES)
        assert gh.Evaluation.load(saved(found)).to_dict() == found.to_dict()

    def test_code_of_others_is_not_imported(self):
        file = saved(gh.evaluate(gh.RegressionHead(inverse_link_fn=np.exp), []))
        with pytest.raises(ValueError, match=r"parts that are not of glmheads, numpy\.exp: give the head"):
            gh.Evaluation.load(file)
        file.seek(0)
        assert gh.Evaluation.load(file, gh.RegressionHead(inverse_link_fn=np.exp)).count == 0

    def test_a_head_that_can_not_be_written_is_asked_for(self):
        head = gh.RegressionHead(inverse_link_fn=lambda x: x)
        file = saved(gh.evaluate(head, []))
        with pytest.raises(ValueError, match="does not tell its head"):
            gh.Evaluation.load(file)
        file.seek(0)
        assert gh.Evaluation.load(file, head).head is head

    @pytest.mark.parametrize(
        "config",
        [
            3,
            [],
            {},
            {"class": "antigravity", "arguments": {}},
            {"class": "glmheads.cli.main", "arguments": {}},
            {"class": "glmheads.Head", "arguments": {}},
            {"class": "glmheads.BinaryClassHead", "arguments": {"thresholds": "high"}},
            {"class": "glmheads.BinaryClassHead", "arguments": {"no": 1}},
            {"class": "glmheads.BinaryClassHead", "arguments": 3},
            {"class": "glmheads.NumericColumn", "arguments": {"key": "x"}},
            {"class": "glmheads.BinaryClassHead", "arguments": {"loss_fn": {"function": "os.abort"}}},
        ],
        ids=str,
    )
    def test_a_forged_head_is_refused(self, config):
        fields, arrays = archive.read(saved(gh.evaluate(HEAD, [])), "glmheads.Evaluation", 1, "x")
        forged = io.BytesIO()
        archive.write(forged, fields | {"head": config}, arrays)
        forged.seek(0)
        with pytest.raises(ValueError, match="head"):
            gh.Evaluation.load(forged)
        assert "antigravity" not in sys.modules

    def test_a_foreign_file_is_refused(self, tmp_path):
        path = tmp_path / "file.npz"
        HEAD.empty().save(path)
        with pytest.raises(
            ValueError, match=r"is not a file of a glmheads evaluation: its format is 'glmheads\.Statis"
        ):
            gh.Evaluation.load(path, HEAD)
        gh.evaluate(HEAD, DATA, **NAMES).save(path)
        with pytest.raises(ValueError, match=r"is not a file of glmheads statistics: its format is 'glmheads\.Evaluat"):
            gh.Statistics.load(path)
        for content in (b"", b"x,y\n1,2\n"):
            path.write_bytes(content)
            with pytest.raises(ValueError, match="is not a file of a glmheads evaluation, or is damaged"):
                gh.Evaluation.load(path, HEAD)
        with pytest.raises(FileNotFoundError):
            gh.Evaluation.load(tmp_path / "none.npz", HEAD)

    @given(st.data())
    def test_a_damaged_file_is_refused_or_whole(self, data):
        found = gh.evaluate(HEAD, rows(slice(0, 9)), by="site", **NAMES)
        content = bytearray(saved(found).getvalue())
        if data.draw(st.booleans()):
            position = data.draw(st.integers(0, len(content) - 1))
            content[position] ^= 1 << data.draw(st.integers(0, 7))
        else:
            del content[data.draw(st.integers(0, len(content) - 1)) :]
        try:
            loaded = gh.Evaluation.load(io.BytesIO(content), HEAD)
        except ValueError as error:
            message = str(error)
        else:
            message = "damaged" if loaded.to_dict() == found.to_dict() else "wrong"
        assert "glmheads evaluation" in message or "damaged" in message

    @pytest.mark.parametrize(
        "change",
        [
            {"keys": [["a"]]},
            {"keys": [[["a"]], ["b"], ["c"]]},
            {"keys": [[1, 2], ["b"], ["c"]]},
            {"counts": []},
            {"records": []},
            {"structures": []},
            {"by": None},
            {"version": 2},
        ],
        ids=str,
    )
    def test_a_file_whose_header_does_not_fit_is_refused(self, change):
        file = saved(gh.evaluate(HEAD, DATA, by="site", **NAMES))
        fields, arrays = archive.read(file, "glmheads.Evaluation", 1, "x")
        forged = io.BytesIO()
        archive.write(forged, fields | change, arrays)
        forged.seek(0)
        with pytest.raises(ValueError, match=r"glmheads evaluation|version 2 of the format"):
            gh.Evaluation.load(forged, HEAD)


FIELDS = [
    "slice",
    "metric",
    "value",
    "lower_bound",
    "upper_bound",
    "interval_lower",
    "interval_upper",
    "count",
    "weight",
]


class TestRows:
    @pytest.mark.parametrize("by", [None, "site", ["site", "day"]], ids=str)
    def test_are_the_results_and_bounds_of_the_whole_and_of_each_slice(self, by):
        found = gh.evaluate(HEAD, DATA, by=by, **NAMES)
        rows_ = iter(found.rows())
        for key, part in [((), found), *found.slices.items()]:
            for metric, value in part.results.items():
                lower, upper = part.bounds.get(metric, (None, None))
                row = next(rows_)
                assert list(row) == FIELDS
                assert row["slice"] == dict(zip(found.by, key, strict=False))
                assert [row[field] for field in FIELDS[1:8]] == [metric, value, lower, upper, None, None, part.count]
        assert next(rows_, None) is None

    def test_weight_is_the_sum_of_the_weights(self):
        for row in gh.evaluate(HEAD, DATA, by="site", **NAMES).rows():
            is_in = DATA["site"] == row["slice"]["site"] if row["slice"] else np.full(N, True)
            assert row["weight"] == pytest.approx(DATA["w"][is_in].sum())

    def test_weight_of_unweighted_examples_is_their_count(self):
        head = gh.RegressionHead(label_dimension=2)
        data = {"labels": np.ones((3, 2)), "logits": np.zeros((3, 2))}
        assert {row["weight"] for row in gh.evaluate(head, data).rows()} == {3.0}

    def test_weight_does_not_grow_with_the_number_of_logits(self):
        head = gh.RegressionHead(label_dimension=2, weight_column="w")
        data = {"labels": np.ones((3, 2)), "logits": np.zeros((3, 2)), "w": [1.0, 2.0, 4.0]}
        assert {row["weight"] for row in gh.evaluate(head, data).rows()} == {7.0}

    def test_slices_of_few_examples_have_their_rows_in_other(self):
        data = {"logits": np.zeros(6), "labels": [1, 0, 1, 1, 0, 0], "g": ["a", "a", "a", "b", "b", None]}
        found = gh.evaluate(gh.LogisticRegressionHead(), data, by="g", min_count=3)
        means = [(row["slice"], row["value"]) for row in found.rows() if row["metric"] == "label/mean"]
        assert means == [({}, 0.5), ({"g": "a"}, 2 / 3)]
        means = [(row["slice"], row["count"]) for row in found.other.rows() if row["metric"] == "label/mean"]
        assert means == [({}, 3), ({"g": "b"}, 2), ({"g": None}, 1)]

    def test_changing_a_row_changes_no_other(self):
        found = gh.evaluate(HEAD, DATA, by="site", **NAMES)
        found.rows()[-1]["slice"]["site"] = "elsewhere"
        assert {row["slice"]["site"] for row in found.rows() if row["slice"]} == {"east", "north", "south"}

    def test_of_no_data(self):
        found = gh.evaluate(HEAD, [], by="site", **NAMES)
        assert [row["metric"] for row in found.rows()] == list(found.results)


class TestToPandas:
    @pytest.mark.parametrize("by", [None, "site", ["site", "day"]], ids=str)
    def test_has_the_rows(self, by):
        found = gh.evaluate(HEAD, DATA, by=by, **NAMES)
        frame = found.to_pandas()
        assert list(frame.columns) == [*found.by, *FIELDS[1:]]
        for (_, line), row in zip(frame.iterrows(), found.rows(), strict=True):
            assert [line[name] for name in found.by] == [row["slice"].get(name, "(all)") for name in found.by]
            for field in FIELDS[1:]:
                assert line[field] == row[field] or (row[field] is None and pandas.isna(line[field]))
        assert set(frame.dtypes[FIELDS[2:7]]) == {np.dtype(float)}

    def test_keeps_the_values_of_a_column_of_slices(self):
        data = {"logits": np.zeros(4), "labels": np.zeros(4), "g": [10, "a", None, 2.5]}
        frame = gh.evaluate(gh.RegressionHead(), data, by="g").to_pandas()
        keys = frame[frame["metric"] == "average_loss"]["g"].tolist()
        assert keys[:4] == ["(all)", 2.5, 10, "a"]
        assert pandas.isna(keys[4])

    def test_a_column_of_slices_may_be_named_as_a_field(self):
        data = {"logits": np.zeros(2), "labels": np.zeros(2), "count": [5, 7]}
        frame = gh.evaluate(gh.RegressionHead(), data, by="count").to_pandas()
        assert list(frame.columns) == ["slice.count", *FIELDS[1:]]
        assert frame["slice.count"].tolist() == ["(all)"] * 3 + [5] * 3 + [7] * 3
        assert frame["count"].tolist() == [2] * 3 + [1] * 6

    def test_without_pandas_it_says_what_to_install(self, monkeypatch):
        found = gh.evaluate(HEAD, DATA, **NAMES)
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(ImportError, match="needs pandas: pip install pandas"):
            found.to_pandas()


def html_tables(text: str) -> list[list[list[str]]]:
    """The cells of each row of each table."""
    tables = re.findall("<table>(.*?)</table>", text, re.DOTALL)
    return [
        [re.findall("<t[hd]>(.*?)</t[hd]>", row) for row in re.findall("<tr>(.*?)</tr>", table)] for table in tables
    ]


class TestShowing:
    def test_to_dict_is_json(self):
        found = gh.evaluate(HEAD, DATA, by=["site", "day"], min_count=20, **NAMES)
        shown = json.loads(json.dumps(found.to_dict()))
        assert shown == found.to_dict()
        assert shown["count"] == N
        assert shown["results"] == found.results
        assert [tuple(part["key"].values()) for part in shown["slices"]] == list(found.slices)
        assert sum(part["count"] for part in shown["slices"]) + shown["other"]["count"] == N
        assert shown["other"]["slices"] == len(found.other.all_slices)
        assert set(shown["bounds"]) == {"auc", "auc_precision_recall"}
        assert "slices" not in gh.evaluate(HEAD, DATA, **NAMES).to_dict()

    def test_bounds_hold_the_results(self):
        found = gh.evaluate(HEAD, DATA, by="site", **NAMES)
        for part in (found, *found.slices.values()):
            for key, (low, high) in part.bounds.items():
                assert low <= part.results[key] <= high

    def test_curves(self):
        found = gh.evaluate(HEAD, DATA, **NAMES)
        assert set(found.curves()) == set(HEAD.curves(found.statistics))

    def test_repr_says_all(self):
        found = gh.evaluate(HEAD, DATA, by=["site", "day"], min_count=20, **NAMES)
        text = repr(found)
        assert "200 examples, 9 slices by site, day" in text
        for key, value in found.results.items():
            assert any(line.split()[:2] == [key, f"{value:.6g}"] for line in text.splitlines())
        lines = [line.split() for line in text.splitlines()]
        for (site, day), part in found.slices.items():
            assert any(line[:3] == [site, str(day), str(part.count)] for line in lines)
        assert f"(other: {len(found.other.all_slices)} slices)" in text
        assert max(map(len, text.splitlines())) <= 120

    @pytest.mark.parametrize(("slices", "more"), [(59, None), (60, None), (61, "(1 more)"), (1300, "(1,240 more)")])
    @pytest.mark.parametrize("small", [0, 1])
    def test_shows_the_first_60_slices(self, slices, more, small):
        """One that stands for small slices counts as one."""
        groups = np.repeat(np.arange(slices - small), 2).tolist() + [-1, -2] * small
        data = {"logits": np.zeros(len(groups)), "labels": np.zeros(len(groups)), "g": groups}
        found = gh.evaluate(gh.RegressionHead(), data, by="g", min_count=1 + small)
        keys = [str(key) for (key,) in found.slices] + ["(other: 2 slices)"] * small
        expected = keys if more is None else [*keys[:60], more]
        lines = repr(found).split("\n\n")[2].splitlines()
        assert [re.split("  +", line.strip())[0] for line in lines] == ["g", *expected]
        header, *body = html_tables(found._repr_html_())[1]
        assert [row[0] for row in body] == expected
        assert {len(row) for row in body} == {len(header)} == {5}

    def test_bounds_are_rounded_outward(self):
        inward = 0
        for seed in range(20):
            rng = np.random.default_rng(seed)
            data = {"logits": rng.normal(size=500), "labels": rng.integers(0, 2, 500)}
            found = gh.evaluate(gh.BinaryClassHead(num_thresholds=10), data)
            lines = {words[0]: words[1:] for words in map(str.split, repr(found).splitlines()) if words}
            cells = {row[0]: row[1:] for row in html_tables(found._repr_html_())[0]}
            for key, (low, high) in found.bounds.items():
                assert lines[key] == cells[key]
                assert decimal.Decimal(cells[key][1]) <= decimal.Decimal(low)
                assert decimal.Decimal(cells[key][2]) >= decimal.Decimal(high)
                assert float(cells[key][2]) - float(cells[key][1]) < high - low + 2.1e-6
                inward += (float(f"{low:.6g}") > low) + (float(f"{high:.6g}") < high)
        assert inward > 10, "rounding to nearest would be seen"

    def test_a_head_without_bounds_has_no_columns_for_them(self):
        found = gh.evaluate(gh.RegressionHead(), {"logits": [0.0], "labels": [1.0]})
        assert html_tables(found._repr_html_()) == [
            [["metric", "value"], ["average_loss", "1"], ["prediction/mean", "0"], ["label/mean", "1"]]
        ]
        assert "at least" not in repr(found)

    def test_repr_of_many_slices_is_not_endless(self):
        data = {"logits": np.zeros(500), "labels": np.zeros(500), "g": np.arange(500)}
        found = gh.evaluate(gh.RegressionHead(), data, by="g")
        assert "(440 more)" in repr(found)
        assert repr(found).count("\n") < 80

    def test_html_escapes_keys(self):
        data = {"logits": [0.0, 0.0], "labels": [0.0, 0.0], "<g>": ["<script>", None]}
        text = gh.evaluate(gh.RegressionHead(), data, by="<g>")._repr_html_()
        assert "<script>" not in text
        assert "&lt;script&gt;" in text
        assert "&lt;g&gt;" in text
        assert "(missing)" in text

    def test_repr_of_bad_data_says_so(self, library):
        lazy = library("dask")
        found = gh.evaluate(gh.RegressionHead(), {"logits": lazy.array([0.0]), "labels": lazy.array([np.nan])})
        assert "1 bad labels" in repr(found)
        assert "1 bad labels" in found._repr_html_()
