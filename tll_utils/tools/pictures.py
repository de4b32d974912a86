"""The image files of some folders."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tll_utils.errors import TllError

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")


def list_pictures(places: Iterable[str | os.PathLike[str]]) -> tuple[tuple[str, ...], list[str]]:
    """The folders among some places, each ending in a separator, and all image files.

    Raises:
        TllError: If a place does not exist.
    """
    folders: list[str] = []
    found: dict[str, None] = {}
    for place in places:
        name = os.path.abspath(place)
        if os.path.isdir(name):
            folders.append(os.path.join(name, ""))
            for folder, inner, names in os.walk(name):
                inner[:] = sorted(one for one in inner if not one.startswith("."))
                chosen = (n for n in sorted(names) if n.lower().endswith(SUFFIXES))
                found |= {os.path.join(folder, n): None for n in chosen if not n.startswith(".")}
        elif os.path.isfile(name):
            found[name] = None
        else:
            raise TllError(f"{place}: no such file or folder.")
    return tuple(folders), list(found)
