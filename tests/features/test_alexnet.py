"""AlexNet: the normalization by hand, the published size."""

import numpy as np

from tll_utils import layers
from tll_utils.features.zoo import alexnet


def test_local_response_normalization_matches_hand_arithmetic():
    # Of (1, 2, 3, 4), times 100, the first and the last have two neighbors, the others three.
    sums = np.array([1 + 4 + 9, 30, 30, 4 + 9 + 16])
    row = 100 * np.array([[1.0, 2.0, 3.0, 4.0]])
    found = layers.LocalResponseNormalization()(row)
    np.testing.assert_allclose(found, row / (2 + sums) ** 0.75, rtol=1e-5)


def test_local_response_normalization_never_mixes_positions():
    image = np.zeros((1, 2, 2, 4), "float32")
    image[0, 0, 0] = 5
    assert np.all(np.asarray(layers.LocalResponseNormalization()(image))[0, 1] == 0)


def test_alexnet_has_the_published_number_of_parameters():
    assert alexnet.alexnet().count_params() == 60_965_224  # caffe's bvlc_alexnet


def test_alexnet_without_top_ends_in_pool5():
    assert alexnet.alexnet(include_top=False).output_shape == (None, 6, 6, 256)
    assert alexnet.alexnet(include_top=False).name == "alexnet"
