"""Reading and refusing data sets in the course layout."""

import json

import numpy as np
import pytest

from tll_utils import data
from tll_utils.errors import DataError


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# Load ----------------------------------------------------------------------------------------


def test_load_aligns_paths_with_rows(course):
    dataset = data.load(course)
    assert (dataset.name, dataset.num_pairs, dataset.num_queries, dataset.m) == ("tll", 24, 6, 4)
    assert [path.stem for path in dataset.left_paths] == list(dataset.pairs["left"])
    assert [path.stem for path in dataset.right_paths] == list(dataset.pairs["right"])
    assert [path.stem for path in dataset.query_paths] == list(dataset.candidates["left"])
    gallery = np.array([path.stem for path in dataset.gallery_paths])
    assert list(gallery) == sorted(set(gallery))
    assert (gallery[dataset.candidate_index] == dataset.candidates.iloc[:, 1:].to_numpy()).all()
    assert dataset.true_place.tolist() == [1] * 6  # the truth file is in reverse order


def test_load_knows_the_sample_by_its_marker(course):
    (course / "sample.json").write_text(json.dumps({}))
    assert data.load(course).name == "sample"


def test_load_without_truth(course):
    (course / "test_truth.csv").unlink()
    assert data.load(course).true_place is None


def test_load_accepts_byte_order_mark_and_windows_lines(course):
    path = course / "train.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert data.load(course).num_pairs == 24


def test_load_ignores_what_is_no_image(course):
    for name in ("Thumbs.db", "._a00.jpg", ".DS_Store"):
        (course / "train/left" / name).write_text("")
    assert data.load(course).num_pairs == 24


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("train.csv", "left,right", "left,wrong", "row 1: expected the columns left,right"),
        (
            "train.csv",
            "left,right",
            "left",
            "row 1: expected the columns left,right. Missing",
        ),
        ("train.csv", "a03,b03", "a03", "row 5 (a03): expected 2 fields"),
        (
            "train.csv",
            "a03,b03",
            "a03,b03,b04",
            "Correct the header or the row, or remove it. Received: 3 fields",
        ),
        ("train.csv", "a03,b03", ",b03", "row 5: '' cannot be an image id"),
        ("train.csv", "a03,b03", "../a03,b03", "row 5: '../a03' cannot"),
        ("train.csv", "a03,b03", "/etc/passwd,b03", "row 5: '/etc/passwd' cannot"),
        ("train.csv", "a03,b03", r"a\03,b03", "row 5"),
        ("train.csv", "a03,b03", "..,b03", "row 5: '..' cannot"),
        ("train.csv", "a03,b03", "a02,b03", "row 5: left 'a02' appears in row 4 already"),
        ("train.csv", "a03,b03", "a03,b02", "row 5: right 'b02' appears in row 4 already"),
        ("train.csv", "a03,b03", "zzz,b03", "row 5: left is 'zzz', but there is no zzz.jpg"),
        ("test_candidates.csv", "left,c0,c1,c2,c3", "left,c0,c1,c3,c2", "row 1: expected"),
        (
            "test_candidates.csv",
            "q1,nan1,nan2",
            "q1,nan1",
            "row 3 (q1): expected 5 fields",
        ),
        ("test_candidates.csv", "q1,nan1,nan2", "q1,nan1,nan1", "row 3: 'nan1' appears twice"),
        ("test_candidates.csv", "q1,nan1", "q1,q1", "row 3: 'q1' appears twice"),
        ("test_candidates.csv", "q1,nan1", "q1,zzz", "row 3: c0 is 'zzz', but there is no zzz.jpg"),
        ("test_candidates.csv", "q1,nan1", "q0,nan1", "row 3: left 'q0' appears in row 2 already"),
        ("test_truth.csv", "q5,nan0", "q5,nan4", "row 2: 'nan4' is not among the candidates"),
        ("test_truth.csv", "q5,nan0", "q9,nan0", "row 2: 'q9' is not a query"),
        ("test_truth.csv", "q5,nan0\n", "", "no row for 'q5'"),
        ("test_truth.csv", "q5,nan0\n", "", "lists, 1 row missing"),
        ("train.csv", "a03,b03", "zzz,b03", "(1 such row)"),
        ("train.csv", "left,right", "left;right", "Separate the fields by ',', not by ';'"),
    ],
)
def test_load_names_file_and_row_of_what_is_wrong(course, file, old, new, told):
    edit(course / file, old, new)
    with pytest.raises(DataError) as error:
        data.load(course)
    assert f"{course / file}" in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize("name", ["train.csv", "test_candidates.csv", "train/right", "test/left"])
def test_load_names_a_missing_file_or_folder(course, name):
    (course / name).rename(course / "elsewhere")
    with pytest.raises(DataError, match=f"{name}: no such"):
        data.load(course)


def test_load_refuses_a_folder_named_jpg(course):
    (course / "train/left/a00.jpg").unlink()
    (course / "train/left/a00.jpg").mkdir()
    with pytest.raises(DataError, match=r"a00\.jpg: a folder"):
        data.load(course)


def test_load_refuses_two_files_for_one_id(course, picture):
    picture(0).save(course / "train/left/a00.png")
    with pytest.raises(DataError, match=r"a00\.(png|jpg) and a00"):
        data.load(course)


@pytest.mark.parametrize("content", [b"", b"left,right\n", b"\xff\xfe\x00", b"PK\x03\x04\x00"])
def test_load_refuses_a_csv_that_is_none(course, content):
    (course / "train.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.csv"):
        data.load(course)


def test_load_needs_twenty_pairs(course):
    path = course / "train.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:20]))
    with pytest.raises(DataError, match="at least 20 pairs. Received: 19"):
        data.load(course)
