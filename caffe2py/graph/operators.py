"""Making one OperatorDef: names, arguments, device; and the check against its declaration."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from caffe2py.errors import Error, UnknownOperatorError, UsageError
from caffe2py.graph.early import checks_early
from caffe2py.graph.reference import blob_names
from caffe2py.graph.scope import CurrentDeviceScope
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import Argument, DeviceOption, OperatorDef
from caffe2py.registry.operator import find, known_caffe2_operators, registered, verify

_NEAR = 5  # names that an unknown one may have meant


class UnknownMethodError(UnknownOperatorError, AttributeError):
    """`net.Foo` or `blob.Foo`, where Foo is neither an attribute nor an operator."""


def unknown_method(op_type: str) -> UnknownMethodError:
    """The error for an attribute that is no operator, with near names."""
    message = f"Method {op_type} is not a registered operator."
    if op_type in known_caffe2_operators():
        message += " It is a Caffe2 operator that caffe2py lacks."
        return UnknownMethodError(message, hint="caffe2py ops --missing")
    lowered = {name.lower(): name for name in registered()}
    near = difflib.get_close_matches(op_type.lower(), lowered, _NEAR)
    return UnknownMethodError(f"{message} Did you mean: [{','.join(lowered[n] for n in near)}]")


def CreateOperator(
    operator_type: str,
    inputs: Any,
    outputs: Any,
    name: str = "",
    control_input: Any = None,
    device_option: DeviceOption | None = None,
    arg: Iterable[Argument] | None = None,
    engine: str | None = None,
    debug_info: str | None = None,
    **kwargs: Any,
) -> OperatorDef:
    """An OperatorDef, checked against the operator's declaration if there is one.

    A type that is not registered (yet) is refused when a net with it is created or differentiated.

    Strings get the current name scope, BlobReferences are taken as they are. Without a
    `device_option` the current device scope's holds. Arguments are `arg`, then `kwargs` in the
    order given; those that are None are left out.

    Raises SchemaError (ArityError, ArgumentError, InplaceError) and UsageError for inputs or
    outputs that are no blobs, all naming the operator.
    """
    try:
        op = OperatorDef(type=operator_type, name=name, engine=engine, debug_info=debug_info)
        op.input.extend(blob_names(inputs, "input"))
        op.output.extend(blob_names(outputs, "output"))
        if control_input is not None:
            op.control_input.extend(blob_names(control_input, "control input"))
        option = CurrentDeviceScope() if device_option is None else device_option
        if option is not None:
            op.device_option.CopyFrom(option)
        op.arg.extend([arg] if isinstance(arg, Argument) else arg or ())
        op.arg.extend(make_argument(k, value) for k, value in kwargs.items() if value is not None)
        # an operator may be registered after its definition
        if checks_early() and find(operator_type) is not None:
            verify(op)
    except UnicodeError as error:
        where = operator_label(ascii(operator_type)[1:-1], ascii(name)[1:-1])
        raise UsageError(f"names must be text in UTF-8: {error}", where=where) from None
    except Error as error:
        raise error.with_where(operator_label(operator_type, name)) from None
    return op


def operator_label(op_type: str, name: str = "", index: int | None = None, net: str = "") -> str:
    """The place of an operator in messages: "net 'n', op #3 FC 'name'"."""
    where = f"net '{net}', " if net else ""
    number = "" if index is None else f"#{index} "
    return f"{where}op {number}{op_type}" + (f" '{name}'" if name else "")
