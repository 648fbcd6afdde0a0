"""Shared storage: the same bits, less memory, and no look at what has been overwritten."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.errors import BlobTypeError
from caffe2py.executor.memory import Arena
from caffe2py.executor.workspace import Workspace
from tests.executor.passes.random_nets import COLUMNS, ROWS, WEIGHTS, random_net
from tests.toy import net, op


def workspace(rows=ROWS):
    made = Workspace()
    for name, value in WEIGHTS.items():
        made.feed(name, value)
    made.feed("x", inputs(rows))
    return made


def inputs(rows=ROWS, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (rows, COLUMNS)).astype(np.float32)


def chain(count, **more):
    ops = [op("Negative", f"t{k}" if k else "x", f"t{k + 1}") for k in range(count)]
    return net(*ops, gives=f"t{count}", **more)


@pytest.mark.parametrize("seed", range(60))
def test_the_same_bits(seed):
    given, outputs = random_net(seed)
    plain, shared = workspace(), workspace()
    plain.create_net(given)
    shared.create_net(given, keep=())
    for run in range(3):
        for ws in (plain, shared):
            ws.feed("x", inputs(seed=run))
            ws.run_net(given.name)
        for name in outputs:
            assert plain.fetch(name).tobytes() == shared.fetch(name).tobytes(), name


def test_a_chain_needs_two_blobs():
    ws = workspace()
    given = chain(10)
    ws.create_net(given, keep=())
    ws.run_net(given.name)
    report = ws.net(given.name).memory()
    size = inputs().nbytes
    assert report.activations == 10 * size
    assert report.storage < 4 * size + 1024  # two, the output, and cache lines of slack
    assert np.array_equal(ws.fetch("t10"), inputs())


def test_what_is_kept_can_be_fetched():
    ws = workspace()
    ws.create_net(chain(4), keep=("t1",))
    ws.run_net("toy")
    assert np.array_equal(ws.fetch("t1"), -inputs())
    assert np.array_equal(ws.fetch("t4"), inputs())


@pytest.mark.parametrize("name", ["t1", "t2"])
def test_what_is_overwritten_cannot(name):
    ws = workspace()
    ws.create_net(chain(4), keep=())
    ws.run_net("toy")
    with pytest.raises(
        BlobTypeError, match=rf"'{name}'.*other blobs have taken.*keep=\['{name}'\]"
    ):
        ws.fetch(name)
    with pytest.raises(BlobTypeError, match="taken over"):
        ws.blob(name).expose()


def test_another_net_cannot_read_it_but_write_it():
    ws = workspace()
    ws.create_net(chain(4), keep=())
    ws.run_net("toy")
    with pytest.raises(BlobTypeError, match=r"'t1'.*taken over"):
        ws.run_operator_once(op("Relu", "t1", "y"))
    ws.run_operator_once(op("Relu", "x", "t1"))
    assert np.array_equal(ws.fetch("t1"), np.maximum(inputs(), 0))
    ws.run_net("toy")
    assert np.array_equal(ws.fetch("t4"), inputs())


def test_feeding_it_takes_it_out():
    ws = workspace()
    ws.create_net(chain(4), keep=())
    ws.run_net("toy")
    ws.feed("t1", np.ones(3, np.float32))
    assert np.array_equal(ws.fetch("t1"), np.ones(3))
    ws.run_net("toy")
    assert np.array_equal(ws.fetch("t4"), inputs())


def test_shapes_may_change():
    ws = workspace()
    ws.create_net(chain(6), keep=())
    for rows in (5, 50, 1, 50, 7):
        ws.feed("x", inputs(rows))
        ws.run_net("toy")
        assert np.array_equal(ws.fetch("t6"), inputs(rows))


def test_a_view_that_is_kept_keeps_what_it_shows():
    given = net(
        op("Negative", "x", "a"),
        op("Negative", "a", "b"),
        op("Reshape", "b", "v s", shape=[-1]),
        op("Negative", "x", "c"),
        op("Negative", "c", "d"),
        op("Negative", "d", "y"),
        gives="y",
    )
    ws = workspace()
    ws.create_net(given, keep=("v",))
    ws.run_net("toy")
    assert np.array_equal(ws.fetch("v"), inputs().reshape(-1))


def test_a_view_that_the_next_run_reads_first():
    given = net(
        op("Negative", "x", "a"),
        op("Add", "a state", "b"),
        op("Negative", "b", "c"),
        op("Reshape", "c", "state s", shape=[ROWS, COLUMNS]),
        op("Copy", "state", "y"),
        gives="y",
    )
    found = []
    for keep in (None, ()):
        ws = workspace()
        ws.feed("state", np.zeros((ROWS, COLUMNS), np.float32))
        ws.create_net(given, keep=keep)
        ws.run_net("toy", 5)
        found.append(ws.fetch("y"))
    assert np.array_equal(*found)


def test_a_sum_over_runs_keeps_its_storage():
    given = net(
        op("Negative", "x", "a"),
        op("Accumulate", "a", "total"),
        op("Negative", "total", "b"),
        op("Negative", "b", "y"),
        gives="y",
    )
    ws = workspace()
    ws.create_net(given, keep=())
    ws.run_net("toy", 3)
    assert np.allclose(ws.fetch("y"), -3 * inputs())


def test_an_error_leaves_the_net_usable():
    ws = workspace()
    given = net(op("Negative", "x", "a"), op("FC", "a w b", "c"), op("Relu", "c", "y"), gives="y")
    ws.create_net(given, keep=())
    ws.run_net("toy")
    good = ws.fetch("y")
    ws.feed("x", np.ones((2, 3), np.float32))
    with pytest.raises(Exception, match="op #1 FC"):
        ws.run_net("toy")
    ws.feed("x", inputs())
    ws.run_net("toy")
    assert np.array_equal(ws.fetch("y"), good)


def test_run_watched_before_and_after():
    ws = workspace()
    ws.create_net(chain(4), keep=())
    for _ in range(2):
        ws.net("toy").run_watched(lambda operator: None)
        assert np.array_equal(ws.fetch("t4"), inputs())
        ws.run_net("toy")
        assert np.array_equal(ws.fetch("t4"), inputs())


def test_pieces_do_not_overlap_and_unite_again():
    rng, arena, taken = np.random.default_rng(0), Arena(), []
    for _ in range(500):
        if taken and rng.random() < 0.5:
            arena.give_back(taken.pop(rng.integers(len(taken))))
            continue
        count = int(rng.integers(0, 5000))
        piece = arena.take(count)
        assert piece.size >= count
        assert piece.address % 64 == 0
        for other in taken:
            apart = piece.address + piece.size <= other.address
            assert apart or other.address + other.size <= piece.address
        taken.append(piece)
    for piece in taken:
        arena.give_back(piece)
    assert all(sum(p.block is b for p in arena.free) == 1 for b in arena.blocks)


# ---------------------------------------------------------------- computed in place of being joined

#: Nets in which blobs that are joined, or come in, have other names or other shapes meanwhile.
JOINED = {
    "another shape in place, wider": net(
        op("ExpandDims", "x", "x", dims=[0]),
        op("Negative", "x", "a"),
        op("Exp", "x", "b"),
        op("Concat", "a b", "y s", axis=0),
        op("Negative", "y", "z"),
        reads="x",
        gives="z",
    ),
    "another shape in place, narrower": net(
        op("Squeeze", "x", "x", dims=[0]),
        op("Negative", "x", "a"),
        op("Exp", "x", "b"),
        op("Concat", "a b", "y s", axis=0),
        op("Negative", "y", "z"),
        reads="x",
        gives="z",
    ),
    "a part is written by another name": net(
        op("Negative", "x", "a"),
        op("Alias", "a", "v"),
        op("Exp", "x", "b"),
        op("Concat", "a b", "w s", axis=0),
        op("Relu", "v", "v"),
        op("Negative", "w", "z"),
        reads="x",
        gives="z",
    ),
    "the whole is written by another name": net(
        op("Negative", "x", "a"),
        op("Exp", "x", "b"),
        op("Concat", "a b", "w s", axis=0),
        op("Alias", "w", "v"),
        op("Relu", "v", "v"),
        op("Negative", "a", "z"),
        op("Copy", "v", "u"),
        reads="x",
        gives="z u",
    ),
    "joined and joined again": net(
        op("Negative", "x", "a"),
        op("Exp", "x", "b"),
        op("Relu", "b", "b"),
        op("Concat", "a b x", "w s", axis=0),
        op("Concat", "w a", "y s2", axis=0),
        op("Negative", "y", "z"),
        reads="x",
        gives="z",
    ),
}


@pytest.mark.parametrize("name", JOINED)
def test_what_is_joined_is_the_same_from_the_first_run_on(name):
    given = JOINED[name]
    made = []
    for keep in (None, given.external_output):
        ws = Workspace()
        ws.create_blob("x")
        ws.create_net(given, keep=keep)
        for run in range(2):
            ws.feed("x", np.linspace(-1 - run, 2, 6, dtype=np.float32).reshape(1, 3, 2))
            ws.run_net(given.name)
            made.append([ws.fetch(blob) for blob in ("x", *given.external_output)])
    for plain, shared in zip(made[:2], made[2:], strict=True):
        for a, b in zip(plain, shared, strict=True):
            assert a.shape == b.shape
            assert a.tobytes() == b.tobytes()
