"""Protocols of Python and of notebooks: repr, equality and hash, copy and pickle, configuration dicts, HTML, names."""

import copy
import functools
import html.parser
import inspect
import json
import math
import pickle
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from conftest import LIBRARIES
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

import glmheads as gh
from glmheads import families, metrics
from glmheads.heads.configuration import Configured

CLASSES = (gh.BinaryClassHead, gh.LogisticRegressionHead, gh.RegressionHead, gh.PoissonRegressionHead)
FAMILIES = (families.BERNOULLI, families.GAUSSIAN, families.POISSON, families.POISSON_WITHOUT_CONSTANT)
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "pickle-2": lambda value: pickle.loads(pickle.dumps(value, protocol=2)),
}
LABELS, LOGITS = [1.0, 0.0, 1.0, 0.0], [[2.0], [-1.0], [0.5], [0.75]]

each_copy = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


# Functions and classes that another module can import by name


def absolute_error(labels: Any, logits: Any) -> Any:
    return abs(labels - logits)


def tenfold(array: Any) -> Any:
    return 10 * array


@dataclass(frozen=True)
class Band:
    """An argument of a user's own head."""

    low: float = 0.0
    high: float = 1.0
    shape: Callable[[Any], Any] | None = None


class OwnHead(gh.FamilyHead):
    def __init__(self, scales=(1.0,), band=None, options=None, inner=None, *, name=None):
        super().__init__(family=families.GAUSSIAN, name=name)
        self.scales, self.band, self.options, self.inner = scales, band, options, inner


class AbsoluteError:
    def __call__(self, labels: Any, logits: Any) -> Any:
        return abs(labels - logits)


class Loose(gh.BinaryClassHead):
    """A head whose arguments are passed on by ``*args`` and ``**kwargs``."""

    def __init__(self, *args, margin=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.margin = margin


class Inherited(gh.PoissonRegressionHead):
    pass


OWN_FAMILY = gh.Family(
    name="own",
    loss=absolute_error,
    gradient=absolute_error,
    hessian=absolute_error,
    inverse_link=tenfold,
    valid_labels=gh.Interval(0, 5, high_closed=False),
)


# ---------------------------------------------------------------------------------------------------------------------
# Strategies

_COLUMNS = st.one_of(
    st.none(),
    st.text(),
    st.builds(gh.NumericColumn, st.text()),
    st.builds(gh.NumericColumn, st.text(), st.just(tenfold)),
)
_COMMON = {
    "weight_column": _COLUMNS,
    "loss_reduction": st.sampled_from(
        [*(r for r in gh.Reduction if r != gh.Reduction.NONE), "sum", "weighted_sum", "weighted_sum_over_batch_size"]
    ),
    "name": st.one_of(st.none(), st.text()),
}
_LOSS = {"loss_fn": st.sampled_from([None, absolute_error])}
_DIMENSION = {"label_dimension": st.one_of(st.integers(1, 5), st.integers(1, 5).map(np.int64))}
_THRESHOLDS = st.lists(st.integers(1, 99), unique=True, max_size=4).map(lambda ks: [k / 100 for k in ks])
_ARGUMENTS: dict[type[gh.Head], dict[str, st.SearchStrategy[Any]]] = {
    gh.BinaryClassHead: {
        **_COMMON,
        **_LOSS,
        "thresholds": st.one_of(st.none(), _THRESHOLDS, _THRESHOLDS.map(tuple), _THRESHOLDS.map(np.asarray)),
        "label_vocabulary": st.one_of(st.none(), st.lists(st.text(), min_size=2, max_size=2, unique=True)),
        "num_thresholds": st.one_of(st.none(), st.integers(2, 300)),
    },
    gh.LogisticRegressionHead: _COMMON,
    gh.RegressionHead: {**_COMMON, **_LOSS, **_DIMENSION, "inverse_link_fn": st.sampled_from([None, tenfold])},
    gh.PoissonRegressionHead: {**_COMMON, **_DIMENSION, "compute_full_loss": st.booleans()},
}


def arguments(cls: type[gh.Head]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=_ARGUMENTS[cls])


heads = st.sampled_from(CLASSES).flatmap(lambda cls: arguments(cls).map(lambda given: cls(**given)))
pairs = st.sampled_from(CLASSES).flatmap(lambda cls: st.tuples(st.just(cls), arguments(cls)))

NAMESPACE = {**vars(gh), __name__: sys.modules[__name__]}


def rebuilt(head: gh.Head) -> gh.Head:
    return gh.Head.from_dict(json.loads(json.dumps(head.to_dict())))


# ---------------------------------------------------------------------------------------------------------------------
# Heads


class TestRepr:
    @given(heads)
    def test_evaluates_to_an_equal_head(self, head):
        assert eval(repr(head), dict(NAMESPACE)) == head

    @pytest.mark.parametrize("cls", CLASSES)
    def test_omits_defaults(self, cls):
        assert repr(cls()) == f"{cls.__name__}()"

    def test_shows_other_arguments_in_the_order_of_the_signature(self):
        head = gh.BinaryClassHead(num_thresholds=200, name="c", thresholds=(0.5, 0.25), loss_reduction="weighted_sum")
        expected = "BinaryClassHead(thresholds=[0.5, 0.25], loss_reduction='sum', name='c', num_thresholds=200)"
        assert repr(head) == expected

    def test_shows_functions_by_name(self):
        head = gh.RegressionHead(loss_fn=absolute_error, inverse_link_fn=lambda x: x)
        assert f"loss_fn={__name__}.absolute_error" in repr(head)
        assert "0x" not in repr(head)

    def test_shows_positional_arguments_and_dataclasses(self):
        assert repr(Loose("w", [0.25], name="n")) == "Loose(weight_column='w', thresholds=[0.25], name='n')"
        assert repr(Inherited(2)) == "Inherited(label_dimension=2)"
        assert repr(OwnHead([1, np.float64(2)], Band(high=2.0))) == "OwnHead(scales=[1, 2.0], band=Band(high=2.0))"

    def test_mutating_an_argument_later_does_not_change_the_head(self):
        thresholds = [0.25]
        head = gh.BinaryClassHead(thresholds=thresholds)
        thresholds.append(0.5)
        assert head == gh.BinaryClassHead(thresholds=[0.25])

    def test_inspect_signature_is_that_of_the_class(self):
        assert list(inspect.signature(gh.FamilyHead).parameters)[:2] == ["family", "metrics"]
        assert next(iter(inspect.signature(Inherited).parameters)) == "label_dimension"

    def test_wrong_arguments_raise_the_error_of_the_class(self):
        with pytest.raises(
            TypeError, match=r"BinaryClassHead\.__init__\(\) got an unexpected keyword argument 'colour'"
        ):
            gh.BinaryClassHead(colour="red")


class TestEquality:
    @given(pairs)
    def test_equal_arguments_make_equal_heads(self, made):
        cls, given_ = made
        one, other = cls(**given_), cls(**copy.deepcopy(given_))
        assert one == other
        assert hash(one) == hash(other)
        assert one.measurement.config == other.measurement.config

    @given(heads, heads)
    def test_heads_are_equal_exactly_if_their_reprs_are(self, one, other):
        assert (one == other) == (repr(one) == repr(other))

    def test_heads_with_different_arguments_or_classes_differ(self):
        head = gh.BinaryClassHead()
        others = [
            gh.BinaryClassHead(name="n"),
            gh.BinaryClassHead(loss_reduction="sum"),
            gh.BinaryClassHead(loss_fn=absolute_error),
            gh.BinaryClassHead(weight_column="w"),
            gh.LogisticRegressionHead(),
            Loose(),
        ]
        assert all(head != other for other in others)
        assert len({head, *others}) == 1 + len(others)
        assert head != "BinaryClassHead()"

    def test_aliases_of_a_reduction_are_equal(self):
        assert gh.RegressionHead(loss_reduction="weighted_sum") == gh.RegressionHead(loss_reduction=gh.Reduction.SUM)

    def test_functools_cache_finds_an_equal_head(self):
        made = []

        @functools.cache
        def step(head: gh.Head) -> str:
            made.append(head)
            return "a compiled step"

        step(gh.BinaryClassHead(thresholds=[0.5]))
        step(gh.BinaryClassHead(thresholds=(0.5,)))
        assert len(made) == 1

    def test_head_is_a_static_argument_of_jit(self):
        jax = pytest.importorskip("jax")
        traces = []

        @functools.partial(jax.jit, static_argnums=0)
        def loss(head, labels, logits):
            traces.append(head)
            return head.loss(labels, logits)

        z, x = jax.numpy.asarray(LABELS), jax.numpy.asarray(LOGITS)
        for head in (gh.BinaryClassHead(name="a"), gh.BinaryClassHead(name="a"), gh.BinaryClassHead(name="b")):
            loss(head, z, x)
        assert len(traces) == 2


class TestDict:
    @given(heads)
    def test_round_trip_through_json(self, head):
        again = rebuilt(head)
        assert type(again) is type(head)
        assert again == head
        assert repr(again) == repr(head)
        assert again.empty().config == head.empty().config

    @given(heads)
    def test_rebuilt_head_reads_statistics_of_the_original(self, head):
        assert rebuilt(head).results(head.empty()).keys() == head.results(head.empty()).keys()

    @pytest.mark.parametrize(
        "head",
        [
            OwnHead(scales=[2.0, 3.0], band=Band(low=-1.0, shape=tenfold), options={"a": [1, {"b": None}]}),
            OwnHead(inner=gh.BinaryClassHead(weight_column=gh.numeric_column("w", normalizer_fn=tenfold))),
            Loose("w", [0.25], margin=2.0, name="n"),
            Inherited(2),
            gh.FamilyHead(family=OWN_FAMILY, metrics=metrics.mean_metrics()[:1], name="n"),
        ],
        ids=repr,
    )
    def test_round_trip_of_user_defined_heads(self, head):
        again = rebuilt(head)
        assert again == head
        assert repr(again) == repr(head)
        assert again.empty().config == head.empty().config

    def test_content(self):
        head = gh.RegressionHead(2, gh.numeric_column("w", normalizer_fn=tenfold), loss_fn=absolute_error)
        assert head.to_dict() == {
            "class": "glmheads.RegressionHead",
            "arguments": {
                "label_dimension": 2,
                "weight_column": {
                    "class": "glmheads.NumericColumn",
                    "arguments": {"key": "w", "normalizer_fn": {"function": f"{__name__}.tenfold"}},
                },
                "loss_fn": {"function": f"{__name__}.absolute_error"},
            },
        }

    def test_mutating_the_dict_does_not_change_the_head(self):
        head = gh.BinaryClassHead(thresholds=[0.25])
        head.to_dict()["arguments"]["thresholds"].append(0.5)
        assert repr(head) == "BinaryClassHead(thresholds=[0.25])"

    def test_argument_added_by_a_subclass(self):
        class Further(gh.BinaryClassHead):
            def __init__(self, *args, keys=None, **kwargs):
                super().__init__(*args, **kwargs)
                self.keys = keys

        keys = [gh.MetricKeys.AUC, "f1"]
        assert repr(Further(keys=keys)) == "Further(keys=['auc', 'f1'])"
        assert Further(keys=keys) == Further(keys=("auc", "f1"))

    @pytest.mark.parametrize(
        ("function", "why"),
        [
            (lambda labels, logits: abs(labels - logits), "a lambda has no name"),
            (functools.partial(absolute_error), "an object of type partial has no name of its own"),
            (AbsoluteError(), "an object of type AbsoluteError has no name of its own"),
        ],
        ids=["lambda", "partial", "object"],
    )
    def test_function_without_a_name_is_refused(self, function, why):
        head = gh.RegressionHead(loss_fn=function)
        with pytest.raises(ValueError, match=f"RegressionHead: loss_fn is .*can't be written by name: {why}"):
            head.to_dict()

    def test_local_functions_and_classes_are_refused(self):
        def local(labels, logits):
            return abs(labels - logits)

        class Local(gh.RegressionHead):
            pass

        for head in (gh.RegressionHead(loss_fn=local), Local()):
            with pytest.raises(ValueError, match="it is defined inside a function"):
                head.to_dict()

    def test_functions_of_main_or_hidden_functions_are_refused(self, monkeypatch):
        monkeypatch.setattr(absolute_error, "__module__", "__main__")
        with pytest.raises(ValueError, match="defined in __main__, which is another module in another program"):
            gh.RegressionHead(loss_fn=absolute_error).to_dict()
        monkeypatch.setattr(absolute_error, "__module__", "math")
        with pytest.raises(ValueError, match=r"importing math\.absolute_error does not give it back"):
            gh.RegressionHead(loss_fn=absolute_error).to_dict()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (b"bytes", "of type <class 'bytes'>, for which JSON has no form"),
            ({1: "a"}, "they must be strings"),
            ({"function": "a"}, "stand for functions and objects"),
            ([{"class": 1, "arguments": 2}], "stand for functions and objects"),
            (1j, "JSON has no form"),
        ],
    )
    def test_arguments_that_are_not_json_are_refused(self, options, message):
        with pytest.raises(TypeError, match=f"OwnHead: options .*{message}"):
            OwnHead(options=options).to_dict()

    @pytest.mark.parametrize(
        ("config", "error", "message"),
        [
            (None, TypeError, "expected a dict that to_dict makes"),
            ({}, TypeError, "expected a dict that to_dict makes"),
            ({"class": "glmheads.BinaryClassHead"}, TypeError, "expected a dict that to_dict makes"),
            ({"class": "glmheads.BinaryClassHead", "arguments": []}, TypeError, "expected a dict that to_dict makes"),
            ({"class": 1, "arguments": {}}, TypeError, "expected the dotted name"),
            ({"class": "glmheads.NoSuchHead", "arguments": {}}, ValueError, r"glmheads\.NoSuchHead can't be imported"),
            ({"class": "no_such_package.Head", "arguments": {}}, ValueError, "can't be imported"),
            ({"class": "no name at all", "arguments": {}}, ValueError, "can't be imported"),
            ({"class": "os.system", "arguments": {}}, ValueError, r"os\.system is no class of what to_dict writes"),
            ({"class": "pathlib.Path", "arguments": {}}, ValueError, "is no class of what to_dict writes"),
            ({"class": "glmheads.NumericColumn", "arguments": {"key": "w"}}, ValueError, "which is no Head"),
            ({"class": "glmheads.BinaryClassHead", "arguments": {"colour": 1}}, TypeError, "argument 'colour'"),
            ({"class": "glmheads.BinaryClassHead", "arguments": {"thresholds": [2]}}, ValueError, "thresholds not in"),
        ],
        ids=str,
    )
    def test_invalid_dict_is_refused(self, config, error, message):
        with pytest.raises(error, match=message):
            gh.Head.from_dict(config)

    def test_from_dict_accepts_the_class_and_its_subclasses(self):
        config = gh.BinaryClassHead(name="n").to_dict()
        assert gh.BinaryClassHead.from_dict(config).name == "n"
        assert gh.BinaryClassHead.from_dict(Loose().to_dict()) == Loose()
        with pytest.raises(ValueError, match=r"the dict is of glmheads\.BinaryClassHead, which is no RegressionHead"):
            gh.RegressionHead.from_dict(config)


class TestCopiesOfHeads:
    @each_copy
    @given(head=heads)
    def test_are_equal(self, head, copied):
        again = copied(head)
        assert again == head
        assert repr(again) == repr(head)
        assert again.empty().config == head.empty().config

    @each_copy
    @given(made=pairs)
    def test_return_the_same_numbers(self, made, copied):
        cls, given_ = made
        head = cls(**{key: value for key, value in given_.items() if key not in ("weight_column", "label_vocabulary")})
        logits = np.zeros((4, head.logits_dimension)) + LOGITS
        labels = np.zeros_like(logits) + np.asarray(LABELS)[:, None]
        assert copied(head).loss(labels, logits) == head.loss(labels, logits)
        one, other = copied(head).evaluate([(labels, logits)]), head.evaluate([(labels, logits)])
        assert one == other

    def test_keep_added_attributes(self):
        head = OwnHead(name="n")
        head.note = ["kept"]
        assert all(copied(head).note == ["kept"] for copied in COPIES.values())

    def test_unpickling_does_not_call_init(self, monkeypatch):
        pickled = pickle.dumps(gh.BinaryClassHead(thresholds=[0.5]))
        monkeypatch.setattr(gh.BinaryClassHead, "__init__", lambda _: pytest.fail("called"))
        assert pickle.loads(pickled).thresholds == (0.5,)


# ---------------------------------------------------------------------------------------------------------------------
# Families, metric specs, statistics, metrics


class TestFamiliesAndMetricSpecs:
    @each_copy
    @pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
    def test_families(self, family, copied):
        assert copied(family) == family
        assert repr(copied(family)) == repr(family)

    @each_copy
    @pytest.mark.parametrize(
        "head",
        [gh.BinaryClassHead(thresholds=[0.25]), gh.BinaryClassHead(num_thresholds=20), gh.RegressionHead()],
        ids=repr,
    )
    def test_metric_specs(self, head, copied):
        statistics = head.statistics(LABELS, LOGITS, regularization_losses=[1.0])
        for spec in (*head.metric_specs, metrics.REGULARIZATION):
            again = copied(spec)
            assert again == spec
            np.testing.assert_array_equal(again.compute(statistics), spec.compute(statistics))
            np.testing.assert_array_equal(again.compute_bounds(statistics), spec.compute_bounds(statistics))

    def test_repr(self):
        assert repr(families.POISSON) == "Family(name='poisson')"
        text = repr(metrics.mean_metrics()[0])
        assert "average_loss" in text
        assert "0x" not in text

    @each_copy
    def test_predictions(self, copied):
        predictions = gh.BinaryClassHead(label_vocabulary=["no", "yes"]).predictions(np.asarray(LOGITS))
        again = copied(predictions)
        assert list(again) == list(predictions)
        for key, value in predictions.items():
            np.testing.assert_array_equal(again[key], value)


def record(lib: Any, head: gh.Head | None = None, rows: slice = slice(None)) -> gh.Statistics:
    head = gh.BinaryClassHead(thresholds=[0.25]) if head is None else head
    return head.statistics(lib.array(LABELS[rows], "float32"), lib.array(LOGITS[rows], "float32"))


class TestStatistics:
    @each_copy
    def test_copies_hold_equal_arrays(self, lib, copied):
        statistics = record(lib)
        again = copied(statistics)
        assert again.structure() == statistics.structure()
        for one, other in zip(again.arrays(), statistics.arrays(), strict=True):
            assert type(one) is type(other)
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(lib.numpy(one), lib.numpy(other))

    @each_copy
    def test_copies_can_be_added_and_read(self, lib, copied):
        head = gh.BinaryClassHead(thresholds=[0.25])
        whole = copied(record(lib, head, slice(0, 2))) + record(lib, head, slice(2, 4))
        expected = head.results(record(lib, head, slice(0, 2)) + record(lib, head, slice(2, 4)))
        for key, found in copied(head).results(whole).items():
            assert lib.numpy(found) == lib.numpy(expected[key])

    @each_copy
    def test_copies_of_empty_statistics(self, copied):
        empty = gh.BinaryClassHead().empty()
        assert copied(empty).structure() == empty.structure()
        assert not copied(empty).states

    @each_copy
    def test_copy_is_detached(self, library, copied):
        lib = library("torch")
        logits = lib.array(LOGITS).requires_grad_()
        statistics = gh.BinaryClassHead().statistics(lib.array(LABELS), logits)
        assert any(array.requires_grad for array in statistics.arrays())
        assert not any(array.requires_grad for array in copied(statistics).arrays())

    def test_unpickled_statistics_are_a_jax_pytree(self, library):
        library("jax")
        code = (
            "import pickle, sys, jax; record = pickle.load(sys.stdin.buffer); "
            "print(len(jax.tree.leaves(jax.jit(lambda r: r)(record))))"
        )
        statistics = record(library("jax"))
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            input=pickle.dumps(statistics),
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr.decode()
        assert int(done.stdout) == len(statistics.arrays())

    def test_repr_shows_parts_library_and_weight(self, lib):
        text = repr(record(lib))
        assert text.startswith("<Statistics of BinaryClassHead: states validity, means, thresholds, ranking; in ")
        assert lib.name.split("-")[0] in text
        assert ("weight 4>" in text) == lib.checks_values
        assert text.endswith("lazy>") == lib.is_lazy

    def test_repr_of_empty_statistics_and_of_invalid_logits(self):
        assert repr(gh.RegressionHead().empty()) == "<Statistics of RegressionHead: states none>"
        statistics = gh.RegressionHead().statistics([1.0, 2.0], [[math.nan], [1.0]])
        assert repr(statistics).endswith("weight 2; invalid logits 1>")
        assert repr(gh.Statistics("mine", {})) == "<Statistics of mine: states none>"

    def test_repr_computes_nothing(self, library):
        dask = pytest.importorskip("dask")
        statistics = record(library("dask"))
        metric = gh.BinaryClassHead().metrics()
        lib = library("dask")
        gh.BinaryClassHead().update_metrics(metric, None, lib.array(LOGITS), lib.array(LABELS))

        def refuse(*_, **__):
            pytest.fail("computed")

        with dask.config.set(scheduler=refuse):
            assert "lazy" in repr(statistics) + statistics._repr_html_()
            assert "lazy" in repr(metric["auc"]) + metric["auc"]._repr_html_()

    def test_repr_under_a_trace(self, library):
        statistics = record(library("jax"))
        jax = pytest.importorskip("jax")
        seen = []
        jax.jit(lambda s: seen.append(repr(s)) or s)(statistics)
        assert "jax.numpy, traced" in seen[0]
        assert "states" in repr(jax.tree.map(lambda _: None, statistics, is_leaf=None))


class TestMetrics:
    @each_copy
    def test_copies_are_independent(self, lib, copied):
        head = gh.BinaryClassHead()
        batch = (None, lib.array(LOGITS), lib.array(LABELS))
        seen = head.update_metrics(head.metrics(), *batch)
        again = copied(seen) if copied is not copy.copy else {key: copy.copy(metric) for key, metric in seen.items()}
        before = {key: lib.numpy(metric.result()) for key, metric in seen.items()}
        assert {key: lib.numpy(metric.result()) for key, metric in again.items()} == before
        again["accuracy"].reset()
        head.update_metrics(again, *batch)
        assert {key: lib.numpy(metric.result()) for key, metric in seen.items()} == before

    @each_copy
    def test_metrics_of_a_copied_dict_share_statistics(self, copied):
        head = gh.BinaryClassHead()
        again = copied(head.update_metrics(head.metrics(), None, LOGITS, LABELS))
        assert len({id(metric.statistics) for metric in again.values()}) == 1

    def test_repr_shows_the_value_where_it_is_computed(self, lib):
        head = gh.BinaryClassHead()
        seen = head.metrics()
        assert repr(seen["accuracy"]) == "<Metric accuracy: no data>"
        head.update_metrics(seen, None, lib.array(LOGITS), lib.array(LABELS))
        text = repr(seen["accuracy"])
        assert text == "<Metric accuracy: 0.75>" if lib.checks_values else lib.name.split("-")[0] in text
        assert text in repr(seen)

    def test_repr_of_invalid_data_does_not_raise(self, library):
        jax = pytest.importorskip("jax")
        head = gh.RegressionHead()
        statistics = jax.jit(head.statistics)(jax.numpy.asarray([math.nan]), jax.numpy.asarray([[1.0]]))
        accumulator = head.accumulator()
        accumulator.merge(statistics)
        metric = gh.Metric(head.metric_specs[0], accumulator)
        assert repr(metric) == "<Metric average_loss: the data have bad labels or weights>"


# ---------------------------------------------------------------------------------------------------------------------
# Other processes


@pytest.fixture(scope="module")
def process():
    """A spawned process, as on Windows and macOS: it inherits no memory."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        yield pool


class TestProcesses:
    @pytest.mark.parametrize("name", [name for name in LIBRARIES if name != "jax-x64"])
    def test_statistics_from_another_process(self, process, library, name):
        lib = library(name)
        head = gh.BinaryClassHead(weight_column=None, thresholds=[0.25], label_vocabulary=None)
        given_ = (lib.array(LABELS, "float32"), lib.array(LOGITS, "float32"))
        found = process.submit(head.statistics, *given_).result(timeout=120) + head.statistics(*given_)
        expected = head.statistics(*given_) + head.statistics(*given_)
        for key, value in head.results(expected).items():
            assert lib.numpy(head.results(found)[key]) == lib.numpy(value)

    def test_metrics_and_predictions_from_another_process(self, process):
        head = gh.BinaryClassHead(label_vocabulary=["no", "yes"])
        words = ["yes", "no", "yes", "no"]
        seen = process.submit(head.update_metrics, head.metrics(), None, LOGITS, words).result(timeout=120)
        assert repr(seen["accuracy"]) == "<Metric accuracy: 0.75>"
        predictions = process.submit(head.predictions, LOGITS).result(timeout=120)
        assert predictions["classes"].tolist() == [["yes"], ["no"], ["yes"], ["yes"]]


# ---------------------------------------------------------------------------------------------------------------------
# Notebooks


class Page(html.parser.HTMLParser):
    """The tags and the text of a piece of HTML; every tag must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


ALLOWED = {"table", "caption", "tbody", "tr", "th", "td"}


class TestNotebooks:
    @given(st.text(), st.text())
    def test_everything_is_escaped(self, name, column):
        head = gh.BinaryClassHead(weight_column=f"<script>{column}", name=f"</table><b>{name}&amp;")
        page = Page(head._repr_html_())
        assert page.tags == ALLOWED
        assert repr(head.name) in page.texts

    def test_head_shows_arguments_and_metrics(self):
        texts = Page(gh.BinaryClassHead(thresholds=[0.25], name="c")._repr_html_()).texts
        assert texts[0] == "BinaryClassHead"
        assert texts[texts.index("thresholds") + 1] == "[0.25]"
        assert "auc/c" in texts[texts.index("metrics") + 1]

    def test_statistics_and_metrics(self, lib):
        statistics = record(lib)
        texts = Page(statistics._repr_html_()).texts
        assert texts[texts.index("head") + 1] == "BinaryClassHead"
        head = gh.BinaryClassHead()
        seen = head.update_metrics(head.metrics(), None, lib.array(LOGITS), lib.array(LABELS))
        texts = Page(seen["auc"]._repr_html_()).texts
        assert texts[0] == "auc"
        assert texts[1::2] == ["value", "bounds"]
        if lib.checks_values:
            assert float(texts[2]) == 0.75
        assert "bounds" not in Page(seen["accuracy"]._repr_html_()).texts

    def test_statistics_whose_configuration_is_not_json(self):
        assert Page(gh.Statistics("<b>", {})._repr_html_()).texts[2] == "<b>"


# ---------------------------------------------------------------------------------------------------------------------
# Names


class TestNames:
    @pytest.mark.parametrize("names", [gh.MetricKeys, gh.PredictionKeys, gh.Reduction, gh.ModeKeys])
    def test_are_string_enumerations(self, names):
        assert issubclass(names, StrEnum)

    def test_are_columns(self):
        name = gh.MetricKeys.LOSS_MEAN
        for frame in (pd.DataFrame({name: [1.0]}), pd.DataFrame([{name: 1.0}]), pd.Series({name: 1.0}).to_frame().T):
            assert frame["average_loss"][0] == frame[name][0] == 1.0
            assert {name, "average_loss"} <= set(frame.columns)
            assert "average_loss" in frame.to_csv()
        assert pl.DataFrame({"average_loss": [1.0]})[name][0] == 1.0

    def test_results_have_plain_keys(self):
        results = gh.BinaryClassHead(thresholds=[0.25]).evaluate([(LABELS, LOGITS)])
        assert {type(key) for key in results} == {str}
        assert results[gh.MetricKeys.AUC] == results["auc"]
        assert results[gh.MetricKeys.ACCURACY_AT_THRESHOLD % 0.25] == results["accuracy/positive_threshold_0.25"]
        frame = pd.DataFrame([results])
        assert float(frame[gh.MetricKeys.AUC][0]) == 0.75
        assert json.loads(json.dumps({key: float(value) for key, value in results.items()}))["auc"] == 0.75

    def test_predictions_make_a_frame(self):
        predictions = gh.BinaryClassHead().predictions(np.asarray(LOGITS), keys=[gh.PredictionKeys.LOGISTIC])
        frame = pd.DataFrame({key: value[:, 0] for key, value in predictions.items()})
        assert list(frame.columns) == ["logistic"]


ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


class TestProject:
    def test_version_is_semantic_and_the_same_everywhere(self):
        assert str(Version(gh.__version__)) == gh.__version__
        assert len(Version(gh.__version__).release) == 3
        assert version("glmheads") == gh.__version__
        assert f"\nversion: {gh.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")

    def test_command_line_prints_the_version(self):
        command = [sys.executable, "-W", "error", "-m", "glmheads.cli", "--version"]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
        assert (done.returncode, done.stdout) == (0, f"glmheads {gh.__version__}\n"), done.stderr

    def test_changelog_is_in_the_format_of_keep_a_changelog(self):
        lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
        sections = [line for line in lines if line.startswith("## ")]
        assert sections[0] == "## [Unreleased]"
        assert all(re.fullmatch(r"## \[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", line) for line in sections[1:])
        kinds = {line.removeprefix("### ") for line in lines if line.startswith("### ")}
        assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}

    @pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", ".github/pull_request_template.md"])
    def test_paths_and_extras_named_in_the_notes_exist(self, page):
        text = (ROOT / page).read_text(encoding="utf-8")
        named = re.findall(r"`((?:glmheads|tests|docs|\.ci)/[\w./-]+)`|\]\(([\w./-]+)\)", text)
        named += [(path, "") for path in re.findall(r"^(?:python )?((?:\.ci/|tests/)[\w./]+)$", text, re.MULTILINE)]
        for path in map("".join, named):
            assert (ROOT / path).exists(), path
        for extras in re.findall(r"'\.\[([\w,]+)\]'", text):
            assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_repr_equality_and_dicts_are_defined_in_one_place():
    """A head declares its arguments in ``__init__`` alone."""
    own = {"__new__", "_shown", "__eq__", "__hash__", "to_dict", "from_dict"}
    for cls in (gh.Head, *CLASSES):
        assert issubclass(cls, Configured)
        assert not own & set(vars(cls))
