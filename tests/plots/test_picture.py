"""A figure as a notebook's value."""

import base64

import numpy as np
import pytest
from PIL import Image

from tll_utils import plots


@pytest.fixture
def picture():
    hits = {"half": np.array([True, False] * 10)}
    return plots.top_2_bars(hits, num_candidates=20, title="Half of them")


def test_picture_shows_image_and_description(picture):
    data, metadata = picture._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain"}
    assert base64.b64decode(data["image/png"]) == picture.data
    assert data["text/plain"] == picture.description == repr(picture)
    assert metadata["image/png"] == {"width": 912, "alt": picture.description}


def test_picture_is_what_ipython_displays(picture):
    formatters = pytest.importorskip("IPython.core.formatters")
    data, metadata = formatters.DisplayFormatter().format(picture)
    assert data["image/png"] and data["text/plain"] == picture.description
    assert metadata["image/png"]["alt"] == picture.description


def test_picture_of_photographs_is_a_jpeg():
    image = np.zeros((24, 20, 3), np.uint8)
    picture = plots.image_mosaic([image], title="Black")
    assert set(picture._repr_mimebundle_()[0]) == {"image/jpeg", "text/plain"}


def test_picture_save_writes_the_format_of_the_ending(picture, tmp_path):
    for name, kind in (("a.png", "PNG"), ("a.jpg", "JPEG")):
        picture.save(tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert image.format == kind


def test_picture_keeps_a_noisy_mosaic_small():
    noise = np.random.default_rng(0).integers(0, 256, (24, 240, 200, 3), dtype=np.uint8)
    assert len(plots.image_mosaic(noise, title="Noise").data) < 700_000
