"""Files that are there whole or not at all: write beside, then rename. Reading is data alone."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import threading
import time
import zipfile
import zlib
from collections.abc import Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tll_utils.errors import TllError

if TYPE_CHECKING:
    import numpy as np

MAX_ARRAY_BYTES = 2**33  # what one file of stored arrays may unpack to
SETTLED_SECONDS = 2.0  # a younger file may change again before the clock of its disk moves on
_AT_ONCE = 2**24  # bytes of a file that are read in one piece

_NOT_ALLOWED = "Choose a folder that you may write to."
_IN_THE_WAY = "A file stands where a folder has to be: move it away, or choose another folder."
_FULL = "Free some space, or choose another folder."
_ADVICE = {
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EROFS: _NOT_ALLOWED,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
}

_DRAFT = re.compile(r"\..*\.([0-9a-f]{8})-(\d{1,9})-\d+\.draft(\..*)?", re.DOTALL)
_DRAFT_SECONDS = 24 * 3600  # after so long, another machine's draft was left by a killed process
_HASH = re.compile("[0-9a-f]{32}")
_swept: set[Path] = set()
_hashes: dict[str, str] = {}  # what the disk said of a file → its hash


def cache_dir() -> Path:
    """`TLL_CACHE_DIR`, else `tll_utils` in the user's cache folder. It need not exist."""
    # Not Path.expanduser: it fails for users without a home.
    if chosen := os.environ.get("TLL_CACHE_DIR", "").strip():
        return Path(os.path.expanduser(chosen)).absolute()
    caches = os.environ.get("XDG_CACHE_HOME", "").strip() or "~/.cache"
    return Path(os.path.expanduser(caches)).absolute() / "tll_utils"


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
    draft = draft_path(path)
    with explained(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            sweep(path.parent)
            yield draft
            os.replace(draft, path)
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)


@contextlib.contextmanager
def explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Says why a file or folder cannot be written, draft and all, and what would help.

    Raises:
        TllError: If the block fails to write it. Errors about other files stay as they are.
    """
    path = Path(path)
    try:
        yield
    except OSError as error:
        if error.filename is not None:  # as that of a full disk is not
            named = Path(str(error.filename))
            within = {path, draft_path(path)} & {named, *named.parents}
            if not within and named not in path.parents:
                raise
        advice = _ADVICE.get(error.errno or 0, "Choose another name or folder.")
        raise TllError(f"{path}: cannot be written ({error.strerror}). {advice}") from error


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


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads a JSON file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no JSON in UTF-8, or nested without end.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_arrays(
    path: str | os.PathLike[str], *, only: Container[str] | None = None
) -> dict[str, np.ndarray]:
    """Reads an `.npz` file: numbers and strings, nothing that is unpickled.

    Args:
        path: The file.
        only: Names of the arrays to read. The others are there, but have no rows, so that what
            nobody asked for costs no time. Defaults to all.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged, holds Python objects, or unpacks to more than
            `MAX_ARRAY_BYTES`.
    """
    import numpy as np

    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > MAX_ARRAY_BYTES:
                raise ValueError(f"unpacks to {size} bytes")
            file.seek(0)
            stored = np.load(file, allow_pickle=False)
            names = stored.files
            arrays = {
                name: stored[name] if only is None or name in only else np.empty(0)
                for name in names
            }
        if any(not isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("a member is no array")
        return arrays
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy's header each fail in many ways
        raise ValueError(f"no whole file of arrays: {error!r}") from error


def draft_path(path: str | os.PathLike[str]) -> Path:
    """Where to write what will become `path`: beside it, and known for this process's own."""
    path = Path(path)
    machine = f"{zlib.crc32(platform.node().encode()):08x}"
    owner = f"{machine}-{os.getpid()}-{threading.get_ident()}"
    # The suffix stays last: libraries look at it to choose a format.
    return path.with_name(f".{path.stem}.{owner}.draft{path.suffix}")


def sweep(folder: str | os.PathLike[str]) -> None:
    """Removes the drafts that dead processes left in a folder, at its first use by a process."""
    folder = Path(folder).absolute()
    if folder in _swept:
        return
    _swept.add(folder)
    for draft in folder.glob(".*.draft*"):
        if _is_abandoned(draft):
            with contextlib.suppress(OSError):
                draft.unlink() if not draft.is_dir() else shutil.rmtree(draft)


def _is_abandoned(draft: Path) -> bool:
    import psutil  # not above: few folders hold a draft

    found = _DRAFT.fullmatch(draft.name)
    if not found:
        return False
    if draft_path("x").name.startswith(f".x.{found[1]}-"):
        return not psutil.pid_exists(int(found[2]))
    with contextlib.suppress(OSError):  # another machine's: only time can tell
        return time.time() - draft.stat().st_mtime > _DRAFT_SECONDS
    return False


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Makes a folder and tries to write there, before long work starts.

    Raises:
        TllError: If it cannot be written.
    """
    folder = Path(folder)
    probe = draft_path(folder / "probe")  # after a kill, it is swept as one
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        probe.write_text("")
        probe.unlink()


@contextlib.contextmanager
def hashes_kept(path: str | os.PathLike[str]) -> Iterator[None]:
    """Lets processes know of each other what `content_hash` has read, by a JSON file.

    What the file says counts within the block and after it; what this process knows besides is
    added at its end. One that is damaged or cannot be written costs time only.
    """
    known = _read_hashes(path)
    _hashes.update(known)
    yield
    if not _hashes.keys() <= known.keys():
        with contextlib.suppress(TllError):
            write_json(path, _read_hashes(path) | _hashes)


def _read_hashes(path: str | os.PathLike[str]) -> dict[str, str]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    items = found.items() if isinstance(found, dict) else ()
    return {state: digest for state, digest in items if _HASH.fullmatch(str(digest))}


def content_hash(path: str | os.PathLike[str]) -> str:
    """Names a file by its bytes: equal files, equal 32 hex digits.

    A file that was read before, by this process or as `hashes_kept` knows, is not read again while
    the disk says that it is the same, by inode, size and times.

    Raises:
        OSError: If it cannot be read; a pipe or a device, whose end may never come, is not.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "no file", str(path))
    state = f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
    if state not in _hashes:
        with open(path, "rb", buffering=0) as file:
            if found.st_size <= _AT_ONCE:  # an image; a third faster than piece by piece
                digest = hashlib.blake2b(file.read(), digest_size=16).hexdigest()
            else:
                empty = functools.partial(hashlib.blake2b, digest_size=16)
                digest = hashlib.file_digest(file, empty).hexdigest()
        if time.time() - max(found.st_mtime, found.st_ctime) < SETTLED_SECONDS:
            return digest
        _hashes[state] = digest
    return _hashes[state]
