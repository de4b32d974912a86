"""Folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from tll_utils import files


@contextlib.contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """Gives a new folder beside `target` to fill and to rename; removed if it was not renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    files.sweep(target.parent)
    draft = files.draft_path(target)
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
