"""Closed forms against hand arithmetic and matrix formulas; each is a layer that can be saved."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import decomposition

import tll_utils as tll
from tll_utils import features, layers
from tll_utils.features import transforms


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


def cells_with_a_nuisance(n=60, *, cells=9, channels=4, noise=0.5, seed=0):
    """Pairs that share a positive pattern per cell; two loud channels are noise to each image."""
    rng = np.random.default_rng(seed)
    shared = rng.exponential(size=(n, cells, channels))
    sides = [shared + noise * rng.exponential(size=shared.shape) for _ in range(2)]
    loud = [20 * rng.exponential(size=(n, cells, 2)) for _ in range(2)]
    return [np.concatenate(both, axis=2).reshape(n, -1) for both in zip(sides, loud, strict=True)]


def cosines(left, right):
    left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right))
    return left @ right.T


def top_1(left, right):
    return (cosines(left, right).argmax(axis=1) == np.arange(len(left))).mean()


def test_standardiser_matches_hand_arithmetic():
    # Column 0 over both sides: 1, 3, 5, 7 → mean 4, deviation √5; column 1 is constant.
    left, right = np.array([[1.0, 2.0], [3.0, 2.0]]), np.array([[5.0, 2.0], [7.0, 2.0]])
    layer = transforms.standardiser(left, right)
    np.testing.assert_allclose(layer(left), [[-3 / 5**0.5, 0], [-1 / 5**0.5, 0]], rtol=1e-5)


@settings(deadline=None)
@given(hnp.arrays(np.float32, (2, 7, 5), elements=st.floats(-100, 100, width=32)))
def test_standardiser_makes_finite_features_of_any(sides):
    layer = transforms.standardiser(*sides)
    assert np.isfinite(layer(sides[0])).all()


@pytest.mark.parametrize("num_pairs", [3, 40])
def test_principal_components_keep_all_distances_of_a_flat_cloud(num_pairs):
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(2, num_pairs, 2)) @ rng.normal(size=(2, 9)) + 5
    layer = transforms.principal_components(*flat, dim=2)
    left, right = (np.asarray(layer(side)) for side in flat)
    before = np.linalg.norm(flat[0] - flat[1], axis=1)
    assert left.shape == (num_pairs, 2)
    np.testing.assert_allclose(np.linalg.norm(left - right, axis=1), before, atol=1e-3)
    np.testing.assert_allclose((left + right).mean(axis=0), 0, atol=1e-3)


def test_principal_components_are_never_more_than_there_are():
    layer = transforms.principal_components(np.eye(3), np.eye(3), dim=99)
    assert layer.units == 3
    np.testing.assert_array_equal(layer.kernel[:, 2], 0)  # three points lie in a plane


@pytest.mark.parametrize("num_pairs", [4, 200])
def test_principal_components_are_those_of_scikit_learn(num_pairs):
    left, right = np.random.default_rng(0).normal(size=(2, num_pairs, 30)) * np.arange(1, 31)
    layer = transforms.principal_components(left, right, dim=5)
    expected = decomposition.PCA(5, svd_solver="full").fit([*left, *right]).transform(left)
    found = np.asarray(layer(left))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-3 * np.abs(expected).max())
    assert np.all(np.abs(layer.kernel).max(axis=0) == np.max(layer.kernel, axis=0))


def test_within_pair_whitening_matches_hand_arithmetic():
    # Differences (2, 0) and (0, 1): covariance diag(2, ½), mean eigenvalue 5/4.
    left = np.array([[2.0, 0.0], [0.0, 1.0]])
    layer = transforms.within_pair_whitening(left, np.zeros((2, 2)), shrinkage=0.5)
    gains = [(0.5 * 2 + 0.5 * 1.25) ** -0.5, (0.5 * 0.5 + 0.5 * 1.25) ** -0.5]
    # The mean is (½, ¼).
    np.testing.assert_allclose(layer(np.array([[1.5, 1.25]])), [gains], rtol=1e-5)


@pytest.mark.parametrize(("dim", "kind"), [(9, keras.layers.Dense), (12, layers.Whitening)])
def test_within_pair_whitening_equals_the_matrix_formula_with_fewer_pairs_than_features(dim, kind):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 5, dim))
    covariance = (left - right).T @ (left - right) / 5
    shrunk = 0.7 * covariance + 0.3 * np.trace(covariance) / dim * np.eye(dim)
    values, vectors = np.linalg.eigh(shrunk)
    expected = (left - (left.mean(0) + right.mean(0)) / 2) @ (vectors / values**0.5) @ vectors.T
    layer = transforms.within_pair_whitening(left, right, shrinkage=0.3)
    assert isinstance(layer, kind) and not layer.trainable_weights
    np.testing.assert_allclose(layer(left), expected, atol=1e-4)


def test_within_pair_whitening_gives_differences_unit_covariance():
    left, right = pairs_with_a_nuisance(num_pairs=400)
    layer = transforms.within_pair_whitening(left, right, shrinkage=1e-6)
    difference = np.asarray(layer(left)) - np.asarray(layer(right))
    np.testing.assert_allclose(difference.T @ difference / len(left), np.eye(12), atol=0.02)


def test_within_pair_whitening_with_full_shrinkage_keeps_the_cosines():
    left, right = pairs_with_a_nuisance()
    left, right = left - (left + right).mean(0) / 2, right - (left + right).mean(0) / 2
    layer = transforms.within_pair_whitening(left, right, shrinkage=1.0)
    after = cosines(np.asarray(layer(left)), np.asarray(layer(right)))
    np.testing.assert_allclose(after, cosines(left, right), atol=1e-3)


def test_within_pair_whitening_of_equal_sides_is_finite():
    layer = transforms.within_pair_whitening(np.eye(3), np.eye(3))
    assert np.isfinite(layer(np.eye(3))).all()


@pytest.mark.parametrize("shrinkage", [0, -0.1, 1.1])
def test_within_pair_whitening_refuses_a_shrinkage_outside(shrinkage):
    with pytest.raises(ValueError, match=f"shrinkage={shrinkage}"):
        transforms.within_pair_whitening(np.eye(2), np.eye(2), shrinkage=shrinkage)


def test_within_pair_whitening_finds_matches_of_pairs_it_never_saw():
    left, right = pairs_with_a_nuisance(num_pairs=240)
    layer = transforms.within_pair_whitening(left[:160], right[:160], shrinkage=0.01)
    others = left[160:], right[160:]
    assert top_1(*(np.asarray(layer(side)) for side in others)) > 0.15 > 5 * top_1(*others)


def test_closed_form_standardizes_before_it_whitens():
    left, right = pairs_with_a_nuisance()
    scale = np.float32([1e4] + [1.0] * 11)  # units must not matter
    plain = features.encode(transforms.closed_form(left, right), left)
    scaled = features.encode(transforms.closed_form(left * scale, right * scale), left * scale)
    np.testing.assert_allclose(scaled, plain, atol=1e-2)


def test_whiten_cells_gives_differences_unit_variance_in_every_cell():
    left, right = cells_with_a_nuisance(n=500)
    model = transforms.whiten_cells(left, right, cells=9, shrinkage=1e-6)
    difference = features.encode(model, left) - features.encode(model, right)
    difference = difference.reshape(-1, 6)
    np.testing.assert_allclose(difference.T @ difference / len(difference), np.eye(6), atol=0.02)


def test_whiten_cells_finds_pairs_of_other_images():
    model = transforms.whiten_cells(*cells_with_a_nuisance(seed=1), cells=9)
    assert model.built and model.output_shape == (None, 54)
    others = cells_with_a_nuisance(seed=2)
    assert top_1(*(features.encode(model, side) for side in others)) > top_1(*others) + 0.3


def test_whiten_cells_refuses_features_that_are_not_so_many_cells():
    with pytest.raises(ValueError, match="cells=4, features of width 10"):
        transforms.whiten_cells(np.ones((2, 10)), np.ones((2, 10)), cells=4)


def test_chain_applies_from_first_to_last_and_is_flat():
    inner = transforms.chain(keras.layers.Rescaling(1.0, 1.0), keras.layers.Rescaling(10.0))
    outer = transforms.chain(inner, keras.layers.Rescaling(2.0))
    np.testing.assert_array_equal(features.encode(outer, np.ones((1, 1))), [[40]])
    assert len(outer.layers) == 3


def test_chain_takes_two_layers_of_one_name():
    twice = [keras.layers.Rescaling(2.0, name="double") for _ in range(2)]
    np.testing.assert_array_equal(features.encode(transforms.chain(*twice), np.ones((1, 1))), [[4]])


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_transforms_survive_saving_and_stay_exact_under_any_policy(tmp_path, policy):
    left, right = cells_with_a_nuisance()
    expected = features.encode(transforms.whiten_cells(left, right, cells=9), left)
    keras.config.set_dtype_policy(policy)
    try:
        model = transforms.whiten_cells(left, right, cells=9)
        components = transforms.principal_components(left, right, 5)
        np.testing.assert_allclose(features.encode(model, left), expected, atol=1e-5)
        chain = transforms.chain(model, components)
        before = features.encode(chain, left)
    finally:
        keras.config.set_dtype_policy("float32")
    chain.save(tmp_path / "chain.keras")
    again = tll.load_model(tmp_path / "chain.keras")
    np.testing.assert_allclose(features.encode(again, left), before, atol=1e-6)


def test_closed_forms_are_those_fitted_one_by_one():
    left, right = pairs_with_a_nuisance()
    for shrinkage, several in transforms.closed_forms(left, right, [0.3, 0.9]).items():
        one = transforms.closed_form(left, right, shrinkage)
        np.testing.assert_array_equal(several(left), one(left))
