"""Inception-ResNet-v1: the published size, its ten taps, and weights that fit or are refused."""

import h5py
import keras
import numpy as np
import pytest

from tll_utils.features.zoo import inception_resnet_v1 as facenet

SMALLEST = (75, 75, 3)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return facenet.inception_resnet_v1(input_shape=SMALLEST)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(2, *SMALLEST)).astype("float32")


def write_release_file(path, model, *, leave_out=(), group=None):
    """Stores weights as the public releases do: one group per layer, arrays by name."""
    with h5py.File(path, "w") as file:
        root = file.create_group(group) if group else file
        for layer in model.layers:
            if layer.weights and layer.name not in leave_out:
                names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
                stored = root.create_group(layer.name)
                stored.attrs["weight_names"] = [name.encode() for name in names]
                for name, weight in zip(names, layer.weights, strict=True):
                    stored[name] = weight.numpy()
    return path


def test_parameter_count_is_the_published_one(model):
    assert model.count_params() == facenet.PUBLISHED_PARAMETERS == 22_808_144
    # Moving means and variances: 2 × 14 416 channels.
    assert sum(np.prod(weight.shape) for weight in model.non_trainable_weights) == 28_832


def test_taps_are_ten_maps_from_shallow_to_deep(model):
    shapes = [model.get_layer(name).output.shape for name in facenet.TAPS]
    assert [shape[-1] for shape in shapes] == [32, 32, 64, 64, 80, 192, 256, 896, 1792, 1792]
    # Unpadded 3×3: (75 − 3) / 2 + 1 = 37, 37 − 2 = 35, pool 17, 17 − 2 = 15, 7, 3, 1.
    assert [shape[1] for shape in shapes] == [37, 35, 35, 17, 17, 15, 7, 3, 1, 1]


def test_embeddings_have_unit_norm_and_repeat(model, images):
    first, second = (model(images, training=False).numpy() for _ in range(2))
    assert first.shape == (2, 128)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(first, second)


def test_embedding_network_has_the_width_of_the_file(tmp_path):
    path = tmp_path / "any.weights.h5"
    facenet.inception_resnet_v1(input_shape=SMALLEST, embedding_dim=512).save_weights(path)
    network = facenet.embedding_network(weights=path, input_shape=SMALLEST)
    assert network.output_shape == (None, 512)


def test_release_file_round_trip_restores_every_layer(model, tmp_path):
    path = write_release_file(tmp_path / "facenet_weights.h5", model, group="model_weights")
    wanted = [weight.numpy().copy() for weight in model.weights]
    try:
        for weight in model.weights:
            weight.assign(weight + 1.0)
        facenet.load_facenet_weights(model, path)
        for weight, value in zip(model.weights, wanted, strict=True):
            np.testing.assert_array_equal(weight.numpy(), value)
    finally:
        for weight, value in zip(model.weights, wanted, strict=True):
            weight.assign(value)


def test_file_without_a_layer_is_refused_by_name(model, tmp_path):
    path = write_release_file(tmp_path / "part.h5", model, leave_out={"Block17_3_Conv2d_1x1"})
    with pytest.raises(ValueError, match="no layer Block17_3_Conv2d_1x1"):
        facenet.load_facenet_weights(model, path)


def test_file_of_the_wider_embedding_is_refused_with_both_shapes(model, tmp_path):
    path = write_release_file(tmp_path / "wide.h5", model, leave_out={"Bottleneck"})
    with h5py.File(path, "a") as file:
        stored = file.create_group("Bottleneck")
        stored.attrs["weight_names"] = [b"Bottleneck/kernel:0"]
        stored["Bottleneck/kernel:0"] = np.zeros((1792, 512), "float32")
    with pytest.raises(ValueError, match=r"Bottleneck: expected .*128.*found .*512"):
        facenet.load_facenet_weights(model, path)


def test_missing_file_says_where_to_look(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="says where to get one"):
        facenet.load_facenet_weights(model, tmp_path / "none.h5")


def test_too_small_input_is_refused():
    with pytest.raises(ValueError, match="at least 75"):
        facenet.inception_resnet_v1(input_shape=(74, 100, 3))
