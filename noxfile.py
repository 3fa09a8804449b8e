"""Build the wheel and the source distribution, check what is in them, and try each on every supported Python: ``nox``.

The tools are those of the extra ``package``. A Python that is not installed is skipped by name.
"""

import os
import shutil
import sys
from pathlib import Path

import nox

DISTRIBUTIONS = Path(".nox", "distributions").absolute()
SMOKE = Path(".ci", "smoke.py").absolute()
PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))

nox.options.error_on_missing_interpreters = False
# nox looks for Pythons on the path, where pyenv puts only those that are selected.
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, PYENV.glob("*/bin"))])


@nox.session(venv_backend="none")
def build(session: nox.Session) -> None:
    """The wheel holds the files of the package and no others, the source distribution those that git tracks."""
    shutil.rmtree(DISTRIBUTIONS, ignore_errors=True)
    session.run(sys.executable, "-m", "build", "--outdir", DISTRIBUTIONS, silent=True)
    session.run(sys.executable, "-m", "twine", "check", "--strict", *DISTRIBUTIONS.iterdir())
    session.run(sys.executable, "-m", "check_wheel_contents", "--package", "glmheads", DISTRIBUTIONS)
    session.run(sys.executable, "-m", "check_sdist")


@nox.session(python=PYTHONS, requires=["build"])
@nox.parametrize(("pattern", "extra"), [("*.whl", "[cli]"), ("*.tar.gz", "")], ids=["wheel", "sdist"])
def install(session: nox.Session, pattern: str, extra: str) -> None:
    """In a new environment, the wheel with the command line and the source distribution alone work outside the tree."""
    (distribution,) = DISTRIBUTIONS.glob(pattern)
    session.install(f"{distribution}{extra}")
    session.chdir(session.create_tmp())
    version = distribution.name.removesuffix(".tar.gz").split("-")[1]
    session.run("python", "-I", "-W", "error", SMOKE, version, *(["with-cli"] if extra else []))
