"""Hierarchical feature integration: one embedding out of many depths of a network (report 003).

Each chosen inner layer ("tap") passes a 1×1 convolution to d channels and average pooling; the
T + 1 vectors, the final embedding last, are stacked, and a 1×1 convolution over the stack weighs
them into one vector of length d, the look-alike feature.

A 1×1 convolution and average pooling commute, since both are linear and nothing stands between
them. On stored average-pooled taps the convolution is therefore a `Dense(d)` per tap, and the same
weights serve both forms: `integration_model` learns in seconds from stored features, and
`copy_to_image_model` carries what it learned into `image_model`, the network of the report.

Reference:
    Takmaz et al., 2019, Learning Feature Representations for Look-Alike Images, figure 3.
"""

from collections.abc import Mapping

import keras
import numpy as np
from keras import layers, ops


def integration_model(tap_dims: Mapping[str, int], *, embedding_dim=128, dropout=0.0, seed=0):
    """Builds the added layers of the report, on average-pooled features of the taps.

    Args:
        tap_dims: Channels of each tap, shallow to deep; the last stands for the final embedding.
        embedding_dim: Int, d.
        dropout: Float in [0, 1), share of the features that are silenced in training.
        seed: Int, seed of the initial weights and of the dropout.

    Returns:
        A `keras.Model`: features of all taps joined, `(batch, sum of channels)` → look-alike
        feature of norm 1, `(batch, embedding_dim)`. The stack before the weighing is the output
        of the layer `"stack"`, `(batch, embedding_dim, taps)`.
    """
    features = keras.Input((sum(tap_dims.values()),), name="features")
    x = layers.Dropout(dropout, seed=seed, name="dropout")(features)
    projected, start = [], 0
    for index, (tap, channels) in enumerate(tap_dims.items()):
        kernel = keras.initializers.GlorotUniform(seed=seed + index)
        project = layers.Dense(embedding_dim, kernel_initializer=kernel, name=f"project_{tap}")
        projected.append(project(x[:, start : start + channels]))
        start += channels
    return keras.Model(features, _integrate(projected), name="look_alike")


def image_model(backbone, *, embedding_dim=128, seed=0):
    """Builds the network of the report: backbone, 1×1 convolutions, pooling, weighing.

    Args:
        backbone: A model from images to a dict tap → feature map, shallow to deep, as
            `backbones.build(name, taps=…)` gives it. A tap of shape `(batch, d)`, such as the
            embedding of FaceNet, is an embedding already and joins the stack as it is.
        embedding_dim: Int, d.
        seed: Int, seed of the initial weights.

    Returns:
        A `keras.Model`, images → look-alike feature of norm 1, `(batch, embedding_dim)`.
        Whether the backbone is trained along is decided by its `trainable`.
    """
    projected = []
    for index, (tap, maps) in enumerate(backbone.output.items()):
        if len(maps.shape) == 2:
            projected.append(maps)
            continue
        kernel = keras.initializers.GlorotUniform(seed=seed + index)
        project = layers.Conv2D(embedding_dim, 1, kernel_initializer=kernel, name=f"project_{tap}")
        projected.append(layers.GlobalAveragePooling2D(name=f"average_{tap}")(project(maps)))
    return keras.Model(backbone.input, _integrate(projected), name=f"{backbone.name}_look_alike")


def copy_to_image_model(feature_model, target, *, mean, scale):
    """Carries what `integration_model` learned into an `image_model`.

    The features were standardised by `(x − mean) · scale` before the dense layers; that is affine
    too, and goes into the kernels and biases of the convolutions.

    Args:
        feature_model: From `integration_model`.
        target: From `image_model`, with the same taps.
        mean, scale: Float `(sum of channels,)`; 0 and 1 if features were not standardised.
    """
    mean, scale = np.asarray(mean, np.float32), np.asarray(scale, np.float32)
    start = 0
    for layer in _projections(feature_model):
        kernel, bias = layer.get_weights()
        rows = slice(start, start + len(kernel))
        start = rows.stop
        kernel = scale[rows, None] * kernel
        weights = [kernel[None, None], bias - mean[rows] @ kernel]
        target.get_layer(layer.name).set_weights(weights)
    target.get_layer("combine").set_weights(feature_model.get_layer("combine").get_weights())


def set_projection(feature_model, projection):
    """Starts `integration_model` from one linear map of all taps together.

    With all depths weighing 1, the feature is `x @ projection` (then scaled to norm 1), so any
    closed-form map is a start from which training can only be asked to improve.

    Args:
        projection: Float `(sum of channels, embedding_dim)`.

    Raises:
        ValueError: If the shape does not fit.
    """
    dense = _projections(feature_model)
    expected = (feature_model.input_shape[1], feature_model.output_shape[1])
    if projection.shape != expected:
        raise ValueError(f"Expected a projection of shape {expected}. Received: {projection.shape}")
    bounds = np.cumsum([layer.kernel.shape[0] for layer in dense])[:-1]
    for layer, rows in zip(dense, np.split(projection, bounds), strict=True):
        layer.set_weights([rows, np.zeros(rows.shape[1], np.float32)])
    combine = feature_model.get_layer("combine")
    combine.set_weights([np.ones_like(combine.get_weights()[0])])


def tap_shares(feature_model, left, right):
    """Says how much each depth adds to the likeness of matched images.

    The scalar weights alone say little, because a small weight on a long vector is a large one.
    The look-alike feature is a sum over taps, and so is its inner product with that of the match:
    the share of a tap is its part of that product, averaged over pairs. Shares may be negative.

    Args:
        feature_model: From `integration_model`.
        left, right: Float `(pairs, sum of channels)`, row i of one matching row i of the other.

    Returns:
        Dict tap → share; they sum to 1.
    """
    stack = keras.Model(feature_model.input, feature_model.get_layer("stack").output)
    weights = np.ravel(feature_model.get_layer("combine").get_weights()[0])
    left, right = (np.asarray(stack(np.asarray(x, np.float32))) * weights for x in (left, right))
    # Half the product of a tap with the whole of the other side, from each side.
    parts = 0.5 * (left * right.sum(-1, keepdims=True) + right * left.sum(-1, keepdims=True))
    parts = (parts.sum(1) / np.linalg.norm(left.sum(-1), axis=1, keepdims=True)
             / np.linalg.norm(right.sum(-1), axis=1, keepdims=True)).mean(axis=0)  # fmt: skip
    names = [layer.name.removeprefix("project_") for layer in _projections(feature_model)]
    return dict(zip(names, (parts / parts.sum()).tolist(), strict=True))


@keras.saving.register_keras_serializable(package="tll_utils")
class Stack(layers.Layer):
    """Stacks vectors of shape `(batch, d)` into `(batch, d, number of vectors)`."""

    def call(self, vectors):
        return ops.stack(vectors, axis=-1)


def _integrate(projected):
    """Stacks T + 1 vectors `(batch, d)` and weighs them with one number per vector."""
    equal = keras.initializers.Ones()  # until training says otherwise, all depths count alike
    combine = layers.Conv1D(1, 1, use_bias=False, kernel_initializer=equal, name="combine")
    combined = layers.Flatten(name="flatten")(combine(Stack(name="stack")(projected)))
    return layers.UnitNormalization(name="embedding")(combined)


def _projections(model):
    """The dense layers of the taps, shallow to deep."""
    return [layer for layer in model.layers if layer.name.startswith("project_")]
