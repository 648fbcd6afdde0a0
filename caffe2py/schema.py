"""Caffe2's schema module: records, whose fields are columns of a data set.

record = Struct(("label", np.int32), ("words", List(np.int64)))
blobs = NewRecord(net, record)          # a blob for label, words:lengths, words:values
"""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.graph.fields import SEPARATOR as FIELD_SEPARATOR
from caffe2py.graph.fields import (
    FeatureSpec,
    Field,
    List,
    ListWithEvicted,
    Metadata,
    Scalar,
    Struct,
)
from caffe2py.graph.schemas import (
    ConstRecord,
    InitEmptyRecord,
    Map,
    MapWithEvicted,
    NamedTuple,
    NewRecord,
    RawTuple,
    Tuple,
    as_record,
    attach_metadata_to_scalars,
    data_type_for_dtype,
    dtype_for_core_type,
    equal_schemas,
    from_blob_list,
    from_column_list,
    from_dtype,
    is_schema_subset,
    schema_check,
)
from caffe2py.jobs.records import FeedRecord, FetchRecord

__all__ = [
    "FIELD_SEPARATOR",
    "ConstRecord",
    "FeatureSpec",
    "FeedRecord",
    "FetchRecord",
    "Field",
    "InitEmptyRecord",
    "List",
    "ListWithEvicted",
    "Map",
    "MapWithEvicted",
    "Metadata",
    "NamedTuple",
    "NewRecord",
    "RawTuple",
    "Scalar",
    "Struct",
    "Tuple",
    "as_record",
    "attach_metadata_to_scalars",
    "data_type_for_dtype",
    "dtype_for_core_type",
    "equal_schemas",
    "from_blob_list",
    "from_column_list",
    "from_dtype",
    "is_schema_subset",
    "schema_check",
]
