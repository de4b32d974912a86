"""Folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """Gives a new folder beside `target` to fill and to rename; removed if it was not renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    draft.chmod(0o755)  # mkdtemp makes it private
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
