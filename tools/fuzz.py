"""Mutate files and nets at random, and see that each ends well: with a result or an error of ours.

    python tools/fuzz.py --count 1000000 --structure 20000

Bytes: models as .pb and as .pbtxt, tensors and blobs, minidb files and predictors in them,
manifests of safetensors. A mutated one is read by what reads such files, at the rate printed.
Structure: nets of one operator, with inputs and arguments as its samples in the tests have them;
then arguments are made wrong, inputs reshaped, cut, retyped or filled with wild numbers, names
swapped. Such a net is written, read as a file from a stranger, and run.

All of that happens in forked workers, so that a death is counted and the seed is known. What is
looked for: deaths, exceptions that are not caffe2py's, more than a second of processor time for one
input, and files outside of the worker's folder (an audit hook sees them). Exit status 0 if there
are none. WRAPPED is an exception that became a KernelError: a check is missing. STUCK is a worker
that was ended after a minute: a loop that a net asks for may have no end. The same seed gives the
same inputs.
"""

import argparse
import importlib
import json
import logging
import os
import pkgutil
import random
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import caffe2py.core  # noqa: F401
from caffe2py.adapters.db import Mode, open_database
from caffe2py.errors import Error, KernelError
from caffe2py.predictor.load import load_model
from caffe2py.predictor.session import Session
from caffe2py.proto.caffe2_pb2 import NetDef, TensorProtos
from caffe2py.proto.files import read_net_or_plan
from caffe2py.proto.text import to_text
from caffe2py.registry.trust import Trust
from caffe2py.tensor.memory import set_memory_budget
from caffe2py.tensor.serialize import (
    blob_from_proto,
    parse_blob,
    serialize_blob,
    tensor_from_proto,
    tensor_to_proto,
)
from caffe2py.testing import Made

#: Seconds that one input may take, and bytes that its arrays may.
SLOW, MEMORY = 1.0, 1 << 28
#: Seconds after which a worker dies that is still at one input.
STUCK = 60
BAD = ("FOREIGN", "OUTSIDE", "DEATH", "SLOW")
BATCH = {"bytes": 5000, "structure": 50}
#: What is read fast is read more often.
SHARES = ("pb", "pbtxt", "tensors", "blob", "pb", "pbtxt", "tensors", "minidb", "pb", "safetensors")
SHARES += ("predictor",)
WILD_INTEGERS = (0, -1, 1, 2, 3, 7, 64, 255, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63))
WILD_FLOATS = (0.0, -0.0, 1e-45, 1e38, -1e38, float("nan"), float("inf"), float("-inf"))
WORDS = ("", "NCHW", "NHWC", "x", "/etc/passwd", "../out", "a" * 5000, "minidb", "%d", "\x00")


# ---------------------------------------------------------------- bytes


def byte_seeds():
    """Kind -> (files to begin with, what reads one)."""
    nets = [path.read_bytes() for path in Path("nets").glob("*/*.pb") if path.stat().st_size < 9000]
    texts = [path.read_bytes() for path in Path("nets").glob("*/*.pbtxt")]
    samples = [net.SerializeToString() for net, _ in list(structure_seeds())[::40]]
    tensors = [
        tensor_to_proto(np.arange(6).astype(dtype).reshape(2, 3), "w")
        for dtype in ("float32", "float64", "int8", "int32", "int64", "uint8", "bool", "float16")
    ]
    words = tensor_to_proto(np.array([b"a", b"bc"], object), "words")
    blobs = [serialize_blob("w", np.arange(6, dtype=np.float32)), serialize_blob("t", b"text")]
    several = TensorProtos(protos=[*tensors, words]).SerializeToString()
    database = b"".join(record(b"key%d" % k, blob) for k, blob in enumerate(blobs * 3))
    meta = record(b"!!META_NET_DEF", serialize_blob("m", b"a")) + database
    header = b'{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
    weights = struct.pack("<Q", len(header)) + header + bytes(24)
    small_texts = [to_text(NetDef.FromString(s)).encode() for s in samples[:20]]
    return {
        "pb": ([*nets, *samples], read_net_or_plan),
        "pbtxt": ([t for t in texts if len(t) < 4000] + small_texts, read_net_or_plan),
        "tensors": ([several], read_tensors),
        "blob": (blobs, lambda data: blob_from_proto(parse_blob(data), opens=False)),
        "minidb": ([database], read_database),
        "predictor": ([meta], lambda data: load_model(written(data, "p.minidb"))),
        "safetensors": ([weights], read_weights),
    }


def record(key, value):
    return struct.pack("<ii", len(key), len(value)) + key + value


def written(data, name):
    Path(name).write_bytes(data)
    return name


def read_tensors(data):
    found = TensorProtos()
    try:
        found.ParseFromString(data)
    except Exception:
        return
    for proto in found.protos:
        tensor_from_proto(proto)


def read_database(data):
    with open_database("minidb", written(data, "d.minidb"), Mode.read) as database:
        cursor = database.new_cursor()
        while cursor.valid():
            blob_from_proto(parse_blob(cursor.value()), opens=False)
            cursor.next()


def read_weights(data):
    from caffe2py.predictor.load_weights import read_weights

    read_weights(written(data, "w.safetensors"))


def mutated(data, rng):
    """One to four changes: bits, bytes, cut, doubled, moved, numbers at the limits."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(out) or 1)
        kind = rng.randrange(7)
        if kind == 0 and out:
            out[place % len(out)] ^= 1 << rng.randrange(8)
        elif kind == 1 and out:
            out[place % len(out)] = rng.randrange(256)
        elif kind == 2:
            del out[place : place + rng.randint(1, 8)]
        elif kind == 3:
            out[place:place] = out[place : place + rng.randint(1, 40)]
        elif kind == 4:
            out[place:place] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 6)))
        elif kind == 5:
            out[place : place + 4] = struct.pack("<i", rng.choice(WILD_INTEGERS[:10]))
        elif rng.random() < 0.3:
            del out[place:]
    return bytes(out)


# ---------------------------------------------------------------- structure


def structure_seeds():
    """(net of one operator, its inputs) for every row of the tests whose inputs are arrays."""
    from tests.ops import rows

    for module in pkgutil.iter_modules(rows.__path__):
        for case in importlib.import_module(f"tests.ops.rows.{module.name}").CASES:
            samples = list(case.samples(np.random.default_rng(0)))
            for sample in samples[:2]:
                found = seed_of(case.op, sample)
                if found is not None:
                    yield found


def seed_of(type_, sample):
    from caffe2py.proto.args import make_argument

    if any(isinstance(value, Made) or not isinstance(value, np.ndarray) for value in sample.inputs):
        return None
    net = NetDef(name="fuzz")
    names = [f"x{k}" for k in range(len(sample.inputs))]
    outputs = sample.outputs if isinstance(getattr(sample, "outputs", 1), int) else 1
    op = net.op.add(type=type_, input=names, output=[f"y{k}" for k in range(outputs)])
    try:
        op.arg.extend(make_argument(name, value) for name, value in sample.args.items())
    except Error:
        return None
    net.external_input.extend(names)
    net.external_output.extend(op.output)
    return net, sample.inputs


def wild_net(net, inputs, rng):
    """A net with something wrong, and inputs with something wrong; sometimes neither."""
    made = NetDef()
    made.CopyFrom(net)
    op = made.op[0]
    arrays = [np.array(array) for array in inputs]
    for _ in range(rng.randint(1, 3)):
        kind = rng.randrange(10)
        if kind < 3 and op.arg:
            wild_argument(rng.choice(op.arg), rng)
        elif kind == 3 and op.arg:
            del op.arg[rng.randrange(len(op.arg))]
        elif kind < 8 and arrays:
            place = rng.randrange(len(arrays))
            arrays[place] = wild_array(arrays[place], rng)
        elif kind == 8:
            names = rng.choice([op.input, op.output])
            if names and rng.random() < 0.5:
                names.append(rng.choice(names))
            elif names:
                del names[rng.randrange(len(names))]
        elif op.input and op.output:
            op.output[0] = rng.choice(op.input)
    return made, arrays


def wild_argument(argument, rng):
    if argument.HasField("i"):
        argument.i = rng.choice(WILD_INTEGERS)
    elif argument.HasField("f"):
        argument.f = rng.choice(WILD_FLOATS)
    elif argument.HasField("s"):
        argument.s = rng.choice(WORDS).encode()
    elif argument.ints:
        place = rng.randrange(len(argument.ints))
        if rng.random() < 0.5:
            argument.ints[place] = rng.choice(WILD_INTEGERS)
        else:
            argument.ints.extend(argument.ints[:2])
    elif argument.floats:
        argument.floats[rng.randrange(len(argument.floats))] = rng.choice(WILD_FLOATS)
    else:
        argument.i = rng.choice(WILD_INTEGERS)


def wild_array(array, rng):
    kind = rng.randrange(6)
    if kind == 0:
        return array.reshape(-1)
    if kind == 1 and array.ndim:
        return array[: rng.randrange(array.shape[0] + 1)]
    if kind == 2:
        return array[None]
    if kind == 3 and array.dtype.kind in "fiub":
        return array.astype(rng.choice(["float32", "int32", "int64", "uint8", "bool", "float64"]))
    if kind == 4 and array.ndim > 1:
        return np.ascontiguousarray(array.T)
    if array.size and array.dtype.kind in "fiu":
        array = np.array(array)
        if array.dtype.kind == "f":
            array.flat[rng.randrange(array.size)] = rng.choice(WILD_FLOATS)
        else:
            limits = np.iinfo(array.dtype)
            value = rng.choice(WILD_INTEGERS)
            array.flat[rng.randrange(array.size)] = min(max(value, limits.min), limits.max)
    return array


def run_net(net, arrays):
    """As a stranger's file, which may have files in this folder."""
    trust = Trust(folders=(str(Path.cwd()),))
    session = Session(load_model(net.SerializeToString(), trust=trust), optimize=False)
    for name, array in zip(list(net.external_input), arrays, strict=False):
        if name in session.model.reads:
            session.feed(name, array)
    session.require_inputs()
    session.run()


# ---------------------------------------------------------------- workers


class Watch:
    """What one input does that it must not."""

    def __init__(self):
        self.allowed = ()
        self.outside = []

    def hook(self, event, args):
        if event != "open" or not self.allowed or not isinstance(args[0], str | bytes):
            return
        path = os.path.abspath(os.fsdecode(args[0]))  # noqa: PTH100
        writes = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if path.startswith(self.allowed) or (not writes and path.endswith((".py", ".pyc"))):
            return
        self.outside.append(path)


WATCH = Watch()


def one_input(call):
    """How it ended: the name of an error of ours, "fine", or what is wrong."""
    WATCH.outside.clear()
    for _ in range(2):  # what is slow once may be compiled: it counts if it is slow again
        began = time.process_time()
        end = ending(call)
        took = time.process_time() - began
        if took <= SLOW:
            break
    if WATCH.outside:
        return f"OUTSIDE {WATCH.outside[:3]}"
    return f"SLOW {took:.1f} s" if took > SLOW else end


def ending(call):
    try:
        call()
    except Error as error:
        wrapped = isinstance(error, KernelError) and error.__cause__ is not None
        return f"WRAPPED {error!s:.300}" if wrapped else type(error).__name__
    except BaseException:
        return "FOREIGN " + traceback.format_exc(limit=-4)
    return "fine"


def byte_batch(seeds, kind, number, count):
    rng = random.Random(f"{kind}/{number}")
    files, read = seeds[kind]
    for _ in range(count):
        data = mutated(rng.choice(files), rng)
        yield (lambda data=data: read(data)), (kind, data)


def structure_batch(seeds, number, count):
    rng = random.Random(f"structure/{number}")
    for _ in range(count):
        net, inputs = rng.choice(seeds)
        made, arrays = wild_net(net, inputs, rng)
        yield (lambda m=made, a=arrays: run_net(m, a)), (made.op[0].type, made, arrays)


def work(batch, report):
    """Run a batch. What is under way is in the report, and at last the counts of what came out."""
    counts = Counter()
    for call, what in batch:
        note(report, describe(what))  # before it runs: it may not come back
        signal.alarm(STUCK)
        end = one_input(call)
        word = end.split(" ", 1)[0]
        if word in (*BAD, "WRAPPED"):
            print(f"{end}\n  {describe(what)}", flush=True)
        counts[word] += 1
    note(report, json.dumps(counts))


def note(report, text):
    data = text.encode()
    os.pwrite(report, data, 0)
    os.ftruncate(report, len(data))


def describe(what):
    if isinstance(what[1], bytes):
        return f"{what[0]} {what[1]!r:.1500}"
    _, net, arrays = what
    shapes = [(a.dtype.name, a.shape, a.reshape(-1)[:12].tolist()) for a in arrays]
    return " ".join(f"{str(net.op[0])!r:.1500} {shapes!r:.1500}".split())


def forked(batch, report):
    """Run a batch in a child; how it ended."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(batch, report)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return status


def campaign(name, batches, seconds, report, total):
    """Run batches until time or inputs are used up."""
    began, counts, done = time.time(), Counter(), 0
    for batch, size, label in batches:
        status = forked(batch, report)
        text = os.pread(report, 1 << 20, 0).decode(errors="replace")
        if status:
            end = "STUCK" if os.WTERMSIG(status) == signal.SIGALRM else "DEATH"
            counts[end] += 1
            print(f"{end} status {status} in batch {label}: {text[:3000]}", flush=True)
        else:
            counts.update(json.loads(text))
        done += size
        if done >= total or time.time() - began > seconds:
            break
    took = time.time() - began
    print(f"{name}: {done} inputs in {took:.0f} s, {done / took:.0f} a second")
    for end, count in counts.most_common():
        print(f"  {count:8} {end}")
    return sum(counts[bad] for bad in BAD)


def byte_batches(seeds, seed):
    number = seed
    while True:
        for kind in SHARES:
            yield byte_batch(seeds, kind, number, BATCH["bytes"]), BATCH["bytes"], (kind, number)
            number += 1


def structure_batches(seeds, seed):
    number = seed
    while True:
        yield structure_batch(seeds, number, BATCH["structure"]), BATCH["structure"], number
        number += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs mutated as bytes")
    parser.add_argument("--structure", type=int, default=20_000, help="nets mutated as nets")
    parser.add_argument("--seconds", type=float, default=1e9, help="for each of both")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    set_memory_budget(MEMORY)
    np.seterr(all="ignore")
    logging.getLogger("caffe2py").setLevel(logging.ERROR)
    logging.getLogger("caffe2py.print").setLevel(logging.ERROR)
    byte_files, nets = byte_seeds(), list(structure_seeds())
    print(f"{len(nets)} nets of {len({n.op[0].type for n, _ in nets})} operators to begin with")
    for net, inputs in nets:  # compiled once, before the workers begin
        one_input(lambda n=net, i=inputs: run_net(n, i))
    bad = 0
    with tempfile.TemporaryDirectory(prefix="caffe2py-fuzz-") as folder:
        os.chdir(folder)
        cache = os.environ.get("CAFFE2PY_CACHE_DIR", str(Path.home() / ".cache"))
        WATCH.allowed = (folder, cache, "/proc/", "/sys/", sys.prefix, sys.base_prefix, "/dev/")
        sys.addaudithook(WATCH.hook)
        with Path(folder, "report").open("w+b", buffering=0) as file:
            report = file.fileno()
            if args.structure:
                batches = structure_batches(nets, args.seed)
                bad += campaign("structure", batches, args.seconds, report, args.structure)
            if args.count:
                batches = byte_batches(byte_files, args.seed)
                bad += campaign("bytes", batches, args.seconds, report, args.count)
        os.chdir("/")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
