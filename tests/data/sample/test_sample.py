"""The sample data set: its layout, its determinism, and that pairs do look alike."""

import hashlib
import json

import cv2
import numpy as np
import pandas as pd
import pytest

from tll_utils import scoring
from tll_utils.data import sample
from tll_utils.errors import DataError
from tll_utils.features import descriptors


def read_bytes(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample") / "set"
    return sample.draw(root, num_pairs=12, num_queries=8, seed=3, progress=False)


def test_draw_writes_the_course_layout(drawn):
    pairs = pd.read_csv(drawn / "train.csv", dtype=str)
    truth = pd.read_csv(drawn / "test_truth.csv", dtype=str)
    candidates = pd.read_csv(drawn / "test_candidates.csv", dtype=str)
    assert list(pairs.columns) == list(truth.columns) == ["left", "right"]
    assert list(candidates.columns) == ["left", *(f"c{i}" for i in range(8))]
    assert (len(pairs), len(truth), len(candidates)) == (12, 8, 8)
    for split, table in (("train", pairs), ("test", truth)):
        for side in ("left", "right"):
            files = {path.stem for path in (drawn / split / side).iterdir()}
            assert files == set(table[side])
    ids = np.concatenate([pairs.to_numpy().ravel(), truth.to_numpy().ravel()])
    assert len(set(ids)) == 40
    assert all(len(name) == 3 and name.isalpha() and name.islower() for name in ids)


def test_draw_writes_200_by_245_rgb_jpegs(drawn):
    for path in drawn.rglob("*.jpg"):
        assert path.read_bytes()[:3] == b"\xff\xd8\xff"
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == (245, 200, 3)


def test_candidate_rows_hold_the_match_once_and_no_other_twice(drawn):
    truth = pd.read_csv(drawn / "test_truth.csv", dtype=str)
    candidates = pd.read_csv(drawn / "test_candidates.csv", dtype=str)
    assert list(candidates["left"]) == list(truth["left"])
    for row, match in zip(candidates.to_numpy()[:, 1:], truth["right"], strict=True):
        assert (row == match).sum() == 1
        assert len(set(row)) == len(row)


def test_candidate_places_of_the_match_vary():
    left = np.array([f"l{i}" for i in range(200)], dtype=object)
    right = np.array([f"r{i}" for i in range(200)], dtype=object)
    table = sample._draw_candidates(left, right, np.random.default_rng(0))
    assert table.shape == (200, 21)
    places = (table.to_numpy()[:, 1:] == right[:, None]).argmax(axis=1)
    assert np.bincount(places, minlength=20).max() < 30  # 10 expected in each of 20 places


def test_kinds_cover_every_left_evenly(drawn):
    kinds = sample.kinds(drawn)
    lefts = {path.stem for path in drawn.rglob("left/*.jpg")}
    assert set(kinds) == lefts
    counts = pd.Series(kinds).value_counts()
    assert set(counts.index) == set(sample.KINDS)
    assert counts.max() - counts.min() <= 2


def test_draw_repeats_byte_for_byte(drawn, tmp_path):
    again = sample.draw(tmp_path / "set", num_pairs=12, num_queries=8, seed=3, progress=False)
    assert read_bytes(again) == read_bytes(drawn)


def test_draw_changes_with_the_seed(drawn, tmp_path):
    other = sample.draw(tmp_path / "set", num_pairs=12, num_queries=8, seed=4, progress=False)
    assert not set(read_bytes(other).values()) & set(read_bytes(drawn).values())


def test_draw_replaces_an_older_sample_set(drawn, tmp_path):
    root = tmp_path / "set"
    sample.draw(root, num_pairs=2, num_queries=2, seed=9, progress=False)
    sample.draw(root, num_pairs=3, num_queries=2, seed=9, progress=False)
    assert len(list((root / "train" / "left").iterdir())) == 3
    assert json.loads((root / sample.MARKER).read_text())["num_pairs"] == 3
    assert list(tmp_path.iterdir()) == [root]  # nothing half-done is left beside it


def test_draw_fills_an_empty_folder(tmp_path):
    sample.draw(tmp_path, num_pairs=2, num_queries=2, progress=False)
    assert (tmp_path / "train.csv").exists()


@pytest.mark.parametrize("name", ["notes.txt", "train.csv"])
def test_draw_leaves_a_foreign_folder_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(DataError, match=name):
        sample.draw(tmp_path, num_pairs=2, num_queries=2, progress=False)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_draw_leaves_a_sample_set_with_foreign_files_alone(tmp_path):
    root = sample.draw(tmp_path / "set", num_pairs=2, num_queries=2, progress=False)
    (root / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"thesis\.txt"):
        sample.draw(root, num_pairs=2, num_queries=2, progress=False)
    assert (root / "thesis.txt").exists()


def test_draw_leaves_nothing_behind_when_it_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "_encode", lambda picture: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sample.draw(tmp_path / "set", num_pairs=2, num_queries=2, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [{"num_pairs": 1}, {"num_queries": 1}, {"seed": -1}])
def test_draw_refuses_bad_counts(tmp_path, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        sample.draw(tmp_path / "set", progress=False, **bad)
    assert not list(tmp_path.iterdir())


def test_ids_grow_longer_when_three_letters_do_not_suffice():
    ids = sample._draw_ids(10_000, np.random.default_rng(0))
    assert len(set(ids)) == 10_000
    assert {len(name) for name in ids} == {4}


@pytest.mark.parametrize("kind", sample.KINDS)
def test_draw_pair_is_a_function_of_kind_and_seed(kind):
    left, right = sample.draw_pair(kind, seed=(5, 1))
    for picture in (left, right):
        assert picture.shape == (245, 200, 3) and picture.dtype == np.uint8
        assert picture.std() > 15  # there is something to see
    np.testing.assert_array_equal(left, sample.draw_pair(kind, seed=(5, 1))[0])
    assert (left != sample.draw_pair(kind, seed=(5, 2))[0]).mean() > 0.3


def test_draw_pair_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match="smell"):
        sample.draw_pair("smell", seed=0)


def top_2(kind, describe):
    """Share of 30 pairs of a kind whose right is among the two nearest of all 30 rights."""
    pairs = [sample.draw_pair(kind, seed=(7, i)) for i in range(30)]
    left, right = (describe(np.stack(side), progress=False) for side in zip(*pairs, strict=True))
    scores = scoring.cosine_scores(left, right, np.tile(np.arange(30), (30, 1)))
    return scoring.top_k_accuracy(scores, np.arange(30))


def test_colour_alone_finds_colour_pairs_only():
    assert top_2("colour", descriptors.color_histogram) > 0.8
    assert top_2("texture", descriptors.color_histogram) < 0.4


def test_ensure_draws_once_and_then_leaves_the_set_alone(tmp_path, monkeypatch):
    calls = []
    real = sample.draw

    def draw(root, **sizes):
        calls.append((root, sizes))
        return real(root, **sizes)

    monkeypatch.setattr(sample, "draw", draw)
    sizes = {"num_pairs": 3, "num_queries": 2}
    for _ in range(2):
        assert sample.ensure(tmp_path / "set", **sizes) == tmp_path / "set"
    assert calls == [(tmp_path / "set", sizes)]


def test_ensure_redraws_what_an_older_version_drew(tmp_path, monkeypatch):
    root = sample.draw(tmp_path / "set", num_pairs=3, num_queries=2, progress=False)
    marker = json.loads((root / sample.MARKER).read_text())
    (root / sample.MARKER).write_text(json.dumps({**marker, "version": 0}))
    monkeypatch.setattr(sample, "draw", lambda *_, **__: pytest.fail("drawn again"))
    with pytest.raises(pytest.fail.Exception, match="drawn again"):
        sample.ensure(root)
