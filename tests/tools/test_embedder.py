"""The embedder: the numbers of its model, whatever the sizes of the images."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import tll_utils as tll
from tll_utils import data, images, layers
from tll_utils.errors import DataError, TllError
from tll_utils.tools import embedder
from tll_utils.tools.embedder import Embedder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small model that sees all of an image: 8 × 8 gray levels, and their edges."""
    path = tmp_path_factory.mktemp("model") / "best_per_query.keras"
    inputs = keras.Input((None, None, 3))
    seen = layers.Resize((8, 8), gray=True, antialias=True, rounded=True)(inputs)
    keras.Model(inputs, keras.layers.Flatten()(seen)).save(path)
    return path


def test_embed_gives_the_models_own_numbers(saved, sample_dir):
    paths = data.load(sample_dir).left_paths[:20]
    draw = np.random.default_rng(0)
    arrays = [draw.integers(0, 256, (9 + i, 30, 3), dtype=np.uint8) for i in range(3)]
    found = Embedder(saved).embed([*paths, *arrays], show_progress=False)
    model = tll.load_model(saved)
    pictures = [*(images.decode(path) for path in paths), *arrays]
    wanted = np.concatenate([np.asarray(model(p[None].astype("float32"))) for p in pictures])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert np.abs(found - wanted).max() < 2e-3  # a gray level may be rounded the other way


def test_embed_of_a_frozen_network_is_what_the_features_are(sample_dir, tmp_path):
    paths = data.load(sample_dir).left_paths[:4]
    found = tll.Embedder("efficientnet_lite0", weights="random").embed(paths, show_progress=False)
    taps = tll.backbones.get("efficientnet_lite0").taps
    key = f"{taps[-1]}/avg"
    wanted = tll.features.embed(
        paths, "efficientnet_lite0", weights="random", keys=[key], store_dir=tmp_path,
        engine="keras", progress=False,
    )[key]  # fmt: skip
    np.testing.assert_allclose(found, tll.scoring.unit_norm(wanted), atol=1e-4)


def test_embed_gives_the_same_with_either_engine(sample_dir, tmp_path, monkeypatch):
    """Of a model that looks twice, through a network and at gray pixels."""
    pytest.importorskip("openvino")
    inputs = keras.Input((None, None, 3))
    inner = keras.Input((None, None, 3))
    seen = keras.layers.Conv2D(4, 3, strides=2)(layers.Resize((33, 40))(inner))
    network = keras.Model(inner, keras.layers.GlobalAveragePooling2D()(seen))
    gray = layers.Resize((6, 5), gray=True, antialias=True, rounded=True)(inputs)
    dense = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    outputs = keras.layers.Concatenate()([network(inputs), dense(gray)])
    keras.Model(inputs, outputs).save(tmp_path / "two_looks.keras")
    paths = data.load(sample_dir).left_paths[:10]
    by_keras = Embedder(tmp_path / "two_looks.keras").embed(paths, show_progress=False)
    monkeypatch.setattr(embedder, "MANY", 5)
    monkeypatch.setenv("TLL_ENGINE", "openvino")
    fast = Embedder(tmp_path / "two_looks.keras")
    np.testing.assert_allclose(fast.embed(paths, show_progress=False), by_keras, atol=1e-5)
    assert fast._fastest is not fast._keras
    model = tll.load_model(tmp_path / "two_looks.keras")
    own = np.asarray(model(images.decode(paths[0])[None].astype("float32")))[0]
    np.testing.assert_allclose(by_keras[0], own / np.linalg.norm(own), atol=1e-3)


def test_a_frozen_network_is_used_again_without_keras(sample_dir, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setenv("TLL_CACHE_DIR", str(tmp_path))
    paths = [str(path) for path in data.load(sample_dir).left_paths[:5]]
    by_keras = Embedder("efficientnet_lite0").embed(paths, show_progress=False)
    monkeypatch.setattr(embedder, "MANY", 5)
    monkeypatch.setenv("TLL_ENGINE", "openvino")
    Embedder("efficientnet_lite0").embed(paths, show_progress=False)
    code = (
        "import sys\nimport numpy as np\nimport tll_utils as tll\n"
        "found = tll.Embedder('efficientnet_lite0').embed(sys.argv[2:], show_progress=False)\n"
        "np.save(sys.argv[1], found)\n"
        "print(sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "found.npy"), *paths],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), by_keras, atol=1e-5)
    (outline,) = tmp_path.glob("networks/*.json")
    outline.write_text("half a netw")
    again = Embedder("efficientnet_lite0").embed(paths, show_progress=False)
    np.testing.assert_allclose(again, by_keras, atol=1e-5)


def test_a_cache_that_cannot_be_written_costs_time_only(sample_dir, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setenv("TLL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TLL_ENGINE", "openvino")
    monkeypatch.setattr(embedder, "MANY", 2)
    paths = data.load(sample_dir).left_paths[:2]
    fast = Embedder("efficientnet_lite0")
    assert fast.embed(paths, show_progress=False).shape[0] == 2
    assert fast._fastest is not fast._keras


def test_embed_cuts_faces_out_as_the_model_does(sample_dir, tmp_path, monkeypatch):
    """A made-up face, so that no detector is loaded."""
    face = np.array([1, 0, 0, 9, 9, 20, 30, 50, 30, 35, 40, 25, 60, 45, 60], np.float32)
    monkeypatch.setattr(images, "find_faces", lambda pictures: np.stack([face] * len(pictures)))
    inputs = keras.Input((None, None, 3))
    cut = layers.AlignFaces((24, 20), share=0.3)([inputs, layers.FindFaces()(inputs)])
    keras.Model(inputs, keras.layers.Flatten()(cut)).save(tmp_path / "cut.keras")
    path = data.load(sample_dir).left_paths[0]
    found = Embedder(tmp_path / "cut.keras").embed([path], show_progress=False)[0]
    model = tll.load_model(tmp_path / "cut.keras")
    wanted = np.asarray(model(images.decode(path)[None].astype("float32")))[0]
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-4)


def test_embed_with_a_model_that_takes_images_as_they_are(sample_dir, tmp_path):
    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs)).save(tmp_path / "m.keras")
    path = data.load(sample_dir).left_paths[0]
    mean = images.decode(path).mean(axis=(0, 1))
    found = Embedder(tmp_path / "m.keras").embed([path], show_progress=False)[0]
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-4)


def test_embed_names_a_file_that_cannot_be_used(saved, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.jpg: no image.*or leave it out"):
        Embedder(saved).embed([tmp_path / "bad.jpg"])
    with pytest.raises(DataError, match="shape"):
        Embedder(saved).embed([np.zeros((5, 5))])


def test_models_of_two_images_and_other_files_are_refused(tmp_path):
    sides = [keras.Input((None, None, 3), name=name) for name in ("left", "right")]
    pooled = [keras.layers.GlobalAveragePooling2D()(side) for side in sides]
    keras.Model(sides, keras.layers.Dot(1)(pooled)).save(tmp_path / "two.keras")
    with pytest.raises(TllError, match="takes two images"):
        Embedder(tmp_path / "two.keras").embed([])
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(TllError, match=r"text\.keras.*not a zip file"):
        Embedder(tmp_path / "text.keras").embed([])
    content = bytearray((tmp_path / "two.keras").read_bytes())
    content[content.index(b'"class_name"')] ^= 1
    (tmp_path / "flipped.keras").write_bytes(content)
    with pytest.raises(TllError, match=r"flipped\.keras: cannot be read as a model"):
        Embedder(tmp_path / "flipped.keras").embed([])
    with pytest.raises(TllError, match="no such model"):
        Embedder(tmp_path / "none.keras")


def test_best_is_the_model_of_the_run_or_a_frozen_network(saved, tmp_path):
    (tmp_path / "models").mkdir()
    assert Embedder.best(tmp_path).source == "efficientnet_lite0"
    (tmp_path / "models" / "best_per_query.keras").write_bytes(saved.read_bytes())
    assert Embedder.best(tmp_path).is_file


def test_a_model_with_code_inside_is_refused(tmp_path):
    inputs = keras.Input((None, None, 3))
    hidden = keras.layers.Lambda(lambda x: x)(inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(hidden)
    keras.Model(inputs, pooled).save(tmp_path / "evil.keras")
    with pytest.raises(TllError, match=r"evil\.keras"):
        Embedder(tmp_path / "evil.keras").embed([])
