"""Rows: strings, maps, indices, stores, Summarize."""

import tempfile

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

X = np.ones(3, np.float32)
WORDS = np.array([[b"apple", b"", b"ap"], [b"pear", b"p\xff\x00", b"apple"]], object)
OPEN = {"infer_full": "how many there are is not known before"}
IN_PLACE = {"inplace": "the pair is a must, so every sample runs in place"}

# ---------------------------------------------------------------- strings


def _each(function, dtype):
    def ref(words, **args):
        out = np.empty(words.shape, dtype)
        out.reshape(-1)[:] = [function(word, *args.values()) for word in words.reshape(-1)]
        return out

    return ref


def _words(key, *values):
    def samples(rng):
        for words in (WORDS, WORDS[0], WORDS[:0], np.array(b"apple", object)):
            yield Sample([words])
            for value in values:
                yield Sample([words], {key: value})

    return samples


NO_WORDS = [Bad([X], DTypeError, "is float32; supported: string")]
NEGATIVE = Bad([WORDS], ArgumentError, "at least 0, found -1", {"length": -1})


def _text(value):
    if isinstance(value, bytes):
        return value
    if isinstance(value, np.int8 | np.uint8):
        return bytes([int(value) % 256])
    return b"%d" % value if not isinstance(value, np.floating) else f"{value:g}".encode()


def _join(x, delimiter=b",", axis=0):
    mark = delimiter.encode() if isinstance(delimiter, str) else delimiter
    rows = x.reshape(len(x), -1) if axis == 0 else x.T
    out = np.empty(len(rows), object)
    out[:] = [b"".join(_text(value) + mark for value in row) for row in rows]
    return out


def _joins(rng):
    for name in (
        "float32",
        "float64",
        "int32",
        "int64",
        "int16",
        "uint16",
        "bool",
        "uint8",
        "int8",
    ):
        x = rng.integers(0, 99, (2, 3)).astype(name)
        yield Sample([x])
        yield Sample([x], {"axis": 1, "delimiter": "--"})
        yield Sample([x[0]])
    yield Sample([np.array([0.1, 1e10, 1e-7, np.nan, 123456789])])
    yield Sample([WORDS], {"delimiter": ""})


STRINGS = [
    Case(
        "StringPrefix",
        _each(lambda w, length=3: w[:length], object),
        _words("length", 0, 1, 100),
        [*NO_WORDS, NEGATIVE],
    ),
    Case(
        "StringSuffix",
        _each(lambda w, length=3: w[len(w) - min(length, len(w)) :], object),
        _words("length", 0, 1, 100),
        [*NO_WORDS, NEGATIVE],
    ),
    Case(
        "StringStartsWith",
        _each(lambda w, prefix="": w.startswith(prefix.encode()), bool),
        _words("prefix", "ap", "apple"),
        NO_WORDS,
    ),
    Case(
        "StringEndsWith",
        _each(lambda w, suffix="": w.endswith(suffix.encode()), bool),
        _words("suffix", "le", "apple"),
        NO_WORDS,
    ),
    Case(
        "StringEquals",
        _each(lambda w, text="": w == text.encode(), bool),
        _words("text", "apple"),
        NO_WORDS,
    ),
    Case(
        "StringJoin",
        _join,
        _joins,
        [
            Bad([X.astype(np.float16)], DTypeError, "is float16"),
            Bad([X.reshape(1, 1, 3)], ShapeError, "Only 1-D and 2-D"),
            Bad([X], ShapeError, "with an axis 1", {"axis": 1}),
            Bad([X[:0]], ShapeError, "must have elements"),
            Bad([X], ArgumentError, "must be 0 or 1, found 2", {"axis": 2}),
        ],
    ),
    Case(
        "FeedBlob",
        lambda value: None,
        lambda rng: [Sample([], {"value": "hello"}), Sample([], {"value": ""})],
        [
            Bad([], ArgumentError, "value argument must exist"),
            Bad([], ArgumentError, "expected a string", {"value": 3}),
        ],
    ),
]

# ---------------------------------------------------------------- maps


def _map(keys, values):
    return Made([op("KeyValueToMap", "k v", "made")], {"k": keys, "v": values})


def _pairs():
    for a in (np.int32, np.int64):
        for b in (np.int32, np.int64):
            yield np.array([3, 1, 2], a), np.array([-1, 0, 9], b)
            yield np.array([], a), np.array([], b)


MAPS = [
    Case(
        "CreateMap",
        lambda **_: None,
        lambda rng: [
            *(Sample([], {"key_dtype": a, "value_dtype": b}) for a in (2, 10) for b in (2, 10)),
            Sample([], {"key_dtype": 10, "valued_dtype": 2}),
        ],
        [
            Bad([], ArgumentError, "'key_dtype' must be int32 or int64", {"key_dtype": 1}),
            Bad([], ArgumentError, "'value_dtype' must be int32", {"value_dtype": 4}),
            Bad([], ArgumentError, "99 is not a data type", {"value_dtype": 99}),
        ],
    ),
    Case(
        "KeyValueToMap",
        lambda *_: None,
        lambda rng: [Sample(pair) for pair in _pairs()],
        [
            Bad([X, X], DTypeError, "supported: int32, int64"),
            Bad([np.arange(3), np.arange(2)], ShapeError, "one value for each key"),
        ],
    ),
    Case(
        "MapToKeyValue",
        lambda made: (made.blobs["k"], made.blobs["v"]),
        lambda rng: [Sample([_map(*pair)], outputs=2) for pair in _pairs()],
        [Bad([X], BlobTypeError, "expected what CreateMap makes", outputs=2)],
        skip=OPEN,
    ),
]

# ---------------------------------------------------------------- indices

KEYS = {
    "StringIndexCreate": np.array([b"x", b"y", b"z"], object),
    "IntIndexCreate": np.array([7, 5, 6], np.int32),
    "LongIndexCreate": np.array([7, 5, 2**40]),
}


def index(type_="LongIndexCreate", keys=None, *, most=100, frozen=False):
    """An index with these keys."""
    keys = KEYS[type_] if keys is None else keys
    ops = [op(type_, "", "made", max_elements=most), op("IndexLoad", "made keys", "made")]
    if frozen:
        ops.append(op("IndexFreeze", "made", "made"))
    return Made(ops, {"keys": keys})


def _lookups(rng):
    for type_, keys in KEYS.items():
        for frozen in (False, True):
            made = index(type_, keys[:2], frozen=frozen)
            for asked in (keys[::-1], keys[:0], keys.reshape(1, 3), keys[0:1].reshape(())):
                yield Sample([made, asked])


def _numbers(made, asked):
    keys = list(made.blobs["keys"])
    if made.ops[-1].type != "IndexFreeze":
        keys += [k for k in asked.reshape(-1) if k not in keys]
    found = [keys.index(k) + 1 if k in keys else 0 for k in asked.reshape(-1)]
    return np.array(found, np.int64).reshape(asked.shape)


def _create(name):
    return Case(
        name,
        lambda **_: None,
        lambda rng: [Sample([]), Sample([], {"max_elements": 5})],
        [
            Bad([], ArgumentError, "from 1 to", {"max_elements": 0}),
            Bad([X], ArityError, "expected 0 input"),
        ],
    )


def _hash(x, modulo, seed=0):
    bits = 8 * x.dtype.itemsize
    out = np.empty(x.size, x.dtype)
    for i, value in enumerate(x.reshape(-1)):
        h = seed * 0xDEADBEEF
        for byte in np.array([value]).view(np.int8).reshape(-1) if x.size else ():
            h = h * 65537 + int(byte)
        half = 1 << (bits - 1)
        out[i] = ((h + half) % (1 << bits) - half) % modulo
    return out.reshape(x.shape)


def _hashes(rng):
    for name in ("int32", "int64"):
        limits = np.iinfo(name)
        for shape in ((5,), (2, 3), (0,)):
            x = rng.integers(limits.min, limits.max, shape, name, endpoint=True)
            for args in ({"modulo": 10}, {"modulo": 1}, {"modulo": 1000003, "seed": -7}):
                yield Sample([x], args)
        yield Sample([np.array([limits.min, -1, 0, 1, limits.max], name)], {"modulo": limits.max})


LONG = KEYS["LongIndexCreate"]
MADE_BY = "expected what StringIndexCreate"
INDICES = [
    *(_create(name) for name in KEYS),
    Case(
        "IndexGet",
        _numbers,
        _lookups,
        [
            Bad([index(), X], DTypeError, "Wrong dictionary type.*int64.*float32"),
            Bad([index(most=4), LONG - 1], ValueRangeError, "Dict max size reached"),
            Bad([X, LONG], BlobTypeError, MADE_BY),
        ],
    ),
    Case(
        "IndexLoad",
        lambda *_, **__: None,
        lambda rng: [
            Sample([index(name), keys], {"skip_first_entry": skip}, same=[(0, 0)])
            for name, keys in KEYS.items()
            for skip in (0, 1)
        ],
        [
            Bad([index(), LONG[[0, 0]]], ValueRangeError, "Repeated elements", same=[(0, 0)]),
            Bad([index(most=3), np.arange(4)], ValueRangeError, "larger than", same=[(0, 0)]),
            Bad([index(), X], DTypeError, "Wrong dictionary type", same=[(0, 0)]),
            Bad([index(), LONG.reshape(1, 3)], ShapeError, "must be a vector", same=[(0, 0)]),
            Bad([index(), LONG], InplaceError, "must be the same blob"),
        ],
        skip=IN_PLACE,
    ),
    Case(
        "IndexStore",
        lambda made: made.blobs["keys"],
        lambda rng: [Sample([index(name, keys)]) for name, keys in KEYS.items()],
        [Bad([X], BlobTypeError, MADE_BY)],
        skip=OPEN,
    ),
    Case(
        "IndexFreeze",
        lambda *_: None,
        lambda rng: [Sample([index(name)], same=[(0, 0)]) for name in KEYS],
        [Bad([X], BlobTypeError, MADE_BY, same=[(0, 0)])],
        skip=IN_PLACE,
    ),
    Case(
        "IndexSize",
        lambda made: np.array(len(made.blobs["keys"]) + 1),
        lambda rng: [
            Sample([index(name, keys[:n])]) for name, keys in KEYS.items() for n in (0, 2)
        ],
        [Bad([X], BlobTypeError, MADE_BY)],
    ),
    Case(
        "IndexHash",
        _hash,
        _hashes,
        [
            Bad([LONG], ArgumentError, "MODULO should be > 0"),
            Bad([X], DTypeError, "supported: int32, int64", {"modulo": 3}),
            Bad([KEYS["IntIndexCreate"]], ArgumentError, "must fit into int32", {"modulo": 2**31}),
        ],
    ),
]

# ---------------------------------------------------------------- stores

FOLDER = tempfile.TemporaryDirectory(prefix="caffe2py-store-")
STORE = Made([op("FileStoreHandlerCreate", "", "made", path=FOLDER.name, prefix="a/b")])
FILLED = Made([*STORE.ops, op("StoreSet", "made x", "", blob_name="key")], {"x": X})
STORED = {"blob_name": "key"}

STORES = [
    Case(
        "FileStoreHandlerCreate",
        lambda **_: None,
        lambda rng: [Sample([], {"path": FOLDER.name})],
        [Bad([], ArgumentError, "path is a required argument")],
    ),
    Case(
        "StoreSet",
        lambda *_, **__: (),
        lambda rng: [Sample([STORE, value], {}, 0) for value in (X, WORDS, b"text")],
        [Bad([X, X], BlobTypeError, "FileStoreHandlerCreate makes", {}, 0)],
    ),
    Case(
        "StoreGet",
        lambda *_, **__: X,
        lambda rng: [Sample([FILLED], STORED)],
        [Bad([X], BlobTypeError, "FileStoreHandlerCreate makes")],
        skip=OPEN,
    ),
    Case(
        "StoreAdd",
        None,
        lambda rng: [Sample([STORE], {"blob_name": "sum", "add_value": 3})],
        [Bad([X], BlobTypeError, "FileStoreHandlerCreate makes")],
        skip={"forward": "every run adds to the sum"},
    ),
    Case(
        "StoreWait",
        lambda *_, **__: (),
        lambda rng: [
            Sample([FILLED], {"blob_names": ["key"]}, 0),
            Sample([FILLED, np.array([b"key"], object)], {}, 0),
        ],
        [
            Bad([FILLED], ArgumentError, "no keys are given", {}, 0),
            Bad([FILLED, X], DTypeError, "supported: string", {}, 0),
        ],
    ),
]


def _summary(x):
    deviation = np.std(x.astype(np.float64), ddof=1) if x.size > 1 else 0.0
    return np.array([x.min(), x.max(), x.astype(np.float64).mean(), deviation], x.dtype)


SUMMARIZE = Case(
    "Summarize",
    _summary,
    lambda rng: [
        Sample([np.asarray(rng.uniform(-3, 3, shape), name)])
        for name in ("float32", "float64")
        for shape in ((7,), (2, 3), (), (1,))
    ],
    [
        Bad([X[:0]], ShapeError, "must have elements"),
        Bad([LONG], DTypeError, "supported: float32"),
    ],
)

CASES = [*STRINGS, *MAPS, *INDICES, *STORES, SUMMARIZE]
