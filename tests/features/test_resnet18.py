"""ResNet-18: the published size, and weights that come back."""

import keras
import numpy as np
import pytest

from tll_utils.features.zoo import resnet18


def small(**options):
    return resnet18.resnet18(include_top=False, input_shape=(64, 64, 3), **options)


def test_resnet18_has_the_published_number_of_parameters():
    model = resnet18.resnet18()
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 11_689_512  # torchvision


def test_resnet18_halves_the_map_at_each_stage():
    model = small()
    sides = [model.get_layer(f"stack{s}_block1_out").output.shape[1:] for s in range(4)]
    assert sides == [(16, 16, 64), (8, 8, 128), (4, 4, 256), (2, 2, 512)]


def test_resnet18_loads_the_weights_it_saved(tmp_path):
    model = small()
    model.save_weights(tmp_path / "resnet18.weights.h5")
    reloaded = small(weights=tmp_path / "resnet18.weights.h5")
    image = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    assert np.allclose(model(image), reloaded(image), atol=1e-5)


def test_copy_weights_by_name_makes_two_models_agree():
    source, target = small(), small()
    image = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    assert not np.allclose(source(image), target(image))
    resnet18.copy_weights_by_name(source, target)
    assert np.allclose(source(image), target(image), atol=1e-5)


def test_copy_weights_by_name_names_the_layer_that_has_no_place():
    stray = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="stray")])
    with pytest.raises(ValueError, match="stray"):
        resnet18.copy_weights_by_name(stray, small())
