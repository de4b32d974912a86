"""Each network gets its own preprocessing once, its weights or a clear word about them."""

import io
import random
import time
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest

from tll_utils import backbones

BLACK, WHITE = np.zeros((1, 1, 1, 3), "float32"), np.full((1, 1, 1, 3), 255.0, "float32")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network and an empty Keras cache, which is returned."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(backbones, "_is_online", lambda url: False)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def photos():
    return np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")


def construct_tiny(*, include_top, weights, input_shape):
    """A network with what matters of the big ones: convolutions, a normalisation, names."""
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
    entry = backbones.Backbone(
        "tiny",
        construct_tiny,
        lambda images: images / 255,
        ("conv1_relu", "conv2_relu", "conv3_relu"),
        download="tiny/tiny_notop.h5",
        size=(32, 32),
    )
    monkeypatch.setitem(backbones.REGISTRY, "tiny", entry)
    return lambda **options: backbones.build("tiny", **{"weights": "random", **options})


def save_tiny(path):
    """Saves a tiny network's weights; returns what it answers to images in [0, 255]."""
    source = construct_tiny(include_top=False, weights=None, input_shape=(32, 32, 3))
    source.save_weights(path)
    return lambda images: source(images / 255)


# Preprocessing and taps


@pytest.mark.parametrize(
    ("name", "black", "white"),
    [
        ("mobilenet", (-1, -1, -1), (1, 1, 1)),
        ("mobilenet_v2", (-1, -1, -1), (1, 1, 1)),
        ("inception_v3", (-1, -1, -1), (1, 1, 1)),
        ("resnet50", (-103.939, -116.779, -123.68), (151.061, 138.221, 131.32)),
        ("vgg19", (-103.939, -116.779, -123.68), (151.061, 138.221, 131.32)),
        ("densenet121", (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225), None),
        ("mobilenet_v3_large", (0, 0, 0), (255, 255, 255)),
        ("efficientnet_v2_s", (0, 0, 0), (255, 255, 255)),
    ],
)
def test_preprocess_is_the_one_of_the_release(name, black, white):
    preprocess = backbones.get(name).preprocess
    np.testing.assert_allclose(preprocess(BLACK.copy())[0, 0, 0], black, rtol=1e-5)
    if white:
        np.testing.assert_allclose(preprocess(WHITE.copy())[0, 0, 0], white, rtol=1e-5)


def test_build_preprocesses_once(tiny, photos):
    model = tiny()
    np.testing.assert_array_equal(model(photos), model.get_layer("tiny")(photos / 255))


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "vgg19", "mobilenet_v3_small"])
def test_default_taps_run_from_shallow_to_the_output(name, photos):
    taps = backbones.get(name).taps
    model = backbones.build(name, weights="random", size=(32, 32), taps=taps)
    sides = [model.output[tap].shape[1] for tap in taps]
    assert sides == sorted(sides, reverse=True)
    last = np.asarray(model(photos)[taps[-1]])
    assert 1e-3 < last.std() < 1e5, "random features neither fade nor explode"


def test_the_last_tap_is_what_build_returns_without_taps(tiny, photos):
    np.testing.assert_array_equal(tiny(taps=["conv3_relu"])(photos)["conv3_relu"], tiny()(photos))


def test_build_names_an_unknown_tap_and_close_ones(tiny):
    with pytest.raises(ValueError, match=r"no layer 'conv1_rel'.*close: conv1_relu"):
        tiny(taps=["conv1_rel"])


def test_get_lists_the_registry_and_suggests():
    with pytest.raises(ValueError, match=r"'resnet5'.*Did you mean 'resnet50'.*vgg19"):
        backbones.get("resnet5")


def test_a_saved_backbone_loads_without_this_package(photos, tmp_path):
    model = backbones.build("vgg16", weights="random", size=(32, 32), taps=["block1_pool"])
    model.save(tmp_path / "vgg16.keras")
    again = keras.saving.load_model(tmp_path / "vgg16.keras")
    np.testing.assert_array_equal(again(photos)["block1_pool"], model(photos)["block1_pool"])


# Training mode


def test_batch_norm_stays_in_inference_mode(tiny, photos):
    model = tiny(trainable=True)
    before = [w.numpy() for w in model.non_trainable_weights]
    np.testing.assert_array_equal(model(photos, training=True), model(photos, training=False))
    for old, new in zip(before, model.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_build_is_frozen_unless_told(tiny):
    assert tiny().trainable_weights == []
    assert len(tiny(trainable=True).trainable_weights) == 6


def test_trainable_prefix_frees_the_layers_from_there_on(tiny):
    layers = tiny(trainable="conv2").get_layer("tiny").layers
    assert [x.name for x in layers if x.trainable_weights] == ["conv2", "conv3"]
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


def test_weights_come_back_from_a_file_and_from_a_folder(tiny, photos, tmp_path):
    expected = save_tiny(tmp_path / "tiny.weights.h5")(photos)
    path = backbones.resolve_weights("tiny", weights=str(tmp_path), profile="full")
    assert path == str(tmp_path / "tiny.weights.h5")
    np.testing.assert_allclose(tiny(weights=path)(photos), expected, atol=1e-6)
    np.testing.assert_allclose(tiny(weights=tmp_path)(photos), expected, atol=1e-6)


def test_imagenet_weights_come_from_the_keras_cache(tiny, offline, photos):
    expected = save_tiny(offline / "tiny.weights.h5")(photos)
    assert backbones.resolve_weights("tiny", weights="imagenet", profile="cpu") == "imagenet"
    np.testing.assert_allclose(tiny(weights="imagenet")(photos), expected, atol=1e-6)


@pytest.mark.parametrize("profile", ["cpu", "full"])
def test_missing_weights_say_which_file_goes_where(offline, profile):
    with pytest.raises(backbones.WeightsNotFound) as error:
        backbones.resolve_weights("resnet50", weights="imagenet", profile=profile)
    assert "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5" in str(error.value)
    assert str(offline) in str(error.value)


def test_quick_goes_on_with_random_weights_and_warns(offline):
    with pytest.warns(UserWarning, match=r"RANDOM weights.*resnet50"):
        used = backbones.resolve_weights("resnet50", weights="imagenet", profile="quick")
    assert used == "random"


def test_a_named_folder_without_the_file_is_an_error_even_in_quick(tmp_path):
    with pytest.raises(backbones.WeightsNotFound, match=r"vgg16\.weights\.h5"):
        backbones.resolve_weights("vgg16", weights=str(tmp_path), profile="quick")


def test_a_truncated_weight_file_is_named(tiny, offline):
    save_tiny(offline / "whole.weights.h5")
    path = offline / "tiny_notop.h5"
    path.write_bytes((offline / "whole.weights.h5").read_bytes()[:-1000])
    with pytest.raises(backbones.WeightsNotFound, match=rf"{path} is damaged.*Delete it"):
        backbones.resolve_weights("tiny", weights="imagenet", profile="quick")
    assert path.exists(), "the user's file is left alone"


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_network_are_refused(tiny, tmp_path):
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    other.save_weights(tmp_path / "tiny.weights.h5")
    with pytest.raises(backbones.WeightsNotFound, match="does not hold the weights of tiny"):
        tiny(weights=tmp_path / "tiny.weights.h5")


def test_a_failed_download_becomes_weights_not_found(offline, monkeypatch):
    def fail(**kwargs):
        raise Exception("URL fetch failure on https://…")

    monkeypatch.setattr(backbones, "_is_online", lambda url: True)
    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(backbones.WeightsNotFound, match="could not be downloaded"):
        backbones.find_weights("vgg16")


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("answer", "online"),
    [
        (lambda: time.sleep(3), False),
        (lambda: _raise(urllib.error.URLError("no route")), False),
        (lambda: _raise(urllib.error.HTTPError("", 403, "", {}, None)), True),
    ],
    ids=["silence", "no route", "an answer"],
)
def test_the_network_is_asked_once_and_briefly(monkeypatch, answer, online):
    asked = []

    def urlopen(request, timeout):
        asked.append(request)
        answer()
        return io.BytesIO()

    monkeypatch.setattr(backbones, "ONLINE_CHECK_SECONDS", 0.5)
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    backbones._is_online.cache_clear()
    start = time.monotonic()
    assert [backbones._is_online("https://weights.example") for _ in range(2)] == [online] * 2
    assert time.monotonic() - start < 2.5
    assert len(asked) == 1
    backbones._is_online.cache_clear()


def test_weights_fingerprint_follows_the_content(tmp_path):
    path = tmp_path / "mobilenet.weights.h5"
    prints = set()
    for value in (0, 1):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        model.set_weights([np.full((4, 2), value), np.zeros(2)])
        model.save_weights(path)
        prints.add(backbones.weights_fingerprint("mobilenet", str(path)))
    prints |= {backbones.weights_fingerprint("mobilenet", "random", seed=s) for s in (0, 1)}
    assert len(prints) == 4


@pytest.mark.parametrize(
    ("name", "parameters", "features"),
    [("mobilenet", 3_228_864, 1024), ("mobilenet_v2", 2_257_984, 1280)],
)
def test_architecture_has_the_published_size_and_needs_no_weights(name, parameters, features):
    network = backbones.architecture(name)
    assert (network.count_params(), network.output_shape[-1]) == (parameters, features)


def test_middle_and_stages_are_taps_unless_told_otherwise():
    resnet = backbones.get("resnet50")
    assert (resnet.middle, resnet.stages) == ("conv4_block6_out", resnet.taps)
    assert resnet.last_stage == "conv5"
    light = backbones.get("mobilenet_v2")
    assert light.middle in light.taps and set(light.stages) <= set(light.taps)
