"""Composed models: they say what the folds' scorers say on average, in a fresh process too."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from tll_utils import scoring
from tll_utils.features import fronts

SIZE = (6, 5)
FRONT = fronts.Pixels(SIZE, gray=False, antialias=True)
KINDS = ["cosine", "distance", "network", "shared"]  # shared: all folds have one layer in common
LISTS = np.arange(4)[None, :].repeat(4, axis=0)  # each left with each right


@pytest.fixture
def images():
    """Lefts and rights of another size than the networks take."""
    return np.random.default_rng(0).uniform(0, 255, (2, 4, 12, 9, 3)).astype("float32")


def encoder(seed, name="encoder"):
    start = keras.initializers.GlorotUniform(seed=seed)
    return keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.Rescaling(1 / 255, -0.5),
            layers.Flatten(),
            layers.Dense(4, kernel_initializer=start, name="dense"),
        ],
        name=name,
    )


def similarity(seed):
    """A network of two embeddings that is not symmetric, so that a swap would show."""
    sides = {side: keras.Input((4,), name=side) for side in ("left", "right")}
    start = keras.initializers.GlorotUniform(seed=seed)
    pair = layers.Concatenate()([sides["left"], sides["right"]])
    score = layers.Dense(1, "sigmoid", kernel_initializer=start)(pair)
    return keras.Model(sides, score, name="similarity")


def scorers_of(kind, folds=3):
    shared = encoder(9)
    make = {
        "shared": lambda seed: scoring.cosine_of(
            keras.Sequential([shared, layers.Rescaling(1.0, offset=seed)])
        ),
        "cosine": lambda seed: scoring.cosine_of(encoder(seed)),
        "distance": lambda seed: scoring.distance_of(encoder(seed)),
        "network": lambda seed: scoring.similarity_of(encoder(seed), similarity(seed)),
    }[kind]
    return [make(seed) for seed in range(folds)]


def mean_scores(scorers, images):
    """What `Run.cross_validate` gives as test scores, `(4, 4)`."""
    left, right = (keras.ops.convert_to_numpy(fronts.build(FRONT)(side)) for side in images)
    return np.mean([scorer(left, right, LISTS) for scorer in scorers], axis=0)


def composed_scores(model, images):
    """The same from a composed model alone."""
    left, right = images
    if not isinstance(model.input, dict):
        embeddings = [model.predict(side, verbose=0) for side in (left, right)]
        return scoring.cosine_scores(*embeddings, LISTS)
    pairs = {"left": left.repeat(4, axis=0), "right": np.tile(right, (4, 1, 1, 1))}
    return model.predict(pairs, verbose=0).reshape(4, 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("folds", [1, 3])
def test_composed_model_scores_like_the_mean_of_the_folds(images, kind, folds):
    scorers = scorers_of(kind, folds)
    model = scoring.compose(FRONT, scorers)
    np.testing.assert_allclose(
        composed_scores(model, images), mean_scores(scorers, images), atol=1e-5
    )


def test_composed_embeddings_have_unit_norm_and_the_width_of_all_folds(images):
    embeddings = scoring.compose(FRONT, scorers_of("cosine")).predict(images[0], verbose=0)
    assert embeddings.shape == (4, 3 * 4)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["cosine", "network"])
def test_composed_model_scores_in_full_precision(images, kind):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        scorers = scorers_of(kind, 1)
        model = scoring.compose(FRONT, scorers)
    finally:
        keras.config.set_dtype_policy("float32")
    assert scorers[0].encoder.compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"
    expected = mean_scores(scorers, images)
    np.testing.assert_allclose(composed_scores(model, images), expected, atol=0.02)


def test_frozen_features_compose_without_a_scorer(images):
    front = fronts.Then(FRONT, layers.Flatten())
    model = scoring.compose(front, ())
    left, right = (fronts.build(FRONT)(side).numpy().reshape(4, -1) for side in images)
    np.testing.assert_allclose(
        composed_scores(model, images), scoring.cosine_scores(left, right, LISTS), atol=1e-5
    )


@pytest.mark.parametrize(
    ("front", "scorers"),
    [
        (None, scorers_of("cosine", 1)),
        (FRONT, [*scorers_of("cosine", 1), *scorers_of("distance", 1)]),
        (FRONT, [scoring.cosine_scores]),
    ],
    ids=["no front", "two kinds", "a function"],
)
def test_compose_refuses_what_is_no_network(front, scorers):
    assert not scoring.can_compose(front, scorers)
    with pytest.raises(ValueError, match="scorers of one kind"):
        scoring.compose(front, scorers)


FRESH_PROCESS = """
import sys
import numpy as np
import tll_utils
import keras
for kind in sys.argv[2:]:
    model = keras.saving.load_model(f"{sys.argv[1]}/{kind}.keras", safe_mode=True)
    images = np.load(f"{sys.argv[1]}/images.npy")
    left, right = images
    sides = {"left": left, "right": right} if isinstance(model.input, dict) else left
    np.save(f"{sys.argv[1]}/{kind}.npy", model.predict(sides, verbose=0))
"""


def test_saved_models_say_the_same_in_a_fresh_process(tmp_path, images):
    expected = {}
    np.save(tmp_path / "images.npy", images)
    for kind in KINDS:
        scorers = scorers_of(kind, 2)
        model = scoring.compose(FRONT, scorers)
        model.save(tmp_path / f"{kind}.keras")
        left, right = images
        sides = {"left": left, "right": right} if isinstance(model.input, dict) else left
        expected[kind] = model.predict(sides, verbose=0)
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, str(tmp_path), *KINDS], check=True)
    for kind in KINDS:
        np.testing.assert_allclose(np.load(tmp_path / f"{kind}.npy"), expected[kind], atol=1e-5)
