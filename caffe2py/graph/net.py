"""Net: a NetDef that grows by calls such as `net.FC([x, w, b], "y")`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from caffe2py.errors import Error, NetError, UsageError
from caffe2py.graph.backward import backward_pass
from caffe2py.graph.constants import constant_fill
from caffe2py.graph.early import checks_early
from caffe2py.graph.gradients import GradientMap, check_losses, losses, references
from caffe2py.graph.lines import Line, Lines, user_line
from caffe2py.graph.naming import BlobNames, unique_net_name
from caffe2py.graph.operators import CreateOperator, operator_label, unknown_method
from caffe2py.graph.paths import detour_position, part, reroute
from caffe2py.graph.python import python_token
from caffe2py.graph.records import Records, blobs_of
from caffe2py.graph.reference import BlobReference, ScopedBlobReference, ScopedName, blob_names
from caffe2py.graph.svg import net_svg
from caffe2py.graph.versions import Forward
from caffe2py.proto.analysis import rename_blobs
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import PROTO_CUDA, DeviceOption, NetDef, OperatorDef
from caffe2py.registry.gradient import GradientSlice
from caffe2py.registry.operator import find, lookup, registered, verify

#: Operators of a net that Jupyter shows as a picture.
_MOST_DRAWN = 1000


class DuplicateError(NetError, AssertionError):
    """An external input is declared twice."""


class Net(Records):
    """A NetDef under construction.

    `net.Relu(x, "y")` adds an operator, checks it against its declaration and returns references to
    its outputs: one, a tuple of several, None for none. `outputs` are names, or their number, or
    left out for one output with an automatic name. Blobs that nobody made before become external
    inputs. The name is made unique in this process: "net", "net_1", ...
    """

    def __init__(self, name_or_proto: str | bytes | NetDef | None) -> None:
        self._net = NetDef()
        if isinstance(name_or_proto, NetDef):
            self._net.CopyFrom(name_or_proto)
            name = name_or_proto.name
        elif isinstance(name_or_proto, str | bytes | None):
            name = str(BlobReference(name_or_proto or ""))
        else:
            raise UsageError(f"Net takes a name or a NetDef, found {name_or_proto!r:.80}")
        self._net.name = unique_net_name(name)
        self._names = BlobNames(self._net)
        self._lines = Lines()
        self._attributes: defaultdict[str, list[Any]] = defaultdict(list)

    def Proto(self) -> NetDef:
        """The NetDef itself; changes to it are changes of the net."""
        return self._net

    def Name(self) -> str:
        """The name, unique in this process."""
        return self._net.name

    def __str__(self) -> str:
        return self._net.name

    def __repr__(self) -> str:
        return f"Net({self._net.name!r}, {len(self._net.op)} operators)"

    def _repr_svg_(self) -> str | None:
        """What Jupyter shows: a picture, unless that would be too large to be read."""
        return net_svg(self._net) if len(self._net.op) <= _MOST_DRAWN else None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *registered()})

    def operator_lines(self) -> list[str | None]:
        """For each operator where the user's program created it, "file.py:12", if known."""
        return self._lines.of(self._net.op)

    # ---- operators

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        """What adds an operator of this type."""
        if op_type.startswith("_"):
            raise AttributeError(f"Attribute {op_type} not found.")
        return self.operator_method(op_type)

    def operator_method(self, op_type: str) -> Callable[..., Any]:
        """What adds an operator: `method(inputs, outputs=None, **arguments)`.

        Raises UnknownOperatorError, which is also an AttributeError, with near names.
        """
        if find(op_type) is None:
            raise unknown_method(op_type)

        def build(inputs: Any, outputs: Any = None, **kwargs: Any) -> Any:
            return self._CreateAndAddToSelf(op_type, inputs, outputs, **kwargs)

        build.__name__ = op_type
        build.__doc__ = lookup(op_type).schema.doc
        return build

    def _CreateAndAddToSelf(
        self, op_type: str, inputs: Any, outputs: Any = None, **kwargs: Any
    ) -> Any:
        try:
            names = blob_names(inputs, "input")
            self._refuse_undefined(inputs)
            op = CreateOperator(op_type, inputs, self._outputs(op_type, outputs), **kwargs)
        except Error as error:
            index, name = len(self._net.op), kwargs.get("name", "")
            error.where = operator_label(op_type, name, index, self._net.name)
            raise
        for name in names:
            if not self._names.is_defined(name):
                self._net.external_input.append(name)
        self._extend([op], [user_line()])
        made = tuple(BlobReference(name, self) for name in op.output)
        return made if len(made) > 1 else made[0] if made else None

    def _outputs(self, op_type: str, outputs: Any) -> Any:
        if outputs is None and not lookup(op_type).schema.outputs:
            return []
        if outputs is None:
            return [self.NextName(op_type)]
        if isinstance(outputs, int):
            return [self.NextName(op_type, k) for k in range(outputs)]
        return outputs

    def _refuse_undefined(self, inputs: Any) -> None:
        """A reference of this very net that nothing defines was made by hand or out of turn."""
        for blob in inputs if isinstance(inputs, list | tuple) else [inputs]:
            if not isinstance(blob, BlobReference) or blob.Net() is not self:
                continue
            if not self._names.is_defined(str(blob)):
                raise NetError(
                    f"input '{blob}' is a blob of this net, but nothing in the net makes it yet",
                    hint=f"net.AddExternalInput({str(blob)!r})",
                )

    def _extend(self, ops: Sequence[OperatorDef], lines: Iterable[str | None]) -> None:
        self._net.op.extend(ops)
        self._lines.add(ops, lines)

    def extend_ops(self, new_ops: Iterable[OperatorDef]) -> None:
        """Append operators that exist, checking each; external inputs stay as they are."""
        ops = list(new_ops)
        self._append(ops, [user_line()] * len(ops))

    def _append(self, ops: Sequence[OperatorDef], lines: Iterable[str | None]) -> None:
        for index, op in enumerate(ops, len(self._net.op)):
            if not checks_early():
                break
            try:
                verify(op)
            except Error as error:
                where = operator_label(op.type, op.name, index, self._net.name)
                raise error.with_where(where) from None
        self._extend(ops, lines)

    def AddGradientOperators(self, ys: Any, skip: int = 0) -> GradientMap:
        """Append the backward operators for `ys`; returns the gradient of each blob.

        `ys` is a list of losses, or a dict: loss -> its gradient, a blob or GradientSlice, or None
        for all ones. The first `skip` operators are left out of it. Keys of the answer are
        references to blobs, values references to their gradients, or GradientSlices.

        Raises NetError for a loss that the net does not make, and for a net in which a blob that
        the gradient reads is overwritten before; DTypeError for a loss that is not a float;
        NoGradientError where the gradient has to pass an operator that has none.
        """
        wanted = losses(ys)
        check_losses(self._net, wanted, ys)
        operators = list(self._net.op)[skip:]
        first = len(self._net.op) - len(operators)
        forward = Forward(operators, self._net.name, first, self.operator_lines()[first:])
        made = backward_pass(forward, wanted)
        here = user_line()
        lines = [here if s is None else forward.line(s) for s in made.sources]
        self._append(made.operators, lines)
        return references(made)

    def Python(
        self,
        f: Any,
        grad_f: Any = None,
        python_func_type: Any = None,
        pass_workspace: bool = False,
        grad_output_indices: Iterable[int] | None = None,
        grad_input_indices: Iterable[int] | None = None,
    ) -> Callable[..., Any]:
        """What adds an operator that calls `f(inputs, outputs)`: `net.Python(f)(["x"], ["y"])`.

        As `CreatePythonOperator`; `f` and `grad_f` may be tuples (builder, args, kwargs) too, whose
        builder makes the function anew for every net that is created.
        """
        token = python_token(f, grad_f, python_func_type, pass_workspace, build=True)

        def add(inputs: Any, outputs: Any = None, **kwargs: Any) -> Any:
            return self._CreateAndAddToSelf(
                "Python",
                inputs,
                outputs,
                grad_output_indices=list(grad_output_indices or ()),
                grad_input_indices=list(grad_input_indices or ()),
                token=token,
                **kwargs,
            )

        return add

    def Const(self, array: Any, blob_out: Any = None, dtype: Any = None) -> BlobReference:
        """A blob that holds these values: a filler operator of the kind that their type needs."""
        op_type, args = constant_fill(array, dtype)
        outputs = 1 if blob_out is None else blob_out
        made: BlobReference = self._CreateAndAddToSelf(op_type, [], outputs, **args)
        return made

    # ---- names

    def NextName(self, prefix: str | None = None, output_id: int | None = None) -> str:
        """A free name, "net/prefix" or "net_blob_0"; not reserved."""
        return self._names.next_name(prefix, output_id)

    def NextBlob(self, prefix: str = "unnamed") -> BlobReference:
        """A reference with a name that is free, and given out only once; outside all scopes."""
        return BlobReference(self._names.reserve(prefix))

    def NextScopedBlob(self, prefix: str = "unnamed") -> BlobReference:
        """As NextBlob, in the current name scope."""
        return BlobReference(self._names.reserve(ScopedName(prefix)))

    def GetBlobRef(self, blob_name: Any) -> BlobReference:
        """A reference to a blob of this net; KeyError if there is no such blob."""
        if not self.BlobIsDefined(blob_name):
            raise KeyError(f"Net does not define blob {blob_name}")
        return BlobReference(blob_name, self)

    def BlobIsDefined(self, blob: Any) -> bool:
        """Whether an operator makes the blob, or it is an external input."""
        return self._names.is_defined(str(BlobReference(blob)))

    def UsesBlob(self, blob: Any) -> bool:
        """Whether an operator reads the blob, or it is an external input."""
        name = str(BlobReference(blob))
        return self._names.is_read(name) or self._names.is_external(name)

    def is_external_input(self, blob: Any) -> bool:
        """Whether the blob is an external input."""
        return self._names.is_external(str(BlobReference(blob)))

    # ---- external blobs

    @property
    def external_inputs(self) -> list[BlobReference]:
        """References to the blobs that come from outside."""
        return [BlobReference(name, self) for name in self._net.external_input]

    @property
    def external_outputs(self) -> list[BlobReference]:
        """References to the blobs that the net declares as its results."""
        return [BlobReference(name, self) for name in self._net.external_output]

    def ExternalInputs(self) -> list[BlobReference]:
        """As `external_inputs`."""
        return self.external_inputs

    def ExternalOutputs(self) -> list[BlobReference]:
        """As `external_outputs`."""
        return self.external_outputs

    def AddExternalInput(self, *inputs: Any) -> Any:
        """Declare blobs, or lists of them, that come from outside; returns one reference or a list.

        A record stands for its blobs. Raises DuplicateError for one that is declared already; then
        none is declared.
        """
        names = [n for i in inputs for n in blobs_of(i)]
        if not names:
            raise UsageError("AddExternalInput needs a blob")
        made = [BlobReference(name, self) for name in names]
        for index, blob in enumerate(made):
            if self._names.is_external(str(blob)) or str(blob) in map(str, made[:index]):
                raise DuplicateError(
                    f"Net already contains an input named {blob}", where=f"net '{self._net.name}'"
                )
        self._net.external_input.extend(str(blob) for blob in made)
        return made if len(made) > 1 else made[0]

    def AddExternalInputs(self, *inputs: Any) -> Any:
        """As AddExternalInput."""
        return self.AddExternalInput(*inputs)

    def AddScopedExternalInputs(self, *inputs: Any) -> list[BlobReference]:
        """As AddExternalInput, in the current name scope; always a list."""
        return [self.AddExternalInput(ScopedBlobReference(name)) for name in inputs]

    def AddExternalOutput(self, *outputs: Any) -> None:
        """Declare blobs as results of the net; NetError for one that is not defined."""
        for blob in map(BlobReference, outputs):
            if not self.BlobIsDefined(blob):
                raise NetError(f"{blob} is not defined", where=f"net '{self._net.name}'")
            self._net.external_output.append(str(blob))

    def AddExternalOutputs(self, *outputs: Any) -> None:
        """As AddExternalOutput."""
        self.AddExternalOutput(*outputs)

    def AddScopedExternalOutputs(self, *outputs: Any) -> None:
        """As AddExternalOutput, in the current name scope."""
        self.AddExternalOutput(*map(ScopedBlobReference, outputs))

    # ---- whole nets

    def AppendNet(self, net: Net, device_option: DeviceOption | None = None) -> Net:
        """Append another net's operators and external blobs; returns this net.

        With a `device_option` all the appended operators get that one.
        """
        source = net.Proto()
        for name in source.external_input:
            if not self._names.is_defined(name):
                self._net.external_input.append(name)
        ops = [_on_device(op, device_option) for op in source.op]
        self._extend(ops, net.operator_lines())
        known = set(self._net.external_output)
        self._net.external_output.extend(o for o in source.external_output if o not in known)
        return self

    def Clone(
        self,
        name: str,
        blob_remap: Mapping[Any, Any] | None = None,
        op_id_mask: Iterable[int] | None = None,
        remap_funcs: Mapping[str, Any] | None = None,
        keep_schema: bool = True,
        update_external_list: bool = False,
    ) -> Net:
        """A copy under another name.

        `blob_remap` renames blobs, in nested nets too; `op_id_mask` lists the operators to keep;
        `update_external_list` derives the external blobs from the operators that are left.
        `keep_schema` copies the records too; `remap_funcs` is accepted and changes nothing.
        """
        proto = NetDef()
        proto.CopyFrom(self._net)
        lines = self.operator_lines()
        if op_id_mask is not None:
            kept = list(op_id_mask)
            ops = [self._net.op[index] for index in kept]
            lines = [lines[index] for index in kept]
            del proto.op[:]
            proto.op.extend(ops)
        rename_blobs(proto, {str(old): str(new) for old, new in (blob_remap or {}).items()})
        if update_external_list:
            _derive_external(proto)
        proto.name = name
        made = Net(proto)
        made._lines.add(made._net.op, lines)
        if keep_schema:
            made.copy_records(self, {str(old): str(new) for old, new in (blob_remap or {}).items()})
        return made

    def ClonePartial(
        self, name: str, inputs: Any, outputs: Sequence[Any], remap_funcs: Any = None
    ) -> tuple[Net, list[BlobReference]]:
        """A copy of what makes `outputs` from `inputs`, and references to its outputs.

        `inputs` are blobs, or a mapping (or list of pairs) from blobs to their names in the copy.
        Blobs from outside keep their names, the others get "<name>/" in front. Raises PathError
        where an input would be made again, NetError for an output that the net does not make.
        """
        for blob in outputs:
            if not self.BlobIsDefined(blob):
                raise NetError(f"{blob} is not defined", where=f"net '{self._net.name}'")
        if not isinstance(inputs, Mapping):
            inputs = dict(x if isinstance(x, tuple) else (x, x) for x in inputs)
        given = {str(old): str(new) for old, new in inputs.items()}
        used, renamed, external = part(self._net, name, given, [str(blob) for blob in outputs])
        made = self.Clone(name, renamed, used, remap_funcs)
        made.Proto().external_input[:] = external
        made.Proto().external_output[:] = [renamed[str(blob)] for blob in outputs]
        return made, [BlobReference(renamed[str(blob)], made) for blob in outputs]

    def reroute_tensor(self, tensor: Any, new_producer: OperatorDef, can_modify: Any = None) -> int:
        """Put an operator that reads `tensor` behind those that make its inputs.

        Its first output takes the place of `tensor` in the operators behind it, or in those of them
        that are in `can_modify`. Returns how many changed; PathError if it does not read `tensor`.
        """
        name = str(tensor)
        self.insert_op_at_idx(new_producer, detour_position(self._net, name, new_producer))
        return reroute(self._net, name, new_producer, can_modify)

    def DeduplicateGradientSlices(self, g: GradientSlice, aggregator: str = "sum") -> GradientSlice:
        """The same sparse gradient with every row named once: rows of one number are added.

        With the aggregator "mean" they are averaged. UsageError for any other.
        """
        operators = {"sum": "UnsortedSegmentSum", "mean": "UnsortedSegmentMean"}
        if aggregator.lower() not in operators:
            raise UsageError(f"aggregator {aggregator!r} is none of {', '.join(operators)}")
        unique, remapping = self.Unique([g.indices], 2, engine="SparseHash")
        add = self.operator_method(operators[aggregator.lower()])
        return GradientSlice(unique, add([g.values, remapping], 1))

    def PopulateProtoWithFileName(self) -> None:
        """Name operators that have no name after where they were created: "file:line:function"."""
        for op, line in zip(self._net.op, self._lines.of(self._net.op), strict=True):
            if isinstance(line, Line) and not op.name:
                op.name = line.full

    def _CheckLookupTables(self) -> None:
        """Accepted: names are looked up in the NetDef."""

    def UsedBlobNames(self) -> set[str]:
        """The names of all blobs of the net."""
        names = set(self._net.external_input)
        for op in self._net.op:
            names.update(op.input, op.output)
        return names

    def insert_op_at_idx(self, op: OperatorDef, op_idx: int) -> None:
        """Put an operator before the one at a position; UsageError for no position."""
        if not 0 <= op_idx <= len(self._net.op):
            raise UsageError(f"{op_idx} is no position among {len(self._net.op)} operators")
        self._net.op.insert(op_idx, op)
        self._names.forget()

    def RunAllOnGPU(self, gpu_id: int = 0, use_cudnn: bool = False) -> None:
        """Let the net run on a CUDA device; operators with a device of their own keep it.

        So do the step nets of RecurrentNetworks.
        """
        option = DeviceOption(device_type=PROTO_CUDA, device_id=gpu_id)
        nets = [self._net]
        for net in nets:
            net.device_option.CopyFrom(option)
            for op in net.op:
                if use_cudnn:
                    op.engine = "CUDNN"
                if op.type == "RecurrentNetwork":
                    nets += [arg.n for arg in op.arg if arg.name == "step_net"]

    def set_rand_seed(
        self, seed: int = 100, sequence_seed: bool = True, seed_on_op_def: bool = False
    ) -> None:
        """Give every operator a random seed: `seed` plus its position, or `seed` for all.

        A seed that depends on the operator (`seed_on_op_def`) is not supported.
        """
        if seed_on_op_def:
            raise UsageError("seed_on_op_def is not supported", hint="sequence_seed=True")
        for index, op in enumerate(self._net.op):
            op.device_option.random_seed = seed + index if sequence_seed else seed

    def AddArgument(self, arg_name: str, arg_value: Any) -> None:
        """Add an argument to the net itself."""
        self._net.arg.append(make_argument(arg_name, arg_value))

    def add_attribute(self, name: str, obj: Any) -> None:
        """Keep an object of the caller's with the net, under a name."""
        self._attributes[name].append(obj)

    def take_attributes(self, other: Net) -> None:
        """Keep what another net keeps, too."""
        for name, values in other._attributes.items():
            self._attributes[name] += values

    def get_attributes(self, name: str) -> list[Any]:
        """The objects that were kept under a name."""
        return list(self._attributes.get(name, []))


def _on_device(op: OperatorDef, option: DeviceOption | None) -> OperatorDef:
    copy = OperatorDef()
    copy.CopyFrom(op)
    if option is not None:
        copy.device_option.CopyFrom(option)
    return copy


def _derive_external(net: NetDef) -> None:
    """External inputs: what is read before it is written. Outputs: what is written, never read."""
    inputs: dict[str, None] = {}
    written: dict[str, None] = {}
    read: set[str] = set()
    for op in net.op:
        inputs.update(dict.fromkeys(name for name in op.input if name not in written))
        read.update(op.input)
        written.update(dict.fromkeys(op.output))
    net.external_input[:] = list(inputs)
    net.external_output[:] = [name for name in written if name not in read]
