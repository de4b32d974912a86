"""Where results of long work are kept, and folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def cache_dir() -> Path:
    """`TLL_CACHE_DIR`, else `tll_utils` in the user's cache folder. It need not exist."""
    if chosen := os.environ.get("TLL_CACHE_DIR", "").strip():
        return Path(chosen).expanduser().absolute()
    caches = os.environ.get("XDG_CACHE_HOME", "").strip() or "~/.cache"
    return Path(caches).expanduser() / "tll_utils"


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
