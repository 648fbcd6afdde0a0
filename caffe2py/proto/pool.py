"""The descriptor pool that holds our messages.

A process has one default pool, and a pool holds one definition of each message. Usually ours go
there, and if somebody registered the very same files before us, both share the message classes.
But another Caffe2 may have registered a different ``caffe2/proto/caffe2.proto``; then ours live in
a pool of their own, so that both work side by side.
"""

import functools
from typing import Any

from google.protobuf import descriptor_database, descriptor_pool

from caffe2py.proto.descriptors_pb2 import FILES

_protobuf: Any = descriptor_pool  # its functions have no types, with or without type stubs

# What a pool raises on a second, different definition: the C pool, the pure-Python pool.
_CONFLICTS = (TypeError, descriptor_database.DescriptorDatabaseConflictingDefinitionError)


@functools.cache
def pool() -> Any:
    """The DescriptorPool with all our files in it, the same one at every call.

    All files are settled at once, because a message cannot refer to one in another pool.
    """
    try:
        return _filled(_protobuf.Default())
    except _CONFLICTS:
        return _filled(_protobuf.DescriptorPool())


def _filled(pool: Any) -> Any:
    for file in FILES:
        pool.AddSerializedFile(file)
    return pool
