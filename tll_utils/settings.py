"""What a run is told from outside: one frozen record, read once from the environment."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tll_utils.errors import SettingsError

PROFILES = ("quick", "cpu", "full")

# The networks each notebook runs, per profile; notebooks that are not here need none. In `full`
# they are the reports' own. Those of `quick` and `cpu` come with the package index, but for the
# two MobileNets.
NETWORKS: dict[str, dict[str, tuple[str, ...]]] = {
    "04": {
        "quick": ("efficientnet_lite0",),
        "cpu": ("mobilenet_v2", "mobilenet", "efficientnet_lite0", "efficientnet_lite2"),
        "full": (
            "resnet18",
            "resnet50",
            "resnet152",
            "densenet121",
            "densenet169",
            "densenet201",
            "alexnet",
            "vgg16",
        ),
    },
    "05": {
        "quick": ("efficientnet_lite0",),
        "cpu": ("mobilenet_v2", "mobilenet"),
        "full": ("resnet50", "resnet101", "resnet152"),
    },
    "06": {
        "quick": ("efficientnet_lite0",),
        "cpu": ("mobilenet_v2",),
        "full": ("inception_resnet_v1",),
    },
    "07": {
        "quick": ("efficientnet_lite0", "efficientnet_lite2"),
        "cpu": ("mobilenet_v2", "mobilenet"),
        "full": ("vgg19", "resnet50", "mobilenet", "efficientnet_v2_s"),
    },
    "08": {
        "quick": ("efficientnet_lite0", "efficientnet_lite2"),
        "cpu": ("mobilenet_v2", "efficientnet_lite0", "efficientnet_lite2"),
        "full": ("resnet50", "vgg19"),
    },
}
# Report 004's pairs, where they are not simply the first network with each other one.
PAIRS: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {
    "07": {
        "full": (
            ("resnet50", "vgg19"),
            ("resnet50", "mobilenet_v3_large"),
            ("resnet50", "mobilenet_v3_small"),
            ("resnet50", "efficientnet_v2_s"),
            ("resnet50", "inception_v3"),
        )
    }
}
LEAST = {"04": 1, "05": 1, "06": 1, "07": 2, "08": 2}  # how many networks a notebook needs
# Weights of the first are not on the package index; where they are missing, the second steps in.
STAND_INS = {"mobilenet_v2": "efficientnet_lite0", "mobilenet": "efficientnet_lite2"}


def project_dir() -> Path:
    """The checkout that holds `notebooks/`, or the working folder when installed elsewhere."""
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of one run.

    Attributes:
        data_dir: Folder of the data set (`TLL_DATA_DIR`); `None` means "look for one".
        out_dir: Where CSVs, results and stored features go (`TLL_OUT_DIR`, else `submissions/`).
        profile: `"quick"`, `"cpu"` or `"full"` (`TLL_PROFILE`, else `"quick"`).
        backbones: Names from the registry (`TLL_BACKBONES`, comma-separated) that every notebook
            runs in place of its own; empty means each notebook's own, see `NETWORKS`.
        weights: `"imagenet"`, `"random"` or a folder of weight files (`TLL_WEIGHTS`).
        seed: Seed of training and of what it draws, integer >= 0 (`TLL_SEED`, else 0). Folds and
            candidate lists are the same for all seeds.
        engine: What embeds images (`TLL_ENGINE`, else `"auto"`); see `engines`.
        smoke: Whether to clip all sizes, to see that each path runs (`TLL_SMOKE=1`).
    """

    data_dir: Path | None
    out_dir: Path
    profile: str
    backbones: tuple[str, ...] = ()
    weights: str = "imagenet"
    seed: int = 0
    engine: str = "auto"
    smoke: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Reads the `TLL_*` variables; an empty variable counts as unset.

        Raises:
            SettingsError: If a value is not one of those allowed; the message lists them.
        """

        def read(name: str, default: str = "") -> str:
            return environ.get(f"TLL_{name}", "").strip() or default

        profile = read("PROFILE", "quick")
        if profile not in PROFILES:
            raise SettingsError(
                f"Unknown profile. Expected one of {', '.join(PROFILES)} in TLL_PROFILE or "
                f"--profile. Received: {profile!r}"
            )
        names = (name.strip() for name in read("BACKBONES").split(","))
        data_dir, out_dir = read("DATA_DIR"), read("OUT_DIR")
        return cls(
            # A notebook's working folder is not the user's: relative paths mean the project.
            data_dir=_absolute(data_dir) if data_dir else None,
            out_dir=_absolute(out_dir) if out_dir else project_dir() / "submissions",
            profile=profile,
            backbones=tuple(dict.fromkeys(name for name in names if name)),
            weights=_weights(read("WEIGHTS", "imagenet")),
            seed=_seed(read("SEED", "0")),
            engine=read("ENGINE", "auto"),
            smoke=_switch("SMOKE", read("SMOKE", "0")),
        )


def seeds_of(environ: Mapping[str, str] = os.environ) -> tuple[int, ...]:
    """The seeds that a whole run goes through: `TLL_SEEDS`, such as "0,1,2", else `TLL_SEED`.

    Raises:
        SettingsError: If one is no integer >= 0.
    """
    text = environ.get("TLL_SEEDS", "").strip() or environ.get("TLL_SEED", "").strip() or "0"
    return tuple(dict.fromkeys(_seed(seed.strip()) for seed in text.split(",")))


@dataclasses.dataclass(frozen=True)
class Choice:
    """The networks of one notebook in one run.

    Attributes:
        networks: Those it looks at one by one.
        pairs: Those it joins, two by two.
        reason: A sentence for people: which, and why these.
    """

    networks: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    reason: str

    @property
    def needed(self) -> tuple[str, ...]:
        """Every network that appears in `networks` or `pairs`, each once."""
        return tuple(
            dict.fromkeys([*self.networks, *(name for pair in self.pairs for name in pair)])
        )


def choose_networks(
    notebook: str, settings: Settings, *, available: Callable[[str], bool] = lambda name: True
) -> Choice:
    """Decides which networks a notebook runs.

    Args:
        notebook: Its name or number, such as `"04_pretrained_features"` or `"04"`.
        settings: Of the run. `settings.backbones` replaces the notebook's own list.
        available: Whether the weights of a network can be had; asked only about networks that
            have a stand-in, and only when pretrained weights are wanted.

    Raises:
        SettingsError: If `TLL_BACKBONES` names fewer networks than the notebook needs.
    """
    number = notebook[:2]
    if number not in NETWORKS:
        return Choice((), (), "It needs no network.")
    own = NETWORKS[number][settings.profile]
    if settings.backbones:
        names, reason = settings.backbones, f"{', '.join(settings.backbones)}: from TLL_BACKBONES."
        if len(names) < LEAST[number]:
            raise SettingsError(
                f"Notebook {number} needs at least {LEAST[number]} networks. Set "
                f"TLL_BACKBONES={','.join(own[: LEAST[number]])} (or --backbones), leave it out, "
                f"or leave the notebook out with --only. Received: {','.join(names)}"
            )
    else:
        names, reason = _own_networks(own, settings, available)
    pairs = PAIRS.get(number, {}).get(settings.profile)
    if pairs is None or settings.backbones:
        pairs = tuple((names[0], other) for other in names[1:])
    return Choice(names, pairs if LEAST[number] > 1 else (), reason)


def _own_networks(
    own: tuple[str, ...], settings: Settings, available: Callable[[str], bool]
) -> tuple[tuple[str, ...], str]:
    missing = [
        name
        for name in own
        if settings.profile == "cpu"
        and name in STAND_INS
        and settings.weights != "random"
        and not available(name)
    ]
    names = tuple(dict.fromkeys(STAND_INS[n] if n in missing else n for n in own))
    reason = f"{', '.join(names)}: the networks of profile {settings.profile}"
    if not missing:
        return names, f"{reason}."
    reason += f", without {' and '.join(missing)}, whose weights are not "
    if settings.weights != "imagenet":
        return names, f"{reason}in {settings.weights}."
    calls = "".join(f"; f('{name}')" for name in missing)
    fetch = f'python -c "from tll_utils.features.weights import find_weights as f{calls}"'
    return names, f"{reason}on this machine. To fetch them: {fetch}"


def _absolute(path: str) -> Path:
    # Not Path.expanduser: it fails for users without a home.
    return project_dir() / os.path.expanduser(path)


def _weights(text: str) -> str:
    if text in ("imagenet", "random"):
        return text
    if os.path.isdir(_absolute(text)):  # Path.is_dir fails on a name that is too long
        return str(_absolute(text))
    raise SettingsError(
        "Expected imagenet, random or an existing folder of weight files in TLL_WEIGHTS or "
        f"--weights. Received: {text!r}"
    )


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) >= 2**32:
        raise SettingsError(
            "The seed must be an integer from 0 to 4294967295 in TLL_SEED or --seed. "
            f"Received: {text!r}"
        )
    return int(text)


def _switch(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise SettingsError(f"Expected 0 or 1 in TLL_{name}. Received: {text!r}")
    return text == "1"
