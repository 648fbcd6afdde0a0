"""Running a script as the main program, with `caffe2` meaning this package."""

from __future__ import annotations

import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from caffe2py.compat.alias import install
from caffe2py.errors import FileError

#: Names that NumPy dropped and that scripts of Caffe2's time use.
_NUMPY_NAMES: dict[str, Any] = {
    "int": int,
    "float": float,
    "object": object,
    "str": str,
    "float_": np.float64,
    "unicode_": np.str_,
    "product": np.prod,
    "asscalar": lambda array: array.item(),
    "NaN": np.nan,
    "Inf": np.inf,
}


def run_script(path: str, args: Sequence[str], force: bool = False) -> int:
    """Run a script as `__main__` with these arguments; the exit status, 1 if it failed.

    A failure is shown as Python shows it, from the script's first line on. SystemExit passes.
    Raises FileError for a file that is not there, UsageError if there is a real Caffe2 and not
    `force`.
    """
    script = Path(path)
    if not script.is_file():
        what = "it is a folder" if Path(path).is_dir() else "there is no such file"
        raise FileError(f"{path}: {what}")
    install(force)
    restore_numpy_names()
    before, folders = sys.argv, list(sys.path)
    sys.argv = [path, *args]
    sys.path.insert(0, str(script.resolve().parent))
    try:
        runpy.run_path(path, run_name="__main__")
    except Exception as error:
        sys.stdout.flush()
        traceback.print_exception(type(error), error, _from_script(error.__traceback__, path))
        return 1
    finally:
        sys.argv, sys.path[:] = before, folders
    return 0


def _from_script(trace: TracebackType | None, path: str) -> TracebackType | None:
    """The part of a traceback that begins in the script; None if the script never ran."""
    while trace is not None and trace.tb_frame.f_code.co_filename != path:
        trace = trace.tb_next
    return trace


def restore_numpy_names() -> None:
    """Give NumPy back the names that it dropped: np.int, np.float, ..."""
    for name, value in _NUMPY_NAMES.items():
        if name not in vars(np):
            setattr(np, name, value)
