"""The backward operators of one operator: from its declaration, or from a user's function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from caffe2py.errors import (
    ArgumentError,
    Error,
    NetError,
    NoGradientError,
    SchemaError,
    UnknownOperatorError,
    UsageError,
)
from caffe2py.graph.early import checks_early
from caffe2py.graph.reference import BlobReference
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.gradient import Gradient, GradientRef, GradientSlice, NamesBlobs
from caffe2py.registry.operator import Operator, find, lookup, provide, verify

#: `(op, output gradients) -> backward operators, input gradients`, written by a user.
Maker = Callable[[OperatorDef, list[Any]], Any]

#: Operator type -> what makes its gradient where the declaration has none.
MAKERS: dict[str, Maker] = {}

#: Marks the outputs of an operator in place, so that a rule's text tells X before from X after.
_AFTER = "\0after"


def as_gradient(value: Any, what: str) -> GradientRef:
    """A gradient given by a caller: None, a name, a BlobReference or a GradientSlice of such.

    A name of two characters is a name. (Caffe2 takes it for indices and values.)
    """
    if value is None:
        return None
    if isinstance(value, GradientSlice):
        return GradientSlice(_name(value.indices, what), _name(value.values, what))
    return _name(value, what)


def _name(value: Any, what: str) -> str:
    if isinstance(value, str | bytes | BlobReference):
        return str(BlobReference(value))
    raise UsageError(f"{what}: expected a blob or a GradientSlice, found {value!r:.80}")


def names_of(gradient: GradientRef) -> tuple[str, ...]:
    """The blobs that a gradient consists of."""
    if gradient is None:
        return ()
    return tuple(gradient) if isinstance(gradient, GradientSlice) else (gradient,)


def gradient_of(op: OperatorDef, output_grads: Sequence[GradientRef]) -> Gradient:
    """The backward operators of `op`, and the gradients of its inputs.

    The operator's declaration comes first, a function from `MAKERS` second. Raises NoGradientError
    where there is neither, UnknownOperatorError for an operator that nobody declared, and NetError
    where the operator overwrites, in place, what its gradient reads.
    """
    maker = MAKERS.get(op.type)
    if not checks_early():
        _check(op)
    try:
        return _declared(lookup(op.type), op, output_grads)
    except (NoGradientError, UnknownOperatorError):
        if maker is None:
            raise
    return _read(op, maker(op, list(output_grads)))


provide("gradient of operators", lambda: gradient_of)


def _check(op: OperatorDef) -> None:
    if find(op.type) is None:
        return
    try:
        verify(op)
    except ArgumentError:
        return  # the rule may not need it
    except SchemaError as error:
        raise type(error)(f"{op.type} contradicts its schema: {error}") from None


def _declared(operator: Operator, op: OperatorDef, output_grads: Sequence[GradientRef]) -> Gradient:
    enforced = {op.output[o] for o in operator.schema.enforced.values() if o < len(op.output)}
    shared = set(op.input) & set(op.output) - enforced
    if not shared or isinstance(operator.gradient, NamesBlobs):
        return operator.gradient_of(op, output_grads)
    marked = OperatorDef()
    marked.CopyFrom(op)
    marked.output[:] = [name + _AFTER if name in shared else name for name in op.output]
    try:
        found = operator.gradient_of(marked, output_grads)
    except Error as error:
        error.args = tuple(str(text).replace(_AFTER, "") for text in error.args)
        raise
    known = {name for grad in output_grads for name in names_of(grad)}
    for backward in found.ops:
        for name in backward.input:
            if name in shared and name not in found.shapes and name not in known:
                raise NetError(
                    f"the operator overwrites '{name}' in place, but its gradient {backward.type} "
                    "reads what was in it before",
                    hint="another name for the output",
                )
        backward.input[:] = [name.replace(_AFTER, "") for name in backward.input]
        backward.output[:] = [name.replace(_AFTER, "") for name in backward.output]
        known.update(backward.output)
    return found


def _read(op: OperatorDef, answer: Any) -> Gradient:
    """What a user's function returned: operators (one, several, None) and input gradients."""
    try:
        made, given = answer
    except (TypeError, ValueError):
        raise UsageError(
            "the gradient function must return (backward operators, input gradients), "
            f"found {answer!r:.80}"
        ) from None
    ops: Iterable[OperatorDef] = [made] if isinstance(made, OperatorDef) else made or ()
    single = isinstance(given, str | bytes | BlobReference | GradientSlice)
    values = [given] if single else list(given or ())
    if len(values) > len(op.input):
        raise UsageError(
            f"the gradient function returned {len(values)} input gradients "
            f"for {len(op.input)} inputs"
        )
    grads = [as_gradient(value, f"gradient of input {k}") for k, value in enumerate(values)]
    return Gradient(tuple(ops), (*grads, *[None] * (len(op.input) - len(grads))))
