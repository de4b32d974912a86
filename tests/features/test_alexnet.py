"""AlexNet: the normalization by hand, the published size."""

import keras
import numpy as np
import pytest

from tll_utils import layers
from tll_utils.features.zoo import alexnet


def test_local_response_normalization_matches_hand_arithmetic():
    layer = layers.LocalResponseNormalization(3, bias=1.0, alpha=1.0, beta=1.0)
    # Neighbour sums of squares of (1, 2, 3): 1+4, 1+4+9, 4+9.
    assert np.allclose(layer(np.array([[1.0, 2.0, 3.0]])), [[1 / 6, 2 / 15, 3 / 14]])


def test_local_response_normalization_never_mixes_positions():
    image = np.zeros((1, 2, 2, 4), "float32")
    image[0, 0, 0] = 5
    assert np.all(np.asarray(layers.LocalResponseNormalization()(image))[0, 1] == 0)


def test_local_response_normalization_survives_saving(tmp_path):
    inputs = keras.Input((3, 3, 6))
    layer = layers.LocalResponseNormalization(3, bias=1.0, alpha=0.5, beta=0.5)
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    image = np.random.default_rng(0).normal(size=(2, 3, 3, 6)).astype("float32")
    assert np.allclose(model(image), reloaded(image))


@pytest.mark.parametrize("depth", [0, 4, -3])
def test_local_response_normalization_refuses_an_even_depth(depth):
    with pytest.raises(ValueError, match=f"depth={depth}"):
        layers.LocalResponseNormalization(depth)


def test_alexnet_has_the_published_number_of_parameters():
    assert alexnet.alexnet().count_params() == 60_965_224  # caffe's bvlc_alexnet


def test_alexnet_without_top_ends_in_pool5():
    assert alexnet.alexnet(include_top=False).output_shape == (None, 6, 6, 256)
    assert alexnet.alexnet(include_top=False).name == "alexnet"
