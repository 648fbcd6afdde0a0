"""Rows: databases and text files."""

import tempfile
from pathlib import Path

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    BlobTypeError,
    DTypeError,
    FileError,
    ModelFormatError,
    ShapeError,
    UnsupportedError,
    ValueRangeError,
)
from caffe2py.proto.caffe2_pb2 import TensorProto, TensorProtos
from caffe2py.testing import Bad, Case, Made, Sample
from tests.toy import op

FOLDER = tempfile.TemporaryDirectory(prefix="caffe2py-db-")
X = np.arange(6, dtype=np.float32).reshape(3, 2)
Y = np.array([b"a", b"bc"], object)
OPEN = {"infer_full": "what is in a file is not known before"}


def path(name):
    return str(Path(FOLDER.name, name))


def db(name="saved", **more):
    return {"db": path(name), "db_type": "minidb", "absolute_path": 1, **more}


def dbs(*names, **more):
    return {"dbs": [path(n) for n in names], "db_type": "minidb", "absolute_path": 1, **more}


def saved(*blobs, name="saved", names=(), **args):
    """A reader of a database in which these blobs are."""
    inputs = list(names) or [f"out{k}" for k in range(len(blobs))]
    ops = [
        op("Save", " ".join(inputs), "", **db(name, **args)),
        op("CreateDB", "", "made", db=path(name), db_type="minidb"),
    ]
    return Made(ops, dict(zip(inputs, blobs, strict=True)))


def _loads(rng):
    for k, blobs in enumerate(([X], [Y], [X, Y], [np.array(3)], [X[:0]])):
        yield Sample([saved(*blobs, name=f"load{k}")], outputs=len(blobs))
    yield Sample([saved(X, name="chunks", chunk_size=4)])
    yield Sample([saved(X, name="all")], {"load_all": 1})
    yield Sample([saved(X, names=["b"], name="named")], {"source_blob_names": ["b"]})
    yield Sample([saved(X, names=["p/out0"], name="prefix")], {"strip_prefix": "p/"})
    yield Sample([saved(X, names=["t0"], name="added")], {"add_prefix": "ou"})


def _loaded(made, **_):
    return tuple(made.blobs.values())


def _saves(rng):
    for n, args in enumerate(({}, {"chunk_size": 2}, {"strip_prefix": "i"})):
        yield Sample([X, Y, b"text", np.float16(3)], db(f"save{n}", **args), 0)
    yield Sample([X, Y], db("save9", blob_name_overrides=["a", "b"]), 0)


ITER, X64 = np.array([4]), np.array([3.5])
QUEUE = Made([op("CreateBlobsQueue", "", "made")])


def _periodic(name):
    def samples(rng):
        for every in (1, 4, 3):
            yield Sample([ITER, X], db("p%d", every=every), 0)

    return Case(
        name,
        lambda *_, **__: (),
        samples,
        [
            Bad([X64, X], DTypeError, "supported: int64", db("p%d"), 0),
            Bad([ITER], ArgumentError, "at least 1, found 0", db("p%d", every=0), 0),
            Bad([ITER], ArgumentError, "one place for a number", db("p%d_%d"), 0),
            Bad([ITER], ArgumentError, "one place for a number", db("p%s"), 0),
            Bad([ITER], ArgumentError, "'db' must be given", {"db_type": "minidb"}, 0),
        ],
    )


def message(array):
    """A float32 or int32 array as a TensorProto."""
    if array.dtype == np.float32:
        return TensorProto(data_type=1, dims=array.shape, float_data=array.reshape(-1).tolist())
    return TensorProto(data_type=2, dims=array.shape, int32_data=array.reshape(-1).tolist())


def records(*rows):
    """A reader of records of tensors."""
    texts = []
    for row in rows:
        protos = TensorProtos(protos=[message(array) for array in row])
        texts.append(protos.SerializeToString())
    names = [f"r{k}" for k in range(len(texts))]
    ops = [op("CreateBlobsQueue", "", "q", capacity=9)]
    ops += [op("EnqueueBlobs", f"q {name}", name) for name in names]
    ops += [op("CloseBlobsQueue", "q", ""), op("CreateBlobsQueueDB", "q", "made")]
    return Made(ops, dict(zip(names, texts, strict=True)))


ROWS = [[X[k], np.array(k, np.int32)] for k in range(3)]
READER = records(*ROWS)


def _batches(rng):
    yield Sample([READER], {}, 2)
    for size in (1, 3):
        yield Sample([READER], {"batch_size": size, "no_prefetch": True}, 2)


def _batch(made, batch_size=0, no_prefetch=False):
    if not batch_size:
        return tuple(ROWS[0])
    return X[:batch_size], np.arange(batch_size, dtype=np.int32)


LINES = Path(path("lines"))
LINES.write_bytes(b"a\t1\t2.5\n\t-7\t3\nc\t3\t1e3\n")
Path(path("ragged")).write_bytes(b"a\t1\n")
Path(path("empty")).write_bytes(b"")
TYPES = {"field_types": [4, 2, 1]}


def text(name="lines", **args):
    return Made([op("CreateTextFileReader", "", "made", filename=path(name), **TYPES, **args)])


COLUMNS = [
    np.array([b"a", b"", b"c"], object),
    np.array([1, -7, 3], np.int32),
    np.array([2.5, 3, 1000], np.float32),
]


def _texts(rng):
    for size in (1, 2, 5):
        yield Sample([text()], {"batch_size": size}, 3)
    yield Sample([text(num_passes=2)], {"batch_size": 5}, 3)
    yield Sample([text("empty")], {}, 3)


def _rows(made, batch_size=1):
    args = {a.name: a for a in made.ops[0].arg}
    if args["filename"].s.endswith(b"empty"):
        return tuple(c[:0] for c in COLUMNS)
    passes = args["num_passes"].i if "num_passes" in args else 1
    return tuple(np.concatenate([c] * passes)[:batch_size] for c in COLUMNS)


CASES = [
    Case(
        "Load",
        _loaded,
        _loads,
        [
            Bad([], FileError, "no such file", db("nowhere")),
            Bad([], ArgumentError, "'db_type' must be given", {"db": "x"}),
            Bad([], ArgumentError, "'db' must be given", {"db_type": "minidb"}),
            Bad([], UnsupportedError, "Cannot find db implementation", {"db": "x", "db_type": "q"}),
            Bad([], ArgumentError, "names '.*' twice", dbs("a", "a")),
            Bad([saved(X)], ValueRangeError, "1 of them not found: out1", outputs=2),
            Bad([X], BlobTypeError, "expected what CreateDB makes"),
            Bad([saved(X)], ArgumentError, "must name 1 blob", {"source_blob_names": ["a", "b"]}),
            Bad(
                [saved(X)],
                ArgumentError,
                "exclude each other",
                {"source_blob_names": ["a"], "load_all": 1},
            ),
        ],
        skip=OPEN,
    ),
    Case(
        "Save",
        lambda *_, **__: (),
        _saves,
        [
            Bad([X], ArgumentError, "'db' must be given", {"db_type": "minidb"}, 0),
            Bad([X], ArgumentError, "'db_type' must be given", {"db": "x"}, 0),
            Bad(
                [X],
                UnsupportedError,
                "leveldb.*not available",
                {"db": "x", "db_type": "leveldb"},
                0,
            ),
            Bad([X], FileError, "cannot be written", db("no/such/folder"), 0),
            Bad([X], ArgumentError, "must name 1 blob", db(blob_name_overrides=["a", "b"]), 0),
            Bad([QUEUE], BlobTypeError, "only tensors and strings", db("never"), 0),
            Bad(
                [X],
                ArgumentError,
                "exclude each other",
                db(blob_name_overrides=["a"], strip_prefix="b"),
                0,
            ),
        ],
    ),
    _periodic("Checkpoint"),
    _periodic("Snapshot"),
    Case(
        "DBExists",
        lambda db_name, **_: np.array(db_name == "lines"),
        lambda rng: [
            Sample([], {"db_name": name, "db_type": "minidb"}) for name in ("nowhere", "")
        ],
        [Bad([], UnsupportedError, "Cannot find db implementation", {"db_type": "q"})],
    ),
    Case(
        "CreateDB",
        lambda **_: None,
        lambda rng: [Sample([], {"db": str(LINES.parent / "empty"), "db_type": "minidb"})],
        [
            Bad([], ArgumentError, "'db' must be given"),
            Bad([], FileError, "no such file", {"db": "nowhere", "db_type": "minidb"}),
            Bad([], UnsupportedError, "leveldb", {"db": "nowhere"}),
            Bad(
                [],
                ValueRangeError,
                "shard 2 of 2",
                {"db": path("empty"), "db_type": "minidb", "num_shards": 2, "shard_id": 2},
            ),
        ],
    ),
    Case(
        "TensorProtosDBInput",
        _batch,
        _batches,
        [
            Bad([READER], ArgumentError, "at least 0, found -1", {"batch_size": -1}, 2),
            Bad([READER], ModelFormatError, "holds 2 tensor.s.; expected 1"),
            Bad([records([X], [X[0]])], ShapeError, "differs within a batch", {"batch_size": 2}),
            Bad([X], BlobTypeError, "expected what CreateDB makes"),
        ],
        skip=OPEN,
    ),
    Case(
        "CreateTextFileReader",
        lambda **_: None,
        lambda rng: [Sample([], {"filename": path("lines"), **TYPES})],
        [
            Bad([], FileError, "Error opening file for reading", {"filename": "nowhere", **TYPES}),
            Bad([], ArgumentError, "must name the type", {"filename": path("lines")}),
            Bad([], ArgumentError, "a column cannot be bool", {"field_types": [5]}),
        ],
    ),
    Case(
        "TextFileReaderRead",
        _rows,
        _texts,
        [
            Bad([text()], ArityError, "Expected 3", {}, 2),
            Bad([text("ragged")], ValueRangeError, "columns at row 1: expected 3, found 2", {}, 3),
            Bad([text()], ArgumentError, "at least 1, found 0", {"batch_size": 0}, 3),
            Bad([X], BlobTypeError, "expected what CreateTextFileReader makes"),
        ],
        skip=OPEN,
    ),
]
