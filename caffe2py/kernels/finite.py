"""The search for values that are no numbers."""

from __future__ import annotations

import math
from typing import Any

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array

_LAST_STATUS = 2**31 - 1


@kernel()
def _require_finite(x: Any) -> Any:
    for i in range(x.size):
        if not math.isfinite(x[i]):
            return min(i + 1, _LAST_STATUS)
    return 0


_require_finite.form_from("totals", "require_finite")


def launch_require_finite(x: Array, name: str) -> Launch:
    """ValueRangeError (at run time) if an element of x, the blob `name`, is NaN or infinite."""
    flat = x.reshape(-1)

    def explain(status: int) -> Error:
        return ValueRangeError(
            f"'{name}' must be finite, but its element {status - 1} of {flat.size} is "
            f"{on_host(flat[status - 1 : status])[0]}"
        )

    return _require_finite(flat, explain=explain)
