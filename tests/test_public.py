"""What the public modules offer, and how light they are to import."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import caffe2py

PACKAGE = Path(caffe2py.__file__).parent

#: Every public module and its `__all__`: a change here is a change for users.
PUBLIC = {
    "core": """
        BlobReference C CreateOperator CreatePythonOperator CurrentDeviceScope
        CurrentNameScope DataType DeviceOption DeviceScope EmptyDeviceScope EmptyNameScope
        ExecutionStep GetGlobalInitArgs GlobalInit GradientRegistry GradientSlice IR
        InferBlobDevices InferOpBlobDevices InferOpBlobDevicesAsDict
        InferOpDeviceAsBlobDevices InjectCrossDeviceCopies InjectDeviceCopiesAmongNets
        InjectDeviceCopiesAmongNetsWithoutB2D IsGPUDeviceType IsOperator IsOperatorWithEngine
        NameScope Net OpSSA Plan RefreshRegisteredOperators RemapEntry ScopedBlobReference
        ScopedName SetEnginePref SetGlobalEnginePref SetOpEnginePref SetPerOpEnginePref
        add_nets_in_order copy_func_between_devices device_equal device_option_equal
        execution_step get_net_name get_op_ids_in_path get_output_producers get_ssa
        get_undefined_blobs output_to_list remap_input scope scoped_execution_step
        to_execution_step update_placeholder_op_output""",
    "workspace": """
        BenchmarkNet BenchmarkNetOnce Blobs C CreateBlob CreateNet CurrentWorkspace DeleteNet
        DeserializeBlob FeedBlob FetchBlob FetchBlobs FetchInt8Blob FetchInt8BlobRealVal
        FillRandomNetworkInputs GetBlobSizeBytes GetCUDAVersion GetCuDNNVersion GetNameScope
        GetNetName GlobalInit
        GpuDeviceType HasBlob InferShapesAndTypes Int8Tensor IsNUMAEnabled Nets NumCudaDevices
        NumGpuDevices Predictor
        RegisteredOperators RemoveBlob ResetBlob ResetWorkspace RootFolder RunNet RunNetOnce
        RunOperatorMultiple RunOperatorOnce RunOperatorsOnce RunPlan SerializeBlob
        StringifyBlobName StringifyNetName StringifyProto SwitchWorkspace Workspace
        WorkspaceGuard Workspaces blobs current has_hip_support is_asan operator_tracebacks""",
    "utils": """
        ArgsToDict BuildUniqueMutexIter Caffe2TensorToNumpyArray CaffeBlobToNumpyArray
        ConvertProtoToBinary DebugMode EnumClassKeyVals GetContentFromProto
        GetContentFromProtoString ITERATION_MUTEX_NAME MakeArgument NCHW2NHWC NHWC2NCHW
        NumpyArrayToCaffe2Tensor OPTIMIZER_ITERATION_NAME OpAlmostEqual ResetBlobs
        TryReadProtoWithClass debug raiseIfNotEqual""",
    "brew": """
        Register accuracy add_weight_decay arg_min arg_scope average_pool batch_mat_mul concat
        cond conv conv_nd conv_transpose db_input depth_concat dropout elementwise_linear fc
        fc_decomp fused_8bit_rowwise_quantized_to_float group_conv group_conv_deprecated
        has_helper image_input instance_norm iter layer_norm loop lrn mat_mul max_pool
        max_pool_with_index moments_with_running_stats packed_fc prelu reduce_sum relu softmax
        sparse_lengths_sum_4bit_rowwise_sparse spatial_bn spatial_gn sub sum tanh transpose""",
    "control": """
        BoolNet CombineConditions Do DoParallel DoUntil DoWhile For GetConditionBlobFromNet If
        IfNot MergeConditionNets NotNet Switch SwitchNot Until While""",
    "control_ops_grad": """
        disambiguate_grad_if_op_output""",
    "control_ops_util": """
        add_if_op add_while_op get_external_blob_names""",
    "gradient_checker": """
        GradientChecker NetGradientChecker getGradientForOp""",
    "lazy_dyndep": """
        GetImportedOpsLibraries RegisterOpsLibrary SetErrorHandler""",
    "memonger": """
        AssignmentAlgorithm LiveRange Optimization Statistics apply_assignments blob_nbytes
        collect_blob_sizes compute_assignments compute_assignments_dp
        compute_assignments_greedy compute_blob_assignments compute_interference_graph
        compute_ranges compute_statistics estimate_memory_usage get_memory_usage
        get_updated_ranges is_compatible optimize_inference_fast optimize_inference_for_dag
        optimize_interference release_blobs_when_used share_grad_blobs
        topological_sort_traversal topological_sort_traversal_longest_path verify_assignments
        verify_graph_equality verify_inplace_blobs""",
    "regularizer": """
        BoundedGradientProjection ConstantNorm ElasticNet ElasticNetL1NormTrimmed GroupL1Norm
        L0ApproxNorm L1Norm L1NormTrimmed L2Norm LogBarrier LpNorm MaxNorm RegularizationBy
        Regularizer SparseL1Norm SparseL2Norm SparseLpNorm""",
    "visualize": """
        ChannelFirst ChannelLast NCHW NHWC PatchVisualizer""",
    "model_helper": """
        ExtractPredictorNet ModelHelper ParameterInfo ParameterSharing ParameterTags""",
    "rnn_cell": """
        AttentionCell AttentionType BasicRNN BasicRNNCell DropoutCell GetLSTMParamNames
        InitFromLSTMParams LSTM LSTMCell LSTMInitializer LSTMWithAttention LSTMWithAttentionCell
        LayerNormLSTM LayerNormLSTMCell LayerNormMILSTM LayerNormMILSTMCell MILSTM MILSTMCell
        MILSTMWithAttentionCell MultiRNNCell RNNCell UnrolledCell cudnn_LSTM layered_LSTM""",
    "gru_cell": """
        GRU GRUCell""",
    "attention": """
        AttentionType apply_dot_attention apply_recurrent_attention apply_regular_attention
        apply_soft_coverage_attention""",
    "recurrent": """
        recurrent_net retrieve_step_blobs set_rnn_executor_config""",
    "optimizer": """
        AdadeltaOptimizer AdagradOptimizer AdamOptimizer AuxOptimizerParams FP16SgdOptimizer
        FP16_ENGINES FtrlOptimizer GFtrlOptimizer MultiPrecisionSgdOptimizer Optimizer
        RmsPropOptimizer SgdOptimizer StormOptimizer WeightDecayBuilder WngradOptimizer
        YellowFinOptimizer add_weight_decay build_adadelta build_adagrad build_adam
        build_fp16_sgd build_ftrl build_gftrl build_multi_precision_sgd build_rms_prop
        build_sgd build_storm build_wngrad build_yellowfin get_lr_injection get_param_device
        set_lr_injection""",
    "optimizer_context": "DEFAULT_OPTIM OptimizerContext UseOptimizer",
    "regularizer_context": "RegularizerContext UseRegularizer",
    "checkpoint": """
        CheckpointManager Job JobRunner MultiNodeCheckpointManager UploadTaskGroupBuilder
        db_name epoch_limiter get_ckpt_filename""",
    "cnn": "CNNModelHelper",
    "context": "DefaultManaged Managed",
    "net_builder": "NetBuilder Operations ops",
    "schema": """
        ConstRecord FIELD_SEPARATOR FeatureSpec FeedRecord FetchRecord Field InitEmptyRecord List
        ListWithEvicted Map MapWithEvicted Metadata NamedTuple NewRecord RawTuple Scalar Struct
        Tuple as_record attach_metadata_to_scalars data_type_for_dtype dtype_for_core_type
        equal_schemas from_blob_list from_column_list from_dtype is_schema_subset schema_check""",
    "session": "CompiledRunnable LocalSession Session",
    "task": """
        Cluster Node SetupNets Task TaskGroup TaskOutput TaskOutputList WorkspaceType
        add_setup_steps final_output get_setup_nets""",
    "scope": """
        CurrentDeviceScope CurrentNameScope DeviceScope EmptyDeviceScope EmptyNameScope
        NameScope _NAMESCOPE_SEPARATOR""",
    "dyndep": "GetImportedOpsLibraries InitOpsLibrary",
    "net_printer": """
        Analyzer Printer Text analyze call commonprefix debug_net factor_prefix
        format_device_option to_string""",
    "net_drawer": """
        BLOB_STYLE GetBlobNodeProducer GetGraphInJson GetGraphPngSafe GetOpNodeProducer
        GetOperatorMapForPlan GetPlanGraph GetPydotGraph GetPydotGraphMinimal OP_STYLE""",
    "predictor_constants": "predictor_constants predictor_consts",
    "predictor.predictor_exporter": """
        PredictorExportMeta get_meta_net_def get_predictor_exporter_helper load_from_db
        prepare_prediction_net save_to_db set_model_info""",
    "predictor.predictor_py_utils": """
        AddBlobs AddModelIdArg AddNet AddPlan GetApplicationSpecificInfo GetArgumentByName
        GetBlobs GetBlobsByTypePrefix GetBlobsOrder GetNet GetNetOriginal GetPlan
        GetPlanOriginal ReplaceBlobs SetAOTConfig SetBlobsOrder SetPreLoadBlobs
        SetRequestOnlyEmbeddings SetTensorBoundShapes create_predict_init_net
        create_predict_net get_comp_name""",
    "predictor.mobile_exporter": "Export add_tensor",
    "predictor.serde": "deserialize_protobuf_struct serialize_protobuf_struct",
    "experiment_util": "ExternalLogger ModelTrainerLog",
    "timeout_guard": "CompleteInTimeOrDie EuthanizeIfNecessary WatcherThread",
}


@pytest.mark.parametrize("name", PUBLIC)
def test_all(name):
    module = importlib.import_module(f"caffe2py.{name}")
    assert sorted(module.__all__) == sorted(PUBLIC[name].split())
    assert all(hasattr(module, symbol) for symbol in module.__all__)
    assert len((PACKAGE / f"{name.replace('.', '/')}.py").read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_is_documented(name):
    module = importlib.import_module(f"caffe2py.{name}")
    for symbol in module.__all__:
        value = getattr(module, symbol)
        if callable(value):
            assert value.__doc__, symbol


def _python(program):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return ast.literal_eval(done.stdout)


def test_the_package_imports_nothing():
    loaded = _python(
        "import sys; before = set(sys.modules); import caffe2py; "
        "print(sorted(set(sys.modules) - before))"
    )
    assert loaded == ["caffe2py"]


def test_core_is_light():
    heavy = ("numba", "llvmlite", "scipy", "PIL", "click")
    loaded = _python(
        f"import sys, caffe2py.core; print([name for name in {heavy} if name in sys.modules])"
    )
    assert loaded == []


def test_core_brings_in_the_operators():
    assert _python("from caffe2py import core; print(core.IsOperator('Relu'))")
    assert _python(
        "from caffe2py import workspace; print('Relu' in workspace.RegisteredOperators())"
    )
