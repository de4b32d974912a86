"""The house: data flows one way, each thing has one place, and nothing grows too large."""

import ast
import functools
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tll_utils"

# Who imports what of ours, from the base up: a unit (a module or a folder of the package) may
# import those above its own line alone. A new import needs a word here, and a reason.
IMPORTS = {
    "errors": set(),
    "files": {"errors"},
    "fingerprint": set(),
    "settings": {"errors"},
    "progress": set(),
    "quiet": set(),
    "face": {"quiet"},  # `__init__`: the names it offers are loaded when they are first used
    "images": {"errors", "files", "progress"},
    "data": {"errors", "files", "images", "progress"},
    "engines": {"errors", "files"},
    "losses": set(),
    "layers": {"images"},  # to find faces in Python, within a model
    "mining": set(),
    "generators": {"fingerprint", "mining"},
    "features": {"data", "engines", "errors", "files", "images", "layers", "progress"},
    "machine": {"errors", "generators"},
    "pipeline": {"generators", "machine"},
    "training": {"errors", "files", "fingerprint", "generators", "machine", "pipeline"},
    "protocol": {"data"},
    "scoring": {"data", "errors", "face", "features", "files", "protocol"},  # what is blended
    "plots": {"scoring"},
    "run": {
        "data",
        "errors",
        "features",
        "files",
        "images",
        "machine",
        "plots",
        "protocol",
        "scoring",
        "settings",
        "training",
    },
    "notebooks": {"errors", "files", "scoring"},
    "plan": {"data", "engines", "errors", "features", "files", "notebooks", "run", "settings"},
    "tools": {
        "data",
        "engines",
        "errors",
        "face",
        "features",
        "files",
        "images",
        "layers",
        "progress",
        "quiet",
        "scoring",
        "settings",
    },
    "__main__": {
        "data",
        "errors",
        "face",
        "files",  # to say why a data set cannot be drawn into a folder
        "notebooks",
        "plan",
        "scoring",
        "settings",
        "tools",
    },
}
# TensorFlow itself: graphs for embedding, a call of Python from a graph, several devices,
# batches for `fit`, a generator for keras-cv, switching determinism on, and LiteRT.
USES_TENSORFLOW = {
    "engines.py",
    "features/encoding.py",
    "images/augment.py",
    "layers/faces.py",
    "machine.py",
    "pipeline.py",
    "run.py",
    "tools/export.py",
}
LARGE_BY_NATURE = ("data/sample/", "features/zoo/")  # drawings, and networks layer by layer

FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [path.relative_to(PACKAGE).as_posix() for path in FILES]
each_file = pytest.mark.parametrize("path", FILES, ids=NAMES)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def unit_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "face" if first == "__init__" else first


UNITS = {unit_of(path) for path in FILES}


def imports_of(nodes) -> set[str]:
    """Full dotted names that the nodes import; relative imports are not used in this house."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def our_imports(path: Path) -> set[str]:
    """The units that a file imports, function bodies included."""
    units = set()
    for name in imports_of(ast.walk(tree_of(path))):
        parts = name.split(".")
        if parts[0] == "tll_utils":
            found = parts[1] if len(parts) > 1 and parts[1] in UNITS else "face"
            units.add(found)
    return units


def functions_of(path: Path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_imports_are_those_of_the_table():
    found = {unit: set() for unit in UNITS}
    for path in FILES:
        found[unit_of(path)] |= our_imports(path)
    assert {unit: names - {unit} for unit, names in found.items()} == IMPORTS


def test_the_table_knows_one_direction_only():
    above = set()
    for unit, names in IMPORTS.items():
        assert names <= above, f"{unit} imports {names - above}, which come after it"
        above.add(unit)


def test_tensorflow_is_imported_where_training_needs_it_and_never_at_the_top():
    users = set()
    for path, name in zip(FILES, NAMES, strict=True):
        roots = {i.split(".")[0] for i in imports_of(ast.walk(tree_of(path)))}
        at_the_top = {i.split(".")[0] for i in imports_of(tree_of(path).body)}
        assert "tensorflow" not in at_the_top, name
        if "tensorflow" in roots:
            users.add(name)
        if "keras_cv" in roots:
            assert name == "images/augment.py"
    assert users == USES_TENSORFLOW


def test_plots_is_imported_lazily_by_run_alone():
    users = {path for path in FILES if "plots" in our_imports(path) and unit_of(path) != "plots"}
    assert users == {PACKAGE / "run.py"}
    assert "tll_utils.plots" not in imports_of(tree_of(PACKAGE / "run.py").body)


@pytest.mark.parametrize("unit", sorted(UNITS - {"errors"}))
def test_every_unit_has_tests(unit):
    tests = Path(__file__).parent
    elsewhere = {"notebooks": "running", "protocol": "run", "__main__": "main", "quiet": "face"}
    found = (tests / f"test_{elsewhere.get(unit, unit)}.py").is_file()
    assert found or list((tests / unit).glob("test_*.py"))


@each_file
def test_files_have_at_most_400_lines(path):
    name = path.relative_to(PACKAGE).as_posix()
    num_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert num_lines <= 400 or name.startswith(LARGE_BY_NATURE)


@each_file
def test_functions_are_short_and_take_few_parameters(path):
    for function in functions_of(path):
        first = function.body[1] if ast.get_docstring(function) and function.body[1:] else None
        start = first.lineno if first else function.body[0].lineno
        length = function.end_lineno - start + 1
        assert length <= 50, f"{function.name}: {length} lines"
        given = function.args
        names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
        names = [name for name in names if name not in ("self", "cls")]
        assert len(names) <= 8, f"{function.name}: {names}"


@each_file
def test_public_functions_are_typed(path):
    public = [
        node
        for parent in ast.walk(tree_of(path))
        if isinstance(parent, ast.Module)
        or (isinstance(parent, ast.ClassDef) and not parent.name.startswith("_"))
        for node in parent.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    for function in public:
        given = function.args
        every = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
        untyped = [
            a.arg
            for a in every
            if a is not None and a.annotation is None and a.arg not in ("self", "cls")
        ]
        assert not untyped, f"{function.name}: {untyped}"
        assert function.returns is not None, f"{function.name} does not say what it returns"
