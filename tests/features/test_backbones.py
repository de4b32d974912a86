"""Each network gets its own preprocessing once, and trains what it is told to train."""

import random

import keras
import numpy as np
import pytest

from tll_utils.errors import UnknownBackbone, WeightsDamaged
from tll_utils.features import backbones, preprocess, registry
from tll_utils.features.zoo import hub

BLACK, WHITE = np.zeros((1, 1, 1, 3), "float32"), np.full((1, 1, 1, 3), 255.0, "float32")


@pytest.fixture
def photos():
    return np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")


# Preprocessing and taps


@pytest.mark.parametrize(
    ("name", "black", "white"),
    [
        ("mobilenet", (-1, -1, -1), (1, 1, 1)),
        ("mobilenet_v2", (-1, -1, -1), (1, 1, 1)),
        ("inception_v3", (-1, -1, -1), (1, 1, 1)),
        ("resnet50", (-103.939, -116.779, -123.68), (151.061, 138.221, 131.32)),
        ("vgg19", (-103.939, -116.779, -123.68), (151.061, 138.221, 131.32)),
        ("alexnet", (-103.939, -116.779, -123.68), (151.061, 138.221, 131.32)),
        ("densenet121", (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225), None),
        ("resnet18", (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225), None),
        ("mobilenet_v3_large", (0, 0, 0), (255, 255, 255)),
        ("efficientnet_v2_s", (0, 0, 0), (255, 255, 255)),
        ("convnext_tiny", (0, 0, 0), (255, 255, 255)),
        ("efficientnet_lite0", (-127 / 128,) * 3, (1, 1, 1)),
    ],
)
def test_preprocess_is_the_one_of_the_release(name, black, white):
    found = registry.get(name).preprocess
    np.testing.assert_allclose(found(BLACK)[0, 0, 0], black, rtol=1e-5)
    if white:
        np.testing.assert_allclose(found(WHITE)[0, 0, 0], white, rtol=1e-5)


def test_preprocess_gives_caffe_blue_first():
    red = np.array([[[[255.0, 0.0, 0.0]]]], "float32")
    expected = [[[[-103.939, -116.779, 255 - 123.68]]]]
    np.testing.assert_allclose(preprocess.caffe(red), expected, rtol=1e-5)


def test_preprocess_of_the_first_facenet_standardizes_each_image_alone():
    images = np.random.default_rng(1).integers(0, 256, (3, 8, 6, 3)).astype("uint8")
    whitened = np.asarray(preprocess.facenet_per_image(images))
    np.testing.assert_allclose(whitened.mean(axis=(1, 2, 3)), 0.0, atol=1e-5)
    np.testing.assert_allclose(whitened.std(axis=(1, 2, 3)), 1.0, atol=1e-4)
    # Brightness and contrast of one image change nothing, nor does a flat image divide by zero.
    darker = np.asarray(preprocess.facenet_per_image(0.5 * images + 10))
    np.testing.assert_allclose(whitened, darker, atol=1e-4)
    assert not np.any(preprocess.facenet_per_image(np.full((1, 8, 6, 3), 7.0)))


def test_build_preprocesses_once(tiny, photos):
    model = tiny()
    np.testing.assert_array_equal(model(photos), model.get_layer("tiny")(photos / 255))


@pytest.mark.parametrize("name", ["mobilenet_v2", "vgg19", "mobilenet_v3_small"])
def test_random_features_neither_fade_nor_explode(name, photos):
    taps = registry.get(name).taps
    model = backbones.build(name, weights="random", size=(32, 32), taps=taps)
    last = np.asarray(model(photos)[taps[-1]])
    assert 1e-3 < last.std() < 1e5


def test_the_last_tap_is_what_build_returns_without_taps(tiny, photos):
    np.testing.assert_array_equal(tiny(taps=["conv3_relu"])(photos)["conv3_relu"], tiny()(photos))


def test_build_names_an_unknown_tap_and_close_ones(tiny):
    with pytest.raises(ValueError, match=r"no layer 'conv1_rel'.*close: conv1_relu"):
        tiny(taps=["conv1_rel"])


def test_build_refuses_images_that_are_too_small(tiny):
    with pytest.raises(ValueError, match=r"at least 8 pixels.*size=\(32, 7\)"):
        tiny(size=(32, 7))


def test_get_lists_the_registry_and_suggests():
    with pytest.raises(UnknownBackbone, match=r"'resnet5'.*Did you mean 'resnet50'.*vgg19"):
        registry.get("resnet5")


def test_a_saved_backbone_loads_without_this_package(photos, tmp_path):
    model = backbones.build("vgg16", weights="random", size=(32, 32), taps=["block1_pool"])
    model.save(tmp_path / "vgg16.keras")
    again = keras.saving.load_model(tmp_path / "vgg16.keras")
    np.testing.assert_array_equal(again(photos)["block1_pool"], model(photos)["block1_pool"])


# The registry


NOT_HUB = [name for name, entry in registry.REGISTRY.items() if entry.taps != hub.TAPS]


@pytest.mark.parametrize("name", NOT_HUB)  # those have tests of their own
def test_every_entry_builds_at_its_least_size_and_trains_its_last_stage(name, monkeypatch):
    # Statistics of batch normalization need a forward pass, and say nothing about names.
    monkeypatch.setattr(backbones, "_calibrate", lambda *arguments: None)
    entry = registry.get(name)
    size = (entry.min_size, entry.min_size)
    model = backbones.build(
        name, weights="random", size=size, taps=entry.taps, trainable="last_stage"
    )
    try:
        sides = [map_.shape[1] for map_ in model.output.values() if len(map_.shape) == 4]
        assert sides == sorted(sides, reverse=True), "taps run from shallow to deep"
        assert entry.middle in entry.taps and set(entry.stages) <= set(entry.taps)
        network = model.get_layer(name)
        assert 0 < len(network.trainable_weights) < len(network.weights) / 2
        trained = [layer for layer in network.layers if layer.trainable_weights]
        assert not any(isinstance(x, keras.layers.BatchNormalization) for x in trained)
        convolutions = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
        assert any(isinstance(layer, convolutions) for layer in trained)
    finally:
        keras.utils.clear_session()


def test_middle_and_stages_are_taps_unless_told_otherwise():
    resnet = registry.get("resnet50")
    assert (resnet.middle, resnet.stages) == ("conv4_block6_out", resnet.taps)
    assert resnet.taps[0] == "conv1_relu" and len(resnet.stages) == 5


@pytest.mark.parametrize(
    ("name", "parameters", "features"),
    [("mobilenet", 3_228_864, 1024), ("mobilenet_v2", 2_257_984, 1280)],
)
def test_architecture_has_the_published_size_and_needs_no_weights(name, parameters, features):
    network = backbones.architecture(name)
    assert (network.count_params(), network.output_shape[-1]) == (parameters, features)


# Training


def test_batch_norm_stays_in_inference_mode(tiny, photos):
    model = tiny(trainable=True)
    before = [w.numpy() for w in model.non_trainable_weights]
    np.testing.assert_array_equal(model(photos, training=True), model(photos, training=False))
    for old, new in zip(before, model.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_build_is_frozen_unless_told(tiny):
    assert tiny().trainable_weights == []
    assert len(tiny(trainable=True).trainable_weights) == 6


def test_trainable_frees_the_last_stage_or_what_follows_a_name(tiny):
    def freed(trainable):
        layers = tiny(trainable=trainable).get_layer("tiny").layers
        return [layer.name for layer in layers if layer.trainable_weights]

    assert freed("conv2") == ["conv2", "conv3"]
    assert freed("last_stage") == ["conv3"]
    with pytest.raises(ValueError, match="starts with 'nothing'"):
        tiny(trainable="nothing")


# Weights


def test_random_weights_follow_the_seed_and_leave_python_random_alone(tiny, photos):
    random.seed(5)
    state = random.getstate()
    first = np.asarray(tiny(seed=1)(photos))
    assert random.getstate() == state
    np.testing.assert_array_equal(first, tiny(seed=1)(photos))
    assert not np.allclose(first, tiny(seed=2)(photos))


def test_weights_come_back_from_a_file_and_from_a_folder(tiny, save_tiny, photos, tmp_path):
    expected = save_tiny(tmp_path / "tiny.weights.h5")(photos)
    path = backbones.resolve_weights("tiny", weights=str(tmp_path))
    assert path == str(tmp_path / "tiny.weights.h5")
    np.testing.assert_allclose(tiny(weights=path)(photos), expected, atol=1e-6)
    np.testing.assert_allclose(tiny(weights=tmp_path)(photos), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_network_are_refused(tiny, tmp_path):
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    other.save_weights(tmp_path / "tiny.weights.h5")
    with pytest.raises(WeightsDamaged, match="does not hold the weights of tiny"):
        tiny(weights=tmp_path / "tiny.weights.h5")


def test_frozen_sees_a_weight_file_that_changed(tiny, save_tiny, photos, tmp_path):
    path = tmp_path / "tiny.weights.h5"
    for _ in range(2):
        expected = save_tiny(path)(photos)
        found = backbones.frozen("tiny", ["conv3_relu"], weights=path)(photos)["conv3_relu"]
        np.testing.assert_allclose(found, expected, atol=1e-6)
