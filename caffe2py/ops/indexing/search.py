"""Where values are in a list: found, unique, duplicate ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.kernels.lookup import launch_find, launch_order_unique, launch_unique
from caffe2py.ops.indexing.common import INDEX_TYPES, INT32, INT64
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.place import on_host
from caffe2py.tensor.types import TensorType


def _infer_find(query: Query) -> Sequence[TensorType]:
    for index in (0, 1):
        require_dtype(query, index, *INDEX_TYPES)
    return [TensorType(require_same_dtype(query, 0, 1), query.inputs[1].shape)]


_find = operator(
    "Find",
    "index, query -> query_indices",
    infer=_infer_find,
    gradient=NotDifferentiable("integers have no gradient"),
    missing_value=Arg(int, -1, "what stands for numbers that are not in the list"),
    doc="""
    query_indices[k] = the last place of query[k] in the flattened `index`, or missing_value. All
    are of one type, int32 or int64; the result has the shape of query.
    """,
    example="""
    index = [4, 7, 4]; query = [4, 5]
    query_indices = [2, -1]
    """,
)


@_find.everywhere
def _launch_find(call: Call) -> list[Launch]:
    values, wanted = call.inputs
    return launch_find(call, values, wanted, call.args.missing_value, call.outputs[0])


def _infer_unique(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *INDEX_TYPES)
    require_rank(query, 0, 1)
    x = query.inputs[0]
    return [TensorType(x.dtype, (None,)), TensorType(INT32, x.shape)][: query.outputs]


_unique = operator(
    "Unique",
    "indices -> unique_indices, remapping?",
    infer=_infer_unique,
    gradient=NotDifferentiable("integers have no gradient"),
    doc="""
    unique_indices = the different numbers of a vector of int32 or int64, in ascending order;
    remapping[k] = the place of indices[k] among them, int32.
    """,
    example="""
    indices = [3, 1, 3, 2]
    unique_indices = [1, 2, 3]; remapping = [2, 0, 2, 1]
    """,
)


@_unique.cpu_dynamic()
def _run_unique(call: Call) -> None:
    values, places = np.unique(call.inputs[0], return_inverse=True)
    call.output(0, values.shape, values.dtype)[...] = values
    if call.output_count > 1:
        call.outputs[1][...] = places


def _run_unique_there(call: Call) -> list[Launch]:
    """The host waits to know how many different numbers there are."""
    x = call.inputs[0]
    order, before = call.scratch(x.shape, INT64), call.scratch((x.size + 1,), INT64)
    for launch in launch_order_unique(x, order, before):
        call.run_now(launch)
    count = int(on_host(before[x.size :])[0])
    values = call.output(0, (count,), x.dtype)
    places = call.outputs[1] if call.output_count > 1 else call.scratch(x.shape, INT32)
    return [launch_unique(x, order, before, values, places)]


_unique.cuda_dynamic(_run_unique_there)


def _infer_duplicates(query: Query) -> Sequence[TensorType]:
    require_rank(query, 0, 1)
    return [TensorType(INT64, (None,))]


_duplicates = operator(
    "FindDuplicateElements",
    "data -> indices",
    infer=_infer_duplicates,
    gradient=NotDifferentiable("it compares"),
    doc="""
    indices = the places in the vector `data` whose element came before, in order, int64. Any type;
    a NaN equals nothing.
    """,
    example="""
    data = [4, 7, 4, 4]
    indices = [2, 3]
    """,
)


@_duplicates.cpu_dynamic()
def _run_duplicates(call: Call) -> None:
    seen: set[object] = set()
    found = []
    for place, value in enumerate(call.inputs[0].tolist()):
        if value in seen:
            found.append(place)
        seen.add(value)
    call.output(0, (len(found),), INT64)[...] = found
