"""Build the wheel and the source distribution, look into them, and try each on every supported Python.

    python .ci/packages.py

Each is installed into a new environment, the wheel with the extra ``cli``, the source distribution alone, and
``smoke.py`` runs there outside the tree. A Python that is not installed is skipped by name.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SMOKE = Path(__file__).with_name("smoke.py")
SUPPORTED = sorted(c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c)

IN_SDIST = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md", "pyproject.toml"}
"""And all of these folders that git does not ignore, so that the tests and the docs run from it."""
IN_SDIST_WHOLE = ("docs", "examples", "glmheads", "tests")


def run(*command: str | Path, **options: object) -> str:
    """What the command prints; where it fails, that is shown and ends the program."""
    done = subprocess.run(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
        **options,  # type: ignore[call-overload]
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}")
    return str(done.stdout)


def tracked(*folders: str) -> set[str]:
    """The files of these folders, as git knows them, or as they are where there is no git."""
    if (ROOT / ".git").exists():
        listed = run("git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", *folders)
        return {name for name in listed.splitlines() if (ROOT / name).is_file()}
    files = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


def check_contents(wheel: Path, sdist: Path) -> None:
    """The wheel holds the package, its marker of types and its licence, and nothing else; the sdist the whole tree."""
    with ZipFile(wheel) as content:
        names = set(content.namelist())
    package, metadata = tracked("glmheads"), wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"
    assert "glmheads/py.typed" in names
    assert {name for name in names if not name.startswith(metadata)} == package, names ^ package
    assert f"{metadata}/licenses/LICENSE" in names
    with tarfile.open(sdist) as content:
        names = {name.partition("/")[2] for name in content.getnames()}
    missing = (IN_SDIST | tracked(*IN_SDIST_WHOLE)) - names
    assert not missing, missing


def interpreters() -> Iterator[tuple[str, Path | None]]:
    """Each supported Python and where it is: this one, on the path, or one of pyenv's."""
    for version in SUPPORTED:
        candidates = [sys.executable] if sys.version_info[:2] == tuple(map(int, version.split("."))) else []
        candidates += filter(None, [shutil.which(f"python{version}")])
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
        candidates += sorted(map(str, pyenv.glob(f"{version}.*/bin/python{version}")))
        yield version, next((Path(candidate) for candidate in candidates if works(candidate)), None)


def works(python: str) -> bool:
    """Whether it runs: a shim of pyenv's may stand for a Python that is not chosen."""
    return subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode == 0


def try_on(python: Path, requirement: str, version: str, *options: str) -> None:
    """Install the requirement into a new environment and run the smoke test there."""
    with tempfile.TemporaryDirectory() as folder:
        run(python, "-m", "venv", "--without-pip", Path(folder, "env"))
        inside = Path(folder, "env", "bin", "python")
        run(sys.executable, "-m", "pip", "--python", inside, "install", "--quiet", "--no-compile", requirement)
        run(inside, "-I", "-W", "error", SMOKE, version, *options, cwd=folder)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
        (wheel,), (sdist,) = Path(folder).glob("*.whl"), Path(folder).glob("*.tar.gz")
        run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
        check_contents(wheel, sdist)
        print(f"built {wheel.name} and {sdist.name}")
        version = wheel.name.split("-")[1]
        tries = {}
        for name, python in interpreters():
            if python is None:
                print(f"skipped: Python {name} is not installed")
                continue
            tries[f"Python {name}: the wheel"] = pool.submit(try_on, python, f"{wheel}[cli]", version, "with-cli")
            tries[f"Python {name}: the sdist"] = pool.submit(try_on, python, str(sdist), version)
        for what, tried in tries.items():
            tried.result()
            print(f"{what} installs and works")


if __name__ == "__main__":
    main()
