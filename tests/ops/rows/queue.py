"""Rows: queues of blobs, of rows, and the database that reads from one."""

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    BlobTypeError,
    DTypeError,
    InplaceError,
    KernelError,
    ShapeError,
)
from caffe2py.testing import Bad, Case, Made, Sample
from tests.toy import op

X = np.arange(6, dtype=np.float32).reshape(3, 2)
Y = np.array([b"a", b"bc"], object)
IN_PLACE = {"inplace": "the pairs are a must, so every sample runs in place"}
OPEN = {"infer_full": "what is in a queue is not known before"}


def filled(*records, close=False, capacity=4):
    """A queue with records; each is a list of arrays."""
    count = len(records[0]) if records else 1
    ops = [op("CreateBlobsQueue", "", "made", capacity=capacity, num_blobs=count)]
    blobs = {}
    for n, record in enumerate(records):
        names = [f"r{n}_{k}" for k in range(len(record))]
        blobs.update(zip(names, record, strict=True))
        ops.append(op("EnqueueBlobs", f"made {' '.join(names)}", " ".join(names)))
    if close:
        ops.append(op("CloseBlobsQueue", "made", ""))
    return Made(ops, blobs)


EMPTY = filled()
CLOSED = filled(close=True)
FULL = filled([X], close=True, capacity=1)
ONE = filled([X])
TWO = filled([X, Y])


def _written(status):
    def samples(rng):
        for blobs in ([X], [Y], [X, Y], [np.array(3)], [b"text"]):
            queue = Made([op("CreateBlobsQueue", "", "made", num_blobs=len(blobs))])
            same = [(k + 1, k) for k in range(len(blobs))]
            yield Sample([queue, *blobs], outputs=len(blobs) + status, same=same)

    return samples


def _kept(queue, *blobs):
    return (*(b if isinstance(b, np.ndarray) else None for b in blobs), np.array(False))


def _write_errors(more):
    same = [(1, 0)]
    return [
        Bad([X, X], BlobTypeError, "expected what CreateBlobsQueue makes", outputs=1 + more),
        Bad([EMPTY, X], ArityError, "must be the same blob", outputs=1 + more),
        Bad([EMPTY, X], ArityError, "output", outputs=3, same=same),
        Bad([TWO, X], ArityError, "2 blob.s., found 1", outputs=1 + more, same=same),
        Bad([EMPTY, X], InplaceError, "does not allow", outputs=1 + more, same=[(0, 0)]),
    ]


def _makes(rng):
    for args in ({}, {"capacity": 3, "num_blobs": 2}, {"field_names": ["a"]}):
        yield Sample([], args)
    yield Sample([], {"enforce_unique_name": True})


def _records(made):
    return [[made.blobs[name] for name in o.output] for o in made.ops if o.type == "EnqueueBlobs"]


def _first(made, **_):
    return tuple(_records(made)[0])


def _read(rng):
    yield Sample([ONE])
    yield Sample([filled([X], close=True)])
    yield Sample([TWO], {"timeout_secs": 1.0}, 2)
    yield Sample([filled([Y], [X])])


def _read_safely(rng):
    yield Sample([ONE], {}, 2)
    yield Sample([TWO], {}, 3)
    yield Sample([filled([X], [X + 1], close=True)], {"num_records": 2}, 2)
    yield Sample([filled([X, Y], [X[:1], Y[:1]], close=True)], {"num_records": 5}, 3)


def _joined(made, num_records=1):
    records = _records(made)[:num_records]
    return (*(np.concatenate(parts) for parts in zip(*records, strict=True)), np.array(False))


def _chosen(rng):
    yield Sample([ONE, filled([X + 1])], {"weights": [1.0, 0.0]}, 2)
    yield Sample([ONE, ONE], {}, 2)
    both = filled([np.zeros(1, np.int32), X]), filled([np.zeros(1, np.int32), X + 5])
    yield Sample(both, {"weights": [0.0, 2.0], "table_idx_blob": 0}, 3)


def _choice(*queues, weights=(1,), table_idx_blob=-1):
    record = _records(queues[int(np.argmax(weights))])[0]
    if table_idx_blob >= 0:
        record = [np.array([np.argmax(weights)], np.int32), *record[1:]]
    return (*record, np.array(False))


BLOBS = [
    Case(
        "CreateBlobsQueue",
        lambda **_: None,
        _makes,
        [
            Bad([], ArgumentError, "'capacity' must be at least 1", {"capacity": 0}),
            Bad([], ArgumentError, "'num_blobs' must be at least 1", {"num_blobs": -1}),
            Bad([], ArgumentError, "must name 1 blob", {"field_names": ["a", "b"]}),
        ],
    ),
    Case(
        "CloseBlobsQueue",
        lambda *_: (),
        lambda rng: [Sample([EMPTY], outputs=0), Sample([ONE], outputs=0)],
        [Bad([X], BlobTypeError, "CreateBlobsQueue makes", outputs=0)],
    ),
    Case(
        "EnqueueBlobs",
        _kept,
        _written(0),
        [
            *_write_errors(0),
            Bad([FULL, X], KernelError, "is full and closed", same=[(1, 0)]),
            Bad([], ArityError, "at least 1 input", outputs=0),
        ],
        skip=IN_PLACE | OPEN,
    ),
    Case("SafeEnqueueBlobs", _kept, _written(1), _write_errors(1), skip=IN_PLACE | OPEN),
    Case(
        "DequeueBlobs",
        _first,
        _read,
        [
            Bad([CLOSED], KernelError, "is empty and closed"),
            Bad([EMPTY], KernelError, "timed out", {"timeout_secs": 0.01}),
            Bad([TWO], ArityError, "expected 2 output"),
            Bad([X], BlobTypeError, "CreateBlobsQueue makes"),
            Bad([ONE, ONE], ArityError, "expected 1 input"),
        ],
        skip=OPEN,
    ),
    Case(
        "SafeDequeueBlobs",
        _joined,
        _read_safely,
        [
            Bad([ONE], ArityError, "expected 2 output.*and the status"),
            Bad([ONE], ArgumentError, "at least 1, found 0", {"num_records": 0}, 2),
            Bad(
                [filled([X], [X.astype(int)], close=True)],
                DTypeError,
                "cannot be joined",
                {"num_records": 2},
                2,
            ),
            Bad(
                [filled([X], [X.T], close=True)],
                ShapeError,
                "cannot be joined along axis 0",
                {"num_records": 2},
                2,
            ),
            Bad([X], BlobTypeError, "CreateBlobsQueue makes", outputs=2),
        ],
        skip=OPEN,
    ),
    Case(
        "WeightedSampleDequeueBlobs",
        _choice,
        _chosen,
        [
            Bad([ONE, ONE], ArgumentError, "must have 2 value", {"weights": [1.0]}, 2),
            Bad([ONE, ONE], ArgumentError, "above 0", {"weights": [0.0, 0.0]}, 2),
            Bad([ONE, ONE], ArgumentError, "0 or more", {"weights": [-1.0, 2.0]}, 2),
            Bad([ONE], ArgumentError, "must be below 1", {"table_idx_blob": 1}, 2),
            Bad([TWO], ArityError, "expected 3 output", {}, 2),
        ],
        skip=OPEN,
    ),
]


def rows_in(*batches, close=False, num_blobs=1):
    """A rebatching queue with the rows of these batches."""
    ops = [op("CreateRebatchingQueue", "", "made", capacity=9, num_blobs=num_blobs)]
    blobs = {}
    for n, batch in enumerate(batches):
        names = [f"r{n}_{k}" for k in range(len(batch))]
        blobs.update(zip(names, batch, strict=True))
        ops.append(op("EnqueueRebatchingQueue", f"made {' '.join(names)}", "", enqueue_batch=1))
    if close:
        ops.append(op("CloseRebatchingQueue", "made", ""))
    return Made(ops, blobs)


NONE = rows_in()
PAIR = Made([op("CreateRebatchingQueue", "", "made", capacity=9, num_blobs=2)])


def _writes(rng):
    for batch in (False, True):
        yield Sample([NONE, X], {"enqueue_batch": batch}, 0)
        yield Sample([PAIR, X[:2], Y], {"enqueue_batch": batch}, 0)
    yield Sample([NONE, np.array(3)], outputs=0)


def _takes(rng):
    yield Sample([rows_in([X])], {"num_elements": 2})
    yield Sample([rows_in([Y], [Y])], {"num_elements": 3})
    yield Sample([rows_in([X], close=True)], {"num_elements": 9})
    yield Sample([rows_in([X[:2], Y], num_blobs=2)], {}, 2)


def _taken(made, num_elements=1):
    batches = [[made.blobs[n] for n in o.input[1:]] for o in made.ops if len(o.input) > 1]
    return tuple(np.concatenate(parts)[:num_elements] for parts in zip(*batches, strict=True))


REBATCHING = [
    Case(
        "CreateRebatchingQueue",
        lambda **_: None,
        lambda rng: [Sample([]), Sample([], {"capacity": 5, "num_blobs": 2})],
        [
            Bad([], ArgumentError, "'capacity' must be at least 1", {"capacity": 0}),
            Bad([], ArgumentError, "'num_blobs' must be at least 1", {"num_blobs": 0}),
        ],
    ),
    Case(
        "EnqueueRebatchingQueue",
        lambda *_, **__: (),
        _writes,
        [
            Bad([rows_in(close=True), X], KernelError, "is closed", outputs=0),
            Bad([PAIR, X], ArityError, "has 2 tensor.s., found 1", outputs=0),
            Bad([PAIR, X, Y], ShapeError, "one number of rows", {"enqueue_batch": True}, 0),
            Bad([NONE, np.array(1)], ShapeError, "number of rows", {"enqueue_batch": True}, 0),
            Bad([X, X], BlobTypeError, "CreateRebatchingQueue makes", outputs=0),
        ],
    ),
    Case(
        "DequeueRebatchingQueue",
        _taken,
        _takes,
        [
            Bad([rows_in(close=True)], KernelError, "is empty and closed"),
            Bad([rows_in([X])], ArgumentError, "at least 1", {"num_elements": 0}),
            Bad([PAIR], ArityError, "2 tensor.s.: expected as many"),
            Bad([rows_in([X], [X[:, 0]])], ShapeError, "differ in shape", {"num_elements": 4}),
            Bad([rows_in([X], [X.astype(int)])], DTypeError, "differ in type", {"num_elements": 4}),
        ],
        skip=OPEN,
    ),
    Case(
        "CloseRebatchingQueue",
        lambda *_: (),
        lambda rng: [Sample([NONE], outputs=0)],
        [Bad([X], BlobTypeError, "CreateRebatchingQueue makes", outputs=0)],
    ),
]

DATABASE = [
    Case(
        "CreateBlobsQueueDB",
        lambda *_, **__: None,
        lambda rng: [
            Sample([ONE], {"timeout_secs": 0.1}),
            Sample([TWO], {"value_blob_index": 1, "key_blob_index": 0}),
        ],
        [
            Bad([ONE], ArgumentError, "at least 0, found -1", {"value_blob_index": -1}),
            Bad([ONE], ArgumentError, "there is no number 1", {"value_blob_index": 1}),
            Bad([X], BlobTypeError, "CreateBlobsQueue makes"),
        ],
    )
]

CASES = [*BLOBS, *REBATCHING, *DATABASE]
