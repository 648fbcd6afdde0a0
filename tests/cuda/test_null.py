"""The null device: it does nothing early, forgives nothing, and refuses what the driver refuses."""

import threading

import numpy as np
import pytest

from caffe2py.errors import DeviceError
from caffe2py.tensor.cuda.driver import OutOfMemory
from caffe2py.tensor.cuda.null import MEMORY, NullDriver


class Bench:
    """Two devices, streams of the first, and numbers of float32 in its memory."""

    def __init__(self):
        self.driver = NullDriver(2)
        self.a, self.b, self.c = (self.driver.stream(0) for _ in range(3))
        self.first, self.second = (self.driver.event(0) for _ in range(2))

    def number(self, device=0):
        return self.driver.allocate(device, 4)

    def put(self, stream, address, value):
        self.driver.upload(0, stream, address, np.array([value], np.float32))

    def copy(self, stream, target, source):
        self.driver.move(0, stream, target, source, 4, 0)

    def get(self, address):
        """What is there now, whatever is still queued."""
        found = np.empty(1, np.float32)
        stream = self.driver.stream(0)
        self.driver.download(0, stream, found, address)
        self.driver.synchronize(0, stream)
        return float(found[0])

    def captured(self, work):
        """The graph of what `work` queues."""
        self.driver.begin_capture(0, self.a)
        try:
            work()
        finally:
            self.graph = self.driver.end_capture(0, self.a)
        return self.graph

    def run(self, graph, times=1):
        for _ in range(times):
            self.driver.run_graph(0, self.a, graph)
        self.driver.synchronize(0, self.a)


@pytest.fixture
def bench():
    return Bench()


# ---------------------------------------------------------------- order


def test_nothing_runs_before_somebody_waits(bench):
    x = bench.number()
    bench.put(bench.a, x, 3)
    assert np.isnan(bench.get(x))
    bench.driver.synchronize(0, bench.a)
    assert bench.get(x) == 3


def test_a_stream_runs_in_order(bench):
    x, y = bench.number(), bench.number()
    bench.put(bench.a, x, 1)
    bench.copy(bench.a, y, x)
    bench.put(bench.a, x, 2)
    bench.driver.clear(0, bench.a, x, 4)
    bench.driver.synchronize(0, bench.a)
    assert (bench.get(x), bench.get(y)) == (0, 1)


def test_work_that_did_not_wait_sees_old_memory(bench):
    x, y = bench.number(), bench.number()
    bench.put(bench.a, x, 3)
    bench.copy(bench.b, y, x)
    bench.driver.synchronize(0, bench.b)
    assert np.isnan(bench.get(y))


def test_work_that_waited_for_the_event_sees_new_memory(bench):
    x, y = bench.number(), bench.number()
    bench.put(bench.a, x, 3)
    bench.driver.record(0, bench.first, bench.a)
    bench.put(bench.a, x, 4)
    bench.driver.wait(0, bench.b, bench.first)
    bench.copy(bench.b, y, x)
    bench.driver.synchronize(0, bench.b)
    assert bench.get(y) == 3, "it runs the other stream as far as the event, and no further"
    bench.driver.synchronize(0, bench.a)
    assert bench.get(x) == 4


def test_the_host_waits_for_an_event(bench):
    x = bench.number()
    bench.put(bench.a, x, 3)
    bench.driver.record(0, bench.first, bench.a)
    bench.put(bench.a, x, 4)
    bench.driver.wait_on_host(0, bench.first)
    assert bench.get(x) == 3
    bench.driver.wait_on_host(0, bench.second)  # stands for nothing yet
    bench.driver.wait(0, bench.b, bench.second)
    bench.driver.synchronize(0, bench.b)
    assert bench.get(x) == 3


def test_a_source_that_changes_too_early_shows(bench):
    source, x = np.ones(1, np.float32), bench.number()
    bench.driver.upload(0, bench.a, x, source)
    source[0] = 7
    bench.driver.synchronize(0, bench.a)
    assert bench.get(x) == 7


def test_streams_and_events_are_those_of_one_device(bench):
    with pytest.raises(DeviceError, match=f"cuda:1: {bench.a} is no stream of it"):
        bench.driver.synchronize(1, bench.a)
    with pytest.raises(DeviceError, match="99 is no stream"):
        bench.driver.clear(0, 99, bench.number(), 4)
    with pytest.raises(DeviceError, match="99 is no event"):
        bench.driver.wait(0, bench.a, 99)
    with pytest.raises(DeviceError, match="one of cuda:0"):
        bench.driver.record(1, bench.first, bench.driver.stream(1))
    bench.driver.synchronize(1, 1)  # the legacy stream is everybody's


def test_two_devices_and_a_copy_between_them(bench):
    x, far = bench.number(), bench.number(1)
    bench.put(bench.a, x, 5)
    bench.driver.synchronize(0, bench.a)
    stream = bench.driver.stream(1)
    bench.driver.move(1, stream, far, x, 4, 0)
    found = np.empty(1, np.float32)
    bench.driver.download(1, stream, found, far)
    bench.driver.synchronize(1, stream)
    assert found[0] == 5
    with pytest.raises(DeviceError, match="cuda:1: a copy to the host touches 4 bytes"):
        bench.driver.download(1, stream, found, x)


# ---------------------------------------------------------------- memory


def test_new_and_released_memory_is_poisoned(bench):
    x = bench.number()
    view = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_uint8 * 4).from_address(x))
    assert (view == 0xFF).all()
    bench.put(bench.a, x, 1)
    bench.driver.synchronize(0, bench.a)
    block = bench.driver._blocks[0][x]
    bench.driver.release(0, x)
    assert (block == 0xFF).all()


def test_memory_that_is_released_before_its_work_runs(bench):
    x = bench.number()
    bench.put(bench.a, x, 1)
    bench.driver.release(0, x)
    with pytest.raises(DeviceError, match=r"a copy to the device touches 4 bytes at 0x"):
        bench.driver.synchronize(0, bench.a)


def test_memory_of_the_same_place_is_not_the_same_memory(bench):
    x = bench.number()
    bench.driver.clear(0, bench.a, x, 4)
    block = bench.driver._blocks[0][x]
    bench.driver.release(0, x)
    bench.driver._blocks[0][x] = block[:]  # as if it had been given to somebody else
    with pytest.raises(DeviceError, match="clearing touches"):
        bench.driver.synchronize(0, bench.a)


@pytest.mark.parametrize("offset", [-1, 1, 4])
def test_bytes_around_a_block(bench, offset):
    with pytest.raises(DeviceError, match="not allocated"):
        bench.driver.clear(0, bench.a, bench.number() + offset, 4)


def test_a_kernel_may_use_what_is_allocated_only(bench):
    ran = []
    x = bench.number()
    values = np.zeros(1, np.int64)
    kernel = lambda grid, block, values: ran.append((grid, block))  # noqa: E731
    bench.driver.launch(0, bench.a, kernel, 2, 3, values, [(x, 4)])
    bench.driver.synchronize(0, bench.a)
    assert ran == [(2, 3)]
    bench.driver.launch(0, bench.a, kernel, 2, 3, values, [(x, 4)])
    bench.driver.release(0, x)
    with pytest.raises(DeviceError, match="kernel '<lambda>' touches 4 bytes"):
        bench.driver.synchronize(0, bench.a)
    assert len(ran) == 1


def test_after_a_fault_what_was_queued_is_gone(bench):
    x, y = bench.number(), bench.number()
    bench.put(bench.a, x, 1)
    bench.put(bench.a, y, 1)
    bench.driver.release(0, x)
    with pytest.raises(DeviceError):
        bench.driver.synchronize(0, bench.a)
    bench.driver.synchronize(0, bench.a)
    assert np.isnan(bench.get(y))


def test_double_release(bench):
    x = bench.number()
    bench.driver.release(0, x)
    with pytest.raises(DeviceError, match="which is not allocated"):
        bench.driver.release(0, x)
    with pytest.raises(DeviceError, match="which is not allocated"):
        bench.driver.release(1, bench.number(0))


def test_out_of_memory(bench):
    half = bench.driver.allocate(0, MEMORY // 2)
    with pytest.raises(OutOfMemory):
        bench.driver.allocate(0, MEMORY // 2 + 1)
    assert bench.driver.free_memory(0) == MEMORY // 2
    assert bench.driver.free_memory(1) == MEMORY
    bench.driver.release(0, half)
    assert bench.driver.free_memory(0) == MEMORY
    assert bench.driver.allocate(0, 100) % 256 == 0
    with pytest.raises(DeviceError, match="0 bytes"):
        bench.driver.allocate(0, 0)


# ---------------------------------------------------------------- graphs


def test_a_graph_runs_as_often_as_it_is_queued(bench):
    x, y = bench.number(), bench.number()
    graph = bench.captured(lambda: bench.copy(bench.a, y, x))
    bench.driver.synchronize(0, bench.a)
    assert np.isnan(bench.get(y)), "noting runs nothing"
    for value in (1, 2):
        bench.put(bench.a, x, value)
        bench.run(graph)
        assert bench.get(y) == value


def test_streams_of_a_graph_wait_for_what_they_waited_for(bench):
    x, y, z = (bench.number() for _ in range(3))

    def work():
        bench.put(bench.a, x, 3)
        bench.driver.record(0, bench.first, bench.a)
        bench.driver.wait(0, bench.b, bench.first)
        bench.copy(bench.b, y, x)
        bench.driver.record(0, bench.second, bench.b)
        bench.driver.wait(0, bench.a, bench.second)
        bench.copy(bench.a, z, y)

    bench.run(bench.captured(work), 2)
    assert (bench.get(y), bench.get(z)) == (3, 3)


def test_streams_of_a_graph_wait_for_nothing_else(bench):
    """b begins behind the beginning only: it may run before what a has noted, and so it does."""
    x, y = bench.number(), bench.number()

    def work():
        bench.driver.record(0, bench.first, bench.a)
        bench.driver.wait(0, bench.b, bench.first)
        bench.put(bench.a, x, 3)
        bench.copy(bench.b, y, x)  # forgets to wait for it
        bench.driver.record(0, bench.second, bench.b)
        bench.driver.wait(0, bench.a, bench.second)

    bench.run(bench.captured(work))
    assert np.isnan(bench.get(y))
    assert bench.get(x) == 3


def test_a_stream_that_took_part_has_to_be_waited_for(bench):
    x = bench.number()

    def work():
        bench.driver.record(0, bench.first, bench.a)
        bench.driver.wait(0, bench.b, bench.first)
        bench.put(bench.b, x, 1)

    with pytest.raises(DeviceError, match="a stream that took part was not waited for"):
        bench.captured(work)
    bench.put(bench.b, x, 2)  # and is an ordinary one again
    bench.driver.synchronize(0, bench.b)
    assert bench.get(x) == 2


FORBIDDEN = {
    "the host waits for a stream of it": lambda b: b.driver.synchronize(0, b.a),
    "the host waits in the same thread": lambda b: b.driver.synchronize(0, b.c),
    "memory is asked for in the same": lambda b: b.driver.allocate(0, 4),
    "a stream is made in the same thread": lambda b: b.driver.stream(0),
    "an event is made in the same thread": lambda b: b.driver.event(0),
    "an event from before the capture": lambda b: b.driver.wait(0, b.a, b.first),
    "another capture of its stream": lambda b: b.driver.begin_capture(0, b.a),
}


@pytest.mark.parametrize("message", FORBIDDEN)
def test_what_a_capture_does_not_survive(bench, message):
    x = bench.number()
    bench.put(bench.c, x, 1)
    bench.driver.record(0, bench.first, bench.c)
    bench.driver.begin_capture(0, bench.a)
    with pytest.raises(DeviceError, match=message):
        FORBIDDEN[message](bench)
    with pytest.raises(DeviceError, match="there is no graph"):
        bench.driver.end_capture(0, bench.a)
    bench.driver.synchronize(0, bench.c)
    assert bench.get(x) == 1


def test_events_of_a_capture_stand_for_nothing_outside(bench):
    def work():
        bench.driver.record(0, bench.first, bench.a)

    bench.captured(work)
    with pytest.raises(DeviceError, match="stands for nothing outside"):
        bench.driver.wait(0, bench.b, bench.first)
    with pytest.raises(DeviceError, match="the host waits for an event of it"):
        bench.driver.wait_on_host(0, bench.first)


def test_captures_do_not_mix(bench):
    bench.driver.begin_capture(0, bench.a)
    bench.driver.record(0, bench.first, bench.a)
    bench.driver.begin_capture(0, bench.b)
    with pytest.raises(DeviceError, match="an event of another capture"):
        bench.driver.wait(0, bench.b, bench.first)
    with pytest.raises(DeviceError, match="has not begun"):
        bench.driver.end_capture(0, bench.c)


def test_a_graph_keeps_no_memory_alive(bench):
    x = bench.number()
    graph = bench.captured(lambda: bench.driver.clear(0, bench.a, x, 4))
    bench.run(graph)
    bench.driver.release(0, x)
    bench.driver.allocate(0, 4)
    with pytest.raises(DeviceError, match="clearing touches 4 bytes"):
        bench.run(graph)


def test_a_graph_belongs_to_its_device(bench):
    graph = bench.captured(lambda: None)
    with pytest.raises(DeviceError, match="the graph is one of cuda:0"):
        bench.driver.run_graph(1, bench.driver.stream(1), graph)


def test_other_threads_do_not_disturb_a_capture(bench):
    x, y = bench.number(), bench.number()
    failures = []

    def other():
        try:
            bench.put(bench.c, y, 2)
            bench.driver.synchronize(0, bench.c)
            bench.driver.release(0, bench.driver.allocate(0, 4))
        except DeviceError as error:
            failures.append(error)

    def work():
        bench.put(bench.a, x, 1)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    graph = bench.captured(work)
    assert not failures
    assert bench.get(y) == 2
    assert np.isnan(bench.get(x))
    bench.run(graph)
    assert bench.get(x) == 1


def test_a_capture_ends_in_the_thread_where_it_began(bench):
    bench.driver.begin_capture(0, bench.a)
    failures = []

    def other():
        try:
            bench.driver.end_capture(0, bench.a)
        except DeviceError as error:
            failures.append(str(error))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert "another thread ends it" in failures[0]
