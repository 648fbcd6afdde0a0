"""Small programs that build nets, run alike by the real Caffe2 and by caffe2py.

Each takes `c2` with `core`, `workspace`, `scope`, `utils`, `caffe2_pb2` and `np`. What it yields is
compared as text. `c2.refuses(call, ...)` tells whether a call raises. No program may depend on
another; the syntax is Python 3.8's.
"""


def text(value):
    """A value as text: messages field by field, everything else by its repr."""
    if hasattr(value, "ListFields"):
        fields = (f"{field.name}={text(inner)}" for field, inner in value.ListFields())
        return "<" + " ".join(fields) + ">"
    if isinstance(value, tuple):
        return "(" + ", ".join(text(item) for item in value) + ")"
    if hasattr(value, "add") and not isinstance(value, set):
        return "[" + ", ".join(text(item) for item in value) + "]"
    return repr(value)


def net_names(c2):
    for name in ["a", "a", "a_1", "", "", "a", "s/q", "s/q"]:
        yield c2.core.Net(name).Name()
    proto = c2.caffe2_pb2.NetDef(name="a", external_input=["x"])
    net = c2.core.Net(proto)
    yield net.Name(), net.Proto() is proto, str(net)
    with c2.core.NameScope("scope"):
        yield c2.core.Net("inside").Name()


def automatic_output_names(c2):
    net = c2.core.Net("n")
    x = net.Relu("x", 1)
    yield x, net.Relu(x), net.Relu([x]), net.Relu("x", 1)
    yield net.Split(x, 3), net.Split(x, 2, axis=0)
    with c2.core.NameScope("s"):
        yield net.Relu("x"), net.Relu("x"), net.Relu("x", 1)
        yield net.NextName("k"), net.NextName(), net.NextBlob("u"), net.NextScopedBlob("u")
    net.AddExternalInput("n/Negative")
    yield net.Negative("x"), net.Negative("x", ["named"]), net.Negative("x", ("tuple",))
    with c2.core.NameScope("t"):
        yield net.Relu("x"), net.Relu("x"), net.Relu("x", 1), net.NextName("Relu")
    yield net.Relu("x"), net.NextName("Relu"), net.NextName("Relu")
    nameless = c2.core.Net("")
    yield nameless.Relu("x"), nameless.Relu("x", 1), nameless.NextName(), nameless.NextName("k")
    yield net.Proto()


def free_names(c2):
    net = c2.core.Net("n")
    yield net.NextName(), net.NextName(), net.NextName("q"), net.NextName("q")
    yield net.NextBlob("u"), net.NextBlob("u"), net.NextScopedBlob("u"), net.NextBlob("v")
    net.Relu("x", "n/q")
    yield net.NextName("q"), net.NextName("q", 1), net.NextName("q", output_id=0)
    net.Relu("x", "u")
    yield net.NextBlob("u"), net.NextBlob("v"), net.NextBlob(), net.NextBlob()
    relu = c2.core.CreateOperator("Relu", "a", "m_blob_7")
    proto = c2.caffe2_pb2.NetDef(name="m", op=[relu])
    again = c2.core.Net(proto)
    yield again.NextName(), again.NextName(), again.Relu("m_blob_7", 1)


def arguments(c2):
    net = c2.core.Net("n")
    values = {
        "an_int": 3,
        "a_float": 1.5,
        "yes": True,
        "text": "abc",
        "raw": b"\xff\x00",
        "many": [1, 2],
        "parts": [1.0, 2.5],
        "words": ["a", b"b"],
        "flags": [True, False],
        "nothing": [],
        "absent": None,
        "large": 2**63 - 1,
        "endless": 1e300,
        "np_int": c2.np.int64(3),
        "np_float": c2.np.float32(2.5),
        "np_ints": c2.np.array([[1, 2], [3, 4]]),
        "np_floats": c2.np.array([1.5]),
        "np_bool": c2.np.bool_(True),
        "pair": (1, 2),
        "span": range(3),
        "net": c2.caffe2_pb2.NetDef(name="inner"),
        "nets": [c2.caffe2_pb2.NetDef(name="inner")],
        "option": c2.caffe2_pb2.DeviceOption(device_type=1),
    }
    net.Relu("x", "y", **values)
    yield net.Proto()
    yield c2.refuses(net.Relu, "x", "y", wrong=object())
    yield c2.refuses(net.Relu, "x", "y", wrong=[object()])


def operators(c2):
    create = c2.core.CreateOperator
    yield create("Relu", "x", "y"), create("Relu", ["x"], ["y"]), create("Relu", b"x", b"y")
    yield create("Relu", ("x",), ("y",), "name"), create("Relu", "x", "y", engine="")
    argument = c2.utils.MakeArgument("first", 1)
    device = c2.core.DeviceOption(1, 2, random_seed=3)
    yield create(
        "Relu",
        "x",
        "y",
        name="n",
        control_input=["c"],
        device_option=device,
        arg=[argument],
        engine="E",
        zebra=2,
        debug_info="somewhere",
        ant=1,
    )
    yield create("Relu", "x", "y", control_input="c")
    with c2.core.NameScope("s"):
        reference = c2.core.BlobReference("free")
        yield create("Relu", "x", "y", control_input="c"), create("Relu", reference, "y")
    for blobs in (3, None, ["x", None], [["x"]]):
        yield c2.refuses(create, "Relu", blobs, "y"), c2.refuses(create, "Relu", "x", blobs)


def net_operators(c2):
    net = c2.core.Net("n")
    x = net.AddExternalInput("x")
    with c2.core.NameScope("s"):
        yield net.FC([x, "w", "b"], "y", axis=1), net.Relu([c2.core.BlobReference("k")], ["u"])
        yield net.Relu("local", c2.core.ScopedBlobReference("z"))
    yield net.Relu("x", "x"), net.Relu("x", "y2", name="named", engine="CUDNN")
    yield net.ZeroGradient("x", []), net.Concat(["x", "y2"], ["c", "split"])
    yield net.Relu(inputs="x", outputs="kw")
    yield net.external_inputs, net.external_outputs
    yield net.Proto()


def references(c2):
    blob = c2.core.BlobReference("s/t/a")
    yield blob, str(blob), blob + "_x", "p_" + blob, c2.core.BlobReference(blob)
    yield blob == "s/t/a", blob == c2.core.BlobReference("s/t/a"), blob != "s/t/a", blob == 3
    yield blob.GetNameScope(), blob.GetUnscopedName(), c2.core.BlobReference("a").GetNameScope()
    yield {"s/t/a": 1}[blob], blob.Net(), c2.core.BlobReference(b"raw")
    yield c2.refuses(lambda: blob + 3), c2.refuses(lambda: blob + blob)
    yield c2.refuses(lambda: blob.Relu([], "y"))


def reference_methods(c2):
    net = c2.core.Net("n")
    y = net.Relu("x", "y")
    yield y.Relu([], "z"), y.Relu(), y.Relu([], 1), y.Concat(["x"], ["c", "d"])
    yield y.FC(["w", "b"], "f", axis=1), y.Net() is net, (y + "_more").Net() is net
    yield c2.refuses(lambda: y.Reloo), c2.refuses(lambda: y.__foo__)
    yield c2.refuses(net.Relu, c2.core.BlobReference("nowhere", net))
    yield net.Relu(c2.core.BlobReference("elsewhere", c2.core.Net("other")))
    yield net.Proto()


def name_scopes(c2):
    core, scope = c2.core, c2.scope
    yield scope.CurrentNameScope(), core.ScopedName("x"), scope._NAMESCOPE_SEPARATOR
    with core.NameScope("s"):
        with core.NameScope("t"):
            yield scope.CurrentNameScope(), core.ScopedName("x"), core.ScopedBlobReference("x")
            yield core.ScopedName(core.BlobReference("x")), core.ScopedName(b"x")
        with core.NameScope("u", reset=True):
            yield core.ScopedName("x")
        with core.NameScope("v/"):
            yield core.ScopedName("x")
        with core.NameScope(""):
            yield core.ScopedName("x")
        with core.NameScope("", reset=True):
            yield core.ScopedName("x")
        with scope.EmptyNameScope():
            yield core.ScopedName("x")
        yield core.ScopedName("x")
    yield scope.CurrentNameScope()
    yield c2.refuses(lambda: core.NameScope(3).__enter__())


def device_scopes(c2):
    core, scope, option = c2.core, c2.scope, c2.core.DeviceOption
    yield scope.CurrentDeviceScope()
    with core.DeviceScope(option(1, 3, 8, "P", extra_info=["z", "b"])):
        yield scope.CurrentDeviceScope(), core.CreateOperator("Relu", "x", "y")
        for inner in [
            option(0),
            option(1),
            option(1, 4, random_seed=2),
            option(0, extra_info=["u", "b"]),
            c2.caffe2_pb2.DeviceOption(node_name="other"),
            c2.caffe2_pb2.DeviceOption(device_id=6),
        ]:
            with core.DeviceScope(inner):
                yield scope.CurrentDeviceScope()
            with core.DeviceScope(inner, node_name="given"):
                yield scope.CurrentDeviceScope()
            yield core.CreateOperator("Relu", "x", "y", device_option=inner)
        with core.DeviceScope(None, node_name="only"):
            yield scope.CurrentDeviceScope()
        with scope.EmptyDeviceScope():
            yield scope.CurrentDeviceScope()
            yield core.CreateOperator("Relu", "x", "y")
    yield c2.refuses(lambda: core.DeviceScope(None).__enter__())
    yield c2.refuses(lambda: core.DeviceScope(3).__enter__())
    net = core.Net("n")
    with core.DeviceScope(option(0)):
        net.Relu("x", "y")
    yield net.Proto()


def device_options(c2):
    core = c2.core
    yield core.DeviceOption(0), core.DeviceOption(c2.caffe2_pb2.CUDA, 1)
    yield core.DeviceOption(1, 2, 3, "n", extra_info=["e"])
    yield core.DeviceOption(0, numa_node_id=1)
    yield core.IsGPUDeviceType(1), core.IsGPUDeviceType(0), core.IsGPUDeviceType(6)
    yield core.device_option_equal(core.DeviceOption(1), core.DeviceOption(1, 0, 3))
    yield core.device_option_equal(core.DeviceOption(1), core.DeviceOption(1, 1))
    yield sorted((k, v) for k, v in vars(core.DataType).items() if not k.startswith("_"))


def external_inputs(c2):
    net = c2.core.Net("n")
    yield net.AddExternalInput("a"), net.AddExternalInput("b", "c"), net.AddExternalInputs("d", "e")
    yield net.AddExternalInput(c2.core.BlobReference("f"))
    with c2.core.NameScope("s"):
        yield net.AddExternalInput("g"), net.AddScopedExternalInputs("h", "i")
        yield net.AddScopedExternalInputs("j")
    net.Relu("a", "made")
    yield net.AddExternalInput("made"), net.external_inputs
    yield c2.refuses(net.AddExternalInput, "a"), c2.refuses(net.AddExternalInput)
    yield net.Proto()


def external_outputs(c2):
    net = c2.core.Net("n")
    x = net.AddExternalInput("x")
    y = net.Relu(x, "y")
    with c2.core.NameScope("s"):
        net.Relu(x, "z")
        net.AddScopedExternalOutputs("z")
    yield net.AddExternalOutput(y), net.AddExternalOutputs(x, y)
    yield c2.refuses(net.AddExternalOutput, c2.core.BlobReference("no"))
    yield net.external_outputs, net.Proto()


def questions(c2):
    net = c2.core.Net("n")
    net.Relu("x", "y")
    net.AddExternalInput("unused")
    for blob in ["x", "y", "unused", "no", c2.core.BlobReference("y")]:
        yield net.BlobIsDefined(blob), net.UsesBlob(blob), net.is_external_input(blob)
    yield net.GetBlobRef("y"), net.GetBlobRef("y").Net() is net, c2.refuses(net.GetBlobRef, "no")
    yield c2.refuses(lambda: net.NoSuchOperator), c2.refuses(lambda: net.__nothing__)
    net.add_attribute("kept", 3)
    yield net.get_attributes("kept")
    yield c2.core.IsOperator("Relu"), c2.core.IsOperator("Foo")
    yield c2.core.IsOperatorWithEngine("Relu", "DEFAULT"), c2.core.IsOperatorWithEngine("Foo", "")
    yield [c2.core.get_net_name(n) for n in (net, net.Proto(), "name")]


def constants(c2):
    np, net = c2.np, c2.core.Net("n")
    for value in [
        np.array([[1.0, 2.0]]),
        np.array([1.5], np.float32),
        np.array([3], np.int32),
        np.array([3, 4], np.int64),
        np.array([True, False]),
        np.array([1, 2], np.uint8),
        np.array([1, 2], np.float16),
        np.int32(3),
        np.bool_(True),
        3,
        2.5,
        True,
        [1, 2],
        [1.5, 2],
        [True],
        [],
    ]:
        yield net.Const(value)
    yield net.Const(3, "named"), net.Const([1, 2], dtype=np.float32), net.Const(3, dtype=np.int32)
    with c2.core.NameScope("s"):
        yield net.Const(False, "named"), net.Const(4)
    yield net.Proto()


def whole_nets(c2):
    net = c2.core.Net("n")
    net.Relu("x", "y")
    other = c2.core.Net("m")
    z = other.Relu("y", "z")
    other.Relu("k", "x")
    other.Proto().op[0].device_option.random_seed = 4
    other.AddExternalInput("never")
    other.AddExternalOutput(z)
    other.Proto().type = "dag"
    other.AddArgument("a", 3)
    yield net.AppendNet(other) is net, net.AppendNet(other, c2.core.DeviceOption(1, 2)) is net
    yield net.Proto(), net.external_inputs, net.external_outputs, other.Proto()


def clones(c2):
    net = c2.core.Net("n")
    y = net.Relu("x", "y")
    z = net.Relu(y, "z")
    net.AddExternalOutput(z)
    net.Proto().type = "dag"
    net.AddArgument("a", 3)
    yield net.Clone("copy").Proto(), net.Clone("copy").Proto()
    yield net.Clone("renamed", blob_remap={"y": "yy", "x": "xx"}).Proto()
    yield net.Clone("renamed", {y: "yy", "z": c2.core.BlobReference("zz")}).Proto()
    yield net.Clone("part", op_id_mask=[1]).Proto()
    yield net.Clone("part", op_id_mask=[1], update_external_list=True).Proto()
    yield net.Clone("all", {"x": "xx", "z": "zz"}, update_external_list=True).Proto()
    yield net.Proto()


def settings(c2):
    net = c2.core.Net("n")
    net.Relu("x", "y")
    net.Relu("y", "z", device_option=c2.core.DeviceOption(0))
    net.RunAllOnGPU(gpu_id=2)
    yield net.Proto()
    net.RunAllOnGPU(use_cudnn=True)
    net.set_rand_seed()
    yield net.Proto()
    net.set_rand_seed(7, False)
    yield net.Proto()
    yield c2.refuses(net.set_rand_seed, 7, True, True)


def protos_of_others(c2):
    relu = c2.core.CreateOperator("Relu", "a", "b")
    net = c2.core.Net(c2.caffe2_pb2.NetDef(name="n", op=[relu]))
    yield net.Relu("b"), net.Relu("c"), net.external_inputs
    net.Proto().op.add().CopyFrom(c2.core.CreateOperator("Relu", "b", "late"))
    net.extend_ops([c2.core.CreateOperator("Relu", "late", "later")])
    yield net.Relu("later", "last"), net.Proto()
    yield c2.refuses(c2.core.Net, 3)


def steps(c2):
    core = c2.core
    a, b = core.Net("a"), core.Net("b")
    stop = core.BlobReference("stop")
    make = core.execution_step
    yield make("s", a).Proto(), make("s", [a, b], num_iter=5).Proto(), make("s", []).Proto()
    yield make("s", [a, make("inner", b)]).Proto(), make("s", [[a], b]).Proto()
    yield make("s", make("inner", a), num_iter=3).Proto()
    yield make("s", core.ExecutionStep("empty"), num_iter=3).Proto()
    yield make("s", a, should_stop_blob=stop).Proto(), make("s", a, num_iter=0).Proto()
    yield make("s", a, concurrent_substeps=False, only_once=False).Proto()
    step = make(
        "s",
        [make("inner", a), b],
        num_iter=2,
        report_net=b,
        report_interval=4,
        concurrent_substeps=True,
        only_once=True,
        num_concurrent_instances=3,
        create_workspace=True,
        run_every_ms=10,
    )
    yield step.Proto(), step.HasNets(), step.HasSubsteps(), step.Name(), str(step)
    yield sorted(net.Name() for net in step.Nets()), [s.Name() for s in step.Substeps()]
    with core.NameScope("scope"):
        yield make("s", a).Proto(), core.scoped_execution_step("s", a).Proto()
    yield c2.refuses(make, "s", a, num_iter=1, should_stop_blob=stop)
    yield c2.refuses(make, "s", "text"), c2.refuses(make, "s", a, report_net=b)


def step_methods(c2):
    core = c2.core
    a, b = core.Net("a"), core.Net("b")
    step = core.ExecutionStep("s")
    step.SetIter(3)
    step.SetOnlyOnce(True)
    step.SetShouldStopBlob(core.BlobReference("stop"))
    step.SetConcurrentSubsteps(True)
    step.SetNumConcurrentInstances(2)
    step.SetCreateWorkspace(True)
    step.RunEveryMillis(5)
    step.SetReportNet(a, 7)
    yield step.Proto(), step.AddNet(b) is step, c2.refuses(step.AddSubstep, core.ExecutionStep("t"))
    yield core.ExecutionStep("s", a, num_iter=4).Proto(), core.ExecutionStep("s", [a, b]).Proto()
    yield [core.ExecutionStep(name).Name() for name in ("", "step", None, "x", "x")]
    outer = core.ExecutionStep("outer")
    yield outer.AddSubstep(step) is outer, c2.refuses(step.AddNet, a), c2.refuses(outer.AddNet, a)
    names = []
    core.add_nets_in_order(core.execution_step("y", [core.execution_step("k", [b, a]), a]), names)
    yield names


def plans(c2):
    core = c2.core
    nets = {name: core.Net(name) for name in "abcde"}
    nets["a"].Relu("x", "y")
    first = core.execution_step("in1", nets["a"], report_net=nets["b"], report_interval=1)
    second = core.execution_step("in2", [nets["c"], nets["a"]])
    top = core.execution_step("top", [first, second], report_net=nets["d"], report_interval=2)
    plan = core.Plan("p")
    plan.AddNets([nets["e"], nets["e"]])
    plan.AddStep(top)
    nets["a"].Relu("y", "z")
    plan.AddStep(core.ExecutionStep("empty"))
    yield plan.Proto(), [net.Name() for net in plan.Nets()], len(plan.Steps()), str(plan)
    yield core.Plan(top).Proto(), core.Plan("p").Proto(), core.Plan(b"raw").Proto()
    yield c2.refuses(core.Plan, 3), c2.refuses(plan.AddStep, "text"), c2.refuses(top.SetIter, 3)
    same = core.Net("f")
    same.Proto().name = "a"
    yield c2.refuses(plan.AddNets, [same])


def versions(c2):
    net = c2.core.Net("n")
    net.Relu("x", "y")
    net.Relu("y", "z")
    net.Relu("x", "x")
    rows, last = c2.core.get_ssa(net)
    yield rows, sorted(last.items()), c2.core.get_undefined_blobs(rows)
    yield sorted(c2.core.get_output_producers(rows).items())
    rows, last = c2.core.get_ssa(net.Proto(), {"x": 3, "other": 1})
    yield rows, sorted(last.items()), sorted(c2.core.get_undefined_blobs(rows))


def arrays(c2):
    np, utils = c2.np, c2.utils
    for dtype in ["float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "int64"]:
        tensor = utils.NumpyArrayToCaffe2Tensor(np.array([[1, 0]]).astype(dtype), "name")
        yield tensor, utils.Caffe2TensorToNumpyArray(tensor).tolist()
    yield utils.NumpyArrayToCaffe2Tensor(np.array(2.5)), utils.MakeArgument("k", [1, 2])
    yield utils.NCHW2NHWC(np.zeros((1, 2, 3, 4))).shape, utils.NHWC2NCHW(np.zeros((1, 2, 3))).shape
    arguments = [utils.MakeArgument("a", [1, 2]), utils.MakeArgument("b", 1.5)]
    yield utils.ArgsToDict([*arguments, utils.MakeArgument("c", "x")])


def blobs(c2):
    np, workspace = c2.np, c2.workspace
    types = ["float16", "float32", "float64", "bool"]
    for dtype in [*types, "int8", "uint8", "int16", "uint16", "int32", "int64"]:
        yield workspace.FeedBlob("x", np.array([[1, 0]]).astype(dtype)), _array(workspace, "x")
    for value in [
        np.array(2.5, np.float32),
        np.zeros((0, 3), np.float32),
        np.array(["a", "größe"]),
        np.array([b"a", b"b"]),
        np.array([["a"], [b"\xff"]], dtype=object),
        np.array("scalar"),
        np.array([], dtype=object),
        c2.utils.NumpyArrayToCaffe2Tensor(np.array([1.5, 2], np.float32)),
    ]:
        yield workspace.FeedBlob("x", value), _array(workspace, "x")
    for value in ["text", "größe", b"\xff"]:
        yield workspace.FeedBlob("s", value), workspace.FetchBlob("s")
    for wrong in [None, {}, np.array([1j]), np.zeros(3, np.uint32), np.array([object()])]:
        yield c2.refuses(workspace.FeedBlob, "wrong", wrong)
    yield c2.refuses(workspace.FeedBlob, 3, np.zeros(1)), c2.refuses(workspace.FetchBlob, "none")


def names_of_blobs(c2):
    np, workspace, reference = c2.np, c2.workspace, c2.core.BlobReference
    yield workspace.Blobs(), workspace.FeedBlob(reference("b"), np.ones(1)), workspace.Blobs()
    yield workspace.FeedBlob(b"a", np.ones(2)), workspace.FetchBlob(reference("a")).tolist()
    yield workspace.CreateBlob("empty"), workspace.CreateBlob("b"), workspace.Blobs()
    yield workspace.HasBlob("empty"), workspace.HasBlob("none"), workspace.FetchBlob("empty")
    yield workspace.ResetBlob("b"), workspace.FetchBlob("b"), workspace.HasBlob("b")
    yield c2.refuses(workspace.ResetBlob, "none")
    yield [array.tolist() for array in workspace.FetchBlobs(["a", reference("a")])]
    workspace.blobs["set"] = np.ones(2)
    yield workspace.blobs["set"].tolist(), "set" in workspace.blobs, "none" in workspace.blobs
    yield len(workspace.blobs), sorted(workspace.blobs)
    yield c2.refuses(lambda: workspace.blobs["none"])


def running(c2):
    np, core, workspace = c2.np, c2.core, c2.workspace
    net = core.Net("n")
    net.Add(["x", "x"], "x")
    yield c2.refuses(workspace.CreateNet, net), c2.refuses(workspace.RunNet, "n")
    yield workspace.CreateNet(net, input_blobs=["x"]), c2.refuses(workspace.RunNet, net)
    yield c2.refuses(workspace.CreateNet, net), workspace.CreateNet(net, True)
    workspace.FeedBlob("x", np.ones(1, np.float32))
    yield workspace.RunNet(net), workspace.RunNet("n"), workspace.RunNet(b"n", num_iter=3)
    yield workspace.FetchBlob("x").tolist(), workspace.RunNet(net, 0), workspace.FetchBlob("x")
    yield workspace.RunNetOnce(net), workspace.RunNetOnce(net.Proto())
    yield workspace.RunNetOnce(net.Proto().SerializeToString()), workspace.FetchBlob("x").tolist()
    yield workspace.CreateNet(net.Proto(), overwrite=True)
    relu = core.CreateOperator("Relu", "x", "y")
    yield workspace.RunOperatorOnce(relu), workspace.RunOperatorOnce(relu.SerializeToString())
    yield workspace.RunOperatorsOnce([relu, relu]), workspace.RunOperatorMultiple(relu, 3)
    workspace.FeedBlob("x", np.ones(1, np.float32))
    step = core.execution_step("s", net, num_iter=2)
    plan = core.Plan("p")
    plan.AddStep(step)
    yield workspace.RunPlan(plan), workspace.RunPlan(plan.Proto()), workspace.FetchBlob("x")
    yield workspace.RunPlan(plan.Proto().SerializeToString()), workspace.RunPlan(step)
    yield workspace.FetchBlob("x").tolist()


def workspaces(c2):
    np, workspace = c2.np, c2.workspace
    yield workspace.CurrentWorkspace(), workspace.Workspaces(), workspace.GetNameScope()
    workspace.FeedBlob("x", np.ones(1))
    yield c2.refuses(workspace.SwitchWorkspace, "other")
    yield workspace.SwitchWorkspace("other", True), workspace.CurrentWorkspace()
    yield workspace.Workspaces(), workspace.Blobs(), workspace.SwitchWorkspace("default")
    yield workspace.Blobs(), workspace.SwitchWorkspace("other"), workspace.ResetWorkspace()
    workspace.SwitchWorkspace("default")
    with workspace.WorkspaceGuard("third"):
        yield workspace.CurrentWorkspace()
    yield workspace.CurrentWorkspace(), workspace.Blobs(), workspace.ResetWorkspace()
    yield workspace.Blobs(), workspace.Workspaces(), workspace.RootFolder()


def inference(c2):
    np, core, workspace = c2.np, c2.core, c2.workspace
    net = core.Net("n")
    net.FC(["x", "w", "b"], "y")
    net.Relu("y", "z")
    known = {"x": [2, 3], "w": [4, 3], "b": [4]}
    yield workspace.InferShapesAndTypes([net], known)
    yield workspace.InferShapesAndTypes([net.Proto()], known, nets_proto=True)
    yield workspace.InferShapesAndTypes([net], {}), workspace.InferShapesAndTypes([net])
    fill = core.Net("fill")
    fill.ConstantFill([], "x", shape=[2, 3])
    fill.ConstantFill([], "i", shape=[1], value=3, dtype=10)
    fill.Cast("i", "f", to="double")
    yield workspace.InferShapesAndTypes([fill, net], {"w": (4, 3), "b": [4]})
    workspace.FeedBlob("x", np.ones((0, 3), np.float32))
    workspace.FeedBlob("i", np.ones((), np.int64))
    workspace.FeedBlob("s", "text")
    relu = core.Net("relu")
    relu.Relu("x", "y")
    relu.Copy("i", "j")
    yield workspace.InferShapesAndTypes([relu])
    copies = core.Net("copies")
    copies.Copy("x", "y")
    for number in (1, 2, 5, 12, 13):
        yield workspace.InferShapesAndTypes([copies], {"x": [2]}, blob_types={"x": number})
    yield c2.refuses(workspace.InferShapesAndTypes, [copies], {"x": [2, -1]})


def serialized(c2):
    np, workspace = c2.np, c2.workspace
    for value in [np.array([[1.5]], np.float32), np.array(["a"]), b"text"]:
        workspace.FeedBlob("x", value)
        data = workspace.SerializeBlob("x")
        yield data, workspace.DeserializeBlob("y", data), workspace.FetchBlob("y")
    workspace.CreateBlob("empty")
    yield c2.refuses(workspace.SerializeBlob, "empty"), c2.refuses(workspace.SerializeBlob, "no")
    make, tensor = c2.caffe2_pb2.BlobProto, c2.caffe2_pb2.TensorProto
    for blob in [
        make(type="Tensor", tensor=tensor(dims=[2], data_type=1, float_data=[1, 2])),
        make(type="Tensor", tensor=tensor(dims=[2], data_type=6, byte_data=b"ab")),
        make(type="Tensor", tensor=tensor(dims=[2], data_type=3, byte_data=b"ab")),
        make(type="std::string", content=b"raw"),
    ]:
        yield workspace.DeserializeBlob("y", blob.SerializeToString()), workspace.FetchBlob("y")
    for blob in [
        make(type="Tensor", tensor=tensor(dims=[2], data_type=1, float_data=[1])),
        make(type="Tensor", tensor=tensor(dims=[2], data_type=1, float_data=[1, 2, 3])),
        make(type="Tensor", tensor=tensor(dims=[2], data_type=10, float_data=[1, 2])),
        make(type="Tensor", tensor=tensor(dims=[-2], data_type=1)),
        make(type="other", content=b"raw"),
    ]:
        yield c2.refuses(workspace.DeserializeBlob, "y", blob.SerializeToString())
    yield c2.refuses(workspace.DeserializeBlob, "y", b"junk")


def _array(workspace, name):
    array = workspace.FetchBlob(name)
    return array.tolist(), array.shape, array.dtype.name


PROGRAMS = [
    value
    for value in list(globals().values())
    if callable(value) and value.__code__.co_varnames[:1] == ("c2",)
]
