"""Draws the README's picture: two pairs of the sample data for each kind of likeness."""

from pathlib import Path

from tll_utils import data, images, plots
from tll_utils.data import sample

PICTURE = Path(__file__).resolve().parents[1] / "notebooks" / "images" / "sample_pairs.webp"
PAIRS_PER_KIND = 3


def main() -> None:
    directory = sample.ensure(PICTURE.parents[2] / "data" / "sample")
    dataset, kinds = data.load(directory), sample.kinds(directory)
    lefts, rights = [], []
    for kind in sample.KINDS:
        rows = [row for row, name in enumerate(dataset.pairs["left"]) if kinds[name] == kind]
        lefts += [images.read_image(dataset.left_paths[row]) for row in rows[:PAIRS_PER_KIND]]
        rights += [images.read_image(dataset.right_paths[row]) for row in rows[:PAIRS_PER_KIND]]
    words = [kind.replace("colour", "color") for kind in sample.KINDS]
    titles = [word for word in words for _ in range(PAIRS_PER_KIND)]
    picture = plots.pair_grid(
        lefts,
        rights,
        titles=titles,
        title="Pairs of the sample: two drawings that share one kind of likeness",
        columns=PAIRS_PER_KIND,
    )
    picture.save(PICTURE)


if __name__ == "__main__":
    main()
