"""Fetches the original release from where its makers keep it, for who has a network."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

from tll_utils import files, progress
from tll_utils.errors import DataError

PAGE = "https://sites.google.com/view/totally-looks-like-dataset"
_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
ADDRESSES = {
    "left.zip": _DRIVE + "1jvkbTr_giSP3Ru8OwGNCg6B4PvVbcO34",
    "right.zip": _DRIVE + "1EzBZUb_mh_Dp_FKD0P4XiYYSd0QBH5zW",
}
SUMS = "SHA256SUMS"  # as `sha256sum --check` reads it
_CHUNK_BYTES = 2**20
_SECONDS = 60


def get_release(directory: str | os.PathLike[str]) -> list[Path]:
    """Downloads the original release: one zip of 6016 images per side.

    A download that was stopped goes on where it was. Each archive is read through once, against the
    check sum that it holds for every image. Its SHA-256 is then kept in `SHA256SUMS`: an archive
    that is there and fits is not fetched again.

    Args:
        directory: Where the archives go; `load` reads that folder as it is.

    Returns:
        Paths of the archives.

    Raises:
        DataError: If an archive cannot be had, is damaged, or differs from its noted SHA-256.
    """
    directory = Path(directory)
    files.require_writable(directory)
    sums = _read_sums(directory / SUMS)
    for name, address in ADDRESSES.items():
        path = directory / name
        if not path.is_file():
            part = directory / f"{name}.part"
            _fetch(address, part)
            _check_archive(part, address)
            part.replace(path)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if sums.setdefault(name, found) != found:
            raise DataError(
                f"{path}: SHA-256 is {found}, but {directory / SUMS} says {sums[name]}. Remove "
                f"{name} to fetch it again."
            )
        text = "".join(f"{value}  {name}\n" for name, value in sorted(sums.items()))
        files.write_text(directory / SUMS, text)
    return [directory / name for name in ADDRESSES]


def _fetch(address: str, part: Path) -> None:
    """Appends to `part` what is still missing of it."""
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            start = start if answer.status == 206 else 0  # else the server sends all of it
            rest = int(answer.headers.get("Content-Length") or 0)
            with (
                part.open("ab" if start else "wb") as file,
                progress.bar(total=start + rest, initial=start, unit="B", unit_scale=True) as bar,
            ):
                bar.set_description(part.stem)
                while chunk := answer.read(_CHUNK_BYTES):
                    bar.update(file.write(chunk))
        if rest and part.stat().st_size < start + rest:
            raise http.client.IncompleteRead(b"", start + rest - part.stat().st_size)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is missing
            raise _unreachable(address, part, error) from error
    except (
        http.client.HTTPException,
        urllib.error.URLError,
        TimeoutError,
        ConnectionError,
    ) as error:
        raise _unreachable(address, part, error) from error


def _unreachable(address: str, part: Path, error: Exception) -> DataError:
    return DataError(
        f"{part.stem}: {address} did not send it ({error}). The same command goes on where "
        f"this one stopped. Or download it in a browser from {PAGE} and put it into {part.parent}"
    )


def _check_archive(part: Path, address: str) -> None:
    try:
        with zipfile.ZipFile(part) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        damaged = str(error)
    if damaged:
        part.unlink()  # else the next call would go on behind what is wrong
        raise DataError(
            f"{part.stem}: what {address} sent is no sound zip file ({damaged}); it was removed. "
            f"Try again, or download it in a browser from {PAGE}"
        )


def _read_sums(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    parts = [line.split(maxsplit=1) for line in lines if line.strip()]
    if any(len(part) != 2 or len(part[0]) != 64 for part in parts):
        raise DataError(f"{path}: expected a SHA-256 and a file name per line. Remove the file.")
    return {name.lstrip("*"): value.lower() for value, name in parts}
