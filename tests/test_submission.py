"""Submissions: round trip, and every way to get one wrong."""

import numpy as np
import pandas as pd
import pytest

from tll_utils import submission
from tll_utils.submission import SubmissionError

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
    with pytest.raises(SubmissionError, match="cannot be written"):
        submission.write(tmp_path / "file" / "s.csv", CANDIDATES, SCORES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("left,c0\naaa,1\n", r"header left,c0,c1. Received: left,c0"),
        ("left,c0,c1\naaa,1,2\n", "expected 2 rows. Received: 1; the first one missing is 'aab'"),
        (GOOD + "aac,1,2\n", "line 4 is one too many"),
        ("left,c0,c1\naab,1,2\naaa,1,2\n", "line 2: expected 'aaa'.*out of its place"),
        ("left,c0,c1\nzzz,1,2\naab,1,2\n", "line 2: expected 'aaa'.*not a query"),
        ("left,c0,c1\naaa,1\naab,1,2\n", r"line 2 \(aaa\): expected 2 scores. Received: 1"),
        ("left,c0,c1\naaa,1,nan\naab,1,2\n", r"line 2 \(aaa\), c1: expected a finite.*'nan'"),
        ("left,c0,c1\naaa,1,inf\naab,1,2\n", "finite number. Received: 'inf'"),
        ("left,c0,c1\naaa,1,\naab,1,2\n", "finite number. Received: ''"),
        ("left,c0,c1\naaa,1,high\naab,1,2\n", "finite number. Received: 'high'"),
        ("left,c0,c1\n\naab,1,2\n", "line 2: expected 'aaa'.*an empty line"),
    ],
)
def test_read_refuses(tmp_path, text, message):
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(SubmissionError, match=rf"s\.csv: .*{message}"):
        submission.read(path, CANDIDATES)


def test_read_refuses_what_is_no_csv(tmp_path):
    path = tmp_path / "s.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SubmissionError, match="UTF-8"):
        submission.read(path, CANDIDATES)
    with pytest.raises(SubmissionError, match="cannot be read"):
        submission.read(tmp_path / "missing.csv", CANDIDATES)


def test_read_truth_finds_the_place(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("left,right\naab,z\naaa,x\n")
    np.testing.assert_array_equal(submission.read_truth(path, CANDIDATES), [0, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("left,right\naaa,x\n", "'aab' has no row"),
        ("left,right\naaa,x\naab,x\n", "must be one of its candidates. Received: 'x'"),
        ("left,right\naaa,x\naaa,y\n", "line 3: 'aaa' stands twice"),
        ("left,right\naaa\n", "line 2: expected left,right"),
        ("query,match\naaa,x\n", "header left,right"),
    ],
)
def test_read_truth_refuses(tmp_path, text, message):
    path = tmp_path / "truth.csv"
    path.write_text(text)
    with pytest.raises(SubmissionError, match=message):
        submission.read_truth(path, CANDIDATES)
