"""What data pipelines use: counters, queues, datasets, features, maps, indices, strings."""

from functools import partial
from itertools import product

import numpy as np

from tools.golden.case import Case, Cases, Step, grid, pick, positive, some_shape

TYPES = ("float32", "int32", "int64", "float64", "bool", "str")


def made(op: str, feed: dict, before: list[Step], reads: list[str], outputs: list[str], **args):
    """A case whose net holds what makes its inputs."""
    return Case(op, feed, outputs, args, reads=reads, before=before, whole=True)


# ---------------------------------------------------------------- counters and flags


def counters(op: str, outputs: list[str], rng: np.random.Generator) -> Cases:
    """A counter that has been counted up and down before."""
    for start in (0, 1, 2, 7, 2**40):
        for ups, downs in ((0, 0), (1, 0), (0, 1), (2, 3)):
            steps = [Step("CreateCounter", [], ["c"], {"init_count": start})]
            steps += [Step("CountUp", ["c"], [f"u{k}"]) for k in range(ups)]
            steps += [Step("CountDown", ["c"], [f"d{k}"]) for k in range(downs)]
            yield made(op, {}, steps, ["c"], outputs)
    yield made(op, {"c": grid(rng, (2,))}, [], ["c"], outputs)


def reset_counter(rng: np.random.Generator) -> Cases:
    for start, then in product((0, 3, 2**33, 5), (0, 1, 2, 9, 2**40)):
        create = Step("CreateCounter", [], ["c"], {"init_count": start})
        yield made("ResetCounter", {}, [create], ["c"], ["Y"], init_count=then)


def has_elements(rng: np.random.Generator) -> Cases:
    for count in (1, 2, 3):
        for _ in range(8):
            shapes = [pick(rng, [(0,), (2, 0), (), (3,), (0, 4)]) for _ in range(count)]
            feed = {f"X{k}": grid(rng, shape, pick(rng, TYPES)) for k, shape in enumerate(shapes)}
            yield Case("HasElements", feed)


def fetch_add(op: str, dtype: str, rng: np.random.Generator) -> Cases:
    mutex = Step("CreateMutex", [], ["m"])
    for shape in ((), (1,), (3,), (2, 2)):
        for _ in range(5):
            feed = {"a": grid(rng, shape, dtype), "b": grid(rng, shape, dtype)}
            yield made(op, feed, [mutex], ["m", "a", "b"], ["a", "Y"])
            yield made(op, feed, [mutex], ["m", "a", "b"], ["X", "Y"])
    other = {"a": grid(rng, (1,)), "b": grid(rng, (1,), dtype)}
    yield made(op, other, [mutex], ["m", "a", "b"], ["a", "Y"])


def check_bool(rng: np.random.Generator) -> Cases:
    for first, second in product((None, True, False), repeat=2):
        for shape in ((), (1,), (2,)):
            feed, steps = {}, [Step("CreateAtomicBool", [], ["f"])]
            for name, value in (("p", first), ("q", second)):
                if value is not None:
                    feed[name] = np.full(shape, value)
                    steps.append(Step("ConditionalSetAtomicBool", ["f", name], []))
            yield made("CheckAtomicBool", feed, steps, ["f"], ["Y"])


# ---------------------------------------------------------------- queues


def queue(records: int, blobs: int, capacity: int, rng: np.random.Generator, close: bool = False):
    """Steps that fill a queue, and what they read."""
    steps = [Step("CreateBlobsQueue", [], ["q"], {"capacity": capacity, "num_blobs": blobs})]
    feed = {}
    types = [pick(rng, TYPES) for _ in range(blobs)]
    tails = [tuple(int(d) for d in rng.integers(1, 3, int(rng.integers(0, 3)))) for _ in types]
    for n in range(records):
        names = [f"r{n}_{k}" for k in range(blobs)]
        for name, dtype, tail in zip(names, types, tails, strict=True):
            feed[name] = grid(rng, (int(rng.integers(1, 4)), *tail), dtype)
        steps.append(Step("EnqueueBlobs", ["q", *names], names))
    if close:
        steps.append(Step("CloseBlobsQueue", ["q"], []))
    return feed, steps


def dequeue(rng: np.random.Generator) -> Cases:
    for records, blobs, close in product((1, 2, 3), (1, 2, 3), (False, True)):
        for _ in range(2):
            feed, steps = queue(records, blobs, 4, rng, close)
            yield made("DequeueBlobs", feed, steps, ["q"], [f"Y{k}" for k in range(blobs)])
    feed, steps = queue(1, 2, 4, rng)
    yield made("DequeueBlobs", feed, steps, ["q"], ["Y"])
    feed, steps = queue(0, 1, 4, rng, True)
    yield made("DequeueBlobs", feed, steps, ["q"], ["Y"])
    feed, steps = queue(0, 1, 4, rng)
    yield made("DequeueBlobs", feed, steps, ["q"], ["Y"], timeout_secs=0.01)


def safe_dequeue(rng: np.random.Generator) -> Cases:
    for records, blobs, many in product((0, 1, 2, 4), (1, 2), (1, 2, 5)):
        feed, steps = queue(records, blobs, 4, rng, True)
        outputs = [*(f"Y{k}" for k in range(blobs)), "status"]
        yield made("SafeDequeueBlobs", feed, steps, ["q"], outputs, num_records=many)


def safe_enqueue(rng: np.random.Generator) -> Cases:
    for records, capacity, close in product((0, 1, 2), (2, 3), (False, True)):
        for blobs in (1, 2):
            if records == capacity and not close:
                continue
            feed, steps = queue(records, blobs, capacity, rng, close)
            names = [f"x{k}" for k in range(blobs)]
            feed |= {name: grid(rng, some_shape(rng)) for name in names}
            last = Step("SafeEnqueueBlobs", ["q", *names], [*names, "status"])
            yield made(last.op, feed, steps, list(last.inputs), list(last.outputs))


def weighted(rng: np.random.Generator) -> Cases:
    for chosen, count, blobs in product((0, 1), (1, 2, 3), (1, 2)):
        for place in (-1, 0):
            feed, steps = {}, []
            for k in range(count):
                name = f"q{k}"
                steps.append(Step("CreateBlobsQueue", [], [name], {"num_blobs": blobs}))
                names = [f"{name}_{b}" for b in range(blobs)]
                feed |= {n: grid(rng, (2,), "int32") for n in names}
                steps.append(Step("EnqueueBlobs", [name, *names], names))
            weights = [float(k == min(chosen, count - 1)) for k in range(count)]
            reads = [f"q{k}" for k in range(count)]
            outputs = [*(f"Y{b}" for b in range(blobs)), "status"]
            args = {"weights": weights, "table_idx_blob": place}
            yield made("WeightedSampleDequeueBlobs", feed, steps, reads, outputs, **args)


def rebatching(rng: np.random.Generator) -> Cases:
    for batches, blobs, many in product((1, 2, 3), (1, 2), (1, 2, 3, 20)):
        steps = [Step("CreateRebatchingQueue", [], ["q"], {"capacity": 99, "num_blobs": blobs})]
        feed = {}
        types = [pick(rng, TYPES) for _ in range(blobs)]
        for n in range(batches):
            names = [f"r{n}_{k}" for k in range(blobs)]
            rows = int(rng.integers(1, 4))
            feed |= {name: grid(rng, (rows, 2), t) for name, t in zip(names, types, strict=True)}
            args = {"enqueue_batch": 1}
            steps.append(Step("EnqueueRebatchingQueue", ["q", *names], [], args))
        steps.append(Step("CloseRebatchingQueue", ["q"], []))
        outputs = [f"Y{k}" for k in range(blobs)]
        yield made("DequeueRebatchingQueue", feed, steps, ["q"], outputs, num_elements=many)


# ---------------------------------------------------------------- datasets

FIELDS = ["a:lengths", "a:keys", "a:sub:lengths", "a:sub:items", "b"]
READS = [f"f{k}" for k in range(5)]


def records(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """A dataset with the fields above."""
    lengths = rng.integers(0, 3, count).astype("int32")
    inner = rng.integers(0, 3, int(lengths.sum())).astype("int32")
    total = int(inner.sum())
    arrays = [lengths, grid(rng, (len(inner),), "int64"), inner, grid(rng, (total, 2))]
    return dict(zip(READS, [*arrays, grid(rng, (count,), "str")], strict=True))


def cursor(read: int = 0) -> list[Step]:
    steps = [Step("CreateTreeCursor", [], ["c"], {"fields": FIELDS})]
    if read:
        outputs = [f"g{k}" for k in range(5)]
        steps.append(Step("ReadNextBatch", ["c", *READS], outputs, {"batch_size": read}))
    return steps


def read_next(rng: np.random.Generator) -> Cases:
    for count, read, size, enforce in product((1, 5), (0, 2), (1, 2, 7), (0, 1)):
        args = {"batch_size": size, "enforce_batch_size": enforce}
        outputs = [f"Y{k}" for k in range(5)]
        feed = records(rng, count)
        yield made("ReadNextBatch", feed, cursor(read), ["c", *READS], outputs, **args)


def cursor_offset(rng: np.random.Generator) -> Cases:
    for count, read in product((1, 3, 5, 8, 9), (0, 1, 2, 7)):
        yield made("GetCursorOffset", records(rng, count), cursor(read), ["c"], ["Y"])


def compute_offset(rng: np.random.Generator) -> Cases:
    for count, read in product((1, 2, 3, 5, 8, 9), (0, 1, 2, 7)):
        yield made("ComputeOffset", records(rng, count), cursor(read), ["c", *READS], ["Y"])


def read_random(rng: np.random.Generator) -> Cases:
    for count, size, enforce, loop, again in product((3, 5), (1, 2, 7), (0, 1), (0, 1), (0, 1)):
        feed = {**records(rng, count), "i": rng.permutation(count)}
        steps = [*cursor(), Step("ComputeOffset", ["c", *READS], ["o"])]
        reads = ["c", "i", "o", *READS]
        args = {"batch_size": size, "enforce_batch_size": enforce, "loop_over": loop}
        if again:
            steps.append(Step("ReadRandomBatch", reads, [f"g{k}" for k in range(5)], args))
        outputs = [f"Y{k}" for k in range(5)]
        yield made("ReadRandomBatch", feed, steps, reads, outputs, **args)


def sort_and_shuffle(rng: np.random.Generator) -> Cases:
    create = Step("CreateTreeCursor", [], ["c"], {"fields": ["x", "y"]})
    for count, by in product((1, 2, 3, 12, 50), (-1, 0)):
        for batch, run in ((1, 1), (1, 3), (2, 1), (3, 2), (5, 4)):
            feed = {"x": rng.permutation(count).astype("int32"), "y": grid(rng, (count,))}
            args = {"sort_by_field_idx": by, "batch_size": batch, "shuffle_size": run}
            yield made("SortAndShuffle", feed, [create], ["c", "x", "y"], ["Y"], **args)


def check_dataset(rng: np.random.Generator) -> Cases:
    for count in range(20):
        yield Case("CheckDatasetConsistency", records(rng, count), [], {"fields": FIELDS})
    for name in READS:
        feed = records(rng, 5)
        feed[name] = np.repeat(feed[name], 2, axis=0)
        yield Case("CheckDatasetConsistency", feed, [], {"fields": FIELDS})
    yield Case("CheckDatasetConsistency", feed, [], {"fields": FIELDS[::-1]}, refused=True)


def unpack(rng: np.random.Generator) -> Cases:
    for count, single, typed in product((0, 1, 2, 3, 5, 8), (0, 1), (False, True)):
        feed = records(rng, count)
        args = {"fields": FIELDS, "pack_to_single_shared_ptr": single}
        step = Step("PackRecords", READS, ["p"], args)
        reads = ["p", *(READS if typed else [])]
        outputs = [f"Y{k}" for k in range(5)]
        yield made("UnPackRecords", feed, [step], reads, outputs, fields=FIELDS)


def trim(rng: np.random.Generator) -> Cases:
    for count, multiple in product((1, 4, 5, 9), (1, 2, 3, 5, 7)):
        args = {"fields": FIELDS, "multiple_of": multiple}
        yield Case("TrimDataset", records(rng, count), READS, args)
    yield Case("TrimDataset", records(rng, 3), READS, {"fields": FIELDS, "multiple_of": 0})


def append(op: str, rng: np.random.Generator) -> Cases:
    atomic = op == "AtomicAppend"
    before = [Step("CreateMutex", [], ["m"])] if atomic else []
    reads = ["m", "A", "B"] if atomic else ["A", "B"]
    for dtype in TYPES:
        tail = some_shape(rng)
        for rows, more in ((2, 1), (1, 5), (0, 2), (3, 0)):
            if dtype == "str" and 0 in (rows, more):
                continue  # the file does not keep the shape of no strings
            feed = {"A": grid(rng, (rows, *tail), dtype), "B": grid(rng, (more, *tail), dtype)}
            yield made(op, feed, before, reads, ["A"])
    for b in (grid(rng, (2, 3)), grid(rng, (2, 2), "int32"), grid(rng, (2,))):
        yield made(op, {"A": grid(rng, (2, 2)), "B": b}, before, reads, ["A"])


def last_window(rng: np.random.Generator) -> Cases:
    for held, rows, room in product((0, 1, 3), (0, 1, 2, 3, 4, 8), (1, 3, 5)):
        if held > room:
            continue
        tail = some_shape(rng, 1, 2)
        feed = {
            "ring": grid(rng, (held, *tail)),
            "at": np.array(held % room, "int32"),
            "x": grid(rng, (rows, *tail)),
        }
        args = {"num_to_collect": room}
        yield Case("LastNWindowCollector", feed, ["ring", "at"], args)


def key_split(rng: np.random.Generator) -> Cases:
    for count in range(1, 12):
        for shape in ((7,), (2, 3)):
            feed = {"X": rng.integers(0, count, shape)}
            outputs = [f"Y{k}" for k in range(count)]
            yield Case("KeySplit", feed, outputs, {"categorical_limit": count})
    yield Case("KeySplit", {"X": np.array([3])}, ["Y"], {"categorical_limit": 1})


# ---------------------------------------------------------------- maps, indices, strings


def map_pairs(rng: np.random.Generator) -> Cases:
    """One pair at most: the order of more is that of a hash table."""
    for keys, values in product(("int32", "int64"), repeat=2):
        for count in (0, 1, 1, 1, 1, 2):
            key = grid(rng, (1,), keys).repeat(count)
            feed = {"k": key, "v": grid(rng, (count,), values)}
            step = Step("KeyValueToMap", ["k", "v"], ["m"])
            yield made("MapToKeyValue", feed, [step], ["m"], ["K", "V"])


INDICES = {"IntIndexCreate": "int32", "LongIndexCreate": "int64", "StringIndexCreate": "str"}


def index(op: str, rng: np.random.Generator) -> Cases:
    for create, dtype in INDICES.items():
        for count, frozen, skip in product((0, 1, 4, 9), (False, True), (0, 1)):
            keys = np.arange(20, dtype="int64").astype(dtype if dtype != "str" else "U")
            order = rng.permutation(20)
            feed = {"k": keys[order[:count]]}
            steps = [Step(create, [], ["i"], {"max_elements": 12})]
            steps.append(Step("IndexLoad", ["i", "k"], ["i"], {"skip_first_entry": skip}))
            if frozen:
                steps.append(Step("IndexFreeze", ["i"], ["i"]))
            reads = ["i"]
            if op == "IndexGet":
                shape = pick(rng, [(3,), (2, 2), (), (0,)])
                feed["X"] = keys[rng.integers(0, 20, shape)].reshape(shape)
                reads = ["i", "X"]
            if count >= skip:
                yield made(op, feed, steps, reads, ["Y"])


def index_hash(rng: np.random.Generator) -> Cases:
    for dtype in ("int32", "int64"):
        limits = np.iinfo(dtype)
        for modulo, seed in product((1, 10, 1000003, 2**31 - 1), (0, 3, -7)):
            x = rng.integers(limits.min, limits.max, some_shape(rng), dtype)
            yield Case("IndexHash", {"X": x}, args={"modulo": modulo, "seed": seed})
    yield Case("IndexHash", {"X": x}, refused=True)


def words(rng: np.random.Generator) -> np.ndarray:
    texts = ["", "a", "ab", "abc", "abcd", "b", "éa", "ab c"]
    return np.array([pick(rng, texts) for _ in range(6)]).reshape(2, 3)


def string_op(op: str, key: str, values: list, rng: np.random.Generator) -> Cases:
    for value in values:
        for _ in range(5):
            yield Case(op, {"X": words(rng)}, args={} if value is None else {key: value})
    yield Case(op, {"X": grid(rng, (2,))}, refused=True)


def string_join(rng: np.random.Generator) -> Cases:
    for dtype in ("float32", "float64", "int32", "int64", "int16", "uint16", "bool", "str"):
        yield Case("StringJoin", {"X": grid(rng, (4,), dtype)})
        yield Case("StringJoin", {"X": grid(rng, (2, 3), dtype)}, args={"delimiter": "-+"})
        yield Case("StringJoin", {"X": grid(rng, (2, 3), dtype)}, args={"axis": 1})
    for dtype in ("int8", "uint8"):
        yield Case("StringJoin", {"X": positive(rng, (2, 3), dtype)})
    yield Case("StringJoin", {"X": grid(rng, (2,))}, args={"axis": 1})
    yield Case("StringJoin", {"X": grid(rng, (2, 2, 2))})
    yield Case("StringJoin", {"X": grid(rng, (0,))})
    yield Case("StringJoin", {"X": np.array([0.1, 1e10, 1e-7, np.nan, np.inf, 123456789])})


def summarize(rng: np.random.Generator) -> Cases:
    for _ in range(22):
        yield Case("Summarize", {"X": grid(rng, some_shape(rng))})
    for shape in ((), (1,), (0,)):
        yield Case("Summarize", {"X": grid(rng, shape)})


# ---------------------------------------------------------------- features


def present(rng: np.random.Generator, shape) -> np.ndarray:
    return rng.integers(0, 2, shape).astype(bool)


def lengths(rng: np.random.Generator, count: int, present: np.ndarray | None = None) -> np.ndarray:
    """Lengths, 0 where nothing is present."""
    drawn = rng.integers(0, 4, count)
    return (drawn if present is None else drawn * present).astype("int32")


def dense(rng: np.random.Generator) -> Cases:
    for rows, columns in product((0, 1, 4), (1, 3)):
        for dtype in ("float32", "float64", "int64", "int32"):
            feed = {
                "X": grid(rng, (rows, columns), dtype),
                "P": present(rng, (rows, columns)),
            }
            args = {"feature_ids": list(range(5, 5 + columns))}
            yield Case("MergeDenseFeatureTensors", feed, ["L", "K", "V"], args)


def single(kind: str, rng: np.random.Generator) -> Cases:
    outputs = {"Scalar": "L K V", "List": "L K N V", "Map": "L K N M V"}[kind].split()
    for dtype, count, rows in product(TYPES, (1, 3), (1, 5)):
        feed = {}
        for k in range(count):
            there = present(rng, rows)
            size = lengths(rng, rows, there)
            total = rows if kind == "Scalar" else int(size.sum())
            if kind != "Scalar":
                feed[f"l{k}"] = size
            if kind == "Map":
                feed[f"k{k}"] = grid(rng, (total,), "int64")
            feed[f"v{k}"] = grid(rng, (total,), dtype)
            feed[f"p{k}"] = there
        args = {"feature_ids": list(range(3, 3 + count))}
        yield Case(f"MergeSingle{kind}FeatureTensors", feed, outputs, args)


def single_back(kind: str, rng: np.random.Generator) -> Cases:
    for dtype, count, rows in product(("float32", "float64", "int64", "int32"), (1, 2, 3), (1, 5)):
        feed, total = {}, 0
        for k in range(count):
            there = present(rng, rows)
            size = lengths(rng, rows, there)
            total += int(there.sum() if kind == "Scalar" else size.sum())
            if kind != "Scalar":
                feed[f"l{k}"] = size
            feed[f"p{k}"] = there
        feed["G"] = grid(rng, (total,), dtype)
        yield Case(
            f"MergeSingle{kind}FeatureTensorsGradient", feed, [f"Y{k}" for k in range(count)]
        )


def multi(kind: str, back: bool, rng: np.random.Generator) -> Cases:
    outputs = {"Scalar": "L K V", "List": "L K N V", "Map": "L K N M V"}[kind].split()
    types = ("float32", "float64", "int64", "int32") if back else TYPES
    for dtype, count, rows in product(types, (1, 2, 3), (1, 5)):
        feed, totals = {}, 0
        for k in range(count):
            feed[f"l{k}"] = size = lengths(rng, rows)
            total = int(size.sum())
            if not back:
                feed[f"k{k}"] = grid(rng, (total,), "int64")
            if kind != "Scalar":
                feed[f"n{k}"] = inner = lengths(rng, total)
                total = int(inner.sum())
            if kind == "Map" and not back:
                feed[f"m{k}"] = grid(rng, (total,), "int64")
            if not back:
                feed[f"v{k}"] = grid(rng, (total,), dtype)
            totals += total
        if back:
            feed["G"] = grid(rng, (totals,), dtype)
            outputs = [f"Y{k}" for k in range(count)]
        suffix = "Gradient" if back else ""
        yield Case(f"MergeMulti{kind}FeatureTensors{suffix}", feed, outputs)


KINDS = ("Scalar", "List", "Map")
CASES = {
    **{op: partial(counters, op, ["Y"]) for op in ("CountUp", "CountDown", "RetrieveCount")},
    "CheckCounterDone": partial(counters, "CheckCounterDone", ["Y"]),
    "ResetCounter": reset_counter,
    "HasElements": has_elements,
    "AtomicFetchAdd": partial(fetch_add, "AtomicFetchAdd", "int32"),
    "AtomicFetchAdd64": partial(fetch_add, "AtomicFetchAdd64", "int64"),
    "CheckAtomicBool": check_bool,
    "DequeueBlobs": dequeue,
    "SafeDequeueBlobs": safe_dequeue,
    "SafeEnqueueBlobs": safe_enqueue,
    "WeightedSampleDequeueBlobs": weighted,
    "DequeueRebatchingQueue": rebatching,
    "ReadNextBatch": read_next,
    "GetCursorOffset": cursor_offset,
    "ComputeOffset": compute_offset,
    "ReadRandomBatch": read_random,
    "SortAndShuffle": sort_and_shuffle,
    "CheckDatasetConsistency": check_dataset,
    "UnPackRecords": unpack,
    "TrimDataset": trim,
    "Append": partial(append, "Append"),
    "AtomicAppend": partial(append, "AtomicAppend"),
    "LastNWindowCollector": last_window,
    "KeySplit": key_split,
    "MapToKeyValue": map_pairs,
    **{op: partial(index, op) for op in ("IndexGet", "IndexStore", "IndexSize")},
    "IndexHash": index_hash,
    "StringPrefix": partial(string_op, "StringPrefix", "length", [None, 0, 1, 2, 9]),
    "StringSuffix": partial(string_op, "StringSuffix", "length", [None, 0, 1, 2, 9]),
    "StringStartsWith": partial(string_op, "StringStartsWith", "prefix", [None, "", "a", "ab"]),
    "StringEndsWith": partial(string_op, "StringEndsWith", "suffix", [None, "", "a", "bc"]),
    "StringEquals": partial(string_op, "StringEquals", "text", [None, "", "a", "abc"]),
    "StringJoin": string_join,
    "Summarize": summarize,
    "MergeDenseFeatureTensors": dense,
    **{f"MergeSingle{k}FeatureTensors": partial(single, k) for k in KINDS},
    **{f"MergeSingle{k}FeatureTensorsGradient": partial(single_back, k) for k in KINDS},
    **{f"MergeMulti{k}FeatureTensors": partial(multi, k, False) for k in KINDS},
    **{f"MergeMulti{k}FeatureTensorsGradient": partial(multi, k, True) for k in KINDS},
}
