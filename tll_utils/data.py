"""Finds, reads and validates the image pairs and candidate lists of Totally Looks Like.

Two layouts are understood. The course edition:

    train.csv                left,right             one pair per row
    test_candidates.csv      left,c0,…,c{m-1}       one query and its m candidates per row
    test_truth.csv           left,right             optional: the match of each query
    train/left, train/right, test/left, test/right  <id>.jpg

and the original release of Rosenfeld et al. (2018), where equal names make a pair:

    left/, right/            or left.zip, right.zip

`load` checks everything but the pixels, in milliseconds; `inspect` decodes every image.
"""

import csv
import hashlib
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from tll_utils import progress as progress_bars

MIN_PAIRS = 20
MAX_PIXELS = 64_000_000  # one image; the course images have 49 000
MAX_UNZIPPED_BYTES = 4 * 2**30  # the original release has about 0.2 GiB
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# What Pillow may try on a file; a whitelist keeps its rarer and riskier decoders out.
IMAGE_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")

SEARCH_DIRS = (Path("/kaggle/input"), Path(__file__).resolve().parent.parent / "data")

EXPECTED = (
    "Expected train.csv, test_candidates.csv, train/left, train/right, test/left and test/right "
    "(course edition), or left and right as folders or zip files (original release)."
)


class DataError(ValueError):
    """The data cannot be used; the message says which file and row, and what to do."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pairs to learn from, and queries with their candidates, with the paths of all images.

    Attributes:
        name: `"sample"` (drawn), `"release"` (original layout) or `"tll"` (course layout).
        root: The data folder.
        pairs: Columns `left`, `right`: ids, str. Shape `(num_pairs, 2)`.
        left_paths, right_paths: Aligned with the rows of `pairs`.
        candidates: Columns `left`, `c0` … `c{m-1}`: ids, str.
        query_paths: Aligned with the rows of `candidates`.
        gallery_paths: Each candidate image once, sorted by id.
        candidate_index: int `(num_queries, m)`: positions in `gallery_paths`.
        true_place: int `(num_queries,)`: column of the match in its row; None if not known.
    """

    name: str
    root: Path
    pairs: pd.DataFrame
    left_paths: tuple[Path, ...]
    right_paths: tuple[Path, ...]
    candidates: pd.DataFrame
    query_paths: tuple[Path, ...]
    gallery_paths: tuple[Path, ...]
    candidate_index: np.ndarray
    true_place: np.ndarray | None

    @property
    def num_pairs(self) -> int:
        return len(self.pairs)

    @property
    def num_queries(self) -> int:
        return len(self.candidates)

    @property
    def m(self) -> int:
        """Candidates per query."""
        return self.candidate_index.shape[1]


# ---------------------------------------------------------------------------------------------
# Find and load


def find(data_dir: Path | str | None = None, *, search_dirs: Sequence[Path] = SEARCH_DIRS) -> Path:
    """Returns the folder that holds the data set.

    Args:
        data_dir: The data set, or a folder around it; `None` takes the first that `search_dirs`
            hold.
        search_dirs: Kaggle's input folder and the project's `data/` unless told otherwise.

    Raises:
        DataError: If there is no data set, or `data_dir` holds several.
    """
    if data_dir is None:
        for place in search_dirs:
            if found := _data_sets(place):
                return found[0]
        looked = " or ".join(str(place) for place in search_dirs)
        raise DataError(f"No data set in {looked}. Set TLL_DATA_DIR to its folder. {EXPECTED}")
    if not Path(data_dir).is_dir():
        raise DataError(f"{data_dir}: no such folder. Set TLL_DATA_DIR (or --data) to the data.")
    found = _data_sets(Path(data_dir))
    if not found:
        raise DataError(f"{data_dir}: no data set in this folder. {EXPECTED}")
    if len(found) > 1:
        raise DataError(
            f"{data_dir}: {len(found)} data sets in this folder, {found[0].name} and "
            f"{found[1].name} among them. Name the one to use."
        )
    return found[0]


def _data_sets(place: Path) -> list[Path]:
    """Returns `place` if it is a data set, else those in it, else those one level deeper.

    Kaggle mounts `/kaggle/input/<name>` or `/kaggle/input/competitions/<name>`.
    """
    if _layout(place):
        return [place]
    for pattern in ("*", "*/*"):
        if found := sorted(folder for folder in place.glob(pattern) if _layout(folder)):
            return found
    return []


def load(data_dir: Path | str, *, seed: int = 0) -> Dataset:
    """Reads a data set and validates everything but the pixels.

    Args:
        data_dir: A folder that `find` accepts.
        seed: Draws the held-out queries of the original release; the course edition has its own.

    Raises:
        DataError: If anything is missing, malformed or contradictory.
    """
    root = find(data_dir)
    return _load_course(root) if _layout(root) == "course" else _load_release(root, seed=seed)


def _layout(folder: Path) -> str | None:
    def holds(*names):
        return any((folder / name).exists() for name in names)

    if holds("train.csv", "test_candidates.csv", "train/left", "test/left"):
        return "course"
    if holds("left", "left.zip") and holds("right", "right.zip"):
        return "release"
    return None


def _load_course(root: Path) -> Dataset:
    pairs = _read_pairs(root / "train.csv")
    _refuse_repeats(pairs, "left")
    _refuse_repeats(pairs, "right")
    if len(pairs.rows) < MIN_PAIRS:
        raise DataError(f"{pairs.path}: {len(pairs.rows)} pairs; at least {MIN_PAIRS} are needed.")
    candidates = _read_candidates(root / "test_candidates.csv")

    left_files, right_files = (_list_images(root / "train" / side) for side in SIDES)
    query_files, gallery_files = (_list_images(root / "test" / side) for side in SIDES)
    left_paths = _paths_of(pairs, "left", left_files, root / "train/left")
    right_paths = _paths_of(pairs, "right", right_files, root / "train/right")
    query_paths = _paths_of(candidates, "left", query_files, root / "test/left")
    for column in candidates.header[1:]:
        _paths_of(candidates, column, gallery_files, root / "test/right")

    truth_csv = root / "test_truth.csv"
    true_place = _read_truth(truth_csv, candidates) if truth_csv.exists() else None
    return _assemble(
        name="sample" if true_place is not None and (root / "sample.json").exists() else "tll",
        root=root,
        pairs=pairs.frame(),
        left_paths=left_paths,
        right_paths=right_paths,
        candidates=candidates.frame(),
        query_paths=query_paths,
        gallery_files=gallery_files,
        true_place=true_place,
    )


def _load_release(root: Path, *, seed: int) -> Dataset:
    """Holds out 240 of 6016 pairs as queries, as Rosenfeld et al. and Takmaz et al. did."""
    left_files, right_files = (_list_images(_release_folder(root, side)) for side in SIDES)
    for side, lonely in zip(
        SIDES, (left_files.keys() - right_files, right_files.keys() - left_files), strict=True
    ):
        if lonely:
            raise DataError(
                f"{root}: {len(lonely)} images of {side} have no partner of the same name, the "
                f"first is {min(lonely)!r}. Equal names make a pair: add or remove the odd ones."
            )
    ids = np.array(sorted(left_files))
    if len(ids) < MIN_PAIRS:
        raise DataError(f"{root}: {len(ids)} pairs; at least {MIN_PAIRS} are needed.")
    for name in ids:
        _check_id(name, f"{root}, left")

    left_paths = [left_files[name] for name in ids]
    right_paths = [right_files[name] for name in ids]
    groups = _group_pairs(_look_at(left_paths), _look_at(right_paths))
    held_out = _hold_out(groups, seed=seed)
    queries, kept = ids[held_out].tolist(), ids[~held_out].tolist()
    order, true_place = _draw_lists(groups[held_out], seed=seed)
    lists = [
        [query] + [queries[other] for other in row]
        for query, row in zip(queries, order, strict=True)
    ]
    return _assemble(
        name="release",
        root=root,
        pairs=pd.DataFrame({"left": kept, "right": kept}, dtype=str),
        left_paths=tuple(left_files[name] for name in kept),
        right_paths=tuple(right_files[name] for name in kept),
        candidates=pd.DataFrame(
            lists, columns=["left"] + [f"c{place}" for place in range(order.shape[1])], dtype=str
        ),
        query_paths=tuple(left_files[name] for name in queries),
        gallery_files=right_files,
        true_place=true_place,
    )


def _assemble(*, candidates: pd.DataFrame, gallery_files: dict[str, Path], **fields) -> Dataset:
    gallery_ids, index = np.unique(candidates.iloc[:, 1:].to_numpy(dtype=str), return_inverse=True)
    return Dataset(
        candidates=candidates,
        gallery_paths=tuple(gallery_files[name] for name in gallery_ids),
        candidate_index=index.reshape(len(candidates), -1),
        **fields,
    )


# ---------------------------------------------------------------------------------------------
# CSV files and folders

SIDES = ("left", "right")
ID = re.compile(r"[\w-][\w.-]*")


class _Table(NamedTuple):
    """A CSV of ids with the line of each row, which messages name."""

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        place = self.header.index(name)
        return [row[place] for row in self.rows]

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=self.header, dtype=str)


def _read_pairs(path: Path) -> _Table:
    return _read_ids(path, lambda header: header == ["left", "right"], "left,right")


def _read_candidates(path: Path) -> _Table:
    def is_header(header):
        m = len(header) - 1
        return m >= 2 and header == ["left"] + [f"c{place}" for place in range(m)]

    table = _read_ids(path, is_header, "left,c0,c1,… (at least two candidates)")
    if not table.rows:
        raise DataError(f"{path}: no rows; expected one query per row.")
    _refuse_repeats(table, "left")
    for line, row in zip(table.lines, table.rows, strict=True):
        if len(set(row)) < len(row):
            twice, _ = Counter(row).most_common(1)[0]
            raise DataError(
                f"{path}, row {line}: {twice!r} stands there twice; expected one query and "
                f"{len(row) - 1} different candidates, the query not among them. Correct the row."
            )
    return table


def _read_ids(path: Path, is_header: Callable[[list[str]], bool], expected: str) -> _Table:
    """Reads and validates a CSV of ids.

    The csv module rather than pandas: it keeps the line numbers, and does not take an image
    called `nan` for a missing one.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a CSV with the columns {expected}.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            numbered = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); expected a CSV file in UTF-8."
        ) from None
    if not numbered or not is_header(numbered[0][1]):
        found = ",".join(numbered[0][1])[:100] if numbered else "an empty file"
        raise DataError(f"{path}, row 1: expected the columns {expected}; found {found}.")
    (_, header), *numbered = numbered
    for line, row in numbered:
        if len(row) != len(header):
            raise DataError(
                f"{path}, row {line}: {len(row)} fields; expected {len(header)}, {header[0]} to "
                f"{header[-1]}. Complete the row or remove it."
            )
        for name in row:
            _check_id(name, f"{path}, row {line}")
    return _Table(path, header, [row for _, row in numbered], [line for line, _ in numbered])


def _check_id(name: str, where: str) -> None:
    """Lets through plain names only: an id becomes part of a path."""
    if not ID.fullmatch(name):
        raise DataError(
            f"{where}: {name[:100]!r} cannot be an image id; expected the bare name of a file "
            "without folder or extension (letters, digits, '_', '-', '.')."
        )


def _refuse_repeats(table: _Table, column: str) -> None:
    seen: dict[str, int] = {}
    for line, name in zip(table.lines, table.column(column), strict=True):
        if name in seen:
            raise DataError(
                f"{table.path}, row {line}: {column} {name!r} stands in row {seen[name]} already; "
                "expected each image once. Remove one of the two rows."
            )
        seen[name] = line


def _list_images(folder: Path) -> dict[str, Path]:
    """Maps ids to image paths, from one listing of the folder: a stat per file would be slow."""
    try:
        with os.scandir(folder) as entries:
            files, folders = {}, []
            for entry in entries:
                stem, suffix = os.path.splitext(entry.name)
                if suffix.lower() not in IMAGE_SUFFIXES or entry.name.startswith("."):
                    continue  # Thumbs.db, .DS_Store, ._name.jpg
                if entry.is_dir():
                    folders.append(entry.name)
                elif stem in files:
                    raise DataError(
                        f"{folder}: both {files[stem].name} and {entry.name} could be image "
                        f"{stem!r}. Remove one of them."
                    )
                else:
                    files[stem] = folder / entry.name
    except FileNotFoundError:
        raise DataError(f"{folder}: no such folder. {EXPECTED}") from None
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}). {EXPECTED}") from None
    if folders:
        raise DataError(
            f"{folder / min(folders)}: a folder, expected an image file. Remove or rename it."
        )
    return files


def _paths_of(table: _Table, column: str, files: dict[str, Path], folder: Path) -> tuple[Path, ...]:
    ids = table.column(column)
    missing = [place for place, name in enumerate(ids) if name not in files]
    if missing:
        raise DataError(
            f"{table.path}, row {table.lines[missing[0]]}: {column} is {ids[missing[0]]!r}, but "
            f"there is no {ids[missing[0]]}.jpg in {folder} ({len(missing)} such rows). "
            "Add the files or remove the rows."
        )
    return tuple(files[name] for name in ids)


def _read_truth(path: Path, candidates: _Table) -> np.ndarray:
    """Returns the place of each query's match in its row, int `(num_queries,)`."""
    truth = _read_pairs(path)
    _refuse_repeats(truth, "left")
    advice = "Use the truth that belongs to these candidates."
    options = {row[0]: row[1:] for row in candidates.rows}
    places = {}
    for line, (query, match) in zip(truth.lines, truth.rows, strict=True):
        if query not in options:
            raise DataError(
                f"{path}, row {line}: {query!r} is not a query of {candidates.path.name}. {advice}"
            )
        if match not in options[query]:
            raise DataError(
                f"{path}, row {line}: {match!r} is not among the candidates of {query!r} in "
                f"{candidates.path.name}. {advice}"
            )
        places[query] = options[query].index(match)
    missing = [query for query in options if query not in places]
    if missing:
        raise DataError(
            f"{path}: no row for {missing[0]!r} and {len(missing) - 1} other queries of "
            f"{candidates.path.name}. {advice}"
        )
    return np.array([places[query] for query in options])


# ---------------------------------------------------------------------------------------------
# The original release: zip files, held-out queries


def _release_folder(root: Path, side: str) -> Path:
    folder = root / side
    return folder if folder.is_dir() else _unpack(root / f"{side}.zip")


def _unpack(archive: Path) -> Path:
    """Extracts the images of a zip once, beside it, and returns their folder.

    The folder is named after the archive's contents, so another archive gets another folder; it
    is written under a temporary name and renamed, so it is there whole or not at all.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            for member in source.infolist():
                _refuse_outside(archive, member)
            images = [member for member in source.infolist() if _is_image_member(member)]
            contents = sorted((member.filename, member.CRC) for member in images)
            digest = hashlib.blake2b(repr(contents).encode(), digest_size=4).hexdigest()
            target = archive.parent / "unpacked" / f"{archive.stem}-{digest}"
            if target.is_dir():
                return target
            _check_members(archive, images)
            target.parent.mkdir(exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            try:
                for member in images:
                    # The bare name: nothing in the archive decides on a folder.
                    path = partial / PurePosixPath(member.filename).name
                    with source.open(member) as image, path.open("wb") as copy:
                        shutil.copyfileobj(image, copy)
                if not target.is_dir():  # another process may have been quicker
                    partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except (zipfile.BadZipFile, RuntimeError, EOFError, zlib.error) as error:
        raise DataError(f"{archive}: damaged ({error}). Download it again.") from None
    except OSError as error:
        raise DataError(
            f"{archive}: cannot be extracted into {archive.parent / 'unpacked'} ({error}). Copy "
            "both zips to a folder that can be written, or extract them to left/ and right/."
        ) from None
    return target


def _refuse_outside(archive: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename.replace("\\", "/")
    outside = name.startswith("/") or ":" in name or ".." in name.split("/")
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(
            f"{archive}: member {member.filename!r} leads outside the archive's folder; expected "
            "plain image files. Do not use this file; download the original again."
        )


def _is_image_member(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename)
    hidden = path.name.startswith(".") or "__MACOSX" in path.parts
    return not member.is_dir() and not hidden and path.suffix.lower() in IMAGE_SUFFIXES


def _check_members(archive: Path, images: list[zipfile.ZipInfo]) -> None:
    size = sum(member.file_size for member in images)
    if not images or size > MAX_UNZIPPED_BYTES:
        raise DataError(
            f"{archive}: {len(images)} images of {size / 2**30:.1f} GiB in all; expected at least "
            f"{MIN_PAIRS} images and at most {MAX_UNZIPPED_BYTES / 2**30:.0f} GiB."
        )
    names = Counter(PurePosixPath(member.filename).name for member in images)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise DataError(f"{archive}: {count} members are called {name}; expected each name once.")


def _hold_out(groups: np.ndarray, *, seed: int) -> np.ndarray:
    """Marks the pairs that become queries: bool `(num_pairs,)`, whole groups only.

    240 pairs, or 4 % of a smaller release, but enough for lists of 20 where a quarter allows it.
    """
    num_pairs = len(groups)
    wanted = min(240, max(round(0.04 * num_pairs), min(20, num_pairs // 4)))
    labels, sizes = np.unique(groups, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    held_out, taken = [], 0
    for label, size in zip(labels[order], sizes[order], strict=True):
        if taken + size <= wanted:
            held_out.append(label)
            taken += size
    return np.isin(groups, held_out)


def _draw_lists(groups: np.ndarray, *, seed: int, m: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Draws candidate lists among queries: int `(num_queries, m)`, and the place of each match.

    No distractor comes from the query's own near-duplicate group.
    """
    largest = np.bincount(np.unique(groups, return_inverse=True)[1]).max(initial=0)
    m = min(m, len(groups) - largest + 1)
    if m < 2:
        raise DataError(
            f"{len(groups)} held-out pairs are too few, or too much alike, for candidate lists."
        )
    generator = np.random.default_rng(seed)
    true_place = generator.integers(m, size=len(groups))
    lists = np.empty((len(groups), m), dtype=int)
    for query, place in enumerate(true_place):
        others = np.flatnonzero(groups != groups[query])
        distractors = generator.choice(others, size=m - 1, replace=False)
        lists[query] = np.insert(distractors, place, query)
    return lists, true_place


# ---------------------------------------------------------------------------------------------
# Pixels


def read_image(path: Path | str) -> np.ndarray:
    """Decodes one image file to RGB, uint8 `(height, width, 3)` in [0, 255].

    Grayscale, palette, CMYK and 16-bit images are converted; transparency is laid on white. An
    EXIF rotation is not applied, as in TensorFlow's decoder.

    Raises:
        DataError: If the file is no image, is damaged, or has more than 64 million pixels; the
            header decides the last, before anything is decoded.
    """
    return np.asarray(_read_rgb(path)[0])


def content_hash(path: Path | str) -> str:
    """Names a file by its bytes: equal files, equal 32 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _read_rgb(path: Path | str) -> tuple[Image.Image, str]:
    """Returns the image in RGB and the mode that the file has."""
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            width, height = image.size
            if width * height <= MAX_PIXELS:
                return _to_rgb(image), image.mode
        reason = f"more than {MAX_PIXELS:,} pixels ({width}×{height})"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = f"more than {MAX_PIXELS:,} pixels"
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        reason = error.strerror.lower()
    except Image.UnidentifiedImageError:
        reason = "no image" if os.path.getsize(path) else "an empty file"
    except Exception as error:  # decoders fail on damaged files in many ways
        reason = f"a damaged image ({error})"
    raise DataError(
        f"{path}: {reason}; expected a JPEG image. Replace the file, or remove it and its rows."
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits in one channel; the high byte is the 8-bit image
        high_byte = np.asarray(image).astype(np.int32) >> 8
        return Image.fromarray(high_byte.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


# ---------------------------------------------------------------------------------------------
# Near-duplicates and folds

THUMBNAIL = 16  # side of the thumbnails that are compared
FLAT = 6.0  # gray levels: rows and columns with a smaller standard deviation are margin
# Looked at on 7200 course images: of 92 couples above it, 2 did not show the same picture.
MIN_LIKENESS = 0.81


class _Look(NamedTuple):
    """What one decoding of an image tells."""

    path: Path
    digest: str = ""
    size: tuple[int, int] = (0, 0)  # width, height
    mode: str = ""
    thumbnail: np.ndarray | None = None  # float32 (16, 16, 3); None if all is margin
    error: str = ""


def near_duplicate_groups(left_paths: Sequence[Path], right_paths: Sequence[Path]) -> np.ndarray:
    """Labels the pairs so that pairs which share a near-duplicate image share a group.

    Two images are near-duplicates if their bytes are equal, or if they are the same picture at
    another size, compression, tint or margin, or mirrored.

    Args:
        left_paths, right_paths: The images of each pair, `num_pairs` each.

    Returns:
        int `(num_pairs,)`, groups numbered from 0 in the order of their first pair.

    Raises:
        DataError: If an image cannot be read.
    """
    looks = _look_at([*left_paths, *right_paths])
    for look in looks:
        if look.error:
            raise DataError(look.error)
    return _group_pairs(looks[: len(left_paths)], looks[len(left_paths) :])


def assign_folds(groups: np.ndarray, *, num_folds: int, seed: int) -> np.ndarray:
    """Deals the pairs into folds of equal size, near-duplicate groups kept whole.

    Args:
        groups: int `(num_pairs,)`.
        num_folds: At least 2, at most the number of groups.
        seed: Shuffles the groups before they are dealt.

    Returns:
        int `(num_pairs,)` in [0, num_folds). The sizes of two folds differ at most by the size of
        the largest group.
    """
    labels, sizes = np.unique(groups, return_counts=True)
    if not 2 <= num_folds <= len(labels):
        raise ValueError(
            f"num_folds must be between 2 and the number of groups, {len(labels)}. "
            f"Received: num_folds={num_folds}"
        )
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(-sizes[order], kind="stable")]  # large ones first, small ones level
    fold_sizes = np.zeros(num_folds, dtype=int)
    fold_of_label = np.empty(len(labels), dtype=int)
    for label in order:
        fold_of_label[label] = fold_sizes.argmin()
        fold_sizes[fold_of_label[label]] += sizes[label]
    return fold_of_label[np.searchsorted(labels, groups)]


def _look_at(paths: Sequence[Path], *, progress: bool = False) -> list[_Look]:
    # Pillow releases the interpreter lock while it decodes, so threads use all cores.
    with ThreadPoolExecutor() as pool:
        looks = pool.map(_look, paths)
        return list(progress_bars.bar(looks, total=len(paths), desc="images", shown=progress))


def _look(path: Path) -> _Look:
    try:
        image, mode = _read_rgb(path)
    except DataError as error:
        return _Look(path, error=str(error))
    return _Look(path, content_hash(path), image.size, mode, _thumbnail(image))


def _thumbnail(image: Image.Image) -> np.ndarray | None:
    """Shrinks what lies within the margins to 16×16; None if hardly anything does.

    Pictures of another format were padded with black or white: left in, the bars would make any
    two of them alike.
    """
    image = image.reduce(max(1, min(image.size) // 50))  # the rest is much faster on less
    gray = np.asarray(image.convert("L"), np.float32)
    rows = np.flatnonzero(gray.std(axis=1) > FLAT)
    columns = np.flatnonzero(gray.std(axis=0) > FLAT)
    if min(8 * len(rows) / image.height, 8 * len(columns) / image.width) < 1:
        return None
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    small = image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX, box=box)
    return np.asarray(small, np.float32)


def _describe(thumbnails: np.ndarray) -> np.ndarray:
    """Unit vectors whose dot product is the mean of two correlations: of colours and of edges.

    Colours alone confuse portraits on white, edges alone drawings of few lines.
    thumbnails: `(n, 16, 16, 3)`. Returns float32 `(n, 1248)`.
    """

    def unit(vectors):
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-6)

    n = len(thumbnails)
    colours = thumbnails.reshape(n, -1)
    gray = thumbnails.mean(axis=-1)
    edges = [np.diff(gray, axis=axis).reshape(n, -1) for axis in (1, 2)]
    halves = unit(colours - colours.mean(axis=1, keepdims=True)), unit(np.hstack(edges))
    return np.hstack(halves) / np.float32(np.sqrt(2))


def _near_duplicates(looks: Sequence[_Look]) -> list[tuple[int, int]]:
    """Returns the couples of positions that show the same picture."""
    known = np.array([at for at, look in enumerate(looks) if look.thumbnail is not None], dtype=int)
    if not known.size:
        return []
    thumbnails = np.stack([looks[at].thumbnail for at in known])
    upright, mirrored = _describe(thumbnails), _describe(thumbnails[:, :, ::-1])
    couples = []
    for start in range(0, len(known), 1024):  # in blocks: all against all can be large
        block = upright[start : start + 1024]
        likeness = np.maximum(block @ upright[start:].T, block @ mirrored[start:].T)
        rows, columns = np.nonzero(np.triu(likeness > MIN_LIKENESS, k=1))
        couples += zip(known[start + rows].tolist(), known[start + columns].tolist(), strict=True)
    return couples


def _exact_duplicates(looks: Sequence[_Look]) -> list[tuple[int, int]]:
    first: dict[str, int] = {}
    seen = [(first.setdefault(look.digest, at), at) for at, look in enumerate(looks) if look.digest]
    return [(earlier, later) for earlier, later in seen if earlier != later]


def _group_pairs(left: Sequence[_Look], right: Sequence[_Look]) -> np.ndarray:
    looks = [*left, *right]
    edges = _exact_duplicates(looks) + _near_duplicates(looks)
    return _join(len(left), [(a % len(left), b % len(left)) for a, b in edges])


def _join(size: int, edges: Iterable[tuple[int, int]]) -> np.ndarray:
    """Numbers the connected components of `size` nodes: union-find. int `(size,)`."""
    parent = list(range(size))

    def find_root(node):
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in edges:
        a, b = find_root(a), find_root(b)
        parent[max(a, b)] = min(a, b)
    roots = [find_root(node) for node in range(size)]
    return np.unique(np.array(roots, dtype=int), return_inverse=True)[1]


# ---------------------------------------------------------------------------------------------
# Report


@dataclass(frozen=True)
class Report:
    """What `inspect` found; `str(report)` is for people.

    Attributes:
        name, root: Of the data set.
        counts: Number of pairs, queries, candidates per query, gallery images and images.
        sizes: How often each (width, height) occurs.
        modes: How often each Pillow mode occurs; all but "RGB" are converted.
        unreadable: One message per image that cannot be used.
        exact_duplicates: Groups of files with equal bytes.
        near_duplicates: Groups of files that look the same, those of equal bytes among them.
    """

    name: str
    root: Path
    counts: dict[str, int]
    sizes: Counter
    modes: Counter
    unreadable: tuple[str, ...]
    exact_duplicates: tuple[tuple[Path, ...], ...]
    near_duplicates: tuple[tuple[Path, ...], ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps the data set from being used; empty if it is good."""
        return self.unreadable

    @property
    def num_converted(self) -> int:
        return sum(count for mode, count in self.modes.items() if mode != "RGB")

    def __str__(self) -> str:
        def listed(counter, shown=5):
            parts = [f"{what}: {count}" for what, count in counter.most_common(shown)]
            rest = len(counter) - shown
            return ", ".join(parts) + (f" and {rest} more" if rest > 0 else "")

        sizes = Counter({f"{w}×{h}": count for (w, h), count in self.sizes.items()})
        lines = [f"{self.root} ({self.name})"]
        lines += [f"  {what:22}{count}" for what, count in self.counts.items()]
        lines += [
            f"  {'sizes, width×height':22}{listed(sizes)}",
            f"  {'modes':22}{listed(self.modes)} ({self.num_converted} converted to RGB)",
        ]
        for what, groups in (
            ("exact duplicates", self.exact_duplicates),
            ("near-duplicates", self.near_duplicates),
        ):
            lines += [f"  {what:22}{len(groups)} groups of {sum(map(len, groups))} images"]
        lines += [f"  {'unreadable':22}{len(self.unreadable)}"]
        lines += [f"    {problem}" for problem in self.problems]
        return "\n".join(lines)


def inspect(dataset: Dataset, *, progress: bool = True) -> Report:
    """Decodes every image of a data set and reports what is there and what is wrong."""
    paths = [
        *dataset.left_paths,
        *dataset.right_paths,
        *dataset.query_paths,
        *dataset.gallery_paths,
    ]
    looks = _look_at(paths, progress=progress)
    good = [look for look in looks if not look.error]

    def grouped(edges):
        groups: dict[int, list[Path]] = {}
        for look, label in zip(good, _join(len(good), edges).tolist(), strict=True):
            groups.setdefault(label, []).append(look.path)
        return tuple(tuple(group) for group in groups.values() if len(group) > 1)

    exact = _exact_duplicates(good)
    return Report(
        name=dataset.name,
        root=dataset.root,
        counts={
            "pairs": dataset.num_pairs,
            "queries": dataset.num_queries,
            "candidates per query": dataset.m,
            "gallery": len(dataset.gallery_paths),
            "images": len(paths),
        },
        sizes=Counter(look.size for look in good),
        modes=Counter(look.mode for look in good),
        unreadable=tuple(look.error for look in looks if look.error),
        exact_duplicates=grouped(exact),
        near_duplicates=grouped(exact + _near_duplicates(good)),
    )
