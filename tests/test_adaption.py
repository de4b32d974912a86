import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tll_utils import adaption, scoring
from tll_utils.features import Views


def pairs_with_a_nuisance(num_pairs=120, dim=12, strength=8.0, seed=0):
    """Pairs that share 4 features; the other features differ within a pair, loudly."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(num_pairs, 4))
    sides = [
        np.hstack([shared + 0.1 * rng.normal(size=shared.shape), noise * strength])
        for noise in rng.normal(size=(2, num_pairs, dim - 4))
    ]
    mixing = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    return [(side @ mixing).astype(np.float32) for side in sides]


def test_power_keeps_the_sign_and_tames_large_values():
    assert np.allclose(adaption.power(np.array([-4.0, 0.0, 9.0])), [-2, 0, 3])
    assert np.allclose(adaption.power(np.array([-8.0, 27.0]), 1 / 3), [-2, 3])


def test_join_gives_each_block_the_same_length():
    joined = adaption.join([np.array([[3.0, 4.0]]), np.array([[0.0, 200.0]])])
    assert np.allclose(joined, [[0.6, 0.8, 0.0, 1.0]])


def test_standardiser_matches_hand_arithmetic():
    # Column 0 over both sides: 1, 3, 5, 7 → mean 4, deviation √5; column 1 is constant.
    left, right = np.array([[1.0, 2.0], [3.0, 2.0]]), np.array([[5.0, 2.0], [7.0, 2.0]])
    transform = adaption.standardiser(left, right)
    assert np.allclose(transform(left), [[-3 / 5**0.5, 0], [-1 / 5**0.5, 0]])


@given(hnp.arrays(np.float32, (2, 7, 5), elements=st.floats(-100, 100, width=32)))
def test_standardiser_makes_finite_features_of_any(sides):
    transform = adaption.standardiser(*sides)
    assert np.isfinite(transform(sides[0])).all()


@pytest.mark.parametrize("num_pairs", [3, 40])
def test_principal_components_keep_all_distances_of_a_flat_cloud(num_pairs):
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(2, num_pairs, 2)) @ rng.normal(size=(2, 9))
    transform = adaption.principal_components(*flat, dim=2)
    left, right = transform(flat[0]), transform(flat[1])
    before = np.linalg.norm(flat[0] - flat[1], axis=1)
    assert left.shape == (num_pairs, 2)
    assert np.allclose(np.linalg.norm(left - right, axis=1), before, atol=1e-4)


def test_within_pair_whitening_matches_hand_arithmetic():
    # Differences (2, 0) and (0, 1): covariance diag(2, ½), mean eigenvalue 5/4.
    left = np.array([[2.0, 0.0], [0.0, 1.0]])
    transform = adaption.within_pair_whitening(left, np.zeros((2, 2)), shrinkage=0.5)
    gains = [(0.5 * 2 + 0.5 * 1.25) ** -0.5, (0.5 * 0.5 + 0.5 * 1.25) ** -0.5]
    assert np.allclose(transform.mean, [0.5, 0.25])
    assert np.allclose(transform(np.array([[1.5, 1.25]])), [gains], atol=1e-6)


def test_within_pair_whitening_equals_the_matrix_formula_with_fewer_pairs_than_features():
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 5, 9))
    covariance = (left - right).T @ (left - right) / 5
    shrunk = 0.7 * covariance + 0.3 * np.trace(covariance) / 9 * np.eye(9)
    values, vectors = np.linalg.eigh(shrunk)
    expected = (left - (left.mean(0) + right.mean(0)) / 2) @ (vectors / values**0.5) @ vectors.T
    transform = adaption.within_pair_whitening(left, right, shrinkage=0.3)
    assert np.allclose(transform(left), expected, atol=1e-4)


def test_within_pair_whitening_gives_differences_unit_covariance():
    left, right = pairs_with_a_nuisance(num_pairs=400)
    transform = adaption.within_pair_whitening(left, right, shrinkage=1e-6)
    difference = transform(left) - transform(right)
    assert np.allclose(difference.T @ difference / len(left), np.eye(12), atol=0.02)


def test_within_pair_whitening_with_full_shrinkage_keeps_the_cosines():
    left, right = pairs_with_a_nuisance()
    left, right = left - (left + right).mean(0) / 2, right - (left + right).mean(0) / 2
    transform = adaption.within_pair_whitening(left, right, shrinkage=1.0)
    everyone = np.tile(np.arange(len(right)), (len(left), 1))
    before = scoring.cosine_scores(left, right, everyone)
    after = scoring.cosine_scores(transform(left), transform(right), everyone)
    assert np.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize("shrinkage", [0, -0.1, 1.1])
def test_within_pair_whitening_refuses_a_shrinkage_outside(shrinkage):
    with pytest.raises(ValueError, match=f"shrinkage={shrinkage}"):
        adaption.within_pair_whitening(np.eye(2), np.eye(2), shrinkage=shrinkage)


def test_adaption_finds_matches_of_pairs_it_never_saw():
    left, right = pairs_with_a_nuisance(num_pairs=240)
    train, valid = slice(0, 160), slice(160, None)
    plain = adaption.expected_top_k(left[valid], right[valid])
    settings = adaption.HeadSettings(8, dropout=0.0, temperature=0.1, learning_rate=0.02)
    fitted = {
        "closed form": adaption.within_pair_whitening(left[train], right[train], shrinkage=0.01),
        "head": adaption.trained_head(left[train], right[train], settings, dim=12),
    }
    for name, transform in fitted.items():
        top_2 = adaption.expected_top_k(transform(left[valid]), transform(right[valid]))
        assert top_2 > plain + 0.3, name


def test_train_head_is_reproducible_and_lowers_the_loss():
    left, right = pairs_with_a_nuisance()
    settings = adaption.HeadSettings(embedding_dim=4, epochs=3, batch_size=40)
    first, history = adaption.train_head(left, right, settings, validation=(left, right), seed=3)
    second, _ = adaption.train_head(left, right, settings, seed=3)
    assert np.allclose(first(left), second(left), atol=1e-5)
    assert history.history["val_loss"][-1] < history.history["val_loss"][0]


def test_expected_top_k_is_what_drawn_lists_reach_on_average():
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(60, 6))
    gallery = queries + rng.normal(size=(60, 6))
    drawn = []
    for seed in range(60):
        candidates, place = scoring.draw_candidates(np.zeros(60, int), m=10, seed=seed)
        drawn.append(
            scoring.top_k_accuracy(scoring.cosine_scores(queries, gallery, candidates), place)
        )
    expected = adaption.expected_top_k(queries, gallery, m=10)
    assert abs(expected - np.mean(drawn)) < 0.02


def test_expected_top_k_of_a_constant_is_zero_and_of_a_perfect_scorer_one():
    assert adaption.expected_top_k(np.ones((30, 3)), np.ones((30, 3))) == 0
    assert adaption.expected_top_k(np.eye(30), np.eye(30)) == 1


def test_choose_finds_the_shrinkage_that_helps():
    left, right = pairs_with_a_nuisance()

    def fit(left, right, shrinkage):
        return adaption.within_pair_whitening(left, right, shrinkage=shrinkage)

    best, figures = adaption.choose([1.0, 0.01], fit, left, right)
    assert best == 0.01
    assert figures[0.01] > figures[1.0] + 0.2


def test_choose_never_shows_a_group_to_both_sides():
    left = np.arange(12.0)[:, None] + 1
    groups = np.arange(12) // 3

    def fit(train_left, train_right, option):
        seen = {int(value - 1) // 3 for value in train_left[:, 0]}
        assert len(train_left) == 3 * len(seen)
        return lambda features: np.hstack([features, np.ones_like(features)])

    adaption.choose([None], fit, left, left, groups=groups, num_folds=2)


def test_chain_applies_from_first_to_last():
    assert adaption.chain(lambda x: x + 1, lambda x: x * 10)(np.ones(1)) == 20


def test_affine_takes_a_vector_or_a_matrix():
    mean = np.ones(2, np.float32)
    features = np.array([[2.0, 3.0]])
    assert np.allclose(adaption.Affine(mean, np.array([2.0, 3.0]))(features), [[2, 6]])
    assert np.allclose(adaption.Affine(mean, np.array([[1.0], [1.0]]))(features), [[3]])


def test_a_trained_head_survives_saving(tmp_path):
    left, right = pairs_with_a_nuisance()
    settings = adaption.HeadSettings(embedding_dim=4, hidden_dim=6, epochs=1)
    head, _ = adaption.train_head(left, right, settings)
    head.save(tmp_path / "head.keras")
    reloaded = keras.models.load_model(tmp_path / "head.keras")
    assert np.allclose(head(left), reloaded(left), atol=1e-6)


def test_closed_form_standardises_before_it_whitens():
    left, right = pairs_with_a_nuisance()
    scale = np.float32([1e4] + [1.0] * 11)  # units must not matter
    plain = adaption.closed_form(left, right)(left)
    assert np.allclose(adaption.closed_form(left * scale, right * scale)(left * scale), plain,
                       atol=1e-2)  # fmt: skip


def test_cosine_of_scores_what_the_transform_returns():
    score = adaption.cosine_of(lambda features: features[:, :1])
    queries, gallery = np.array([[1.0, 9.0]]), np.array([[2.0, 0.0], [-1.0, 5.0]])
    assert np.allclose(score(queries, gallery, np.array([[0, 1]])), [[1, -1]])


def test_per_fold_fits_and_chooses_on_the_training_side_alone():
    left, right = pairs_with_a_nuisance()
    views = Views(left, right, left, right)
    train, chosen, seen = np.arange(80), [], []

    def fit(left, right, shrinkage):
        seen.append(len(left))
        return adaption.within_pair_whitening(left, right, shrinkage=shrinkage)

    fit_fold = adaption.per_fold(views, fit, options=[1.0, 0.01], chosen=chosen)
    score = fit_fold(train, 0)
    expected = adaption.within_pair_whitening(left[:80], right[:80], shrinkage=0.01)
    candidates = np.array([[0, 1, 2]])
    assert chosen == [0.01]
    assert seen == [40, 40, 40, 40, 80]
    assert np.allclose(
        score(left[:1], right, candidates),
        adaption.cosine_of(expected)(left[:1], right, candidates),
    )
