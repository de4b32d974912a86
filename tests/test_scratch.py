"""Every head trains on pictures whose match is easy, and scores beat chance."""

import numpy as np
import pytest

from tll_utils import images, losses, scoring, scratch
from tll_utils.models import siamese

NET = {"blocks": ((4, 3, 2),), "embedding_dim": 8}


@pytest.fixture(scope="module")
def pictures():
    """32 plain pictures and their matches: the same colour, a little noise."""
    rng = np.random.default_rng(0)
    colors = rng.uniform(40, 215, (32, 1, 1, 3))
    noisy = [colors + rng.normal(0, 8, (32, 8, 8, 3)) for _ in range(2)]
    return [np.clip(side, 0, 255).astype(np.uint8) for side in noisy]


@pytest.mark.parametrize(
    "head, loss, options",
    [
        ("classifier", "binary_crossentropy", {}),
        ("distance", losses.ContrastiveLoss(), {"mined_epochs": 2}),
        ("triplet", losses.TripletLoss(), {}),
        ("pair", losses.InBatchSoftmaxLoss(), {"mirror": True}),
    ],
)
def test_each_head_learns_to_match_colours(head, loss, options, pictures, tmp_path):
    left, right = pictures
    encoder = {**NET, "unit_norm": head != "classifier"}
    recipe = scratch.Recipe(
        encoder, head, loss, epochs=12, batch_size=16, learning_rate=0.01, **options
    )
    trained = scratch.fit(
        recipe, left, right, np.arange(24), groups=np.arange(32), directory=tmp_path
    )
    candidates = np.tile(np.arange(24, 32), (8, 1))
    scores = trained.scorer(left[24:], right, candidates)
    assert scoring.top_k_accuracy(scores, np.arange(8), k=2) > 0.5  # chance: 0.25
    assert len(trained.history["val_loss"]) == 12 + recipe.mined_epochs


def test_an_unknown_head_is_refused():
    with pytest.raises(ValueError, match="Received: head='hydra'"):
        scratch.Recipe(NET, "hydra", "mse")


def test_autoencoder_learns_brightness_and_feeds_a_siamese_head(pictures, tmp_path):
    left, right = (images.grayscale(side) for side in pictures)
    options = {"groups": np.arange(32), "directory": tmp_path, "epochs": 3}
    trained = scratch.fit_autoencoder(
        left, right, np.arange(24), options={"filters": (4,)}, **options
    )
    assert trained.history["loss"][-1] < trained.history["loss"][0]
    encoded = [siamese.embed(trained.encoder, side) for side in (left, right)]
    recipe = scratch.Recipe(
        {"embedding_dim": 4}, "pair", losses.InBatchSoftmaxLoss(), batch_size=8, epochs=3
    )
    del options["epochs"]
    head = scratch.fit(recipe, *encoded, np.arange(24), **options)
    scorer = scratch.on_encodings(trained.encoder, head.scorer)
    candidates = np.tile(np.arange(24, 32), (8, 1))
    expected = head.scorer(encoded[0][24:], encoded[1], candidates)
    np.testing.assert_allclose(scorer(left[24:], right, candidates), expected, atol=1e-5)
