"""Nets that must not run: arity, in place, types; trust; operators that end the run."""

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DeviceError,
    DTypeError,
    InplaceError,
    KernelError,
    MissingBlobError,
    NetError,
    ShapeError,
    TrustError,
    UnknownOperatorError,
    UnsupportedError,
    ValueRangeError,
)
from tests.robustness.corpus import FILTER, IMAGE, TEXT, Row, altered, array, one, ones
from tests.toy import net, op


def _device(kind, number=0):
    def change(made):
        made.op[0].device_option.device_type = kind
        made.op[0].device_option.device_id = number

    return altered(one("Relu", "x", "y"), change)


def _twice(made):
    made.op[0].arg.add(name="a", i=1)
    made.op[0].arg.add(name="a", i=2)


def _hidden():
    """An operator that opens a file, in a branch."""
    inner = net(op("Load", "", "y", db="/etc/passwd", db_type="minidb"), name="inner", gives="y")
    return altered(
        one("If", "c", ""), lambda made: made.op[0].arg.add(name="then_net").n.CopyFrom(inner)
    )


ROWS = [
    # arity, in place, shapes, types
    Row(
        "relu two",
        one("Relu", "x w", "y"),
        ArityError,
        "expected 1 input(s) (X), found 2: x, w",
        {"x": ones(2), "w": ones(2)},
    ),
    Row("relu none", one("Relu", "", "y"), ArityError, "expected 1 input(s) (X), found 0: none"),
    Row(
        "fc one",
        one("FC", "x", "y"),
        ArityError,
        "expected 3 input(s) (X, W, b), found 1: x",
        {"x": ones(2, 2)},
    ),
    Row(
        "no output",
        one("Relu", "x", ""),
        ArityError,
        "expected 1 output(s) (Y), found 0: none",
        {"x": ones(2)},
    ),
    Row(
        "inplace matmul",
        one("MatMul", "x x", "x"),
        InplaceError,
        "output 0 'x' is also input 0, and MatMul does not allow that pair in place; allowed:",
        {"x": ones(2, 2)},
    ),
    Row(
        "twice",
        one("Dropout", "x", "y y"),
        InplaceError,
        "two outputs of Dropout are both 'y'",
        {"x": ones(2, 2)},
    ),
    Row(
        "fc shapes",
        one("FC", "x w b", "y"),
        ShapeError,
        "X is (2,3), flattened at axis 1 to K=3; W is (4,5), needs (N,3) when flattened at",
        {"x": ones(2, 3), "w": ones(4, 5), "b": ones(4)},
    ),
    Row(
        "matmul",
        one("MatMul", "x w", "y"),
        ShapeError,
        "A (2,3) has 3 column(s) as a matrix, B (4,5) has 4 row(s) (trans_a=0, trans_b=0)",
        {"x": ones(2, 3), "w": ones(4, 5)},
    ),
    Row(
        "add shapes",
        one("Add", "x w", "y"),
        ShapeError,
        "shapes (2,3) and (4,5) cannot be broadcast together",
        {"x": ones(2, 3), "w": ones(4, 5)},
    ),
    Row(
        "sum shapes",
        one("Sum", "x w", "y"),
        ShapeError,
        "inputs of Sum must have one shape: input 0 is (2,3), input 1 is (3,2)",
        {"x": ones(2, 3), "w": ones(3, 2)},
    ),
    Row(
        "dtype",
        one("Relu", "x", "y"),
        DTypeError,
        "input 0 'X' is int64; supported: float32",
        {"x": array([1, 2], "int64")},
    ),
    Row(
        "dtype text",
        one("Relu", "x", "y"),
        DTypeError,
        "input 0 'X' is string; supported: float32",
        {"x": TEXT},
    ),
    Row(
        "unknown",
        one("Rellu", "x", "y"),
        UnknownOperatorError,
        "'Rellu' is not a Caffe2 operator",
        {"x": ones(2)},
    ),
    Row(
        "known lacking",
        one("Onnxifi", "x", "y"),
        UnknownOperatorError,
        "'Onnxifi' is a Caffe2 operator that caffe2py lacks: it hands a part of the net to a",
        {"x": ones(2)},
    ),
    Row(
        "misspelt",
        one("Conv", "x w", "y", kernel=3, strid=2),
        ArgumentError,
        "Conv has no argument 'strid'; did you mean 'stride'?",
        {"x": IMAGE, "w": FILTER},
    ),
    Row(
        "int for float",
        one("LeakyRelu", "x", "y", alpha="a"),
        ArgumentError,
        "argument 'alpha': expected a float, found a string 'a'",
        {"x": ones(2)},
    ),
    Row(
        "missing blob",
        one("Add", "x w", "y"),
        MissingBlobError,
        "the init net is missing: nothing makes 1 blob(s) besides x: w",
        {"x": ones(2)},
    ),
    # what nets from disk may not do
    Row(
        "trust Python token",
        one("Python", "x", "y", token="t"),
        TrustError,
        "Python calls a Python function, and a net that comes from a file or from bytes is not",
        {"x": ones(1)},
    ),
    Row(
        "trust PythonDLPack token",
        one("PythonDLPack", "x", "y", token="t"),
        TrustError,
        "PythonDLPack calls a Python function, and a net that comes from a file or from bytes is",
        {"x": ones(1)},
    ),
    Row(
        "trust Python pickled_builder",
        one("Python", "x", "y", pickled_builder=b"\x80\x04."),
        TrustError,
        "Python calls a Python function, and a net that comes from a file or from bytes is not",
        {"x": ones(1)},
    ),
    Row(
        "trust PythonGradient token",
        one("PythonGradient", "x", "y", token="t"),
        TrustError,
        "PythonGradient calls a Python function, and a net that comes from a file or from bytes",
        {"x": ones(1)},
    ),
    Row(
        "trust Load db+db_type",
        one("Load", "", "y", db="a", db_type="minidb"),
        TrustError,
        "Load opens files, and a net that comes from a file or from bytes is not trusted",
    ),
    Row(
        "trust Save db+db_type",
        one("Save", "x", "", db="a", db_type="minidb"),
        TrustError,
        "Save opens files, and a net that comes from a file or from bytes is not trusted",
        {"x": ones(1)},
    ),
    Row(
        "trust Checkpoint db+db_type",
        one("Checkpoint", "x", "", db="a", db_type="minidb"),
        TrustError,
        "Checkpoint opens files, and a net that comes from a file or from bytes is not trusted",
        {"x": ones(1)},
    ),
    Row(
        "trust Snapshot db+db_type",
        one("Snapshot", "x", "", db="a", db_type="minidb"),
        TrustError,
        "Snapshot opens files, and a net that comes from a file or from bytes is not trusted",
        {"x": ones(1)},
    ),
    Row(
        "trust CreateDB db+db_type",
        one("CreateDB", "", "y", db="a", db_type="minidb"),
        TrustError,
        "CreateDB opens files, and a net that comes from a file or from bytes is not trusted",
    ),
    Row(
        "trust DBExists db_name+db_type",
        one("DBExists", "", "y", db_name="a", db_type="minidb"),
        TrustError,
        "DBExists opens files, and a net that comes from a file or from bytes is not trusted",
    ),
    Row(
        "trust ImageInput db+db_type+batch_size+crop+scale",
        one("ImageInput", "", "y z", db="a", db_type="minidb", batch_size=1, crop=1, scale=1),
        TrustError,
        "ImageInput opens files, and a net that comes from a file or from bytes is not trusted",
    ),
    Row(
        "trust CreateTextFileReader filename+field_types",
        one("CreateTextFileReader", "", "y", filename="a", field_types=[1]),
        TrustError,
        "CreateTextFileReader opens files, and a net that comes from a file or from bytes is not",
    ),
    Row(
        "trust FileStoreHandlerCreate path",
        one("FileStoreHandlerCreate", "", "y", path="a"),
        TrustError,
        "FileStoreHandlerCreate opens files, and a net that comes from a file or from bytes is",
    ),
    Row(
        "trust Print to_file",
        one("Print", "x", "", to_file=1),
        TrustError,
        "Print opens files, and a net that comes from a file or from bytes is not trusted",
        {"x": ones(1)},
    ),
    Row(
        "trust Summarize to_file",
        one("Summarize", "x", "", to_file=1),
        TrustError,
        "Summarize opens files, and a net that comes from a file or from bytes is not trusted",
        {"x": ones(1)},
    ),
    # operators that end the run
    Row("fatal", one("LogFatal", "", "", message="the end"), KernelError, "the end"),
    Row("throw", one("ThrowException", "", ""), KernelError, "Exception from ThrowExceptionOp"),
    Row("fail", one("Fail", "", ""), KernelError, "Fail fails, always"),
    Row(
        "assert",
        one("Assert", "x", ""),
        ValueRangeError,
        "Assert failed for element 0 of 'x', value: 0",
        {"x": array([False], "bool")},
    ),
    # other things
    Row(
        "an argument twice",
        altered(one("Relu", "x", "y"), _twice),
        ArgumentError,
        "argument 'a' is given twice, with two values",
        {"x": ones(2)},
    ),
    Row("a device there is not", _device(1, 99), DeviceError, "op #0 Relu: ", {"x": ones(2)}),
    Row(
        "a kind of device there is not",
        _device(6),
        UnsupportedError,
        "on the device 'hip:0'",
        {"x": ones(2)},
    ),
    Row(
        "type of net",
        altered(one("Relu", "x", "y"), lambda made: setattr(made, "type", "turbo")),
        NetError,
        "net 'toy' has the type 'turbo'; known: async_dag",
        {"x": ones(2)},
    ),
    Row(
        "a file in a branch",
        _hidden(),
        TrustError,
        "op #0 If: Load opens files",
        {"c": array([True], "bool")},
    ),
]
