"""Fixtures of the tests of `data`: small data sets, and a cache of their own."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# A busy machine is no fault of the code.
settings.register_profile("data", deadline=None)
settings.load_profile("data")

NUM_PAIRS, NUM_QUERIES, M = 24, 6, 4


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("TLL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def picture():
    """Draws a picture of large patches, unlike that of any other seed."""

    def draw(seed, size=(50, 61)) -> Image.Image:
        patches = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)

    return draw


@pytest.fixture(scope="session")
def with_bars():
    """Pads a picture with black above and below."""

    def pad(image) -> Image.Image:
        padded = Image.new("RGB", (image.width, image.height + 60))
        padded.paste(image, (0, 30))
        return padded

    return pad


def write_csv(path, header, rows):
    path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")


@pytest.fixture(scope="session")
def course_template(tmp_path_factory, picture):
    """A folder in the course layout; `course` copies it."""
    root = tmp_path_factory.mktemp("course")
    pairs = [(f"a{i:02}", f"b{i:02}") for i in range(NUM_PAIRS)]
    queries, rights = [[f"{s}{i}" for i in range(NUM_QUERIES)] for s in ("q", "nan")]
    rows = [[q] + [rights[(i + j) % NUM_QUERIES] for j in range(M)] for i, q in enumerate(queries)]
    write_csv(root / "train.csv", ["left", "right"], pairs)
    write_csv(root / "test_candidates.csv", ["left"] + [f"c{j}" for j in range(M)], rows)
    write_csv(root / "test_truth.csv", ["left", "right"], [(row[0], row[2]) for row in rows[::-1]])
    names = [f"train/left/{left}" for left, _ in pairs] + [f"train/right/{r}" for _, r in pairs]
    names += [f"test/left/{q}" for q in queries] + [f"test/right/{r}" for r in rights]
    for seed, name in enumerate(names):
        path = root / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(path)
    return root


@pytest.fixture
def course(course_template, tmp_path):
    return Path(shutil.copytree(course_template, tmp_path / "course"))


@pytest.fixture
def release(tmp_path, picture):
    """A folder in the layout of the original release, 40 pairs; pairs 0, 1 and 2 share a right."""
    for i in range(40):
        for side in ("left", "right"):
            path = tmp_path / "release" / side / f"{i:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(900 if side == "right" and i < 3 else i + 100 * (side == "left")).save(path)
    return tmp_path / "release"
