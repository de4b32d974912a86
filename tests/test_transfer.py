import numpy as np
import pytest

from tll_utils import adaption, data, images, scoring, transfer
from tll_utils.features import Views
from tll_utils.models import heads, siamese


@pytest.fixture(scope="module")
def views():
    """60 pairs that share 4 of 10 features; the others are different and louder."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(60, 4))
    sides = [np.hstack([shared, 3 * rng.normal(size=(60, 6))]).astype("float32") for _ in "lr"]
    return Views(*sides, *sides)


def head(views, train=None):
    return heads.adaption_head(10, embedding_dim=6, dropout=0.0)


def cosine_of_pairs(model, views, rows):
    embeddings = [siamese.embed(model, side[rows]) for side in (views.left, views.right)]
    return (embeddings[0] * embeddings[1]).sum(axis=1).mean()


@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
def test_fine_tune_learns_what_pairs_share(views, loss):
    recipe = transfer.Recipe(loss, epochs=15, batch_size=16, learning_rate=0.02)
    model, groups = head(views), np.arange(60)
    before = adaption.expected_top_k(*(siamese.embed(model, side) for side in views[:2]))
    history = transfer.fine_tune(
        model, views.left, views.right, np.arange(40), recipe, groups=groups
    )
    unseen = [siamese.embed(model, side[40:]) for side in views[:2]]
    assert len(history["loss"]) == len(history["val_loss"]) == 15
    assert history["val_loss"][-1] < history["val_loss"][0]
    assert adaption.expected_top_k(*unseen, m=10) > before + 0.1


def test_fine_tune_is_reproducible(views):
    recipe = transfer.Recipe("triplet", epochs=2, batch_size=16)
    runs = []
    for _ in range(2):
        model = head(views)
        transfer.fine_tune(
            model, views.left, views.right, np.arange(60), recipe, groups=np.arange(60), seed=5
        )
        runs.append(siamese.embed(model, views.left))
    np.testing.assert_allclose(*runs, atol=1e-6)


def test_fine_tune_uses_the_mirrored_features_of_training_pairs_only(views):
    recipe = transfer.Recipe("contrastive", epochs=1, batch_size=60)
    train = np.arange(40)
    mirrored = [np.full_like(side, np.nan) for side in views[:2]]
    for side in mirrored:
        side[train] = 1.0  # pairs outside the training side are NaN: touching one shows
    history = transfer.fine_tune(
        head(views), views.left, views.right, train, recipe,
        groups=np.arange(60), mirrored=mirrored,
    )  # fmt: skip
    assert np.isfinite(history["loss"]).all() and np.isfinite(history["val_loss"]).all()


def test_recipe_refuses_an_unknown_loss():
    with pytest.raises(ValueError, match="cosine"):
        transfer.Recipe("cosine")


def test_hardest_by_similarity_finds_the_best_wrong_right():
    # A network that was never trained, read out in full: the mined right must be its maximum.
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(2, 12, 5)).astype("float32")
    groups = np.array([0, 0, *range(1, 11)])
    network = heads.similarity_network(5, units=(8, 4))
    mined = transfer.hardest_by_similarity(network, left, right, groups=groups)
    everyone = np.tile(np.arange(12), (12, 1))
    scores = heads.similarity_scores(network, left, right, everyone)
    scores[groups[:, None] == groups] = -1
    # All rights outside the group may be drawn, but only as many as the poorest left has: 10.
    assert mined.shape == (12, 10)
    np.testing.assert_array_equal(mined[:2], np.argsort(-scores[:2])[:, :10])
    assert not (groups[mined] == groups[:, None]).any()


@pytest.mark.parametrize("hard", [False, True])
def test_fit_similarity_puts_matches_above_others(views, hard):
    left, right = views.left[:, :4], views.right[:, :4]
    network = transfer.fit_similarity(
        left, right, groups=np.arange(60), hard=hard, epochs=10, batch_size=16, learning_rate=0.01
    )
    candidates, place = scoring.draw_candidates(np.zeros(60, int), m=5, seed=0)
    scores = heads.similarity_scores(network, left, right, candidates)
    assert scoring.top_k_accuracy(scores, place) > 0.8


def test_per_fold_hands_its_models_on_to_the_similarity_network(views):
    models, histories, made = {}, {}, []
    recipe = transfer.Recipe(epochs=1)
    groups = np.arange(60)

    def make(train):
        made.append(len(train))
        return head(views)

    fit = transfer.per_fold(views, make, recipe, models=models, histories=histories, groups=groups)
    candidates = np.array([[0, 1, 2]])
    scores = fit(np.arange(30), 1)(views.left[:1], views.right, candidates)
    expected = transfer.embedding_scorer(models[1])(views.left[:1], views.right, candidates)
    assert list(models) == list(histories) == [1] and made == [30]
    np.testing.assert_allclose(scores, expected)

    fit = transfer.similarity_per_fold(views, models, groups=groups, epochs=1)
    scores = fit(np.arange(30), 1)(views.left[:1], views.right, candidates)
    assert scores.shape == (1, 3) and ((scores > 0) & (scores < 1)).all()


# -- one road for images and stored features ------------------------------------------------------


def test_images_and_stored_features_go_the_same_road(small_dataset, tmp_path):
    size, train, by_road = (64, 64), np.arange(12), {}
    parts = small_dataset.left_paths, small_dataset.right_paths, small_dataset.query_paths
    # A random network makes much of the rounding to bytes; so here the pixels stay floats.
    pixels = [np.stack([images.decode(str(path), size=size) for path in part]) for part in parts]
    for road, store_dir in {"images": None, "features": tmp_path}.items():
        source = transfer.Source("mobilenet", "random", store_dir, size=size)
        views = source.views(small_dataset, progress=False) if store_dir else Views(*pixels, None)
        model = source.embedding_model(views, train, embedding_dim=8, dropout=0.0)
        recipe = transfer.Recipe("triplet", epochs=1, batch_size=4)
        transfer.fine_tune(model, views.left, views.right, train, recipe, groups=np.arange(24))
        by_road[road] = siamese.embed(model, views.query, batch_size=32)
    assert views.left.ndim == 2
    np.testing.assert_allclose(by_road["images"], by_road["features"], atol=1e-2)


def test_source_resizes_images_as_the_store_does(small_dataset):
    size = (32, 32)
    views = transfer.Source("mobilenet", "random", size=size).views(small_dataset, progress=False)
    pixels = [images.decode(str(path), size=size) for path in small_dataset.left_paths]
    assert views.left.dtype == np.uint8
    assert np.abs(views.left - np.stack(pixels)).max() <= 0.501


def test_source_mirrors_images(small_dataset):
    source = transfer.Source("mobilenet", "random", size=(32, 32))
    plain, mirrored = (source.views(small_dataset, flip=f, progress=False) for f in (False, True))
    assert np.array_equal(plain.left[:, :, ::-1], mirrored.left)


def test_source_takes_the_stages_of_a_resnet_from_the_registry():
    source = transfer.Source("resnet50", "random")
    assert [stage[:5] for stage in source.stages] == ["conv2", "conv3", "conv4", "conv5"]
    assert source.last_stage == "conv5"


@pytest.fixture
def small_dataset(sample_dir):
    return data.load(sample_dir)
