"""Draws a synthetic data set in the course layout: pairs that look alike in one of five ways.

Left pictures are modeled and lit like photographs of clay figures; right pictures are drawn:
flat, inked, in crayon or in pencil. A pair shares one thing only, its *kind* of likeness

    colour       a palette                     a harbor town  / a bird
    shape        a profile                     a vase / a creature
    texture      a pattern                     a fish / a mitten
    pose         the angles of the limbs       a dancer / a gingerbread man
    expression   eyes, brows, mouth, tilt      a person / a cat

while everything else (subject, colors, place, size, backdrop) is drawn for each side alone.
`subjects` builds a picture from `parts`, `rendering` gives it its manner.

How hard it is: top-2 among 20 candidates on 300 of 1200 pairs, the other 900 for fitting, chance
0.10, 95 % intervals about ± 0.05. Colour histogram 0.33, HOG 0.37, frozen MobileNetV2 0.38 (0.40
from `block_13`), a linear map trained on HOG 0.54, on MobileNetV2's `block_13` 0.76.
"""

from __future__ import annotations

import json
import os
import shutil
import string
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from tll_utils import files
from tll_utils import progress as progress_bars
from tll_utils.data import folders
from tll_utils.data.sample.rendering import photograph, sketch
from tll_utils.data.sample.subjects import SCENES, draw_palettes
from tll_utils.errors import DataError

KINDS = ("colour", "shape", "texture", "pose", "expression")
NUM_CANDIDATES = 20
MARKER = "sample.json"

_VERSION = 2  # goes into the marker: the same seed means the same bytes only within a version


def draw(
    directory: str | os.PathLike[str],
    *,
    num_pairs: int = 200,
    num_queries: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Draws a sample data set in the course layout into `directory`.

    Writes `train.csv`, `test_candidates.csv`, `test_truth.csv`, `sample.json` and 200 × 245
    JPEGs in `train|test/left|right/`. The same arguments give the same bytes. The set is
    drawn beside its place and renamed into it, so it is there whole or not at all.

    Args:
        directory: A new or empty folder, or an older sample data set, which is replaced.
        num_pairs: Training pairs, at least 2.
        num_queries: Test queries, at least 2. Each gets `min(20, num_queries)` candidates.
        seed: Non-negative int.
        progress: Show a bar. Defaults to `True`.

    Returns:
        The path of the data set.

    Raises:
        DataError: If a count or the seed is too small, or `directory` holds anything but a sample
            data set.
    """
    for name, value, least in (
        ("num_pairs", num_pairs, 2),
        ("num_queries", num_queries, 2),
        ("seed", seed, 0),
    ):
        if value < least:
            raise DataError(f"{name} must be at least {least}. Received: {name}={value}")
    directory = Path(directory)
    _refuse_foreign(directory)
    was_there = directory.exists()

    # The order of what is drawn from `rng` decides on the bytes.
    rng = np.random.default_rng(seed)
    left, right = np.split(_draw_ids(2 * (num_pairs + num_queries), rng), 2)
    left = np.concatenate([np.sort(left[:num_pairs]), np.sort(left[num_pairs:])])
    pair_kinds = np.concatenate([_spread_kinds(num_pairs, rng), _spread_kinds(num_queries, rng)])
    candidates = _draw_candidates(left[num_pairs:], right[num_pairs:], rng)
    pairs = pd.DataFrame({"left": left, "right": right})
    marker = {
        "version": _VERSION,
        "seed": seed,
        "num_pairs": num_pairs,
        "num_queries": num_queries,
        "kinds": dict(zip(left.tolist(), pair_kinds.tolist(), strict=True)),
    }
    with folders.draft_folder(directory) as draft:
        for split, rows in (("train", pairs[:num_pairs]), ("test", pairs[num_pairs:])):
            _write_pictures(draft / split, rows, pair_kinds, seed=seed, progress=progress)
        pairs[:num_pairs].to_csv(draft / "train.csv", index=False)
        pairs[num_pairs:].to_csv(draft / "test_truth.csv", index=False)
        candidates.to_csv(draft / "test_candidates.csv", index=False)
        (draft / MARKER).write_text(json.dumps(marker, indent=1) + "\n")
        # Another process may have drawn the same set meanwhile: leave it to its readers.
        if was_there or _read_marker(directory) != marker:
            _move_into_place(draft, directory)
    return directory


def ensure(
    directory: str | os.PathLike[str], *, num_pairs: int = 200, num_queries: int = 100
) -> Path:
    """Returns `directory`, drawing a sample data set into it unless it holds one already."""
    if _read_marker(Path(directory)).get("version") == _VERSION:
        return Path(directory)
    return draw(directory, num_pairs=num_pairs, num_queries=num_queries)


def kinds(directory: str | os.PathLike[str]) -> dict[str, str]:
    """The kind of likeness of every pair and query of a sample data set, by left id.

    Raises:
        DataError: If the data set does not say.
    """
    marker = _read_marker(Path(directory))
    if not isinstance(marker.get("kinds"), dict):
        raise DataError(
            f"{Path(directory) / MARKER}: expected the kind of each pair. Draw the sample anew: "
            f"tll sample {directory}"
        )
    return {str(left): str(kind) for left, kind in marker["kinds"].items()}


def draw_pair(kind: str, *, seed: int | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Draws one pair of the given kind.

    Args:
        kind: One of `KINDS`.
        seed: As of `np.random.default_rng`.

    Returns:
        Left and right picture, each uint8 RGB of shape (245, 200, 3).
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}. Received: kind={kind!r}")
    rng = np.random.default_rng(seed)
    palettes = draw_palettes(kind, rng)
    left, right = SCENES[kind](palettes, rng)
    return photograph(left, palettes[0], rng), sketch(right, palettes[1], rng, kind=kind)


def _write_pictures(
    folder: Path, pairs: pd.DataFrame, pair_kinds: np.ndarray, *, seed: int, progress: bool
) -> None:
    """Draws pairs into `left/` and `right/`; the index of a pair is its place in `pair_kinds`."""
    for side in pairs.columns:
        (folder / side).mkdir(parents=True)

    def write_pair(index: int) -> None:
        pictures = draw_pair(pair_kinds[index], seed=(seed, index))
        for side, picture in zip(pairs.columns, pictures, strict=True):
            path = folder / side / f"{pairs.at[index, side]}.jpg"
            path.write_bytes(_encode(picture))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        drawn = pool.map(write_pair, pairs.index)
        for _ in progress_bars.bar(drawn, total=len(pairs), desc="draw", shown=progress):
            pass


def _draw_ids(count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` distinct ids of three letters, or of as many more as it takes."""
    length = 3
    while 26**length < 2 * count:
        length += 1
    numbers = rng.choice(26**length, size=count, replace=False)
    letters = np.array(list(string.ascii_lowercase))
    digits = numbers[:, None] // 26 ** np.arange(length)[::-1] % 26
    return np.array(["".join(row) for row in letters[digits]], dtype=object)


def _spread_kinds(count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` kinds, as equally many of each as can be, in random order."""
    return rng.permutation(np.resize(np.array(KINDS, dtype=object), count))


def _draw_candidates(left: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """`test_candidates.csv`: each true match among random other test rights, in random order.

    Not by `splits.draw_candidates`: its lists would be others, and the bytes are promised.
    """
    size = min(NUM_CANDIDATES, len(left))
    rows = []
    for query in range(len(left)):
        others = rng.permutation(np.delete(np.arange(len(left)), query))[: size - 1]
        rows.append([left[query], *right[rng.permutation([query, *others])]])
    return pd.DataFrame(rows, columns=["left", *(f"c{place}" for place in range(size))])


def _encode(picture: np.ndarray) -> bytes:
    done, jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert done
    return jpeg.tobytes()


def _read_marker(directory: Path) -> dict[str, Any]:
    """What stands in `sample.json`; nothing if it is missing or damaged."""
    try:
        marker = files.read_json(directory / MARKER)
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def _refuse_foreign(directory: Path) -> None:
    """Raises DataError unless `directory` is free, empty, or a sample data set alone."""
    if not directory.exists():
        return
    ours = {"train", "test", "train.csv", "test_truth.csv", "test_candidates.csv", MARKER}
    found = {path.name for path in directory.iterdir()} if directory.is_dir() else {"a file"}
    marker = _read_marker(directory)
    if found and not (found <= ours and "kinds" in marker):
        foreign = sorted(found - ours) or sorted(found)
        raise DataError(
            f"{directory} is not a sample data set (it holds {', '.join(foreign[:3])}); "
            "it was left as it is. Name a new or empty folder."
        )


def _move_into_place(draft: Path, directory: Path) -> None:
    """Renames `draft` to `directory`, replacing an empty folder or an older sample set."""
    try:
        os.replace(draft, directory)  # works on a free name and on an empty folder
        return
    except OSError:
        _refuse_foreign(directory)
    old = files.draft_path(directory.with_name(f"{directory.name}.old"))
    try:
        os.replace(directory, old)
        os.replace(draft, directory)
    finally:
        shutil.rmtree(old, ignore_errors=True)
