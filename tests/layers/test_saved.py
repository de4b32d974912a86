"""What every layer must do: give its shape, survive saving, keep its numbers and its precision."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tll_utils import layers

LAYERS = {
    "Resize": (lambda: layers.Resize((6, 4), gray=True, antialias=True), (9, 7, 3)),
    "Resize_rounded": (lambda: layers.Resize((6, 4), rounded=True), (9, 7, 3)),
    "CellPooling": (lambda: layers.CellPooling(2, 3, mode="max"), (5, 7, 2)),
    "LocalResponseNormalization": (layers.LocalResponseNormalization, (4, 4, 9)),
    "OrientedGradients": (lambda: layers.OrientedGradients(cell=4, num_directions=5), (8, 8, 3)),
    "SignedRoot": (lambda: layers.SignedRoot(smooth=True), (5,)),
    "Standardise": (layers.Standardise, (5,)),
    "Whitening": (lambda: layers.Whitening(2), (5,)),
    "Branches": (lambda: layers.Branches(keras.layers.Dense(3)), (2, 5)),
    "PairDistance": (layers.PairDistance, (2, 5)),
    "PairDifference": (layers.PairDifference, (2, 5)),
    "CandidateScores": (layers.CandidateScores, (4, 5)),
}
OF_FACES = ("FindFaces", "AlignFaces")  # in test_faces.py
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


@pytest.fixture(params=POLICIES)
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def values(*shape):
    return np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)


def all_layers():
    """One model with an output of every layer, their weights not as they start."""
    inputs = {name: keras.Input(shape, name=name) for name, (_, shape) in LAYERS.items()}
    outputs = {name: make()(inputs[name]) for name, (make, _) in LAYERS.items()}
    outputs["mirrored"] = keras.ops.flip(inputs["Resize"], axis=2)
    outputs["stacked"] = keras.ops.stack([inputs["SignedRoot"], inputs["Standardise"]], axis=-1)
    model = keras.Model(inputs, outputs)
    model.set_weights([values(*weight.shape) / 255 for weight in model.weights])
    return model


def examples():
    return {name: values(3, *shape) for name, (_, shape) in LAYERS.items()}


def test_every_layer_is_tested_here():
    offered = {name for name in vars(layers) if name[0].isupper()}
    assert {name.split("_")[0] for name in LAYERS} | {*OF_FACES} == offered


@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_what_they_announce_under_every_policy(name, policy):
    make, shape = LAYERS[name]
    inputs = keras.Input(shape)
    announced = make()(inputs)
    computed = make()(values(3, *shape))
    assert computed.shape == (3, *announced.shape[1:])
    assert keras.backend.standardize_dtype(computed.dtype) == announced.dtype
    assert np.isfinite(np.asarray(computed, np.float32)).all()
    if name != "Branches":  # which gives what its network gives
        assert announced.dtype == "float32"


def test_layers_keep_their_numbers_under_every_policy(policy):
    weights_of = [name for name in LAYERS if name != "Branches"]
    mixed = all_layers()(examples())
    keras.config.set_dtype_policy("float32")
    full = all_layers()(examples())
    for name in weights_of:
        np.testing.assert_allclose(mixed[name], full[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_layers_survive_their_config(policy):
    for name, (make, _) in LAYERS.items():
        layer = make()
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config(), name


def test_layers_reload_in_safe_mode_with_their_numbers(tmp_path, policy):
    model = all_layers()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    expected, found = model(examples()), again(examples())
    for name in expected:
        np.testing.assert_array_equal(
            np.asarray(found[name], np.float32), np.asarray(expected[name], np.float32), name
        )


ELSEWHERE = """
import sys, keras, numpy as np
from tll_utils import layers
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
outputs = model(dict(np.load(sys.argv[2])))
np.savez(sys.argv[3], **{name: keras.ops.convert_to_numpy(x) for name, x in outputs.items()})
"""


@pytest.mark.parametrize("backend", ["openvino", "jax", "torch"])
def test_saved_layers_give_the_same_on_another_backend(backend, tmp_path):
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    model = all_layers()
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "in.npz", **examples())
    paths = [tmp_path / name for name in ("model.keras", "in.npz", "out.npz")]
    environ = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-c", ELSEWHERE, *paths]
    run = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = np.load(tmp_path / "out.npz")
    for name, expected in model(examples()).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-3, err_msg=name)


TRAINING = """
import keras, numpy as np
from tll_utils import layers, losses
keras.utils.set_random_seed(0)
examples = keras.Input((4, 6))
head = [keras.Input((6,)), layers.Standardise(), keras.layers.Dense(6)]
head = keras.Sequential([*head, keras.layers.UnitNormalization()])
scores = layers.CandidateScores()(layers.Branches(head)(examples))
model = keras.Model(examples, scores)
model.compile("adam", losses.CandidateSoftmaxLoss(), metrics=[losses.CandidateTopK()])
views = np.random.default_rng(0).normal(size=(64, 4, 6))
views[:, 2, :3] = views[:, 0, :3]
curve = model.fit(views, np.ones(64, int), epochs=20, verbose=0).history["loss"]
assert np.isfinite(curve).all() and curve[-1] < 0.9 * curve[0], curve
"""


@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="JAX is not installed")
def test_layers_and_losses_train_on_jax():
    environ = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", TRAINING]
    run = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
