"""A model that finds faces and cuts them out sees what the store was filled with."""

import keras
import numpy as np
import pytest
from skimage.data import astronaut

import tll_utils as tll
from tll_utils import images, layers

SIZE = (48, 40)


@pytest.fixture(scope="module")
def pictures():
    """A face, and a part of the same photograph without one."""
    photograph = astronaut()
    return np.stack([photograph[:200, 120:320], photograph[300:500, :200]])


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((None, None, 3))
    faces = layers.FindFaces()(inputs)
    return keras.Model(inputs, layers.AlignFaces(SIZE, share=0.3)([inputs, faces]))


def test_layers_of_faces_give_what_the_functions_give(model, pictures, tmp_path):
    faces = images.find_faces([*pictures])
    assert (faces[:, 0] > 0).tolist() == [True, False]
    expected = [
        images.resize(images.align_face(picture, face, share=0.3, size=SIZE), SIZE)
        for picture, face in zip(pictures, faces, strict=True)
    ]
    model.save(tmp_path / "faces.keras")
    loaded = tll.load_model(tmp_path / "faces.keras")
    assert loaded.output_shape == (None, *SIZE, 3)
    batch = pictures.astype("float32")
    for found in (model(batch), loaded(batch), loaded.predict(batch, verbose=0)):
        np.testing.assert_allclose(found, expected, atol=0.02)


def test_align_faces_refuses_a_size_that_is_none():
    with pytest.raises(ValueError, match="height"):
        layers.AlignFaces((0, 4), share=0.3)
