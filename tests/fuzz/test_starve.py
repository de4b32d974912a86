"""Little room, few rights, odd names and clocks: it works, or says which file and what to do."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pytest
from fuzzing import FULL, case

ROOT = Path(__file__).parents[2]
NOBODY = 54_321  # owns what is not ours
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts and changes users")


def tll(*arguments, code=0, limit=None, **options):
    """Runs a command as a user does; returns what it said. It never shows a traceback."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TLL_")}
    environ |= {"PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"} | options.pop("environ", {})
    done = subprocess.run(
        [*options.pop("before", ()), sys.executable, "-m", "tll_utils", *map(str, arguments)],
        env={name: value for name, value in environ.items() if value is not None},
        capture_output=True,
        timeout=240,
        preexec_fn=limit,
        **options,
    )
    said = (done.stdout + done.stderr).decode("utf-8", "backslashreplace")
    assert "Traceback" not in said and done.returncode == code, said[-2000:]
    return said


@pytest.fixture(scope="module")
def folder():
    """A folder that every user can read, which those of pytest are not."""
    path = Path(tempfile.mkdtemp(prefix="starve-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def drawn(folder):
    """A small sample data set."""
    tll("sample", folder / "sample", "--pairs", 20, "--queries", 4)
    return folder / "sample"


@contextlib.contextmanager
def mounted(path, size):
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path])
    if done.returncode:
        pytest.skip("this machine mounts nothing")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@needs_root
def test_a_full_disk_is_named_with_the_file(folder, drawn):
    with case("starved: full disk", seconds=60), mounted(folder / "small", "80k") as small:
        said = tll("sample", small / "sample", "--pairs", 20, code=1)
        assert str(small) in said and "No space left" in said
        assert list(small.iterdir()) == [], "half a data set is left"


@needs_root
def test_a_read_only_data_folder_with_archives_is_read(folder, drawn):
    with case("starved: read-only data", seconds=60), mounted(folder / "fixed", "20m") as fixed:
        for side in ("left", "right"):
            with zipfile.ZipFile(fixed / f"{side}.zip", "w") as archive:
                for place, path in enumerate(sorted((drawn / "train" / side).iterdir())):
                    archive.write(path, f"{side}/{place}.jpg")
        subprocess.run(["mount", "-o", "remount,ro", fixed], check=True)
        said = tll("check", fixed, environ={"TLL_CACHE_DIR": str(folder / "cache")})
        assert "(release)" in said
        assert {path.name for path in fixed.iterdir()} == {"left.zip", "right.zip"}


@needs_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_what_another_user_owns_is_read_and_refused_to_be_written(folder, drawn):
    without_rights = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]  # root as anybody else
    theirs = shutil.copytree(drawn, folder / "theirs")
    for path in [*theirs.rglob("*"), theirs]:
        os.chown(path, NOBODY, NOBODY)
    with case("starved: other owner", seconds=60):
        assert "(sample)" in tll("check", theirs, before=without_rights)
        for command in (["sample", theirs / "new"], ["index", drawn]):
            kept = {"TLL_CACHE_DIR": str(theirs / "cache"), "KERAS_BACKEND": "none"}
            said = tll(*command, before=without_rights, environ=kept, code=1)
            assert str(theirs) in said and "ermission denied" in said


@pytest.mark.parametrize("home", ["/nowhere/at/all", "/proc"])
def test_a_home_that_is_missing_or_read_only_is_no_matter(drawn, home):
    with case("starved: no home", seconds=60):
        assert "(sample)" in tll("check", drawn, environ={"HOME": home})


def test_little_memory_is_enough_to_draw_and_check(folder):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))

    with case("starved: 3 GiB of address space", seconds=60):
        one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        path = folder / "with little"
        tll("sample", path, "--pairs", 20, "--queries", 4, limit=limit, environ=one_thread)
        assert "(sample)" in tll("check", path, limit=limit, environ=one_thread)


@pytest.mark.skipif(not FULL, reason="waits for Keras; make fuzz runs it")
@needs_root
def test_without_a_network_missing_weights_are_named(folder, drawn):
    with case("starved: no network", seconds=200):
        said = tll(
            "run", "--data", drawn, "--out", folder / "out", "--only", "04",
            "--backbones", "vgg16", before=["unshare", "-n"], code=1,
            environ={"KERAS_HOME": str(folder / "keras")},
        )  # fmt: skip
        assert "vgg16_weights" in said and str(folder / "keras" / "models") in said


def test_a_locale_without_utf8_and_odd_names_are_no_matter(folder, drawn):
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    path = folder / "d\u00e4ta of \u0434 \u96ea"
    with case("starved: ASCII locale, odd names", seconds=60):
        for environ in (ascii_alone, {}):
            name = path.with_name(path.name + str(len(environ)))
            tll("sample", name, "--pairs", 20, "--queries", 4, environ=dict(environ))
            assert "(sample)" in tll("check", name, environ=dict(environ))
            lines = (name / "test_candidates.csv").read_text().splitlines()
            scores = [line.split(",")[0] + ",0.5" * line.count(",") for line in lines[1:]]
            (name / "mine \u00fc.csv").write_text("\n".join([lines[0], *scores]))
            said = tll("validate", name / "mine \u00fc.csv", "--data", name, environ=dict(environ))
            assert "a valid submission, 4 queries" in said


def test_data_behind_a_link_are_those_of_the_folder(folder, drawn):
    (folder / "link").symlink_to(drawn, target_is_directory=True)
    with case("starved: link", seconds=60):
        assert "pairs                 20" in tll("check", folder / "link")
        said = tll("sample", folder / "link", "--pairs", 20, "--queries", 4)
        assert "drawn" in said and (folder / "link" / "train.csv").is_file()


def test_a_clock_that_was_set_back_is_no_matter(folder, drawn):
    copy = shutil.copytree(drawn, folder / "from tomorrow")
    tomorrow = time.time() + 86_400
    for path in [*copy.rglob("*"), copy]:
        os.utime(path, (tomorrow, tomorrow))
    with case("starved: clock set back", seconds=60):
        cache = {"TLL_CACHE_DIR": str(folder / "cache")}
        assert tll("check", copy, environ=cache) == tll("check", copy, environ=dict(cache))
        tll("sample", copy, "--pairs", 20, "--queries", 4)


def test_one_core_draws_the_same_bytes_as_all(folder, drawn):
    def limit():
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    with case("starved: one core", seconds=60):
        tll("sample", folder / "one", "--pairs", 20, "--queries", 4, limit=limit)
        for path in drawn.rglob("*.*"):
            assert path.read_bytes() == (folder / "one" / path.relative_to(drawn)).read_bytes()
