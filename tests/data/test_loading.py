"""Finding a data set on the machine."""

import shutil

import pytest

from tll_utils import data
from tll_utils.errors import DataError

# Find ----------------------------------------------------------------------------------------


def test_find_takes_the_first_place_that_holds_data(course, tmp_path):
    inputs = tmp_path / "input"
    (inputs / "competitions").mkdir(parents=True)
    assert data.find(None, search_dirs=[tmp_path / "none", inputs, course]) == course
    course.rename(inputs / "competitions/tll")
    assert data.find(None, search_dirs=[inputs]) == inputs / "competitions/tll"


def test_find_says_where_it_looked(tmp_path):
    with pytest.raises(DataError, match="TLL_DATA_DIR"):
        data.find(None, search_dirs=[tmp_path])
    with pytest.raises(DataError, match="no data set in this folder"):
        data.find(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        data.find(tmp_path / "none")


def test_find_takes_a_folder_around_one_data_set_only(course, release):
    with pytest.raises(DataError, match="2 data sets"):
        data.find(course.parent)
    shutil.rmtree(release)
    assert data.find(course.parent) == course


def test_find_does_not_take_the_train_folder_for_a_release(course):
    (course / "train.csv").unlink()
    (course / "test_candidates.csv").unlink()
    assert data.find(course) == course
