"""Operators in words, from their declarations: what `caffe2py ops` and the reference say."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from caffe2py.errors import Error
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.gradient import (
    Gradient,
    GradientSlice,
    NoGradient,
    NotDifferentiable,
    TextRule,
    gradient_name,
)
from caffe2py.registry.operator import Operator
from caffe2py.registry.schema import Arg, Schema, Slot

__all__ = [
    "EXTENSION",
    "backward_types",
    "default_text",
    "devices",
    "family",
    "gradient_text",
    "gradient_word",
    "pairs_text",
    "paragraphs",
    "signature",
    "slot_text",
]

#: The family of operators that come from outside of the package.
EXTENSION = "extension"

#: Where the built-in families are; named by path, for only `core` may import them.
_OPS = Path(__file__).parents[1] / "ops"

_UNCLEAR = "depends on how the operator is used"


def family(operator: Operator) -> str:
    """The module of `caffe2py.ops` that declares it; EXTENSION for one from elsewhere."""
    file = Path(operator.where.rpartition(":")[0])
    if not file.is_relative_to(_OPS):
        return EXTENSION
    return file.relative_to(_OPS).parts[0].removesuffix(".py")


def devices(operator: Operator) -> str:
    """Where it runs, with the engines that it has beside the default one."""
    kinds = sorted({device for device, _ in operator.kernels})
    texts = []
    for kind in kinds:
        engines = sorted(engine for device, engine in operator.kernels if device == kind and engine)
        texts.append(f"{kind} (engines: {', '.join(engines)})" if engines else kind)
    return ", ".join(texts)


def slot_text(slot: Slot) -> str:
    """An input or output as it is declared: "X", "bias?", "inputs+"."""
    mark = "" if not slot.optional else "?"
    return f"{slot.name}{('*' if slot.optional else '+') if slot.variadic else mark}"


def signature(schema: Schema) -> str:
    """The declaration in a line: Conv(X, filter, bias?) -> Y."""
    inputs, outputs = (
        ", ".join(map(slot_text, slots)) for slots in (schema.inputs, schema.outputs)
    )
    return f"{schema.name}({inputs}) -> {outputs}".rstrip()


def default_text(arg: Arg) -> str:
    """The default of an argument, "required" or "none"."""
    if arg.required:
        return "required"
    return "none" if arg.default is None else repr(arg.default)


def pairs_text(schema: Schema) -> str:
    """Which outputs may be the same blob as which inputs, "no" if none."""
    forced = [f"input {i} as output {o} (always)" for i, o in schema.enforced.items()]
    free = [
        f"input {i} as output {o}" for i, o in schema.inplace_pairs() if schema.enforced.get(i) != o
    ]
    return ", ".join([*forced, *free]) or "no"


def paragraphs(text: str, width: int = 100) -> list[str]:
    """The paragraphs of a description, each in lines of at most `width` characters."""
    parts = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    return [
        textwrap.fill(part, width, break_long_words=False, break_on_hyphens=False)
        for part in parts
        if part
    ]


# ---------------------------------------------------------------- gradients


def gradient_word(operator: Operator) -> str:
    """One of "yes", "no" (an error) or "stops" (the backward pass ends there)."""
    if isinstance(operator.gradient, NotDifferentiable):
        return "no"
    return "stops" if isinstance(operator.gradient, NoGradient) else "yes"


def gradient_text(operator: Operator) -> str:
    """The gradient rule; of a rule that is a function, what it gives where all inputs are used."""
    rule = operator.gradient
    if isinstance(rule, NotDifferentiable):
        return f"none: {rule.reason}"
    if isinstance(rule, NoGradient):
        return f"the backward pass ends here: {rule.reason}"
    if isinstance(rule, TextRule):
        lines = (line.strip() for line in rule.text.splitlines())
        return "; ".join(line for line in lines if line)
    used = _full_use(operator)
    made = _ask(operator, used)
    steps = _steps(operator.schema, used, made) if made else []
    return f"{'; '.join(steps)} (where all inputs are used)" if steps else _UNCLEAR


def backward_types(operator: Operator) -> list[str]:
    """The types of the operators that its gradient consists of, as far as the rule tells."""
    if isinstance(operator.gradient, TextRule):
        return operator.gradient.operator_types
    if isinstance(operator.gradient, NoGradient | NotDifferentiable):
        return []
    made = _ask(operator, _full_use(operator))
    return [op.type for op in made.ops] if made else []


def _full_use(operator: Operator) -> OperatorDef:
    """A use with all inputs and outputs, under their own names, and required arguments as 0."""
    schema = operator.schema
    outputs = [slot.name for slot in schema.outputs]
    for i, o in schema.enforced.items():
        outputs[o] = schema.inputs[i].name
    op = OperatorDef(type=schema.name, input=[slot.name for slot in schema.inputs], output=outputs)
    for name, arg in schema.args.items():
        if arg.required and arg.types[0] in (int, bool):
            op.arg.add(name=name, i=0)
    return op


def _ask(operator: Operator, op: OperatorDef) -> Gradient | None:
    """What the rule answers; None where it wants to know more than names."""
    try:
        return operator.gradient_of(op, [f"d{name}" for name in op.output])
    except (Error, LookupError, TypeError, ValueError):
        return None


def _steps(schema: Schema, op: OperatorDef, gradient: Gradient) -> list[str]:
    """The backward operators in the form of text rules, with dX for the gradient of X."""
    slots = {gradient_name(slot.name): f"d{slot.name}" for slot in schema.inputs}

    def named(blob: str) -> str:
        for long, short in slots.items():
            if blob == long or blob.startswith(f"{long}_"):
                return short + blob.removeprefix(long)
        return blob

    def listed(blobs: Sequence[str]) -> str:
        return ", ".join(map(named, blobs))

    steps = [f"{back.type}({listed(back.input)}) -> {listed(back.output)}" for back in gradient.ops]
    made = {blob for back in gradient.ops for blob in back.output}
    for blob, grad in zip(op.input, gradient.input_grads, strict=True):
        if isinstance(grad, GradientSlice):
            steps.append(f"d{blob} = slice({listed([grad.indices, grad.values])})")
        elif grad is not None and grad not in made:
            steps.append(f"d{blob} = {named(grad)}")
    return steps
