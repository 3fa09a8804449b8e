"""Which library an array is of, what importing costs, and strings that no array library can hold."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import glmheads as gh
from glmheads import backends

LOGITS = [[1.0], [-2.0], [0.5]]


def run(code: str) -> Any:
    """What a fresh interpreter prints, as JSON."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


class TestImport:
    def test_imports_numpy_and_array_api_compat_alone(self):
        loaded = run(
            "import sys, json, numpy; before = set(sys.modules); import glmheads; "
            "print(json.dumps(sorted(set(sys.modules) - before)))"
        )
        roots = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names)
        assert roots <= {"glmheads", "numpy", "array_api_compat"}
        wrappers = {name.split(".")[1] for name in loaded if name.startswith("array_api_compat.")}
        assert not wrappers & {"torch", "cupy", "dask"}

    def test_a_batch_of_numpy_imports_nothing_more(self):
        loaded = run(
            "import sys, json, numpy as np, glmheads as gh; head = gh.BinaryClassHead()\n"
            "head.evaluate([(np.ones(3), np.ones((3, 1)))]); dict(head.predictions(np.ones((3, 1))))\n"
            "print(json.dumps(sorted(sys.modules)))"
        )
        assert not {"torch", "jax", "jaxlib", "dask", "cupy", "array_api_strict", "pandas", "scipy"} & set(loaded)

    @pytest.mark.parametrize("library", ["torch", "jax"])
    def test_a_library_imports_no_other(self, library):
        pytest.importorskip(library)
        make = {"torch": "import torch; x = torch.ones((3, 1))", "jax": "import jax; x = jax.numpy.ones((3, 1))"}
        loaded = run(
            f"import sys, json; {make[library]}\n"
            "import glmheads as gh; gh.LogisticRegressionHead().loss([1, 0, 1], x)\n"
            "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
        )
        assert not {"torch", "jax", "dask", "cupy", "array_api_strict"} - {library} & set(loaded)

    def test_cost_over_numpy(self):
        """No assertion: clocks of shared machines lie. design.md asks for less than 0.1 s."""
        code = "import json, time, numpy; t = time.perf_counter(); import glmheads; print(time.perf_counter() - t)"
        print(f"import glmheads over import numpy: {min(run(code) for _ in range(2)):.3f} s")  # noqa: T201

    def test_public_names_are_there(self):
        assert sorted(gh.__all__) == gh.__all__
        assert all(hasattr(gh, name) for name in gh.__all__)


class TestFinding:
    def test_of_an_array(self, lib):
        array = lib.array(LOGITS)
        assert backends.of(array) is lib.backend
        assert backends.of(array[0, 0]) is lib.backend
        assert backends.is_array(array)

    def test_of_a_traced_array(self):
        jax = pytest.importorskip("jax")
        seen = []

        def function(x):
            seen.append((backends.of(x).name, backends.is_array(x), backends.of(x).is_concrete(x)))
            return x

        jax.jit(function)(1.0)
        assert seen == [("jax", True, False)]

    def test_of_a_subclass(self):
        class Mine(np.ndarray):
            pass

        assert backends.of(np.ones(2).view(Mine)) is backends.named("numpy")
        assert backends.of(np.float64(1)) is backends.named("numpy")
        torch = pytest.importorskip("torch")
        assert backends.of(torch.nn.Parameter(torch.ones(2))) is backends.named("torch")

    @pytest.mark.parametrize("value", [None, 1, 1.0, "a", [1.0], (1.0,), {}, range(3), object(), memoryview(b"a")])
    def test_what_is_no_array(self, value):
        assert not backends.is_array(value)
        with pytest.raises(TypeError, match="expected an array of a library that follows the Array API standard"):
            backends.of(value)

    def test_what_a_library_has_beside_arrays(self):
        values = [np.dtype("f4"), np.random.default_rng(0), np]
        torch = pytest.importorskip("torch")
        values += [torch.Size([3]), torch.nn.Linear(1, 1), torch.float32, torch.device("cpu")]
        for value in values:
            assert not backends.is_array(value)
            with pytest.raises(TypeError, match="expected an array"):
                backends.of(value)

    def test_frames_are_no_arrays(self):
        for name in ("pandas", "polars"):
            assert not backends.is_array(pytest.importorskip(name).Series([1.0]))

    @pytest.mark.parametrize("name", ["numpy", "torch", "jax", "dask"])
    def test_by_name_and_by_module(self, library, name):
        expected = library(name).backend
        assert expected.name == name
        assert backends.named(name) is expected
        assert backends.named(expected.xp) is expected
        assert backends.named(__import__(name)) is expected

    @pytest.mark.parametrize("name", ["no_such_library", "no.such.library"])
    def test_unknown_names(self, name):
        with pytest.raises(ValueError, match=r"no array library|not an array library"):
            backends.named(name)

    def test_modules_that_are_no_array_library(self):
        for module in ("json", json, np.float64(1), 5, None):
            with pytest.raises(ValueError, match="is not an array library"):
                backends.named(module)


class TestUnlisted:
    """array_api_strict is not listed: what works on it works on any library that follows the standard."""

    def test_it_is_unlisted(self, library):
        strict = library("array_api_strict")
        assert type(strict.backend) is backends.Backend

    def test_by_name_and_by_array_are_one(self, library):
        strict = library("array_api_strict")
        assert backends.named("array_api_strict") is backends.of(strict.array(LOGITS))

    def test_all_that_a_head_does(self, library):
        strict = library("array_api_strict")
        head = gh.BinaryClassHead(weight_column="w", thresholds=[0.25])
        arrays = [strict.array(values) for values in ([1.0, 0.0, 0.0], LOGITS, [1.0, 2.0, 3.0])]
        labels, logits, weights = arrays
        mine = head.evaluate([(labels, logits, {"w": weights})] * 2)
        numpys = [strict.numpy(array) for array in arrays]
        expected = head.evaluate([(numpys[0], numpys[1], {"w": numpys[2]})] * 2)
        for key, value in mine.items():
            assert backends.of(value) is strict.backend
            assert_allclose(strict.numpy(value), expected[key], rtol=1e-14)
        statistics = head.statistics(labels, logits, {"w": weights})
        there = statistics.to("numpy").to("array_api_strict")
        assert all(backends.of(array) is strict.backend for array in there.arrays())
        assert set(head.curves(statistics)) == {"roc", "precision_recall"}

    def test_autograd_is_missed_by_name(self, library):
        strict = library("array_api_strict")
        head = gh.BinaryClassHead(loss_fn=lambda labels, logits: (labels - logits) ** 2)
        with pytest.raises(TypeError, match="have no automatic differentiation"):
            head.gradient(strict.array([1.0, 0.0, 1.0]), strict.array(LOGITS))


class TestStrings:
    """`classes` and `all_classes` are NumPy arrays that are made when they are read."""

    HEAD = gh.BinaryClassHead(label_vocabulary=["stay", "leave"])

    def test_are_made_when_they_are_read(self, lib, monkeypatch):
        logits = lib.array(LOGITS)
        seen = []
        to_numpy = type(lib.backend).to_numpy
        monkeypatch.setattr(type(lib.backend), "to_numpy", lambda self, a: seen.append(1) or to_numpy(self, a))
        predictions = self.HEAD.predictions(logits)
        assert len(predictions) == 7
        assert {"classes", "all_classes"} <= set(predictions)
        assert "classes" in repr(predictions)
        assert seen == []
        assert isinstance(predictions["classes"], np.ndarray)
        assert predictions["classes"].tolist() == [["leave"], ["stay"], ["leave"]]
        assert seen

    def test_all_classes_need_no_values(self, lib, monkeypatch):
        logits = lib.array(LOGITS)
        monkeypatch.setattr(type(lib.backend), "to_numpy", pytest.fail)
        assert self.HEAD.predictions(logits)["all_classes"].tolist() == [["stay", "leave"]] * 3

    def test_nothing_lazy_is_computed_before(self, library):
        dask_ = library("dask")
        import dask

        def refuse(*arguments: Any, **options: Any) -> None:
            raise AssertionError("computed")

        with dask.config.set(scheduler=refuse):
            predictions = self.HEAD.predictions(dask_.array(LOGITS))
            arrays = [predictions[key] for key in predictions if key != "classes"]
            assert len(arrays) == 6
            with pytest.raises(AssertionError, match="computed"):
                predictions["classes"]

    def test_can_be_chosen(self):
        assert list(self.HEAD.predictions(LOGITS, keys=["classes"])) == ["classes"]
        assert gh.BinaryClassHead().predictions(LOGITS)["classes"].tolist() == [["1"], ["0"], ["1"]]

    def test_are_absent_under_jit(self, library):
        jax = pytest.importorskip("jax")
        predictions = jax.jit(self.HEAD.predictions)(library("jax").array(LOGITS))
        assert set(predictions) == {"logits", "logistic", "probabilities", "class_ids", "all_class_ids"}
        assert np.asarray(predictions["class_ids"]).tolist() == [[1], [0], [1]]

    def test_are_absent_under_torch_compile(self):
        torch = pytest.importorskip("torch")
        compiled = torch.compile(lambda x: self.HEAD.predictions(x), backend="eager", fullgraph=True)
        predictions = compiled(torch.tensor(LOGITS))
        assert set(predictions) == {"logits", "logistic", "probabilities", "class_ids", "all_class_ids"}
        assert predictions["class_ids"].tolist() == [[1], [0], [1]]

    def test_asked_for_under_a_trace_are_absent_too(self, library):
        jax = pytest.importorskip("jax")
        chosen = jax.jit(lambda x: self.HEAD.predictions(x, keys=["classes", "logits"]))(library("jax").array(LOGITS))
        assert set(chosen) == {"logits"}


class TestBringing:
    def test_numpy_arrays_of_any_layout(self, lib):
        base = np.arange(6.0).reshape(2, 3)
        base.flags.writeable = False
        for array in (base, base.T, base[:, ::-1], base[::-1, ::2], base[:0, :], base[0, 0]):
            brought = lib.backend.from_numpy(np.asarray(array))
            np.testing.assert_array_equal(lib.numpy(brought), array)
            assert tuple(brought.shape) == np.shape(array)

    def test_there_and_back_is_exact(self, lib):
        for dtype in ("bool", "int32", "float32", "float64" if lib.has_float64 else "float32"):
            array = np.asarray([[0, 1], [1, 0]], dtype=dtype)
            back = lib.numpy(lib.backend.from_numpy(array))
            assert back.dtype == array.dtype
            np.testing.assert_array_equal(back, array)

    def test_reading_keeps_no_graph(self):
        torch = pytest.importorskip("torch")
        array = torch.ones(3, requires_grad=True)
        assert backends.of(array).to_numpy(array * 2).tolist() == [2, 2, 2]
        assert not backends.of(array).detach(array * 2).requires_grad


class TestIntervalSums:
    """What lies in intervals and in the gaps between them."""

    @pytest.mark.parametrize("name", ["numpy", "array_api_strict"])
    @settings(max_examples=100)
    @given(data=st.data())
    def test_is_a_loop(self, name, data, library):
        lib = library(name)
        single = data.draw(st.booleans())
        numbers = st.integers(-9, 9).map(float) | st.sampled_from([-np.inf, np.inf, 0.25] + [0.1] * (not single))
        dtype = np.float32 if single else np.float64
        x = np.asarray(data.draw(st.lists(numbers, min_size=1, max_size=30)), dtype)
        mass = st.sampled_from([0.5, 1.0, 3.0] + [1e-60] * (not single))
        rows = data.draw(st.sampled_from(["hard", "soft", "some without"]))
        each = {
            "hard": st.tuples(mass, st.just(0.0)) | st.tuples(st.just(0.0), mass),
            "soft": st.tuples(mass, mass),
            "some without": st.tuples(mass | st.just(0.0), st.just(0.0)),
        }[rows]
        masses = np.asarray(data.draw(st.lists(each, min_size=len(x), max_size=len(x))), dtype).T
        ends = sorted(data.draw(st.lists(numbers, unique=True, min_size=2, max_size=8)))
        pairs = [ends[i : i + 2] for i in range(0, len(ends) - 1, 2)]
        if data.draw(st.booleans()):
            pairs = [[end, end] for end in ends]
        lo, hi = np.asarray(pairs, np.float64).reshape(-1, 2).T
        found = lib.backend.interval_sums(*(lib.array(x), tuple(map(lib.array, masses)), lib.array(lo), lib.array(hi)))
        lowest, highest, *sums = (lib.numpy(row).astype(np.float64) for row in found)
        for cell in range(2 * len(lo) + 1):
            above = x >= lo[cell // 2] if cell % 2 else x > (hi[cell // 2 - 1] if cell else -np.inf)
            below = x <= hi[cell // 2] if cell % 2 else x < (lo[cell // 2] if cell < 2 * len(lo) else np.inf)
            if not cell % 2:
                above, below = above | (cell == 0), below | (cell == 2 * len(lo))
            inside = above & below
            assert_allclose([row[cell] for row in sums], masses[:, inside].sum(axis=1, dtype=np.float64), rtol=1e-12)
            if inside.any():
                assert (lowest[cell], highest[cell]) == (x[inside].min(), x[inside].max())
