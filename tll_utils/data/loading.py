"""Finds a data set on this machine and reads it, in whichever layout it has."""

from __future__ import annotations

from pathlib import Path

from tll_utils.data.course import load_course
from tll_utils.data.dataset import EXPECTED, Dataset
from tll_utils.data.release import load_release
from tll_utils.data.sample import MARKER
from tll_utils.errors import DataError

SEARCH_DIRS = (
    Path("/kaggle/input"),
    Path("/content/drive/MyDrive"),  # Colab, once the drive is mounted
    Path(__file__).resolve().parents[2] / "data",
)


def find(data_dir: Path | str | None = None) -> Path:
    """Returns the folder that holds the data set.

    Args:
        data_dir: The data set, or a folder around it; `None` takes the first that Kaggle's
            input folder, a mounted Google Drive or the project's `data/` hold.

    Raises:
        DataError: If there is no data set, or several. Drawn samples count where there is nothing
            else.
    """
    if data_dir is None:
        for place in SEARCH_DIRS:
            if found := _data_sets(place):
                return found[0] if _is_sample(found[0]) else _only(found, place)
        looked = " or ".join(str(place) for place in SEARCH_DIRS)
        raise DataError(f"No data set in {looked}. Set TLL_DATA_DIR to its folder. {EXPECTED}")
    if not Path(data_dir).is_dir():
        raise DataError(f"{data_dir}: no such folder. Name that of the data set.")
    found = _data_sets(Path(data_dir))
    if not found:
        raise DataError(f"{data_dir}: no data set in this folder. {EXPECTED}")
    return _only(found, Path(data_dir))


def load(data_dir: Path | str, *, seed: int = 0) -> Dataset:
    """Reads a data set and validates everything but the pixels.

    Args:
        data_dir: A folder that `find` accepts.
        seed: Draws the held-out queries of the original release; the course edition has its own.

    Raises:
        DataError: If anything is missing, malformed or contradictory.
    """
    root = find(data_dir)
    return load_course(root) if _layout(root) == "course" else load_release(root, seed=seed)


def _data_sets(place: Path) -> list[Path]:
    """Returns `place` if it is a data set, else those in it, else those one level deeper.

    Kaggle mounts `/kaggle/input/<name>` or `/kaggle/input/competitions/<name>`. Drawn samples are
    returned if there are no others.
    """
    if _layout(place):
        return [place]
    samples: list[Path] = []
    for pattern in ("*", "*/*"):
        inside = [f for f in place.glob(pattern) if not f.name.startswith(".")]  # no drafts
        # In a sample lie train and test, which look like releases.
        found = sorted(f for f in inside if f.parent not in samples and _layout(f))
        if real := [folder for folder in found if not _is_sample(folder)]:
            return real
        samples += found
    return samples


def _is_sample(folder: Path) -> bool:
    return (folder / MARKER).is_file()


def _only(found: list[Path], place: Path) -> Path:
    if len(found) > 1:
        names = ", ".join(str(folder.relative_to(place)) for folder in found)
        raise DataError(
            f"{place}: {len(found)} data sets in this folder: {names}. Name the one to use, with "
            "--data or TLL_DATA_DIR."
        )
    return found[0]


def _layout(folder: Path) -> str | None:
    def holds(*names: str) -> bool:
        return any((folder / name).exists() for name in names)

    if holds("train.csv", "test_candidates.csv", "train/left", "test/left"):
        return "course"
    if holds("left", "left.zip") and holds("right", "right.zip"):
        return "release"
    return None
