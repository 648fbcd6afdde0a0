"""Nets and plans, from files and to files.

What a file holds is told by its bytes, never by its name. That takes some care, for protobuf reads
nearly everything "successfully": what does not fit becomes unknown fields, and a plan can pass for
a net without operator types.
"""

import logging
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from caffe2py.errors import Error, FileError, MemoryBudgetError, ModelFormatError, UsageError
from caffe2py.proto.analysis import MAX_NET_DEPTH, check_depth, nested_nets
from caffe2py.proto.caffe2_pb2 import (
    BlobProto,
    NetDef,
    PlanDef,
    TensorProto,
    TensorProtos,
)
from caffe2py.proto.damage import damage
from caffe2py.proto.text import from_text, to_text

__all__ = [
    "MAX_BYTES",
    "MAX_NAME",
    "MAX_OPERATORS",
    "Source",
    "file_content",
    "read_net",
    "read_net_or_plan",
    "replace_file",
    "write_message",
]

log = logging.getLogger(__name__)

#: What may be read from: a path, the bytes of a file, or a message that is ready.
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | NetDef | PlanDef

_SOURCES = (str, os.PathLike, bytes, bytearray, memoryview, NetDef, PlanDef)

#: Protobuf's limit for one message.
MAX_BYTES = 2**31 - 1
#: Characters in the name of a blob, an operator or an argument.
MAX_NAME = 4096
#: Operators of a net, those of nets inside of operators included.
MAX_OPERATORS = 100_000

_TEXT_SUFFIXES = {".pbtxt", ".prototxt"}

M = TypeVar("M", bound=Message)

# Formats that people take for nets by mistake: how the file begins, what it is, what to try.
_OTHER_FORMATS: list[tuple[bytes, str, str]] = [
    (
        rb"version https://git-lfs",
        "a Git-LFS pointer, which stands for a file that was not fetched",
        "git lfs pull",
    ),
    (
        rb"(?i)\s*<(!doctype|html|head|body|\?xml|!--)",
        "a web page",
        "download the file itself, not the page about it",
    ),
    (rb"\x93NUMPY", "a NumPy array (.npy)", "give it as an input"),
    (rb"PK\x03\x04", "a zip archive (.npz, .pt, .zip)", "unpack it, and give the net inside"),
    (rb"\x1f\x8b", "a gzip archive", "unpack it first"),
    (rb"\xff\xd8\xff", "a JPEG image", "give it as an input"),
    (rb"\x89PNG", "a PNG image", "give it as an input"),
    (rb"GIF8", "a GIF image", "give it as an input"),
    (rb"\x89HDF\r\n", "an HDF5 file", "export the model as a NetDef"),
    (rb"\x80[\x02-\x05][\x8a\x95}\]c(]", "a Python pickle", "export the model as a NetDef"),
    (rb"(?s)....TFL3", "a TensorFlow Lite model", "export the model as a NetDef"),
    (rb"\x08[\x01-\x1f]\x12", "what looks like an ONNX model", "convert it to a NetDef"),
]

# What no text file holds. A binary net or plan always holds others: the tags of
# operators, nets and steps are control characters.
_NO_TEXT = re.compile(rb"[^\t\n\f\r\x20-\x7e\x80-\xff]")

# Top-level fields of Caffe 1 models, as text and (field 100) as binary.
_CAFFE1_FIELDS = ("'layer'", "'layers'", "'input_dim'", "'input_shape'", "'force_backward'")
_CAFFE1_LAYER = 100
_CAFFE1_HINT = "this looks like a Caffe 1 model; convert it first"


def read_net(source: Source, *, allow_empty: bool = False) -> NetDef:
    """The net in a file, in bytes, or given as such.

    A file may be binary or text, whatever its name says. A NetDef is returned as it is, once its
    nesting has been checked; one from a file or bytes has at least one operator unless
    ``allow_empty``, all its names are UTF-8 and at most MAX_NAME characters long.

    Raises FileError where the file cannot be read, ModelFormatError where it holds no net, with
    what was expected, what was found and what to try, and UsageError for another type of source.
    Fields that this version does not know are ignored, with a warning in the log.
    """
    message = _read(source, allow_empty=allow_empty)
    if isinstance(message, PlanDef):
        found = f"a PlanDef with {len(message.network)} nets"
        error = _unexpected(found, hint="read_net_or_plan, or run it as a plan")
        raise error.with_where(_label(source))
    return message


def read_net_or_plan(source: Source) -> NetDef | PlanDef:
    """The net or plan in a file, in bytes, or given as such; otherwise like :func:`read_net`."""
    return _read(source, allow_empty=False)


def write_message(path: str | os.PathLike[str], message: Message) -> None:
    """Write a message: as text where the name ends in .pbtxt or .prototxt, else as binary.

    The file appears in full or not at all; one that was there before stays until then. Raises
    ModelFormatError for a message that could not be read again (nested too deeply, larger than
    MAX_BYTES, too many operators, a name too long, a required field missing), and FileError where
    the file cannot be written.
    """
    target = Path(path)
    try:
        data = _encoded(message, as_text=target.suffix.lower() in _TEXT_SUFFIXES)
    except Error as error:
        error.with_where(str(target))
        raise
    replace_file(target, data)


def _read(source: Source, *, allow_empty: bool) -> NetDef | PlanDef:
    if not isinstance(source, _SOURCES):
        raise UsageError(f"expected a path, bytes or a NetDef, found {type(source).__name__}")
    try:
        if isinstance(source, (NetDef, PlanDef)):
            check_depth(source)
            return source
        message = _parsed(_bytes(source), allow_empty=allow_empty)
        _check(message)
    except Error as error:
        error.with_where(_label(source))
        raise
    _warn_of_unknown_fields(message, _label(source))
    return message


def _label(source: Source) -> str:
    """What error messages call the source."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return "bytes" if isinstance(source, (bytes, bytearray, memoryview)) else "message"


def _bytes(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> bytes:
    if isinstance(source, (str, os.PathLike)):
        return file_content(Path(source))
    return bytes(source)


def file_content(path: Path) -> bytes:
    """The bytes of a plain file of at most MAX_BYTES; FileError where it cannot be read."""
    try:
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            raise FileError("expected a file, found a folder", hint="name a file inside it")
        if not stat.S_ISREG(info.st_mode):
            raise FileError("expected a file, found a device, pipe or socket")
        if info.st_size > MAX_BYTES:
            raise _unexpected(f"{info.st_size} bytes, more than a protobuf message may have")
        return path.read_bytes()
    except FileNotFoundError:
        raise FileError("no such file", hint="check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise FileError(f"cannot be read: {_reason(error)}") from None
    except MemoryError:
        raise MemoryBudgetError("not enough memory to read the file") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _unexpected(found: str, hint: str | None = None) -> ModelFormatError:
    return ModelFormatError(f"expected a NetDef, found {found}", hint=hint)


def _parsed(data: bytes, *, allow_empty: bool) -> NetDef | PlanDef:
    if not data:
        raise _unexpected("nothing (0 bytes)", hint="download or export it again")
    for beginning, what, hint in _OTHER_FORMATS:
        if re.match(beginning, data):
            raise _unexpected(what, hint)
    is_text = _NO_TEXT.search(data) is None
    message = _parsed_text(data) if is_text else _parsed_binary(data)
    if isinstance(message, NetDef) and not message.op and not allow_empty:
        name = f" named '{message.name}'" if message.name else ""
        raise _unexpected(f"a net{name} that holds no operators")
    return message


def _parsed_text(data: bytes) -> NetDef | PlanDef:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unexpected(f"text that is not UTF-8, at byte {error.start}") from None
    try:
        return from_text(text, NetDef)
    except ModelFormatError as error:
        reason = str(error)
    if re.search(r"NetDef has no field '(network|execution_step)'", reason):
        return from_text(text, PlanDef)
    caffe1 = any(f"NetDef has no field {field}" in reason for field in _CAFFE1_FIELDS)
    raise _unexpected(f"text that is none; {reason}", hint=_CAFFE1_HINT if caffe1 else None)


def _parsed_binary(data: bytes) -> NetDef | PlanDef:
    net = _attempt(NetDef, data)
    if net is not None and any(op.type for op in net.op):
        return net
    plan = _attempt(PlanDef, data)
    if plan is not None and _is_plan(plan):
        return plan
    unknown = _unknown_fields(net) if net is not None else []
    if net is not None and not net.op and not unknown and _is_name(net.name or "unnamed"):
        return net  # and an empty one
    found = _other_message(data)
    if found is not None:
        raise _unexpected(found, hint="give it as an input")
    if net is None:
        raise damage(data)
    if _CAFFE1_LAYER in unknown:
        raise _unexpected("a message without operators", hint=_CAFFE1_HINT)
    if net.op:
        raise _unexpected(f"{len(net.op)} operators of which none has a type")
    raise _unexpected("another kind of message: it holds no operators")


def _attempt(message_type: type[M], data: bytes) -> M | None:
    message: M = message_type()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return None
    return message


def _is_plan(plan: PlanDef) -> bool:
    """Whether bytes that were read as a plan make sense as one."""
    if any(_unknown_fields(part) for part in (plan, *plan.network, *plan.execution_step)):
        return False
    typed = any(op.type for net in plan.network for op in net.op)
    return typed or len(plan.execution_step) > 0


def _unknown_fields(message: Message) -> list[int]:
    fields: Any = UnknownFieldSet(message)  # its stub forgets that one can walk over it
    return [field.field_number for field in fields]


def _other_message(data: bytes) -> str | None:
    """Another message of ours that the bytes are, in words; None if none makes sense."""
    blob = _attempt(BlobProto, data)
    if blob is not None and _is_name(blob.type) and not _unknown_fields(blob):
        return f"a saved blob (BlobProto) named '{blob.name}'"
    tensor = _attempt(TensorProto, data)
    if tensor is not None and _is_tensor(tensor):
        return f"a TensorProto of shape {tuple(tensor.dims)}"
    several = _attempt(TensorProtos, data)
    if several is not None and several.protos and all(map(_is_tensor, several.protos)):
        return f"a TensorProtos with {len(several.protos)} tensors"
    return None


def _is_name(text: str | bytes) -> bool:
    """Whether a string was meant as one, and is not another message that was read as a string."""
    return isinstance(text, str) and text != "" and text.isprintable()


def _is_tensor(tensor: TensorProto) -> bool:
    typed = tensor.HasField("data_type") or len(tensor.float_data) > 0
    return typed and not _unknown_fields(tensor)


def _check(message: NetDef | PlanDef) -> None:
    """Refuse what would only fail later, and less clearly.

    That messages do not nest too deeply the parsers have seen to.
    """
    whole: Any = message  # the type stubs lack FindInitializationErrors
    if not whole.IsInitialized():
        missing = ", ".join(whole.FindInitializationErrors()[:3])
        raise ModelFormatError(f"a required field is missing: {missing}")
    for outer in message.network if isinstance(message, PlanDef) else [message]:
        operators = len(outer.op)
        _check_net(outer)
        for net, depth in nested_nets(outer):
            if depth > MAX_NET_DEPTH:
                raise ModelFormatError(f"nets are nested more than {MAX_NET_DEPTH} deep")
            operators += len(net.op)
            _check_net(net)
        if operators > MAX_OPERATORS:
            raise ModelFormatError(f"{operators} operators, and {MAX_OPERATORS} is the limit")


def _check_net(net: NetDef) -> None:
    _check_names([net.name, net.type, *net.external_input, *net.external_output], "net")
    for index, op in enumerate(net.op):
        label = f"operator #{index}"
        if not op.type:
            raise ModelFormatError(f"{label} has no type")
        names = [op.type, op.name, op.engine, op.domain, *op.input, *op.output, *op.control_input]
        names.extend(argument.name for argument in op.arg)
        _check_names(names, label)
        if isinstance(op.debug_info, bytes):
            raise ModelFormatError(f"{label}: its debug_info is not UTF-8")


def _check_names(names: list[str], label: str) -> None:
    for name in names:
        if isinstance(name, bytes):  # how protobuf hands out a string that is not UTF-8
            raise ModelFormatError(f"{label}: the name {name!r:.60} is not UTF-8")
        if len(name) > MAX_NAME:
            raise ModelFormatError(
                f"{label}: a name of {len(name)} characters, and {MAX_NAME} is the limit"
            )


def _warn_of_unknown_fields(message: NetDef | PlanDef, label: str) -> None:
    nets = message.network if isinstance(message, PlanDef) else [message]
    parts = [message, *nets, *(op for net in nets for op in net.op)]
    numbers = sorted({number for part in parts for number in _unknown_fields(part)})
    if numbers:
        log.warning("%s: ignoring unknown fields, numbers %s", label, numbers)


def _encoded(message: Message, *, as_text: bool) -> bytes:
    check_depth(message)
    if isinstance(message, NetDef | PlanDef):
        _check(message)
    if as_text:
        return to_text(message).encode()
    try:
        data: bytes = message.SerializeToString()
    except EncodeError as error:
        raise ModelFormatError(f"cannot be written: {error}") from None
    if len(data) > MAX_BYTES:
        raise ModelFormatError(f"{len(data)} bytes, more than a protobuf message may have")
    return data


def replace_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace a file at once: whoever looks, or a crash, finds the old content or the new.

    Raises FileError where it cannot be written.
    """
    try:
        target = Path(os.path.realpath(path))  # a link stays a link
        scratch = target.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            with scratch.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(target)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = _reason(error)
        raise FileError(f"cannot be written: {reason}", where=os.fspath(path)) from None


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
