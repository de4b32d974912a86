"""Siamese networks: one encoder for all images of a pair, triplet or candidate set.

The networks of the reports differ in a few numbers, so there is one encoder with options:

- `BASELINE` (A1, report 000): conv, conv, pool, flatten, dense; matched by `pair_classifier`.
- `SIMPLE_CNN` (B1, report 001): four times conv, ReLU, pool, L2 0.01; `pair_distance`.
- `CONTRASTIVE` (C2, report 002): conv 5×5, pool, conv 3×3, pool, dense, unit norm; the same.
- `STRIDED`, `GRADIENTS`: not from a report; strided convolutions in place of pooling, and fixed
  oriented gradients in place of learned edges. Both for `branches`.

Report 000 gives no widths and report 001 none in its text; those here are the usual powers of 2.
"""

import keras
import numpy as np
from keras import layers, ops

from tll_utils.losses import TINY

BASELINE = {"blocks": ((32, 3, 1), (64, 3, 2)), "embedding_dim": 128}
SIMPLE_CNN = {
    "blocks": ((32, 3, 2), (64, 3, 2), (128, 3, 2), (256, 3, 2)),
    "embedding_dim": None,
    "l2": 0.01,
}
CONTRASTIVE = {"blocks": ((64, 5, 2), (128, 3, 2)), "embedding_dim": 128, "unit_norm": True}
STRIDED = {
    "blocks": ((48, 3, 2), (96, 3, 2), (192, 3, 2)),
    "embedding_dim": 256,
    "dropout": 0.5,
    "strided": True,
    "batch_norm": True,
    "unit_norm": True,
}
GRADIENTS = {
    "gradients": {"cell": 8, "num_directions": 8},
    "embedding_dim": 256,
    "dropout": 0.5,
    "unit_norm": True,
}


def encoder(
    input_shape,
    *,
    blocks=(),
    gradients=None,
    embedding_dim=None,
    strided=False,
    batch_norm=False,
    l2=0.0,
    dropout=0.0,
    unit_norm=False,
    name="encoder",
):
    """Builds the network that turns an image into a vector.

    Args:
        input_shape: `(height, width, channels)`; pixels in [0, 255], scaled inside.
        blocks: Tuple of `(filters, kernel size, pool size)` per convolution; 1 = no pooling.
        gradients: Options of `OrientedGradients`, which then take the place of convolutions.
        embedding_dim: Units of the dense layer; `None` = the flattened maps themselves.
        strided: Bool, the convolution itself steps by the pool size, at a sixth of the cost.
        batch_norm: Bool, batch normalisation before each ReLU.
        l2: Float, weight decay in the loss.
        dropout: Float, share of the flattened maps to drop.
        unit_norm: Bool, embeddings of length 1.

    Returns:
        Model `(batch, h, w, c)` → `(batch, d)`.
    """
    regularizer = keras.regularizers.L2(l2) if l2 else None
    images = keras.Input(input_shape, name="image")
    if gradients is None:
        x = layers.Rescaling(1 / 127.5, -1.0)(images)
    else:
        x = OrientedGradients(**gradients, name="gradients")(images)
        # Cosine needs vectors around 0; what the data's mean is, the data say.
        x = layers.BatchNormalization(center=False, scale=False, momentum=0.9)(x)
    for filters, kernel_size, pool in blocks:
        x = layers.Conv2D(
            filters,
            kernel_size,
            strides=pool if strided else 1,
            padding="same",
            kernel_regularizer=regularizer,
        )(x)
        if batch_norm:
            x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        if pool > 1 and not strided:
            x = layers.MaxPooling2D(pool)(x)
    x = layers.Flatten()(x)
    if dropout:
        x = layers.Dropout(dropout)(x)
    if embedding_dim:
        x = layers.Dense(embedding_dim, kernel_regularizer=regularizer)(x)
    if unit_norm:
        x = layers.UnitNormalization()(x)
    return keras.Model(images, x, name=name)


@keras.saving.register_keras_serializable(package="tll_utils")
class Branches(layers.Wrapper):
    """Sends the k images of an example through one shared network, as one folded batch.

    Call arguments:
        images: Shape `(batch, k, …)`, `…` being what the wrapped layer takes.

    Returns:
        Shape `(batch, k, …)`, `…` being what the wrapped layer gives.
    """

    def build(self, input_shape):
        if not self.layer.built:
            self.layer.build((None, *input_shape[2:]))
        self.built = True

    def call(self, images, training=None):
        folded = ops.reshape(images, (-1, *images.shape[2:]))
        outputs = self.layer(folded, training=training)
        return ops.reshape(outputs, (-1, images.shape[1], *outputs.shape[1:]))

    def compute_output_shape(self, input_shape):
        folded = self.layer.compute_output_shape((None, *input_shape[2:]))
        return (*input_shape[:2], *folded[1:])


@keras.saving.register_keras_serializable(package="tll_utils")
class PairDistance(layers.Layer):
    """Euclidean distance of the two embeddings of a pair: `(batch, 2, d)` → `(batch, 1)`."""

    def call(self, embeddings):
        squares = ops.square(embeddings[:, 0] - embeddings[:, 1])
        # At distance 0 the slope of the root is infinite.
        return ops.sqrt(ops.maximum(ops.sum(squares, axis=-1, keepdims=True), TINY))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1)


@keras.saving.register_keras_serializable(package="tll_utils")
class PairDifference(layers.Layer):
    """Absolute difference of the two embeddings of a pair: `(batch, 2, d)` → `(batch, d)`."""

    def call(self, embeddings):
        return ops.abs(embeddings[:, 0] - embeddings[:, 1])

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[2])


@keras.saving.register_keras_serializable(package="tll_utils")
class OrientedGradients(layers.Layer):
    """How much edge of which direction, and what colour, each cell of an image holds.

    A histogram of oriented gradients (HOG) without anything to learn: the strongest of the three
    colours' slopes at each pixel, its direction shared by the two nearest of `num_directions`,
    averaged over cells, square root against the rule of single edges. Beside it the mean
    brightness, red − green and blue − yellow of each cell.

    Args:
        cell: Int, side of a cell in pixels.
        num_directions: Int, over half a turn: a light-dark edge counts like a dark-light one.
        color_weight: Float, weight of the colours against the gradients.

    Call arguments:
        images: RGB in [0, 255], shape `(batch, h, w, 3)`, h and w divisible by `cell`.

    Returns:
        Shape `(batch, h/cell · w/cell · (num_directions + 3))`.

    Reference:
        Dalal and Triggs, 2005, Histograms of oriented gradients for human detection.
    """

    def __init__(self, *, cell=8, num_directions=8, color_weight=1.0, **kwargs):
        super().__init__(**kwargs)
        self.cell, self.num_directions = cell, num_directions
        self.color_weight = color_weight

    def call(self, images):
        rgb = images / 255.0
        edges = self._directions(ops.sqrt(rgb))
        cells = ops.average_pool(edges, self.cell, strides=self.cell)
        strength = ops.mean(ops.sum(cells, axis=-1, keepdims=True), axis=(1, 2), keepdims=True)
        # A flat image has no edges: the constant keeps its noise from being blown up.
        cells = ops.sqrt(ops.maximum(cells / (strength + 0.02), TINY))
        red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
        opponents = [ops.mean(rgb, axis=-1), red - green, blue - (red + green) / 2]
        colors = ops.average_pool(ops.stack(opponents, axis=-1), self.cell, strides=self.cell)
        colors = self.color_weight * colors
        flat = [ops.reshape(part, (-1, int(np.prod(part.shape[1:])))) for part in (cells, colors)]
        return ops.concatenate(flat, axis=-1)

    def _directions(self, rgb):
        """Slope of each pixel, shared among the directions: `(batch, h, w, num_directions)`."""
        across = rgb[:, :, 2:] - rgb[:, :, :-2]
        down = rgb[:, 2:] - rgb[:, :-2]
        across = ops.pad(across, ((0, 0), (0, 0), (1, 1), (0, 0)))
        down = ops.pad(down, ((0, 0), (1, 1), (0, 0), (0, 0)))
        squares = ops.square(across) + ops.square(down)
        strongest = ops.one_hot(ops.argmax(squares, axis=-1), 3, dtype=squares.dtype)
        across, down = (ops.sum(strongest * slope, axis=-1) for slope in (across, down))
        slope = ops.sqrt(ops.maximum(ops.square(across) + ops.square(down), TINY))
        place = ops.mod(ops.arctan2(down, across) / np.pi, 1.0) * self.num_directions
        gap = place[..., None] - ops.arange(self.num_directions, dtype=place.dtype)
        half = self.num_directions / 2
        gap = ops.abs(ops.mod(gap + half, self.num_directions) - half)
        return ops.maximum(1.0 - gap, 0.0) * slope[..., None]

    def compute_output_shape(self, input_shape):
        cells = (input_shape[1] // self.cell) * (input_shape[2] // self.cell)
        return (input_shape[0], cells * (self.num_directions + 3))

    def get_config(self):
        return {
            **super().get_config(),
            "cell": self.cell,
            "num_directions": self.num_directions,
            "color_weight": self.color_weight,
        }


def branches(embedding_model, k):
    """Model `(batch, k, h, w, c)` → embeddings `(batch, k, d)`; triplets, in-batch softmax."""
    images = keras.Input((k, *embedding_model.input_shape[1:]), name="images")
    return keras.Model(images, Branches(embedding_model, name="branches")(images))


def pair_distance(embedding_model):
    """Model `(batch, 2, h, w, c)` → distance `(batch, 1)`; contrastive and hinge loss."""
    pair = branches(embedding_model, 2)
    return keras.Model(pair.input, PairDistance(name="distance")(pair.output))


def pair_classifier(embedding_model):
    """Model `(batch, 2, h, w, c)` → probability of a match `(batch, 1)`, from `|l − r|`."""
    pair = branches(embedding_model, 2)
    difference = PairDifference(name="difference")(pair.output)
    probability = layers.Dense(1, activation="sigmoid", name="match")(difference)
    return keras.Model(pair.input, probability)


def embed(embedding_model, images, *, batch_size=128):
    """Embeds images `(n, …)`, bytes or floats, batch by batch. Returns float32 `(n, d)`."""
    batches = np.array_split(images, max(1, -(-len(images) // batch_size)))
    return np.concatenate([np.asarray(embedding_model(b, training=False)) for b in batches])


def classifier_scores(model, queries, gallery, candidates):
    """Scores candidates by the logit of `pair_classifier`, from embeddings.

    The logit orders like the probability and does not round to 1 where the network is sure.

    Args:
        model: From `pair_classifier`.
        queries: Float `(n, d)`; gallery: float `(g, d)`; candidates: int `(n, m)`.

    Returns:
        Float `(n, m)`, higher = more alike.
    """
    weight, bias = (np.asarray(v) for v in model.get_layer("match").weights)
    rows = [np.abs(q - gallery[c]) @ weight[:, 0] for q, c in zip(queries, candidates, strict=True)]
    return np.stack(rows) + bias
