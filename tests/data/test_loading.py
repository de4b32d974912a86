"""Finding a data set on the machine."""

import shutil
from pathlib import Path

import pytest

from tll_utils import data
from tll_utils.data import loading
from tll_utils.errors import DataError

# Find ----------------------------------------------------------------------------------------


def search_in(monkeypatch, *places):
    monkeypatch.setattr(loading, "SEARCH_DIRS", places)


def test_find_takes_the_first_place_that_holds_data(course, tmp_path, monkeypatch):
    inputs = tmp_path / "input"
    (inputs / "competitions").mkdir(parents=True)
    search_in(monkeypatch, tmp_path / "none", inputs, course)
    assert data.find() == course
    course.rename(inputs / "competitions/tll")
    assert data.find() == inputs / "competitions/tll"


def test_find_says_where_it_looked(tmp_path, monkeypatch):
    search_in(monkeypatch, tmp_path)
    with pytest.raises(DataError, match="TLL_DATA_DIR"):
        data.find()
    with pytest.raises(DataError, match="no data set in this folder"):
        data.find(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        data.find(tmp_path / "none")


def test_find_takes_a_folder_around_one_data_set_only(course, release):
    with pytest.raises(DataError, match="2 data sets"):
        data.find(course.parent)
    shutil.rmtree(release)
    assert data.find(course.parent) == course


def test_find_takes_a_sample_only_where_there_is_nothing_else(course, tmp_path, monkeypatch):
    place = tmp_path / "place"
    search_in(monkeypatch, place)
    drawn = [Path(shutil.copytree(course, place / name)) for name in ("drawn", "sample")]
    for folder in drawn:
        (folder / "sample.json").write_text("{}")
    assert data.find() in drawn
    course.rename(place / "tll")
    assert data.find() == data.find(place) == place / "tll"
    (place / "deeper").mkdir()
    (place / "tll").rename(place / "deeper" / "tll")
    assert data.find() == place / "deeper" / "tll"


def test_find_does_not_choose_among_data_sets(course, release, monkeypatch):
    search_in(monkeypatch, course.parent)
    with pytest.raises(DataError, match=r"2 data sets in this folder: course, release\. Name"):
        data.find()


def test_find_does_not_take_the_train_folder_for_a_release(course):
    (course / "train.csv").unlink()
    (course / "test_candidates.csv").unlink()
    assert data.find(course) == course
