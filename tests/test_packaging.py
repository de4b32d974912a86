"""The package as people install it: one list of requirements, one address, one version."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tll_utils

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CITATION.cff"]
PAGES += sorted((ROOT / "notebooks").glob("*.ipynb"))


def lines_of(name):
    """The requirements of a file, each with its comment."""
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        text, _, comment = line.partition("#")
        if text.strip():
            yield text.strip(), comment.strip()


def named(requirements):
    parsed = (Requirement(text) for text in requirements)
    return {canonicalize_name(r.name): r.specifier for r in parsed}


WANTED = [text for text, _ in lines_of("requirements.txt") if text != "-e ."]
EXTRAS = PROJECT["optional-dependencies"]


def test_requirements_are_those_of_the_package():
    runtime = named(PROJECT["dependencies"])
    extras = {name: spec for group in EXTRAS.values() for name, spec in named(group).items()}
    wanted = named(WANTED)
    assert {name: spec for name, spec in wanted.items() if name not in extras} == runtime
    assert {name: spec for name, spec in wanted.items() if name in extras}.items() <= extras.items()
    assert named(EXTRAS["dev"]).items() <= wanted.items()


def test_requirements_end_with_the_project_and_say_why_each_is_there():
    lines = list(lines_of("requirements.txt"))
    assert lines[-1][0] == "-e ."
    assert all(comment for _, comment in lines)


def test_constraints_pin_every_requirement_within_its_range():
    pins = {}
    for text, _ in lines_of("constraints.txt"):
        name, version = text.split("==")
        pins[canonicalize_name(name)] = version
    for name, specifier in named(WANTED).items():
        assert specifier.contains(pins[name]), f"{name}=={pins[name]} is outside {specifier}"


@pytest.mark.parametrize(
    ("name", "version"),
    [("tensorflow", "2.20.0"), ("keras", "3.13.2"), ("numpy", "2.1.3"), ("pandas", "2.2.3")],
)
def test_ranges_hold_what_colab_brings(name, version):
    assert named(PROJECT["dependencies"])[name].contains(version)


def test_the_version_has_one_value():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.M)[1] == tll_utils.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, re.M)[1] == tll_utils.__version__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_the_repository_that_the_project_names(page):
    repository = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")
    owner = repository.split("/")[0]
    text = page.read_text(encoding="utf-8")
    for address in re.findall(rf"{owner}/[\w.-]+", text):
        assert address.removesuffix(".git") == repository
    if page.suffix == ".ipynb":
        badge = f"colab.research.google.com/github/{repository}/blob/main/notebooks/{page.name}"
        assert badge in text
        assert f"git+https://github.com/{repository}" in text, "the set-up cell installs from it"


def test_no_page_links_to_a_file_that_is_not_there():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (ROOT / target).exists(), f"{page.name}: {target}"


def test_contributing_names_files_that_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named_paths = set(re.findall(r"`((?:tll_utils|tests)/[\w/.]*)`", text))
    assert named_paths
    for path in named_paths:
        assert (ROOT / path).exists(), path
