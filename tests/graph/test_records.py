"""Records of nets, found again by the names of their blobs."""

import pytest

from caffe2py import core
from caffe2py.errors import UsageError


@pytest.fixture
def net():
    made = core.Net("recorded")
    made.AddExternalInput("in/a:b", "other/c", "in/d")
    made.Relu("in/a:b", "out/e")
    made.AddExternalOutput("out/e")
    return made


def test_records_are_recovered(net):
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
