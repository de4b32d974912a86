"""Fine-tunes the dual-backbone network on images, on whatever devices there are.

The same command runs on a CPU, one GPU, several GPUs, several machines and a TPU; see README.md
beside this file. Ctrl-C and start again: it goes on after the last finished epoch.
"""

from tll_utils import quiet  # noqa: F401  first, so that TensorFlow loads in silence

# isort: split
import argparse

import keras
import numpy as np

from tll_utils import adaption, backbones, candidates, data, distribute, losses, training
from tll_utils.models import dual
from tll_utils.settings import Settings


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=["resnet50", "vgg19"])
    parser.add_argument("--join", choices=dual.JOINS, default="concat")
    parser.add_argument("--trainable", default="", help="train layers from this name on: conv5")
    parser.add_argument("--batch-size", type=int, default=32, help="queries over all replicas")
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--size", type=int, nargs=2, default=(224, 224))
    parser.add_argument("--limit", type=int, help="use only so many pairs, to try things out")
    parser.add_argument("--tensorboard", action="store_true")
    return parser.parse_args()


def main():
    options, settings = parse(), Settings.from_environment()
    machine = distribute.choose()  # first: it must come before TensorFlow runs anything
    dataset = data.load(data.find(settings.data_dir))
    lefts = np.array([str(path) for path in dataset.left_paths])[: options.limit]
    rights = np.array([str(path) for path in dataset.right_paths])[: options.limit]
    groups = data.near_duplicate_groups(lefts, rights)
    train, held_out = training.hold_out(np.arange(len(lefts)), groups, seed=settings.seed)

    keys = {name: (f"{backbones.get(name).taps[-1]}/avg",) for name in options.backbones}
    weights = {
        name: backbones.resolve_weights(name, weights=settings.weights, profile=settings.profile)
        for name in keys
    }
    size = tuple(options.size)

    def build():
        dims = [backbones.architecture(name).output_shape[-1] for name in keys]
        head = dual.feature_head(dims, join=options.join, seed=settings.seed)
        encoder = candidates.image_encoder(
            head, keys, weights=weights, size=size, trainable=options.trainable or False
        )
        return dual.candidate_model(encoder, num_candidates=options.candidates)

    def validate(model):
        sides = [candidates.load_images(side[held_out], size=size) for side in (lefts, rights)]
        embeddings = [candidates.embed(dual.encoder_of(model), x, batch_size=32) for x in sides]
        return {"val_top_2_accuracy": adaption.expected_top_k(*embeddings)}

    name = f"dual_{options.join}_" + "_".join(keys)
    logs, models = settings.out_dir / "logs", settings.out_dir / "models"
    distribute.fit(
        machine,
        build,
        loss=losses.CandidateSoftmaxLoss(),
        draw=lambda epoch: candidates.draw_rows(
            train,
            groups,
            num_candidates=options.candidates,
            batch_size=options.batch_size,
            seed=settings.seed,
            epoch=epoch,
        ),
        fetch=candidates.fetch_images(lefts, rights, size=size),
        batch_size=options.batch_size,
        epochs=options.epochs,
        optimizer=lambda: keras.optimizers.Adam(options.learning_rate),
        validate=validate,
        checkpoint_path=models / f"{name}.checkpoint.npz",
        best_path=models / f"{name}.keras",
        log_path=logs / f"{name}.csv",
        tensorboard_dir=logs / name if options.tensorboard else None,
    )


if __name__ == "__main__":
    main()
