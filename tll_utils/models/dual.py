"""The dual-backbone network of report 004: two pretrained nets, one embedding, m + 1 branches.

One encoder turns an image into an embedding: the feature maps of one or two backbones, pooled;
each backbone's features projected and the projections joined; then a dense layer. The training
graph runs that one encoder on a query and its m candidates. At inference each image is embedded
once and its scores are inner products.

The encoder is cut in two, backbones → features → *head* → embedding, so that the same head, graph
and loss are trained on stored features or on images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from keras import layers, ops

JOINS = ("concat", "average")


@keras.saving.register_keras_serializable(package="tll_utils")
class Standardise(layers.Layer):
    """Signed square root, then mean 0 and deviation 1 per feature, then length 1.

    The root tames the few units that would rule every cosine. Mean and scale are weights that no
    gradient moves; `candidates.start_from_pairs` sets them, so that they travel with a saved model.

    Call arguments:
        inputs: Float `(batch, d)`.

    Returns:
        `(batch, d)`, rows of length 1.
    """

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.mean = self.add_weight(
            name="mean", shape=shape, initializer="zeros", trainable=False, dtype="float32"
        )
        self.scale = self.add_weight(
            name="scale", shape=shape, initializer="ones", trainable=False, dtype="float32"
        )

    def call(self, inputs):
        x = ops.cast(inputs, "float32")
        x = signed_root(x)
        return ops.cast(unit_length((x - self.mean) * self.scale), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(package="tll_utils")
class UnitLength(layers.Layer):
    """Scales each row to length 1, in float32 under every dtype policy; zero rows stay zero."""

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, inputs):
        return unit_length(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(package="tll_utils")
class CandidateScores(layers.Layer):
    """Cosine of each query with its own m candidates, mapped from [-1, 1] to [0, 1].

    Args:
        num_candidates: m.

    Call arguments:
        embeddings: Unit-norm `(batch · (1 + m), d)`: each query, then its candidates.

    Returns:
        `(batch, m)`, float32: 0 = opposite, ½ = unrelated, 1 = same direction.
    """

    def __init__(self, num_candidates, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_candidates = num_candidates

    def call(self, embeddings):
        branches = (-1, 1 + self.num_candidates, embeddings.shape[-1])
        embeddings = ops.reshape(embeddings, branches)
        query, candidates = embeddings[:, 0], embeddings[:, 1:]
        return (1.0 + ops.einsum("bd,bmd->bm", query, candidates)) / 2.0

    def compute_output_shape(self, input_shape):
        return (None, self.num_candidates)

    def get_config(self):
        return {**super().get_config(), "num_candidates": self.num_candidates}


@keras.saving.register_keras_serializable(package="tll_utils")
class BatchScores(layers.Layer):
    """Cosine of each query with the rights of the whole batch, mapped from [-1, 1] to [0, 1].

    Call arguments:
        queries, rights: Unit-norm `(batch, d)`.

    Returns:
        `(batch, batch)`, float32.
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, queries, rights):
        return (1.0 + ops.matmul(queries, ops.transpose(rights))) / 2.0

    def compute_output_shape(self, queries_shape, rights_shape):
        return (queries_shape[0], rights_shape[0])


def signed_root(x):
    """Square root that keeps the sign; its slope is finite at 0, where a ReLU leaves many units."""
    return ops.sign(x) * (ops.sqrt(ops.abs(x) + 1e-6) - 1e-3)


def unit_length(x):
    """Rows of length 1; zero rows stay zero and pass no gradient."""
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=-1, keepdims=True), 1e-12))


# -- the encoder --------------------------------------------------------------------------------


def feature_head(
    dims: Sequence[int],
    *,
    join: str = "concat",
    units: int = 256,
    dropout: float = 0.2,
    seed: int = 0,
) -> keras.Model:
    """Builds what is trained of the encoder: from the backbones' features to the embedding.

    Args:
        dims: Number of features of each backbone; one entry makes the single-backbone network.
        join: `"concat"` or `"average"` of the projections. The same for a single backbone.
        units: Length of a backbone's projection. One number, for an average needs equal lengths.
        dropout: In [0, 1), share of each projection that is silenced in training.
        seed: Of the initial weights and of the dropout.

    Returns:
        A `keras.Model` named `head`: features of all backbones side by side,
        `(batch, sum(dims))` → unit-norm embeddings, float32, of length `units · len(dims)` after
        a concatenation and `units` after an average.

    Raises:
        ValueError: If `join` is unknown.
    """
    if join not in JOINS:
        raise ValueError(f"`join` must be one of {JOINS}. Received: join={join!r}")
    inputs = keras.Input((sum(dims),), name="features")
    projections, start = [], 0
    for i, dim in enumerate(dims):
        x = Standardise(name=f"standardise_{i}")(inputs[:, start : start + dim])
        initial = keras.initializers.Orthogonal(seed=seed + i)
        x = layers.Dense(units, kernel_initializer=initial, name=f"project_{i}")(x)
        x = UnitLength(name=f"projection_{i}")(x)
        projections.append(layers.Dropout(dropout, seed=seed + i, name=f"dropout_{i}")(x))
        start += dim
    if len(projections) == 1:
        x = projections[0]
    else:
        x = {"concat": layers.Concatenate, "average": layers.Average}[join](name=join)(projections)
    # Starts as the identity: at first the embedding is the join itself.
    x = layers.Dense(x.shape[-1], kernel_initializer="identity", name="mix")(x)
    return keras.Model(inputs, UnitLength(name="embedding")(x), name="head")


def image_encoder(
    head: keras.Model,
    networks: Sequence[tuple[keras.Model, Sequence[str]]],
    *,
    poolings: Mapping[str, Callable],
    mirror: bool = False,
) -> keras.Model:
    """Puts a head onto its backbones: what it learned on stored features then works on images.

    Args:
        head: From `feature_head`, its dims those of the features below.
        networks: For each backbone, in the order of the head's blocks, a model of
            `backbones.build` with taps, and the features it gives, each `"tap/pooling"`. Their
            images have the same size.
        poolings: `features.POOLINGS`.
        mirror: Whether features are the mean of those of the image and of its mirror image.

    Returns:
        A `keras.Model` named `encoder`, RGB images in [0, 255] `(batch, h, w, 3)` → unit-norm
        embeddings `(batch, d)`.
    """
    images = keras.Input(networks[0][0].input_shape[1:], name="images")

    def features_of(pixels):
        blocks = []
        for network, keys in networks:
            maps = network(pixels)
            for tap, pool in (key.rsplit("/", 1) for key in keys):
                blocks.append(ops.cast(poolings[pool](maps[tap]), "float32"))
        return ops.concatenate(blocks, axis=-1)

    x = features_of(images)
    if mirror:
        x = (x + features_of(ops.flip(images, axis=2))) / 2.0
    return keras.Model(images, head(x), name="encoder")


# -- the training graphs ------------------------------------------------------------------------


def candidate_model(encoder: keras.Model, *, num_candidates: int) -> keras.Model:
    """Runs one encoder on a query and its m candidates: the report's 21-branch network.

    The candidates are folded into the batch axis, so that one forward pass serves all branches.

    Args:
        encoder: A head or an image encoder: one input → unit-norm embedding.
        num_candidates: m.

    Returns:
        A `keras.Model`: `query` `(batch, …)` and `candidates` `(batch, m, …)` → scores
        `(batch, m)` in [0, 1].
    """
    shape = encoder.input_shape[1:]
    query = keras.Input(shape, name="query")
    candidates = keras.Input((num_candidates, *shape), name="candidates")
    branches = ops.concatenate([ops.expand_dims(query, 1), candidates], axis=1)
    embeddings = encoder(ops.reshape(branches, (-1, *shape)))
    scores = CandidateScores(num_candidates, name="scores")(embeddings)
    return keras.Model({"query": query, "candidates": candidates}, scores, name="candidate_model")


def in_batch_model(encoder: keras.Model) -> keras.Model:
    """Lets every query of a batch meet the rights of all: the candidates cost nothing extra.

    Returns:
        A `keras.Model`: `query` and `candidates`, both `(batch, …)`, row i matching row i →
        scores `(batch, batch)` in [0, 1]; the match of row i is candidate i.
    """
    shape = encoder.input_shape[1:]
    query = keras.Input(shape, name="query")
    candidates = keras.Input(shape, name="candidates")
    scores = BatchScores(name="scores")(encoder(query), encoder(candidates))
    return keras.Model({"query": query, "candidates": candidates}, scores, name="in_batch_model")


def encoder_of(model: keras.Model) -> keras.Model:
    """The encoder inside a training graph; it alone is needed at inference."""
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def parameter_counts(model: keras.Model) -> dict[str, int]:
    """Counts `total`, `trainable` and `frozen` parameters."""
    total = model.count_params()
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return {"total": total, "trainable": trainable, "frozen": total - trainable}
