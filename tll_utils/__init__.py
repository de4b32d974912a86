"""Human image similarity on Totally Looks Like: data, models, losses and honest scoring.

`import tll_utils as tll` costs nothing: what it names is loaded when it is first used.

The layers and losses of saved models register with Keras as soon as Keras and this package are
both imported, in either order. So `keras.saving.load_model(path)`, safe mode included, reads a
model of ours after `import tll_utils`; `tll.load_model(path)` does the same in one step.
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    import keras

__version__ = "0.2.0"

# Short names of what a notebook needs: where each is defined. A name without a colon is a module.
_FACE = {
    "start": "run:start",
    "Model": "training:Model",
    "Views": "features:Views",
    "encode": "features:encode",
    "data": "data",
    "sample": "data.sample",
    "images": "images",
    "generators": "generators",
    "layers": "layers",
    "losses": "losses",
    "mining": "mining",
    "features": "features",
    "backbones": "features.backbones",
    "descriptors": "features.descriptors",
    "transforms": "features.transforms",
    "training": "training",
    "scoring": "scoring",
    "ensemble": "scoring.ensemble",
    "plots": "plots",
    "Embedder": "tools.embedder:Embedder",
    "Index": "tools.index:Index",
}

__all__ = ["__version__", "load_model", *_FACE]


def __getattr__(name: str) -> Any:
    """Loads a name of the face when it is first used (PEP 562)."""
    if name not in _FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _FACE[name].partition(":")
    value: Any = importlib.import_module(f"{__name__}.{module}")
    if attribute:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_model(path: str | os.PathLike[str]) -> keras.Model:
    """Reads a `.keras` model with this package's layers and losses, in safe mode.

    Args:
        path: A file that `model.save` or `run.record` wrote.

    Returns:
        The model.
    """
    import keras

    return keras.saving.load_model(path, safe_mode=True)


def _register() -> None:
    for module in ("layers", "losses"):
        importlib.import_module(f"{__name__}.{module}")


class _WhenKerasLoads(importlib.abc.MetaPathFinder):
    """Loads Keras quietly, and registers our parts once it is there.

    Keras finds custom objects in a registry of its own only; the other way to fill it in time
    would be to import Keras here, and three seconds of TensorFlow for `tll --help`.
    """

    def find_spec(
        self, name: str, path: object = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = functools.partial(_load_quietly, spec.loader.exec_module)
            spec.loader.exec_module = load  # type: ignore[method-assign]
        return spec


def _load_quietly(load: Callable[[ModuleType], None], module: ModuleType) -> None:
    from tll_utils import quiet

    # What comes with Keras stays. Not searched for garbage while it comes, it is there a sixth
    # sooner; nor ever again, it lets the collector come by soon enough for models that are done
    # with: they are cycles, and hold large arrays.
    watched = gc.isenabled()
    gc.disable()
    try:
        with quiet.silence():
            load(module)
        _register()
    finally:
        gc.freeze()
        if watched:
            gc.enable()


if "keras" in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, _WhenKerasLoads())
