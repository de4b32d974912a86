"""The CSV reader: lines, headers, fields."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tll_utils import data, files
from tll_utils.data import tables
from tll_utils.errors import DataError, SubmissionError


def test_read_table_keeps_the_line_of_each_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("left,right\n\na,b\n\n\nnan,\n")
    table = data.read_table(path, ["left", "right"])
    assert table.rows == [["a", "b"], ["nan", ""]]
    assert table.lines == [3, 6]
    assert table.column("left") == ["a", "nan"]
    assert table.frame()["left"].tolist() == ["a", "nan"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("left,c0,c1\na,1\n", "row 2 (a): expected 3 fields, left to c1"),
        ("left,c0,c1\na,1,2\n\nb,1,2,3\n", "row 4 (b): expected 3 fields"),
        ("left,c0\n", "row 1: expected the columns left,c0,c1. Missing: c1. Received: left,c0"),
        ("left,c1,c0\n", "row 1: expected the columns left,c0,c1. Expected c0 as column 2"),
        ("", "row 1: expected the columns left,c0,c1. Received: an empty file"),
        ('left,c0,c1\n"a', "cannot be read; expected a CSV file in UTF-8"),
    ],
)
def test_read_table_says_what_is_wrong_with_the_error_of_the_caller(tmp_path, text, told):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(SubmissionError) as error:
        data.read_table(path, ["left", "c0", "c1"], error=SubmissionError)
    assert str(error.value).startswith(f"{path}") and told in str(error.value)


def test_read_table_shows_long_headers_in_full(tmp_path):
    path = tmp_path / "a.csv"
    header = tables.candidate_columns(20)
    path.write_text(",".join(header[:-1]) + "\n")
    with pytest.raises(DataError) as error:
        data.read_table(path, header)
    assert ",".join(header) in str(error.value)
    assert "Missing: c19. Received: left,c0," in str(error.value)


def test_read_table_takes_candidate_lists_of_any_length(tmp_path):
    path = tmp_path / "a.csv"
    for m in (2, 3, 30):
        path.write_text(",".join(tables.candidate_columns(m)) + "\n")
        assert len(data.read_table(path).header) == m + 1
    for header in ("left,c0", "left", "left,c1,c2", "id,c0,c1"):
        path.write_text(header + "\n")
        with pytest.raises(DataError, match="at least two candidates"):
            data.read_table(path)


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=2)))
def test_read_table_reads_what_csv_wrote(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["left", "right"], *rows])
    assert data.read_table(path, ["left", "right"]).rows == rows


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TLL_CACHE_DIR": "/somewhere"}, "/somewhere"),
        ({"XDG_CACHE_HOME": "/caches"}, "/caches/tll_utils"),
        ({"HOME": "/home/me"}, "/home/me/.cache/tll_utils"),
    ],
)
def test_cache_dir_is_told_by_the_environment(monkeypatch, environment, expected):
    for name in ("TLL_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(files.cache_dir()) == expected
