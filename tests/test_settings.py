"""Settings: defaults, every variable, refusals."""

from pathlib import Path

import pytest

from tll_utils.settings import Settings, SettingsError, project_dir


def test_from_environment_defaults_to_the_quick_profile():
    settings = Settings.from_environment({})
    assert settings == Settings(
        data_dir=None,
        out_dir=project_dir() / "submissions",
        profile="quick",
        backbones=("mobilenet_v2", "mobilenet"),
        weights="imagenet",
        seed=0,
    )


def test_from_environment_reads_every_variable():
    settings = Settings.from_environment(
        {
            "TLL_DATA_DIR": "/data/tll",
            "TLL_OUT_DIR": "out",
            "TLL_PROFILE": "full",
            "TLL_BACKBONES": "resnet50, vgg19,",
            "TLL_WEIGHTS": "random",
            "TLL_SEED": "7",
        }
    )
    assert settings.data_dir == Path("/data/tll")
    assert settings.out_dir == project_dir() / "out"
    assert settings.backbones == ("resnet50", "vgg19")
    assert (settings.profile, settings.weights, settings.seed) == ("full", "random", 7)


def test_from_environment_takes_an_empty_variable_as_unset():
    assert Settings.from_environment({"TLL_PROFILE": " ", "TLL_SEED": ""}).profile == "quick"


@pytest.mark.parametrize(
    ("name", "value"),
    [("TLL_PROFILE", "fast"), ("TLL_SEED", "-1"), ("TLL_SEED", "x"), ("TLL_SEED", "4294967296")],
)
def test_from_environment_refuses(name, value):
    with pytest.raises(SettingsError, match=f"(?s){name}.*{value}"):
        Settings.from_environment({name: value})
