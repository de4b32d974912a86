"""Settings: defaults, every variable, refusals, and which networks a notebook runs."""

import dataclasses
import shlex
from pathlib import Path

import pytest

from tll_utils import settings as settings_module
from tll_utils.errors import SettingsError
from tll_utils.features import weights
from tll_utils.settings import (
    PROFILES,
    Settings,
    choose_networks,
    project_dir,
    seeds_of,
)


def read(**variables):
    return Settings.from_environment({f"TLL_{k}": v for k, v in variables.items()})


def test_from_environment_defaults_to_the_quick_profile():
    assert read() == Settings(
        data_dir=None,
        out_dir=project_dir() / "submissions",
        profile="quick",
        backbones=(),
        weights="imagenet",
        seed=0,
        smoke=False,
    )


def test_from_environment_reads_every_variable():
    settings = read(
        DATA_DIR="/data/tll",
        OUT_DIR="out",
        PROFILE="full",
        BACKBONES="resnet50, vgg19,resnet50,",
        WEIGHTS="random",
        SEED="7",
        SMOKE="1",
    )
    assert settings.data_dir == Path("/data/tll")
    assert settings.out_dir == project_dir() / "out"
    assert settings.backbones == ("resnet50", "vgg19")
    assert (settings.profile, settings.weights, settings.seed) == ("full", "random", 7)
    assert settings.smoke


def test_seeds_of_reads_the_list_else_the_one_seed():
    assert seeds_of({}) == (0,)
    assert seeds_of({"TLL_SEED": "7"}) == (7,)
    assert seeds_of({"TLL_SEEDS": "0, 2,0", "TLL_SEED": "7"}) == (0, 2)
    with pytest.raises(SettingsError, match="'x'"):
        seeds_of({"TLL_SEEDS": "1,x"})


def test_from_environment_takes_an_empty_variable_as_unset():
    assert read(PROFILE=" ", SEED="") == read()


def test_from_environment_takes_a_folder_of_weights_from_anywhere(tmp_path):
    assert read(WEIGHTS=str(tmp_path)).weights == str(tmp_path)
    # A notebook's working folder is another one: the folder is remembered in full.
    assert Path(read(WEIGHTS="tests").weights).is_absolute()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROFILE", "fast"),
        ("SEED", "-1"),
        ("SEED", "x"),
        ("SEED", "4294967296"),
        ("SEED", "²"),
        ("SMOKE", "yes"),
        ("WEIGHTS", "imagnet"),
    ],
)
def test_from_environment_refuses(name, value):
    with pytest.raises(SettingsError, match=f"(?s)TLL_{name}.*{value}"):
        read(**{name: value})


def test_networks_for_notebooks_without_networks():
    assert choose_networks("02_siamese_baselines", read()).needed == ()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("number", settings_module.NETWORKS)
def test_every_list_of_the_table_is_long_enough_for_its_notebook(number, profile):
    choice = choose_networks(number, read(PROFILE=profile))
    assert len(choice.networks) >= settings_module.LEAST[number]
    assert len(set(choice.networks)) == len(choice.networks)
    assert set(choice.networks) <= set(choice.needed)


def test_cpu_uses_the_mobilenets_when_they_can_be_had_and_says_so_when_not():
    cpu = read(PROFILE="cpu")
    assert choose_networks("07", cpu).networks == ("mobilenet_v2", "mobilenet")
    alone = choose_networks("07", cpu, available=lambda name: False)
    assert alone.networks == ("efficientnet_lite0", "efficientnet_lite2")
    assert "without mobilenet_v2 and mobilenet" in alone.reason
    elsewhere = dataclasses.replace(cpu, weights="/weights")
    reason = choose_networks("07", elsewhere, available=lambda name: False).reason
    assert reason.endswith("whose weights are not in /weights.")
    # The lites are on the list of 04 already: none appears twice.
    one = choose_networks("04", cpu, available=lambda name: name == "mobilenet").networks
    assert one == ("efficientnet_lite0", "mobilenet", "efficientnet_lite2")
    # Random weights are there for every network.
    random = dataclasses.replace(cpu, weights="random")
    assert (
        choose_networks("07", random, available=lambda name: False).networks
        == choose_networks("07", cpu).networks
    )


def test_cpu_without_the_mobilenets_says_what_fetches_them(monkeypatch):
    fetched = []
    monkeypatch.setattr(weights, "find_weights", fetched.append)
    reason = choose_networks("07", read(PROFILE="cpu"), available=lambda name: False).reason
    *_, program = shlex.split(reason)
    exec(program, {})
    assert fetched == ["mobilenet_v2", "mobilenet"]


def test_backbones_of_the_environment_replace_a_notebooks_own():
    choice = choose_networks("07", read(PROFILE="full", BACKBONES="vgg16,alexnet,resnet18"))
    assert choice.networks == ("vgg16", "alexnet", "resnet18")
    assert choice.pairs == (("vgg16", "alexnet"), ("vgg16", "resnet18"))
    assert "TLL_BACKBONES" in choice.reason


def test_a_list_too_short_for_a_notebook_is_refused_with_what_to_set():
    with pytest.raises(SettingsError, match=r"07 needs at least 2.*TLL_BACKBONES=.*--only"):
        choose_networks("07", read(BACKBONES="vgg16"))
    assert choose_networks("06", read(BACKBONES="vgg16")).networks == ("vgg16",)


def test_full_joins_the_reports_pairs():
    choice = choose_networks("07", read(PROFILE="full"))
    assert len(choice.pairs) == 5 and ("resnet50", "inception_v3") in choice.pairs
    assert "inception_v3" in choice.needed and "inception_v3" not in choice.networks
