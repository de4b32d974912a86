"""Fine-tunes the dual-backbone network on images, on whatever devices there are.

The same command runs on a CPU, one GPU, several GPUs, several machines and a TPU; see README.md
beside this file. Ctrl-C and start again: it goes on after the last epoch that was saved.
"""

import argparse
import sys
from types import SimpleNamespace

import tll_utils as tll  # before Keras, for it quiets TensorFlow
from tll_utils import data, files, generators, images, layers, losses, training
from tll_utils.errors import TllError
from tll_utils.features import backbones
from tll_utils.settings import Settings

# isort: split
import keras
import numpy as np
from keras import layers as keras_layers


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=["resnet50", "vgg19"])
    parser.add_argument("--join", choices=("concat", "average"), default="concat")
    parser.add_argument("--trainable", default="last_stage", help="or 'none', 'all', a layer name")
    parser.add_argument("--batch-size", type=int, default=32, help="queries over all replicas")
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--units", type=int, default=256, help="length of each projection")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--size", type=int, nargs=2, help="height and width for all backbones")
    parser.add_argument("--limit", type=int, help="use only so many pairs, to try things out")
    return parser.parse_args()


def dual_encoder(options: argparse.Namespace, settings: Settings) -> keras.Model:
    """Images → unit-norm embedding: each backbone at its own size, projected, then joined."""
    trainable = {"none": False, "all": True}.get(options.trainable, options.trainable)
    pixels = keras.Input((*loaded_size(options), 3), name="images")
    projections = []
    for name in options.backbones:
        size = options.size or backbones.get(name).size
        weights = backbones.resolve_weights(name, weights=settings.weights)
        network = backbones.build(
            name, weights=weights, size=size, trainable=trainable, seed=settings.seed
        )
        maps = network(layers.Resize(size)(pixels))
        x = keras_layers.GlobalAveragePooling2D()(maps)
        x = keras_layers.Dense(options.units, name=f"project_{name}")(x)
        projections.append(keras_layers.UnitNormalization(dtype="float32")(x))
    x = projections[0]
    if len(projections) > 1:
        join = {"concat": keras_layers.Concatenate, "average": keras_layers.Average}
        x = join[options.join](name=options.join)(projections)
    x = keras_layers.Dense(options.units, name="mix")(x)
    x = keras_layers.UnitNormalization(dtype="float32", name="embedding")(x)
    return keras.Model(pixels, x, name="encoder")


def loaded_size(options: argparse.Namespace) -> tuple[int, int]:
    """Images are kept in memory at the largest size that a backbone asks for."""
    sizes = [options.size or backbones.get(name).size for name in options.backbones]
    return max(size[0] for size in sizes), max(size[1] for size in sizes)


def main() -> None:
    options, settings = parse(), Settings.from_environment()
    machine = training.choose()  # first: it must come before TensorFlow runs anything
    dataset = data.load(data.find(settings.data_dir), seed=settings.seed)
    lefts, rights = (side[: options.limit] for side in (dataset.left_paths, dataset.right_paths))
    groups = data.near_duplicate_groups(lefts, rights)
    train, held_out = data.hold_out(np.arange(len(lefts)), groups, seed=settings.seed)
    # Bytes in memory, a quarter of floats: nothing is decoded twice.
    left, right = (images.load_all(side, size=loaded_size(options)) for side in (lefts, rights))
    views = SimpleNamespace(left=left, right=right)

    keras.utils.set_random_seed(settings.seed)
    with machine.scope():
        encoder = dual_encoder(options, settings)
        sets = keras.Input((1 + options.candidates, *left.shape[1:]), name="sets")
        model = tll.Model(sets, layers.CandidateScores()(layers.Branches(encoder)(sets)))
        model.compile(
            keras.optimizers.Adam(options.learning_rate),
            losses.CandidateSoftmaxLoss(),
            metrics=[losses.CandidateTopK()],
        )
    draw = {"groups": groups, "m": options.candidates, "batch_size": options.batch_size}
    draw["seed"] = settings.seed
    batches = generators.candidate_sets(views, train, drop_remainder=True, **draw)
    validation = generators.candidate_sets(views, held_out, fixed=True, **draw)
    name = f"dual_{'_'.join(options.backbones)}_{options.join}"
    history = training.fit(
        model,
        batches,
        epochs=options.epochs,
        validation=validation,
        monitor="val_top_2",
        directory=settings.out_dir / "training" / name,
    )
    if machine.is_chief:
        with files.replacing(settings.out_dir / "models" / f"{name}.keras") as draft:
            encoder.save(draft)
        best = max(history["val_top_2"])
        print(f"{name}: top-2 {best:.3f}, n = {len(held_out)} held out, m = {options.candidates}")


if __name__ == "__main__":
    try:
        main()
    except TllError as error:
        sys.exit(str(error))
