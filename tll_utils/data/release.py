"""Reads the original release of Rosenfeld et al. (2018), where equal names make a pair.

left/, right/            or left.zip, right.zip
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from tll_utils import files
from tll_utils.data import folders
from tll_utils.data.course import IMAGE_SUFFIXES, list_images
from tll_utils.data.dataset import MIN_PAIRS, SIDES, Dataset, index_gallery
from tll_utils.data.duplicates import near_duplicate_groups
from tll_utils.data.splits import draw_candidates
from tll_utils.data.tables import candidate_columns, require_id
from tll_utils.errors import DataError

MAX_UNZIPPED_BYTES = 4 * 2**30  # the original release has about 0.2 GiB
MAX_RATIO = 20  # images are compressed already; an archive of nothing but zeros reaches 1000
NUM_QUERIES = 240
NUM_CANDIDATES = 20


def load_release(root: Path, *, seed: int) -> Dataset:
    """Holds out 240 of 6016 pairs as queries, as Rosenfeld et al. and Takmaz et al. did.

    Near-duplicate groups stay whole; they are stored, so that the images are read once only.

    Args:
        root: The folder that holds the two sides, as folders or zip files.
        seed: Draws the held-out pairs and their candidate lists.

    Raises:
        DataError: If anything is missing or contradictory.
    """
    left_files, right_files = (list_images(_side_folder(root, side)) for side in SIDES)
    _require_partners(root, left_files, right_files)
    ids = np.array(sorted(left_files))
    left, right = ([files[name] for name in ids] for files in (left_files, right_files))
    groups = near_duplicate_groups(left, right, strict=False)
    held_out = _choose_queries(groups, seed=seed)
    queries, kept = ids[held_out].tolist(), ids[~held_out].tolist()
    candidates, true_place = _draw_lists(queries, groups[held_out], seed=seed)
    gallery_paths, candidate_index = index_gallery(candidates, right_files)
    return Dataset(
        name="release",
        root=root,
        pairs=pd.DataFrame({"left": kept, "right": kept}, dtype=str),
        left_paths=tuple(left_files[name] for name in kept),
        right_paths=tuple(right_files[name] for name in kept),
        candidates=candidates,
        query_paths=tuple(left_files[name] for name in queries),
        gallery_paths=gallery_paths,
        candidate_index=candidate_index,
        true_place=true_place,
    )


def _require_partners(
    root: Path, left_files: dict[str, Path], right_files: dict[str, Path]
) -> None:
    for side, lonely in zip(
        SIDES, (left_files.keys() - right_files, right_files.keys() - left_files), strict=True
    ):
        if lonely:
            raise DataError(
                f"{root}: {len(lonely)} images of {side} have no partner of the same name, the "
                f"first is {min(lonely)!r}. Equal names make a pair: add or remove the odd ones."
            )
    if len(left_files) < MIN_PAIRS:
        raise DataError(f"{root}: expected at least {MIN_PAIRS} pairs. Received: {len(left_files)}")
    for name in left_files:
        require_id(name, f"{root}, left")


def _choose_queries(groups: np.ndarray, *, seed: int) -> np.ndarray:
    """Marks the pairs that become queries: bool `(num_pairs,)`, whole groups only.

    240 pairs, or 4 % of a smaller release, but enough for lists of 20 where a quarter allows it.
    """
    num_pairs = len(groups)
    least = min(NUM_CANDIDATES, num_pairs // 4)
    wanted = min(NUM_QUERIES, max(round(0.04 * num_pairs), least))
    labels, sizes = np.unique(groups, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    held_out, taken = [], 0
    for label, size in zip(labels[order], sizes[order], strict=True):
        if taken + size <= wanted:
            held_out.append(label)
            taken += size
    return np.isin(groups, held_out)


def _draw_lists(
    queries: list[str], groups: np.ndarray, *, seed: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """The candidate lists of the held-out pairs, and the place of each match."""
    largest = np.unique(groups, return_counts=True)[1].max(initial=0)
    m = min(NUM_CANDIDATES, len(queries) - int(largest) + 1)
    if m < 2:
        raise DataError(
            f"{len(queries)} held-out pairs are too few, or too much alike, for candidate lists."
        )
    one_fold = np.zeros(len(queries), int)
    places, true_place = draw_candidates(one_fold, m=m, seed=seed, groups=groups)
    rows = [
        [query, *(queries[place] for place in row)]
        for query, row in zip(queries, places, strict=True)
    ]
    return pd.DataFrame(rows, columns=candidate_columns(m), dtype=str), true_place


def _side_folder(root: Path, side: str) -> Path:
    folder = root / side
    return folder if folder.is_dir() else _unpack(root / f"{side}.zip")


def _unpack(archive: Path) -> Path:
    """Extracts the images of a zip once, into the cache, and returns their folder.

    The folder is named after the archive's contents, so another archive gets another folder; it
    is written under a temporary name and renamed, so it is there whole or not at all.
    """
    cache = files.cache_dir() / "unpacked"
    try:
        with zipfile.ZipFile(archive) as source:
            for member in source.infolist():
                _refuse_outside(archive, member)
            images = [member for member in source.infolist() if _is_image_member(member)]
            contents = sorted((member.filename, member.CRC) for member in images)
            digest = hashlib.blake2b(repr(contents).encode(), digest_size=8).hexdigest()
            target = cache / f"{archive.stem}-{digest}"
            if not target.is_dir():
                _check_members(archive, images)
                _extract(source, images, target)
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"{archive}: cannot be extracted into {cache} ({error}). Set TLL_CACHE_DIR to a "
            "folder that can be written, or extract both zips to left/ and right/."
        ) from None
    except Exception as error:  # each compression has errors of its own
        raise DataError(f"{archive}: damaged ({error}). Download it again.") from None
    return target


def _extract(source: zipfile.ZipFile, images: list[zipfile.ZipInfo], target: Path) -> None:
    with folders.draft_folder(target) as draft:
        for member in images:
            # The bare name: nothing in the archive decides on a folder.
            path = draft / PurePosixPath(member.filename).name
            with source.open(member) as image, path.open("wb") as copy:
                shutil.copyfileobj(image, copy)
        if not target.is_dir():  # another process may have been quicker
            draft.rename(target)


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
    size, packed = sum(member.file_size for member in images), archive.stat().st_size
    if not images or size > min(MAX_UNZIPPED_BYTES, MAX_RATIO * packed + 2**20):
        raise DataError(
            f"{archive}: {len(images)} images of {size / 2**30:.1f} GiB in {packed / 2**30:.1f} "
            f"GiB; expected at least {MIN_PAIRS} images, at most "
            f"{MAX_UNZIPPED_BYTES / 2**30:.0f} GiB and {MAX_RATIO} times the archive."
        )
    names = Counter(PurePosixPath(member.filename).name for member in images)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise DataError(f"{archive}: {count} members are called {name}; expected each name once.")
