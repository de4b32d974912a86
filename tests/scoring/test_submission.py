"""Submissions: round trip, and every way to get one wrong."""

import numpy as np
import pandas as pd
import pytest

from tll_utils.errors import SubmissionError, TllError
from tll_utils.scoring import submission

CANDIDATES = pd.DataFrame({"left": ["aaa", "aab"], "c0": ["x", "y"], "c1": ["y", "z"]})
SCORES = np.array([[0.25, -1.5], [1e-9, 3.0]])
GOOD = "left,c0,c1\naaa,0.25,-1.5\naab,1e-09,3\n"


def test_write_then_read_gives_the_scores_back(tmp_path):
    path = submission.write(tmp_path / "new" / "system.csv", CANDIDATES, SCORES)
    assert path.read_text() == GOOD
    np.testing.assert_array_equal(submission.read(path, CANDIDATES), SCORES)
    assert [p.name for p in path.parent.iterdir()] == ["system.csv"]


def test_write_keeps_float32_neighbours_apart(tmp_path):
    scores = np.array([[0.5, np.nextafter(np.float32(0.5), np.float32(1))]] * 2, np.float32)
    read = submission.read(submission.write(tmp_path / "s.csv", CANDIDATES, scores), CANDIDATES)
    assert (read[:, 0] < read[:, 1]).all()


def test_write_leaves_the_old_file_when_refused(tmp_path):
    path = submission.write(tmp_path / "s.csv", CANDIDATES, SCORES)
    with pytest.raises(SubmissionError, match=r"row 2 \(aab\), c0"):
        submission.write(path, CANDIDATES, np.array([[1, 2], [np.nan, 3]]))
    with pytest.raises(SubmissionError, match=r"\(2, 2\). Received: \(2, 3\)"):
        submission.write(path, CANDIDATES, np.zeros((2, 3)))
    assert path.read_text() == GOOD


def test_write_names_a_folder_it_cannot_use(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TllError, match="cannot be written"):
        submission.write(tmp_path / "file" / "s.csv", CANDIDATES, SCORES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("left,c0\naaa,1\n", "the columns left,c0,c1. Missing: c1. Received: left,c0"),
        ("left,c0,c1\naaa,1,2\n", "expected 2 rows; the first one missing is 'aab'.*1 rows"),
        (GOOD + "aac,1,2\n", "row 4: one row too many; expected 2"),
        ("left,c0,c1\naab,1,2\naaa,1,2\n", "row 2: expected 'aaa'.*out of its place"),
        ("left,c0,c1\nzzz,1,2\naab,1,2\n", "row 2: expected 'aaa'.*not a query.*the data set"),
        ("left,c0,c1\naaa,1\naab,1,2\n", r"row 2 \(aaa\): expected 3 fields.*2 fields"),
        ("left,c0,c1\naaa,1,nan\naab,1,2\n", r"row 2 \(aaa\), c1: expected a finite.*'nan'"),
        ("left,c0,c1\naaa,1,inf\naab,1,2\n", "finite number. Received: 'inf'"),
        ("left,c0,c1\naaa,1,\naab,1,2\n", "finite number. Received: ''"),
        ("left,c0,c1\naaa,1,high\naab,1,2\n", "finite number. Received: 'high'"),
    ],
)
def test_read_refuses(tmp_path, text, message):
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(SubmissionError, match=rf"s\.csv.*{message}"):
        submission.read(path, CANDIDATES)


def test_read_refuses_what_is_no_csv(tmp_path):
    path = tmp_path / "s.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SubmissionError, match="UTF-8"):
        submission.read(path, CANDIDATES)
    with pytest.raises(SubmissionError, match="no such file"):
        submission.read(tmp_path / "missing.csv", CANDIDATES)
