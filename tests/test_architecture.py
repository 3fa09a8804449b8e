"""Imports go one way, and only ``backends/`` names an array library: `glmheads` as its source says it is."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import glmheads

PACKAGE = Path(glmheads.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = (
    {"archive", "backends", "names"},
    {"display", "kernels"},
    {"families"},
    {"inputs"},
    {"statistics"},
    {"engine"},
    {"accumulator"},
    {"metrics"},
    {"heads"},
    {"evaluation"},
    {"plots"},
    {"report"},
    {"cli", "testing"},
)
"""From the ground up. A room imports from the floors below its own, and from itself."""
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

ARRAY_LIBRARIES = {
    *("array_api_compat", "array_api_strict", "array_api_extra", "cupy", "cupyx", "dask", "jax", "jaxlib", "mlx"),
    *("ndonnx", "paddle", "scipy", "sparse", "tensorflow", "torch"),
}
EXTRAS = {
    "cli": {"pyarrow", "rich", "typer"},
    "evaluation": {"pandas"},
    "plots": {"matplotlib"},
    "report": {"jinja2", "matplotlib"},
    "testing": {"array_api_extra", "hypothesis", "pytest"},
}
"""What a room may import besides NumPy: the extra of its name in pyproject.toml; pandas, which makes DataFrames."""


def room_of(path: Path) -> str:
    """The room a file belongs to; the public names of the package are in the room ``__init__``."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """The dotted names that a file imports anywhere, also in functions; and where."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def rooms_imported(path: Path) -> Iterator[tuple[str, int]]:
    """The rooms of glmheads that a file imports; a public name is of the room ``__init__``."""
    for name, line in imports(path):
        root, *rest = name.split(".")
        if root == "glmheads":
            yield (rest[0] if rest and rest[0] in FLOOR else "__init__"), line


each_file = pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])


def test_every_room_is_known():
    assert {room_of(path) for path in FILES} - {"__init__"} <= set(FLOOR)


@each_file
def test_imports_go_one_way(path):
    room = room_of(path)
    if room == "__init__":
        return
    for other, line in rooms_imported(path):
        if other == "__init__":
            assert FLOOR[room] > FLOOR["evaluation"], f"line {line} imports the public names from below"
        else:
            assert other == room or FLOOR[other] < FLOOR[room], f"line {line} imports {other}"


@pytest.mark.parametrize("room", ["archive", "names", "backends"])
def test_the_ground_imports_nothing_of_glmheads(room):
    files = [path for path in FILES if room_of(path) == room]
    assert files
    for path in files:
        assert {other for other, _ in rooms_imported(path)} <= {room} & {"backends"}


@each_file
def test_only_backends_imports_an_array_library(path):
    room = room_of(path)
    if room == "backends":
        return
    found = {name.split(".")[0] for name, _ in imports(path)}
    assert not (found & ARRAY_LIBRARIES) - EXTRAS.get(room, set())
    others = found - set(sys.stdlib_module_names) - {"numpy", "glmheads"} - EXTRAS.get(room, set())
    assert not others, "only NumPy and the extra of the room's name may be imported"


@each_file
def test_only_backends_names_an_array_library(path):
    if room_of(path) in ("backends", *FLOORS[-1]):
        return
    strings = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    assert not strings & ARRAY_LIBRARIES


def test_backends_import_libraries_in_files_of_their_own():
    for path in FILES:
        if room_of(path) != "backends":
            continue
        found = {name.split(".")[0] for name, _ in imports(path)} & ARRAY_LIBRARIES
        own = path.stem.removeprefix("_")
        assert found <= {own, f"{own}x", f"{own}lib", "array_api_compat"}


def test_the_package_file_holds_public_names_alone():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    assert ast.get_docstring(tree)
    for node in tree.body[1:]:
        assert isinstance(node, (ast.ImportFrom, ast.Assign))
        if isinstance(node, ast.Assign):
            assert [target.id for target in node.targets] in (["__all__"], ["__version__"])


@each_file
def test_every_file_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text()))
