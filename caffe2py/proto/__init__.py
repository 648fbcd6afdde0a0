"""What can be done with a NetDef without knowing what any operator means.

The messages are in ``caffe2_pb2`` (and ``metanet_pb2``, ``predictor_consts_pb2``, ``hsm_pb2``,
``prof_dag_pb2``), generated from the repository's ``proto/`` folder. ``args`` turns arguments into
Python values and back, ``text`` prints and parses, ``files`` reads and writes, ``analysis`` answers
questions about names and order.

The kinds of device also have the short names that scripts use, here (``proto.CUDA``) and in the
generated module (``caffe2_pb2.CUDA``). They are set here because this file runs before any
module of the package does, and because the generated module is overwritten.
"""

from caffe2py.proto import caffe2_pb2

__all__ = [
    "COMPILE_TIME_MAX_DEVICE_TYPES",
    "CPU",
    "CUDA",
    "HIP",
    "IDEEP",
    "MKLDNN",
    "OPENCL",
    "OPENGL",
    "caffe2_pb2",
]

CPU: int = caffe2_pb2.PROTO_CPU
CUDA: int = caffe2_pb2.PROTO_CUDA
MKLDNN: int = caffe2_pb2.PROTO_MKLDNN
OPENGL: int = caffe2_pb2.PROTO_OPENGL
OPENCL: int = caffe2_pb2.PROTO_OPENCL
IDEEP: int = caffe2_pb2.PROTO_IDEEP
HIP: int = caffe2_pb2.PROTO_HIP
COMPILE_TIME_MAX_DEVICE_TYPES: int = caffe2_pb2.PROTO_COMPILE_TIME_MAX_DEVICE_TYPES

for _alias in __all__[:-1]:
    setattr(caffe2_pb2, _alias, globals()[_alias])
