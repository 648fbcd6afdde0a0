"""What the public modules offer, and how light they are to import."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import caffe2py

PACKAGE = Path(caffe2py.__file__).parent

#: Every public module and its `__all__`: a change here is a change for users.
PUBLIC = {
    "core": """
        BlobReference CreateOperator CurrentDeviceScope CurrentNameScope DataType DeviceOption
        DeviceScope EmptyDeviceScope EmptyNameScope ExecutionStep GetGlobalInitArgs GlobalInit
        IsGPUDeviceType IsOperator IsOperatorWithEngine NameScope Net Plan
        RefreshRegisteredOperators ScopedBlobReference ScopedName add_nets_in_order
        device_option_equal execution_step get_net_name get_output_producers get_ssa
        get_undefined_blobs output_to_list scoped_execution_step""",
    "workspace": """
        Blobs CreateBlob CreateNet CurrentWorkspace DeleteNet DeserializeBlob FeedBlob FetchBlob
        FetchBlobs GetNameScope GlobalInit HasBlob InferShapesAndTypes Nets NumCudaDevices
        NumGpuDevices RegisteredOperators RemoveBlob ResetBlob ResetWorkspace RootFolder RunNet
        RunNetOnce RunOperatorMultiple RunOperatorOnce RunOperatorsOnce RunPlan SerializeBlob
        SwitchWorkspace Workspace WorkspaceGuard Workspaces blobs current has_cuda_support
        has_gpu_support""",
    "utils": """
        ArgsToDict Caffe2TensorToNumpyArray MakeArgument NCHW2NHWC NHWC2NCHW
        NumpyArrayToCaffe2Tensor""",
}


@pytest.mark.parametrize("name", PUBLIC)
def test_all(name):
    module = importlib.import_module(f"caffe2py.{name}")
    assert sorted(module.__all__) == sorted(PUBLIC[name].split())
    assert all(hasattr(module, symbol) for symbol in module.__all__)
    assert len((PACKAGE / f"{name}.py").read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_is_documented(name):
    module = importlib.import_module(f"caffe2py.{name}")
    for symbol in module.__all__:
        value = getattr(module, symbol)
        if callable(value):
            assert value.__doc__, symbol


def _python(program):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return ast.literal_eval(done.stdout)


def test_the_package_imports_nothing():
    loaded = _python(
        "import sys; before = set(sys.modules); import caffe2py; "
        "print(sorted(set(sys.modules) - before))"
    )
    assert loaded == ["caffe2py"]


def test_core_is_light():
    heavy = ("numba", "llvmlite", "scipy", "PIL", "click")
    loaded = _python(
        f"import sys, caffe2py.core; print([name for name in {heavy} if name in sys.modules])"
    )
    assert loaded == []


def test_core_brings_in_the_operators():
    assert _python("from caffe2py import core; print(core.IsOperator('Relu'))")
    assert _python(
        "from caffe2py import workspace; print('Relu' in workspace.RegisteredOperators())"
    )
