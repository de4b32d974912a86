"""The page of a run: right ranks, whole, and no name in it can become markup."""

import argparse
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from tll_utils import __main__ as command_line
from tll_utils import data
from tll_utils.errors import TllError
from tll_utils.tools import commands, report


def content_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


def test_report_holds_every_systems_order_and_the_rank_of_the_match(out_dir, dataset, protocol):
    page = report.write(out_dir, dataset).read_text(encoding="utf-8")
    content = content_of(page)
    assert [s["system"] for s in content["systems"]] == ["perfect", "half", "blind"]
    width = report.SHOWN + 1
    for row in range(dataset.num_pairs):
        perfect, half, blind = (
            content["ranked"][name][row * width :][:width] for name in ("perfect", "half", "blind")
        )
        assert int(perfect[0], 36) == protocol.true_place[row] and perfect[-1] == "0"
        assert (half.strip() == "") == (protocol.folds[row] == 1)
        assert blind[-1] == "b"  # of 12: a tie counts against the match
        listed = [content["right"][place] for place in content["candidates"][row]]
        assert listed[protocol.true_place[row]] == content["right"][content["truth"][row]]
    assert sorted(content["game"]) == list(range(24))


def test_report_says_which_cells_agree(out_dir, dataset, protocol):
    path = out_dir / "scores" / "sample_quick_seed0" / "half.npz"
    stored = dict(np.load(path))
    why = np.full((24, 12, 21), 255, np.uint8)
    why[protocol.folds == 0] = [*range(10, 19), 0, 8, 100, 1, 7, 50, 2, 6, 5, 3, 5, 0]
    np.savez(path, **stored, why=why)
    found = report.collect(out_dir, dataset)["why"]
    assert found["system"] == "half"
    texts = np.array([*found["cells"]]).reshape(24, report.SHOWN + 1, 34)
    for row, fold in enumerate(protocol.folds):
        text = "".join(texts[row, 0])
        assert text == ("1011121314151617180899175026053500" if fold == 0 else " " * 34)


def test_report_brings_every_picture_and_names_none_outside(out_dir, dataset):
    page = report.write(out_dir, dataset).read_text(encoding="utf-8")
    content = content_of(page)
    for name in content["left"] + content["right"]:
        assert re.fullmatch(r"[0-9a-f]{16}\.jpg", name)
        assert (out_dir / report.PICTURES / name).is_file()
    outside = page.replace("http://www.w3.org/2000/svg", "")  # a name, which nobody fetches
    assert "http:" not in outside and "https:" not in outside
    assert "__DATA__" not in page and "__SCRIPT__" not in page
    assert str(out_dir) not in page


def test_a_name_cannot_become_markup(out_dir, dataset):
    evil = "</script><script>alert(1)</script><!--&"
    pairs = dataset.pairs.copy()
    pairs.loc[0, "left"] = evil
    named = dataclasses.replace(dataset, pairs=pairs, name="sample")
    page = report.write(out_dir, named).read_text(encoding="utf-8")
    assert content_of(page)["queries"][0] == evil
    assert "alert(1)</script>" not in page and page.count("<script") == 2


def test_report_of_other_data_or_damaged_scores_is_refused(out_dir, dataset):
    other = dataclasses.replace(dataset, candidate_index=dataset.candidate_index[::-1])
    with pytest.raises(TllError, match="--data"):
        report.write(out_dir, other)
    with pytest.raises(TllError, match="here are on: sample.*--data.*tll run"):
        report.write(out_dir, dataclasses.replace(dataset, name="tll"))
    path = out_dir / "scores" / "sample_quick_seed0" / "half.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TllError, match=r"half\.npz"):
        report.write(out_dir, dataset)


def test_scores_that_hold_objects_are_not_unpickled(out_dir, dataset):
    path = out_dir / "scores" / "sample_quick_seed0" / "half.npz"
    np.savez(path, candidate_index=np.array([{"a": 1}], dtype=object))
    with pytest.raises(TllError, match=r"half\.npz"):
        report.write(out_dir, dataset)


def test_report_command_finds_the_sample_of_the_latest_run_beside_other_data(
    out_dir, dataset, tmp_path, monkeypatch, capsys
):
    monkeypatch.delenv("TLL_DATA_DIR", raising=False)
    monkeypatch.setattr(commands, "project_dir", lambda: tmp_path)
    monkeypatch.setattr(data, "find", lambda folder: folder or pytest.fail("looks for other data"))
    shutil.copytree(dataset.root, tmp_path / "data" / "sample")
    assert command_line.main(["report", str(out_dir)]) == 0
    assert command_line.main(["report", str(tmp_path)]) == 1
    assert "no results here" in capsys.readouterr().err


def test_the_seed_of_training_draws_no_other_queries(out_dir, dataset, tmp_path, monkeypatch):
    """The original release draws its queries: `start` does so with one seed for all runs."""
    monkeypatch.setenv("TLL_SEED", "1")
    monkeypatch.setenv("TLL_CACHE_DIR", str(tmp_path / "cache"))
    for side, paths in (("left", dataset.left_paths), ("right", dataset.right_paths)):
        (tmp_path / "release" / side).mkdir(parents=True)
        for number, path in enumerate(paths):
            shutil.copy(path, tmp_path / "release" / side / f"{number}.jpg")
    options = argparse.Namespace(out=out_dir, data=tmp_path / "release")
    _, found = commands._run_of(options)
    assert found.candidates.equals(data.load(tmp_path / "release", seed=0).candidates)


def test_report_command(out_dir, dataset, capsys):
    code = command_line.main(["report", str(out_dir), "--data", str(dataset.root)])
    assert code == 0 and capsys.readouterr().out.strip() == str(out_dir / "report.html")
