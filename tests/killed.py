"""Work that `tests/fuzz/test_kill.py` kills: python killed.py WORK FOLDER, says "start" first."""

import sys
from pathlib import Path

import numpy as np


def csv(folder):
    """The same submission again and again."""
    import pandas as pd

    from tll_utils.data.tables import candidate_columns
    from tll_utils.scoring import submission

    m, queries = 20, 400
    lists = [[f"q{row}", *(f"r{row + place}" for place in range(m))] for row in range(queries)]
    candidates = pd.DataFrame(lists, columns=candidate_columns(m))
    scores = np.random.default_rng(0).normal(size=(queries, m))
    start()
    for _ in range(30):
        submission.write(folder / "system.csv", candidates, scores)


def sample(folder):
    from tll_utils.data import sample

    start()
    sample.draw(folder / "sample", num_pairs=6, num_queries=4, progress=False)


class Brightness:
    """Stands in for a model: an image is its mean R, G and B."""

    source, weights, fingerprint = "brightness", "", "1"

    def load(self):
        pass

    def embed_what_can_be(self, pictures):
        from tll_utils import images

        vectors = np.array([images.decode(path).mean(axis=(0, 1)) for path in pictures])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), {}


def index(folder):
    """Pictures that are drawn first, taken in four at a time."""
    import cv2

    from tll_utils.tools import index

    draw, pictures = np.random.default_rng(0), folder / "pictures"
    pictures.mkdir(exist_ok=True)
    for place in range(120):
        picture = draw.integers(0, 256, (60, 60, 3), dtype=np.uint8)
        if not (pictures / f"{place}.png").is_file():
            cv2.imwrite(str(pictures / f"{place}.png"), picture)
    start()
    index.AT_ONCE = 4
    made = index.Index(Brightness(), folder / "pictures.index")
    made.add([pictures])
    rows = sorted(map(repr, made._sql.execute("SELECT * FROM vectors")))
    (folder / "found.txt").write_text("\n".join(rows))


def features(folder):
    """A small network with random weights, four images to a shard."""
    import cv2

    from tll_utils.features import embedding

    embedding.SHARD_IMAGES = 4
    paths = [folder / f"{place}.png" for place in range(24)]
    for place, path in enumerate(paths):
        picture = np.random.default_rng(place).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(path), picture)
    start()
    found = embedding.embed(
        paths, "efficientnet_lite0", store_dir=folder / "store", weights="random", size=(32, 32),
        engine="keras", batch_size=4, progress=False,
    )  # fmt: skip
    text = "\n".join(repr(rows.tolist()) for rows in found.values())
    (folder / "features.csv").write_text(text)


def training(folder):
    import toy_training

    start()
    toy_training.training.SAVE_SECONDS = 0
    found = toy_training.candidates(toy_training.machine_of(1), folder / "training")
    text = "\n".join(f"{name},{value.tolist()}" for name, value in sorted(found.items()))
    (folder / "trained.csv").write_text(text)


def run(folder):
    """Two notebooks; the second reads what the first has recorded."""
    import nbformat

    from tll_utils import notebooks

    row = (
        "{'system': name, 'notebook': notebook, 'split': '', 'n': 9, 'm': 2, 'top_1': 0.0, 'top_2':"
        " 1.0, 'top_5': 1.0, 'low': 0.5, 'high': 1.0, 'seed': 0, 'seconds': 0.0, 'backbone': '',"
        " 'weights': 'none', 'data': 'tll', 'profile': 'quick', 'protocol': 'per query'}"
    )
    paths = []
    for name, notebook in (("first", "04_first"), ("second", "06_second")):
        cells = [
            f"name, notebook = {name!r}, {notebook!r}\nimport time\nfrom pathlib import Path\n"
            "from tll_utils import files\nfrom tll_utils.scoring import leaderboard",
            f"files.write_text('../{name}.csv', 'left,c0,c1\\n' * 1000)\ntime.sleep(0.2)",
            f"leaderboard.write('..', [{row}])\ntime.sleep(0.2)",
        ]
        made = nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_code_cell(cell, id=f"cell{place}")
                for place, cell in enumerate(cells)
            ]
        )
        paths.append(folder / f"{notebook}.ipynb")
        nbformat.write(made, paths[-1])
    start()
    notebooks.execute(paths, folder / "out", {})


def lesson(folder):
    """`tll run --only 01`, sizes clipped; the cache, which knows times of files, lies outside."""
    import contextlib
    import io
    import os

    from tll_utils.__main__ import main
    from tll_utils.data import sample

    if not (folder / "sample").is_dir():
        sample.draw(folder / "sample", num_pairs=80, num_queries=40, progress=False)
    os.environ |= {"TLL_SMOKE": "1", "TLL_CACHE_DIR": str(folder.parent / "cache")}
    start()
    data, out = str(folder / "sample"), str(folder / "out")
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["run", "--only", "01", "--data", data, "--out", out]) == 0


def start():
    print("start", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    globals()[sys.argv[1]](Path(sys.argv[2]))
