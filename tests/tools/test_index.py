"""The index: exact answers, nothing embedded twice, nothing lost to a kill."""

import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from tll_utils import __main__ as command_line
from tll_utils.errors import TllError
from tll_utils.tools import index as index_module
from tll_utils.tools import sheet
from tll_utils.tools.commands import read_terms
from tll_utils.tools.embedder import Embedder
from tll_utils.tools.index import Index, Match


class Brightness:
    """Stands in for a model: an image is its mean R, G and B."""

    source, weights, fingerprint = "brightness", "", "1"

    def __init__(self):
        self.embedded = []

    def load(self):
        pass

    def embed_what_can_be(self, pictures):
        vectors, problems = np.zeros((len(pictures), 3), np.float32), {}
        for place, picture in enumerate(pictures):
            self.embedded.append(os.path.basename(picture))
            try:
                vectors[place] = sheet.images.decode(picture).mean(axis=(0, 1))
            except TllError as error:
                problems[place] = error
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), problems


def paint(path, *rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 8, 3), rgb[::-1], np.uint8))
    return path


@pytest.fixture
def folder(tmp_path):
    for name, rgb in {"red": (250, 0, 0), "rose": (250, 90, 90), "blue": (0, 0, 250)}.items():
        paint(tmp_path / "pictures" / f"{name}.png", *rgb)
    return tmp_path / "pictures"


def names(matches):
    return [os.path.basename(match.path) for match in matches]


def test_search_gives_the_cosines_of_all_others_best_first(folder):
    index = Index(Brightness())
    index.add([folder])
    matches = index.search(folder / "red.png")
    assert names(matches) == ["rose.png", "blue.png"]
    # cos(red, rose) = 250 / √(250² + 90² + 90²)
    assert matches[0].similarity == pytest.approx(250 / np.sqrt(250**2 + 2 * 90**2), abs=1e-3)
    assert names(index.search(np.array([0, 0, 1], np.float32), top=1)) == ["blue.png"]
    assert names(index.search(folder / "red.png", without=[folder / "rose.png"])) == ["blue.png"]
    assert index.search(folder / "red.png", without=[folder]) == []


def test_add_embeds_only_what_is_new_and_follows_moved_files(folder):
    embedder = Brightness()
    index = Index(embedder)
    assert str(index.add([folder])).startswith("3 new, 0 moved")
    embedder.embedded.clear()
    (folder / "sub").mkdir()
    (folder / "rose.png").rename(folder / "sub" / "moved.png")
    shutil.copy(folder / "blue.png", folder / "copy.png")
    (folder / "red.png").unlink()
    paint(folder / "green.png", 0, 250, 0)
    changes = index.add([folder])
    assert (changes.new, changes.moved, changes.unchanged, changes.gone) == (1, 2, 1, 2)
    assert embedder.embedded == ["green.png"]
    assert len(index) == 3  # blue, rose, green; red has no file any more
    found = names(index.search(folder / "green.png"))
    assert len(found) == 2 and "moved.png" in found


def test_add_skips_damaged_and_huge_files_and_says_why(folder, monkeypatch):
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    (folder / "large.png").write_bytes(b"0" * 5000)
    (folder / ".hidden.png").write_bytes(b"")
    monkeypatch.setattr(index_module, "MAX_BYTES", 4000)
    changes = Index(Brightness()).add([folder])
    assert changes.new == 3
    assert {os.path.basename(path) for path in changes.skipped} == {"broken.jpg", "large.png"}


def test_a_file_that_becomes_damaged_is_forgotten(folder):
    index = Index(Brightness())
    index.add([folder])
    (folder / "rose.png").write_bytes(b"\x89PNG nothing")
    assert index.add([folder]).gone == 1
    assert names(index.search(folder / "red.png")) == ["blue.png"]


def test_index_is_saved_and_loaded(folder, tmp_path):
    index = Index(Brightness())
    index.add([folder])
    index.save(tmp_path / "a.index")
    loaded = Index.load(tmp_path / "a.index")
    assert loaded.search(folder / "red.png") == index.search(folder / "red.png")
    with pytest.raises(TllError, match="tll index DIR"):
        Index.load(tmp_path / "none.index")


def test_index_of_another_model_or_another_kind_is_refused(folder, tmp_path):
    Index(Brightness(), tmp_path / "a.index")
    other = Brightness()
    other.fingerprint = "2"
    with pytest.raises(TllError, match="another model"):
        Index(other, tmp_path / "a.index")
    (tmp_path / "text.index").write_text("no database at all, but long enough" * 99)
    with pytest.raises(TllError, match=r"text\.index"):
        Index.load(tmp_path / "text.index")


def test_wide_vectors_are_sketched_and_keep_their_products():
    index = Index(Brightness())
    draw = np.random.default_rng(0)
    wide = draw.normal(size=(50, 12_000)).astype(np.float32)
    wide[1] = wide[0] + 0.5 * wide[1]
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    narrow = index._narrow(wide)
    assert narrow.shape == (50, index_module.MAX_WIDTH)
    assert np.abs(narrow @ narrow.T - wide @ wide.T).max() < 5 / np.sqrt(index_module.MAX_WIDTH)


def test_add_that_is_killed_loses_nothing_that_was_done(tmp_path):
    for number in range(60):
        paint(tmp_path / "pictures" / f"{number}.png", number * 4, 255 - number, number)
    code = (
        "import sys, time\nsys.path[:0] = [sys.argv[1]]\n"
        "import test_index as t\nt.index_module.AT_ONCE = 5\n"
        "slow = t.Brightness()\nfast = slow.embed_what_can_be\n"
        "slow.embed_what_can_be = lambda p: (time.sleep(0.02), fast(p))[1]\n"
        "t.Index(slow, sys.argv[2] + '/k.index').add([sys.argv[2] + '/pictures'])\n"
    )
    arguments = [sys.executable, "-c", code, os.path.dirname(__file__), str(tmp_path)]
    kept = 0
    for delay in (0.05, 0.12):
        process = subprocess.Popen(arguments)
        while not (tmp_path / "k.index").is_file() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        index = Index(Brightness(), tmp_path / "k.index")
        assert len(index) >= kept
        kept = len(index)
    changes = index.add([tmp_path / "pictures"])
    assert changes.new == 60 - kept and len(index) == 60


def test_search_along_a_graph_finds_what_the_exact_one_finds(folder, tmp_path, monkeypatch):
    pytest.importorskip("usearch")
    for number in range(40):
        paint(folder / f"{number}.png", number * 6, 255 - 5 * number, number)
    index = Index(Brightness(), tmp_path / "a.index")
    index.add([folder])
    exact = index.search(folder / "red.png", top=9)
    monkeypatch.setattr(index_module, "EXACT_UP_TO", 2)
    found = index.search(folder / "red.png", top=9)
    assert names(found) == names(exact)
    assert [m.similarity for m in found] == pytest.approx([m.similarity for m in exact], abs=2e-3)
    left = index.search(folder / "red.png", without=[folder / "rose.png"])
    assert len(left) == 20 and "rose.png" not in names(left)
    (folder / "rose.png").unlink()
    paint(folder / "carmine.png", 250, 20, 20)
    index.add([folder])
    again = Index(Brightness(), tmp_path / "a.index").search(folder / "red.png", top=42)
    assert again[0].path.endswith("carmine.png") and "rose.png" not in names(again)
    assert len(again) == 42


def test_a_large_index_without_usearch_is_searched_exactly_with_a_word(folder, monkeypatch):
    index = Index(Brightness())
    index.add([folder])
    monkeypatch.setattr(index_module, "EXACT_UP_TO", 2)
    monkeypatch.setattr(index_module.graph, "is_installed", lambda: False)
    with pytest.warns(UserWarning, match="search"):
        assert names(index.search(folder / "red.png")) == ["rose.png", "blue.png"]


def test_terms_are_images_with_signs_between_them():
    assert read_terms(["a.jpg", "+", "b.jpg", "-", "c.jpg"]) == [
        (1, "a.jpg"), (1, "b.jpg"), (-1, "c.jpg"),
    ]  # fmt: skip
    for wrong in (["a.jpg", "b.jpg"], ["+", "a.jpg"], ["a.jpg", "-"]):
        with pytest.raises(TllError, match="Expected one image"):
            read_terms(wrong)


def test_search_command_writes_what_it_found(folder, tmp_path, monkeypatch, capsys):
    evil = paint(folder / "<img src=x onerror=alert(1)>&.png", 250, 80, 80)
    Index(Brightness(), tmp_path / "a.index").add([folder])
    monkeypatch.chdir(tmp_path)
    terms = [str(folder / "red.png"), "+", str(folder / "blue.png"), "-", str(folder / "rose.png")]
    arguments = ["search", *terms, "--index", str(tmp_path / "a.index"), "--html"]
    assert command_line.main(arguments) == 0
    out = capsys.readouterr().out
    assert os.path.basename(evil) in out
    assert all(-1.001 <= float(line.split()[0]) <= 1.001 for line in out.splitlines())
    assert sheet.images.decode(tmp_path / "look_alikes.jpg").shape[2] == 3
    page = (tmp_path / "look_alikes.html").read_text()
    assert "<img src=x" not in page and "&lt;img src=x" in page


def test_search_says_what_it_was_asked_wrongly(folder, tmp_path, monkeypatch, capsys):
    Index(Brightness(), tmp_path / "a.index").add([folder])
    monkeypatch.chdir(tmp_path)
    search = ["search", str(folder / "red.png"), "--index", str(tmp_path / "a.index")]
    with pytest.raises(SystemExit):
        command_line.main([*search, "--top", "0"])
    assert "whole number of at least 1, received 0" in capsys.readouterr().err
    assert command_line.main([*search, "--not", "nopedir"]) == 0
    assert "nopedir: no such file" in capsys.readouterr().err
    assert command_line.main([*search, "--not", str(folder)]) == 1
    assert "but those left out" in capsys.readouterr().err


def bad_model(folder):
    (folder / "bad.keras").write_bytes(b"half a model")
    return folder / "bad.keras"


def test_a_mistyped_model_or_folder_leaves_no_index_and_loses_none(folder, tmp_path, capsys):
    path = tmp_path / "new" / "a.index"
    wrong = [
        ([folder, "--model", "resnet5"], "Unknown backbone 'resnet5'"),
        ([folder, "--model", bad_model(tmp_path)], "bad.keras: cannot be read as a model"),
        ([tmp_path / "nope"], "nope: no such file or folder"),
    ]

    def refused(arguments, message):
        assert command_line.main(["index", "--index", *map(str, [path, *arguments])]) == 1
        assert message in capsys.readouterr().err

    for arguments, message in wrong:
        refused(arguments, message)
        assert not path.exists()
    Index(Brightness(), path).add([folder])
    before = path.read_bytes()
    for arguments, message in wrong:
        refused(arguments, message)
        refused([*arguments, "--fresh"], message)
        assert path.read_bytes() == before


def test_an_index_in_memory_of_no_model_is_refused():
    with pytest.raises(TllError, match="Unknown backbone"):
        Index(Embedder("resnet5"))


def test_a_grid_of_files_that_have_gone_is_gray(tmp_path):
    sheet.write_grid(tmp_path / "grid.jpg", [Match(str(tmp_path / "gone.jpg"), 0.5)])
    assert sheet.images.decode(tmp_path / "grid.jpg")[60, 60] == pytest.approx(200, abs=2)


def test_search_in_the_index_loads_no_keras(folder, tmp_path):
    Index(Brightness(), tmp_path / "a.index").add([folder])
    code = (
        "import sys\nfrom tll_utils.__main__ import main\ncode = main(sys.argv[1:])\n"
        "print(code, sorted({'keras', 'pandas', 'tensorflow'} & set(sys.modules)))"
    )
    arguments = ["search", folder / "red.png", "--index", tmp_path / "a.index"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
