"""Every head trains on pictures whose match is easy, and scores beat chance."""

import numpy as np
import pytest

from tll_utils import losses, scoring, scratch

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
