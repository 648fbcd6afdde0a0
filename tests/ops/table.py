"""All rows, from the modules in tests/ops/rows; and samples drawn with a seed of their own."""

import importlib
import pkgutil
import zlib

import numpy as np

import caffe2py.core  # noqa: F401
from caffe2py.testing import Case, Sample
from tests.ops import rows


def _cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for module in pkgutil.iter_modules(rows.__path__):
        for case in importlib.import_module(f"tests.ops.rows.{module.name}").CASES:
            assert case.op not in cases, f"two rows for {case.op}"
            cases[case.op] = case
    return cases


CASES = _cases()


def rng(case: Case) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(case.op.encode()))


def samples(case: Case) -> list[Sample]:
    return list(case.samples(rng(case)))
