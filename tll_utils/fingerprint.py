"""What a function does, as text that changes with it: to know whether a stored result still holds.

Notebooks define losses, metrics, augmentations and what a callback calls. Such a function is its
bytecode, the constants and arrays that it uses, and the functions that it calls, unless a library
has them.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sysconfig
import types
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGE = Path(__file__).parent
_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
_CONSTANTS = (bool, int, float, str, type(None))


def of_code(thing: Any) -> str:
    """Describes a function, or the class of an object and the functions that it holds.

    Lists and dicts that a function refers to are left out: they change while it is used.

    Args:
        thing: A function, a method, a `functools.partial`, or any other object.

    Returns:
        Text, empty if all of it belongs to Python or a library.
    """
    return _value(thing, set()) if _is_function(thing) else _object(thing, set())


def of_values(values: Mapping[str, Any]) -> str:
    """Describes plain values and functions, each with its name; whatever else is there is not."""
    return _values(values, set())


def of_own_files(names: Iterable[str]) -> str:
    """Describes modules and folders of this package by what is in their files."""
    digest = hashlib.blake2b(digest_size=8)
    for name in names:
        for path in sorted([*_PACKAGE.glob(f"{name}/*.py"), *_PACKAGE.glob(f"{name}.py")]):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _is_function(thing: Any) -> bool:
    return isinstance(thing, types.FunctionType | types.MethodType | functools.partial)


def _object(thing: Any, seen: set[int]) -> str:
    methods = [m for base in type(thing).__mro__ for m in vars(base).values() if _is_function(m)]
    held = {name: v for name, v in getattr(thing, "__dict__", {}).items() if _is_function(v)}
    return "".join(_value(method, seen) for method in methods) + _values(held, seen)


def _values(values: Mapping[str, Any], seen: set[int]) -> str:
    known = {name: value for name, value in values.items() if value is not None}
    found = {name: _value(value, seen) for name, value in known.items()}
    told = [(name, text) for name, text in found.items() if text]
    return repr(told) if told else ""


def _value(value: Any, seen: set[int]) -> str:
    if isinstance(value, _CONSTANTS):
        return repr(value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        checksum = zlib.crc32(value.tobytes())
        return f"{value.dtype} {value.shape} {checksum:08x}"
    if isinstance(value, tuple):
        return "".join(f"{_value(part, seen)}," for part in value)
    if isinstance(value, functools.partial):
        return _value((value.func, value.args, *sorted(value.keywords.items())), seen)
    if isinstance(value, types.MethodType):
        value = value.__func__
    return _function(value, seen) if isinstance(value, types.FunctionType) else ""


def _function(function: types.FunctionType, seen: set[int]) -> str:
    function = inspect.unwrap(function)
    ours = (function.__module__ or "").split(".")[0] == "tll_utils"
    in_library = not ours and function.__code__.co_filename.startswith(_LIBRARIES)
    if in_library or id(function) in seen:
        return ""
    seen.add(id(function))
    code, names = _bytecode(function.__code__)
    outside = {name: function.__globals__.get(name) for name in sorted(names)}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if cell != types.CellType():  # an empty one, of a name that has no value yet
            outside[name] = cell.cell_contents
    keywords = tuple(sorted((function.__kwdefaults__ or {}).items()))
    return code + _value((function.__defaults__, keywords), seen) + _values(outside, seen)


def _bytecode(code: types.CodeType) -> tuple[str, set[str]]:
    """What it does, and which names it looks up, functions within it included."""
    constants, names = [], set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner, inner_names = _bytecode(constant)
            constants.append(inner)
            names |= inner_names
        else:
            constants.append(_value(constant, set()))
    return repr((code.co_code, code.co_names, constants)), names
