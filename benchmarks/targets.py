"""The targets: what must be how much faster than what, read from the rows of one run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks import memory
from benchmarks.measure import Row
from benchmarks.races import GPU, GPU_SIZE, LOSS_SIZE, REPORT_SIZE, SMALL

FLAT = 1.25
"""The most by which the time per example of the slowest size may exceed that of the fastest, and be called flat."""


class Rows:
    """The rows of a run with so many threads."""

    def __init__(self, rows: Sequence[Row], threads: int | None) -> None:
        self._rows = [row for row in rows if row.get("threads") == threads and not row.keys() & {"skipped", "failed"}]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def of(self, race: str, contestant: str, smallest: int = 0) -> dict[int, Row]:
        """By size."""
        found = (row for row in self._rows if row["race"] == race and row["contestant"] == contestant)
        return {row["size"]: row for row in found if row["size"] >= smallest}

    def ratios(self, race: str, one: str, other: str, smallest: int = 0) -> list[float]:
        """The time of one over that of another, for each size that both have."""
        ones, others = self.of(race, one, smallest), self.of(race, other, smallest)
        return [seconds(ones[size]) / seconds(others[size]) for size in ones.keys() & others.keys()]


def seconds(row: Row) -> float:
    return row["seconds"]["median"]


Reading = Callable[[Rows], list[float]]


@dataclass(frozen=True)
class Target:
    """What is read must be at least, or at most, a bound, at every size; nothing is read where it was not measured."""

    name: str
    reading: Reading
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "times"
    on_gpu: bool = False

    @property
    def bound(self) -> str:
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"

    def reached(self, rows: Rows) -> float | None:
        """The worst of the sizes, or None if it was not measured."""
        found = self.reading(rows)
        return (min(found) if self.at_least is not None else max(found)) if found else None

    def met(self, reached: float | None) -> bool | None:
        if reached is None:
            return None
        return reached >= self.at_least if self.at_least is not None else reached <= (self.at_most or 0)


def faster(race: str, ours: str, peer: str, smallest: int) -> Reading:
    """How many times less time we take."""
    return lambda rows: rows.ratios(race, peer, ours, smallest)


def costs(race: str, ours: str, other: str, smallest: int) -> Reading:
    """How many times the other's time we take."""
    return lambda rows: rows.ratios(race, ours, other, smallest)


def microseconds(race: str, contestant: str) -> Reading:
    return lambda rows: [seconds(row) * 1e6 for size, row in rows.of(race, contestant).items() if size == SMALL]


def flatness(race: str, contestant: str) -> Reading:
    """The slowest over the fastest size from 1e5 to 1e8, once the ends are measured."""

    def reading(rows: Rows) -> list[float]:
        found = rows.of(race, contestant, 10**5)
        times = [row["nanoseconds_per_example"] for row in found.values()]
        return [max(times) / min(times)] if {10**5, 10**8} <= found.keys() else []

    return reading


def mebibytes(contestant: str) -> Reading:
    return lambda rows: [row["extra_bytes"] / 2**20 for row in rows.of("memory", contestant).values()]


def bandwidth(race: str, contestant: str) -> Reading:
    """In percent of the best copy on the device."""

    def reading(rows: Rows) -> list[float]:
        copies = [row["gigabytes_per_second"] for row in rows if row["race"] == "GPU, copy"]
        found = rows.of(race, contestant, GPU_SIZE).values()
        return [100 * row["gigabytes_per_second"] / max(copies) for row in found] if copies else []

    return reading


def _report() -> list[Target]:
    numpy, torch = "glmheads, NumPy", "glmheads, torch"
    size = f"report, {REPORT_SIZE:,} examples"
    against = partial(faster, "report", smallest=REPORT_SIZE)
    numbers = {"scikit-learn, 6 metrics": 60, "tf.estimator, eager": 25, "tf.estimator, tf.function": 6}
    areas = [
        Target(
            f"{size}: {ours}, default areas against 200 thresholds",
            costs("report", f"{ours}, default areas", ours, REPORT_SIZE),
            at_most=3,
        )
        for ours in (numpy, torch)
    ]
    return [
        Target(f"{size}: NumPy, than torchmetrics", against(ours=numpy, peer="torchmetrics, no weights"), 40),
        *(Target(f"{size}: NumPy, than {peer}", against(ours=numpy, peer=peer), n) for peer, n in numbers.items()),
        Target(f"{size}: torch, than torchmetrics", against(ours=torch, peer="torchmetrics, no weights"), 30),
        *areas,
    ]


def _loss() -> list[Target]:
    ours, training = "glmheads, NumPy", "loss with backward"
    fused = "torch, fused"
    return [
        Target("loss, from 100,000: NumPy against torch's fused", costs("loss", ours, fused, 10**5), at_most=1.4),
        Target(
            "loss, from 100,000: NumPy, than scikit-learn",
            faster("loss", ours, "scikit-learn, Cython", 10**5),
            at_least=2.5,
        ),
        Target(
            "gradient and hessian, from 100,000: NumPy against its loss",
            costs("gradient and hessian", ours, "glmheads, NumPy, loss", 10**5),
            at_most=2,
        ),
        Target(
            f"loss with backward, {LOSS_SIZE:,}: torch, eager, against fused",
            costs(training, "glmheads, torch", fused, LOSS_SIZE),
            at_most=1.5,
        ),
        Target(
            f"loss with backward, {LOSS_SIZE:,}: torch, compiled, than fused",
            faster(training, "glmheads, torch, compiled", fused, LOSS_SIZE),
            at_least=1.2,
        ),
        *(
            Target(
                f"JAX, jitted loss of shape (N, 1): than {peer}",
                faster("JAX, loss", "glmheads, jitted", peer, 10**6),
                3,
            )
            for peer in ("optax, jitted", "optax, jitted, shape (N,)")
        ),
        Target(
            "JAX, statistics of shape (N, 1): than metrax's AUC",
            faster("JAX, statistics", "glmheads, compiled", "metrax, AUC alone, jitted", 10**6),
            at_least=8,
        ),
    ]


def _small() -> list[Target]:
    limits = {"NumPy": (40, 120, 250), "torch": (80, 350, 600)}
    return [
        Target(f"batch of {SMALL:,}: {library}, {what}", microseconds(race, contestant), at_most=limit, unit="µs")
        for library, (loss, update, default) in limits.items()
        for what, race, contestant, limit in (
            ("loss", "loss", f"glmheads, {library}", loss),
            ("update, 200 thresholds", "update", f"glmheads, {library}", update),
            ("update, default areas", "update", f"glmheads, {library}, default areas", default),
        )
    ]


def _scale() -> list[Target]:
    flat = {"loss": ("NumPy", "torch"), "report": ("NumPy", "NumPy, default areas", "torch", "torch, default areas")}
    return [
        *(
            Target(f"{race}, 100,000 to 100,000,000: {name}, slowest over fastest", reading, at_most=FLAT)
            for race, names in flat.items()
            for name in names
            for reading in [flatness(race, f"glmheads, {name}")]
        ),
        *(
            Target(f"extra memory, 100,000,000: {work}", mebibytes(f"glmheads, {work}"), at_most=64, unit="MiB")
            for work in memory.WORK
        ),
    ]


def _gpu() -> list[Target]:
    races = {
        "GPU, loss": [f"glmheads, {name}, compiled" for name in GPU],
        "GPU, loss with backward": ["glmheads, torch, compiled", "glmheads, JAX, jitted"],
        "GPU, gradient": [f"glmheads, {name}, compiled" for name in GPU],
        "GPU, statistics": [f"glmheads, {name}, sums and counts" for name in GPU],
    }
    compiled, fused = "glmheads, torch, compiled", "torch, fused"
    gpu = partial(Target, on_gpu=True)
    return [
        *(
            gpu(f"{race}: {name}, of the copy's bandwidth", bandwidth(race, name), at_least=80, unit="%")
            for race, names in races.items()
            for name in names
        ),
        gpu("GPU, loss with backward: torch, than fused", faster("GPU, loss with backward", compiled, fused, 0), 3),
        *(
            gpu(
                f"GPU, update: {name}, than torchmetrics",
                faster("GPU, update", f"glmheads, {name}", "torchmetrics", 0),
                20,
            )
            for name in GPU
        ),
    ]


TARGETS = (*_report(), *_loss(), *_small(), *_scale(), *_gpu())


def judged(rows: Sequence[Row], threads: Sequence[int]) -> list[Row]:
    """Each target as a row: its bound, what was reached with one thread (which binds) or on the GPU, and with more."""
    found = []
    for target in TARGETS:
        reached = target.reached(Rows(rows, None if target.on_gpu else 1))
        more = {} if target.on_gpu else {str(n): target.reached(Rows(rows, n)) for n in threads if n != 1}
        found.append(
            {
                "target": target.name,
                "bound": target.bound,
                "unit": target.unit,
                "reached": reached,
                "met": target.met(reached),
                "reached_with_threads": more,
            }
        )
    return found
