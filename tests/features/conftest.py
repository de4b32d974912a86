"""A network whose features can be told by hand, and images to show it."""

import keras
import numpy as np
import pytest
from PIL import Image

from tll_utils.features import backbones, registry


def construct_mirror(*, include_top, weights, input_shape):
    """Gives the pixels, and the pixels times two."""
    images = keras.Input(input_shape)
    pixels = keras.layers.Activation("linear", name="pixels")(images)
    doubled = keras.layers.DepthwiseConv2D(
        1, use_bias=False, depthwise_initializer=keras.initializers.Constant(2.0), name="doubled"
    )(pixels)
    model = keras.Model(images, doubled)
    if weights:
        model.load_weights(weights)
    return model


def save_image(path, pixels):
    """PNG inside, whatever the name, so that the colors are exact."""
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, format="PNG")


@pytest.fixture
def mirror(monkeypatch):
    """Puts the network into the registry."""
    entry = registry.Backbone(
        "mirror",
        construct_mirror,
        lambda images: images,
        ("pixels", "doubled"),
        frozen_until="pixels",
        size=(6, 6),
        min_size=1,
    )
    monkeypatch.setitem(registry.REGISTRY, "mirror", entry)


@pytest.fixture
def save_mirror():
    """Writes weights that multiply by `scale` instead of 2, and returns the path as text."""

    def save(path, scale):
        network = construct_mirror(include_top=False, weights=None, input_shape=(6, 6, 3))
        network.set_weights([np.full((1, 1, 3, 1), scale)])
        network.save_weights(path)
        return str(path)

    return save


def construct_tiny(*, include_top, weights, input_shape):
    """A network with what matters of the big ones: convolutions, a normalization, names."""
    images = x = keras.Input(input_shape)
    for i in (1, 2, 3):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name=f"conv{i}")(x)
        x = keras.layers.BatchNormalization(name=f"conv{i}_bn")(x)
        x = keras.layers.ReLU(name=f"conv{i}_relu")(x)
    model = keras.Model(images, x)
    if weights:
        model.load_weights(weights)
    return model


@pytest.fixture
def tiny(monkeypatch):
    """Puts a tiny network into the registry and returns a function that builds it."""
    entry = registry.Backbone(
        "tiny",
        construct_tiny,
        lambda images: images / 255,
        ("conv1_relu", "conv2_relu", "conv3_relu"),
        frozen_until="conv2_relu",
        download="tiny/tiny_notop.h5",
        size=(32, 32),
        min_size=8,
    )
    monkeypatch.setitem(registry.REGISTRY, "tiny", entry)
    return lambda **options: backbones.build("tiny", **{"weights": "random", **options})


@pytest.fixture
def save_tiny():
    """Saves a tiny network's weights; returns what it answers to images in [0, 255]."""

    def save(path):
        source = construct_tiny(include_top=False, weights=None, input_shape=(32, 32, 3))
        source.save_weights(path)
        return lambda images: source(images / 255)

    return save


@pytest.fixture
def paths(tmp_path):
    """Seven files of one color each."""
    (tmp_path / "images").mkdir()
    files = [tmp_path / "images" / f"{i}.jpg" for i in range(7)]
    for i, path in enumerate(files):
        save_image(path, np.full((6, 6, 3), (10 * i, 100, 255 - i)))
    return files


@pytest.fixture
def quarters(tmp_path):
    """A file with one gray level in each quarter: 10 20 / 30 40."""
    pixels = np.zeros((6, 6, 3))
    pixels[:3, :3], pixels[:3, 3:], pixels[3:, :3], pixels[3:, 3:] = 10, 20, 30, 40
    save_image(tmp_path / "quarters.png", pixels)
    return tmp_path / "quarters.png"
