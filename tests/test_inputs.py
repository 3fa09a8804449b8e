"""From what people have to arrays: weight columns, vocabularies, dtypes."""

import re
from typing import Any

import numpy as np
import pytest
from conftest import LIBRARIES
from numpy.testing import assert_allclose, assert_array_equal

import glmheads as gh
from glmheads import backends
from glmheads.inputs import as_labels, as_weights

LOGITS = np.asarray([[1.0], [-2.0], [0.5]])
LABELS = np.asarray([1.0, 0.0, 1.0])
WEIGHTS = [2.0, 1.0, 0.5]
WORDS = ["yes", "no", "yes"]


@pytest.fixture(params=[name for name in LIBRARIES if name != "jax-x64"])
def lib(request: pytest.FixtureRequest, library: Any) -> Any:
    """Each array library in turn, and JAX once: what is brought does not depend on its widths."""
    return library(request.param)


def cross_entropy(labels: Any, logits: Any, weights: Any = 1.0) -> float:
    """The weighted sum over n, by the definition."""
    p = 1 / (1 + np.exp(-np.asarray(logits, dtype=float)))
    losses = -(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    return float(np.mean(weights * losses))


WEIGHTED = cross_entropy(LABELS[:, None], LOGITS, np.asarray(WEIGHTS)[:, None])
UNWEIGHTED = cross_entropy(LABELS[:, None], LOGITS)


def pandas_frame(columns: dict[str, Any]) -> Any:
    # an index that no positions agree with
    return pytest.importorskip("pandas").DataFrame(columns, index=[7, 5, 6])


def polars_frame(columns: dict[str, Any]) -> Any:
    return pytest.importorskip("polars").DataFrame(columns)


def arrow_table(columns: dict[str, Any]) -> Any:
    return pytest.importorskip("pyarrow").table(columns)


def arrow_batch(columns: dict[str, Any]) -> Any:
    return pytest.importorskip("pyarrow").record_batch(columns)


FRAMES = {
    "dict": dict,
    "pandas": pandas_frame,
    "polars": polars_frame,
    "pyarrow": arrow_table,
    "record-batch": arrow_batch,
}
each_frame = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)


def close(lib: Any, found: Any, expected: Any) -> None:
    assert backends.of(found) is lib.backend
    assert_allclose(lib.numpy(found), expected, rtol=1e-12 if lib.has_float64 else 1e-5)


class TestWeightColumn:
    @each_frame
    def test_is_read_from_any_table(self, lib, frame):
        head = gh.BinaryClassHead(weight_column="w")
        features = frame({"other": [0.0, 0.0, 0.0], "w": WEIGHTS})
        logits = lib.array(LOGITS)
        close(lib, head.loss(lib.array(LABELS), logits, features), WEIGHTED)
        weights = as_weights(features, "w", logits)
        assert backends.of(weights) is lib.backend
        assert lib.backend.device(weights) == lib.backend.device(logits)
        assert weights.shape == (3, 1)

    @each_frame
    @pytest.mark.parametrize("values", [[2, 1, 0], [True, False, True]])
    def test_may_hold_integers_and_booleans(self, frame, values):
        head = gh.BinaryClassHead(weight_column="w")
        expected = cross_entropy(LABELS[:, None], LOGITS, np.asarray(values)[:, None])
        assert float(head.loss(LABELS, LOGITS, frame({"w": values}))) == pytest.approx(expected)

    def test_of_the_logits_library_is_taken_as_it_is(self, lib):
        weights = lib.array(np.asarray(WEIGHTS)[:, None])
        assert as_weights({"w": weights}, "w", lib.array(LOGITS)) is weights

    @each_frame
    def test_is_normalized(self, lib, frame):
        column = gh.numeric_column("w", normalizer_fn=lambda w: w / 2)
        head = gh.LogisticRegressionHead(weight_column=column)
        close(lib, head.loss(LABELS, lib.array(LOGITS), frame({"w": WEIGHTS})), WEIGHTED / 2)

    def test_normalizer_takes_arrays_as_they_are_and_else_numpy_arrays(self, lib):
        seen = []

        def normalizer_fn(column):
            seen.append(column)
            return column

        column = gh.numeric_column("w", normalizer_fn=normalizer_fn)
        own = lib.array(WEIGHTS)
        as_weights({"w": own}, column, lib.array(LOGITS))
        as_weights({"w": WEIGHTS}, column, lib.array(LOGITS))
        assert seen[0] is own
        assert type(seen[1]) is np.ndarray

    def test_without_normalizer_is_the_column_by_name(self):
        assert gh.numeric_column("w") == gh.NumericColumn("w", None)
        head = gh.LogisticRegressionHead(weight_column=gh.numeric_column("w"))
        assert float(head.loss(LABELS, LOGITS, {"w": WEIGHTS})) == pytest.approx(WEIGHTED)

    @each_frame
    def test_missing_names_the_columns_that_there_are(self, frame):
        head = gh.BinaryClassHead(weight_column="w")
        text = re.escape("Feature w is not in features dictionary. It has ['a', 'b'].")
        with pytest.raises(ValueError, match=text):
            head.loss(LABELS, LOGITS, frame({"a": WEIGHTS, "b": WEIGHTS}))

    def test_is_not_looked_for_without_a_weight_column(self):
        head = gh.BinaryClassHead()
        assert float(head.loss(LABELS, LOGITS, {"w": "nonsense"})) == pytest.approx(UNWEIGHTED)

    def test_columns_of_a_mapping_that_is_no_dict(self):
        class Columns:
            def keys(self):
                return iter(["w"])

            def __getitem__(self, name):
                return {"w": WEIGHTS}[name]

        head = gh.BinaryClassHead(weight_column="w")
        assert float(head.loss(LABELS, LOGITS, Columns())) == pytest.approx(WEIGHTED)


class TestWeightShapes:
    LEADING = (2, 3)

    @pytest.mark.parametrize("shape", [LEADING, (*LEADING, 1)])
    @pytest.mark.parametrize("head", [gh.BinaryClassHead("w"), gh.PoissonRegressionHead(2, "w")], ids=["1", "2"])
    def test_one_for_each_example(self, lib, head, shape):
        dimension = head.logits_dimension
        logits, labels = np.zeros((*self.LEADING, dimension)), np.ones((*self.LEADING, dimension))
        weights = np.arange(6.0).reshape(shape)
        each = np.log(2) if dimension == 1 else 1  # exp(0) − 0·1
        close(lib, head.loss(lib.array(labels), lib.array(logits), {"w": lib.array(weights)}), each * 2.5)

    def test_one_for_each_logit(self, lib):
        head = gh.RegressionHead(label_dimension=2, weight_column="w")
        weights = np.arange(12.0).reshape((*self.LEADING, 2))
        logits, labels = np.zeros((*self.LEADING, 2)), np.stack([np.ones(self.LEADING), np.zeros(self.LEADING)], -1)
        loss = head.loss(lib.array(labels), lib.array(logits), {"w": lib.array(weights)})
        close(lib, loss, weights[..., 0].sum() / 12)
        results = head.results(head.statistics(lib.array(labels), lib.array(logits), {"w": lib.array(weights)}))
        close(lib, results["label/mean"], weights[..., 0].sum() / weights.sum())

    @pytest.mark.parametrize(
        "shape", [(), (6,), (2,), (3,), (2, 1), (1, 3), (3, 2), (2, 3, 3), (1, 1, 1), (2, 3, 1, 1)]
    )
    def test_any_other_is_refused(self, lib, shape):
        for head in (gh.BinaryClassHead("w"), gh.RegressionHead(2, "w")):
            ones = lib.array(np.ones((*self.LEADING, head.logits_dimension)))
            text = re.escape("weights shape must be [D0, D1, ... DN]")
            with pytest.raises(ValueError, match=text) as caught:
                head.loss(ones, ones, {"w": lib.array(np.ones(shape))})
            assert str(shape) in str(caught.value)

    def test_one_for_each_logit_is_refused_where_there_is_one(self):
        with pytest.raises(ValueError, match="weights shape must be"):
            gh.BinaryClassHead("w").loss(LABELS, LOGITS, {"w": np.ones((3, 2))})


def column_of(kind: str, words: list[str]) -> Any:
    """Words as people have them."""
    if kind == "list":
        return words
    if kind == "tuple":
        return tuple(words)
    if kind == "nested":
        return [[word] for word in words]
    if kind.startswith("numpy"):
        dtypes = {"unicode": "U", "bytes": "S", "object": object, "string": np.dtypes.StringDType()}
        return np.asarray(words, dtype=dtypes[kind.split("-")[1]])
    if kind == "object-bytes":
        return np.asarray([word.encode() for word in words], dtype=object)
    if kind.startswith("pandas"):
        pandas = pytest.importorskip("pandas")
        dtypes = {"str": "str", "object": object, "category": "category", "string": "string"}
        return pandas.Series(words, dtype=dtypes[kind.split("-")[1]], index=[7, 5, 6])
    if kind.startswith("polars"):
        polars = pytest.importorskip("polars")
        return polars.Series(words, dtype=polars.Categorical if kind.endswith("category") else polars.String)
    pyarrow = pytest.importorskip("pyarrow")
    array = pyarrow.array(words)
    return {
        "pyarrow": lambda: array,
        "pyarrow-large": lambda: array.cast(pyarrow.large_string()),
        "pyarrow-binary": lambda: array.cast(pyarrow.binary()),
        "pyarrow-dictionary": lambda: array.dictionary_encode(),
        "pyarrow-chunked": lambda: pyarrow.chunked_array([words[:1], words[1:]]),
    }[kind]()


KINDS = (
    "list",
    "tuple",
    "nested",
    "numpy-unicode",
    "numpy-bytes",
    "numpy-object",
    "numpy-string",
    "object-bytes",
    "pandas-str",
    "pandas-object",
    "pandas-category",
    "pandas-string",
    "polars",
    "polars-category",
    "pyarrow",
    "pyarrow-large",
    "pyarrow-binary",
    "pyarrow-dictionary",
    "pyarrow-chunked",
)


class TestVocabulary:
    @pytest.mark.parametrize("vocabulary", [["no", "yes"], (b"no", b"yes")], ids=["strings", "bytes"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_words_of_any_kind(self, kind, vocabulary):
        head = gh.BinaryClassHead(label_vocabulary=vocabulary)
        assert float(head.loss(column_of(kind, WORDS), LOGITS)) == pytest.approx(UNWEIGHTED)
        assert head.predictions(LOGITS)["classes"].tolist() == [["yes"], ["no"], ["yes"]]

    def test_words_go_to_the_logits_library(self, lib):
        head = gh.BinaryClassHead(label_vocabulary=["no", "yes"])
        logits = lib.array(LOGITS)
        close(lib, head.loss(WORDS, logits), UNWEIGHTED)
        labels = as_labels(WORDS, logits, ("no", "yes"))
        assert backends.of(labels) is lib.backend
        assert lib.backend.device(labels) == lib.backend.device(logits)
        assert_array_equal(lib.numpy(labels), [[1], [0], [1]])

    def test_shapes_with_more_axes(self):
        head = gh.BinaryClassHead(label_vocabulary=["no", "yes"])
        loss = head.loss([["yes", "no"], ["no", "no"]], np.full((2, 2, 1), 3.0))
        assert float(loss) == pytest.approx((np.log1p(np.exp(-3)) + 3 * np.log1p(np.exp(3))) / 4)

    def test_order_of_the_vocabulary_is_negative_positive(self):
        loss = gh.BinaryClassHead(label_vocabulary=["yes", "no"]).loss(WORDS, LOGITS)
        assert float(loss) == pytest.approx(cross_entropy(1 - LABELS[:, None], LOGITS))

    @pytest.mark.parametrize("kind", KINDS)
    def test_unknown_word_is_named_and_counted(self, kind):
        head = gh.BinaryClassHead(label_vocabulary=["no", "yes"])
        text = "Labels must be >= 0, a word of label_vocabulary ['no', 'yes']: 2 of 3 are not, the first at 1; "
        with pytest.raises(ValueError, match=re.escape(text + "unknown are ['maybe', 'often']")):
            head.loss(column_of(kind, ["yes", "often", "maybe"]), LOGITS)

    def test_many_unknown_words_are_shortened(self):
        words = [f"word {number}" for number in range(100)]
        with pytest.raises(ValueError, match="100 of 100 are not, the first at 0") as caught:
            gh.BinaryClassHead(label_vocabulary=["no", "yes"]).loss(words, np.ones((100, 1)))
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
    def test_null_among_words_is_unknown(self, kind):
        library = pytest.importorskip(kind)
        make = {"pandas": "Series", "polars": "Series", "pyarrow": "array"}[kind]
        words = getattr(library, make)(["yes", None, "no"])
        with pytest.raises(ValueError, match=r"Labels must be >= 0, .* 1 of 3 are not, the first at 1"):
            gh.BinaryClassHead(label_vocabulary=["no", "yes"]).loss(words, LOGITS)

    @pytest.mark.parametrize("missing", [None, float("nan")])
    def test_none_and_nan_among_words_are_unknown(self, missing):
        for words in (["yes", missing, "no"], np.asarray(["yes", missing, "no"], dtype=object)):
            with pytest.raises(ValueError, match=f"1 of 3 are not, the first at 1; unknown are .'{missing}'"):
                gh.BinaryClassHead(label_vocabulary=["no", "yes"]).loss(words, LOGITS)

    def test_words_are_not_trimmed_and_case_matters(self):
        for word in ("Yes", "YES", " yes", "yes ", "ja"):
            with pytest.raises(ValueError, match="1 of 3 are not, the first at 0"):
                gh.BinaryClassHead(label_vocabulary=["no", "yes"]).loss([word, "no", "yes"], LOGITS)

    def test_words_of_any_script(self):
        head = gh.BinaryClassHead(label_vocabulary=["否", "да"])
        assert float(head.loss(["да", "否".encode().decode(), "да"], LOGITS)) == pytest.approx(UNWEIGHTED)
        encoded = np.asarray([word.encode() for word in ("да", "否", "да")])
        assert float(head.loss(encoded, LOGITS)) == pytest.approx(UNWEIGHTED)

    def test_integers_are_the_words_that_they_are_written_as(self, lib):
        head = gh.BinaryClassHead(label_vocabulary=["0", "1"])
        for labels in ([1, 0, 1], ["1", "0", "1"], lib.array([1, 0, 1], dtype="int64")):
            close(lib, head.loss(labels, lib.array(LOGITS)), UNWEIGHTED)
        for labels in ([1.0, 0.0, 1.0], [True, False, True]):
            with pytest.raises(ValueError, match="3 of 3 are not"):
                head.loss(labels, lib.array(LOGITS))

    def test_positions_are_no_words(self):
        with pytest.raises(ValueError, match=re.escape("3 of 3 are not, the first at 0; unknown are ['0', '1']")):
            gh.BinaryClassHead(label_vocabulary=["no", "yes"]).loss([1, 0, 1], LOGITS)

    def test_unknown_word_of_weight_0_is_absent(self):
        head = gh.BinaryClassHead("w", label_vocabulary=["no", "yes"])
        weights = {"w": [2.0, 0.0, 1.0]}
        expected = cross_entropy(LABELS[:, None], LOGITS, np.asarray([[2.0], [0.0], [1.0]]))
        assert float(head.loss(["yes", "perhaps", "yes"], LOGITS, weights)) == pytest.approx(expected)
        with pytest.raises(ValueError, match=re.escape("1 of 3 are not, the first at 0; unknown are ['perhaps']")):
            head.loss(["perhaps", "perhaps", "yes"], LOGITS, weights)

    def test_no_words(self):
        for words in ([], np.asarray([], dtype=str)):
            assert float(gh.BinaryClassHead(label_vocabulary=["no", "yes"]).loss(words, np.ones((0, 1)))) == 0


NUMERIC = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)


class TestNumericLabels:
    @pytest.mark.parametrize("dtype", [*NUMERIC, "longdouble"])
    def test_any_dtype_of_numpy(self, lib, dtype):
        close(lib, gh.BinaryClassHead().loss(LABELS.astype(dtype), lib.array(LOGITS)), UNWEIGHTED)

    @pytest.mark.parametrize("dtype", NUMERIC)
    def test_any_dtype_of_the_library(self, lib, dtype):
        if lib.name == "array_api_strict" and dtype == "float16":
            pytest.skip("array_api_strict has no float16")
        close(lib, gh.BinaryClassHead().loss(lib.array(LABELS, dtype=dtype), lib.array(LOGITS)), UNWEIGHTED)

    @pytest.mark.parametrize("source", ["torch", "jax"])
    def test_bfloat16(self, lib, library, source):
        """The two libraries have it; the host's other libraries take it widened, and 0.25 is exact in it."""
        other = library(source)
        labels = other.xp.astype(other.array([1.0, 0.0, 0.25]), other.xp.bfloat16)
        expected = cross_entropy(np.asarray([[1.0], [0.0], [0.25]]), LOGITS)
        close(lib, gh.BinaryClassHead().loss(labels, lib.array(LOGITS)), expected)

    def test_float64_labels_with_float32_logits(self, lib):
        labels = lib.array([0.1, 0.0, 1.0], dtype="float64")
        loss = gh.BinaryClassHead().loss(labels, lib.array(LOGITS, dtype="float32"))
        assert loss.dtype == lib.xp.float32
        assert_allclose(lib.numpy(loss), cross_entropy(np.asarray([[0.1], [0.0], [1.0]]), LOGITS), rtol=1e-6)

    @each_frame
    @pytest.mark.parametrize("values", [[1, 0, 1], [1.0, 0.0, 1.0], [True, False, True]])
    def test_columns(self, frame, values):
        column = frame({"label": values})["label"]
        assert float(gh.BinaryClassHead().loss(column, LOGITS)) == pytest.approx(UNWEIGHTED)

    @pytest.mark.parametrize("frame", [pandas_frame, polars_frame])
    def test_tables_of_several_labels(self, frame):
        labels = frame({"a": [1.0, 2.0, 3.0], "b": [0.0, 0.0, 0.0]})
        loss = gh.RegressionHead(label_dimension=2).loss(labels, np.zeros((3, 2)))
        assert float(loss) == pytest.approx(14 / 6)

    def test_any_order_of_bytes(self, lib):
        labels, weights = LABELS.astype(">f8"), np.asarray([2, 1, 1], dtype=">i8")
        expected = cross_entropy(LABELS[:, None], LOGITS, np.asarray([[2], [1], [1]]))
        close(lib, gh.BinaryClassHead("w").loss(labels, lib.array(LOGITS), {"w": weights}), expected)
        if lib.name == "numpy":
            loss = gh.BinaryClassHead().loss(LABELS.astype(">f8"), LOGITS.astype(">f8"))
            assert loss.dtype == np.float64
            assert float(loss) == pytest.approx(UNWEIGHTED, rel=1e-14)


class TestLogits:
    def test_integers_become_the_default_real_dtype(self, lib):
        expected = (np.log1p(np.exp(-1)) + np.log(2) + np.log1p(np.exp(2))) / 3
        loss = gh.BinaryClassHead().loss(lib.array(LABELS), lib.array([[1], [0], [-2]], dtype="int32"))
        assert loss.dtype == lib.xp.__array_namespace_info__().default_dtypes()["real floating"]
        assert_allclose(lib.numpy(loss), expected, rtol=1e-6)

    def test_lists_become_numpy_arrays(self):
        loss = gh.BinaryClassHead().loss([1, 0, 1], LOGITS.tolist())
        assert loss.dtype == np.float64
        assert float(loss) == pytest.approx(UNWEIGHTED)

    @each_frame
    def test_tables_become_numpy_arrays(self, frame):
        table = frame({"score": LOGITS[:, 0].tolist()})
        if isinstance(table, dict) or not hasattr(table, "to_numpy"):
            pytest.skip("is no array of numbers")
        loss = gh.BinaryClassHead().loss(LABELS, table)
        assert float(loss) == pytest.approx(UNWEIGHTED)

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_dtype_is_kept(self, lib, dtype):
        if lib.name == "array_api_strict" and dtype == "float16":
            pytest.skip("array_api_strict has no float16")
        logits = lib.array(LOGITS, dtype=dtype)
        head = gh.BinaryClassHead()
        assert head.predictions(logits)["logistic"].dtype == logits.dtype
        assert head.gradient(lib.array(LABELS), logits).dtype == logits.dtype
        # "The reduced loss is at least float32."
        loss = head.loss(lib.array(LABELS), logits)
        assert loss.dtype == (lib.xp.float32 if dtype == "float16" else logits.dtype)
