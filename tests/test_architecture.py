"""The rules of the house: which file may import which, and how large files, folders and functions may be."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: Each may import those that stand before it. Two on one floor know nothing of each other.
FLOORS = (("modules", "datamodules"), ("callbacks",), ("train",), ("benchmarks", "app", "docs"))
#: The same inside the library, on which those above stand; what is not named here is its ground.
LIBRARY_FLOORS = (
    ("ground",),
    ("samplers",),
    ("loaders", "datamodule", "module"),
    ("strategies",),
    ("export", "resume"),
    ("cli",),
)
MOST_LINES = 400
MOST_FILES = 15
MOST_LINES_OF_A_FUNCTION = 65
#: Libraries that a workload takes along, so that another one starts without them.
HEAVY = {"torchrec", "torchaudio", "transformers", "datasets"}


def sources() -> list[Path]:
    """The Python files that git knows or would take, but for the tests."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = sorted(Path(line) for line in listed.stdout.splitlines() if (ROOT / line).is_file())
    return [file for file in files if file.parts[0] != "tests"]


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def module_name(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


@cache
def imports() -> dict[str, set[str]]:
    """For each module the modules of the repository that it imports, at its top or within a function."""
    names = {module_name(file): file for file in sources()}
    found: dict[str, set[str]] = {}
    for name, file in names.items():
        candidates: list[str] = []
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Import):
                candidates += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                candidates += [
                    whole if (whole := f"{node.module}.{alias.name}") in names else node.module for alias in node.names
                ]
        found[name] = {candidate for candidate in candidates if candidate in names} - {name}
    return found


def floor(name: str) -> int:
    """The floor of a module, counted from the ground of the library."""
    first, *rest = name.split(".")
    if first == "sextant":
        inside = rest[0] if rest else "ground"
        return next((place for place, names in enumerate(LIBRARY_FLOORS) if inside in names), 0)
    return len(LIBRARY_FLOORS) + next(place for place, names in enumerate(FLOORS) if first in names)


def functions(file: Path) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree(file)) if isinstance(node, ast.FunctionDef))


def lines_of_code(function: ast.FunctionDef) -> int:
    """The lines of a function without its docstring."""
    assert function.end_lineno is not None
    docstring = function.body[0] if ast.get_docstring(function) else None
    spoken = docstring.end_lineno - docstring.lineno + 1 if docstring and docstring.end_lineno else 0
    return function.end_lineno - function.lineno + 1 - spoken


def test_no_import_points_upwards() -> None:
    upwards = [f"{a} imports {b}" for a, found in imports().items() for b in found if floor(b) > floor(a)]
    assert not upwards, "\n".join(upwards)


def test_folders_on_one_floor_do_not_know_each_other() -> None:
    """``modules`` and ``datamodules`` above all: the fields of a batch are their contract."""
    across = [
        f"{a} imports {b}"
        for a, found in imports().items()
        for b in found
        if not a.startswith("sextant") and floor(a) == floor(b) and a.split(".")[0] != b.split(".")[0]
    ]
    assert not across, "\n".join(across)


def test_library_imports_nothing_of_the_repository_but_itself() -> None:
    beyond = {a: found for a, found in imports().items() if a.split(".")[0] == "sextant"}
    assert {other.split(".")[0] for found in beyond.values() for other in found} == {"sextant"}


def test_networks_know_tensors_only() -> None:
    """Neither Lightning, nor what measures them, nor ranks."""
    beyond = re.compile(r"^\s*(from|import) (lightning|torchmetrics|torch\.distributed)\b", re.MULTILINE)
    networks = [file for file in sources() if file.parts[:2] == ("modules", "networks")]
    assert networks
    assert not [file for file in networks if beyond.search((ROOT / file).read_text(encoding="utf-8"))]


def room(name: str) -> str:
    """The folder that a module is in, as a drawing of the house shows it.

    Folders are drawn two deep. A file that stands directly in one of the top folders is a room of its own.
    """
    folders = Path(*name.split("."))
    while not (ROOT / folders).is_dir() or len(folders.parts) > 2:
        if len(folders.parts) <= 2:
            return ".".join(folders.parts)
        folders = folders.parent
    return ".".join(folders.parts)


def require_no_circle(arrows: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(" is imported by ".join(error.args[1]))


def test_no_files_import_each_other_in_a_circle() -> None:
    require_no_circle(imports())


def test_no_folders_import_each_other_in_a_circle() -> None:
    arrows: dict[str, set[str]] = {}
    for name, found in imports().items():
        arrows.setdefault(room(name), set()).update({room(other) for other in found} - {room(name)})
    require_no_circle(arrows)


@pytest.mark.parametrize("file", sources(), ids=str)
def test_file_and_its_functions_are_short_enough_to_be_read(file: Path) -> None:
    assert len((ROOT / file).read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    long = [f.name for f in functions(file) if lines_of_code(f) > MOST_LINES_OF_A_FUNCTION]
    assert not long


def test_folder_has_no_more_files_than_one_takes_in() -> None:
    folders: dict[Path, int] = {}
    for file in sources():
        folders[file.parent] = folders.get(file.parent, 0) + (file.name != "__init__.py")
    assert {folder: count for folder, count in folders.items() if count > MOST_FILES} == {}


def test_what_all_workloads_share_is_imported_without_the_libraries_of_one() -> None:
    for file in sources():
        if file.parts[0] not in ("sextant", "train.py") or file.parts[1:2] in (("strategies",), ("export",)):
            continue
        body = tree(file).body
        named = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
        named += [node.module or "" for node in body if isinstance(node, ast.ImportFrom)]
        assert not {name.split(".")[0] for name in named} & HEAVY, file
