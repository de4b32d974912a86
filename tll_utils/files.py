"""Files that are there whole or not at all: write beside, then rename. And where caches are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tll_utils.errors import TllError

_DRAFT_SECONDS = 3600  # a draft that has not grown for so long was left by a killed process


def cache_dir() -> Path:
    """`TLL_CACHE_DIR`, else `tll_utils` in the user's cache folder. It need not exist."""
    if chosen := os.environ.get("TLL_CACHE_DIR", "").strip():
        return Path(chosen).expanduser().absolute()
    caches = os.environ.get("XDG_CACHE_HOME", "").strip() or "~/.cache"
    return Path(caches).expanduser() / "tll_utils"


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a draft to write to, which takes the place of `path` once the block has ended.

    Readers see the old file or the new one, never half of one. Processes and threads that write
    the same path have drafts of their own; the last to end wins. After an error the draft is
    removed and the old file is still there.

    Raises:
        TllError: If the folder cannot be written.
    """
    path = Path(path)
    # The suffix stays last: libraries look at it to choose a format.
    name = f".{path.stem}.{os.getpid()}-{threading.get_ident()}.draft{path.suffix}"
    draft = path.with_name(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        os.replace(draft, path)
    except OSError as error:
        if error.filename not in (str(draft), str(path), str(path.parent), None):
            raise  # somebody else's file
        raise TllError(
            f"{path}: cannot be written ({error.strerror}). Free some space, or choose another "
            "folder with --out or TLL_OUT_DIR."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], *, wait: bool = True) -> Iterator[None]:
    """Lets one process at a time into the block. Who dies in it lets go of the lock.

    Args:
        path: What is locked; the lock itself is a hidden file beside it.
        wait: Whether to wait for the other process, or to be refused.

    Raises:
        TllError: If another process holds the lock and `wait` is false; names it. If the folder
            cannot be written.
    """
    import filelock

    path = Path(path)
    require_writable(path.parent)
    owner = path.with_name(f".{path.name}.owner")
    try:
        lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
        with lock.acquire(timeout=-1 if wait else 0):
            owner.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
            yield
    except filelock.Timeout as error:
        who = owner.read_text(encoding="utf-8") if owner.is_file() else "another process"
        raise TllError(
            f"{path}: {who} is at work here. Wait until it has ended, or choose another folder."
        ) from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all; see `replacing`."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a JSON file, whole or not at all; see `replacing`."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def sweep(folder: str | os.PathLike[str]) -> None:
    """Removes the drafts that killed processes left in a folder an hour ago or earlier."""
    for draft in Path(folder).glob(".*.draft*"):
        with contextlib.suppress(OSError):
            if time.time() - draft.stat().st_mtime > _DRAFT_SECONDS:
                draft.unlink()


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Makes a folder and tries to write there, before long work starts.

    Raises:
        TllError: If it cannot be written.
    """
    probe = Path(folder) / f".writable-{os.getpid()}"
    write_text(probe, "")
    probe.unlink(missing_ok=True)


def content_hash(path: str | os.PathLike[str]) -> str:
    """Names a file by its bytes: equal files, equal 32 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
