"""What is raced, by group; each group runs in a process of its own."""

from functools import partial

from benchmarks import ours, peers, tf_estimator
from benchmarks.measure import Race

SMALL = 1024
SCALE = (SMALL, 10**4, 10**5, 10**6)
REPORT_SIZE = 2 * 10**6
LOSS_SIZE = 4 * 10**6
GPU_SIZE = 2**24

REPORT = Race(
    "report",
    (*SCALE, REPORT_SIZE, 10**7, 10**8),
    {
        "glmheads, NumPy": ours.report(ours.numpy),
        "glmheads, NumPy, default areas": ours.report(ours.numpy, None),
        "glmheads, NumPy, no weights": ours.report(ours.numpy, weighted=False),
        "glmheads, torch": ours.report(ours.torch),
        "glmheads, torch, default areas": ours.report(ours.torch, None),
        "scikit-learn, 6 metrics": peers.sklearn_report,
        "torchmetrics, no weights": peers.torchmetrics("report"),
        "tf.estimator, eager": tf_estimator.contestant("report", compiled=False),
        "tf.estimator, tf.function": tf_estimator.contestant("report", compiled=True),
    },
)
COPY = Race("copy", (10**7,), {"NumPy": ours.copy(ours.numpy)})
LOSS = Race(
    "loss",
    (*SCALE, LOSS_SIZE, 10**7, 10**8),
    {
        "glmheads, NumPy": ours.loss(ours.numpy),
        "glmheads, torch": ours.loss(ours.torch),
        "torch, fused": peers.torch_fused,
        "scikit-learn, Cython": peers.sklearn_loss,
        "numexpr": peers.numexpr_loss,
    },
)
DERIVATIVES = Race(
    "gradient and hessian",
    (10**5, LOSS_SIZE),
    {
        "glmheads, NumPy": ours.gradient_and_hessian(ours.numpy),
        "glmheads, NumPy, loss": ours.loss(ours.numpy),
        "scikit-learn, Cython": peers.sklearn_derivatives,
    },
)
TRAINING = Race(
    "loss with backward",
    (*SCALE, LOSS_SIZE),
    {
        "glmheads, torch": ours.torch_training(),
        "glmheads, torch, compiled": ours.torch_training(compiled=True),
        "torch, fused": peers.torch_fused_training(),
        "torch, formula compiled": peers.torch_formula_training,
    },
)
UPDATE = Race(
    "update",
    (SMALL,),
    {
        "glmheads, NumPy": ours.update(ours.numpy),
        "glmheads, NumPy, default areas": ours.update(ours.numpy, None),
        "glmheads, NumPy, no weights": ours.update(ours.numpy, weighted=False),
        "glmheads, torch": ours.update(ours.torch),
        "glmheads, torch, default areas": ours.update(ours.torch, None),
        "torchmetrics, no weights": peers.torchmetrics("update"),
        "tf.estimator, eager": tf_estimator.contestant("update", compiled=False),
        "tf.estimator, tf.function": tf_estimator.contestant("update", compiled=True),
    },
)
JAX_LOSS = Race(
    "JAX, loss",
    (10**6, LOSS_SIZE),
    {
        "glmheads, jitted": ours.jax_loss,
        "glmheads, compiled": ours.loss(ours.jax, compiled=True),
        "optax, jitted": peers.optax_loss(),
        "optax, jitted, shape (N,)": peers.optax_loss(flat=True),
    },
)
JAX_STATISTICS = Race(
    "JAX, statistics",
    (10**6,),
    {
        "glmheads, compiled": ours.statistics(ours.jax, ours.binary),
        "metrax, AUC alone, jitted": peers.metrax_auc,
    },
)

# On a GPU: enough data in a round that waiting for the device is a small part

GPU = {"torch": partial(ours.torch, "cuda"), "CuPy": ours.cupy, "JAX": partial(ours.jax, "gpu")}
HEADS = {
    "sums and counts": ours.sums_and_counts,
    "200 thresholds": ours.binary,
    "default areas": partial(ours.binary, None),
}
gpu_race = partial(Race, sizes=(GPU_SIZE,), examples_per_round=2**27)
GPU_RACES = (
    gpu_race("GPU, copy", contestants={name: ours.copy(library) for name, library in GPU.items()}),
    gpu_race(
        "GPU, loss",
        contestants={f"glmheads, {name}, compiled": ours.loss(library, True) for name, library in GPU.items()},
    ),
    gpu_race(
        "GPU, loss with backward",
        contestants={
            "glmheads, torch, compiled": ours.torch_training(compiled=True, device="cuda"),
            "glmheads, torch": ours.torch_training(device="cuda"),
            "glmheads, JAX, jitted": ours.jax_training,
            "torch, fused": peers.torch_fused_training("cuda"),
        },
    ),
    gpu_race(
        "GPU, gradient",
        contestants={f"glmheads, {name}, compiled": ours.gradient(library, True) for name, library in GPU.items()},
    ),
    gpu_race(
        "GPU, statistics",
        contestants={
            f"glmheads, {name}, {what}": ours.statistics(library, head)
            for name, library in GPU.items()
            for what, head in HEADS.items()
        },
    ),
    gpu_race(
        "GPU, update",
        contestants={
            **{f"glmheads, {name}": ours.update(library, 200, False, True) for name, library in GPU.items()},
            **{
                f"glmheads, {name}, default areas": ours.update(library, None, False, True)
                for name, library in GPU.items()
            },
            "torchmetrics": peers.torchmetrics("update", "cuda"),
        },
    ),
)

GROUPS: dict[str, tuple[Race, ...]] = {
    "report": (REPORT,),
    "loss": (COPY, LOSS, DERIVATIVES),
    "training": (TRAINING,),
    "update": (UPDATE,),
    "jax": (JAX_LOSS, JAX_STATISTICS),
    "gpu": GPU_RACES,
}
