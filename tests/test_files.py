"""Files are there whole or not at all, and an unwritable folder is said before long work."""

import errno
import os
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tll_utils import files
from tll_utils.errors import TllError


def test_replacing_gives_the_new_file_only_when_the_block_ends(tmp_path):
    path = tmp_path / "folder" / "a.txt"
    files.write_text(path, "old")
    with files.replacing(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
        assert draft.suffix == ".txt" and draft.parent == path.parent
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_replacing_keeps_the_old_file_when_the_block_fails(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as draft:
        draft.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_replacing_by_several_threads_leaves_one_whole_file(tmp_path):
    path = tmp_path / "a.txt"
    texts = [letter * 100_000 for letter in "abcd"]
    threads = [threading.Thread(target=files.write_text, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert len(list(tmp_path.iterdir())) == 1


def test_replacing_says_what_to_do_when_the_folder_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TllError, match=r"file.a\.txt: cannot be written.*A file stands where"):
        files.write_text(tmp_path / "file" / "a.txt", "")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EROFS, "that you may write to"),
        (errno.ENAMETOOLONG, "another name"),
    ],
)
def test_the_advice_is_that_for_the_error(tmp_path, code, advice):
    with pytest.raises(TllError, match=advice), files.replacing(tmp_path / "a.txt"):
        raise OSError(code, os.strerror(code))


def test_replacing_explains_a_folder_above_that_cannot_be_written(tmp_path):
    with (
        pytest.raises(TllError, match=r"a\.txt: cannot be written.*that you may write to"),
        files.replacing(tmp_path / "theirs" / "new" / "a.txt"),
    ):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "theirs"))


def test_replacing_leaves_errors_about_other_files_alone(tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(FileNotFoundError), files.replacing(tmp_path / "a.txt"):
        missing.read_text()


def test_write_json_is_readable_text(tmp_path):
    files.write_json(tmp_path / "a.json", {"größe": [1, 2]})
    assert "größe" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_sweep_removes_drafts_of_dead_processes_alone(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    mine = files.draft_path(tmp_path / "a.txt")
    dead = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{child.pid}-"))
    elsewhere, ancient = (dead.with_name(f".{n}.0a1b2c3d-7-8.draft.npy") for n in "bc")
    other = tmp_path / ".mine.draft.txt"
    for path in (mine, dead, elsewhere, ancient, other):
        path.write_text("")
    folder = dead.with_suffix("")
    (folder / "inner").mkdir(parents=True)
    os.utime(ancient, (0, 0))
    os.utime(mine, (0, 0))  # a clock that was set back, or a long write
    files.write_text(tmp_path / "any.txt", "")
    assert sorted(tmp_path.iterdir()) == sorted([mine, elsewhere, other, tmp_path / "any.txt"])


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[" * 100_000], ids=["empty", "half", "no UTF-8", "deep"]
)
def test_read_json_calls_all_damage_a_value_error(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError):
        files.read_json(tmp_path / "a.json")


def test_read_arrays_takes_numbers_and_refuses_objects_and_bombs(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(3), b=np.array(["x"]))
    assert files.read_arrays(path)["a"].tolist() == [0, 1, 2]
    assert {n: len(a) for n, a in files.read_arrays(path, only={"b"}).items()} == {"a": 0, "b": 1}
    np.savez(path, a=np.array([print], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        files.read_arrays(path)
    np.savez_compressed(path, a=np.zeros(10_000))
    monkeypatch.setattr(files, "MAX_ARRAY_BYTES", 10_000)
    with pytest.raises(ValueError, match="unpacks to 80"):
        files.read_arrays(path)
    with pytest.raises(FileNotFoundError):
        files.read_arrays(tmp_path / "b.npz")


def test_require_writable_leaves_nothing_behind(tmp_path):
    files.require_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_require_writable_names_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "inner"):
        with pytest.raises(TllError, match=f"^{re.escape(str(folder))}: cannot.*A file stands"):
            files.require_writable(folder)


def test_content_hash_names_the_bytes(tmp_path):
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).write_text(text)
    a, b, c = (files.content_hash(tmp_path / name) for name in "abc")
    assert a == b != c and len(a) == 32


def test_locked_refuses_a_second_process_and_names_the_first(tmp_path):
    code = (
        "import sys; from tll_utils import files\n"
        "with files.locked(sys.argv[1]): print('in', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    other.stdout.readline()
    with (
        pytest.raises(TllError, match=f"process {other.pid} on"),
        files.locked(tmp_path / "out", wait=False),
    ):
        pytest.fail("both are in")
    other.kill()  # who dies lets go of the lock
    other.wait()
    with files.locked(tmp_path / "out", wait=False):
        pass


def test_content_hash_reads_a_file_again_only_if_the_disk_says_it_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SETTLED_SECONDS", -1)
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    before = path.stat()
    first = files.content_hash(path)
    with monkeypatch.context() as unread:
        unread.setattr(files.hashlib, "blake2b", lambda *a, **k: pytest.fail("read again"))
        assert files.content_hash(path) == first
    time.sleep(0.05)  # the clock of a disk is coarse
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert files.content_hash(path) != first


def test_processes_tell_each_other_what_they_have_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SETTLED_SECONDS", -1)
    path, kept = tmp_path / "a.jpg", tmp_path / "out" / "hashes.json"
    path.write_bytes(b"one")
    first = files.content_hash(path)
    with files.hashes_kept(kept):  # also what was read before
        assert files.content_hash(path) == first

    monkeypatch.setattr(files, "_hashes", {})  # another process
    with monkeypatch.context() as unread, files.hashes_kept(kept):
        unread.setattr(files.hashlib, "blake2b", lambda *a, **k: pytest.fail("read again"))
        assert files.content_hash(path) == first

    path.write_bytes(b"another")
    with files.hashes_kept(kept):
        assert files.content_hash(path) != first

    for damaged in ("{half", "[1]", '{"state": 5}'):
        monkeypatch.setattr(files, "_hashes", {})
        kept.write_text(damaged)
        with files.hashes_kept(kept):
            assert files.content_hash(path) != first


def test_content_hash_reads_a_file_again_that_was_just_written(tmp_path):
    hashes = []
    for content in (b"one", b"two"):
        (tmp_path / "a.jpg").write_bytes(content)
        hashes.append(files.content_hash(tmp_path / "a.jpg"))
    assert hashes[0] != hashes[1]
