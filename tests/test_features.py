"""Every image is embedded once, and what is stored is what would be computed again."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from tll_utils import backbones, data, features

PIXELS, DOUBLED = "pixels/avg", "doubled/avg"


def construct_mirror(*, include_top, weights, input_shape):
    """A network whose features can be told by hand: the pixels, and the pixels times two."""
    images = keras.Input(input_shape)
    pixels = keras.layers.Activation("linear", name="pixels")(images)
    doubled = keras.layers.DepthwiseConv2D(
        1, use_bias=False, depthwise_initializer=keras.initializers.Constant(2.0), name="doubled"
    )(pixels)
    model = keras.Model(images, doubled)
    if weights:
        model.load_weights(weights)
    return model


@pytest.fixture(autouse=True)
def mirror(monkeypatch):
    entry = backbones.Backbone(
        "mirror", construct_mirror, lambda images: images, ("pixels", "doubled"), size=(6, 6)
    )
    monkeypatch.setitem(backbones.REGISTRY, "mirror", entry)


@pytest.fixture
def paths(tmp_path):
    """Seven files of one colour each; PNG inside, so that the colours are exact."""
    (tmp_path / "images").mkdir()
    files = [tmp_path / "images" / f"{i}.jpg" for i in range(7)]
    for i, path in enumerate(files):
        save(path, np.full((6, 6, 3), (10 * i, 100, 255 - i)))
    return files


def save(path, pixels):
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, format="PNG")


@pytest.fixture
def embed(tmp_path):
    def call(paths, **options):
        options = {"weights": "random", "store_dir": tmp_path / "store", **options}
        return features.embed(paths, "mirror", progress=False, **options)

    return call


@pytest.fixture
def passes(monkeypatch):
    """Records each forward pass: how many images, for which keys."""
    record = []

    class Recorder(features.BatchEmbedder):
        def __init__(self, backbone, keys, **options):
            super().__init__(backbone, keys, **options)
            self.keys = tuple(keys)

        def __call__(self, batch):
            record.append((len(batch), self.keys))
            return super().__call__(batch)

    monkeypatch.setattr(features, "BatchEmbedder", Recorder)
    return record


# Values by hand


def test_embed_averages_each_map_in_the_order_of_the_paths(embed, paths):
    order = [3, 0, 6, 3]
    rows = embed([paths[i] for i in order])
    expected = np.array([(10 * i, 100, 255 - i) for i in order])
    assert rows[PIXELS].dtype == np.float32
    np.testing.assert_allclose(rows[PIXELS], expected, rtol=1e-6)
    np.testing.assert_allclose(rows[DOUBLED], 2 * expected, rtol=1e-6)


def test_poolings_by_hand(embed, tmp_path):
    pixels = np.zeros((6, 6, 3))
    pixels[:3, :3], pixels[:3, 3:], pixels[3:, :3], pixels[3:, 3:] = 10, 20, 30, 40
    save(tmp_path / "a.png", pixels)
    rows = embed(
        [tmp_path / "a.png"], taps=["pixels"], pooling=["avg", "max", "halves", "grid2", "grid3"]
    )
    channel = {key.partition("/")[2]: row[0, ::3] for key, row in rows.items()}
    np.testing.assert_allclose(channel["avg"], [25])
    np.testing.assert_allclose(channel["max"], [40])
    # Cells are 4 of the 6 lines long, so the upper half has 3 upper lines and 1 lower one.
    np.testing.assert_allclose(channel["halves"], [20, 30])
    np.testing.assert_allclose(channel["grid2"], [17.5, 22.5, 27.5, 32.5])
    grid3 = [17.5, 20, 22.5, 22.5, 25, 27.5, 27.5, 30, 32.5]
    np.testing.assert_allclose(channel["grid3"], grid3)


@pytest.mark.parametrize(
    ("length", "cells"), [(14, [(0, 8), (3, 11), (6, 14)]), (7, [(0, 4), (1, 5), (3, 7)])]
)
def test_cells_reach_from_edge_to_edge_and_overlap(length, cells):
    maps = np.arange(length, dtype="float32")[None, :, None, None] * np.ones((1, 1, length, 1))
    rows = np.reshape(features.POOLINGS["grid3"](maps), (3, 3))[:, 0]
    np.testing.assert_allclose(rows, [np.mean(range(*cell)) for cell in cells])


@pytest.mark.parametrize(
    "flip, cells", [(True, [22.5, 17.5, 32.5, 27.5]), ("vertical", [27.5, 32.5, 17.5, 22.5])]
)
def test_flip_mirrors_along_its_axis_only(embed, tmp_path, flip, cells):
    pixels = np.zeros((6, 6, 3))
    pixels[:3, :3], pixels[:3, 3:], pixels[3:, :3], pixels[3:, 3:] = 10, 20, 30, 40
    save(tmp_path / "a.png", pixels)
    rows = embed([tmp_path / "a.png"], taps=["pixels"], pooling=["grid2"], flip=flip)
    np.testing.assert_allclose(rows["pixels/grid2"][0, ::3], cells)


def test_folding_the_weights_leaves_the_features_as_they_are():
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    options = {"weights": "random", "size": (32, 32)}
    folded = features.BatchEmbedder("mobilenet", ["conv_pw_13_relu/avg"], **options)(images)
    expected = np.asarray(backbones.build("mobilenet", **options)(images)).mean(axis=(1, 2))
    np.testing.assert_allclose(folded["conv_pw_13_relu/avg"], expected, rtol=1e-3, atol=1e-3)


def test_embed_dataset_hands_every_role_its_rows(paths, tmp_path):
    dataset = SimpleNamespace(
        left_paths=paths[:2],
        right_paths=paths[2:4],
        query_paths=paths[4:5],
        gallery_paths=paths[5:],
    )
    views = features.embed_dataset(
        dataset, "mirror", weights="random", store_dir=tmp_path, progress=False
    )[PIXELS]
    reds = views.map(lambda rows: rows[:, 0].tolist())
    assert reds == features.Views([0, 10], [20, 30], [40], [50, 60])


def test_batches_stay_below_the_size_that_the_allocator_gives_back(monkeypatch):
    monkeypatch.setattr(features.tf.config, "list_physical_devices", lambda kind: [])
    floats = 2**25 // 4
    for side, expected in [(1, 32), (2**10, floats // 2**20 // 3), (2**12, 1)]:
        images = keras.Input((side, side, 3))
        network = keras.Model(images, keras.layers.Activation("relu")(images))
        assert features._suitable_batch_size(network) == expected


# What is computed, and what is not


def test_equal_files_are_embedded_once_for_all_taps_and_poolings(embed, paths, passes):
    paths[1].write_bytes(paths[0].read_bytes())
    embed(paths + paths, pooling=("avg", "max"))
    keys = ("pixels/avg", "pixels/max", "doubled/avg", "doubled/max")
    assert passes == [(6, keys)]


def test_a_warm_store_computes_nothing_and_gives_the_same_bits(embed, paths, passes):
    cold = embed(paths)
    passes.clear()
    warm = embed(paths[::-1])
    assert passes == []
    for key, rows in cold.items():
        np.testing.assert_array_equal(warm[key][::-1], rows)


def test_only_the_missing_keys_and_images_are_computed(embed, paths, passes):
    embed(paths[:5], taps=["pixels"])
    passes.clear()
    rows = embed(paths, taps=["pixels", "doubled"])
    assert sorted(passes) == [(2, (PIXELS, DOUBLED)), (5, (DOUBLED,))]
    np.testing.assert_allclose(rows[DOUBLED], 2 * rows[PIXELS])


def test_exact_keys_and_what_is_stored_along_with_them(embed, paths, passes):
    rows = embed(paths[:5], keys=[DOUBLED], also=["pixels/max"])
    assert list(rows) == [DOUBLED]
    embed(paths[:5], keys=["pixels/max"])  # found
    embed(paths[:5], keys=["pixels/max"], also=[PIXELS])  # complete, so nothing is added
    assert passes == [(5, (DOUBLED, "pixels/max"))]
    embed(paths, keys=["pixels/max"], also=[PIXELS])  # two new images
    assert passes[1:] == [(2, ("pixels/max", PIXELS))]


def test_a_data_set_goes_through_a_backbone_once(paths, passes, tmp_path):
    roles = ("left_paths", "right_paths", "query_paths", "gallery_paths")
    dataset = SimpleNamespace(**dict.fromkeys(roles, paths))
    options = {"weights": "random", "store_dir": tmp_path, "progress": False}
    for keys in ([PIXELS], ["pixels/grid3"], ["doubled/max", "doubled/halves"]):
        features.embed_dataset(dataset, "mirror", keys=keys, **options)
    assert [count for count, _ in passes] == [7]


def test_a_changed_image_is_embedded_again_alone(embed, paths, passes):
    embed(paths)
    passes.clear()
    save(paths[2], np.full((6, 6, 3), 77))
    rows = embed(paths)
    assert [count for count, _ in passes] == [1]
    np.testing.assert_allclose(rows[PIXELS][2], 77)
    np.testing.assert_allclose(rows[PIXELS][3], (30, 100, 252))


@pytest.mark.parametrize("change", [{"size": (4, 4)}, {"flip": True}, {"seed": 1}])
def test_another_recipe_finds_nothing_stored(embed, paths, passes, change):
    embed(paths)
    embed(paths, **change)
    assert [count for count, _ in passes] == [7, 7]


def test_another_weight_file_of_the_same_name_finds_nothing_stored(embed, paths, tmp_path):
    path = tmp_path / "mirror.weights.h5"
    for scale in (3.0, 5.0):
        network = construct_mirror(include_top=False, weights=None, input_shape=(6, 6, 3))
        network.set_weights([np.full((1, 1, 3, 1), scale)])
        network.save_weights(path)
        rows = embed(paths, weights=str(path))
        np.testing.assert_allclose(rows[DOUBLED], scale * rows[PIXELS])


# Killed, damaged


@pytest.mark.parametrize("kill_at", [0, 1, 2])
@pytest.mark.parametrize("place", ["network", "disk"])
def test_a_killed_run_is_resumed(embed, paths, passes, monkeypatch, kill_at, place):
    monkeypatch.setattr(features, "SHARD_IMAGES", 2)
    with monkeypatch.context() as patch:
        dies = _dies_after(kill_at, np.savez if place == "disk" else features._require_finite)
        patch.setattr(*((np, "savez") if place == "disk" else (features, "_require_finite")), dies)
        with pytest.raises(KeyboardInterrupt):
            embed(paths, batch_size=2)
    passes.clear()
    rows = embed(paths, batch_size=2)
    assert sum(count for count, _ in passes) == 7 - 2 * kill_at
    np.testing.assert_allclose(rows[PIXELS][:, 0], np.arange(7) * 10)


def _dies_after(num_calls, function):
    calls = iter(range(num_calls))

    def call(*args, **kwargs):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    return call


def test_a_half_written_shard_is_never_read(embed, paths, passes, tmp_path):
    embed(paths)
    (shard,) = tmp_path.glob("store/*/*.npz")
    shard.rename(shard.with_suffix(".123.part"))
    embed(paths)
    assert [count for count, _ in passes] == [7, 7]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 0.99])
def test_a_damaged_shard_is_reported_and_embedded_again(embed, paths, tmp_path, share):
    cold = embed(paths)
    (shard,) = tmp_path.glob("store/*/*.npz")
    content = shard.read_bytes()
    shard.write_bytes(content[: int(share * len(content))])
    with pytest.warns(UserWarning, match="is damaged"):
        again = embed(paths)
    np.testing.assert_array_equal(again[PIXELS], cold[PIXELS])


def test_a_flipped_bit_in_a_shard_is_found(embed, paths, tmp_path):
    cold = embed(paths)
    (shard,) = tmp_path.glob("store/*/*.npz")
    content = bytearray(shard.read_bytes())
    content[content.index(cold[PIXELS].tobytes()) + 7] ^= 0x40
    shard.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged"):
        np.testing.assert_array_equal(embed(paths)[PIXELS], cold[PIXELS])


# Bad input


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGB", "JPEG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("I;16", "PNG"),
    ],
)
def test_embed_takes_what_read_image_takes(embed, tmp_path, mode, file_format):
    path = tmp_path / "odd.jpg"
    gray = Image.new("L", (9, 7), 120)
    if mode == "I;16":
        image = Image.fromarray(np.full((7, 9), 120 << 8, np.uint16))
    else:
        image = gray.convert("RGB").convert(mode)
    image.save(path, format="JPEG" if mode in ("L", "RGB", "CMYK") else "PNG")
    expected = data.read_image(path).mean(axis=(0, 1))
    np.testing.assert_allclose(embed([path])[PIXELS][0], expected, atol=1.5)


@pytest.mark.parametrize("content", [b"", b"no image", None, "truncated"])
def test_a_bad_file_is_named(embed, paths, content):
    bad = paths[3]
    if content is None:
        bad.unlink()
    elif content == "truncated":
        Image.effect_noise((64, 64), 50).convert("RGB").save(bad, format="JPEG")
        bad.write_bytes(bad.read_bytes()[:-500])
    else:
        bad.write_bytes(content)
    with pytest.raises(data.DataError, match=str(bad)):
        embed(paths)


def test_unknown_pooling_tap_and_backbone_are_named(embed, paths, tmp_path):
    with pytest.raises(ValueError, match=r"avg, max.*pooling='avg'"):
        embed(paths, pooling="avg")
    with pytest.raises(ValueError, match="no layer 'middle'"):
        embed(paths, taps=["middle"])
    with pytest.raises(ValueError, match="Unknown backbone 'resnet49'"):
        features.embed(paths, "resnet49", store_dir=tmp_path)


def test_features_that_are_not_finite_are_refused(embed, paths, tmp_path):
    network = construct_mirror(include_top=False, weights=None, input_shape=(6, 6, 3))
    network.set_weights([np.full((1, 1, 3, 1), np.nan)])
    network.save_weights(tmp_path / "nan.weights.h5")
    with pytest.raises(ValueError, match=r"0\.jpg.*not finite"):
        embed(paths, weights=str(tmp_path / "nan.weights.h5"))
    assert not list(tmp_path.glob("store/*/*.npz"))
