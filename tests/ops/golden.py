"""Reads tests/golden: what the real Caffe2 answers, one case at a time."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from caffe2py.proto.caffe2_pb2 import NetDef

FOLDER = Path(__file__).parents[1] / "golden"


@dataclass
class GoldenCase:
    name: str
    net: NetDef
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    texts: dict[str, object] = field(default_factory=dict)

    @property
    def op(self) -> str:
        return self.name.partition("/")[0]


def _strings(value: np.ndarray) -> np.ndarray:
    nested = np.array(json.loads(value.tobytes()), dtype=object)
    encode = np.vectorize(lambda s: s.encode(errors="surrogateescape"), otypes=[object])
    return encode(nested) if nested.size else nested


def load(family: str) -> Iterator[GoldenCase]:
    with np.load(FOLDER / f"{family}.npz") as packed:
        members = dict(np.load(io.BytesIO(packed["npz"].tobytes())))
    cases: dict[str, GoldenCase] = {}
    for key, value in members.items():
        op, number, part = key.split("/", 2)
        case = cases.setdefault(f"{op}/{number}", GoldenCase(f"{op}/{number}", NetDef()))
        kind, _, blob = part.partition("/")
        if kind == "net":
            case.net.ParseFromString(value.tobytes())
        elif kind in ("in", "out"):
            (case.inputs if kind == "in" else case.outputs)[blob] = value
        elif kind in ("in_str", "out_str"):
            (case.inputs if kind == "in_str" else case.outputs)[blob] = _strings(value)
        elif kind in ("infer", "random", "undefined", "quantum"):
            case.texts[kind] = json.loads(value.tobytes())
        else:
            case.texts[kind] = value.tobytes().decode()
    yield from cases.values()


#: Files of another form: messages, graphs.
OTHERS = {"wire", "graphs", "predictors"}

FAMILIES = sorted(p.stem for p in FOLDER.glob("*.npz") if p.stem not in OTHERS)
