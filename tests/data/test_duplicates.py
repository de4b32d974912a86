"""Near-duplicates are seen through copying, and looked for once."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tll_utils import data
from tll_utils.data import duplicates
from tll_utils.errors import DataError

# Near-duplicates and folds -------------------------------------------------------------------


def save_all(folder, images):
    paths = [folder / f"{at}.png" for at in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    return paths


def test_near_duplicate_groups_sees_through_copying(tmp_path, picture, with_bars):
    original = picture(1, size=(100, 122))
    copies = [
        original.resize((61, 90)),
        original.point(lambda level: level // 2 + 60),
        with_bars(original),
        original.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        original,
    ]
    left = save_all(tmp_path, [original, *copies, picture(2)])
    (tmp_path / "right").mkdir()
    right = save_all(tmp_path / "right", [picture(seed) for seed in range(10, 17)])
    assert data.near_duplicate_groups(left, right).tolist() == [0] * 6 + [1]


def test_near_duplicate_groups_joins_over_both_sides(tmp_path, picture):
    a, b, c, d, e, f = save_all(tmp_path, [picture(seed) for seed in range(6)])
    groups = data.near_duplicate_groups([a, b, c, f], [d, a, b, e])
    assert groups.tolist() == [0, 0, 0, 1]  # pair 0 and 1 share a, 1 and 2 share b


def test_near_duplicate_groups_tells_blank_and_padded_pictures_apart(tmp_path, picture, with_bars):
    blanks = [Image.new("RGB", (50, 61), color) for color in ("white", "#fefefe", "black")]
    padded = [with_bars(picture(seed)) for seed in range(3)]
    groups = data.near_duplicate_groups(*[save_all(tmp_path, blanks + padded)] * 2)
    assert groups.tolist() == list(range(6))


def test_near_duplicate_groups_names_an_unreadable_image(tmp_path):
    with pytest.raises(DataError, match=r"x\.jpg: no such file"):
        data.near_duplicate_groups([tmp_path / "x.jpg"], [tmp_path / "x.jpg"])


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11))))
def test_number_groups_numbers_connected_components(size, edges):
    edges = [(a % size, b % size) for a, b in edges]
    reach = np.eye(size, dtype=bool)
    for a, b in edges:
        reach[a, b] = reach[b, a] = True
    for _ in range(4):  # paths of up to 16 steps
        reach = reach @ reach
    labels = duplicates.number_groups(size, edges)
    assert ((labels[:, None] == labels) == reach).all()
    assert list(dict.fromkeys(labels)) == list(range(labels.max() + 1))


# The stored groups ---------------------------------------------------------------------------


@pytest.fixture
def looked_at(monkeypatch):
    """The images that are decoded, in order."""
    seen, real = [], duplicates.look_at
    monkeypatch.setattr(duplicates, "look_at", lambda paths: seen.extend(paths) or real(paths))
    return seen


def test_near_duplicate_groups_looks_at_each_set_of_images_once(tmp_path, picture, looked_at):
    left = save_all(tmp_path, [picture(seed) for seed in (1, 1, 2)])
    groups = data.near_duplicate_groups(left, left)
    assert groups.tolist() == [0, 0, 1]
    del looked_at[:]
    again = data.near_duplicate_groups(left, left)
    assert again.tolist() == [0, 0, 1] and again.dtype == groups.dtype
    assert not looked_at
    data.near_duplicate_groups(left[:2], left[:2])
    assert looked_at


def test_near_duplicate_groups_looks_again_at_a_file_that_changed(tmp_path, picture):
    left = save_all(tmp_path, [picture(seed) for seed in (1, 2, 3)])
    assert data.near_duplicate_groups(left, left).tolist() == [0, 1, 2]
    picture(1).save(left[1])
    os.utime(left[1], ns=(0, 12345))
    assert data.near_duplicate_groups(left, left).tolist() == [0, 0, 1]


@pytest.mark.parametrize("content", ["", "[0]", '{"a": 1}', "[0, null]"])
def test_near_duplicate_groups_replaces_what_is_stored_and_damaged(
    tmp_path, picture, cache, content
):
    left = save_all(tmp_path, [picture(seed) for seed in (1, 2)])
    data.near_duplicate_groups(left, left)
    (stored,) = cache.rglob("*.json")
    stored.write_text(content)
    assert data.near_duplicate_groups(left, left).tolist() == [0, 1]


def test_near_duplicate_groups_works_without_a_cache(tmp_path, picture, cache):
    cache.write_text("a file where the folder would be")
    left = save_all(tmp_path, [picture(seed) for seed in (1, 2)])
    assert data.near_duplicate_groups(left, left).tolist() == [0, 1]


def test_near_duplicate_groups_stores_nothing_about_broken_images(tmp_path, picture, cache):
    left = save_all(tmp_path, [picture(seed) for seed in (1, 2)])
    left[1].write_bytes(b"no image")
    assert data.near_duplicate_groups(left, left, strict=False).tolist() == [0, 1]
    assert not list(cache.rglob("*.json"))
    with pytest.raises(DataError, match=r"1\.png: no image"):
        data.near_duplicate_groups(left, left)
