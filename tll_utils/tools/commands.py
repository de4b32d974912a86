"""The commands of this folder, for `__main__`; each loads what it needs when it is called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tll_utils.errors import TllError
from tll_utils.settings import Settings


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the parsers of all commands."""
    index = commands.add_parser("index", help="take folders of pictures into an index")
    index.set_defaults(command=_index)
    index.add_argument("dir", type=Path, nargs="+")
    index.add_argument("--model", metavar="FILE|NAME", help=".keras file, or a backbone")
    index.add_argument("--fresh", action="store_true", help="embed all pictures again")

    search = commands.add_parser("search", help="find look-alikes: IMAGE, or A + B - C")
    search.set_defaults(command=_search)
    search.add_argument("image", nargs="+")
    search.add_argument("--top", type=int, default=20, metavar="20")
    search.add_argument("--not", dest="without", action="append", default=[], metavar="DIR")
    search.add_argument("--html", action="store_true", help="write a page, too")
    for parser in (index, search):
        parser.add_argument("--index", type=Path, metavar="FILE", help="where the index is kept")


def _index(options: argparse.Namespace) -> int:
    from tll_utils.tools.embedder import Embedder
    from tll_utils.tools.index import Index

    path = _index_path(options)
    if options.fresh:
        path.unlink(missing_ok=True)
    embedder = Embedder(options.model) if options.model else None
    if embedder is None and not path.is_file():
        embedder = Embedder.best(Settings.from_environment().out_dir)
    found = Index(embedder, path)
    changes = found.add(options.dir, show_progress=True)
    for name, reason in changes.skipped.items():
        print(f"skipped {name}: {reason.removeprefix(f'{name}: ')}", file=sys.stderr)
    print(f"{path}: {changes}; {len(found)} different images")
    return 0


def _search(options: argparse.Namespace) -> int:
    import numpy as np

    from tll_utils.tools import sheet
    from tll_utils.tools.index import Index

    terms = read_terms(options.image)
    index = Index.load(_index_path(options))
    names = [name for _, name in terms]
    vectors = [sign * index.vector_of(name) for sign, name in terms]
    query = np.sum(vectors, axis=0) if names[1:] else names[0]
    matches = index.search(query, top=options.top, without=[*options.without, *names])
    if not matches:
        raise TllError("Nothing found: the index holds no other pictures. Add some: tll index DIR")
    for match in matches:
        print(f"{match.similarity:.3f}  {match.path}")
    sheet.write_grid(Path("look_alikes.jpg"), matches)
    if options.html:
        sheet.write_page(Path("look_alikes.html"), " ".join(options.image), matches)
    written = "look_alikes.jpg, look_alikes.html" if options.html else "look_alikes.jpg"
    print(f"\nTo look at: {written}", file=sys.stderr)
    return 0


def _index_path(options: argparse.Namespace) -> Path:
    from tll_utils import data

    return options.index or data.cache_dir() / "look_alikes.index"


def read_terms(words: Sequence[str]) -> list[tuple[int, str]]:
    """`["a.jpg", "+", "b.jpg", "-", "c.jpg"]` → `[(1, "a.jpg"), (1, "b.jpg"), (-1, "c.jpg")]`.

    Raises:
        TllError: If images and signs do not take turns.
    """
    signs = {"+": 1, "-": -1}
    takes_turns = all((word in signs) == bool(place % 2) for place, word in enumerate(words))
    if not takes_turns or len(words) % 2 == 0:
        raise TllError(
            "Expected one image, or images with + or - between them and spaces around these: "
            f"tll search a.jpg + b.jpg - c.jpg. Received: {' '.join(words)}"
        )
    return [(signs[sign], name) for sign, name in zip(["+", *words[1::2]], words[::2], strict=True)]
