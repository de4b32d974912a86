"""Fixtures that several test files share."""

import os

# Two cores are all that the tests plan for, and no bar should clutter their output.
os.environ["TQDM_DISABLE"] = "1"

import pytest

from tll_utils.settings import Settings


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
