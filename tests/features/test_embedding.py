"""Every image is embedded once, and what is stored is what would be computed again."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from tll_utils import engines, features, files, images
from tll_utils.errors import DataError, TllError, UnknownBackbone
from tll_utils.features import backbones, embedding, fronts, pooling, store

PIXELS, DOUBLED = "pixels/avg", "doubled/avg"

pytestmark = pytest.mark.usefixtures("mirror")


@pytest.fixture
def embed(tmp_path):
    def call(paths, **options):
        options = {"weights": "random", "store_dir": tmp_path / "store", **options}
        options.setdefault("engine", "keras")  # to make OpenVINO's takes longer than a few images
        return features.embed(paths, "mirror", progress=False, **options)

    return call


@pytest.fixture
def passes(monkeypatch):
    """Records each forward pass: how many images, for which keys."""
    record = []

    class Recorder(embedding.Embedder):
        def __init__(self, tap, keys, **options):
            super().__init__(tap, keys, **options)
            self.keys = tuple(keys)

        def __call__(self, batch):
            record.append((len(batch), self.keys))
            return super().__call__(batch)

    monkeypatch.setattr(embedding, "Embedder", Recorder)
    return record


# Values by hand


def assert_stored(found, expected):
    """Equal to the precision of the store, which keeps zeros as they are."""
    np.testing.assert_allclose(found, expected, rtol=1.2e-4)


def test_embed_averages_each_map_in_the_order_of_the_paths(embed, paths):
    order = [3, 0, 6, 3]
    rows = embed([paths[i] for i in order], engine="auto")
    expected = np.array([(10 * i, 100, 255 - i) for i in order])
    assert rows[PIXELS].dtype == np.float32
    assert_stored(rows[PIXELS], expected)
    assert_stored(rows[DOUBLED], 2 * expected)


def test_embed_pools_by_hand(embed, quarters):
    keys = pooling.keys_of(["pixels"], list(pooling.POOLINGS))
    rows = embed([quarters], keys=keys, engine="auto")
    channel = {key.partition("/")[2]: row[0, ::3] for key, row in rows.items()}
    assert_stored(channel["avg"], [25])
    assert_stored(channel["max"], [40])
    # Cells are 4 of the 6 lines long, so the upper half has 3 upper lines and 1 lower one.
    assert_stored(channel["halves"], [20, 30])
    assert_stored(channel["grid2"], [17.5, 22.5, 27.5, 32.5])
    grid3 = [17.5, 20, 22.5, 22.5, 25, 27.5, 27.5, 30, 32.5]
    assert_stored(channel["grid3"], grid3)
    for name, row in channel.items():
        assert pooling.num_cells(name) == len(row)


@pytest.mark.parametrize(
    ("flip", "cells"), [(True, [22.5, 17.5, 32.5, 27.5]), ("vertical", [27.5, 32.5, 17.5, 22.5])]
)
def test_flip_mirrors_along_its_axis_only(embed, quarters, flip, cells):
    rows = embed([quarters], keys=["pixels/grid2"], flip=flip, engine="auto")
    assert_stored(rows["pixels/grid2"][0, ::3], cells)


def test_mirrored_images_go_through_the_network_that_is_there(embed, quarters, monkeypatch):
    pytest.importorskip("openvino")
    embed([quarters], keys=["pixels/avg"], engine="openvino")
    monkeypatch.setattr(embedding, "_network", lambda *args: pytest.fail("made again"))
    rows = embed([quarters], keys=["pixels/grid2"], engine="openvino", flip=True)
    assert_stored(rows["pixels/grid2"][0, ::3], [22.5, 17.5, 32.5, 27.5])


def test_embedder_folds_weights_and_leaves_the_features_as_they_are():
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    tap = fronts.Tap("mobilenet", "random", (32, 32), False, "")
    folded = embedding.Embedder(tap, ["conv_pw_13_relu/avg"])(images)
    network = backbones.build("mobilenet", weights="random", size=(32, 32))
    expected = np.asarray(network(images)).mean(axis=(1, 2))
    np.testing.assert_allclose(folded["conv_pw_13_relu/avg"], expected, rtol=1e-3, atol=1e-3)


def test_embed_computes_in_float32_under_any_policy(embed, paths):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        rows = embed(paths)
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert_stored(rows[DOUBLED][3], (60, 200, 504))


def test_embed_dataset_hands_every_role_its_rows_and_front(paths, tmp_path):
    dataset = SimpleNamespace(
        left_paths=paths[:2],
        right_paths=paths[2:4],
        query_paths=paths[4:5],
        gallery_paths=paths[5:],
    )
    views = features.embed_dataset(
        dataset, "mirror", weights="random", store_dir=tmp_path, flip=True, progress=False
    )[PIXELS]
    for rows, expected in zip(views, [[0, 10], [20, 30], [40], [50, 60]], strict=True):
        assert_stored(rows[:, 0], expected)
    assert views.front == fronts.Tap("mirror", "random", (6, 6), True, PIXELS, 0)


def test_pixels_are_bytes_by_role_and_gray_if_told(paths):
    roles = ("left_paths", "right_paths", "query_paths", "gallery_paths")
    dataset = SimpleNamespace(**dict(zip(roles, (paths[:1], paths[:2], [], paths), strict=True)))
    color = features.pixels(dataset, size=(4, 5), progress=False)
    assert color.gallery.dtype == np.uint8 and color.gallery.shape == (7, 4, 5, 3)
    assert color.query.shape == (0, 4, 5, 3)
    np.testing.assert_array_equal(color.right[1, 0, 0], (10, 100, 254))
    gray = features.pixels(dataset, size=(4, 5), gray=True, progress=False)
    np.testing.assert_array_equal(gray.gallery, images.grayscale(color.gallery))
    assert gray.front == fronts.Pixels((4, 5), gray=True)


def test_batches_stay_below_the_size_that_the_allocator_gives_back(monkeypatch):
    monkeypatch.setattr(engines, "_has_accelerator", lambda: False)
    floats = 2**25 // 4
    for side, expected in [(1, 32), (2**10, floats // 2**20 // 3), (2**12, 1)]:
        inputs = keras.Input((side, side, 3))
        network = keras.Model(inputs, keras.layers.Activation("relu")(inputs))
        assert engines.suitable_batch_size(network) == expected


# What is computed, and what is not


def test_equal_files_are_embedded_once_for_all_taps_and_poolings(embed, paths, passes):
    paths[1].write_bytes(paths[0].read_bytes())
    keys = ("pixels/avg", "pixels/max", "doubled/avg", "doubled/max")
    embed(paths + paths, keys=keys)
    assert passes == [(6, keys)]


def test_a_warm_store_computes_nothing_and_gives_the_same_bits(embed, paths, passes):
    cold = embed(paths)
    passes.clear()
    warm = embed(paths[::-1])
    assert passes == []
    for key, rows in cold.items():
        np.testing.assert_array_equal(warm[key][::-1], rows)


def test_only_the_missing_keys_and_images_are_computed(embed, paths, passes):
    embed(paths[:5], keys=[PIXELS])
    passes.clear()
    rows = embed(paths, keys=[PIXELS, DOUBLED])
    assert sorted(passes) == [(2, (PIXELS, DOUBLED)), (5, (DOUBLED,))]
    assert_stored(rows[DOUBLED], 2 * rows[PIXELS])


def test_exact_keys_and_what_is_stored_along_with_them(embed, paths, passes):
    rows = embed(paths[:5], keys=[DOUBLED], also=["pixels/max"])
    assert list(rows) == [DOUBLED]
    embed(paths[:5], keys=["pixels/max"])  # found
    embed(paths[:5], keys=["pixels/max"], also=[PIXELS])  # complete, so nothing is added
    assert passes == [(5, (DOUBLED, "pixels/max"))]
    embed(paths, keys=["pixels/max"], also=[PIXELS])  # two new images
    assert passes[1:] == [(2, ("pixels/max", PIXELS))]


def test_a_picture_without_a_face_is_not_embedded_twice(embed, paths, passes, monkeypatch):
    faces = {path: np.arange(15.0) + (path == paths[2]) for path in paths}  # one has a face
    monkeypatch.setattr(images, "faces_of", lambda asked, **_: np.array([faces[p] for p in asked]))
    whole = embed(paths)
    cut = embed(paths, crop=0.5)
    assert [count for count, _ in passes] == [7, 1]
    assert_stored(cut[PIXELS], whole[PIXELS])  # each is of one color


def test_a_data_set_goes_through_a_backbone_once(paths, passes, tmp_path):
    roles = ("left_paths", "right_paths", "query_paths", "gallery_paths")
    dataset = SimpleNamespace(**dict.fromkeys(roles, paths))
    options = {"weights": "random", "store_dir": tmp_path, "progress": False}
    features.embed_dataset(dataset, "mirror", taps=["pixels"], pooling=["grid3"], **options)
    for keys in ([PIXELS], ["doubled/max", "doubled/halves"]):
        features.embed_dataset(dataset, "mirror", keys=keys, **options)
    assert [count for count, _ in passes] == [7]


def test_a_changed_image_is_embedded_again_alone(embed, paths, passes):
    embed(paths)
    passes.clear()
    Image.new("RGB", (6, 6), (77, 77, 77)).save(paths[2], format="PNG")
    rows = embed(paths)
    assert [count for count, _ in passes] == [1]
    assert_stored(rows[PIXELS][2], 77)
    assert_stored(rows[PIXELS][3], (30, 100, 252))


@pytest.mark.parametrize("change", [{"size": (4, 4)}, {"flip": True}, {"seed": 1}])
def test_another_recipe_finds_nothing_stored(embed, paths, passes, change):
    embed(paths)
    embed(paths, **change)
    assert [count for count, _ in passes] == [7, 7]


def test_another_weight_file_of_the_same_name_finds_nothing_stored(
    embed, paths, tmp_path, save_mirror
):
    for scale in (3.0, 5.0):
        save_mirror(tmp_path / "mirror.weights.h5", scale)
        rows = embed(paths, weights=str(tmp_path / "mirror.weights.h5"))
        assert_stored(rows[DOUBLED], scale * rows[PIXELS])


# Killed, damaged


@pytest.mark.parametrize("kill_at", [0, 1, 2])
@pytest.mark.parametrize("place", ["network", "disk"])
def test_a_killed_run_is_resumed(embed, paths, passes, monkeypatch, kill_at, place):
    monkeypatch.setattr(embedding, "SHARD_IMAGES", 2)
    owner, name = (np, "savez") if place == "disk" else (embedding, "_require_finite")
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, _dies_after(kill_at, getattr(owner, name)))
        with pytest.raises(KeyboardInterrupt):
            embed(paths, batch_size=2)
    passes.clear()
    rows = embed(paths, batch_size=2)
    assert sum(count for count, _ in passes) == 7 - 2 * kill_at
    assert_stored(rows[PIXELS][:, 0], np.arange(7) * 10)


def _dies_after(num_calls, function):
    calls = iter(range(num_calls))

    def call(*args, **kwargs):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    return call


@given(
    hnp.arrays(np.float32, (3, 5), elements=st.floats(-1, 1, width=32)),
    st.sampled_from([1e-30, 1.0, 3e38]),
)
def test_the_store_keeps_features_to_a_ten_thousandth(rows, scale):
    rows = (rows * np.float32(scale)).astype(np.float32)
    codes, largest = store.coded(rows)
    assert codes.dtype == np.int16 and codes.nbytes == rows.nbytes / 2
    error = np.abs(store.decoded(codes, largest).astype(np.float64) - rows)
    assert (error <= 1.1e-4 * np.abs(rows) + 1.1e-7 * largest[:, None]).all()
    np.testing.assert_array_equal(store.coded(rows[:1])[0], codes[:1])  # whatever is beside it


def test_the_store_keeps_zero_and_the_largest_as_they_are():
    rows = np.array([[0, 3, -3], [0, 0, 0]], np.float32)
    np.testing.assert_array_equal(store.decoded(*store.coded(rows)), rows)


def test_what_was_just_embedded_equals_what_the_store_gives(embed, tmp_path):
    path = tmp_path / "noise.png"
    Image.effect_noise((64, 64), 50).convert("RGB").save(path)
    cold, warm = embed([path]), embed([path])
    np.testing.assert_array_equal(cold[PIXELS], warm[PIXELS])


def test_a_half_written_shard_is_never_read(embed, paths, passes, tmp_path):
    embed(paths)
    (shard,) = tmp_path.glob("store/*/*.npz")
    with files.replacing(shard) as draft:
        draft.write_bytes(shard.read_bytes())
    shard.rename(draft)
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
    content[content.index(store.coded(cold[PIXELS])[0].tobytes()) + 7] ^= 0x40
    shard.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged"):
        np.testing.assert_array_equal(embed(paths)[PIXELS], cold[PIXELS])


def test_a_store_that_cannot_be_written_says_so(embed, paths, tmp_path):
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(TllError, match="cannot be written"):
        embed(paths)


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
    image = Image.new("L", (9, 7), 120).convert("RGB").convert(mode[0] if ";" in mode else mode)
    if mode == "I;16":
        image = Image.fromarray(np.full((7, 9), 120 << 8, np.uint16))
    image.save(path, format=file_format)
    expected = images.read_image(path).mean(axis=(0, 1))
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
    with pytest.raises(DataError, match=str(bad)):
        embed(paths)


def test_embed_names_an_unknown_pooling_tap_and_backbone_and_wants_an_image(embed, paths, tmp_path):
    with pytest.raises(ValueError, match=r"avg, max.*pooling='mean'"):
        embed(paths, keys=["pixels/mean"])
    with pytest.raises(ValueError, match=r"`tap/pooling`.*'avg'"):
        embed(paths, keys=["avg"])
    with pytest.raises(ValueError, match=r"sequence of avg, max.*pooling='avg'"):
        features.embed_dataset(None, "mirror", pooling="avg", store_dir=tmp_path)
    with pytest.raises(ValueError, match="no layer 'middle'"):
        embed(paths, keys=["middle/avg"])
    with pytest.raises(ValueError, match="at least one image"):
        embed([])
    with pytest.raises(UnknownBackbone, match="'resnet49'"):
        features.embed(paths, "resnet49", store_dir=tmp_path)


def test_features_that_are_not_finite_are_refused(embed, paths, tmp_path, save_mirror):
    damaged = save_mirror(tmp_path / "nan.weights.h5", np.nan)
    with pytest.raises(ValueError, match=r"0\.jpg.*not finite"):
        embed(paths, weights=damaged)
    assert not list(tmp_path.glob("store/*/*.npz"))


def test_an_embedding_has_no_places_to_pool():
    with pytest.raises(ValueError, match="use 'embedding/avg'"):
        pooling.pooled({"embedding": keras.Input((4,))}, ["embedding/max"])


# Encoding


def test_encode_runs_layers_and_models_in_batches_and_inference_mode():
    layer = keras.layers.Dropout(0.5)
    rows = np.arange(10).reshape(5, 2)  # whole numbers
    np.testing.assert_array_equal(features.encode(layer, rows, batch_size=2), rows)
    model = keras.Sequential([layer, keras.layers.Rescaling(2.0)])
    encoded = features.encode(model, rows, batch_size=2)
    np.testing.assert_array_equal(encoded, 2 * rows)
    assert encoded.dtype == np.float32
    assert features.encode(model, rows[:0]).shape == (0, 2)


def test_encode_sees_weights_that_changed():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    for weight in (2.0, 3.0):
        model.set_weights([np.full((1, 1), weight)])
        np.testing.assert_allclose(features.encode(model, np.ones((3, 1))), weight)
