"""Fields and records: their names, types and blobs, and what is made of them."""

import copy
import pickle

import numpy as np
import pytest

from caffe2py import core, schema, workspace
from caffe2py.schema import List, ListWithEvicted, Map, Metadata, Scalar, Struct


def nested():
    return Struct(
        ("label", np.int32),
        ("words", List(Struct(("id", np.int64), ("score", np.float32)))),
        ("image:pixels", Scalar((np.uint8, (4, 5)))),
        ("image", Struct(("name", str))),
    )


NAMES = [
    "label",
    "words:lengths",
    "words:values:id",
    "words:values:score",
    "image:pixels",
    "image:name",
]


def test_names_types_and_places():
    record = nested()
    assert record.field_names() == NAMES
    types = [np.int32, np.int32, np.int64, np.float32, (np.uint8, (4, 5)), str]
    assert record.field_types() == [np.dtype(t) for t in types]
    assert record.words.slice() == slice(1, 4)
    assert record.words.score.id() == record["words:values:score"].id() == 3
    assert record.image.slice() == slice(4, 6)
    assert "words:values:id" in record
    assert "words:id:x" not in record
    assert not record.has_blobs()


@pytest.mark.parametrize("copied", [pickle.loads, copy.deepcopy, lambda r: r.clone()])
def test_copies_are_equal(copied):
    record = nested()
    made = copied(pickle.dumps(record) if copied is pickle.loads else record)
    assert made == record
    assert made is not record
    assert made.words.slice() == slice(1, 4)
    assert repr(made) == repr(record)


def test_structs_add_and_subtract():
    a = Struct(("x", np.int32), ("s", Struct(("p", str), ("q", str))))
    b = Struct(("y", np.int32), ("s", Struct(("r", str))))
    assert (a + b).field_names() == ["x", "s:p", "s:q", "s:r", "y"]
    assert (a + b - b).field_names() == ["x", "s:p", "s:q"]
    assert (a - Struct(("s:p", str), ("s:q", str))).field_names() == ["x"]
    assert (a - b).field_names() == ["x", "s:p", "s:q"]
    for wrong in (lambda: a + a, lambda: a + 1, lambda: a - 1, lambda: a - Struct(("s", str))):
        with pytest.raises(TypeError):
            wrong()


def test_structs_are_indexed():
    record = schema.Tuple(np.int32, str, np.float32)
    assert record[0] == record.field_0 == Scalar(np.int32)
    assert record[2, "field_1"].field_names() == ["field_2", "field_1"]
    assert list(record) == [record[0], record[1], record[2]]
    assert len(record) == 3
    assert record.get("nothing", 7) == 7
    with pytest.raises(KeyError, match='field "x:y" not found'):
        record["x:y"]
    with pytest.raises(IndexError):
        record[3]
    with pytest.raises(TypeError, match="cannot be changed"):
        record.field_0 = Scalar()


def test_lists_show_what_is_in_them():
    pairs = Map(np.int64, np.float32)
    assert pairs.keys == Scalar(np.int64)
    assert pairs["values:values"] == pairs.values == Scalar(np.float32)
    numbers = List(np.int32)
    assert numbers.items == numbers.value == numbers["values"]
    with pytest.raises(AttributeError, match="no field nothing"):
        numbers.nothing  # noqa: B018
    with pytest.raises(KeyError, match="no field lengths:x"):
        numbers["lengths:x"]
    evicted = ListWithEvicted(np.int32)
    assert evicted.field_names() == ["lengths", "values", "_evicted_values"]
    assert evicted.clone().field_types()[2] == np.int64
    assert schema.MapWithEvicted(str, str).field_names()[-1] == "_evicted_values"


def test_scalars_take_values():
    assert Scalar((np.int32, 1)).field_type().shape == (1,)
    assert Scalar(np.float32, [1, 2])().dtype == np.float32
    assert Scalar(np.float32, 3)().shape == (1,)
    assert Scalar(np.float32, [[1, 2], [3, 4]]).dtype.shape == (2,)
    assert Scalar((np.int32, 5), [])().shape == (0, 5)
    scalar = Scalar(np.int32)
    scalar.set_value(np.zeros(3, np.int32), throw_on_type_mismatch=True, unsafe=True)
    with pytest.raises(AssertionError, match="expected an array of int32, found float64"):
        scalar.set_value(np.zeros(3), throw_on_type_mismatch=True, unsafe=True)
    scalar.set_type(np.int64)
    assert scalar.field_type() == np.int64


def test_changes_of_shared_scalars_are_warned_of(caplog):
    Scalar().set(np.int32)
    assert "unsafe=True" in caplog.text


def test_metadata_stays():
    limited = Scalar(np.int32, metadata=Metadata(categorical_limit=5))
    record = Struct(("a", List(limited)))
    assert record.a.value.metadata.categorical_limit == 5
    values = schema.from_blob_list(record, [np.array([2]), np.array([1, 2])])
    assert values.a.value.metadata.categorical_limit == 5
    schema.attach_metadata_to_scalars(record, Metadata(expected_value=1))
    assert record.field_metadata() == [Metadata(expected_value=1)] * 2
    with pytest.raises(AssertionError, match="for integers, found float32"):
        Scalar(np.float32, metadata=Metadata(categorical_limit=5))
    with pytest.raises(AssertionError, match="must be a Metadata"):
        limited.set_metadata(5)


def test_records_are_made_of_columns():
    blobs = [core.BlobReference(name) for name in NAMES]
    record = schema.from_column_list(NAMES, col_types=nested().field_types(), col_blobs=blobs)
    assert record == nested()
    assert record.words.id() == "words:values:id"
    flat = schema.from_column_list(["m:keys", "m:lengths", "m:values"])
    assert flat.field_names() == ["m:lengths", "m:values:keys", "m:values:values"]
    assert schema.from_column_list([]) == Struct()
    for wrong in (["a", "a"], ["a", "a:b"], ["a:b", "a"]):
        with pytest.raises(ValueError, match=r"Duplicate|inside of a scalar"):
            schema.from_column_list(wrong)
    with pytest.raises(AssertionError, match="2 names"):
        schema.from_column_list(["a", "b"], col_types=[None])


def test_records_are_made_of_python_values():
    record = schema.as_record({"a": np.int32, "b": [np.float32, str]})
    assert record.field_names() == ["a", "b:field_0", "b:field_1"]
    assert schema.as_record([("x", np.int32), ("y", str)]).field_names() == ["x", "y"]
    assert schema.as_record(record) is record
    assert schema.schema_check(np.int32, Scalar(np.int32)) == Scalar(np.int32)
    with pytest.raises(AssertionError, match="expected"):
        schema.schema_check(np.int32, Scalar(np.int64))
    made = schema.from_dtype(np.dtype([("a", np.int32), ("b", np.float32, (2,))]))
    assert made == Struct(("a", np.int32), ("b", Scalar((np.float32, 2))))
    assert schema.RawTuple(2).field_types() == [np.dtype(np.void)] * 2


def test_comparisons():
    a = Struct(("x", np.int32), ("y", np.int32))
    assert schema.is_schema_subset(a[["x"]], a)
    assert not schema.is_schema_subset(a, a[["x"]])
    b = Struct(("x", np.int32), ("y", np.int64))
    assert not schema.equal_schemas(a, b)
    assert schema.equal_schemas(a, b, check_field_types=False)
    assert a != b
    assert a != 3


def test_values_go_into_blobs_and_back():
    net = core.Net("net")
    values = schema.from_blob_list(
        Struct(("a", np.float32), ("b", List(np.int64))),
        [np.float32([1, 2]), np.int32([2, 1]), np.int64([7, 8, 9])],
    )
    blobs = schema.ConstRecord(net, values)
    empty = schema.InitEmptyRecord(net, values.clone_schema())
    ws = workspace.C.Workspace()
    ws.run(net)
    for place in (ws, None):
        with workspace.WorkspaceGuard(workspace.C.Workspace()):
            schema.FeedRecord(blobs, values, place)
            fetched = schema.FetchRecord(blobs, place, throw_on_type_mismatch=True)
        for found, expected in zip(fetched.field_blobs(), values.field_blobs(), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert [len(v) for v in schema.FetchRecord(empty, ws).field_blobs()] == [0, 0, 0]
    with pytest.raises(AssertionError, match="found a value"):
        schema.FetchRecord(values)
    with pytest.raises(AssertionError, match="3 arrays expected"):
        schema.FeedRecord(blobs, [])
    with pytest.raises(TypeError, match="cannot hold"):
        schema.InitEmptyRecord(net, Scalar(), enforce_types=True)


def test_nets_have_records():
    net = core.Net("net")
    record = net.set_input_record(Struct(("a", np.float32), ("b", np.float32)))
    assert [str(blob) for blob in record.field_blobs()] == [f"{net}/a", f"{net}/b"]
    net.set_output_record(Struct(("sum", net.Add([record.a(), record.b()]))))
    net.AppendOutputRecordField("twice", Scalar(np.float32, net.Add([record.a(), record.a()])))
    assert net.output_record().field_names() == ["sum", "twice"]
    other = net.Clone("other", blob_remap={str(record.a()): "z"})
    assert str(other.input_record().a()) == "z"


@pytest.mark.parametrize(("dtype", "number"), [(np.float32, 1), (str, 4), ("U7", 4), (bool, 5)])
def test_data_types(dtype, number):
    assert schema.data_type_for_dtype(np.dtype(dtype)) == number
    assert schema.dtype_for_core_type(number) in (np.float32, str, bool)


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (lambda: Struct(("a", str), ("a", str)), ValueError, "Duplicate field name: a"),
        (lambda: Struct(("", str)), AssertionError, "pairs"),
        (lambda: Struct(("lengths", str)), AssertionError, "lists have it"),
        (lambda: List(str, Struct()), AssertionError, "expected a Scalar, found a Struct"),
        (lambda: Scalar(blob="text"), ValueError, "name or a value"),
        (lambda: Scalar(blob=[1]), AssertionError, "must be an array"),
        (lambda: Scalar((np.void, (2,))), TypeError, "values of no type"),
        (lambda: Scalar(np.dtype([("a", int)])), AssertionError, "from_dtype"),
        (lambda: Scalar()(), AssertionError, "no blob or value"),
        (lambda: schema.from_blob_list(Scalar(), []), AssertionError, "1 values expected"),
        (lambda: schema.from_blob_list(3, []), AssertionError, "expected a Field"),
        (lambda: schema.RawTuple(-1), AssertionError, "number of fields"),
        (lambda: schema.NewRecord(None, 3), AssertionError, "expected a Field"),
        (lambda: schema.dtype_for_core_type(100), TypeError, "no data type 100"),
    ],
)
def test_refused(program, error, message):
    with pytest.raises(error, match=message):
        program()
