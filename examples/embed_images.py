"""Fills the store of features for the notebooks to find; several processes share the work.

Start it once per GPU or machine, each with a share of its own and all with the same output folder;
see README.md beside this file. Ctrl-C and start again: what is stored is not computed twice.
"""

import argparse
import re
import sys

from tll_utils import data, features, training  # before Keras, for it quiets TensorFlow
from tll_utils.errors import TllError
from tll_utils.features import backbones
from tll_utils.settings import Settings

# isort: split
import keras


def share(text: str) -> tuple[int, int]:
    """Reads `2/4` as the second of four shares."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"expected 1/1, 1/2, 2/2, … Received: {text}")
    return int(found[1]) - 1, int(found[2])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=["resnet50", "vgg19"])
    parser.add_argument("--share", type=share, default=(0, 1), metavar="1/2")
    parser.add_argument("--limit", type=int, help="use only so many images, to try things out")
    return parser.parse_args()


def main() -> None:
    options, settings = parse(), Settings.from_environment()
    if keras.backend.backend() == "jax":
        training.choose()  # all devices share each batch: one process is enough
    dataset = data.load(data.find(settings.data_dir), seed=settings.seed)
    sides = (dataset.left_paths, dataset.right_paths, dataset.query_paths, dataset.gallery_paths)
    index, count = options.share
    paths = [path for side in sides for path in side][: options.limit][index::count]
    for name in options.backbones:
        found = features.embed(
            paths,
            name,
            weights=backbones.resolve_weights(name, weights=settings.weights),
            keys=features.standard_keys(name),
            store_dir=settings.out_dir / "features",
            seed=settings.seed,
            engine=settings.engine,
        )
        print(f"{name}: {len(paths)} images, {len(found)} kinds of features")


if __name__ == "__main__":
    try:
        main()
    except TllError as error:
        sys.exit(str(error))
