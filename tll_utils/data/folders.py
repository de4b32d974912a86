"""Folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from tll_utils import files


@contextlib.contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """Gives a new folder beside `target` to fill and to rename; removed if it was not renamed.

    Raises:
        OSError: If it cannot be written; names a file, which that of a full disk does not.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    files.sweep(target.parent)
    draft = files.draft_path(target)
    draft.mkdir()
    try:
        yield draft
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or str(target)) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
