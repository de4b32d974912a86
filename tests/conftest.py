"""Fixtures that several test files share."""

import os

# Two cores are all that the tests plan for, and no bar should clutter their output.
os.environ["TQDM_DISABLE"] = "1"

import pytest

from tll_utils.settings import Settings

# What takes longest starts first: whoever starts late ends alone. Files of few tests would be last.
_FIRST = (
    "test_several_workers.py",
    "test_examples.py",
    "04_pretrained_features.ipynb",
    "05_transfer_learning.ipynb",
    "07_dual_backbone.ipynb",
    "02_siamese_baselines.ipynb",
    "test_benchmarks.py",
    "test_backbones.py",
    "03_convolutional_autoencoder.ipynb",
    "01_data_exploration.ipynb",
    "test_run.py",
    "06_look_alike_features.ipynb",  # minutes after 04, whose rows it reads
    "test_embedding.py",
    "test_running.py",
    "test_training.py",
    "test_fronts.py",
    "test_embedder.py",
    "test_kill.py",
    "test_starve.py",
)
_LAST = ("08_ensemble_voting.ipynb", "09_you_against_the_machine.ipynb")  # they read the others


def pytest_collection_modifyitems(items):
    order = {name: place - len(_FIRST) for place, name in enumerate(_FIRST)}
    order |= {name: 1 + place for place, name in enumerate(_LAST)}
    items.sort(key=lambda item: order.get(item.path.name, 0))


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory):
    """A small sample data set: 24 pairs, 12 queries. Read-only by agreement."""
    from tll_utils.data import sample

    directory = tmp_path_factory.mktemp("data") / "sample"
    sample.draw(directory, num_pairs=24, num_queries=12, seed=0, progress=False)
    return directory


@pytest.fixture
def make_settings(sample_dir, tmp_path):
    """Builds the settings of a quick run on the small sample data set, with random weights."""

    def make(**changes) -> Settings:
        defaults = {
            "data_dir": sample_dir,
            "out_dir": tmp_path / "out",
            "profile": "quick",
            "backbones": ("efficientnet_lite0",),
            "weights": "random",
            "seed": 0,
        }
        return Settings(**{**defaults, **changes})

    return make
