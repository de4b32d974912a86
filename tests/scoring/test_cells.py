"""Cells that agree: the model's own arithmetic, by hand on a few pairs."""

import keras
import numpy as np

from tll_utils import scoring
from tll_utils.features import Views, fronts, transforms
from tll_utils.protocol import Scores

FOLDS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
CANDIDATES = np.array([[i, (i + 1) % 8, (i + 2) % 8] for i in range(8)])


def tap(crop=0.0):
    return fronts.Tap("network", "random", (8, 8), False, "middle/grid3", crop=crop)


def scores_of(front, encoders, left, right):
    rows = np.arange(len(FOLDS))
    oof = np.zeros(CANDIDATES.shape)
    scorers = tuple(map(scoring.cosine_of, encoders))
    return Scores(oof, lambda: oof, rows, 0.0, scorers, front, Views(left, right, None, None))


def test_agreeing_cells_are_those_of_the_whitened_parts_that_see_whole_images():
    draw = np.random.default_rng(0)
    left, right = draw.random((2, 8, 9 * 4 + 9 * 2)).astype("float32")
    encoders, first = [], []
    for fold in range(2):
        rows = np.flatnonzero(fold != FOLDS)
        first.append(transforms.whiten_cells(left[rows, :36], right[rows, :36], cells=9))
        face = transforms.whiten_cells(left[rows, 36:], right[rows, 36:], cells=9)
        inputs = keras.Input((54,))
        whole, cut = keras.ops.split(inputs, [36], axis=-1)
        joined = keras.layers.Concatenate()([first[fold](whole), face(cut)])
        encoders.append(keras.Model(inputs, joined))
    front = fronts.Joined((tap(), tap(crop=0.3)))
    scores = scores_of(front, encoders, left, right)
    why = scoring.agreeing_cells(scores, FOLDS, CANDIDATES)["why"]
    assert why.shape == (8, 3, 9 + 12) and why.dtype == np.uint8
    ours, theirs = (np.asarray(first[1](side[:, :36])).reshape(-1, 9, 4) for side in (left, right))
    a, b = scoring.unit_norm(ours[5]), scoring.unit_norm(theirs[6])  # pair 5, its candidate 1
    cosines = a @ b.T
    np.testing.assert_allclose(why[5, 1, :9], 100 * np.diag(cosines).clip(0), atol=1)
    row, column, value = why[5, 1, 9:12]
    assert cosines[row, column] == cosines.max() and abs(int(value) - 100 * cosines.max()) <= 1


def test_agreeing_cells_of_systems_that_compare_no_cells_are_none():
    left, right = np.random.default_rng(0).random((2, 8, 36)).astype("float32")
    dense = keras.Sequential([keras.Input((36,)), keras.layers.Dense(3)])
    for front, encoders in ((tap(), [dense, dense]), (None, [dense, dense]), (tap(), [])):
        scores = scores_of(front, encoders, left, right)
        assert scoring.agreeing_cells(scores, FOLDS, CANDIDATES) == {}


def test_best_pairs_take_each_cell_once():
    cosines = np.array([[0.9, 0.8, 0.0], [0.7, 0.1, 0.2], [0.0, 0.6, 0.3]])
    expected = [[0, 0], [2, 1], [1, 2]]
    assert scoring.best_pairs(cosines, 3).tolist() == expected
    assert scoring.best_pairs(np.stack([cosines, cosines.T]), 2).tolist() == [
        [[0, 0], [2, 1]], [[0, 0], [1, 2]],
    ]  # fmt: skip
