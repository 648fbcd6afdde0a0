"""InjectCrossDeviceCopies: every operator finds its inputs on its own device."""

import pytest

from caffe2py import core
from caffe2py.errors import DeviceError, NetError, UsageError
from caffe2py.proto import caffe2_pb2

CPU = core.DeviceOption(caffe2_pb2.CPU)
GPUS = [core.DeviceOption(caffe2_pb2.CUDA, k) for k in range(2)]


def lines(net):
    return [f"{op.type} {' '.join(op.input)} -> {' '.join(op.output)}" for op in net.Proto().op]


def two_devices():
    """A layer on a GPU between operators on the CPU."""
    net = core.Net("two")
    net.AddExternalInput("x", "w", "b")
    with core.DeviceScope(GPUS[0]):
        net.FC(["x", "w", "b"], "y")
        net.Relu("y", "y")
    net.Softmax("y", "z")
    net.Sigmoid("y", "u")
    return net


def test_each_blob_is_copied_once():
    net = two_devices()
    made, devices = core.InjectCrossDeviceCopies(net, {"x": CPU, "w": GPUS[0], "b": GPUS[0]})
    assert lines(made) == [
        "CopyCPUToGPU x -> x_gpu_0",
        "FC x_gpu_0 w b -> y",
        "Relu y -> y",
        "CopyGPUToCPU y -> y_cpu",
        "Softmax y_cpu -> z",
        "Sigmoid y_cpu -> u",
    ]
    assert [op.device_option.device_type for op in made.Proto().op] == [1, 1, 1, 1, 0, 0]
    assert (devices["y"].device_type, devices["y_cpu"].device_type) == (1, 0)
    assert lines(net)[0] == "FC x w b -> y"


def test_external_inputs_lie_on_the_device_of_the_net():
    net = core.Net("one")
    net.AddExternalInput("x")
    net.Proto().device_option.CopyFrom(GPUS[1])
    with core.DeviceScope(GPUS[1]):
        net.Relu("x", "y")
    assert lines(core.InjectCrossDeviceCopies(net)[0]) == ["Relu x -> y"]
    with core.DeviceScope(GPUS[0]):
        net.Relu("y", "z")
    assert lines(core.InjectCrossDeviceCopies(net)[0])[1:] == [
        "Copy y -> y_gpu_0",
        "Relu y_gpu_0 -> z",
    ]


def test_a_copy_is_changed_in_place():
    net = core.Net("inplace")
    net.AddExternalInput("x")
    with core.DeviceScope(GPUS[0]):
        net.Relu("x", "x")
    made, _ = core.InjectCrossDeviceCopies(net)
    assert lines(made) == ["CopyCPUToGPU x -> x_gpu_0", "Relu x_gpu_0 -> x_gpu_0"]


def test_nets_share_copies():
    first, second = core.Net("first"), core.Net("second")
    for net, name in ((first, "first"), (second, "second")):
        net.AddExternalInput("x")
        with core.DeviceScope(GPUS[0]):
            net.Relu("x", f"y_{name}")
    made, devices = core.InjectDeviceCopiesAmongNets([first, second], {"x": CPU})
    assert lines(made[0]) == ["CopyCPUToGPU x -> x_gpu_0", "Relu x_gpu_0 -> y_first"]
    assert lines(made[1]) == ["Relu x_gpu_0 -> y_second"]
    assert "x_gpu_0" in made[1].Proto().external_input
    assert devices["y_second"].device_type == caffe2_pb2.CUDA
    alone = core.InjectDeviceCopiesAmongNetsWithoutB2D([first, second], {"x": CPU})
    assert [lines(net) for net in alone] == [lines(net) for net in made]


def test_what_cannot_be_placed():
    net = core.Net("moved")
    net.AddExternalInput("x")
    net.Relu("x", "y")
    with core.DeviceScope(GPUS[0]):
        net.ConstantFill([], "y", shape=[1])
    with pytest.raises(DeviceError, match="'y' is written on two devices"):
        core.InjectCrossDeviceCopies(net)
    lost = core.Net("lost")
    lost.Relu("x", "y")
    del lost.Proto().external_input[:]
    lost.Proto().op[0].input[0] = "elsewhere"
    with pytest.raises(NetError, match="should be defined"):
        core.InjectCrossDeviceCopies(lost)
    with pytest.raises(UsageError, match="list of nets"):
        core.InjectDeviceCopiesAmongNets(net)
    other = core.DeviceOption(caffe2_pb2.OPENCL)
    with pytest.raises(DeviceError, match="no copy"):
        core.copy_func_between_devices(CPU, other)


def test_copies_between_two_devices():
    def copied(source, target):
        function = core.copy_func_between_devices(source, target)
        if function is None:
            return None
        net = core.Net("copied")
        function(net, "x", "y")
        (op,) = net.Proto().op
        return op.type, op.device_option.device_type, op.device_option.device_id

    assert copied(CPU, CPU) is None
    assert copied(GPUS[1], GPUS[1]) is None
    assert copied(CPU, GPUS[1]) == ("CopyCPUToGPU", 1, 1)
    assert copied(GPUS[1], CPU) == ("CopyGPUToCPU", 1, 1)
    assert copied(GPUS[0], GPUS[1]) == ("Copy", 1, 1)
    assert core.device_equal(GPUS[0], core.DeviceOption(caffe2_pb2.CUDA))
    op = core.CreateOperator("Add", ["a", "b"], ["c"])
    core.remap_input(op, {"b": "d"})
    assert list(op.input) == ["a", "d"]
