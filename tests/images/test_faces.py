"""Faces: found in a photograph, stored once per image, and moved to where all faces lie."""

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from tll_utils import images
from tll_utils.errors import DataError
from tll_utils.images import faces


@pytest.fixture(scope="module")
def portrait():
    """A photograph that comes with scikit-image, 200 × 200, its face in the upper half."""
    return np.ascontiguousarray(astronaut()[:200, 120:320])


def face_at(eyes, mouth):
    """A face whose eyes are level and whose mouth is below, in pixels (x, y)."""
    face = np.zeros(images.NUM_VALUES, np.float32)
    face[0] = 1
    for start, (x, y) in ((5, eyes), (11, mouth)):
        face[start : start + 4] = (x - 5, y, x + 5, y)
    return face


@pytest.fixture
def detector(monkeypatch):
    """Takes the detector's place; a test sets `found` and reads `seen`."""

    class Detector:
        found, seen = np.empty((0, 16)), []

        def detect_faces(self, pictures, output_type):
            self.seen.append([picture.shape for picture in pictures])
            return self.found

    stand_in = Detector()
    stand_in.seen = []
    monkeypatch.setattr(faces, "_detector", lambda: stand_in)
    return stand_in


def test_find_faces_finds_a_face_and_none_in_noise(portrait):
    noise = np.random.default_rng(0).integers(0, 256, portrait.shape, np.uint8)
    found = images.find_faces([noise, portrait, portrait[:20, :20]])
    assert found.shape == (3, 15) and found.dtype == np.float32
    assert not found[[0, 2]].any()
    certainty, x, y, width, height = found[1, :5]
    assert certainty > 0.9
    points = found[1, 5:].reshape(5, 2)
    assert ((points >= (x, y)) & (points <= (x + width, y + height))).all()
    left_eye, right_eye, nose, mouth_left, mouth_right = points
    assert left_eye[0] < nose[0] < right_eye[0] and mouth_left[0] < mouth_right[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(mouth_left[1], mouth_right[1])


def test_find_faces_takes_the_largest_and_scales_back(detector):
    small, large = (
        [0, 10, 20, side, side, 0.9, 11, 13, 12, 11, 13, 21, 21, 22, 23, 24] for side in (8, 9)
    )
    large[1] = 30
    detector.found = np.array([large, small])
    found = images.find_faces([np.zeros((256, 128, 3), np.uint8)])
    assert detector.seen == [[(128, 64, 3)]]
    np.testing.assert_allclose(found[0, :5], [0.9, 60, 40, 18, 18], rtol=1e-6)
    np.testing.assert_allclose(found[0, 5:9], [22, 42, 26, 42])  # x and y take turns


def test_find_faces_shows_equal_shapes_together_and_skips_tiny_ones(detector):
    shapes = [(30, 40, 3), (23, 200, 3), (40, 30, 3), (30, 40, 3)]
    found = images.find_faces([np.zeros(shape, np.uint8) for shape in shapes])
    assert detector.seen == [[(30, 40, 3), (30, 40, 3)], [(40, 30, 3)]]
    assert found.shape == (4, 15) and not found.any()
    assert images.find_faces([]).shape == (0, 15)


def test_faces_of_looks_at_equal_files_once(detector, portrait, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        Image.fromarray(portrait[i % 2 :]).save(path)
    detector.found = np.array([[0, 1, 2, 3, 4, 0.5, *range(10)]], float)
    first = images.faces_of(paths, store_dir=tmp_path / "store", progress=False)
    assert sum(len(shapes) for shapes in detector.seen) == 2
    again = images.faces_of(paths[::-1], store_dir=tmp_path / "store", progress=False)
    assert sum(len(shapes) for shapes in detector.seen) == 2
    np.testing.assert_array_equal(again, first[::-1])
    np.testing.assert_array_equal(first[0], first[2])


def test_faces_of_looks_again_if_the_store_is_damaged(detector, portrait, tmp_path):
    Image.fromarray(portrait).save(tmp_path / "a.png")
    (tmp_path / f"faces-{images.DETECTOR}.npz").write_bytes(b"PK\x03\x04 cut off")
    found = images.faces_of([tmp_path / "a.png"], store_dir=tmp_path, progress=False)
    assert found.shape == (1, 15) and len(detector.seen) == 1


def test_faces_of_names_a_damaged_file(detector, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.jpg"):
        images.faces_of([tmp_path / "a.jpg"], store_dir=tmp_path, progress=False)


def test_align_face_puts_the_middle_in_the_center_and_scales_by_the_distance():
    image = np.zeros((60, 80, 3), np.uint8)
    image[20, 30] = 200  # between eyes and mouth
    cut = images.align_face(image, face_at((30, 15), (30, 25)), share=0.5, size=(21, 41))
    # From eyes to mouth 10 pixels become .5 · 21; the middle becomes the middle pixel.
    assert cut.shape == (21, 41, 3) and cut.dtype == np.float32
    assert np.unravel_index(cut[..., 0].argmax(), (21, 41)) == (10, 20)
    assert cut[10, 20, 0] == 200 and np.isclose(cut[11, 20, 0], 200 * (1 - 10 / 10.5))


def test_align_face_repeats_the_rim():
    image = np.full((30, 30, 3), 7, np.uint8)
    image[:, 0] = 90
    cut = images.align_face(image, face_at((0, 10), (0, 20)), share=0.37, size=(32, 32))
    np.testing.assert_allclose(cut[:, :16], 90, rtol=1e-6)
    np.testing.assert_allclose(cut[:, 20:], 7, rtol=1e-6)


def test_without_tensorflow_no_face_is_found_and_a_warning_says_so(portrait, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.warns(UserWarning, match="mtcnn"):
        assert not images.find_faces([portrait]).any()


def test_without_tensorflow_faces_are_those_of_the_store(detector, portrait, tmp_path, monkeypatch):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for i, path in enumerate(paths):
        Image.fromarray(portrait[i:]).save(path)
    detector.found = np.array([[0, 1, 2, 3, 4, 0.5, *range(10)]], float)
    first = images.faces_of(paths[:1], store_dir=tmp_path, progress=False)
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    np.testing.assert_array_equal(
        images.faces_of(paths[:1], store_dir=tmp_path, progress=False), first
    )
    with pytest.warns(UserWarning, match="No faces of 1 images"):
        found = images.faces_of(paths, store_dir=tmp_path, progress=False)
    np.testing.assert_array_equal(found, np.concatenate([first, np.zeros_like(first)]))
    monkeypatch.undo()  # with TensorFlow, the picture that was not known is looked at
    monkeypatch.setattr(faces, "_detector", lambda: pytest.fail("looked"))
    with pytest.raises(pytest.fail.Exception, match="looked"):
        images.faces_of(paths, store_dir=tmp_path, progress=False)


@pytest.mark.parametrize("face", [np.zeros(15, np.float32), face_at((5, 9), (5, 9.5))])
def test_align_face_leaves_pictures_without_a_face(face):
    image = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    np.testing.assert_array_equal(images.align_face(image, face, size=(8, 8)), image)
