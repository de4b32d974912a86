"""Fills the store of features on all devices and machines, for the notebooks to find.

Each GPU of each machine embeds its share of the images; see README.md beside this file. Ctrl-C and
start again: what is stored is not computed a second time.
"""

from tll_utils import quiet  # noqa: F401  first, so that TensorFlow loads in silence

# isort: split
import argparse
import functools

from tll_utils import backbones, data, distribute, features
from tll_utils.settings import Settings


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=["resnet50", "vgg19"])
    parser.add_argument("--limit", type=int, help="use only so many images, to try things out")
    return parser.parse_args()


def main():
    options, settings = parse(), Settings.from_environment()
    # First: it must come before TensorFlow runs anything. What is stored is float32.
    machine = distribute.choose(mixed_precision=False)
    dataset = data.load(data.find(settings.data_dir))
    paths = [
        *dataset.left_paths, *dataset.right_paths, *dataset.query_paths, *dataset.gallery_paths
    ][: options.limit]  # fmt: skip
    for name in options.backbones:
        weights = backbones.resolve_weights(
            name, weights=settings.weights, profile=settings.profile
        )
        embed = functools.partial(
            features.embed,
            backbone=name,
            weights=weights,
            keys=features.standard_keys(name),
            store_dir=settings.out_dir / "features",
            seed=settings.seed,
            progress=machine.is_chief,
        )
        shapes = distribute.embed_in_shares(machine, embed, paths)
        if machine.is_chief:
            print(f"{name}: {len(paths)} images, {len(shapes)} kinds of features")


if __name__ == "__main__":
    main()
