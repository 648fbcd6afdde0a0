"""Rows: cursors and records, tensors that grow, collections."""

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    BlobTypeError,
    DTypeError,
    InplaceError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Made, Sample
from tests.toy import op

FIELDS = ["a:lengths", "a:keys", "a:sub:lengths", "a:sub:items", "b"]
DATA = [
    np.array([2, 0, 1], np.int32),
    np.array([11, 12, 31]),
    np.array([2, 1, 3], np.int32),
    np.arange(6, dtype=np.float32),
    np.array([b"x", b"y", b"z"], object),
]
#: For each record where its part of each field lies.
PARTS = [
    [(0, 1), (0, 2), (0, 2), (0, 3), (0, 1)],
    [(1, 2), (2, 2), (2, 2), (3, 3), (1, 2)],
    [(2, 3), (2, 3), (2, 3), (3, 6), (2, 3)],
]
MARKS = np.array([[0, 0, 0], [1, 2, 3], [2, 2, 3], [3, 3, 6]])
X = np.arange(6, dtype=np.float32).reshape(3, 2)
IN_PLACE = {"inplace": "the pairs are a must, so every sample runs in place"}
OPEN = {"infer_full": "how much there is to read is not known before"}
TYPE = np.array([1], np.int64)


def cursor(fields=FIELDS, read=0, data=DATA):
    """A cursor behind the first records."""
    ops = [op("CreateTreeCursor", "", "made", fields=fields)]
    names = [f"f{k}" for k in range(len(data))]
    if read:
        outputs = " ".join(f"g{k}" for k in range(len(data)))
        ops.append(op("ReadNextBatch", f"made {' '.join(names)}", outputs, batch_size=read))
    return Made(ops, dict(zip(names, data, strict=True)))


START, MIDDLE, END = (cursor(read=n) for n in (0, 2, 9))
READ = {id(START): 0, id(MIDDLE): 2, id(END): 3}


def records(numbers):
    """The parts of records, field by field."""
    return tuple(
        np.concatenate([x[:0], *(x[slice(*PARTS[n][k])] for n in numbers)])
        for k, x in enumerate(DATA)
    )


def _next(made, *data, batch_size=1, enforce_batch_size=False):
    at = READ[id(made)]
    numbers = list(range(at, min(at + batch_size, 3)))
    return records([] if enforce_batch_size and len(numbers) < batch_size else numbers)


def _reads(rng):
    for made in (START, MIDDLE, END):
        for size in (1, 2, 5):
            for enforce in (False, True):
                args = {"batch_size": size, "enforce_batch_size": enforce}
                yield Sample([made, *DATA], args, 5)


SHORT = [np.array([2, 3, 1], np.int32), *DATA[1:]]
NEGATIVE = [np.array([-1, 3, 1], np.int32), *DATA[1:]]
WRONG = [np.array([2, 0, 1]), *DATA[1:]]
SCALAR = [*DATA[:4], np.array(3)]
FIELD_ERRORS = [
    ([START, *SHORT], ValueRangeError, "Inconsistent field length"),
    ([START, *NEGATIVE], ValueRangeError, "negative length"),
    ([START, *WRONG], DTypeError, "lengths, which are int32"),
    ([START, *SCALAR], ShapeError, "no first dimension"),
    ([START, *DATA[:4]], ArityError, "expected 5 field.s., found 4"),
    ([X, *DATA], BlobTypeError, "expected what CreateTreeCursor makes"),
]


def field_errors(outputs, args=None, skip=()):
    return [
        Bad(inputs, error, match, args or {}, outputs)
        for k, (inputs, error, match) in enumerate(FIELD_ERRORS)
        if k not in skip
    ]


def _random(made, idx, marks, *data, batch_size=1, loop_over=False, enforce_batch_size=False):
    at = READ[id(made)]
    if enforce_batch_size and at + batch_size > len(idx):
        at = 0 if loop_over else len(idx)
    elif at >= len(idx) and loop_over:
        at = 0
    return records(idx[at : at + batch_size])


def _random_reads(rng):
    for made in (START,):
        for size in (1, 2, 5):
            for loop in (False, True):
                for enforce in (False, True):
                    args = {"batch_size": size, "loop_over": loop, "enforce_batch_size": enforce}
                    yield Sample([made, np.array([2, 0, 1]), MARKS, *DATA], args, 5)


def random_error(idx, marks, error, match, args=None):
    return Bad([START, np.asarray(idx), marks, *DATA], error, match, args or {}, 5)


def _sorted(made, *data, sort_by_field_idx=1, batch_size=1, shuffle_size=1):
    count = len(data[0])
    if sort_by_field_idx < 0:
        return np.arange(count)
    return np.argsort(data[sort_by_field_idx], kind="stable")


ONE = cursor(["a"], data=[DATA[0]])


def _sorts(rng):
    for values in ([7, 5, 6], [], [3]):
        for field in (0, -1):
            args = {"sort_by_field_idx": field, "batch_size": max(len(values), 1)}
            yield Sample([ONE, np.array(values, np.int32)], args)


def _places(rng):
    for made in (START, MIDDLE, END):
        yield Sample([made])


AT = {id(START): [], id(MIDDLE): [2, 2, 3], id(END): [3, 3, 6]}
CURSORS = [
    Case(
        "CreateTreeCursor",
        lambda **_: None,
        lambda rng: [Sample([], {"fields": FIELDS}), Sample([])],
        [
            Bad([], ArgumentError, "depends on a field defined after", {"fields": FIELDS[::-1]}),
            Bad([X], ArityError, "expected 0 input"),
        ],
    ),
    Case(
        "ResetCursor",
        lambda *_: (),
        lambda rng: [Sample(s.inputs, outputs=0) for s in _places(rng)],
        [Bad([X], BlobTypeError, "CreateTreeCursor makes", outputs=0)],
    ),
    Case(
        "GetCursorOffset",
        lambda made: np.array(AT[id(made)], np.int32),
        _places,
        [Bad([X], BlobTypeError, "CreateTreeCursor makes")],
        skip=OPEN,
    ),
    Case(
        "ReadNextBatch",
        _next,
        _reads,
        [
            *field_errors(5, {"batch_size": 2}, skip=(4,)),
            Bad([START, *DATA], ArityError, "expected 5 output", outputs=4),
            Bad([START, *DATA], ArgumentError, "at least 1", {"batch_size": 0}, 5),
        ],
        skip=OPEN,
    ),
    Case(
        "ReadRandomBatch",
        _random,
        _random_reads,
        [
            random_error([3], MARKS, ValueRangeError, "there is no record 3"),
            random_error([-1], MARKS, ValueRangeError, "there is no record -1"),
            random_error([0], MARKS[:, :2], ShapeError, "what ComputeOffset makes"),
            random_error([0], MARKS + 9, ValueRangeError, "offsetsmat says"),
            random_error(np.array([0], np.int32), MARKS, DTypeError, "must be int64"),
            random_error([0], MARKS, ArgumentError, "at least 1", {"batch_size": 0}),
            Bad([START, TYPE, MARKS, *DATA], ArityError, "expected 5 output", outputs=3),
        ],
        skip=OPEN,
    ),
    Case(
        "ComputeOffset",
        lambda made, *_: MARKS[np.minimum(np.arange(4) + READ[id(made)], 3)],
        lambda rng: [Sample([made, *DATA]) for made in (START, MIDDLE, END)],
        field_errors(1),
        skip=OPEN,
    ),
    Case(
        "SortAndShuffle",
        _sorted,
        _sorts,
        [
            Bad([ONE, DATA[0]], ArgumentError, "must be below 1", {"sort_by_field_idx": 1}),
            Bad([ONE, X], DTypeError, "must be int32", {"sort_by_field_idx": 0}),
            Bad([ONE, DATA[0]], ArgumentError, "at least 1", {"batch_size": 0}),
            Bad([ONE, DATA[0]], ArgumentError, "at least 1", {"shuffle_size": -1}),
        ],
        skip=OPEN,
    ),
    Case(
        "CheckDatasetConsistency",
        lambda *_, **__: (),
        lambda rng: [
            Sample(DATA, {"fields": FIELDS}, 0),
            Sample([x[:0] for x in DATA], {"fields": FIELDS}, 0),
            Sample([X, X[:, 0]], {"fields": ["x", "y"]}, 0),
        ],
        [
            *(
                Bad(inputs[1:], error, match, {"fields": FIELDS}, 0)
                for inputs, error, match in FIELD_ERRORS[:5]
            ),
            Bad([X, X[:2]], ShapeError, "Inconsistent sizes", {"fields": ["x", "y"]}, 0),
            Bad([*DATA[:3], X[:, 0], X], ValueRangeError, "sum up", {"fields": FIELDS}, 0),
            Bad([X], ArgumentError, "must name the fields", outputs=0),
        ],
    ),
]

# ---------------------------------------------------------------- records


def packed(single=False, data=DATA):
    names = " ".join(f"f{k}" for k in range(len(data)))
    make = op("PackRecords", names, "made", fields=FIELDS, pack_to_single_shared_ptr=single)
    return Made([make], dict(zip(names.split(), data, strict=True)))


NOTHING = packed(data=[x[:0] for x in DATA])


def _unpacked(made, *prototypes, fields):
    return records([] if made is NOTHING else range(3))


RECORDS = [
    Case(
        "PackRecords",
        None,
        lambda rng: [
            Sample(DATA, {"fields": FIELDS}),
            Sample(DATA, {"fields": FIELDS, "pack_to_single_shared_ptr": True}),
        ],
        [
            Bad(SHORT, ValueRangeError, "Inconsistent field length", {"fields": FIELDS}),
            Bad(DATA[:4], ArityError, "expected 5 field", {"fields": FIELDS}),
            Bad(DATA, ArgumentError, "must name the fields"),
        ],
        skip={
            "forward": "records are no array; UnPackRecords shows what is in them",
            "infer_full": OPEN["infer_full"],
        },
    ),
    Case(
        "UnPackRecords",
        _unpacked,
        lambda rng: [
            Sample([packed()], {"fields": FIELDS}, 5),
            Sample([packed(True)], {"fields": FIELDS}, 5),
            Sample([packed(), *DATA], {"fields": FIELDS}, 5),
            Sample([NOTHING, *DATA], {"fields": FIELDS}, 5),
        ],
        [
            Bad([NOTHING], ValueRangeError, "undefined state", {"fields": FIELDS}, 5),
            Bad([packed()], ArityError, "expected 5 output", {"fields": FIELDS}, 4),
            Bad([packed(), X], ArityError, "0 or 5 prototype", {"fields": FIELDS}, 5),
            Bad([DATA[4]], DTypeError, "expected what PackRecords makes", {"fields": FIELDS}, 5),
            Bad([packed()], ArityError, "a record has 5 field", {}, 2),
        ],
        skip=OPEN,
    ),
]

# ---------------------------------------------------------------- tensors that grow

MUTEX = Made([op("CreateMutex", "", "made")])
Y = np.array([b"a"], object)


def _pairs():
    yield X, X[:1]
    yield X[:0], X
    yield X, X[:0]
    yield Y, Y
    yield np.zeros(0, np.float32), np.array([[1, 2]])
    yield np.arange(3), np.arange(2)


def _joined(a, b):
    return np.concatenate([a, b]) if a.size else b


def _atomic(mutex, *blobs):
    half = len(blobs) // 2
    return tuple(_joined(a, b) for a, b in zip(blobs[:half], blobs[half:], strict=True))


def _atomic_samples(rng):
    for a, b in _pairs():
        yield Sample([MUTEX, a, b], same=[(1, 0)])
        yield Sample([MUTEX, a, X, b, X], outputs=2, same=[(1, 0), (2, 1)])


def _collected(rng):
    for room in (1, 3):
        yield Sample([VECTOR, X], {"num_to_collect": room}, same=[(0, 0)])
    both = [VECTOR, VECTOR, X, Y]
    yield Sample(both, {"num_to_collect": 2}, 2, [(0, 0), (1, 1)])


def vector(*tensors):
    names = [f"t{k}" for k in range(len(tensors))]
    more = [op("CollectTensor", f"made {n}", "made", num_to_collect=9) for n in names]
    blobs = dict(zip(names, tensors, strict=True))
    return Made([op("CreateTensorVector", "", "made"), *more], blobs)


VECTOR = vector()
UNSET = Made([])
ZERO, ZERO64 = np.array(0, np.int32), np.array(0)


def _last(ring, at, data, *rest, num_to_collect):
    rows = {} if isinstance(ring, Made) else dict(enumerate(ring))
    at, size = int(at.reshape(-1)[0]), num_to_collect
    if len(data) > size:
        kept, at = data[len(data) - size :], 0
    else:
        for row in data:
            rows[at] = row
            at = (at + 1) % size
        kept = np.array([rows[k] for k in sorted(rows)], data.dtype)
    number = np.array(len(data)) if rest else None
    return kept, np.array(at, np.int32), *([] if number is None else [rest[1] + number])


def _lasts(rng):
    same = [(0, 0), (1, 1)]
    for size in (2, 3, 7):
        yield Sample([UNSET, ZERO, X], {"num_to_collect": size}, 2, same)
    yield Sample([X, np.array(1, np.int32), X[:1] + 9], {"num_to_collect": 3}, 2, same)
    full = [X, np.array(2, np.int32), X[:2] + 9, MUTEX, ZERO64]
    yield Sample(full, {"num_to_collect": 3}, 3, [*same, (4, 2)])


RESERVOIR_PAIRS = [(0, 0), (1, 1)]
OBJECTS = Made([op("CreateMap", "", "made", key_dtype=10)])


def _sampled(rng):
    for rows in (X, Y, X[:0], np.array([1, 2])):
        yield Sample([UNSET, ZERO64, rows, MUTEX], {"num_to_collect": 5}, 2, RESERVOIR_PAIRS)
    known = [UNSET, ZERO64, X, MUTEX, np.array([5, 6, 5]), OBJECTS, UNSET]
    pairs = [*RESERVOIR_PAIRS, (5, 2), (6, 3)]
    yield Sample(known, {"num_to_collect": 5}, 4, pairs)


def _reservoir(kept, visited, data, mutex, *objects, num_to_collect):
    if not objects:
        return data, np.array(len(data))
    return data[:2], np.array(2), None, np.array([5, 6])


FEW = {"num_to_collect": 3}
GROWING = [
    Case(
        "Append",
        _joined,
        lambda rng: [Sample(pair, same=[(0, 0)]) for pair in _pairs()],
        [
            Bad([X, X.astype(int)], DTypeError, "cannot be appended", same=[(0, 0)]),
            Bad([X, X[:, :1]], ShapeError, "cannot be appended", same=[(0, 0)]),
            Bad([X, X[0]], ShapeError, "cannot be appended", same=[(0, 0)]),
            Bad([np.array(1), np.array(1)], ShapeError, "cannot be appended", same=[(0, 0)]),
            Bad([X, X], InplaceError, "must be the same blob"),
        ],
        skip=IN_PLACE | OPEN,
    ),
    Case(
        "AtomicAppend",
        _atomic,
        _atomic_samples,
        [
            Bad([MUTEX, X, X[:, :1]], ShapeError, "cannot be appended", same=[(1, 0)]),
            Bad([MUTEX, X, X], ArityError, "expected 5 input", outputs=2, same=[(1, 0)]),
            Bad([X, X, X], BlobTypeError, "CreateMutex makes", same=[(1, 0)]),
            Bad([MUTEX, X, X], InplaceError, "does not allow", same=[(2, 0)]),
        ],
        skip=IN_PLACE | OPEN,
    ),
    Case(
        "TrimDataset",
        lambda *data, fields, multiple_of=1: records(range(3 - 3 % multiple_of)),
        lambda rng: [
            Sample(DATA, {"fields": FIELDS, "multiple_of": n}, 5, [(k, k) for k in range(5)])
            for n in (1, 2, 3, 5)
        ],
        [
            Bad([X], ArgumentError, "at least 1", {"fields": ["x"], "multiple_of": 0}, 1, [(0, 0)]),
            Bad([X], ArityError, "must be the same blob", {"fields": ["x"]}),
            Bad([X, X], ArityError, "expected 1 field", {"fields": ["x"]}, 2, [(0, 0), (1, 1)]),
            Bad([X], ArgumentError, "must name the fields", same=[(0, 0)]),
        ],
        skip=IN_PLACE | OPEN,
    ),
    Case(
        "CreateTensorVector",
        lambda: None,
        lambda rng: [Sample([])],
        [Bad([X], ArityError, "expected 0 input")],
    ),
    Case(
        "TensorVectorSize",
        lambda made: np.array(len(made.ops) - 1, np.int32),
        lambda rng: [Sample([VECTOR]), Sample([vector(X, Y)])],
        [Bad([X], BlobTypeError, "expected what CreateTensorVector makes")],
    ),
    Case(
        "ConcatTensorVector",
        lambda made: np.concatenate(list(made.blobs.values())),
        lambda rng: [Sample([vector(X)]), Sample([vector(X, X[:1])]), Sample([vector(Y, Y)])],
        [
            Bad([VECTOR], ValueRangeError, "a vector of no tensors"),
            Bad([vector(X, X.astype(int))], DTypeError, "types differ"),
            Bad([vector(X, X[0])], ShapeError, "cannot be joined"),
        ],
        skip=OPEN,
    ),
    Case(
        "CollectTensor",
        lambda *_, **__: (None, None),
        _collected,
        [
            Bad([VECTOR, X], ArgumentError, "at least 1, found -1", same=[(0, 0)]),
            Bad([VECTOR, X, X], ArityError, "expected 2 input", FEW, same=[(0, 0)]),
            Bad([X, X], BlobTypeError, "CreateTensorVector makes", FEW, same=[(0, 0)]),
        ],
        skip=IN_PLACE,
    ),
    Case(
        "LastNWindowCollector",
        _last,
        _lasts,
        [
            Bad([UNSET, ZERO, X], ArgumentError, "at least 1", {}, 2, [(0, 0), (1, 1)]),
            Bad(
                [X, np.array(3, np.int32), X],
                ValueRangeError,
                "from 0 to 2",
                FEW,
                2,
                [(0, 0), (1, 1)],
            ),
            Bad([X, ZERO64, X], DTypeError, "must be int32", FEW, 2, [(0, 0), (1, 1)]),
            Bad([Y, ZERO, X], DTypeError, "cannot be kept", FEW, 2, [(0, 0), (1, 1)]),
            Bad([X[0], ZERO, X], ShapeError, "cannot be kept", FEW, 2, [(0, 0), (1, 1)]),
            Bad([X, ZERO, X], InplaceError, "must be the same blob", FEW, 2, [(0, 0)]),
            Bad([X, ZERO, np.array(1)], ShapeError, "first dimension", FEW, 2, [(0, 0), (1, 1)]),
        ],
        skip=IN_PLACE | {"infer": "before the run it says how large the ring can become"},
    ),
    Case(
        "ReservoirSampling",
        _reservoir,
        _sampled,
        [
            Bad([UNSET, ZERO64, X, MUTEX], ArgumentError, "at least 1", {}, 2, RESERVOIR_PAIRS),
            Bad([UNSET, ZERO, X, MUTEX], DTypeError, "must be int64", FEW, 2, RESERVOIR_PAIRS),
            Bad([UNSET, ZERO64, X, X], BlobTypeError, "CreateMutex", FEW, 2, RESERVOIR_PAIRS),
            Bad([Y, ZERO64, X, MUTEX], DTypeError, "cannot be kept", FEW, 2, RESERVOIR_PAIRS),
            Bad([UNSET, ZERO64, X], ArityError, "expected 4 or 7", FEW, 2, RESERVOIR_PAIRS),
        ],
        skip=IN_PLACE | OPEN,
    ),
    Case(
        "KeySplit",
        lambda keys, categorical_limit: tuple(
            np.flatnonzero(keys.reshape(-1) == k).astype(np.int32) for k in range(categorical_limit)
        ),
        lambda rng: [
            Sample([rng.integers(0, 3, shape).astype(name)], {"categorical_limit": 3}, 3)
            for name in ("int64", "int32")
            for shape in ((9,), (2, 3), (0,), ())
        ],
        [
            Bad([np.array([3])], ValueRangeError, "key 3 is outside", {"categorical_limit": 3}, 3),
            Bad(
                [np.array([-1])], ValueRangeError, "key -1 is outside", {"categorical_limit": 3}, 3
            ),
            Bad([X], DTypeError, "supported: int64", {"categorical_limit": 1}),
            Bad([TYPE], ArgumentError, "at least 1, found 0"),
            Bad([TYPE], ArityError, "expected 3 output", {"categorical_limit": 3}, 2),
        ],
        skip=OPEN,
    ),
]

CASES = [*CURSORS, *RECORDS, *GROWING]
