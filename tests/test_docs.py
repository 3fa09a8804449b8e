"""The documentation: its code runs and prints what it says, its commands work, and every public name is in it.

A ``text`` block holds what the block before it prints. ``<!--- skip: next if(lacks("cupy"), reason="...") -->`` skips
a block (``start`` and ``end``: some) where a library or its device is missing.
"""

import enum
import importlib
import inspect
import io
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import redirect_stdout
from pathlib import Path
from unittest import SkipTest

import pytest
import typer
from sybil import Document, Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, SkipParser

import glmheads as gh
import glmheads.evaluation
import glmheads.plots
import glmheads.report
import glmheads.testing

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^ *```(\S*)", re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def lacks(library: str) -> bool:
    """Whether a block that needs the library can't run here."""
    try:
        module = importlib.import_module(library)
        if library == "cupy":
            return module.cuda.runtime.getDeviceCount() == 0
    except Exception:
        return True
    return False


# ---------------------------------------------------------------------------------------------------------------------
# Blocks


class Blocks:
    """Runs the blocks of a page, in order and in one namespace."""

    def __init__(self) -> None:
        self._run_python = PythonEvaluator()
        self._printed = ""

    def parse(self, page: Path) -> Document:
        parsers = [
            CodeBlockParser("python", self.python),
            CodeBlockParser("bash", self.bash),
            CodeBlockParser("text", self.text),
            SkipParser(),
        ]
        document = Sybil(parsers, path=str(ROOT)).parse(page)
        document.namespace["lacks"] = lacks
        return document

    def python(self, example: Example) -> None:
        with redirect_stdout(io.StringIO()) as stdout:
            self._run_python(example)
        self._printed = stdout.getvalue()

    def bash(self, example: Example) -> None:
        commands = example.parsed.replace("\\\n", "").replace("&&", "\n").splitlines()
        self._printed = "".join(command(shlex.split(line)) for line in commands if line.strip())

    def text(self, example: Example) -> None:
        assert self._printed.splitlines() == example.parsed.splitlines()


def command(words: list[str]) -> str:
    """What a command prints; one that installs or tests is held against the project's own files instead."""
    match words:
        case ["pip", "install", *requirements]:
            for requirement in requirements:
                check_requirement(requirement)
            return ""
        case ["python", "-m", "pytest", *_]:
            assert shlex.join(words) in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
            return ""
        case ["python", "-m", "benchmarks", *arguments]:
            pytest.importorskip("matplotlib")
            from benchmarks.__main__ import app

            typer.main.get_command(app).make_context("benchmarks", arguments)  # raises at an unknown option
            return ""
        case ["glmheads", *arguments]:
            done = subprocess.run(
                [sys.executable, "-W", "error", "-m", "glmheads.cli", *arguments],
                capture_output=True,
                encoding="utf-8",
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout
    raise AssertionError(f"no way to check the command {shlex.join(words)}")


def check_requirement(requirement: str) -> None:
    """It is this project, by name or as the current folder, with extras that it has; or a build of CuPy."""
    if requirement.startswith("cupy-cuda"):
        return
    found = re.fullmatch(rf"(?:\.|{PROJECT['name']})(?:\[([\w,]+)\])?", requirement)
    assert found, requirement
    assert set(filter(None, (found[1] or "").split(","))) <= set(PROJECT["optional-dependencies"])


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch.compile's own
@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_blocks_run_and_print_what_is_shown(page, subtests, tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    for example in Blocks().parse(page).examples():
        with subtests.test(f"{page_name(page)}:{example.line}"):
            try:
                example.evaluate()
            except SkipTest as reason:
                pytest.skip(str(reason))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_block_is_one_that_is_checked(page):
    kinds = FENCE.findall(page.read_text(encoding="utf-8"))[::2]
    # what is drawn, and not run, stands in a block without a kind
    assert set(kinds) <= {"python", "bash", "text", ""}
    checked = sum(example.region.evaluator is not None for example in Blocks().parse(page).examples())
    skips = page.read_text(encoding="utf-8").count("<!--- skip:")
    assert checked - skips == len([kind for kind in kinds if kind])


def test_readme_gives_both_commands():
    commands = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("pip install '.[")]
    assert any("glmheads evaluate examples/nass_cds.parquet" in line for line in commands)
    assert any(line.endswith("&& python -m pytest -n 2") for line in commands)


# ---------------------------------------------------------------------------------------------------------------------
# Public names


def public_names() -> list[str]:
    modules = (gh, gh.kernels, gh.evaluation, gh.plots, gh.report, gh.testing)
    names = [f"{module.__name__}.{name}" for module in modules for name in module.__all__]
    # What stands in `glmheads` too is named there.
    again = {f"glmheads.evaluation.{name}" for name in gh.__all__}
    return [name for name in names if name != "glmheads.kernels" and name not in again]


def resolve(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def is_callable(name: str) -> bool:
    found = resolve(name)
    return inspect.isclass(found) or inspect.isroutine(found)


def reference_entries() -> set[str]:
    reference = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    return set(re.findall(r"^::: (\S+)$", reference, re.MULTILINE))


@pytest.mark.parametrize("name", public_names())
def test_public_name_is_in_the_reference(name):
    found = resolve(name)
    entries = {name, f"{found.__module__}.{found.__name__}"} if hasattr(found, "__name__") else {name}
    assert entries & reference_entries()


def test_what_the_pages_import_is_in_the_reference():
    imported = re.compile(r"^ *from (glmheads[.\w]*) import ([\w, ]+)$", re.MULTILINE)
    names = {
        f"{module}.{name.strip()}"
        for page in PAGES
        for module, found in imported.findall(page.read_text(encoding="utf-8"))
        for name in found.split(",")
    }
    entries = reference_entries()
    modules = {entry.rpartition(".")[0] for entry in entries}
    assert names - modules
    assert not names - modules - entries


@pytest.mark.parametrize("name", list(filter(is_callable, public_names())))
def test_public_name_has_a_docstring_with_an_example(name):
    found = resolve(name)
    docstring = inspect.getdoc(found) or ""
    assert docstring
    if not (isinstance(found, type) and issubclass(found, enum.Enum)):
        assert re.search(r"^Examples\n-{8}\n(?:.*\n)*?>>> ", docstring, re.MULTILINE)
