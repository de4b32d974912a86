"""Backgrounds turn white, subjects stay, and each picture is cut once."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tll_utils import images
from tll_utils.errors import DataError
from tll_utils.images import background


def disc_on(color):
    """A red disc in the middle of a textured ground."""
    rows, columns = np.mgrid[:98, :80]
    ground = np.full((98, 80, 3), color) + np.random.default_rng(0).integers(0, 20, (98, 80, 1))
    inside = (rows - 49) ** 2 + (columns - 40) ** 2 < 22**2
    return np.where(inside[..., None], (200, 30, 30), ground).astype(np.uint8), inside


def test_remove_background_keeps_the_subject_and_whitens_the_rest():
    image, inside = disc_on((30, 90, 60))
    cut = images.remove_background(image)
    white = (cut == 255).all(axis=-1)
    assert cut.shape == image.shape and cut.dtype == np.uint8
    assert white[~inside].mean() > 0.9
    assert (cut[inside] == image[inside]).all(axis=-1).mean() > 0.9


def test_remove_background_returns_an_image_without_a_subject_as_it_is():
    flat = np.full((40, 30, 3), 90, np.uint8)
    assert (images.remove_background(flat) == flat).mean() > 0.5


def test_without_background_cuts_each_picture_once(tmp_path, monkeypatch):
    image, _ = disc_on((30, 90, 60))
    for name in ("a.png", "b.png"):
        Image.fromarray(image).save(tmp_path / name)
    paths = [tmp_path / "a.png", tmp_path / "b.png"] * 8  # more than one thread on each file
    first = images.without_background(paths, tmp_path / "cut", method="grabcut", progress=False)
    assert len(set(first)) == 1  # equal bytes, one result
    assert np.array_equal(images.read_image(first[0]), images.remove_background(image))
    monkeypatch.setattr(background, "remove_background", lambda *a, **k: pytest.fail("not cached"))
    again = images.without_background(paths, tmp_path / "cut", method="grabcut", progress=False)
    assert again == first


def test_without_background_names_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"x\.jpg: no such file"):
        images.without_background([tmp_path / "x.jpg"], tmp_path / "cut", progress=False)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "grabcut"),
        (["u2netp.onnx"], "u2netp"),
        (["u2netp.onnx", "u2net.onnx"], "u2net"),
        (["u2net_cloth_seg.onnx"], "grabcut"),  # finds clothes, not subjects
    ],
)
def test_background_remover_names_a_model_that_is_there(tmp_path, monkeypatch, names, expected):
    monkeypatch.setattr(background.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    for name in names:
        (tmp_path / name).touch()
    assert images.background_remover() == expected


def test_background_remover_needs_rembg_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(background.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    (tmp_path / "u2net.onnx").touch()
    assert images.background_remover() == "grabcut"


def test_remove_background_asks_rembg_for_the_model_by_name(monkeypatch):
    asked = []
    rembg = SimpleNamespace(
        new_session=lambda name: asked.append(name),
        remove=lambda image, session, only_mask: np.full(image.shape[:2], 255, np.uint8),
    )
    monkeypatch.setitem(sys.modules, "rembg", rembg)
    image, _ = disc_on((30, 90, 60))
    background._rembg_session.cache_clear()
    assert np.array_equal(images.remove_background(image, method="u2netp"), image)
    background._rembg_session.cache_clear()
    assert asked == ["u2netp"]


def test_remove_background_refuses_an_unknown_method():
    with pytest.raises(ValueError, match="Received: method='magic'"):
        images.remove_background(np.zeros((8, 8, 3), np.uint8), method="magic")
