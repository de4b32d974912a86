"""The house: data flows one way, and TensorFlow stays where it belongs."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tll_utils"

# Who may import what of ours. A new module needs a line here, and a reason to need its imports.
ALLOWED = {
    "settings": set(),
    "progress": set(),  # anybody may import it
    "pipeline": set(),  # and this
    "data": set(),
    "sample": {"sample"},
    "quiet": set(),
    "descriptors": {"data", "scoring"},
    "images": {"data"},
    "generators": {"data", "images"},
    "losses": set(),
    "mining": {"scoring"},
    "scoring": set(),
    "submission": set(),
    "results": {"submission"},
    "models": {"models", "losses"},
    "backbones": {"models"},
    "training": set(),
    "scratch": {"generators", "images", "mining", "models", "scoring", "training"},
    "transfer": {
        "backbones", "features", "generators", "images", "losses", "models", "scoring", "training"
    },
    "distribute": set(),
    "candidates": {
        "adaption", "backbones", "distribute", "features", "images", "losses", "models", "scoring",
        "training",
    },
    "adaption": {"models", "losses", "scoring"},
    "ensemble": {"scoring"},
    "best": {"adaption", "backbones", "features", "models"},
    "integration": {"adaption", "features", "losses", "mining", "models", "scoring"},
    "features": {"data", "images", "backbones"},
    "experiment": {
        "backbones", "data", "features", "quiet", "results", "sample", "scoring", "settings",
        "submission",
    },
    "runner": {"experiment", "settings"},
    "plots": {"scoring"},
    "__main__": {
        "data", "results", "runner", "sample", "scoring", "settings", "submission"
    },
}  # fmt: skip
USES_TENSORFLOW = {
    "pipeline",
    "images",
    "generators",
    "features",
    "distribute",
    "candidates",
    "experiment",
    "quiet",
}


def module_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Full dotted names that a file imports, function bodies included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_table(path):
    module = module_of(path)
    assert module in ALLOWED, f"{module} is missing from the table"
    ours = {name.split(".")[1] for name in imports_of(path) if name.startswith("tll_utils.")}
    assert ours <= ALLOWED[module] | {"progress", "pipeline"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_tensorflow_stays_on_the_input_side(path):
    direct = {name.split(".")[0] for name in imports_of(path)}
    assert module_of(path) in USES_TENSORFLOW or not direct & {"tensorflow", "keras_cv"}


def test_nothing_imports_plots():
    assert not [p for p in FILES if "tll_utils.plots" in imports_of(p)]


def test_table_has_no_line_without_a_module():
    assert set(ALLOWED) == {module_of(path) for path in FILES}


def test_every_module_has_its_test_file():
    tested = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    modules = {path.stem for path in FILES} - {"__main__", "quiet"}
    assert modules <= tested
