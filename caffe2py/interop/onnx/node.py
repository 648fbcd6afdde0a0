"""One node of an ONNX graph, with its attributes read by name, type and default."""

from __future__ import annotations

from typing import Any, NoReturn

from caffe2py.errors import ArgumentError, ArityError, UnsupportedError

__all__ = ["Node", "attribute_value"]

#: AttributeProto.type -> the field that holds the value.
_FIELDS = {
    1: "f",
    2: "i",
    3: "s",
    4: "t",
    5: "g",
    6: "floats",
    7: "ints",
    8: "strings",
    9: "tensors",
    10: "graphs",
    11: "sparse_tensor",
    12: "sparse_tensors",
    13: "tp",
    14: "type_protos",
}
_LISTS = ("floats", "ints", "strings", "tensors", "graphs", "sparse_tensors", "type_protos")


def attribute_value(attribute: Any) -> tuple[str, Any]:
    """The field that an attribute uses and its value, lists as lists, strings as text."""
    field = _FIELDS.get(attribute.type)
    if field is None:  # files of the first versions do not say the type
        used = [name for name in _FIELDS.values() if _is_used(attribute, name)]
        if len(used) != 1:
            raise ArgumentError(f"attribute '{attribute.name}' has no type that is known")
        field = used[0]
    value = getattr(attribute, field)
    if field in _LISTS:
        return field, list(value)
    return field, value


def _is_used(attribute: Any, field: str) -> bool:
    return len(getattr(attribute, field)) > 0 if field in _LISTS else attribute.HasField(field)


class Node:
    """A node: `inputs` (None for one that is left out), `outputs` ("" for one left out)."""

    def __init__(self, proto: Any, index: int, opset: int) -> None:
        self.proto = proto
        self.index = index
        self.opset = opset
        self.op_type: str = proto.op_type
        self.inputs: list[str | None] = [name or None for name in proto.input]
        self.outputs: list[str] = list(proto.output)
        while self.outputs and not self.outputs[-1]:
            self.outputs.pop()
        while self.inputs and self.inputs[-1] is None:
            self.inputs.pop()
        self._attributes = {a.name: a for a in proto.attribute}

    @property
    def label(self) -> str:
        """How messages call the node."""
        name = f" '{self.proto.name}'" if self.proto.name else ""
        return f"node #{self.index}{name} ({self.op_type})"

    @property
    def out(self) -> str:
        """The first output; ArityError if there is none."""
        if not self.outputs or not self.outputs[0]:
            raise ArityError("it has no output")
        return self.outputs[0]

    def has_output(self, index: int) -> bool:
        """Whether an output is asked for."""
        return index < len(self.outputs) and self.outputs[index] != ""

    def input(self, index: int) -> str:
        """An input that has to be there; ArityError otherwise."""
        found = self.maybe_input(index)
        if found is None:
            raise ArityError(f"input {index} is missing, it has {len(self.inputs)}")
        return found

    def maybe_input(self, index: int) -> str | None:
        """An input that may be left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def all_inputs(self) -> list[str]:
        """The inputs of a node with any number of them; ArityError if there is none."""
        found = [name for name in self.inputs if name is not None]
        if not found:
            raise ArityError("it has no input")
        return found

    # ---- attributes

    def has(self, name: str) -> bool:
        """Whether an attribute is given."""
        return name in self._attributes

    def _get(self, name: str, field: str) -> Any:
        attribute = self._attributes.get(name)
        if attribute is None:
            return None
        found, value = attribute_value(attribute)
        empty = found in _LISTS and field in _LISTS and not value
        if found != field and not empty:
            raise ArgumentError(f"attribute '{name}': expected field '{field}', found '{found}'")
        return value

    def int(self, name: str, default: int = 0) -> int:
        """An int; ArgumentError for another kind."""
        found = self._get(name, "i")
        return default if found is None else int(found)

    def float(self, name: str, default: float = 0.0) -> float:
        """A float; ArgumentError for another kind."""
        found = self._get(name, "f")
        return default if found is None else float(found)

    def text(self, name: str, default: str = "") -> str:
        """A string; ArgumentError for another kind or bytes that are no text."""
        found = self._get(name, "s")
        if found is None:
            return default
        try:
            return str(found.decode())
        except UnicodeDecodeError:
            raise ArgumentError(f"attribute '{name}' is not UTF-8") from None

    def ints(self, name: str) -> list[Any] | None:
        """A list of ints, None if it is not given."""
        found = self._get(name, "ints")
        return None if found is None else list(found)

    def floats(self, name: str) -> list[Any] | None:
        """A list of floats, None if it is not given."""
        found = self._get(name, "floats")
        return None if found is None else list(found)

    def strings(self, name: str) -> list[Any] | None:
        """A list of bytes, None if it is not given."""
        found = self._get(name, "strings")
        return None if found is None else list(found)

    def tensor(self, name: str) -> Any:
        """A TensorProto, None if it is not given."""
        return self._get(name, "t")

    def graph(self, name: str) -> Any:
        """A GraphProto; ArgumentError if it is not given."""
        found = self._get(name, "g")
        if found is None:
            raise ArgumentError(f"the graph '{name}' is missing")
        return found

    def fail(self, reason: str) -> NoReturn:
        """Say that this node cannot be translated."""
        raise UnsupportedError(reason)
