"""Small networks on top of a pretrained backbone.

A head never knows where its features come from. `embedding_model(head)` reads stored features,
`embedding_model(head, backbone)` reads images through a backbone: what follows, `siamese.branches`
and the loss, is the same for both.
"""

import keras
import numpy as np
from keras import layers, ops

from tll_utils.models import siamese


def adaption_head(
    input_dim, *, embedding_dim=256, hidden_dim=None, dropout=0.3, standardise=None, seed=0
):
    """Builds the adaption module of report 000: a small dense net from features to embeddings.

    Args:
        input_dim: Int, number of features.
        embedding_dim: Int, length of the embedding.
        hidden_dim: Int, units of a ReLU layer in between, or None for a linear map.
        dropout: Float in [0, 1), share of the features that are silenced in training.
        standardise: `(mean, variance)` of the features, each `(input_dim,)`, to begin with
            features of mean 0 and deviation 1; None if they come so.
        seed: Int, seed of the initial weights and of the dropout.

    Returns:
        A `keras.Model`, features `(batch, input_dim)` → unit-norm `(batch, embedding_dim)`.

    Reference:
        Risser-Maroux et al., 2021, Learning an adaptation function.
    """
    inputs = keras.Input((input_dim,), name="features")
    x = inputs
    if standardise is not None:
        mean, variance = standardise
        x = layers.Normalization(mean=mean, variance=variance, name="standardise")(x)
    x = layers.Dropout(dropout, seed=seed, name="dropout")(x)
    if hidden_dim is not None:
        x = _dense(hidden_dim, seed=seed, activation="relu", name="hidden")(x)
    # An orthogonal start keeps the cosines of the features nearly as they are.
    start = keras.initializers.Orthogonal(seed=seed)
    x = layers.Dense(embedding_dim, use_bias=False, kernel_initializer=start, name="projection")(x)
    outputs = layers.UnitNormalization(name="embedding")(x)
    return keras.Model(inputs, outputs, name="adaption_head")


def joined_features(backbone):
    """Averages each feature map of a backbone over its positions and joins the results.

    With taps after every stage, these are the features of report 001: the outputs of the first
    four stages joined to the last one.

    Args:
        backbone: A model of `backbones.build`, with one output map or a dict tap → map.

    Returns:
        A `keras.Model`, images → `(batch, features)`; the taps in the order of the backbone.
    """
    maps = backbone.output
    maps = list(maps.values()) if isinstance(maps, dict) else [maps]
    pooled = [layers.GlobalAveragePooling2D(name=f"average_{i}")(m) for i, m in enumerate(maps)]
    outputs = pooled[0] if len(pooled) == 1 else layers.Concatenate(name="joined")(pooled)
    return keras.Model(backbone.input, outputs, name=f"{backbone.name}_joined")


def embedding_model(head, backbone=None):
    """Puts a head on images through a backbone, or leaves it on stored features.

    Args:
        head: Model, features → embedding.
        backbone: Model, images → features `(batch, head's input)`, e.g. `joined_features(…)`.
            None means that the input is the stored output of it.

    Returns:
        A `keras.Model` from images or features to embeddings.
    """
    if backbone is None:
        return head
    return keras.Model(backbone.input, head(backbone.output), name=f"{backbone.name}_{head.name}")


def similarity_network(input_dim, *, units=(256, 64), dropout=0.1, seed=0):
    """Builds the similarity-learning network of report 001: three dense layers to one number.

    The pair enters as absolute difference and product, so that the order of the two images
    cannot matter. The report gives neither the widths nor how it joins the two.

    Args:
        input_dim: Int, length of the features of one image.
        units: Widths of the first two dense layers.
        dropout: Float, after the first dense layer.
        seed: Int, seed of the initial weights and of the dropout.

    Returns:
        A `keras.Model`, two inputs `left` and `right` of shape `(batch, input_dim)`, to the
        similarity `(batch, 1)` in [0, 1].
    """
    first, second = units
    left = keras.Input((input_dim,), name="left")
    right = keras.Input((input_dim,), name="right")
    x = layers.Concatenate(name="pair")([ops.abs(left - right), left * right])
    x = _dense(first, seed=seed, activation="relu", name="dense_1")(x)
    x = layers.Dropout(dropout, seed=seed, name="dropout")(x)
    x = _dense(second, seed=seed + 1, activation="relu", name="dense_2")(x)
    outputs = _dense(1, seed=seed + 2, activation="sigmoid", name="similarity")(x)
    return keras.Model({"left": left, "right": right}, outputs, name="similarity_network")


def similarity_of_triplet(network, embedding_model=None):
    """Scores the positive and the negative of each triplet with one similarity network.

    `CandidateHingeLoss` on these two columns, the match at place 0, is the triplet loss with
    1 − similarity as the distance.

    Args:
        network: A model of `similarity_network`.
        embedding_model: Model that turns each view into the network's features; None if the
            views are features already.

    Returns:
        A `keras.Model`, inputs `(batch, 3, …)` → similarities `(batch, 2)` in [0, 1].
    """
    if embedding_model is None:
        features = keras.Input(network.input["left"].shape[1:])
        embedding_model = keras.Model(features, features, name="features")
    triplet = siamese.branches(embedding_model, 3)
    anchor, *others = (triplet.output[:, view] for view in range(3))
    columns = [network({"left": anchor, "right": other}) for other in others]
    scores = ops.concatenate(columns, axis=-1)
    return keras.Model(triplet.input, scores, name="similarity_of_triplet")


def similarity_scores(network, queries, gallery, candidates, *, batch_size=4096):
    """Scores candidate lists with a similarity network.

    Args:
        network: A model of `similarity_network`.
        queries: Float `(n, d)`; gallery: float `(g, d)`; candidates: int `(n, m)`.
        batch_size: Int, pairs at a time.

    Returns:
        Float `(n, m)` in [0, 1], higher = more alike.
    """
    num_queries, m = candidates.shape
    left, right = np.repeat(np.arange(num_queries), m), candidates.ravel()
    scores = [
        network(
            {"left": queries[left[i : i + batch_size]], "right": gallery[right[i : i + batch_size]]}
        )
        for i in range(0, len(left), batch_size)
    ]
    return np.concatenate([np.asarray(block) for block in scores]).reshape(candidates.shape)


def _dense(units, *, seed, **options):
    start = keras.initializers.GlorotUniform(seed=seed)
    return layers.Dense(units, kernel_initializer=start, **options)
