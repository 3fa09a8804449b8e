"""The engine that runs kernels in blocks on threads, and heads that are compiled."""

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import glmheads as gh
from glmheads import backends, engine
from glmheads.metrics import mean_metrics

HEADS = {
    "binary": gh.BinaryClassHead(weight_column="w", thresholds=[0.25, 0.5]),
    "keras": gh.BinaryClassHead(weight_column="w", num_thresholds=20, loss_reduction="weighted_mean"),
    "poisson": gh.PoissonRegressionHead(label_dimension=2, weight_column="w"),
}


def batch(head: gh.Head, n: int, dtype: str = "float32", seed: int = 0) -> tuple[Any, Any, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    shape = (n, head.logits_dimension)
    labels = rng.integers(0, 2, shape).astype(dtype)
    return labels, rng.normal(0, 3, shape).astype(dtype), {"w": rng.exponential(1, (n, 1)).astype(dtype)}


def everything(head: gh.Head, labels: Any, logits: Any, features: Any) -> list[np.ndarray]:
    found = [
        head.loss(labels, logits, features),
        head.gradient(labels, logits, features),
        head.hessian(labels, logits, features),
        *head.statistics(labels, logits, features).arrays(),
    ]
    return [backends.of(a).to_numpy(a) for a in found]


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> gh.Head:
    return HEADS[request.param]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_BLOCK", 16)


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ThreadPoolExecutor", None)


class TestThreads:
    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize("count", [2, 3, 7])
    def test_results_have_the_same_bits(self, head, count):
        data = batch(head, 1001)
        with gh.threads(1):
            alone = everything(head, *data)
        with gh.threads(count):
            together = everything(head, *data)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)

    @pytest.mark.usefixtures("small_blocks")
    def test_are_used(self, head, monkeypatch):
        seen = set()
        applied = engine._applied

        def spy(*arguments: Any) -> Any:
            seen.add(threading.get_ident())
            barrier.wait(timeout=60)
            return applied(*arguments)

        barrier = threading.Barrier(2)
        monkeypatch.setattr(engine, "_applied", spy)
        labels, logits, features = batch(head, 16 * 8 // head.logits_dimension)
        with gh.threads(2):
            head.statistics(labels, logits, features)
        assert len(seen) == 2

    @pytest.mark.usefixtures("no_threads")
    def test_none_are_started_for_few_examples(self, head):
        with gh.threads(64):
            everything(head, *batch(head, 1024))

    @pytest.mark.usefixtures("no_threads", "small_blocks")
    def test_none_are_started_for_one(self, head):
        with gh.threads(1):
            everything(head, *batch(head, 1024))

    def test_are_as_many_as_the_process_may_use(self, monkeypatch):
        monkeypatch.delenv("GLMHEADS_THREADS", raising=False)
        monkeypatch.setattr(engine.os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
        assert engine.thread_count() == 3
        assert engine.thread_count(limit=lambda: 2) == 2

    def test_by_environment_variable(self, monkeypatch):
        monkeypatch.setenv("GLMHEADS_THREADS", "5")
        assert engine.thread_count(limit=lambda: 2) == 5
        with gh.threads(3):
            assert engine.thread_count(limit=lambda: 2) == 3

    @pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
    def test_bad_environment_variable(self, monkeypatch, value):
        monkeypatch.setenv("GLMHEADS_THREADS", value)
        with pytest.raises(ValueError, match="GLMHEADS_THREADS"):
            engine.thread_count()

    @pytest.mark.parametrize("count", [0, -2, 1.5, "2", None, True])
    def test_bad_count(self, count):
        with pytest.raises(ValueError, match=r"integer >= 1"):
            gh.threads(count)

    def test_nest_and_end(self):
        outside = engine.thread_count()
        with gh.threads(3):
            with pytest.raises(KeyError), gh.threads(2):
                raise KeyError
            assert engine.thread_count() == 3
        assert engine.thread_count() == outside

    def test_for_one_call(self):
        assert gh.threads(4)(engine.thread_count)() == 4

    def test_of_another_thread_are_its_own(self):
        seen = []
        with gh.threads(3):
            other = threading.Thread(target=lambda: seen.append(engine.thread_count()))
            other.start()
            other.join()
        assert seen == [engine.thread_count()]


class TestBlocks:
    @pytest.mark.usefixtures("small_blocks")
    @given(st.integers(0, 100), st.integers(1, 3))
    @settings(deadline=None)
    def test_any_number_of_examples(self, n, count):
        head = HEADS["binary"]
        labels, logits, features = batch(head, n, "float64")
        with gh.threads(count):
            gradient = head.gradient(labels, logits, features)
            loss = head.loss(labels, logits, features)
        each = np.logaddexp(0, logits) - logits * labels
        np.testing.assert_allclose(gradient, features["w"] * (1 / (1 + np.exp(-logits)) - labels) / max(n, 1))
        np.testing.assert_allclose(loss, (features["w"] * each).sum() / max(n, 1), rtol=1e-12)

    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize("library", ["numpy", "torch"])
    def test_layouts_do_not_matter(self, head, library):
        labels, logits, features = batch(head, 101)
        wide = np.zeros((202, 5, 7), dtype=logits.dtype)
        d = head.logits_dimension
        wide[::2, 1, :d], wide[::2, 2, :d], wide[::2, 3, :1] = labels, logits, features["w"]
        xp = pytest.importorskip(library)
        bring = np.asarray if library == "numpy" else xp.from_numpy
        wide, labels, logits, weights = (bring(a) for a in (wide, labels, logits, features["w"]))
        expected = everything(head, labels, logits, {"w": weights})
        found = everything(head, wide[::2, 1, :d], wide[::2, 2, :d], {"w": wide[::2, 3, :1]})
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize("count", [1, 2])
    def test_errors_count_from_the_start(self, head, count):
        labels, logits, features = batch(head, 301)
        labels[[200, 250], 0] = -3
        where = 200 * head.logits_dimension
        with gh.threads(count):
            for method in (head.loss, head.gradient, head.hessian, head.statistics):
                with pytest.raises(ValueError, match=rf"; 2 of {labels.size} labels are not: -3 at {where}"):
                    method(labels, logits, features)

    def test_pytorch_on_the_cpu_has_the_bits_of_numpy(self, head):
        torch = pytest.importorskip("torch")
        labels, logits, features = batch(head, 5000)
        tensors = (torch.from_numpy(labels), torch.from_numpy(logits), {"w": torch.from_numpy(features["w"])})
        for one, other in zip(everything(head, labels, logits, features), everything(head, *tensors), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


class TestDerivativesOfPyTorch:
    """On the CPU the loss comes with its gradient, by the closed form."""

    @pytest.fixture
    def data(self, head):
        torch = pytest.importorskip("torch")
        labels, logits, features = batch(head, 60, "float64")
        logits[:3] = 0
        return (
            torch.from_numpy(labels),
            torch.from_numpy(logits).requires_grad_(),
            {"w": torch.from_numpy(features["w"])},
        )

    def test_gradient_can_be_taken_twice(self, head, data):
        labels, logits, features = data
        loss = head.loss(labels, logits, features)
        loss.backward(retain_graph=True)
        once = logits.grad.clone()
        loss.backward()
        np.testing.assert_array_equal(once, head.gradient(labels, logits.detach(), features))
        np.testing.assert_array_equal(logits.grad, 2 * once)

    def test_second_derivative(self, head, data):
        import torch

        labels, logits, features = data
        (first,) = torch.autograd.grad(head.loss(labels, logits, features), logits, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), logits)
        np.testing.assert_allclose(second, head.hessian(labels, logits.detach(), features), rtol=1e-12, atol=1e-300)

    def test_gradcheck(self, head, data):
        import torch

        labels, logits, features = data
        moved = (logits.detach() + 0.1).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: head.loss(labels, x, features), moved)
        assert torch.autograd.gradgradcheck(lambda x: head.loss(labels, x, features), moved)

    def test_chain_rule(self, head, data):
        labels, logits, features = data
        (7 * head.loss(labels, 3 * logits, features)).backward()
        np.testing.assert_allclose(logits.grad, 21 * head.gradient(labels, 3 * logits.detach(), features), rtol=1e-12)

    def test_weights_and_labels_have_derivatives_too(self, head, data):
        labels, logits, features = data
        labels, weights = labels.requires_grad_(), features["w"].requires_grad_()
        head.loss(labels, logits, {"w": weights}).backward()
        assert all(a.grad is not None and bool(a.grad.isfinite().all()) for a in (labels, logits, weights))

    @pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
    def test_forward_mode(self, head, data):
        from torch.autograd import forward_ad

        labels, logits, features = data
        x = logits.detach()
        with forward_ad.dual_level():
            loss = head.loss(labels, forward_ad.make_dual(x, x + 1), features)
            tangent = forward_ad.unpack_dual(loss).tangent
        np.testing.assert_allclose(tangent, (head.gradient(labels, x, features) * (x + 1)).sum(), rtol=1e-10)

    def test_no_graph_without_grad(self, head, data):
        import torch

        labels, logits, features = data
        with torch.no_grad():
            assert not head.loss(labels, logits, features).requires_grad


@pytest.fixture
def quick_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's tracing and differentiation, without the C++ compiler."""
    torch = pytest.importorskip("torch")
    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **options: compiler(f, backend="aot_eager", **options))


@pytest.fixture
def borrowed_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy arrays compiled as CuPy's are: as the tensors of PyTorch with which they share memory."""
    pytest.importorskip("torch")
    numpy, torch = type(backends.named("numpy")), backends.named("torch")
    monkeypatch.setattr(numpy, "compiles", True)
    monkeypatch.setattr(numpy, "shares_compiler", True)
    monkeypatch.setattr(numpy, "compile", lambda _, function: torch.compile_for(function, np.from_dlpack))


@pytest.mark.usefixtures("quick_compiler")
@pytest.mark.parametrize("head", ["keras", "poisson"], indirect=True)
@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "numpy by torch"])
class TestCompiled:
    @pytest.fixture(autouse=True)
    def compiler(self, library: str, request: pytest.FixtureRequest) -> None:
        if library == "numpy by torch":
            request.getfixturevalue("borrowed_compiler")

    def bring(self, library: str, data: tuple[Any, Any, dict[str, Any]]) -> tuple[Any, Any, dict[str, Any]]:
        backend = backends.named(pytest.importorskip(library.split()[0]).__name__)
        labels, logits, features = data
        return backend.from_numpy(labels), backend.from_numpy(logits), {"w": backend.from_numpy(features["w"])}

    def test_results_are_the_same_to_rounding(self, head, library):
        compiled = head.compiled()
        for n in (40,) if library == "jax" else (40, 64, 0):
            data = self.bring(library, batch(head, n))
            for one, other in zip(everything(head, *data)[:3], everything(compiled, *data)[:3], strict=True):
                np.testing.assert_allclose(other, one, rtol=2e-6, atol=1e-7, strict=True)
            s, t = (h.results(h.statistics(*data)) for h in (head, compiled))
            assert s.keys() == t.keys()
            for key in s:
                np.testing.assert_allclose(
                    backends.of(t[key]).to_numpy(t[key]), backends.of(s[key]).to_numpy(s[key]), rtol=1e-5
                )

    def test_refuses_what_the_head_refuses(self, head, library):
        compiled = head.compiled()
        labels, logits, features = batch(head, 30)
        negative = {"w": -features["w"]}
        labels[7] = np.nan
        for bad in ((labels, logits, features), (np.abs(np.nan_to_num(labels)), logits, negative)):
            data = self.bring(library, bad)
            for name in ("loss", "gradient", "hessian", "statistics"):
                with pytest.raises(ValueError, match="are not") as expected:
                    getattr(head, name)(*data)
                with pytest.raises(ValueError, match="are not") as found:
                    getattr(compiled, name)(*data)
                assert str(found.value) == str(expected.value)

    def test_records_add_to_those_of_the_head(self, head, library):
        compiled = head.compiled()
        data = self.bring(library, batch(head, 20))
        both = head.statistics(*data) + compiled.statistics(*data)
        assert both.config == head.empty().config

    def test_nan_logits_are_no_error(self, head, library):
        labels, logits, features = batch(head, 12)
        logits[3] = np.nan
        assert np.isnan(float(head.compiled().loss(*self.bring(library, (labels, logits, features)))))


@pytest.mark.usefixtures("quick_compiler", "borrowed_compiler")
class TestBorrowedCompiler:
    @pytest.mark.parametrize("head", ["keras", "poisson"], indirect=True)
    def test_results_are_the_library_s_own(self, head):
        labels, logits, features = batch(head, 40)
        compiled = head.compiled()
        record = compiled.statistics(labels, logits, features)
        assert all(isinstance(a, (np.ndarray, np.generic)) for a in record.arrays())
        assert isinstance(compiled.gradient(labels, logits, features), np.ndarray)
        metrics = compiled.update_metrics(compiled.metrics(), features, logits, labels)
        expected = head.results(head.statistics(labels, logits, features))["average_loss"]
        assert float(metrics["average_loss"].result()) == pytest.approx(float(expected), rel=1e-6)

    def test_functions_of_the_user_get_the_user_s_arrays(self):
        seen = []

        def loss(labels, logits):
            seen.append(type(logits))
            return (logits - labels) ** 2

        family = gh.Family(name="own", loss=loss, gradient=loss, hessian=loss, inverse_link=lambda x: x)
        own = gh.FamilyHead(family=family, metrics=mean_metrics()).compiled()
        own.loss(np.ones(3), np.zeros((3, 1)))
        own.statistics(np.ones(3), np.zeros((3, 1)))
        assert set(seen) == {np.ndarray}


class TestCompiledHead:
    def test_is_an_equal_head_with_another_repr(self, head):
        compiled = head.compiled()
        assert compiled == head
        assert repr(compiled) == f"{head!r}.compiled()"
        assert not head._is_compiled

    @pytest.mark.usefixtures("quick_compiler")
    @pytest.mark.parametrize("head", ["keras"], indirect=True)
    def test_can_be_copied_and_pickled(self, head):
        torch = pytest.importorskip("torch")
        compiled = head.compiled()
        labels, logits, features = batch(head, 10)
        data = torch.from_numpy(labels), torch.from_numpy(logits), {"w": torch.from_numpy(features["w"])}
        expected = float(compiled.loss(*data).detach())
        for other in (pickle.loads(pickle.dumps(compiled)), copy.deepcopy(compiled)):
            assert other._is_compiled
            assert float(other.loss(*data).detach()) == expected

    @pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
    def test_trains(self):
        head = HEADS["binary"]
        torch = pytest.importorskip("torch")
        labels, logits, features = batch(head, 50)
        x = torch.from_numpy(logits).requires_grad_()
        compiled = head.compiled()
        compiled.loss(torch.from_numpy(labels), x, {"w": torch.from_numpy(features["w"])}).backward()
        np.testing.assert_allclose(x.grad, head.gradient(labels, logits, features), rtol=2e-6, atol=1e-9)

    @pytest.mark.parametrize("head", ["keras"], indirect=True)
    def test_under_a_trace_it_is_the_head(self, head):
        jax = pytest.importorskip("jax")
        labels, logits, features = batch(head, 50)
        found = jax.jit(jax.grad(lambda x: head.compiled().loss(labels, x, features)))(logits)
        np.testing.assert_allclose(found, head.gradient(labels, logits, features), rtol=2e-5, atol=1e-7)
