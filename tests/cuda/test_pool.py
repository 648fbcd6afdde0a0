"""The pool: blocks are kept, given back when memory is short, and errors say what was wanted."""

import gc
import threading

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import BlobTypeError, MemoryBudgetError, UsageError
from caffe2py.executor.workspace import Workspace
from caffe2py.tensor.cuda.devices import cuda_device
from caffe2py.tensor.cuda.null import MEMORY, NullDriver
from caffe2py.tensor.cuda.pool import Pool
from tests.cuda.kit import CUDA, moved
from tests.toy import net, op

MIB = 1 << 20


class Counting(NullDriver):
    """Notes what is asked for and given back."""

    def __init__(self):
        super().__init__(1)
        self.calls = []

    def allocate(self, device, size):
        self.calls.append(size)
        return super().allocate(device, size)

    def release(self, device, address):
        self.calls.append(-self._blocks[device][address].nbytes)
        super().release(device, address)


@pytest.fixture
def driver():
    return Counting()


@pytest.mark.parametrize(
    ("size", "given"),
    [(0, 512), (1, 512), (512, 512), (513, 1024), (2 * MIB, 2 * MIB), (2 * MIB + 1, 4 * MIB)],
)
def test_sizes_are_rounded(driver, size, given):
    block = Pool(driver, 0, keep=True).allocate(size)
    assert block.nbytes == given
    assert driver.calls == [given]


def test_blocks_are_given_out_again(driver):
    pool = Pool(driver, 0, keep=True)
    first = pool.allocate(1000)
    address = first.address
    assert (pool.taken, pool.cached) == (1024, 0)
    del first
    assert (pool.taken, pool.cached) == (0, 1024)
    again = pool.allocate(600)
    assert again.address == address
    other = pool.allocate(600)
    assert other.address != address
    assert driver.calls == [1024, 1024]
    assert pool.peak == 2048


def test_what_is_kept_can_be_given_back(driver):
    pool = Pool(driver, 0, keep=True)
    pool.allocate(100)
    kept = pool.allocate(5000)
    pool.release_cached()
    assert pool.cached == 0
    assert driver.calls == [512, 5120, -512]
    assert pool.taken == kept.nbytes


def test_a_simulated_device_sees_each_end(driver):
    pool = Pool(driver, 0)
    pool.allocate(100)
    assert driver.calls == [512, -512]
    assert pool.cached == 0


def test_kept_blocks_give_way_when_the_device_is_full(driver):
    pool = Pool(driver, 0, keep=True)
    filling = [pool.allocate(MEMORY // 4) for _ in range(3)]
    filling.clear()
    assert pool.cached == 3 * (MEMORY // 4)
    large = pool.allocate(MEMORY // 2 + MIB)
    assert pool.cached == 0
    assert pool.taken == large.nbytes


def test_the_devices_end_and_then_the_next_block(driver, monkeypatch):
    monkeypatch.setenv("CAFFE2PY_MAX_CUDA_MEMORY", str(10 * MEMORY))
    pool = Pool(driver, 0, keep=True)
    half = pool.allocate(MEMORY // 2)
    with pytest.raises(MemoryBudgetError) as error:
        pool.allocate(MEMORY)
    assert str(error.value).endswith(
        f"cuda:0 cannot give {MEMORY} bytes: {MEMORY // 2} are in use, {MEMORY // 2} are free, "
        f"the budget is {10 * MEMORY}"
    )
    assert pool.taken == half.nbytes
    assert pool.allocate(100).nbytes == 512


def test_the_budget(driver, monkeypatch):
    monkeypatch.setenv("CAFFE2PY_MAX_CUDA_MEMORY", "4096")
    pool = Pool(driver, 0, keep=True)
    first, second = pool.allocate(2048), pool.allocate(1024)
    with pytest.raises(MemoryBudgetError, match="the budget is 4096"):
        pool.allocate(2048)
    del first
    third = pool.allocate(3072)  # what is kept counts, so it goes first
    assert driver.calls == [2048, 1024, -2048, 3072]
    assert pool.taken == second.nbytes + third.nbytes
    monkeypatch.setenv("CAFFE2PY_MAX_CUDA_MEMORY", "much")
    with pytest.raises(UsageError, match="CAFFE2PY_MAX_CUDA_MEMORY is 'much'; expected bytes"):
        pool.allocate(100)


@pytest.mark.parametrize("keep", [False, True])
def test_blocks_come_back_from_other_threads(driver, keep):
    pool = Pool(driver, 0, keep=keep)
    failures = []

    def work(seed):
        draw = np.random.default_rng(seed)
        held = []
        try:
            for size in draw.integers(1, 9000, 150):
                held.append(pool.allocate(int(size)))
                if len(held) > 5:
                    held.pop(int(draw.integers(6)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert not failures
    assert pool.taken == 0
    pool.release_cached()
    assert driver.free_memory(0) == MEMORY


def test_a_block_may_end_while_another_is_given_out(driver):
    """The collector runs at any moment, with the pool's lock taken."""

    class Collecting(Counting):
        def allocate(self, device, size):
            cycle = [pool]
            cycle.append(cycle)
            gc.collect()
            return super().allocate(device, size)

    inner = Collecting()
    pool = Pool(inner, 0)
    cycle = [pool.allocate(100)]
    cycle.append(cycle)
    del cycle
    block = pool.allocate(100)
    assert pool.taken == block.nbytes


# ---------------------------------------------------------------- what users see


def test_a_blob_that_does_not_fit_is_named_and_the_workspace_lives_on():
    workspace = Workspace()
    workspace.feed("x", np.ones(4, np.float32), CUDA)
    rows = MEMORY // 4 // 1024
    made = moved(net(op("ConstantFill", "", "large", shape=[rows, 1024]), op("Relu", "x", "y")))
    with pytest.raises(MemoryBudgetError) as error:
        workspace.run_net_once(made)
    assert str(error.value).startswith(
        f"net 'toy', op #0 ConstantFill: output 0 'large': float32({rows},1024), {MEMORY} bytes: "
        f"cuda:0 cannot give {MEMORY} bytes"
    )
    workspace.run_net_once(moved(net(op("Relu", "x", "y"), name="small")))
    assert workspace.fetch("y").tolist() == [1, 1, 1, 1]
    with pytest.raises(MemoryBudgetError, match=r"FeedBlob\('z', device cuda:0\): .*cuda:0 cannot"):
        workspace.feed("z", np.broadcast_to(np.uint8(0), (MEMORY,)), CUDA)
    assert workspace.fetch("x").tolist() == [1, 1, 1, 1]


def test_nothing_stays_behind():
    device = cuda_device(0)
    gc.collect()
    before = device.pool.taken
    workspace = Workspace()
    for k in range(4):
        workspace.feed("x", np.ones((k + 1, 300), np.float32), CUDA)
        workspace.create_net(
            moved(net(op("Relu", "x", "y"), op("Negative", "y", "z"))), overwrite=True
        )
        workspace.run_net("toy", 2)
    assert device.pool.taken > before
    del workspace
    gc.collect()
    assert device.pool.taken == before


def test_strings_are_not_for_devices():
    with pytest.raises(BlobTypeError, match=r"strings cannot be on cuda:0"):
        Workspace().feed("x", np.array(["a", "b"]), CUDA)


@pytest.mark.parametrize("size", [0, 1, 1000, (4 << 20) - 1, (4 << 20) + 3, (13 << 20) + 5])
def test_there_and_back(size):
    """Through the two halves of the staging memory, less and more than one of them."""
    values = np.random.default_rng(size).integers(0, 255, size).astype(np.uint8)
    workspace = Workspace()
    workspace.feed("x", values, CUDA)
    fed = values.copy()
    values[:] = 0
    np.testing.assert_array_equal(workspace.fetch("x"), fed)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 1), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "bool"])
def test_every_shape_and_type(shape, dtype):
    values = np.random.default_rng(1).uniform(0, 9, shape).astype(dtype)
    workspace = Workspace()
    workspace.feed("x", values, CUDA)
    found = workspace.fetch("x")
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    np.testing.assert_array_equal(found, values)


def test_a_strided_array():
    values = np.arange(12, dtype=np.float32).reshape(3, 4).T[::2]
    workspace = Workspace()
    workspace.feed("x", values, CUDA)
    np.testing.assert_array_equal(workspace.fetch("x"), values)
