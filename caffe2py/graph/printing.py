"""Nets, steps and plans as text that reads like the program that builds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.net import Net
from caffe2py.graph.plan import ExecutionStep, Plan
from caffe2py.proto.caffe2_pb2 import Argument, DeviceOption, NetDef, OperatorDef

_MOST_LETTERS = 64

Value = str | tuple[str, Any]


class Text:
    """Lines of text with an indentation."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._indent = 0

    def add(self, text: str) -> None:
        """Append a line."""
        self.lines.append(" " * self._indent + text)

    @contextmanager
    def context(self, text: str | None) -> Iterator[None]:
        """Lines inside stand under "with text:"; with None as text nothing changes."""
        if text is None:
            yield
            return
        self.add(f"with {text}:")
        count = len(self.lines)
        self._indent += 4
        yield
        if len(self.lines) == count:
            self.add("pass")
        self._indent -= 4

    def __str__(self) -> str:
        return "\n".join(self.lines)


class Printer(Text):
    """Writes nets, operators, steps and plans down: `Printer()(net)`.

    `c2_syntax` writes `net.Relu(['x'], ['y'])`, otherwise `y = Relu(x)`; `factor_prefixes` writes
    `conv[1, 2]` for `conv1, conv2`.
    """

    def __init__(self, factor_prefixes: bool = False, c2_syntax: bool = True) -> None:
        super().__init__()
        self.factor_prefixes = factor_prefixes
        self.c2_syntax = c2_syntax
        self._net_name = ""

    def __call__(self, obj: Any) -> None:
        """Write one thing down; UsageError for what is neither net, operator, step nor plan."""
        if isinstance(obj, Net):
            self._net(obj.Proto())
        elif isinstance(obj, NetDef):
            self._net(obj)
        elif isinstance(obj, OperatorDef):
            self._operator(obj)
        elif isinstance(obj, ExecutionStep):
            self._step(obj)
        elif isinstance(obj, Plan):
            for step in obj.Steps():
                self._step(step)
        elif obj is not None:
            raise UsageError(f"cannot print a {type(obj).__name__}: it is no net, step or plan")

    def _net(self, net: NetDef) -> None:
        if self.c2_syntax:
            self.add(f"{net.name} = core.Net('{net.name}')")
            outer, self._net_name = self._net_name, net.name
        else:
            self.add(f"# net: {net.name}")
        for op in net.op:
            self._operator(op)
        if self.c2_syntax:
            self._net_name = outer

    def _operator(self, op: OperatorDef) -> None:
        args: list[Value] = [(arg.name, _argument(arg)) for arg in op.arg]
        device = format_device_option(op.device_option)
        if device:
            args.append(("device_option", device))
        if self._net_name:
            blobs: list[Value] = [_listed(op.input), _listed(op.output)]
            self.add(call(f"{self._net_name}.{op.type}", [*blobs, *args]))
        else:
            self.add(call(op.type, [*op.input, *args], op.output, self.factor_prefixes))
        for arg in op.arg:
            if arg.HasField("n"):
                with self.context(f"arg: {arg.name}"):
                    self._net(arg.n)

    def _step(self, step: ExecutionStep) -> None:
        proto = step.Proto()
        nets = {net.Name(): net for net in step.Nets()}
        context, named = _step_context(step)
        with self.context(context):
            if proto.report_net:
                with self.context(call("report_net", [str(proto.report_interval)])):
                    self(nets[proto.report_net])
            inner: list[Any] = [*step.Substeps(), *(nets[name] for name in proto.network)]
            for item in inner:
                with self.context(_item_context(item, named)):
                    self(item)
                    if proto.should_stop_blob:
                        self.add(call("yield stop_if", [proto.should_stop_blob]))


def _step_context(step: ExecutionStep) -> tuple[str | None, bool]:
    """What stands around a step, and whether each thing inside it is named."""
    proto, several = step.Proto(), len(step.Substeps()) > 1
    if proto.should_stop_blob:
        return call("loop"), False
    if proto.num_iter and proto.num_iter != 1:
        return call("loop", [str(proto.num_iter)]), False
    if proto.num_concurrent_instances > 1:
        return call("parallel", [("num_instances", proto.num_concurrent_instances)]), several
    if proto.concurrent_substeps and several:
        return call("parallel"), True
    return (call("run_once") if proto.report_net else None), False


def _item_context(item: Any, named: bool) -> str | None:
    proto = item.Proto() if isinstance(item, ExecutionStep) else None
    if proto is not None and proto.run_every_ms:
        return call("reporter", [str(item), ("interval_ms", proto.run_every_ms)])
    if not named:
        return None
    own = proto is not None and proto.create_workspace
    return call("workspace" if own else "step", [str(item)])


def call(
    op: str,
    inputs: Sequence[Value] = (),
    outputs: Sequence[str] = (),
    factor_prefixes: bool = False,
) -> str:
    """A call as text: "y = op(x, key=value)"; pairs among the inputs are named arguments."""
    plain = [value for value in inputs if not isinstance(value, tuple)]
    named = [f"{pair[0]}={pair[1]}" for pair in inputs if isinstance(pair, tuple)]
    first = factor_prefix(plain, factor_prefixes)
    text = f"{op}({', '.join([*([first] if first else []), *named])})"
    return f"{factor_prefix(outputs, factor_prefixes)} = {text}" if outputs else text


def factor_prefix(vals: Sequence[str], do_it: bool) -> str:
    """Texts with commas between them; what they begin with in common is written once."""
    prefix = commonprefix(vals) if do_it and len(vals) > 1 else ""
    joined = ", ".join(str(value)[len(prefix) :] for value in vals)
    return f"{prefix}[{joined}]" if prefix else joined


def commonprefix(m: Sequence[str]) -> str:
    """The longest text that all of them begin with."""
    if not m:
        return ""
    first, last = min(m), max(m)
    for place, letter in enumerate(first):
        if letter != last[place]:
            return first[:place]
    return first


def format_device_option(dev_opt: DeviceOption | None) -> str | None:
    """A device option as text; None for one that says nothing."""
    if not dev_opt or not (dev_opt.device_type or dev_opt.device_id or dev_opt.node_name):
        return None
    parts = [str(dev_opt.device_type), str(dev_opt.device_id), f"'{dev_opt.node_name}'"]
    return call("DeviceOption", parts)


def _listed(names: Sequence[str]) -> str:
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"


def _argument(arg: Argument) -> str:
    if arg.HasField("f"):
        return str(arg.f)
    if arg.HasField("i"):
        return str(arg.i)
    if arg.HasField("s"):
        return _quoted(arg.s)
    if arg.floats or arg.ints:
        return str(list(arg.floats or arg.ints))
    return str([_quoted(text) for text in arg.strings]) if arg.strings else "[]"


def _quoted(value: bytes) -> str:
    text = value.decode("ascii", errors="ignore")
    if len(text) < _MOST_LETTERS:
        return f"'{text}'"
    return f"'{text[:_MOST_LETTERS]}'...<+len={len(text) - _MOST_LETTERS}>"
