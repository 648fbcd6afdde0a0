"""A saved model, found by its name: the net that predicts and the net that makes its weights."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from caffe2py.errors import FileError, ModelFormatError, UsageError
from caffe2py.predictor.database import database_type, read_predictor
from caffe2py.proto.analysis import external_inputs, nested_nets, produced, ssa
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef, PlanDef
from caffe2py.proto.files import Source, read_net, read_net_or_plan
from caffe2py.registry.operator import takes_apart
from caffe2py.registry.trust import SAFE, TRUSTED, Trust
from caffe2py.tensor.stored import read_stored_net
from caffe2py.tensor.tensor import Array

__all__ = ["Model", "is_data_like", "load_model", "only_fills", "partners"]

#: Names of net files, in the order of preference where one net is there in several forms.
SUFFIXES = (".pb", ".pbtxt", ".prototxt")
_SHOWN = 8


@dataclass(frozen=True)
class Model:
    """A net to run, and the net that makes its weights.

    `inputs` are the blobs to feed: what the net reads and neither net makes. Exporters also let
    the init net fill an input with a stand-in; if nothing else is left to feed, these are the
    inputs, and `stand_ins` lists them. `outputs` are the declared ones, or what nothing reads.
    `notes` say what looks wrong with the files, for people. `weights` are the floats that the init
    net lacks, if they were asked for apart: by position of the operator, and argument. `trust` is
    what the nets may do.
    """

    predict: NetDef | PlanDef
    init: NetDef | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    stand_ins: tuple[str, ...] = ()
    predict_file: str = ""
    init_file: str = ""
    notes: tuple[str, ...] = ()
    weights: Mapping[tuple[int, str], Array] = field(default_factory=dict, repr=False)
    blobs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    trust: Trust = TRUSTED

    @property
    def nets(self) -> list[NetDef]:
        """The nets that do the work: one, or those of a plan."""
        return list(self.predict.network) if isinstance(self.predict, PlanDef) else [self.predict]

    @property
    def reads(self) -> tuple[str, ...]:
        """Every blob that the nets take from outside: the inputs and the weights."""
        return tuple(dict.fromkeys(name for net in self.nets for name in _reads(net)))

    @property
    def name(self) -> str:
        """The net's name, or that of its file."""
        return self.predict.name or Path(self.predict_file).stem or "net"

    @property
    def data_inputs(self) -> tuple[str, ...]:
        """The inputs that look like data, not like the weights of a missing init net."""
        found = tuple(n for n in self.inputs if any(is_data_like(net, n) for net in self.nets))
        return found or self.inputs

    def require_input(self, name: str) -> None:
        """Raise UsageError, with near names, for a blob that no net takes from outside."""
        if name in self.reads:
            return
        near = difflib.get_close_matches(name, self.reads, 3, 0.6)
        guess = f"; did you mean {' or '.join(near)}?" if near else ""
        inputs = _listed(list(self.data_inputs))
        raise UsageError(f"the model takes no blob '{name}' from outside{guess} (inputs: {inputs})")

    @property
    def missing_weights(self) -> tuple[str, ...]:
        """The inputs that look like weights, so that an init net ought to make them."""
        data = set(self.data_inputs)
        return tuple(n for n in self.inputs if n not in data)


def load_model(
    source: Source,
    init: Source | None = None,
    *,
    apart: bool = False,
    trust: Trust | None = None,
) -> Model:
    """The model in a folder, or the net or plan in a file together with its partner.

    The partner is found by name, as other tools name such pairs: `init_net.*` and `predict_net.*`
    (or `exec_net.*`, also with something in front), `x_init.*` and `x.*`, in binary or text form.
    `init` names it instead. `apart`: the model is to be run and nothing else, so the init net may
    lack its long lists of floats, which are then the model's `weights`.

    `trust` is what the nets may do besides computing: by default nothing, if any of it comes from a
    file or from bytes, and everything if it was built here.

    A minidb or lmdb is read as what predictor_exporter.save_to_db saved.

    Raises FileError where there is nothing to read, ModelFormatError for what is no model or where
    the two files are swapped.
    """
    predict_source, init_source = source, init
    looked_for: list[Path] = []
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        database = database_type(path)
        if database is not None:
            return _saved(os.fspath(path), database, init, trust or SAFE)
        if path.is_dir():
            predict_source, found = _in_folder(path)
            looked_for = partners(predict_source)[1]
        else:
            predict_source, found, looked_for = _with_partner(path, search=init is None)
        init_source = found if init is None else init
    if trust is None:
        built = all(isinstance(s, NetDef | PlanDef | None) for s in (predict_source, init_source))
        trust = TRUSTED if built else SAFE
    predict = read_net_or_plan(predict_source)
    init_net, weights = _read_init(init_source, apart)
    labels = _label(predict_source), _label(init_source)
    if isinstance(predict, NetDef):
        _refuse_swapped(predict, init_net, *labels)
    model = _model(predict, init_net, labels, looked_for)
    return replace(model, weights=weights, trust=trust)


def _saved(path: str, type_: str, init: Source | None, trust: Trust) -> Model:
    """The model in a database."""
    if init is not None:
        raise UsageError(f"'{path}' is a database, which has its own init net", hint="no --init")
    found = read_predictor(path, type_)
    reads = _reads(found.predict)
    made = {*found.blobs, *produced(found.init)}
    inputs = tuple(n for n in reads if n in found.inputs or n not in made)
    outputs = found.outputs or _outputs([found.predict])
    return Model(
        found.predict,
        found.init,
        inputs,
        outputs,
        found.filled,
        path,
        path,
        blobs=found.blobs,
        trust=trust.reading(path, found.path),
    )


def _read_init(
    source: Source | None, apart: bool
) -> tuple[NetDef | None, Mapping[tuple[int, str], Array]]:
    if source is None:
        return None, {}
    if apart:
        return read_stored_net(source, takes_apart, allow_empty=True)
    return read_net(source, allow_empty=True), {}


def partners(path: Path) -> tuple[list[Path], list[Path]]:
    """The files that could be (predict net, init net) to a file of this name, whether there or not.

    One of the lists is empty: the one of the file's own kind.
    """
    stem, suffix = _stem(path.name)
    order = [suffix, *(s for s in SUFFIXES if s != suffix)] if suffix else list(SUFFIXES)

    def named(stems: list[str]) -> list[Path]:
        return [path.with_name(s + e) for s in stems for e in order]

    if _is_init_name(stem):
        return named(_predict_stems(stem)), []
    return [], named(_init_stems(stem))


# ---------------------------------------------------------------- names


def _stem(name: str) -> tuple[str, str]:
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)], name[-len(suffix) :]
    return name, ""


def _is_init_name(stem: str) -> bool:
    return "init_net" in stem or stem.endswith("_init") or stem == "init"


def _init_stems(stem: str) -> list[str]:
    for word in ("predict_net", "exec_net"):
        if word in stem:
            return [stem.replace(word, "init_net")]
    if stem == "predict" or stem.endswith("_predict"):
        return [stem.removesuffix("predict") + "init"]
    return [f"{stem}_init", f"{stem}_init_net"]


def _predict_stems(stem: str) -> list[str]:
    if "init_net" in stem:
        words = [stem.replace("init_net", word) for word in ("predict_net", "exec_net")]
        return [*words, stem.removesuffix("_init_net")]
    base = stem.removesuffix("init").removesuffix("_")
    return [base, f"{base}_predict"] if base else ["predict"]


# ---------------------------------------------------------------- files


def _with_partner(path: Path, *, search: bool) -> tuple[Path, Path | None, list[Path]]:
    """The predict net, the init net if there is one, and the names it was looked for under."""
    if not search:
        return path, None, []
    predict_names, init_names = partners(path)
    for predict in predict_names:
        if predict.is_file() and predict != path and path.is_file():
            return predict, path, []
    for found in init_names:
        if found.is_file():
            return path, found, []
    return path, None, init_names


def _in_folder(folder: Path) -> tuple[Path, Path | None]:
    try:
        names = sorted(p.name for p in folder.iterdir())
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", where=str(folder)) from None
    best: dict[str, Path] = {}  # one file for each net: the preferred form
    for suffix in reversed(SUFFIXES):
        best |= {_stem(n)[0]: folder / n for n in names if n.lower().endswith(suffix)}
    if not best:
        raise ModelFormatError(
            f"no net in this folder ({', '.join(SUFFIXES)}); it holds {_listed(names)}",
            where=str(folder),
            hint="name the file itself",
        )
    return _chosen(folder, best)


def _chosen(folder: Path, best: dict[str, Path]) -> tuple[Path, Path | None]:
    """The predict net among the nets of a folder, and its partner."""
    nets = [stem for stem in best if not _is_init_name(stem)]
    pairs = {s: next((best[i] for i in _init_stems(s) if i in best), None) for s in nets}
    preferred = (
        [s for s in nets if s in ("predict_net", "exec_net")],
        [s for s in nets if pairs[s] is not None],
        nets,
    )
    candidates = next((found for found in preferred if found), [])
    if len(candidates) == 1:
        return best[candidates[0]], pairs[candidates[0]]
    files = _listed([best[s].name for s in (candidates or best)])
    if not candidates:
        raise ModelFormatError(f"only init nets ({files}) and no predict net", where=str(folder))
    raise ModelFormatError(
        f"several nets: {files}", where=str(folder), hint=f"name one: {best[candidates[0]]}"
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) or "nothing"
    return shown if len(names) <= _SHOWN else f"{shown}, ... {len(names)} in all"


def _label(source: Source | None) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else ""


# ---------------------------------------------------------------- which net is which


def only_fills(net: NetDef) -> bool:
    """Whether every operator makes something from nothing, as those of an init net do."""
    return all(not op.input for op in net.op)


def _refuse_swapped(predict: NetDef, init: NetDef | None, file: str, init_file: str) -> None:
    if init is None:
        return
    reads = external_inputs(init)
    swapped = bool(predict.op) and only_fills(predict)
    if reads and swapped:
        raise ModelFormatError(
            f"init net and predict net are swapped: '{file}' only makes blobs, and the init net "
            f"'{init_file}' reads {_listed(reads)}",
            hint=f"{init_file} --init {file}" if file and init_file else "swap the two",
        )
    if reads:
        raise ModelFormatError(
            f"init net '{init_file}' reads {_listed(reads)}, and an init net makes all from "
            "nothing: is it a predict net?",
            hint="--init with the file that makes the weights",
        )
    if swapped and _same_work(predict, init):
        raise ModelFormatError(
            f"predict net '{file}' only makes blobs, the same as the init net: is it an init net?",
            hint="name the net that reads these blobs",
        )


def _same_work(predict: NetDef, init: NetDef) -> bool:
    """Whether a net of fills makes the very blobs of the init net."""
    return bool(set(produced(predict)) & set(produced(init)))


# ---------------------------------------------------------------- inputs and outputs


def is_data_like(net: NetDef, name: str) -> bool:
    """Whether some operator takes the blob as its first input: data does, weights do not."""
    return any(op.input and op.input[0] == name for op in net.op)


def _reads(net: NetDef) -> list[str]:
    """What a net takes from outside, declared ones first and in their order.

    A declared input that no operator reads, not even one in a nested net, is left out.
    """
    found = external_inputs(net)
    written = produced(net)
    nested = {name for op in net.op for inner, _ in nested_nets(op) for name in _reads_of(inner)}
    outer = {name for name in nested if name not in written}
    declared = [n for n in net.external_input if n in found or n in outer]
    return list(dict.fromkeys([*declared, *found]))


def _reads_of(net: NetDef) -> Iterator[str]:
    for op in net.op:
        yield from op.input


def _unread(net: NetDef) -> list[str]:
    """The declared outputs, or the blobs whose last value no operator reads."""
    if net.external_output:
        return list(dict.fromkeys(net.external_output))
    rows = ssa(net)
    read = {versioned for inputs, _ in rows for versioned in inputs}
    last: dict[str, int] = {}
    for _, outputs in rows:
        last.update(outputs)
    return [blob for blob, version in last.items() if (blob, version) not in read]


def _outputs(nets: list[NetDef]) -> tuple[str, ...]:
    """What the nets give; of a plan's undeclared outputs, those that no other net reads."""
    read = {name for net in nets for name in external_inputs(net)}
    found = {n: None for net in nets for n in _unread(net) if net.external_output or n not in read}
    return tuple(found)


def _model(
    predict: NetDef | PlanDef,
    init: NetDef | None,
    labels: tuple[str, str],
    looked_for: list[Path],
) -> Model:
    nets = list(predict.network) if isinstance(predict, PlanDef) else [predict]
    made = produced(init) if init is not None else {}
    if isinstance(predict, PlanDef):  # its nets make blobs for each other
        made = {**made, **{blob: at for net in nets for blob, at in produced(net).items()}}
    reads = list(dict.fromkeys(name for net in nets for name in _reads(net)))
    inputs = tuple(name for name in reads if name not in made)
    stand_ins: tuple[str, ...] = ()
    if not inputs and init is not None and isinstance(predict, NetDef):
        inputs = stand_ins = _stand_ins(predict, init, reads)
    outputs = _outputs(nets)
    model = Model(predict, init, inputs, outputs, stand_ins, *labels)
    note = _weights_note(model, looked_for)
    return Model(predict, init, inputs, outputs, stand_ins, *labels, (note,) if note else ())


def _stand_ins(predict: NetDef, init: NetDef, reads: list[str]) -> tuple[str, ...]:
    """The inputs that the init net only pretends to make: dummies of one element, or the first."""
    data = [name for name in reads if is_data_like(predict, name)]
    dummies = tuple(n for n in data if any(n in op.output and _is_dummy(op) for op in init.op))
    return dummies or tuple(name for name in reads[:1] if name in data)


def _is_dummy(op: OperatorDef) -> bool:
    return any(arg.name == "shape" and list(arg.ints) == [1] for arg in op.arg)


def _weights_note(model: Model, looked_for: list[Path]) -> str:
    missing = list(model.missing_weights)
    if not missing or isinstance(model.predict, PlanDef):
        return ""
    what = f"{len(missing)} blob(s) besides {_listed(list(model.data_inputs))}: {_listed(missing)}"
    if model.init is not None:
        return f"the init net does not make what the net reads: {what}"
    stems = list(dict.fromkeys(_stem(path.name)[0] for path in looked_for))
    names = f" (looked for {' and '.join(stems)} with {', '.join(SUFFIXES)})" if stems else ""
    return f"the init net is missing{names}: nothing makes {what}"
