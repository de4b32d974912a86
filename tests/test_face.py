"""The face: nothing heavy at import, and saved models load in a fresh process."""

import subprocess
import sys

import pytest

import tll_utils as tll


def fresh(code, *arguments):
    """Runs code in a process of its own; gives what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1], done.stderr


def test_import_loads_nothing_heavy_in_a_moment():
    (line,), _ = fresh(
        "import sys, time; start = time.process_time(); import tll_utils\n"
        "seconds = time.process_time() - start\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'pandas', 'cv2', 'matplotlib'}\n"
        "print(seconds < 0.3, sorted(heavy & set(sys.modules)))"
    )
    assert line == "True []"


@pytest.mark.parametrize("name", tll.__all__)
def test_every_name_of_the_face_is_there(name):
    assert getattr(tll, name) is not None
    assert name in dir(tll)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tll.nothing  # noqa: B018


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    import keras

    path = tmp_path_factory.mktemp("model") / "m.keras"
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, tll.layers.Resize((8, 8))(inputs))
    model.compile(loss=tll.losses.ContrastiveLoss(margin=0.5))
    model.save(path)
    return path


@pytest.mark.parametrize(
    "imports",
    [
        "import tll_utils, keras; load = keras.saving.load_model",
        "import keras, tll_utils; load = keras.saving.load_model",
        "import tll_utils; load = tll_utils.load_model",
        "from tll_utils import losses; import keras; load = keras.saving.load_model",
    ],
)
def test_saved_models_load_in_a_fresh_process_whatever_comes_first(saved_model, imports):
    (line,), err = fresh(
        f"{imports}\nimport gc, sys; print(load(sys.argv[1]).output_shape, gc.isenabled())",
        saved_model,
    )
    assert line == "(None, 8, 8, 3) True", "garbage is collected again"
    assert "tensorflow" not in err or imports.startswith("import keras"), "a noisy start"
