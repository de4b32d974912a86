"""What a run is told from outside: one frozen record, read once from the environment."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

PROFILES = ("quick", "cpu", "full")

# The light pair fits a laptop; the heavy pair is report 004's own.
DEFAULT_BACKBONES = {
    "quick": ("mobilenet_v2", "mobilenet"),
    "cpu": ("mobilenet_v2", "mobilenet"),
    "full": ("resnet50", "vgg19"),
}


class SettingsError(ValueError):
    """A setting from the environment or the command line cannot be used."""


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
        backbones: Names from `tll_utils.backbones.REGISTRY` (`TLL_BACKBONES`, comma-separated).
        weights: `"imagenet"`, `"random"` or a folder of weight files (`TLL_WEIGHTS`).
        seed: Seed of every random choice, integer >= 0 (`TLL_SEED`, else 0).
    """

    data_dir: Path | None
    out_dir: Path
    profile: str
    backbones: tuple[str, ...]
    weights: str
    seed: int

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
        names = tuple(n.strip() for n in read("BACKBONES").split(",") if n.strip())
        data_dir, out_dir = read("DATA_DIR"), read("OUT_DIR")
        return cls(
            # A notebook's working folder is not the user's: relative paths mean the project.
            data_dir=_absolute(data_dir) if data_dir else None,
            out_dir=_absolute(out_dir) if out_dir else project_dir() / "submissions",
            profile=profile,
            backbones=names or DEFAULT_BACKBONES[profile],
            weights=read("WEIGHTS", "imagenet"),
            seed=_seed(read("SEED", "0")),
        )


def _absolute(path: str) -> Path:
    return project_dir() / Path(path).expanduser()


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise SettingsError(
            f"The seed must be an integer from 0 to 4294967295 in TLL_SEED. Received: {text!r}"
        )
    return int(text)
