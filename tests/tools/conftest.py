"""A finished run, as `Run.record` leaves one, without training anything."""

import json

import numpy as np
import pytest

from tll_utils import data
from tll_utils.protocol import Protocol
from tll_utils.scoring import stored


@pytest.fixture(scope="session")
def dataset(sample_dir):
    return data.load(sample_dir)


@pytest.fixture(scope="session")
def protocol(dataset):
    return Protocol.draw(np.arange(dataset.num_pairs), num_folds=2, m=12, seed=0)


@pytest.fixture
def out_dir(tmp_path, dataset, protocol):
    """Results of `perfect`, which knows all, `half`, of one fold only, and `blind`, all ties."""
    is_match = protocol.candidates == np.arange(dataset.num_pairs)[:, None]
    draw = np.random.default_rng(0)
    half = draw.normal(size=is_match.shape)
    half[protocol.folds == 1] = np.nan
    systems = {"perfect": is_match * 1.0, "half": half, "blind": np.zeros(is_match.shape)}
    folder = tmp_path / "out" / "scores" / "sample_quick_seed0"
    rows = []
    for place, (name, oof) in enumerate(systems.items()):
        stored.write(
            folder / f"{name}.npz", oof=oof.astype("float32"), candidates=protocol.candidates,
            rows=np.flatnonzero(np.isfinite(oof).all(axis=1)), seconds=0.0,
            candidate_index=dataset.candidate_index, test=np.zeros(dataset.candidate_index.shape),
        )  # fmt: skip
        rows.append(
            {
                "system": name,
                "notebook": f"0{place + 1}_story",
                "backbone": "",
                "data": "sample",
                "profile": "quick",
                "seed": 0,
                "weights": "none",
                "protocol": "per query",
                "n": 24,
                "m": 12,
                "top_1": 0.1,
                "top_2": 0.9 - place / 4,
                "top_5": 0.95,
                "low": 0.1,
                "high": 0.95,
            }
        )
    (tmp_path / "out" / "results.json").write_text(json.dumps(rows))
    return tmp_path / "out"
