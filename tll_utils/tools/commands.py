"""The commands of this folder, for `__main__`; each loads what it needs when it is called."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tll_utils import files
from tll_utils.errors import TllError
from tll_utils.settings import Settings, project_dir

if TYPE_CHECKING:
    from tll_utils import data


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the parsers of all commands."""
    _add_index_and_search(commands)

    report = commands.add_parser("report", help="write OUT/report.html, to open in a browser")
    report.set_defaults(command=_report)
    play = commands.add_parser("play", help="you against the machine, in the browser")
    play.set_defaults(command=_play)
    for parser in (report, play):
        parser.add_argument("out", type=Path, nargs="?", help="results (TLL_OUT_DIR)")
        parser.add_argument("--data", type=Path, metavar="DIR", help="data set (TLL_DATA_DIR)")

    pairs = commands.add_parser("pairs", help="make a data set: people choose what looks alike")
    pairs.set_defaults(command=_pairs)
    pairs.add_argument("dir", type=Path, help="a folder of pictures")
    pairs.add_argument(
        "--out", type=Path, metavar="DIR", default=Path("our_pairs"),
        help="the data set to make; default: our_pairs",
    )  # fmt: skip
    for parser in (play, pairs):
        parser.add_argument("--no-browser", action="store_true", help="only print the address")

    export = commands.add_parser("export", help="write a model as ONNX or LiteRT")
    export.set_defaults(command=_export)
    export.add_argument("model", help=".keras file, or a backbone")
    export.add_argument("--to", choices=("onnx", "litert"), default="onnx", help="default: onnx")
    export.add_argument(
        "--out", type=Path, metavar="FILE", help="default: MODEL.onnx or MODEL.tflite, here"
    )
    export.add_argument(
        "--data", type=Path, metavar="DIR", help="data set to compare both on (TLL_DATA_DIR)"
    )


def _add_index_and_search(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    index = commands.add_parser("index", help="take folders of pictures into an index")
    index.set_defaults(command=_index)
    index.add_argument("dir", type=Path, nargs="+", help="folders, and single pictures")
    index.add_argument(
        "--model", metavar="FILE|NAME",
        help=".keras file, or a backbone; default: best_per_query, else a small frozen network",
    )  # fmt: skip
    index.add_argument("--fresh", action="store_true", help="embed all pictures again")

    search = commands.add_parser("search", help="find look-alikes: IMAGE, or A + B - C")
    search.set_defaults(command=_search)
    search.add_argument("image", nargs="+", help="a picture, or several with + or - between them")
    search.add_argument(
        "--top", type=at_least(1), default=20, metavar="N", help="how many to show; default: 20"
    )
    search.add_argument(
        "--not", dest="without", action="append", default=[], metavar="DIR",
        help="leave out a folder, or a picture; may be given several times",
    )  # fmt: skip
    search.add_argument("--html", action="store_true", help="write a page, too")
    for parser in (index, search):
        parser.add_argument(
            "--index", type=Path, metavar="FILE", default=files.cache_dir() / "look_alikes.index",
            help="where the index is kept; default: look_alikes.index in the user's cache folder",
        )  # fmt: skip


def at_least(least: int) -> Callable[[str], int]:
    """Makes the type of an option that takes a whole number."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of at least {least}, received {text}"
            )
        return int(text)

    return read


def _index(options: argparse.Namespace) -> int:
    from tll_utils.tools.embedder import Embedder
    from tll_utils.tools.index import Index
    from tll_utils.tools.pictures import list_pictures

    path = options.index
    embedder = Embedder(options.model) if options.model else None
    if options.fresh or not path.is_file():
        # What can be refused is refused before an index is lost, or one is made of a wrong name.
        list_pictures(options.dir)
        files.require_writable(path.parent)
        embedder = embedder or Embedder.best(Settings.from_environment().out_dir)
        embedder.load()
        path.unlink(missing_ok=True)
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
    index = Index.load(options.index)
    names = [name for _, name in terms]
    vectors = [sign * index.vector_of(name) for sign, name in terms]
    joined = np.sum(vectors, axis=0)
    query = joined / max(np.linalg.norm(joined), 1e-12) if names[1:] else names[0]
    matches = index.search(query, top=options.top, without=[*options.without, *names])
    for place in options.without:
        if not os.path.exists(place):
            print(f"--not {place}: no such file or folder.", file=sys.stderr)
    if not matches:
        raise TllError(
            "Nothing found: the index holds no pictures but those left out. Add some: tll index DIR"
        )
    for match in matches:
        print(f"{match.similarity:.3f}  {match.path}")
    sheet.write_grid(Path("look_alikes.jpg"), matches)
    if options.html:
        page = Path("look_alikes.html")
        sheet.write_page(page, " ".join(options.image), matches, queries=names)
    written = "look_alikes.jpg, look_alikes.html" if options.html else "look_alikes.jpg"
    print(f"\nTo look at: {written}", file=sys.stderr)
    return 0


def _run_of(options: argparse.Namespace) -> tuple[Path, data.Dataset]:
    """The output folder and the data set of a run."""
    from tll_utils import data
    from tll_utils.tools import report

    settings = Settings.from_environment()
    out_dir = options.out or settings.out_dir
    folder = options.data or settings.data_dir
    if folder is None and report.latest(out_dir)["data"] == "sample":
        folder = project_dir() / "data" / "sample"  # where `quick` drew it
    return out_dir, data.load(data.find(folder))


def _report(options: argparse.Namespace) -> int:
    from tll_utils.tools import report

    print(report.write(*_run_of(options)))
    return 0


def _play(options: argparse.Namespace) -> int:
    from tll_utils.tools import play

    play.serve(*_run_of(options)).run(browser=not options.no_browser)
    return 0


def _pairs(options: argparse.Namespace) -> int:
    from tll_utils.tools import pairs

    pairs.serve(options.dir, options.out.absolute()).run(browser=not options.no_browser)
    return 0


def _export(options: argparse.Namespace) -> int:
    from tll_utils import data
    from tll_utils.tools import export
    from tll_utils.tools.embedder import Embedder

    embedder = Embedder(options.model)
    target = options.out or Path(f"{Path(options.model).stem}{export.SUFFIXES[options.to]}")
    export.export(embedder, target, options.to)
    print(target)
    dataset = data.load(data.find(options.data or Settings.from_environment().data_dir))
    print(export.compared(embedder, target, dataset))
    return 0


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
