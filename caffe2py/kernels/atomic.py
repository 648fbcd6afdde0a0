"""What threads share: elements of an int64 array that are read and written in one step."""

from __future__ import annotations

from caffe2py.kernels.params import Intrinsic

_FILES = ("emit.py", "emit_atomic.py")

#: atomic_load(array, i) -> int64
atomic_load = Intrinsic("atomic_load", _FILES)

#: atomic_store(array, i, value)
atomic_store = Intrinsic("atomic_store", _FILES)

#: atomic_add(array, i, value) -> int64: what was there before.
atomic_add = Intrinsic("atomic_add", _FILES)

#: atomic_exchange(array, i, old, new) -> bool: write new if it is old; whether it was.
atomic_exchange = Intrinsic("atomic_exchange", _FILES)

#: pause(): let the processor know that a loop waits for another thread.
pause = Intrinsic("pause", _FILES)

#: give_way(): let another thread run that waits for this processor.
give_way = Intrinsic("give_way", _FILES)
