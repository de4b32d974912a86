"""Reading, refusing and inspecting data sets built from a few small images."""

import json
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tll_utils import data

NUM_PAIRS, NUM_QUERIES, M = 24, 6, 4


def picture(seed, size=(50, 61)) -> Image.Image:
    """A picture of large patches, unlike that of any other seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


def write_csv(path, header, rows):
    path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")


@pytest.fixture(scope="session")
def course_template(tmp_path_factory):
    """A folder in the course layout; `course` copies it."""
    root = tmp_path_factory.mktemp("course")
    pairs = [(f"a{i:02}", f"b{i:02}") for i in range(NUM_PAIRS)]
    queries, rights = [[f"{s}{i}" for i in range(NUM_QUERIES)] for s in ("q", "nan")]
    rows = [[q] + [rights[(i + j) % NUM_QUERIES] for j in range(M)] for i, q in enumerate(queries)]
    write_csv(root / "train.csv", ["left", "right"], pairs)
    write_csv(root / "test_candidates.csv", ["left"] + [f"c{j}" for j in range(M)], rows)
    write_csv(root / "test_truth.csv", ["left", "right"], [(row[0], row[2]) for row in rows[::-1]])
    names = [f"train/left/{left}" for left, _ in pairs] + [f"train/right/{r}" for _, r in pairs]
    names += [f"test/left/{q}" for q in queries] + [f"test/right/{r}" for r in rights]
    for seed, name in enumerate(names):
        path = root / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(path)
    return root


@pytest.fixture
def course(course_template, tmp_path):
    return Path(shutil.copytree(course_template, tmp_path / "course"))


@pytest.fixture
def release(tmp_path):
    """A folder in the layout of the original release, 40 pairs; pairs 0, 1 and 2 share a right."""
    for i in range(40):
        for side in data.SIDES:
            path = tmp_path / "release" / side / f"{i:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(900 if side == "right" and i < 3 else i + 100 * (side == "left")).save(path)
    return tmp_path / "release"


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# Load ----------------------------------------------------------------------------------------


def test_load_aligns_paths_with_rows(course):
    dataset = data.load(course)
    assert (dataset.name, dataset.num_pairs, dataset.num_queries, dataset.m) == ("tll", 24, 6, 4)
    assert [path.stem for path in dataset.left_paths] == list(dataset.pairs["left"])
    assert [path.stem for path in dataset.right_paths] == list(dataset.pairs["right"])
    assert [path.stem for path in dataset.query_paths] == list(dataset.candidates["left"])
    gallery = np.array([path.stem for path in dataset.gallery_paths])
    assert list(gallery) == sorted(set(gallery))
    assert (gallery[dataset.candidate_index] == dataset.candidates.iloc[:, 1:].to_numpy()).all()
    assert dataset.true_place.tolist() == [1] * NUM_QUERIES  # the truth file is in reverse order


def test_load_knows_the_sample_by_its_marker(course):
    (course / "sample.json").write_text(json.dumps({}))
    assert data.load(course).name == "sample"


def test_load_without_truth(course):
    (course / "test_truth.csv").unlink()
    assert data.load(course).true_place is None


def test_load_accepts_byte_order_mark_and_windows_lines(course):
    path = course / "train.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert data.load(course).num_pairs == NUM_PAIRS


def test_load_ignores_what_is_no_image(course):
    for name in ("Thumbs.db", "._a00.jpg", ".DS_Store"):
        (course / "train/left" / name).write_text("")
    assert data.load(course).num_pairs == NUM_PAIRS


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("train.csv", "left,right", "left,wrong", "row 1: expected the columns left,right"),
        ("train.csv", "a03,b03", "a03", "row 5: 1 fields; expected 2"),
        ("train.csv", "a03,b03", "a03,b03,b04", "row 5: 3 fields"),
        ("train.csv", "a03,b03", ",b03", "row 5: '' cannot be an image id"),
        ("train.csv", "a03,b03", "../a03,b03", "row 5: '../a03' cannot"),
        ("train.csv", "a03,b03", "/etc/passwd,b03", "row 5: '/etc/passwd' cannot"),
        ("train.csv", "a03,b03", r"a\03,b03", "row 5"),
        ("train.csv", "a03,b03", "..,b03", "row 5: '..' cannot"),
        ("train.csv", "a03,b03", "a02,b03", "row 5: left 'a02' stands in row 4 already"),
        ("train.csv", "a03,b03", "a03,b02", "row 5: right 'b02' stands in row 4 already"),
        ("train.csv", "a03,b03", "zzz,b03", "row 5: left is 'zzz', but there is no zzz.jpg"),
        ("test_candidates.csv", "left,c0,c1,c2,c3", "left,c0,c1,c3,c2", "row 1: expected"),
        ("test_candidates.csv", "q1,nan1,nan2", "q1,nan1", "row 3: 4 fields; expected 5"),
        ("test_candidates.csv", "q1,nan1,nan2", "q1,nan1,nan1", "row 3: 'nan1' stands there twice"),
        ("test_candidates.csv", "q1,nan1", "q1,q1", "row 3: 'q1' stands there twice"),
        ("test_candidates.csv", "q1,nan1", "q1,zzz", "row 3: c0 is 'zzz', but there is no zzz.jpg"),
        ("test_candidates.csv", "q1,nan1", "q0,nan1", "row 3: left 'q0' stands in row 2 already"),
        ("test_truth.csv", "q5,nan0", "q5,nan4", "row 2: 'nan4' is not among the candidates"),
        ("test_truth.csv", "q5,nan0", "q9,nan0", "row 2: 'q9' is not a query"),
        ("test_truth.csv", "q5,nan0\n", "", "no row for 'q5'"),
    ],
)
def test_load_names_file_and_row_of_what_is_wrong(course, file, old, new, told):
    edit(course / file, old, new)
    with pytest.raises(data.DataError) as error:
        data.load(course)
    assert f"{course / file}" in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize("name", ["train.csv", "test_candidates.csv", "train/right", "test/left"])
def test_load_names_a_missing_file_or_folder(course, name):
    (course / name).rename(course / "elsewhere")
    with pytest.raises(data.DataError, match=f"{name}: no such"):
        data.load(course)


def test_load_refuses_a_folder_named_jpg(course):
    (course / "train/left/a00.jpg").unlink()
    (course / "train/left/a00.jpg").mkdir()
    with pytest.raises(data.DataError, match=r"a00\.jpg: a folder"):
        data.load(course)


def test_load_refuses_two_files_for_one_id(course):
    picture(0).save(course / "train/left/a00.png")
    with pytest.raises(data.DataError, match=r"a00\.(png|jpg) and a00"):
        data.load(course)


@pytest.mark.parametrize("content", [b"", b"left,right\n", b"\xff\xfe\x00", b"PK\x03\x04\x00"])
def test_load_refuses_a_csv_that_is_none(course, content):
    (course / "train.csv").write_bytes(content)
    with pytest.raises(data.DataError, match=r"train\.csv"):
        data.load(course)


def test_load_needs_twenty_pairs(course):
    path = course / "train.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:20]))
    with pytest.raises(data.DataError, match="19 pairs; at least 20"):
        data.load(course)


# Find ----------------------------------------------------------------------------------------


def test_find_takes_the_first_place_that_holds_data(course, tmp_path):
    inputs = tmp_path / "input"
    (inputs / "competitions").mkdir(parents=True)
    assert data.find(None, search_dirs=[tmp_path / "none", inputs, course]) == course
    course.rename(inputs / "competitions/tll")
    assert data.find(None, search_dirs=[inputs]) == inputs / "competitions/tll"


def test_find_says_where_it_looked(tmp_path):
    with pytest.raises(data.DataError, match="TLL_DATA_DIR"):
        data.find(None, search_dirs=[tmp_path])
    with pytest.raises(data.DataError, match="no data set in this folder"):
        data.find(tmp_path)
    with pytest.raises(data.DataError, match="no such folder"):
        data.find(tmp_path / "none")


def test_find_takes_a_folder_around_one_data_set_only(course, release):
    with pytest.raises(data.DataError, match="2 data sets"):
        data.find(course.parent)
    shutil.rmtree(release)
    assert data.find(course.parent) == course


def test_find_does_not_take_the_train_folder_for_a_release(course):
    (course / "train.csv").unlink()
    (course / "test_candidates.csv").unlink()
    assert data.find(course) == course


# The original release ------------------------------------------------------------------------


def test_release_holds_out_queries(release):
    dataset = data.load(release)
    assert dataset.name == "release"
    assert dataset.num_pairs + dataset.num_queries == 40
    assert dataset.num_queries == dataset.m == 10
    assert not set(dataset.left_paths) & set(dataset.query_paths)
    assert not set(dataset.right_paths) & set(dataset.gallery_paths)
    rows = dataset.candidates.to_numpy()
    assert all(
        row[1 + place] == row[0] for row, place in zip(rows, dataset.true_place, strict=True)
    )
    assert all(len(set(row[1:])) == dataset.m for row in rows)
    assert len(set(dataset.true_place)) > 1


def test_release_keeps_near_duplicates_on_one_side(release):
    for seed in range(10):
        ids = {path.stem for path in data.load(release, seed=seed).left_paths}
        assert len(ids & {"00000", "00001", "00002"}) in (0, 3)


def test_release_is_drawn_from_the_seed(release):
    first, again, other = (data.load(release, seed=seed) for seed in (1, 1, 2))
    assert first.candidates.equals(again.candidates)
    assert first.query_paths != other.query_paths


def test_release_names_an_image_without_partner(release):
    (release / "left/00007.jpg").unlink()
    with pytest.raises(data.DataError, match="images of right have no partner.*'00007'"):
        data.load(release)


def zip_side(release, side, prefix=""):
    with zipfile.ZipFile(release / f"{side}.zip", "w") as archive:
        for path in sorted((release / side).iterdir()):
            archive.write(path, f"{prefix}{path.name}")
    (release / side).rename(release.parent / f"{side}_kept")


def test_release_zips_are_unpacked_once(release):
    expected = data.load(release).candidates
    zip_side(release, "left")
    zip_side(release, "right", prefix="right/")
    dataset = data.load(release)
    assert dataset.candidates.equals(expected)
    written = dataset.query_paths[0].stat().st_mtime_ns
    assert data.load(release).query_paths[0].stat().st_mtime_ns == written
    assert len(list((release / "unpacked").iterdir())) == 2


@pytest.mark.parametrize("name", ["../evil.jpg", "/evil.jpg", "a/../../evil.jpg", "..\\evil.jpg"])
def test_release_zip_cannot_lead_outside(release, name):
    zip_side(release, "left")
    with zipfile.ZipFile(release / "left.zip", "a") as archive:
        archive.writestr(name, "evil")
    with pytest.raises(data.DataError, match=r"left\.zip: member .* leads outside"):
        data.load(release)
    assert not list(release.parent.rglob("evil*"))
    assert not (release / "unpacked").exists()


def test_release_zip_damaged_leaves_nothing_half_written(release):
    zip_side(release, "left")
    archive = release / "left.zip"
    content = bytearray(archive.read_bytes())
    content[5000:5050] = bytes(50)
    archive.write_bytes(content)
    with pytest.raises(data.DataError, match=r"left\.zip: damaged"):
        data.load(release)
    assert not list((release / "unpacked").iterdir())


def test_release_zip_in_a_folder_that_cannot_be_written(release):
    zip_side(release, "left")
    (release / "unpacked").write_text("a file where the folder would be")
    with pytest.raises(data.DataError, match=r"left\.zip: cannot be extracted"):
        data.load(release)


# Pixels --------------------------------------------------------------------------------------


def test_read_image_converts_every_mode(tmp_path):
    rgb = picture(3, size=(70, 50))
    for mode, name in [("L", "a.png"), ("CMYK", "b.jpg"), ("P", "c.png"), ("1", "d.png")]:
        rgb.convert(mode).save(tmp_path / name)
        image = data.read_image(tmp_path / name)
        assert (image.shape, image.dtype) == ((50, 70, 3), np.uint8)
        assert np.abs(image.astype(int) - np.asarray(rgb.convert(mode).convert("RGB"))).mean() < 4


def test_read_image_keeps_the_high_byte_of_sixteen_bits(tmp_path):
    levels = np.array([[0, 256, 0x7FFF, 0xFFFF]], dtype=np.uint16)
    for name in ("a.png", "a.tiff"):
        Image.fromarray(levels).save(tmp_path / name)
        assert data.read_image(tmp_path / name)[0, :, 1].tolist() == [0, 1, 127, 255]


def test_read_image_lays_transparency_on_white(tmp_path):
    pixels = np.array([[[9, 8, 7, 255], [9, 8, 7, 0]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert data.read_image(tmp_path / "a.png").tolist() == [[[9, 8, 7], [255, 255, 255]]]


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
            }[kind]
        )


def png_header(width, height):
    """A PNG without pixels: who tries to decode it finds it damaged, not large."""
    size = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(size) - 4)
    return start + size + struct.pack(">I", zlib.crc32(size)) + struct.pack(">I", 9) + b"IDAT"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("empty", "an empty file"),
        ("text", "no image"),
        ("truncated", "a damaged image"),
        ("folder", "is a directory"),
        ("missing", "no such file"),
        ("huge", "more than 64,000,000 pixels"),
        ("large", "more than 64,000,000 pixels"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_read_image_refuses(tmp_path, kind, told):
    path = tmp_path / "a.jpg"
    picture(0).save(path)
    damage(path, kind)
    with pytest.raises(data.DataError) as error:
        data.read_image(path)
    assert str(error.value).startswith(f"{path}: {told}")


def test_content_hash_depends_on_bytes_alone(tmp_path):
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (data.content_hash(tmp_path / name) for name in "abc")
    assert a == b != c
    assert len(a) == 32


# Near-duplicates and folds -------------------------------------------------------------------


def save_all(folder, images):
    paths = [folder / f"{at}.png" for at in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    return paths


def with_bars(image):
    padded = Image.new("RGB", (image.width, image.height + 60))
    padded.paste(image, (0, 30))
    return padded


def test_near_duplicate_groups_sees_through_copying(tmp_path):
    original = picture(1, size=(100, 122))
    copies = [
        original.resize((61, 90)),
        original.point(lambda level: level // 2 + 60),
        with_bars(original),
        original.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        original,
    ]
    left = save_all(tmp_path, [original, *copies, picture(2)])
    (tmp_path / "right").mkdir()
    right = save_all(tmp_path / "right", [picture(seed) for seed in range(10, 17)])
    assert data.near_duplicate_groups(left, right).tolist() == [0] * 6 + [1]


def test_near_duplicate_groups_joins_over_both_sides(tmp_path):
    a, b, c, d, e, f = save_all(tmp_path, [picture(seed) for seed in range(6)])
    groups = data.near_duplicate_groups([a, b, c, f], [d, a, b, e])
    assert groups.tolist() == [0, 0, 0, 1]  # pair 0 and 1 share a, 1 and 2 share b


def test_near_duplicate_groups_tells_blank_and_padded_pictures_apart(tmp_path):
    blanks = [Image.new("RGB", (50, 61), colour) for colour in ("white", "#fefefe", "black")]
    padded = [with_bars(picture(seed)) for seed in range(3)]
    groups = data.near_duplicate_groups(*[save_all(tmp_path, blanks + padded)] * 2)
    assert groups.tolist() == list(range(6))


def test_near_duplicate_groups_names_an_unreadable_image(tmp_path):
    with pytest.raises(data.DataError, match=r"x\.jpg: no such file"):
        data.near_duplicate_groups([tmp_path / "x.jpg"], [tmp_path / "x.jpg"])


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11))))
def test_join_numbers_connected_components(size, edges):
    edges = [(a % size, b % size) for a, b in edges]
    reach = np.eye(size, dtype=bool)
    for a, b in edges:
        reach[a, b] = reach[b, a] = True
    for _ in range(4):  # paths of up to 16 steps
        reach = reach @ reach
    labels = data._join(size, edges)
    assert ((labels[:, None] == labels) == reach).all()
    assert list(dict.fromkeys(labels)) == list(range(labels.max() + 1))


@given(st.lists(st.integers(0, 8), min_size=1, max_size=60), st.integers(2, 5), st.integers(0, 9))
def test_assign_folds_keeps_groups_whole_and_folds_level(groups, num_folds, seed):
    groups = np.array(groups)
    if len(set(groups)) < num_folds:
        with pytest.raises(ValueError, match=f"Received: num_folds={num_folds}"):
            data.assign_folds(groups, num_folds=num_folds, seed=seed)
        return
    folds = data.assign_folds(groups, num_folds=num_folds, seed=seed)
    sizes = np.bincount(folds, minlength=num_folds)
    assert len(set(zip(groups, folds, strict=True))) == len(set(groups))
    assert len(sizes) == num_folds
    assert sizes.min() > 0
    assert np.ptp(sizes) <= np.bincount(groups).max()
    assert (folds == data.assign_folds(groups, num_folds=num_folds, seed=seed)).all()


def test_assign_folds_depends_on_the_seed():
    first, second = (data.assign_folds(np.arange(40), num_folds=4, seed=seed) for seed in (0, 1))
    assert (first != second).any()


# Report --------------------------------------------------------------------------------------


def test_inspect_counts_what_is_there(course):
    picture(500).convert("L").save(course / "train/left/a00.jpg")
    picture(501, size=(31, 20)).save(course / "test/right/nan0.jpg")
    (course / "test/left/q0.jpg").write_bytes((course / "train/left/a05.jpg").read_bytes())
    with_bars(picture(1)).save(course / "train/right/b07.jpg")  # a01 is picture 1
    report = data.inspect(data.load(course))
    assert report.problems == ()
    assert report.counts["images"] == 2 * NUM_PAIRS + 2 * NUM_QUERIES
    assert report.sizes == {(50, 61): 58, (31, 20): 1, (50, 121): 1}
    assert report.modes == {"RGB": 59, "L": 1}
    assert report.num_converted == 1
    assert [[p.stem for p in group] for group in report.exact_duplicates] == [["a05", "q0"]]
    near = {tuple(path.stem for path in group) for group in report.near_duplicates}
    assert near == {("a05", "q0"), ("a01", "b07")}
    assert "50×61: 58" in str(report)


def test_inspect_names_all_unreadable_images(course):
    damage(course / "train/left/a04.jpg", "empty")
    damage(course / "test/right/nan3.jpg", "truncated")
    report = data.inspect(data.load(course))
    assert len(report.problems) == 2
    assert all(problem in str(report) for problem in report.problems)
    assert "a04.jpg: an empty file" in report.problems[0]
    assert "nan3.jpg: a damaged image" in report.problems[1]
