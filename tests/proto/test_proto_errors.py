"""The tree of exceptions."""

import pickle
import re

import pytest

from caffe2py import errors
from caffe2py.errors import ArityError, Error, MissingBlobError, SchemaError

CLASSES = [getattr(errors, name) for name in errors.__all__]


def test_exit_codes():
    codes = {cls.__name__: cls.exit_code for cls in CLASSES}
    assert codes == {
        "Error": 1,
        "ModelFormatError": 3,
        "SchemaError": 3,
        "ArityError": 3,
        "ArgumentError": 3,
        "InplaceError": 3,
        "NetError": 3,
        "UnknownOperatorError": 4,
        "UnsupportedError": 4,
        "TrustError": 4,
        "NoGradientError": 4,
        "DeviceError": 4,
        "MissingBlobError": 1,
        "BlobTypeError": 1,
        "ShapeError": 1,
        "DTypeError": 1,
        "ValueRangeError": 1,
        "KernelError": 1,
        "MemoryBudgetError": 5,
        "FileError": 5,
        "RegistrationError": 1,
        "UsageError": 2,
    }


def test_the_drawn_tree_is_the_real_one():
    drawn = dict(re.findall(r"(\w+Error)\s+(?:\(RuntimeError\)\s+)?(\d)  ", errors.__doc__))
    real = {cls.__name__: str(cls.exit_code) for cls in CLASSES if cls is not Error}
    assert drawn == real


@pytest.mark.parametrize("cls", CLASSES)
def test_old_code_catches_it(cls):
    assert issubclass(cls, Error)
    assert issubclass(cls, RuntimeError)
    assert not issubclass(cls, KeyError)
    assert cls.__doc__


def test_families():
    subclasses = {cls.__name__ for cls in SchemaError.__subclasses__()}
    assert subclasses == {"ArityError", "ArgumentError", "InplaceError"}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Error("m"), "m"),
        (Error("m", where="w"), "w: m"),
        (Error("m", hint="h"), "m (try: h)"),
        (Error("m", where="w", hint="h"), "w: m (try: h)"),
        (Error("m").with_where("in").with_where("out"), "out: in: m"),
        (Error(), ""),
    ],
)
def test_printing(error, text):
    assert str(error) == text


def test_with_where_returns_the_error():
    error = ArityError("m")
    assert error.with_where("w") is error
    assert error.where == "w"


def test_errors_travel_between_processes():
    error = MissingBlobError("m", where="w", hint="h")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is MissingBlobError
    assert str(again) == str(error)
