"""Image towers of KerasHub, from tiny presets with random weights that the tests save."""

import keras
import numpy as np
import pytest

from tll_utils.errors import WeightsNotFound
from tll_utils.features import backbones, registry
from tll_utils.features.zoo import hub

NAMES = [name for name, entry in registry.REGISTRY.items() if entry.taps == hub.TAPS]
TINY = {"hidden_dim": 16, "num_layers": hub.NUM_BLOCKS, "num_heads": 2, "intermediate_dim": 16}
needs_hub = pytest.mark.skipif(not hub.is_installed(), reason="the extra `hub`")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (2, *hub.SIZE, 3)).astype("float32")


def save_preset(name, folder):
    """Saves what KerasHub would download, but tiny; returns it."""
    import keras_hub

    entry = registry.get(name)
    models, kind = keras_hub.models, entry.constructor.args[0]
    shape = {"patch_size": entry.constructor.keywords["patch"], "image_shape": (*hub.SIZE, 3)}
    if kind.startswith("DINO"):
        network = getattr(models, f"{kind}Backbone")(**TINY, **shape)
    else:
        vision = getattr(models, f"{kind}VisionEncoder")(**TINY, **shape)
        text = {"vocabulary_size": 32, "embedding_dim": 16, **TINY}
        text |= {"num_layers": 1, "max_sequence_length": 8}
        options = {"projection_dim": 8} if kind == "CLIP" else {}
        encoder = getattr(models, f"{kind}TextEncoder")
        if kind == "SigLIP":
            options, text["projection_dim"] = {}, 16
        network = getattr(models, f"{kind}Backbone")(vision, encoder(**text), **options)
    network.save_to_preset(str(folder / entry.files[0].partition("/")[0]))
    return network


def embeddings_of(network, preprocessed):
    """What KerasHub itself says of images."""
    if hasattr(network, "vision_encoder"):
        return network.get_vision_embeddings(preprocessed)
    return network(preprocessed)[:, 0]


@needs_hub
@pytest.mark.parametrize("name", ["clip_vit_b32", "siglip2_base", "dinov2_small", "dinov3_small"])
def test_a_preset_gives_kerashubs_embedding_and_maps_of_the_blocks(name, images, tmp_path):
    network, entry = save_preset(name, tmp_path), registry.get(name)
    options = {"weights": tmp_path, "taps": entry.taps, "trainable": "last_stage"}
    model = backbones.build(name, **options)
    found = model(images)
    expected = embeddings_of(network, entry.preprocess(images))
    np.testing.assert_allclose(found["embedding"], expected, atol=1e-4)
    side = hub.SIZE[0] // entry.constructor.keywords["patch"]
    assert all(found[tap].shape == (2, side, side, 16) for tap in entry.taps[:-1])
    assert 0 < len(model.trainable_weights) < len(model.weights) / 2
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")(images)
    np.testing.assert_allclose(again["embedding"], found["embedding"], atol=1e-5)


@needs_hub
@pytest.mark.parametrize("name", NAMES)
def test_every_tower_builds_with_random_weights(name):
    model = backbones.build(name, weights="random", trainable="last_stage")
    assert len(model.output.shape) == 2
    assert 0 < len(model.trainable_weights) < len(model.weights) / 2


def test_towers_are_seven_and_a_missing_preset_is_named(tmp_path):
    assert len(NAMES) == 7
    with pytest.raises(WeightsNotFound, match="clip_vit_base_patch32/model.weights.h5"):
        backbones.find_weights("clip_vit_b32", tmp_path)


def test_a_downloaded_preset_is_found_the_newest_version(monkeypatch, tmp_path):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    assert hub.downloaded("clip_x") is None
    for version in "12":
        folder = tmp_path / "models/keras/clip/keras/clip_x" / version
        folder.mkdir(parents=True)
        (folder / hub.WEIGHTS).touch()
    assert hub.downloaded("clip_x").parent.name == "2"
