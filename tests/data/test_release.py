"""The original release: held-out queries, near-duplicates, zip files."""

import zipfile

import numpy as np
import pytest

from tll_utils import data
from tll_utils.data import duplicates
from tll_utils.errors import DataError

# The original release ------------------------------------------------------------------------


def test_release_holds_out_queries(release):
    dataset = data.load(release)
    assert dataset.name == "release"
    assert dataset.num_pairs + dataset.num_queries == 40
    assert dataset.num_queries == dataset.m == 10
    assert not set(dataset.left_paths) & set(dataset.query_paths)
    assert not set(dataset.right_paths) & set(dataset.gallery_paths)
    rows = dataset.candidates.to_numpy()
    assert all(
        row[1 + place] == row[0] for row, place in zip(rows, dataset.true_place, strict=True)
    )
    assert all(len(set(row[1:])) == dataset.m for row in rows)
    assert len(set(dataset.true_place)) > 1


def test_release_keeps_near_duplicates_on_one_side(release):
    for seed in range(10):
        ids = {path.stem for path in data.load(release, seed=seed).left_paths}
        assert len(ids & {"00000", "00001", "00002"}) in (0, 3)


def test_release_is_drawn_from_the_seed(release):
    first, again, other = (data.load(release, seed=seed) for seed in (1, 1, 2))
    assert first.candidates.equals(again.candidates)
    assert first.query_paths != other.query_paths


def test_release_names_an_image_without_partner(release):
    (release / "left/00007.jpg").unlink()
    with pytest.raises(DataError, match="images of right have no partner.*'00007'"):
        data.load(release)


def zip_side(release, side, prefix=""):
    with zipfile.ZipFile(release / f"{side}.zip", "w") as archive:
        for path in sorted((release / side).iterdir()):
            archive.write(path, f"{prefix}{path.name}")
    (release / side).rename(release.parent / f"{side}_kept")


def test_release_zips_are_unpacked_once_and_into_the_cache(release, cache):
    expected = data.load(release).candidates
    zip_side(release, "left")
    zip_side(release, "right", prefix="right/")
    dataset = data.load(release)
    assert dataset.candidates.equals(expected)
    written = dataset.query_paths[0].stat().st_mtime_ns
    assert data.load(release).query_paths[0].stat().st_mtime_ns == written
    assert len(list((cache / "unpacked").iterdir())) == 2
    assert {path.name for path in release.iterdir()} == {"left.zip", "right.zip"}


@pytest.mark.parametrize("name", ["../evil.jpg", "/evil.jpg", "a/../../evil.jpg", "..\\evil.jpg"])
def test_release_zip_cannot_lead_outside(release, cache, name):
    zip_side(release, "left")
    with zipfile.ZipFile(release / "left.zip", "a") as archive:
        archive.writestr(name, "evil")
    with pytest.raises(DataError, match=r"left\.zip: member .* leads outside"):
        data.load(release)
    assert not list(release.parent.rglob("evil*"))
    assert not (cache / "unpacked").exists()


def test_release_zip_damaged_leaves_nothing_half_written(release, cache):
    zip_side(release, "left")
    archive = release / "left.zip"
    content = bytearray(archive.read_bytes())
    content[5000:5050] = bytes(50)
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"left\.zip: damaged"):
        data.load(release)
    assert not list((cache / "unpacked").iterdir())


def test_release_zip_with_a_cache_that_cannot_be_written(release, cache):
    zip_side(release, "left")
    cache.write_text("a file where the folder would be")
    with pytest.raises(DataError, match=r"left\.zip: cannot be extracted.*TLL_CACHE_DIR"):
        data.load(release)


def test_release_reads_no_pixels_a_second_time(release, monkeypatch):
    first = data.load(release, seed=1)
    monkeypatch.setattr(duplicates, "look_at", lambda paths: pytest.fail("decoded again"))
    assert data.load(release, seed=1).candidates.equals(first.candidates)
    assert data.load(release, seed=2).num_queries == first.num_queries


def test_release_loads_with_a_damaged_image_which_inspect_names(release):
    (release / "left/00007.jpg").write_bytes(b"no image")
    for _ in range(2):
        report = data.inspect(data.load(release), progress=False)
        assert ["00007.jpg: no image" in problem for problem in report.unreadable] == [True]


def test_release_lists_are_those_of_draw_candidates(release):
    dataset = data.load(release, seed=3)
    ids = dataset.candidates["left"].to_numpy()
    places, true_place = data.draw_candidates(np.zeros(len(ids), int), m=dataset.m, seed=3)
    assert (dataset.true_place == true_place).all()
    if len({"00000", "00001", "00002"} & set(ids)) == 0:  # every group is one pair
        assert (dataset.candidates.iloc[:, 1:].to_numpy() == ids[places]).all()
