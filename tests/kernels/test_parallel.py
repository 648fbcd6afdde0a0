"""Launches in parts: the same bits for every number of threads, and threads that come and go."""

import itertools
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from caffe2py.errors import KernelError, UsageError
from caffe2py.executor import session
from caffe2py.kernels import parallel
from caffe2py.kernels import workers as workers_module
from caffe2py.kernels.convolve import Correlation
from caffe2py.kernels.elementwise import launch_map
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.linalg import launch_product
from caffe2py.kernels.parallel import split, together
from caffe2py.kernels.table import Table
from caffe2py.kernels.window import Window
from caffe2py.registry import threads
from caffe2py.tensor.tensor import empty


class Call:
    def scratch(self, shape, dtype, *, brief=False):
        return empty(shape, np.dtype(dtype))

    def run_now(self, launch):
        assert Table([launch]).run() == 0

    def prepare(self, key, size, dtype, fill):
        array = empty((size,), np.dtype(dtype))
        self.run_now(fill(array))
        return array


@pytest.fixture
def always_split(monkeypatch):
    monkeypatch.setattr(parallel, "WORTH", 1e-9)
    monkeypatch.setattr(threads, "_count", 1)


def results(make):
    """What launches compute with each number of threads; `make` gives them and their results."""
    found = []
    for count in (1, 2, 3, 7):
        threads.set_thread_count(count)
        launches, outputs = make()
        assert (count == 1) == (not any(launch.beside for launch in launches))
        assert Table(launches).run() == 0
        found.append([np.array(output) for output in outputs])
    return found


def assert_same(found):
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


#: batch, rows, columns, terms, a and b transposed, bias, steady
PRODUCTS = {
    "many columns": (1, 20, 500, 70, False, False, False, ""),
    "many rows": (1, 500, 20, 70, False, False, True, ""),
    "packed": (1, 100, 120, 300, True, True, True, ""),
    "steady left": (1, 70, 200, 250, False, False, False, "a"),
    "steady right": (1, 50, 200, 250, False, True, True, "b"),
    "a few rows": (1, 3, 300, 600, False, True, True, ""),
    "one column": (1, 300, 1, 60, False, False, False, ""),
    "a batch": (9, 10, 12, 14, False, False, False, ""),
    "single columns at the end": (1, 30, 49, 40, False, False, False, ""),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products(always_split, name, dtype):
    batch, rows, columns, terms, left, right, biased, steady = PRODUCTS[name]
    rng = np.random.default_rng(1)

    def draw(*shape):
        return rng.uniform(-1, 1, shape).astype(dtype)

    a = draw(batch, terms, rows) if left else draw(batch, rows, terms)
    b = draw(batch, columns, terms) if right else draw(batch, terms, columns)
    bias = draw(columns) if biased else None

    def make():
        c = np.full((batch, rows, columns), np.nan, dtype)
        options = {"transpose_a": left, "transpose_b": right, "bias": bias, "steady": steady}
        return launch_product(Call(), a, b, c, **options), [c]

    assert_same(results(make))


#: images, groups, channels, filters, image, kernel, stride, pad, last, short
CONVOLUTIONS = {
    "unfolded": (2, 1, 5, 20, (30, 40), 3, 2, 1, False, False),
    "groups": (2, 3, 4, 5, (12, 9), 3, 1, 1, False, False),
    "channels last": (2, 1, 20, 50, (18, 17), 3, 1, 1, True, False),
    "short, many blocks": (2, 1, 32, 40, (29, 30), 3, 1, 1, False, True),
    "short, a small image": (1, 1, 64, 70, (7, 7), 3, 1, 1, False, True),
    "depthwise": (2, 11, 1, 1, (13, 14), 3, 1, 1, False, False),
    "a product": (2, 1, 30, 40, (13, 14), 1, 1, 0, False, False),
    "one dimension": (3, 1, 6, 7, (50,), 5, 1, 2, False, False),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("steady", [False, True])
def test_convolutions_and_their_gradients(always_split, name, steady):
    images, groups, channels, filters, image, kernel_, stride, pad, last, short = CONVOLUTIONS[name]
    rank = len(image)
    window = Window((kernel_,) * rank, (stride,) * rank, (1,) * rank, (pad,) * 2 * rank)
    use = Correlation(images, groups, channels, filters, image, window, last, short)
    rng = np.random.default_rng(2)

    def draw(n, depth, sizes):
        shape = (n, *sizes, depth) if last else (n, depth, *sizes)
        return rng.uniform(-1, 1, shape).astype(np.float32)

    x = draw(images, groups * channels, image)
    w = draw(groups * filters, channels, window.kernel)
    dy = draw(images, groups * filters, window.out(image))
    bias = rng.uniform(-1, 1, groups * filters).astype(np.float32)

    def make():
        y, dw, dx = (np.full_like(a, np.nan) for a in (dy, w, x))
        launches = [
            *use.launch(Call(), x, w, bias, y, steady=steady, low=0),
            *use.launch_filter_gradient(Call(), x, dy, dw),
            *use.launch_image_gradient(Call(), dy, w, dx),
        ]
        return launches, [y, dw, dx]

    assert_same(results(make))


def test_ranges_cover_everything_once(always_split):
    threads.set_thread_count(5)
    for count, multiple in [(0, 1), (1, 1), (4, 1), (100, 16), (97, 48), (5, 8)]:
        ranges = []
        split(count, 1e9, lambda a, b, r=ranges: r.append((a, b)) or launch_map(*ONE), multiple)
        assert ranges[0][0] == 0
        assert ranges[-1][1] == count
        assert all(a[1] == b[0] and b[0] % multiple == 0 for a, b in itertools.pairwise(ranges))


def test_little_work_stays_whole():
    assert len(split(1000, parallel.WORTH, lambda a, b: launch_map(*ONE))) == 1


def _negated(x):
    return -x


ONE = (_negated, [np.ones(3, np.float32)], np.ones(3, np.float32))


@kernel()
def _refuse(x, at):
    x[0] += 1
    if at[0] != 0:
        return 7
    return 0


def test_the_first_part_that_fails_is_reported(monkeypatch):
    monkeypatch.setattr(threads, "_count", 3)
    counts = [np.zeros(1) for _ in range(6)]
    fails = [np.array([k in (3, 5)], np.int64) for k in range(6)]
    launches = [_refuse(x, at) for x, at in zip(counts, fails, strict=True)]
    table = Table([launches[0], *together(launches[1:5]), launches[5]])
    assert table.run() == 7
    assert table.stopped == 3
    assert [x[0] for x in counts] == [1, 1, 1, 1, 1, 0]
    assert isinstance(table.launches[3].explain(7), KernelError)


def _busy_table(results_, rounds):
    """A table of groups, each of which adds one to every element, over and over."""

    def part(x):
        return launch_map(_one_more, [x], x)

    launches = []
    for _ in range(rounds):
        launches += together([part(x) for x in results_])
    return Table(launches)


def _one_more(x):
    return x + 1


def test_several_threads_run_tables_at_once(monkeypatch):
    monkeypatch.setattr(threads, "_count", 3)
    sums = [[np.zeros(100, np.float32) for _ in range(8)] for _ in range(4)]
    tables = [_busy_table(each, 50) for each in sums]
    runners = [threading.Thread(target=table.run, args=(20,)) for table in tables]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    assert all((x == 1000).all() for each in sums for x in each)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_makes_its_own_threads(monkeypatch):
    monkeypatch.setattr(threads, "_count", 2)
    sums = [np.zeros(10, np.float32) for _ in range(4)]
    table = _busy_table(sums, 3)
    assert table.run() == 0
    child = os.fork()
    if child == 0:
        done = table.run() == 0 and all((x == 6).all() for x in sums)
        os._exit(0 if done else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert table.run() == 0


def test_a_flag_of_caffe2_decides(monkeypatch):
    monkeypatch.setattr(threads, "_count", 1)
    session.GlobalInit(["program", "--caffe2_omp_num_threads=3"])
    assert threads.thread_count() == 3
    session.GlobalInit(["program", "--caffe2_omp_num_threads=0"])
    assert threads.thread_count() == 3


def test_threads_that_come_first_together_make_one_pool(monkeypatch):
    made = []
    begin = workers_module.Workers.__init__

    def slow(self):
        made.append(self)
        time.sleep(0.01)
        begin(self)

    monkeypatch.setattr(workers_module, "_workers", None)
    monkeypatch.setattr(workers_module.Workers, "__init__", slow)
    barrier, found = threading.Barrier(8), []

    def ask():
        barrier.wait()
        found.append(workers_module.workers())

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(made) == 1
    assert all(pool is made[0] for pool in found)


def test_a_thread_that_cannot_start_costs_its_help_only(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    pool = workers_module.Workers()
    monkeypatch.setattr(threads, "_count", 4)
    monkeypatch.setattr(workers_module._Helper, "start", refuse)
    for _ in range(2):
        assert pool.borrow()
        pool.release()
    assert pool._helpers == []


ENDING = """
import numpy as np
from caffe2py import core, workspace
net = core.Net("n")
net.Relu("x", "y")
workspace.FeedBlob("x", np.ones(1 << 20, np.float32))
workspace.CreateNet(net)
workspace.RunNet("n", 3)
"""


def test_a_process_ends_while_its_threads_wait():
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", ENDING],
            env={**os.environ, "CAFFE2PY_THREADS": "3"},
            capture_output=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("count", [0, -1, "many", None, 10**6])
def test_counts_that_are_none(count):
    with pytest.raises(UsageError, match="expected a number from 1 to 256"):
        threads.set_thread_count(count)


def test_the_environment_decides_at_first(monkeypatch):
    monkeypatch.setattr(threads, "_count", 0)
    monkeypatch.setenv("CAFFE2PY_THREADS", "5")
    assert threads.thread_count() == 5
    monkeypatch.setattr(threads, "_count", 0)
    monkeypatch.setenv("CAFFE2PY_THREADS", "none")
    with pytest.raises(UsageError, match="CAFFE2PY_THREADS is 'none'"):
        threads.thread_count()


def test_many_threads_have_to_be_asked_for(monkeypatch):
    monkeypatch.setattr(threads, "_count", 0)
    monkeypatch.delenv("CAFFE2PY_THREADS", raising=False)
    monkeypatch.setattr(threads, "available", lambda: 96)
    assert threads.thread_count() == 16
    threads.set_thread_count(96)
    assert threads.thread_count() == 96


#: cpu.max -> processors at most
QUOTAS = {"max 100000": None, "150000 100000": 1, "50000 100000": 1, "nonsense": None}


@pytest.mark.parametrize("text", QUOTAS)
def test_quotas_of_control_groups(monkeypatch, tmp_path, text):
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(threads, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    assert threads.available() == (QUOTAS[text] or 6)
