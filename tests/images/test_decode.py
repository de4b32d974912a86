"""Decoding agrees with the strict reader, resizing with TensorFlow; files are refused by name."""

import struct
import threading
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tll_utils import images
from tll_utils.errors import DataError


def picture(seed, size=(50, 61)) -> Image.Image:
    """A picture of large patches, unlike that of any other seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def files(tmp_path):
    """One picture as JPEG, gray JPEG, CMYK JPEG, PNG with alpha and 16-bit PNG."""
    smooth = np.linspace(0, 255, 24 * 20 * 3).reshape(24, 20, 3).astype(np.uint8)
    picture = Image.fromarray(smooth)
    paths = [tmp_path / f"{i}{suffix}" for i, suffix in enumerate([".jpg"] * 3 + [".png"] * 2)]
    picture.save(paths[0], quality=95)
    picture.convert("L").save(paths[1], quality=95)
    picture.convert("CMYK").save(paths[2], quality=95)
    picture.convert("RGBA").save(paths[3])
    Image.fromarray(smooth[..., 0].astype(np.uint16) * 257).save(paths[4])
    return paths


# Decoding ------------------------------------------------------------------------------------


def test_decode_agrees_with_the_strict_reader(files):
    for path in files:
        decoded, expected = images.decode(path), images.read_image(path).astype(int)
        assert decoded.dtype == np.uint8 and decoded.shape == (24, 20, 3)
        assert np.abs(decoded - expected).max() <= 1, path.name


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 30},
        {"quality": 95, "subsampling": 0},
        {"progressive": True},
        {"mode": "L"},
        {"orientation": 6},
    ],
    ids=str,
)
def test_decode_agrees_with_pillow_and_tensorflow_to_a_gray_level(tmp_path, options):
    tf = pytest.importorskip("tensorflow")
    path = tmp_path / "a.jpg"
    image = picture(1, size=(83, 61)).convert(options.pop("mode", "RGB"))
    exif = Image.Exif()
    exif[0x0112] = options.pop("orientation", 1)
    image.save(path, exif=exif, **options)
    decoded = images.decode(path).astype(int)
    content = path.read_bytes()
    by_tensorflow = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    assert np.abs(decoded - images.read_image(path)).max() <= 1
    assert np.abs(decoded - by_tensorflow).max() <= 1


def test_read_image_converts_every_mode(tmp_path):
    rgb = picture(3, size=(70, 50))
    for mode, name in [("L", "a.png"), ("CMYK", "b.jpg"), ("P", "c.png"), ("1", "d.png")]:
        rgb.convert(mode).save(tmp_path / name)
        image = images.read_image(tmp_path / name)
        assert (image.shape, image.dtype) == ((50, 70, 3), np.uint8)
        assert np.abs(image.astype(int) - np.asarray(rgb.convert(mode).convert("RGB"))).mean() < 4


def test_read_image_keeps_the_high_byte_of_sixteen_bits(tmp_path):
    levels = np.array([[0, 256, 0x7FFF, 0xFFFF]], dtype=np.uint16)
    for name in ("a.png", "a.tiff"):
        Image.fromarray(levels).save(tmp_path / name)
        assert images.read_image(tmp_path / name)[0, :, 1].tolist() == [0, 1, 127, 255]


def test_read_image_lays_transparency_on_white(tmp_path):
    pixels = np.array([[[9, 8, 7, 255], [9, 8, 7, 0]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert images.read_image(tmp_path / "a.png").tolist() == [[[9, 8, 7], [255, 255, 255]]]


def png_header(width, height):
    """A PNG without pixels: who tries to decode it finds it damaged, not large."""
    size = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(size) - 4)
    return start + size + struct.pack(">I", zlib.crc32(size)) + struct.pack(">I", 9) + b"IDAT"


def jpeg_that_claims(content, width, height):
    """A JPEG whose header claims another size."""
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def damage(path, kind):
    content = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(
            {
                "empty": b"",
                "text": b"no image",
                "truncated": content[:700],
                "large": png_header(10_000, 10_000),
                "huge": png_header(20_000, 20_000),
                "large jpeg": jpeg_that_claims(content, 10_000, 10_000),
                "huge jpeg": jpeg_that_claims(content, 65_000, 65_000),
                "hollow": content[:400] + b"\xff\xd9",
            }[kind]
        )


@pytest.mark.parametrize("read", [images.read_image, images.decode], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("empty", "an empty file"),
        ("text", "no image"),
        ("truncated", "a damaged image"),
        ("hollow", "a damaged image"),
        ("folder", "is a directory"),
        ("missing", "no such file"),
        ("huge", "more than 64,000,000 pixels"),
        ("large", "more than 64,000,000 pixels"),
        ("huge jpeg", "more than 64,000,000 pixels"),
        ("large jpeg", "more than 64,000,000 pixels"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_reading_refuses(tmp_path, read, kind, told):
    path = tmp_path / "a.jpg"
    picture(0).save(path)
    damage(path, kind)
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: {told}")


# Resizing ------------------------------------------------------------------------------------

SIDES = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from([1, 3]), st.booleans())
def test_resize_gives_the_numbers_of_tensorflow(height, width, rows, columns, channels, antialias):
    tf = pytest.importorskip("tensorflow")
    image = np.random.default_rng(height).integers(0, 256, (height, width, channels), np.uint8)
    resized = images.resize(image, (rows, columns), antialias=antialias)
    expected = tf.image.resize(image, (rows, columns), antialias=antialias).numpy()
    assert resized.dtype == np.float32 and resized.shape == expected.shape
    np.testing.assert_allclose(resized, expected, atol=1e-3 * 255)


def test_resize_by_half_is_the_mean_of_two():
    row = np.float32([0, 10, 20, 50]).reshape(1, 4, 1)
    assert images.resize(row, (1, 2))[0, :, 0].tolist() == [5, 35]
    # With a triangle twice as wide: weights 1, 3, 3, 1 of 8, without those beyond the rim.
    smooth = images.resize(row, (1, 2), antialias=True)[0, :, 0]
    np.testing.assert_allclose(smooth, [50 / 7, (10 + 60 + 150) / 7], rtol=1e-5)


def test_resize_stays_in_range():
    white = np.full((245, 200, 3), 255, np.uint8)
    for antialias in (False, True):
        resized = images.resize(white, (128, 331), antialias=antialias)
        assert resized.max() <= 255 and resized.min() > 254.99


# Many files ----------------------------------------------------------------------------------


def test_load_all_agrees_with_the_strict_reader(files):
    loaded = images.load_all(files, size=(24, 20), progress=False)
    assert loaded.shape == (5, 24, 20, 3) and loaded.dtype == np.uint8
    for path, image in zip(files, loaded, strict=True):
        expected = images.read_image(path).astype(int)
        assert np.abs(image - expected).max() <= 1, path.name


def test_load_all_of_nothing_is_empty():
    assert images.load_all([], size=(4, 5), progress=False).shape == (0, 4, 5, 3)


def test_stream_gives_batches_in_order(files):
    paths = (files * 3)[:13]
    batches = list(images.stream(paths, size=(6, 5), batch_size=4))
    assert [len(batch) for batch in batches] == [4, 4, 4, 1]
    assert all(batch.dtype == np.float32 for batch in batches)
    expected = [images.resize(images.decode(path), (6, 5)) for path in paths]
    np.testing.assert_array_equal(np.concatenate(batches), expected)


def test_many_files_name_the_one_that_is_broken(files):
    files[1].write_bytes(files[1].read_bytes()[:150])
    with pytest.raises(DataError, match=r"1\.jpg"):
        images.load_all(files, size=(24, 20), progress=False)
    with pytest.raises(DataError, match=r"1\.jpg"):
        list(images.stream(files, size=(24, 20), batch_size=2))


def test_stream_reads_a_bounded_number_of_files_ahead(files):
    asked = []

    class Paths(list):
        def __getitem__(self, key):
            asked.append(key)
            return super().__getitem__(key)

    batches = images.stream(Paths(files * 40), size=(6, 5), batch_size=4)
    next(batches)
    time.sleep(0.05)
    assert max(key for key in asked if isinstance(key, int)) < 5 * 4  # files of five batches
    before = threading.active_count()
    batches.close()  # whoever leaves early leaves no thread behind
    assert threading.active_count() < before


# Gray and white ------------------------------------------------------------------------------


def test_grayscale_is_the_luma_of_pil():
    rgb = np.random.default_rng(0).integers(0, 256, (3, 8, 7, 3), np.uint8)
    expected = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in rgb])
    gray = images.grayscale(rgb)
    assert gray.shape == (3, 8, 7, 1) and gray.dtype == np.uint8
    assert np.abs(gray[..., 0].astype(int) - expected).max() <= 1


def test_grayscale_keeps_floats():
    assert images.grayscale(np.float32([[255.0, 0.0, 0.0]]))[0] == pytest.approx(76.245)


def test_shrink_onto_white_keeps_the_picture_in_the_middle():
    black = np.zeros((2, 8, 6, 3), np.uint8)
    small = images.shrink_onto_white(black, 0.5)
    assert (small[:, 2:6, 1:4] == 0).all() and (small == 0).sum() == 2 * 4 * 3 * 3
    assert small[0, 0, 0, 0] == 255
    np.testing.assert_array_equal(images.shrink_onto_white(black, 1.0), black)
