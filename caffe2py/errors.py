"""What can go wrong, as one tree of exceptions.

The number is the exit status that the command line gives::

    Error (RuntimeError)            1  every failure of this package
    ├── ModelFormatError            3  a file or message cannot be read as what it should be
    ├── SchemaError                 3  an operator in a net contradicts its declaration
    │   ├── ArityError              3    a wrong number of inputs or outputs
    │   ├── ArgumentError           3    an argument is missing, unknown or of a wrong kind
    │   └── InplaceError            3    an output shares its blob with an input, or does not
    ├── NetError                    3  the operators do not make a net together
    ├── UnknownOperatorError        4  no operator has this name
    ├── UnsupportedError            4  known, but not in this installation or on this device
    │   └── TrustError              4    a net from disk wants what it is not trusted with
    ├── NoGradientError             4  a gradient is needed where there is none
    ├── DeviceError                 4  there is no such device, or it failed
    ├── MissingBlobError            1  a blob does not exist
    ├── BlobTypeError               1  a blob holds another kind of thing
    ├── ShapeError                  1  shapes do not fit
    ├── DTypeError                  1  an element type does not fit
    ├── ValueRangeError             1  an index, a length or a value is out of range
    ├── KernelError                 1  a kernel gave up
    ├── MemoryBudgetError           5  more memory than allowed
    ├── FileError                   5  a file is missing, unreadable or unwritable
    ├── RegistrationError           1  an operator is declared wrongly
    └── UsageError                  2  a wrong call or command line

All derive from RuntimeError, so that programs which caught that one still work.
"""

from typing import Self

__all__ = [
    "ArgumentError",
    "ArityError",
    "BlobTypeError",
    "DTypeError",
    "DeviceError",
    "Error",
    "FileError",
    "InplaceError",
    "KernelError",
    "MemoryBudgetError",
    "MissingBlobError",
    "ModelFormatError",
    "NetError",
    "NoGradientError",
    "RegistrationError",
    "SchemaError",
    "ShapeError",
    "TrustError",
    "UnknownOperatorError",
    "UnsupportedError",
    "UsageError",
    "ValueRangeError",
]


class Error(RuntimeError):
    """Base of all failures: a message, where it happened, and what to try.

    Printed as ``where: message (try: hint)``; the parts that are not known are left out.
    """

    exit_code: int = 1

    def __init__(
        self, message: object = "", *, where: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.where = where
        self.hint = hint

    def with_where(self, text: str) -> Self:
        """Say where it happened; an outer place goes before an inner one. Returns self."""
        self.where = text if self.where is None else f"{text}: {self.where}"
        return self

    def __str__(self) -> str:
        text = super().__str__()
        if self.where is not None:
            text = f"{self.where}: {text}"
        if self.hint is not None:
            text = f"{text} (try: {self.hint})"
        return text


class ModelFormatError(Error):
    """A file or message cannot be read as what it should be."""

    exit_code = 3


class SchemaError(Error):
    """An operator in a net contradicts its declaration."""

    exit_code = 3


class ArityError(SchemaError):
    """An operator has a wrong number of inputs or outputs."""


class ArgumentError(SchemaError):
    """An argument is missing, unknown, or of a wrong kind or value."""


class InplaceError(SchemaError):
    """An output shares its blob with an input and must not, or does not and must."""


class NetError(Error):
    """The operators do not make a net: unknown net, output written twice, nested too deeply."""

    exit_code = 3


class UnknownOperatorError(Error):
    """No operator has this name."""

    exit_code = 4


class UnsupportedError(Error):
    """Known, but not available here: no kernel on the device, or an extra is not installed."""

    exit_code = 4


class TrustError(UnsupportedError):
    """A net that comes from disk wants what it is not trusted with: files, Python functions."""


class NoGradientError(Error):
    """A gradient has to pass through an operator that has none."""

    exit_code = 4


class DeviceError(Error):
    """There is no such device, or it failed."""

    exit_code = 4


class MissingBlobError(Error):
    """A blob does not exist in the workspace."""


class BlobTypeError(Error):
    """A blob holds another kind of thing than was asked for."""


class ShapeError(Error):
    """The shapes of the inputs do not fit the operator or each other."""


class DTypeError(Error):
    """An element type that the operator does not take."""


class ValueRangeError(Error):
    """An index, a length or another value in the data is out of range."""


class KernelError(Error):
    """A kernel reported a status that nothing else explains."""


class MemoryBudgetError(Error):
    """More memory was asked for than is allowed or left."""

    exit_code = 5


class FileError(Error):
    """A file is missing, or may not be read or written."""

    exit_code = 5


class RegistrationError(Error):
    """An operator is declared wrongly; its author has to mend it."""


class UsageError(Error):
    """A call or a command line that makes no sense."""

    exit_code = 2
