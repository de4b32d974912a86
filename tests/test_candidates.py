"""Candidate draws, the closed-form start, and a head's training on features, end to end."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tll_utils import adaption, candidates, distribute, losses, scoring
from tll_utils.features import Views
from tll_utils.models import dual

NUM_PAIRS, DIMS = 60, (12, 9)


@pytest.fixture
def views():
    """Features in which a pair shares a code, under noise that is strong in some directions."""
    rng = np.random.default_rng(0)
    code = rng.normal(size=(NUM_PAIRS, 5))
    mix = rng.normal(size=(5, sum(DIMS)))
    loud = rng.normal(size=(3, sum(DIMS)))

    def side():
        noise = 2 * rng.normal(size=(NUM_PAIRS, 3)) @ loud
        return (code @ mix + noise).astype(np.float32)

    left, right = side(), side()
    return Views(left, right, left[:4], right[:4])


def test_join_views_lays_backbones_side_by_side_and_averages_versions():
    def version(value, width):
        return Views(*(np.full((2, width), value, np.float32) for _ in range(4)))

    parts = {
        "a": [{"x/avg": version(1, 2), "y/avg": version(2, 1)}],
        "b": [{"z/avg": version(4, 3)}, {"z/avg": version(8, 3)}],
    }
    views, dims = candidates.join_views(parts)
    assert dims == [3, 3]
    for array in views:
        assert array.tolist() == [[1, 1, 2, 6, 6, 6]] * 2


def test_start_from_pairs_beats_the_raw_cosine_and_freezes_the_projections(views):
    head = dual.feature_head(DIMS, units=8, seed=0)
    candidates.start_from_pairs(head, views.left, views.right)
    embeddings = [candidates.embed(head, side) for side in (views.left, views.right)]
    raw = adaption.expected_top_k(views.left, views.right)
    assert adaption.expected_top_k(*embeddings) > raw + 0.1
    trained = {weight.path.split("/")[-2] for weight in head.trainable_weights}
    assert trained == {"mix"}


def test_start_from_pairs_turns_the_second_projection_towards_the_first(views):
    # Both backbones see the same features: after the turn their projections are the same, and
    # the average says what each of them says.
    twice = np.concatenate([views.left[:, :9]] * 2, 1), np.concatenate([views.right[:, :9]] * 2, 1)
    head = dual.feature_head((9, 9), join="average", units=6, seed=0)
    candidates.start_from_pairs(head, *twice)
    first, second = (head.get_layer(f"projection_{i}").output for i in range(2))
    projections = keras.Model(head.input, [first, second])(twice[0])
    np.testing.assert_allclose(*projections, atol=1e-4)


def test_start_from_pairs_survives_fewer_pairs_than_units_and_constant_features():
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 3, 21)).astype(np.float32)
    left[:, 4] = right[:, 4] = 7
    head = dual.feature_head(DIMS, units=16, seed=0)
    candidates.start_from_pairs(head, left, right)
    assert np.isfinite(candidates.embed(head, left)).all()


@pytest.mark.parametrize("num_candidates", [None, 5])
def test_draw_rows_offers_training_rights_only_and_marks_the_match(num_candidates):
    pairs, groups = np.arange(10, 30), np.arange(40)
    groups[11] = groups[10]
    options = {"num_candidates": num_candidates, "batch_size": 4, "seed": 1}
    query, offered, place = candidates.draw_rows(pairs, groups, epoch=0, **options)
    assert sorted(query) == pairs.tolist() and set(offered.ravel()) <= set(pairs)
    if num_candidates is None:
        # The match of row i of a replica's batch is the batch's own right i.
        assert offered.tolist() == query.tolist() and place.tolist() == [0, 1, 2, 3] * 5
    else:
        assert offered[np.arange(20), place].tolist() == query.tolist()
        assert not np.isin(offered[query == 10], 11).any()


def test_draw_rows_is_fresh_each_epoch_and_the_same_for_a_seed():
    options = {"num_candidates": 5, "batch_size": 4, "seed": 1}
    draws = [
        candidates.draw_rows(np.arange(20), np.arange(20), epoch=epoch, **options)
        for epoch in (0, 0, 1)
    ]
    assert all(np.array_equal(a, b) for a, b in zip(draws[0], draws[1], strict=True))
    by_query = [offered[np.argsort(query)] for query, offered, _ in draws]
    assert (np.sort(by_query[0]) != np.sort(by_query[2])).any(axis=1).mean() > 0.9


@pytest.mark.parametrize("num_candidates", [None, 6])
def test_head_training_keeps_model_and_log_and_scores(views, tmp_path, num_candidates):
    machine = distribute.Machine(tf.distribute.get_strategy())
    training = candidates.HeadTraining(
        "toy", views, DIMS, np.arange(NUM_PAIRS), tmp_path, tmp_path, machine, seed=0,
        units=8, epochs=3, batch_size=16, num_candidates=num_candidates,
        loss=losses.CandidateSoftmaxLoss(temperature=0.1),
    )  # fmt: skip
    train = np.arange(45)
    scorer = training(train, 0)
    lists, place = scoring.draw_candidates(np.zeros(NUM_PAIRS, int), m=6, seed=0)
    scores = scorer(views.left, views.right, lists)
    assert scores.min() >= 0 and scores.max() <= 1
    assert scoring.top_k_accuracy(scores[45:], place[45:]) > 0.5  # chance 1/3

    loaded = keras.saving.load_model(tmp_path / "toy_fold0.keras")
    np.testing.assert_allclose(
        candidates.scorer_of(loaded)(views.left, views.right, lists), scores, atol=1e-6
    )
    lines = (tmp_path / "toy_fold0.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,val_top_2_accuracy" and len(lines) == 4
    assert [record["epoch"] for record in training.histories[0]] == [1, 2, 3]
    best = max(training.histories[0], key=lambda record: record["val_top_2_accuracy"])
    assert training.best_epochs[0] == best["epoch"]
