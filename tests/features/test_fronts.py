"""A front, saved and loaded, gives from pixels what the store holds."""

import dataclasses
import itertools
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import tll_utils as tll
from tll_utils import features, images
from tll_utils.features import backbones, fronts, preprocess, registry, transforms, views

SIZE = (48, 40)


@pytest.fixture(scope="module")
def dataset(sample_dir):
    """Sixteen drawn images of the sample data set."""
    paths = sorted(itertools.chain(sample_dir.rglob("*.jpg"), sample_dir.rglob("*.png")))[:16]
    assert len(paths) == 16
    return SimpleNamespace(
        left_paths=paths[:5],
        right_paths=paths[5:10],
        query_paths=paths[10:13],
        gallery_paths=paths[13:],
    )


@pytest.fixture
def embed(dataset, tmp_path):
    def call(backbone, key, **options):
        # To make OpenVINO's network takes longer than a few images.
        options = {"weights": "random", "size": SIZE, "engine": "keras", **options}
        return features.embed_dataset(
            dataset, backbone, keys=[key], also=(), store_dir=tmp_path / "store", progress=False,
            **options,
        )[key]  # fmt: skip

    return call


def from_pixels(model, dataset):
    """What a model makes of the query images, one by one: they may differ in size."""
    shown = [images.decode(path).astype("float32")[None] for path in dataset.query_paths]
    return np.concatenate([np.asarray(model(image)) for image in shown])


def assert_close(found, expected, tolerance=1e-4):  # the store's own precision is 6e-5
    assert found.shape == expected.shape
    distance = np.linalg.norm((found - expected).reshape(len(found), -1), axis=1)
    length = np.linalg.norm(expected.reshape(len(found), -1), axis=1)
    assert (distance < tolerance * length).all()


def rebuilt(view, tmp_path):
    """The model of a front, saved and loaded."""
    fronts.build(view.front).save(tmp_path / "front.keras")
    return tll.load_model(tmp_path / "front.keras")


@pytest.mark.parametrize(
    "preprocessing",
    [
        preprocess.none,
        preprocess.to_unit_range,
        preprocess.caffe,
        preprocess.imagenet_statistics,
        preprocess.efficientnet_lite,
        preprocess.facenet_fixed,
        preprocess.facenet_per_image,
    ],
)
def test_front_gives_what_is_stored_whatever_the_preprocessing(
    embed, dataset, tmp_path, mirror, monkeypatch, preprocessing
):
    entry = dataclasses.replace(registry.get("mirror"), preprocess=preprocessing)
    monkeypatch.setitem(registry.REGISTRY, "mirror", entry)
    view = embed("mirror", "doubled/grid3", flip=True)
    assert_close(from_pixels(rebuilt(view, tmp_path), dataset), view.query)


@pytest.mark.parametrize(
    ("backbone", "key", "size"),
    [
        ("mobilenet_v3_small", "expanded_conv_5_add/max", (32, 40)),  # preprocesses inside
        ("alexnet", "pool5/avg", (80, 72)),  # has a layer of our own
        ("convnext_tiny", "stage_1/avg", (32, 40)),  # names a sum that Keras leaves nameless
    ],
)
def test_front_gives_what_is_stored_of_a_network_with_its_own_ways(
    embed, dataset, tmp_path, backbone, key, size
):
    # A layer of our own is the one that OpenVINO might not know.
    engine = "auto" if backbone == "alexnet" else "keras"
    view = embed(backbone, key, size=size, engine=engine)
    assert_close(from_pixels(rebuilt(view, tmp_path), dataset), view.query)


def test_front_of_everything_at_once(embed, dataset, tmp_path):
    cells = embed("mobilenet", "conv_pw_5_relu/grid2")
    both = features.mean([cells, embed("mobilenet", "conv_pw_5_relu/grid2", flip=True)])
    other = embed("efficientnet_lite0", "block5_expand_relu/max")
    whitened = both.then(transforms.whiten_cells(both.left, both.right, cells=4))
    scaled = [
        view.then(transforms.standardiser(view.left, view.right)) for view in (whitened, other)
    ]
    # Two layers of one name, as two notebooks' cells would make them.
    named = [view.then(keras.layers.UnitNormalization(name="length")) for view in scaled]
    joined = features.join(named)
    final = features.stack([joined, joined.then(keras.layers.Rescaling(2.0))])
    assert final.query.shape == (3, 2, 4 * 256 + 240)
    model = rebuilt(final, tmp_path)
    assert_close(from_pixels(model, dataset), final.query, 2e-4)  # whitening enlarges differences
    assert model.count_params() < 2 * 3_228_864, "a mirrored network is in it once"


@pytest.mark.parametrize("gray", [False, True])
def test_front_of_pixels_gives_the_same_bytes(dataset, tmp_path, gray):
    view = features.pixels(dataset, size=(24, 20), gray=gray, progress=False)
    found = from_pixels(rebuilt(view, tmp_path), dataset)
    difference = np.abs(found - view.query)
    assert difference.max() <= 1, "a value that lies between two levels may go either way"
    assert (difference > 0).mean() < 1e-3


def test_a_saved_front_loads_in_safe_mode(dataset, tmp_path):
    gray = features.pixels(dataset, size=(16, 12), gray=True, progress=False)
    flat = gray.then(keras.Sequential([keras.layers.Flatten()]))
    view = flat.then(transforms.closed_form(flat.left, flat.right))
    fronts.build(view.front).save(tmp_path / "front.keras")
    model = keras.saving.load_model(tmp_path / "front.keras", safe_mode=True)
    assert_close(from_pixels(model, dataset), view.query)


def test_fronts_share_a_network_for_reading(embed, monkeypatch):
    view = embed("mobilenet", "conv_pw_5_relu/avg")
    monkeypatch.setattr(backbones, "_construct", None)  # never called again
    other = fronts.Tap("mobilenet", "random", SIZE, True, "conv_pw_3_relu/avg")
    models = [fronts.build(front) for front in (view.front, other)]
    weights = [{id(weight) for weight in model.weights} for model in models]
    assert weights[1] < weights[0]
    assert models[0].trainable_weights == []


@pytest.mark.parametrize(
    ("file_name", "white"),
    [
        ("facenet_keras.h5", 0),
        ("facenet_weights.h5", 0),
        ("20170511-185253.weights.h5", 0),
        ("20180402-114759.weights.h5", 127.5 / 128),
        ("inception_resnet_v1_VGGFace2.weights.h5", 127.5 / 128),
        ("facenet512_weights.h5", 127.5 / 128),
        (None, 0),
    ],
)
def test_preprocessing_belongs_to_the_weights_of_facenet(file_name, white):
    path = file_name and f"/any/where/{file_name}"
    preprocess = registry.get("inception_resnet_v1").preprocess_for(path)
    shown = np.full((1, 80, 80, 3), 255, "float32")
    np.testing.assert_allclose(preprocess(shown), white, atol=1e-6)


# Views


def view_of(number, front=None):
    return features.Views(*(np.full((n, 2), number, "float32") for n in (3, 3, 2, 4)), front=front)


def test_views_come_apart_in_the_order_of_roles():
    left, _, query, gallery = view_of(1)
    assert (len(left), len(query), len(gallery)) == (3, 2, 4)


def test_join_mean_and_stack_combine_role_by_role():
    one, three = view_of(1), view_of(3)
    np.testing.assert_array_equal(features.join([one, three]).query, [[1, 1, 3, 3]] * 2)
    np.testing.assert_array_equal(features.mean([one, three]).query, [[2, 2]] * 2)
    np.testing.assert_array_equal(features.stack([one, three]).query, [[[1, 1], [3, 3]]] * 2)
    with pytest.raises(ValueError, match="no views"):
        views.join([])


def test_a_front_survives_layers_and_is_lost_by_functions():
    pixels = fronts.Pixels((2, 1))
    view, layer = view_of(1, pixels), keras.layers.Rescaling(5.0)
    doubled = view.then(layer)
    assert (doubled.front.part, doubled.front.layer) == (pixels, layer)
    np.testing.assert_array_equal(doubled.left, 5 * view.left)
    assert features.join([view, doubled]).front.parts[0] is pixels
    assert view.map(np.sqrt).front is None
    assert features.mean([view, view_of(1)]).front is None
    assert view_of(1).then(layer).front is None


def test_front_cuts_faces_out_as_they_were_when_stored(embed, dataset, tmp_path, mirror):
    whole, cut = (embed("mirror", "doubled/grid3", crop=share) for share in (0.0, 0.37))
    both = features.join([whole, cut])
    assert_close(from_pixels(rebuilt(both, tmp_path), dataset), both.query)
    faces = images.faces_of(
        [*dataset.left_paths, *dataset.right_paths], store_dir=tmp_path / "store", progress=False
    )
    is_cut = faces[:, 0] > 0
    before, after = (np.concatenate([v.left, v.right]) for v in (whole, cut))
    assert ((before != after).any(axis=1) == is_cut).all()
    assert 0 < is_cut.sum() < len(is_cut)
