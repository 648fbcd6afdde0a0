"""Records of nets, found again by the names of their blobs."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from caffe2py import core
from caffe2py.errors import UnsupportedError, UsageError


@pytest.fixture
def schema(monkeypatch):
    """A module that makes the simplest of records: columns and their blobs."""
    module = ModuleType("caffe2.python.schema")

    def from_column_list(names, col_blobs):
        return SimpleNamespace(
            field_names=lambda: names, field_blobs=lambda: col_blobs, has_blobs=lambda: True
        )

    module.from_column_list = from_column_list
    for name in ("caffe2", "caffe2.python", "caffe2.python.schema"):
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def net():
    made = core.Net("recorded")
    made.AddExternalInput("in/a:b", "other/c", "in/d")
    made.Relu("in/a:b", "out/e")
    made.AddExternalOutput("out/e")
    return made


def test_records_are_recovered(schema, net):
    net.recover_input_record_by_prefix("in/")
    assert net.input_record().field_names() == ["a:b", "d"]
    assert [str(blob) for blob in net.input_record().field_blobs()] == ["in/a:b", "in/d"]
    net.recover_output_record_by_prefix("out/")
    assert net.output_record().field_names() == ["e"]
    with pytest.raises(UsageError, match="cannot be set twice"):
        net.recover_input_record_by_prefix("other/")


def test_names_may_be_missing(net):
    net.recover_input_record_by_prefix("elsewhere/")
    net.recover_output_record_by_prefix("in/")
    assert net.input_record() is None
    assert net.output_record() is None


def test_a_schema_is_needed(net, monkeypatch):
    monkeypatch.setitem(sys.modules, "caffe2.python.schema", None)
    with pytest.raises(UnsupportedError, match=r"no module caffe2\.python\.schema"):
        net.recover_input_record_by_prefix("in/")
