import keras
import numpy as np
import pytest

from tll_utils import backbones, losses
from tll_utils.models import heads, siamese


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(6, 8)).astype("float32")


def test_adaption_head_gives_unit_norm_embeddings(features):
    embeddings = np.asarray(heads.adaption_head(8, embedding_dim=5)(features))
    assert embeddings.shape == (6, 5)
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_adaption_head_of_full_width_starts_by_keeping_cosines(features):
    embeddings = np.asarray(heads.adaption_head(8, embedding_dim=8)(features))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert np.allclose(embeddings @ embeddings.T, unit @ unit.T, atol=1e-5)


def test_adaption_head_standardises_what_it_is_told(features):
    raw = 100 * features + 7
    told = heads.adaption_head(8, standardise=(raw.mean(axis=0), raw.var(axis=0)))
    scaled = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    assert np.allclose(told(raw), heads.adaption_head(8)(scaled), atol=1e-4)


def test_adaption_head_with_a_hidden_layer_is_not_linear(features):
    head = heads.adaption_head(8, hidden_dim=7)
    before_norm = keras.Model(head.input, head.get_layer("projection").output)
    assert not np.allclose(before_norm(features), -before_norm(-features), atol=1e-3)


def test_similarity_network_is_symmetric_and_within_zero_and_one(features):
    network = heads.similarity_network(8)
    forth = np.asarray(network({"left": features, "right": features[::-1]}))
    back = np.asarray(network({"left": features[::-1], "right": features}))
    assert forth.shape == (6, 1)
    assert np.allclose(forth, back, atol=1e-6)
    assert ((forth > 0) & (forth < 1)).all()


def test_similarity_network_has_three_dense_layers_and_the_dropout_of_the_report():
    network = heads.similarity_network(8)
    assert sum(isinstance(layer, keras.layers.Dense) for layer in network.layers) == 3
    assert network.get_layer("dropout").rate == 0.1


def test_similarity_of_triplet_puts_the_positive_first(features):
    network = heads.similarity_network(8)
    views = np.stack([features, features[::-1], features + 1], axis=1)
    scores = np.asarray(heads.similarity_of_triplet(network)(views))
    for column, other in enumerate([features[::-1], features + 1]):
        alone = np.asarray(network({"left": features, "right": other}))[:, 0]
        assert np.allclose(scores[:, column], alone, atol=1e-6)


def test_similarity_network_learns_from_triplets(features):
    keras.utils.set_random_seed(0)
    network = heads.similarity_network(8, units=(16, 8))
    model = heads.similarity_of_triplet(network)
    model.compile(keras.optimizers.Adam(1e-2), losses.CandidateHingeLoss(margin=0.5))
    views = np.stack([features, features + 0.01, features[::-1]], axis=1)
    place = np.zeros(len(views), "int32")  # the positive stands in column 0
    model.fit(views, place, epochs=60, verbose=0)
    scores = model.predict(views, verbose=0)
    assert (scores[:, 0] > scores[:, 1]).all()


def test_similarity_scores_match_the_network_pair_by_pair(features):
    network = heads.similarity_network(8)
    candidates = np.array([[1, 4, 0], [5, 2, 2]])
    scores = heads.similarity_scores(network, features[:2], features, candidates, batch_size=4)
    pair = {"left": features[1:2], "right": features[5:6]}
    assert scores.shape == (2, 3)
    assert np.isclose(scores[1, 0], float(network(pair)[0, 0]), atol=1e-6)


# -- through a backbone --------------------------------------------------------------------------


def small_backbone(trainable=False):
    taps = ["conv_pw_3_relu", "conv_pw_13_relu"]
    return backbones.build(
        "mobilenet", weights="random", size=(32, 32), taps=taps, trainable=trainable
    )


def train_one_step(backbone):
    joined = heads.joined_features(backbone)
    head = heads.adaption_head(joined.output_shape[1], embedding_dim=4)
    embedding_model = heads.embedding_model(head, joined)
    model = siamese.branches(embedding_model, 3)
    model.compile(keras.optimizers.SGD(1.0), losses.TripletLoss())
    before = [w.numpy() for w in backbone.weights], [w.numpy() for w in head.weights]
    images = np.random.default_rng(0).uniform(0, 255, (4, 3, 32, 32, 3)).astype("float32")
    model.fit(images, np.zeros(4), verbose=0)
    return {
        w.path: not np.array_equal(old, w.numpy())
        for part, olds in zip((backbone, head), before, strict=True)
        for w, old in zip(part.weights, olds, strict=True)
    }


def test_joined_features_hold_the_average_of_every_tap():
    backbone = small_backbone()
    image = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    maps = backbone(image)
    expected = [np.asarray(maps[tap]).mean(axis=(1, 2)) for tap in maps]
    joined = heads.joined_features(backbone)(image)
    assert np.allclose(joined, np.concatenate(expected, axis=1), atol=1e-5)


def test_stored_features_and_images_give_the_same_embedding():
    joined = heads.joined_features(small_backbone())
    head = heads.adaption_head(joined.output_shape[1], embedding_dim=4)
    image = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    stored = joined.predict(image, verbose=0)
    from_images = heads.embedding_model(head, joined)(image)
    assert np.allclose(heads.embedding_model(head)(stored), from_images, atol=1e-4)


def test_frozen_backbone_does_not_move_and_its_head_does():
    moved = train_one_step(small_backbone())
    in_head = {path: m for path, m in moved.items() if "projection" in path}
    assert in_head and all(in_head.values())
    assert not any(m for path, m in moved.items() if path not in in_head)


def test_partly_frozen_backbone_moves_from_the_named_layer_on_but_never_its_statistics():
    moved = train_one_step(small_backbone(trainable="conv_pw_13"))
    assert moved[next(path for path in moved if "conv_pw_13/" in path)]
    assert not any(m for path, m in moved.items() if "conv_pw_12" in path or "conv_dw" in path)
    assert not any(m for path, m in moved.items() if "moving_" in path)
