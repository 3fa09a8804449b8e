"""What must hold of an installed glmheads, run outside its tree: ``python -I smoke.py VERSION [with-cli]``."""

import importlib.metadata
import importlib.resources
import io
import json
import math
import pickle
import subprocess
import sys
import sysconfig
from pathlib import Path

import glmheads as gh

LIBRARIES = {"cupy", "dask", "jax", "pandas", "polars", "pyarrow", "rich", "torch", "typer"}


def installed(version: str) -> None:
    assert Path(gh.__file__).is_relative_to(sysconfig.get_path("purelib")), gh.__file__
    assert gh.__version__ == importlib.metadata.version("glmheads") == version
    assert importlib.resources.files(gh).joinpath("py.typed").is_file()
    assert "LICENSE" in {path.name for path in importlib.metadata.files("glmheads") or []}
    assert not LIBRARIES & set(sys.modules), "import glmheads imports another library"


def heads() -> None:
    labels, logits = [1.0, 0.0, 0.0, 1.0], [[2.0], [-1.0], [0.5], [0.2]]
    head = gh.BinaryClassHead(thresholds=[0.25])
    softplus = [math.log1p(math.exp(-x)) for x in (2.0, 1.0, -0.5, 0.2)]
    assert math.isclose(head.loss(labels, logits), sum(softplus) / 4, rel_tol=1e-14)
    assert head.gradient(labels, logits).shape == (4, 1)
    results = head.evaluate([(labels[:2], logits[:2]), (labels[2:], logits[2:])])
    assert results[gh.MetricKeys.AUC] == results["accuracy"] == 0.75

    file = io.BytesIO()
    seen = head.statistics(labels, logits)
    seen.save(file)
    file.seek(0)
    again = gh.Head.from_dict(json.loads(json.dumps(head.to_dict())))
    assert again == pickle.loads(pickle.dumps(head)) == head
    assert again.results(gh.Statistics.load(file) + head.empty()) == head.results(seen)
    for other in (gh.LogisticRegressionHead(), gh.RegressionHead(), gh.PoissonRegressionHead()):
        assert math.isfinite(other.evaluate([(labels, logits)])["average_loss"])


def glmheads(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sysconfig.get_path("scripts"), "glmheads")), *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)


def command_line(version: str) -> None:
    assert "evaluate" in glmheads("--help").stdout
    assert "--logits" in glmheads("evaluate", "--help").stdout
    assert glmheads("--version").stdout == f"glmheads {version}\n"
    Path("logged.csv").write_text("x,z\n2,1\n-1,0\n0.5,0\n0.2,1\n")
    done = glmheads("evaluate", "logged.csv", "--head", "binary", "--logits", "x", "--labels", "z")
    assert done.returncode == 0, done.stderr
    assert "0.75" in done.stdout


def no_command_line() -> None:
    done = glmheads("--help")
    assert done.returncode == 2
    assert "pip install 'glmheads[cli]'" in done.stderr


if __name__ == "__main__":
    installed(sys.argv[1])
    heads()
    command_line(sys.argv[1]) if "with-cli" in sys.argv else no_command_line()
