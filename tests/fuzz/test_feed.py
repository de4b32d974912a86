"""Whatever a file holds, it is read rightly or refused by name: nothing else, and soon."""

import contextlib
import csv
import io
import json
import os
import shutil
import sqlite3
import stat
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fuzzing import case, damaged, spoiled_arrays, times
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tll_utils import data, files, images, plan, settings
from tll_utils.data import tables
from tll_utils.errors import DataError
from tll_utils.images.decode import MAX_PIXELS
from tll_utils.scoring import leaderboard, stored, submission
from tll_utils.tools.commands import read_terms
from tll_utils.tools.index import Index

PAIRS, QUERIES, M = 24, 6, 4
EVIL_NAMES = ["", ".", "..", "../a00", "/etc/passwd", "a/../../b", "a\\b", "C:x", "a\nb", "a\0b"]
EVIL_NAMES += ["nan", "é", "a b", "‮x", "x" * 300, "-", ".hidden", "%s", "NULL", "a\ud800"]
EVIL_VALUES = [None, True, -1, 2.5, 10**400, "", "0.5", "../x", [], {}, float("nan"), 1e308]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder around whatever is tried; what a case leaves there is replaced by the next."""
    return tmp_path_factory.mktemp("feed")


# Tables -------------------------------------------------------------------------------------------


def ids(kind, count):
    return [f"{kind}{i:02}" for i in range(count)]


def course_tables():
    rights = ids("d", QUERIES)
    lists = [[rights[(i + j) % QUERIES] for j in range(M)] for i in range(QUERIES)]
    return {
        "train.csv": [["left", "right"], *zip(ids("a", PAIRS), ids("b", PAIRS), strict=True)],
        "test_candidates.csv": [
            tables.candidate_columns(M),
            *([query, *row] for query, row in zip(ids("c", QUERIES), lists, strict=True)),
        ],
        "test_truth.csv": [
            ["left", "right"],
            *([query, row[1]] for query, row in zip(ids("c", QUERIES), lists, strict=True)),
        ],
    }


@pytest.fixture(scope="module")
def course(place):
    root = place / "course"
    for split, sides in (("train", "ab"), ("test", "cd")):
        for side, kind in zip(data.SIDES, sides, strict=True):
            folder = root / split / side
            folder.mkdir(parents=True)
            for name in ids(kind, PAIRS if split == "train" else QUERIES):
                (folder / f"{name}.jpg").touch()
    (place / "a00.jpg").touch()  # what a name that leads outside would find
    return root


def as_csv(rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


@st.composite
def spoiled_tables(draw):
    """The three tables; in one of them some fields, rows or bytes are others."""
    found = {name: [list(row) for row in rows] for name, rows in course_tables().items()}
    rows = found[spoiled := draw(st.sampled_from(sorted(found)))]
    for _ in range(draw(st.integers(0, 3))):
        row = rows[draw(st.integers(0, len(rows) - 1))]
        at = draw(st.integers(0, len(row)))
        field = draw(st.sampled_from(EVIL_NAMES + row) | st.text(max_size=4))
        kind = draw(st.sampled_from(["set", "add", "drop", "twice"]))
        if kind == "twice":
            rows.append(list(row))
        else:
            row[at : at + (kind != "add")] = [] if kind == "drop" else [field]
    texts = {name: as_csv(rows) for name, rows in found.items()}
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    contents = {name: text.encode(errors="surrogatepass") for name, text in texts.items()}
    contents[spoiled] = texts[spoiled].encode(encoding, errors="replace")
    return {**contents, spoiled: draw(damaged([contents[spoiled]]))}


@times(60, 3000)
@given(contents=spoiled_tables())
def test_a_spoiled_table_is_read_rightly_or_refused(course, contents):
    for name, content in contents.items():
        (course / name).write_bytes(content)
    with case("tables of a data set", names=course):
        dataset = data.load(course)
        paths = [*dataset.left_paths, *dataset.right_paths, *dataset.query_paths]
        assert all(path.is_file() and path.parents[1].parent == course for path in paths)
        assert dataset.num_pairs >= 20 and dataset.m >= 2
        assert all(len(set(row)) == len(row) for row in dataset.candidates.to_numpy())
        assert len(set(dataset.left_paths)) == dataset.num_pairs


def test_a_long_header_hides_no_column(place):
    wanted = tables.candidate_columns(200)
    for change, told in (
        (lambda h: h.remove("c198"), "Expected c198 as column 200, which is 'c199'"),
        (lambda h: h.__setitem__(150, "C149"), "Expected c149 as column 151, which is 'C149'"),
        (lambda h: h.append("c199"), "Expected c200 as column 202, which is 'c199'"),
    ):
        header = list(wanted)
        change(header)
        (place / "long.csv").write_text(",".join(header) + "\n")
        with pytest.raises(DataError) as error:
            data.read_table(place / "long.csv")
        assert told in str(error.value) or "Missing" in str(error.value)


# Images -------------------------------------------------------------------------------------------


def image_files():
    """One small file of every kind, allowed or not."""
    draw = np.random.default_rng(0)
    picture = Image.fromarray(draw.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    deep = Image.fromarray(draw.integers(0, 2**16, (9, 7)).astype(np.uint16))
    turned = Image.Exif()
    turned[274] = 6
    second = {"save_all": True, "append_images": [picture.rotate(180)]}
    return [
        encoded(picture, "JPEG"),
        encoded(picture, "JPEG", progressive=True, quality=95),
        encoded(picture, "JPEG", exif=turned),
        encoded(picture.convert("L"), "JPEG"),
        encoded(picture.convert("CMYK"), "JPEG"),
        encoded(picture, "PNG"),
        encoded(picture.convert("RGBA"), "PNG"),
        encoded(picture.convert("1"), "PNG"),
        encoded(picture.quantize(16), "PNG", transparency=3),
        encoded(deep, "PNG"),
        encoded(picture, "PNG", **second),
        encoded(picture.quantize(16), "GIF", **second),
        encoded(picture, "BMP"),
        encoded(picture, "WEBP"),
        encoded(picture, "WEBP", **second),
        encoded(picture, "TIFF", compression="tiff_lzw"),
        encoded(deep, "TIFF"),
        encoded(picture.convert("L").convert("F"), "TIFF"),
        encoded(picture, "PPM"),
        encoded(picture, "ICO"),
        encoded(picture, "PDF"),
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    ]


def encoded(picture, kind, **options):
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


@st.composite
def bombs(draw):
    """Small files that say they are huge."""
    width, height = (draw(st.sampled_from([1, 9, 4000, 65_535, 2**31 - 1])) for _ in range(2))
    jpeg, png, gif = image_files()[0], image_files()[5], image_files()[11]
    at = jpeg.index(b"\xff\xc0") + 5
    small = (min(height, 65_535), min(width, 65_535))
    header = png[12:16] + struct.pack(">II", width, height) + png[24:29]
    kind = draw(st.sampled_from(["jpeg", "scans", "png", "gif"]))
    if kind == "png":
        return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
    if kind == "gif":
        return gif[:6] + struct.pack("<HH", *small[::-1]) + gif[10:]
    if kind == "scans":  # each asks for another walk over the whole image
        jpeg, at = image_files()[1], image_files()[1].index(b"\xff\xc2") + 5
        first = jpeg.index(b"\xff\xda")
        jpeg = jpeg[:first] + jpeg[first:-2] * draw(st.integers(1, 500)) + jpeg[-2:]
        small = (min(small[0], 8000), min(small[1], 8000))
    return jpeg[:at] + struct.pack(">HH", *small) + jpeg[at + 4 :]


@times(80, 3500)
@given(content=damaged(image_files()) | bombs())
def test_a_damaged_image_is_read_rightly_or_refused(place, content):
    path = place / "a.jpg"
    path.write_bytes(content)
    shapes = {}
    for read in (images.read_image, images.decode):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about damaged metadata
            with case("images", names=path):
                image = read(path)
                assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
                assert 0 < image.shape[0] * image.shape[1] <= MAX_PIXELS
                shapes[read] = image.shape
    # What the strict reader takes, the fast one takes as well.
    assert len({shapes.get(images.decode), *shapes.values()}) < 2


def test_what_never_ends_is_no_image(place):
    pipe, zeros = place / "pipe.jpg", place / "zeros.jpg"
    os.mkfifo(pipe)
    zeros.symlink_to("/dev/zero")
    for path in (pipe, zeros):
        for read in (images.decode, images.read_image, files.content_hash):
            with case("images"), pytest.raises((DataError, OSError)):
                read(path)


def test_a_file_larger_than_any_image_is_not_read(place):
    path = place / "large.jpg"
    with path.open("wb") as file:
        file.truncate(2**40)
    with case("images", names=path):
        images.decode(path)
        raise AssertionError("a terabyte was read")


# Archives -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def release(place):
    """Both sides as small pictures, the right one as a folder."""
    draw = np.random.default_rng(0)
    root = place / "release"
    (root / "right").mkdir(parents=True)
    pictures = {}
    for i in range(PAIRS):
        picture = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        (root / "right" / f"{i:05}.png").write_bytes(encoded(picture, "PNG"))
        pictures[f"{i:05}.png"] = encoded(picture.rotate(90), "PNG")
    return root, pictures


@st.composite
def members(draw):
    """Further members: name, content, whether a link."""
    inside = ["00000.png", "left/00001.png", "x.png", "__MACOSX/._a.png", "a.exe", "x" * 250]
    name = draw(st.sampled_from([*(f"{n}.png" for n in EVIL_NAMES[:-1]), *inside]))
    content = draw(st.sampled_from([b"", b"no picture", bytes(3_000_000), b"../../outside"]))
    return name, content, draw(st.booleans())


@times(15, 800)
@given(
    extra=st.lists(members(), max_size=2),
    method=st.sampled_from([0, 8, 12, 14]),
    spoil=st.data(),
)
def test_a_spoiled_archive_stays_inside_or_is_refused(place, release, extra, method, spoil):
    root, pictures = release
    shutil.rmtree(os.environ["TLL_CACHE_DIR"], ignore_errors=True)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that appear twice
        for name, picture in pictures.items():
            archive.writestr(name, picture)
        for name, text, is_link in extra:
            member = zipfile.ZipInfo(name)
            member.compress_type = method
            member.external_attr = ((stat.S_IFLNK if is_link else 0) | 0o777) << 16
            archive.writestr(member, text)
    (root / "left.zip").write_bytes(spoil.draw(damaged([content.getvalue()])))
    before = sorted(place.rglob("*"))
    with case("archives", names=root):
        dataset = data.load(root)
        assert dataset.num_pairs + dataset.num_queries == PAIRS
    assert sorted(place.rglob("*")) == before, "something was unpacked outside the cache"
    unpacked = [path for path in Path(os.environ["TLL_CACHE_DIR"]).rglob("*") if path.is_file()]
    assert all(path.suffix in (".png", ".json") and not path.is_symlink() for path in unpacked)
    assert sum(path.stat().st_size for path in unpacked) < 8_000_000


# Results ------------------------------------------------------------------------------------------

ROW = {
    "system": "hog", "notebook": "01_data_exploration", "split": "4 folds", "n": 100, "m": 20,
    "top_1": 0.25, "top_2": 0.5, "top_5": 0.75, "low": 0.4, "high": 0.6, "seed": 0,
    "seconds": 1.0, "backbone": "", "weights": "none", "data": "tll", "profile": "cpu",
    "protocol": "per query",
}  # fmt: skip


@st.composite
def spoiled_results(draw):
    rows = [{**ROW, "system": name, "seed": seed} for name in ("a", "b") for seed in (0, 1)]
    for _ in range(draw(st.integers(0, 3))):
        row = rows[draw(st.integers(0, len(rows) - 1))]
        name = draw(st.sampled_from(sorted(ROW)))
        row[name] = draw(st.sampled_from([*EVIL_VALUES, *EVIL_NAMES[:-1]]))
        if draw(st.booleans()):
            del row[name]
    whole = draw(st.sampled_from([rows, rows, rows, {"rows": rows}, [rows], None, 3]))
    text = json.dumps(whole).encode()
    endless = [b"[" * 50_000, b'{"a":' * 50_000]
    return draw(damaged([text, text, *endless]) if draw(st.booleans()) else st.just(text))


@times(60, 1500)
@given(content=spoiled_results())
def test_spoiled_results_are_read_rightly_or_refused(place, content):
    (place / "results.json").write_bytes(content)
    with case("results", names=place / "results.json"):
        rows = leaderboard.read(place)
        table = leaderboard.leaderboard(rows)
        assert len(table) <= len(rows)
        for row in rows:
            assert 0 <= row["top_2"] <= 1 and row["n"] >= 0
            for name in ("system", "data", "profile"):  # these become parts of paths
                assert not set(row[name]) & set("/\\\0.\n")


# Arrays -------------------------------------------------------------------------------------------


def scores():
    rows, draw = np.arange(8), np.random.default_rng(0)
    return {
        "oof": draw.normal(size=(8, M)).astype(np.float32), "rows": rows, "seconds": 1.0,
        "candidates": (rows[:, None] + np.arange(M)) % 8,
        "test": draw.normal(size=(QUERIES, M)).astype(np.float32),
        "candidate_index": np.zeros((QUERIES, M), int),
    }  # fmt: skip


@times(40, 1200)
@given(content=spoiled_arrays(scores()))
def test_spoiled_scores_are_read_rightly_or_refused(place, content):
    path = place / "scores.npz"
    path.write_bytes(content)
    with case("stored scores", names=path):
        found = stored.read(path)
        assert np.isfinite(found["oof"][found["rows"]]).all()
        assert found["oof"].shape == found["candidates"].shape
        assert found["test"].shape == found["candidate_index"].shape


# Submissions --------------------------------------------------------------------------------------

NUMBERS = ["0", "-1.5", "1e-3", ".5", "5.", "+2", "1_000", "١٢", "1,5", "nan", "inf", "1e999", ""]
NUMBERS += [" 1", "1 ", "0x1A", "1e", "--1", "9" * 400, "1\x00", "½", "True"]


@st.composite
def spoiled_submissions(draw):
    header, *lists = course_tables()["test_candidates.csv"]
    rows = [header, *([query, *["0.5"] * M] for query, *_ in lists)]
    for _ in range(draw(st.integers(0, 3))):
        row = rows[draw(st.integers(0, len(rows) - 1))]
        at = draw(st.integers(0, len(row) - 1))
        row[at] = draw(st.sampled_from([*NUMBERS, *EVIL_NAMES[:-1]]))
        if draw(st.booleans()):
            rows.append(rows.pop(draw(st.integers(0, len(rows) - 1))))
    return draw(damaged([as_csv(rows).encode()]))


@times(60, 1500)
@given(content=spoiled_submissions())
def test_a_spoiled_submission_is_read_as_pandas_does_or_refused(place, content):
    path = place / "submission.csv"
    path.write_bytes(content)
    header, *lists = course_tables()["test_candidates.csv"]
    candidates = pd.DataFrame(lists, columns=header)
    with case("submissions", names=path):
        found = submission.read(path, candidates)
        assert np.isfinite(found).all() and found.shape == (QUERIES, M)
        read = pd.read_csv(path, dtype={"left": str}, float_precision="round_trip")
        assert read["left"].tolist() == candidates["left"].tolist()
        np.testing.assert_array_equal(found, read.iloc[:, 1:].to_numpy(float))


# Names and settings -------------------------------------------------------------------------------

words = st.text(max_size=6) | st.sampled_from(["01", "0", "~nobody/x", "a" * 5000, *EVIL_NAMES])


@times(40, 800)
@given(only=st.lists(words, max_size=3))
def test_notebook_names_find_notebooks_or_are_refused(only):
    known = plan.find_notebooks()
    with case("notebook names and settings"):
        found = plan.find_notebooks(only)
        assert found and set(found) <= set(known) and all(only)


VARIABLES = ["DATA_DIR", "OUT_DIR", "PROFILE", "BACKBONES", "WEIGHTS", "SEED", "SEEDS", "SMOKE"]
values = words.filter(lambda text: "\0" not in text) | st.sampled_from(["quick", "0", "1,2", "①"])


@times(40, 800)
@given(environ=st.dictionaries(st.sampled_from([f"TLL_{v}" for v in VARIABLES]), values))
def test_settings_are_read_or_refused(environ):
    with case("notebook names and settings"):
        found = settings.Settings.from_environment(environ)
        assert found.profile in settings.PROFILES and 0 <= found.seed < 2**32
        assert all(0 <= seed < 2**32 for seed in settings.seeds_of(environ))
        settings.choose_networks("04", found)


@times(20, 400)
@given(words=st.lists(st.sampled_from(["+", "-", "a.jpg", ""]), max_size=5))
def test_terms_of_a_search_take_turns_or_are_refused(words):
    with case("notebook names and settings"):
        assert len(read_terms(words)) == (len(words) + 1) // 2


# The index ----------------------------------------------------------------------------------------


class Toy:
    """Stands in for a model."""

    source, weights, fingerprint = "toy", "", "1"

    def load(self):
        pass

    def embed_what_can_be(self, pictures):
        vectors = np.random.default_rng(0).normal(size=(len(pictures), 8))
        return vectors.astype(np.float32), {}


@pytest.fixture(scope="module")
def index_file(place):
    for i in range(5):
        picture = Image.fromarray(np.full((4, 4, 3), 40 * i, np.uint8))
        (place / "pictures").mkdir(exist_ok=True)
        picture.save(place / "pictures" / f"{i}.png")
    with_five = Index(Toy(), place / "five.index")
    with_five.add([place / "pictures"])
    with_five._sql.close()
    for picture in (place / "pictures").iterdir():
        picture.unlink()  # the next `add` forgets them
    return place / "five.index"


STATEMENTS = [
    "UPDATE vectors SET vector = NULL",
    "UPDATE vectors SET vector = x'00' WHERE rowid = 1",
    "UPDATE vectors SET vector = zeroblob(100000000) WHERE rowid = 1",
    "UPDATE vectors SET vector = x'007e007e007e007e007e007e007e007e' WHERE rowid = 1",
    "UPDATE vectors SET hash = 7.5 WHERE rowid = 2",
    "UPDATE files SET path = x'00ff'",
    "UPDATE files SET mtime = 'yesterday'",
    "UPDATE about SET value = x'00'",
    "DELETE FROM about WHERE name = 'source'",
    "DELETE FROM files",
    "DROP TABLE vectors",
    "DROP TABLE vectors; CREATE VIEW vectors AS WITH RECURSIVE n(i) AS "
    "(SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'a' hash, x'00' vector FROM n",
    "CREATE TRIGGER t AFTER INSERT ON files BEGIN DELETE FROM vectors; END",
    "ALTER TABLE files ADD COLUMN more TEXT",
]


@times(25, 1000)
@given(
    statements=st.lists(st.sampled_from(STATEMENTS), max_size=2),
    spoil=st.data(),
)
def test_a_spoiled_index_is_searched_or_refused(place, index_file, statements, spoil):
    path = place / "spoiled.index"
    shutil.copy(index_file, path)
    for statement in statements:
        sql = sqlite3.connect(path)
        with contextlib.suppress(sqlite3.Error):  # the one before may have taken its table
            sql.executescript(statement)
        sql.close()
    if not statements:
        path.write_bytes(spoil.draw(damaged([index_file.read_bytes()])))
    index = None
    with case("index files", names=path):
        index = Index.load(path)
        matches = index.search(np.ones(8, np.float32), top=3)
        assert len(matches) <= 3 and all(np.isfinite(m.similarity) for m in matches)
        assert len(index) >= len(matches)
        index.add([place / "pictures"])
    if index is not None:
        index._sql.close()
