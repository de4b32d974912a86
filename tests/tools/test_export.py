"""Exported models: the same numbers, by another program."""

import importlib.util

import keras
import pytest

from tll_utils import layers
from tll_utils.errors import TllError
from tll_utils.tools import export
from tll_utils.tools.embedder import Embedder


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.keras"
    inputs = keras.Input((None, None, 3))
    seen = layers.Resize((16, 16))(inputs)
    maps = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(seen)
    keras.Model(inputs, keras.layers.Flatten()(maps)).save(path)
    return Embedder(path)


def test_litert_gives_the_models_numbers(embedder, dataset, tmp_path):
    path = export.export(embedder, tmp_path / "small.tflite", "litert")
    said = export.compared(embedder, path, dataset, count=6)
    assert float(said.split()[2].rstrip(";")) < 1e-4
    before, after = said.split("among 6: ")[1].split(", ")[:2]
    assert before.split()[0] == after.split()[0]


def test_onnx_without_its_libraries_says_what_to_install(embedder, dataset, tmp_path):
    if importlib.util.find_spec("tf2onnx"):
        path = export.export(embedder, tmp_path / "small.onnx", "onnx")
        assert float(export.compared(embedder, path, dataset, count=6).split()[2][:-1]) < 1e-4
    else:
        with pytest.raises(TllError, match="pip install"):
            export.export(embedder, tmp_path / "small.onnx", "onnx")
    assert not list(tmp_path.glob(".*draft*"))
