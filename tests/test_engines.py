"""OpenVINO gives what Keras gives."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from tll_utils import engines, features
from tll_utils.errors import SettingsError
from tll_utils.features import fronts
from tll_utils.features.embedding import Embedder

IMAGES = np.random.default_rng(0).uniform(0, 255, (5, 64, 64, 3)).astype("float32")
KEYS = ["a/map", "b/avg"]


def network():
    inputs = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    return keras.Model(inputs, {"b/avg": keras.layers.GlobalAveragePooling2D()(x), "a/map": x})


def test_resolve_names_the_engines_it_knows():
    with pytest.raises(SettingsError, match="auto, keras, openvino"):
        engines.resolve("warp")


def test_resolve_says_how_to_get_what_is_missing(monkeypatch):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    assert engines.resolve("auto") == "keras"
    with pytest.raises(SettingsError, match=r"tll-utils\[fast\]"):
        engines.resolve("openvino")


@pytest.mark.parametrize(("engine", "tolerance"), [("openvino", 1e-5), ("openvino-bfloat16", 0.1)])
def test_openvino_gives_the_features_of_keras(engine, tolerance):
    pytest.importorskip("openvino")
    taps = features.backbones.get("efficientnet_lite0").taps
    keys = [f"{taps[0]}/avg", f"{taps[-1]}/avg", f"{taps[-1]}/halves"]
    tap = fronts.Tap("efficientnet_lite0", "imagenet", (64, 64), True, "")
    ours = Embedder(tap, keys, engine=engine)(IMAGES)
    theirs = Embedder(tap, keys, engine="keras")(IMAGES)
    assert set(ours) == set(theirs) == set(keys)
    for key in keys:
        expected = np.asarray(theirs[key])
        np.testing.assert_allclose(ours[key], expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "convnext_tiny"])
def test_openvino_knows_the_layers_of_other_families(name):
    pytest.importorskip("openvino")
    key = f"{features.backbones.get(name).taps[0]}/avg"
    tap = fronts.Tap(name, "random", (32, 32), False, "")
    pixels = IMAGES[:2, :32, :32]
    ours, theirs = (Embedder(tap, [key], engine=e)(pixels)[key] for e in ("openvino", "keras"))
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_a_cached_network_is_not_built_again(tmp_path):
    pytest.importorskip("openvino")
    cache = engines.cache_path(tmp_path, KEYS)
    first = engines.compile_model(network, KEYS, "openvino", cache=cache).call(IMAGES)
    again = engines.compile_model(pytest.fail, KEYS, "openvino", cache=cache).call(IMAGES)
    for key, rows in first.items():
        np.testing.assert_array_equal(again[key], rows)
    assert {path.suffix for path in tmp_path.iterdir()} == {".xml", ".bin"}


AT_ONCE = """
import os, pathlib, sys, threading
import numpy as np
from tll_utils import engines
call = engines.compile_model(None, ["b/avg"], "openvino", cache=pathlib.Path(sys.argv[1])).call
sys.setswitchinterval(1e-6)
start = threading.Barrier(16)
def work():
    start.wait()
    call(np.zeros((1, 64, 64, 3), np.float32))
threads = [threading.Thread(target=work, daemon=True) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join(10)
os._exit(any(thread.is_alive() for thread in threads))
"""


def test_threads_that_are_the_first_to_use_it_do_not_wait_for_each_other(tmp_path):
    pytest.importorskip("openvino")
    cache = engines.cache_path(tmp_path, KEYS)
    engines.compile_model(network, KEYS, "openvino", cache=cache)
    command = [sys.executable, "-c", AT_ONCE, str(cache)]
    for _ in range(4):  # without the mending, each of them stood still every other time
        assert subprocess.run(command, timeout=30).returncode == 0


def test_a_damaged_cache_is_written_anew(tmp_path):
    pytest.importorskip("openvino")
    cache = engines.cache_path(tmp_path, KEYS)
    cache.write_text("half a netw")
    engine = engines.compile_model(network, KEYS, "openvino", cache=cache)
    assert engine.call(IMAGES)["b/avg"].shape == (5, 4)
    assert engines.compile_model(pytest.fail, KEYS, "openvino", cache=cache)


def test_a_network_that_cannot_be_converted_runs_in_keras_with_a_word(monkeypatch):
    pytest.importorskip("openvino")

    def refuse(*args, **kwargs):
        raise RuntimeError("no such operation")

    monkeypatch.setattr(keras.Model, "export", refuse)
    with pytest.warns(UserWarning, match="no such operation"):
        engine = engines.compile_model(network, KEYS, "openvino")
    assert engine.call(IMAGES)["b/avg"].shape == (5, 4)
