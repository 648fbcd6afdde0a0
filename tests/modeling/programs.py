"""Small programs that build models, run alike by the real Caffe2 and by caffe2py.

As tests/graph/programs.py; `c2` has brew, cnn, initializers, model_helper, optimizer,
optimizer_context, parameter_info and parameter_sharing besides.
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


def protos(model):
    return model.param_init_net.Proto(), model.net.Proto()


def fully_connected(c2):
    model = c2.model_helper.ModelHelper("m")
    y = c2.brew.fc(model, "x", "a", 4, 3)
    y = c2.brew.fc(model, y, "b", 3, 2, weight_init=("ConstantFill", {"value": 0.5}))
    y = c2.brew.fc(model, y, "c", 2, 2, bias_init=("UniformFill", {"min": 0.0}), axis=2)
    y = c2.brew.fc(model, y, None, 2, 2)
    y = c2.brew.fc(model, y, "d", dim_in=2, dim_out=2, freeze_bias=True)
    y = c2.brew.fc(
        model, y, "e", 2, 2, WeightInitializer=c2.initializers.Initializer, engine="SOME"
    )
    yield protos(model)
    yield model.params, model.weights, model.biases
    yield model.GetParams(), model.GetComputedParams(), model.GetAllParams()
    yield model.get_name(), model.Proto() is model.net.Proto(), model.arg_scope


def convolutions(c2):
    brew = c2.brew
    model = c2.model_helper.ModelHelper("m", arg_scope={"order": "NCHW"})
    y = brew.conv(model, "x", "a", 3, 4, 3, stride=2, pad=1)
    y = brew.conv(model, y, "b", 4, 4, [3, 1], no_bias=1, use_cudnn=False)
    y = brew.conv(model, y, "c", 4, 8, 1, group=2, ws_nbytes_limit=1000)
    y = brew.group_conv(model, y, "d", 8, 8, 3, group=4, pad=1)
    y = brew.conv_nd(model, y, "e", 8, 4, [3, 3, 3])
    y = brew.conv(model, y, "g", 4, 4, 1, weight_init=("MSRAFill", {}))
    yield y, brew.max_pool(model, y, "p", kernel=2, stride=2)
    yield brew.average_pool(model, y, "q", kernel=2, stride=2, global_pooling=True)
    yield c2.refuses(brew.conv, model, y, "h", 4, 4, [1, 1, 1])
    yield c2.refuses(brew.conv, model, y, "h", 4, 4, 1, engine="OTHER")
    yield c2.refuses(brew.conv, model, y, "h", 4, 4, 1, use_cudnn=False, engine="CUDNN")
    yield protos(model), model.params
    other = c2.model_helper.ModelHelper("n", arg_scope={"order": "NHWC", "use_cudnn": False})
    y = brew.conv(other, "x", "a", 3, 4, 3)
    y = brew.max_pool(other, y, "b", kernel=2)
    yield brew.relu(other, y, y), protos(other)


def normalizations(c2):
    brew = c2.brew
    model = c2.model_helper.ModelHelper("m")
    y = brew.spatial_bn(model, "x", "a", 3, is_test=False, epsilon=1e-3)
    y = brew.spatial_bn(model, y, "b", 3, init_scale=0.5, init_bias=0.1, is_test=True)
    y = brew.lrn(model, y, "c", size=3, alpha=0.1, beta=0.75)
    y = brew.prelu(model, y, "d", 3)
    y = brew.dropout(model, y, "e", ratio=0.3, is_test=0)
    y = brew.dropout(model, y, "f", ratio=0.3, is_test=1, use_cudnn=False)
    yield y, brew.softmax(model, y, "g"), brew.softmax(model, y)
    yield c2.refuses(brew.dropout, model, y, "h", ratio=0.3)
    yield protos(model), model.params, model.weights, model.biases, model.GetComputedParams()


def simple_layers(c2):
    brew = c2.brew
    model = c2.model_helper.ModelHelper("m")
    x = brew.relu(model, "x", "a")
    y = brew.tanh(model, x, "b")
    yield brew.concat(model, [x, y], "c"), brew.concat(model, [x, y], "d", axis=1)
    yield brew.concat(model, [x, y], "e", order="NHWC")
    yield brew.sum(model, [x, y], "f"), brew.sub(model, [x, y], "g")
    yield brew.transpose(model, x, "h", axes=[1, 0]), brew.transpose(model, x, "i")
    yield brew.mat_mul(model, [x, y], "j"), brew.batch_mat_mul(model, [x, y], "k", trans_b=1)
    yield brew.reduce_sum(model, x, "l", axes=[0])
    yield brew.accuracy(model, [x, "label"], "m"), brew.accuracy(model, [x, "label"], "n", top_k=3)
    yield brew.iter(model, "iteration")
    yield protos(model)


def argument_scopes(c2):
    brew = c2.brew
    model = c2.model_helper.ModelHelper("m", arg_scope={"order": "NCHW", "use_cudnn": False})
    with brew.arg_scope([brew.conv, brew.fc], weight_init=("ConstantFill", {"value": 2.0})):
        y = brew.conv(model, "x", "a", 3, 4, 3)
        with brew.arg_scope(brew.conv, stride=2, pad=1):
            y = brew.conv(model, y, "b", 4, 4, 3)
            y = brew.conv(model, y, "c", 4, 4, 3, stride=1)
        y = brew.conv(model, y, "d", 4, 4, 3, weight_init=("XavierFill", {}))
        yield brew.fc(model, y, "e", 4, 4)
    yield brew.conv(model, y, "f", 4, 4, 3)
    yield protos(model)
    yield c2.refuses(brew.fc, "x", "y", 4, 4), c2.refuses(brew.fc)
    yield brew.has_helper("fc"), brew.has_helper(brew.conv), brew.has_helper("nothing")
    yield hasattr(brew, "nothing"), brew.fc.__name__

    def double(model, blob_in, blob_out, factor=2.0, order="none", **kwargs):
        return model.net.Scale(blob_in, blob_out, scale=factor, order=order, **kwargs)

    if not brew.has_helper("double"):
        brew.Register(double)
    yield c2.refuses(brew.Register, double)
    other = c2.model_helper.ModelHelper("o", arg_scope={"order": "NHWC"})
    with brew.arg_scope(brew.double, factor=3.0):
        yield brew.double(other, "x", "y"), brew.double(model=other, blob_in="x", blob_out="z")
    yield protos(other)


def parameters(c2):
    tags = c2.parameter_info.ParameterTags
    fill = c2.initializers.Initializer
    model = c2.model_helper.ModelHelper("m")
    with c2.core.NameScope("s"):
        w = model.create_param("w", [2, 3], fill("XavierFill"), tags.WEIGHT)
        with c2.core.NameScope("t"):
            b = model.create_param("b", [2], fill("ConstantFill", value=1.0), [tags.BIAS])
    c = model.create_param(c2.core.BlobReference("c"), [1], fill("ConstantFill"), "COMPUTED_PARAM")
    e = model.create_param("e", [4], c2.initializers.ExternalInitializer())
    yield w, b, c, e, model.GetParams(), model.GetParams("s"), model.GetParams("s/t/")
    yield model.GetComputedParams("s"), model.GetAllParams(""), model.weights, model.biases
    with c2.core.NameScope("s"):
        yield model.GetParams(), model.create_param("w", [2, 3], fill("ConstantFill"))
        yield c2.refuses(model.create_param, "w", [3, 3], fill("ConstantFill"))
    info = model.get_param_info(w)
    yield info.name, info.shape, int(info.size), info.grad, info.optimizer, str(info), info.length
    yield model.get_param_info(c2.core.BlobReference("no"))
    yield protos(model)
    yield c2.refuses(model.create_param, 3, [1], fill("ConstantFill"))
    yield c2.refuses(model.AddParameter, "w"), model.Validate()
    model.AddParameter(w)
    yield c2.refuses(model.Validate), c2.refuses(model.GetDevices)
    yield c2.refuses(model.GetOptimizationParamInfo), c2.refuses(getattr, model, "NoSuchOperator")


def shared_parameters(c2):
    share = c2.parameter_sharing.ParameterSharing
    name = c2.parameter_sharing.parameter_sharing_context.get_parameter_name
    brew, scope = c2.brew, c2.core.NameScope
    model = c2.model_helper.ModelHelper("m")
    with share({"b": "a"}):
        with scope("a"):
            brew.fc(model, "x", "f", 2, 2)
        with scope("b"):
            brew.fc(model, "x", "f", 2, 2)
            with scope("c"):
                yield name("w")
    with scope("outer"), share({"b": "a", "b/inner": "b", "d": ""}):
        for place in ["a", "b", "b/inner", "b/other", "d", "bb"]:
            with scope(place):
                yield name("w")
    yield c2.refuses(share({"a": "a/b"}).__enter__)
    with scope("b"):
        yield name("w")
    yield protos(model), model.params
    with c2.core.NameScope("t"):
        other = c2.model_helper.ModelHelper("o", param_model=model, init_params=False)
        brew.fc(other, "x", "g", 2, 2)
        brew.spatial_bn(other, "x", "h", 2, is_test=True)
    yield protos(other), other.params is model.params, other.GetAllParams("")


def cnn_models(c2):
    for order in ["NCHW", "NHWC"]:
        model = c2.cnn.CNNModelHelper(order, "cnn", use_cudnn=order == "NCHW", ws_nbytes_limit=9)
        y = model.Conv("x", "a", 3, 4, 3, model.XavierInit, model.ZeroInit, pad=1)
        y = model.SpatialBN(y, "b", 4, is_test=False)
        y = model.Relu(y, y)
        y = model.MaxPool(y, "c", kernel=2, stride=2)
        y = model.GroupConv(y, "d", 4, 4, 1, group=2)
        y = model.Dropout(model.LRN(y, "e", size=3, alpha=0.1, beta=0.7), "f", is_test=False)
        y = model.Sum([y, y], "g")
        y = model.FC(y, "h", 4, 2, model.MSRAInit, model.ConstantInit(3.0))
        model.Accuracy([model.Softmax(y, "i"), "label"], "accuracy")
        model.Iter("iter")
        yield protos(model), model.params, model.weights, model.biases
        yield model.order, model.use_cudnn, model.CPU, model.GPU, model.arg_scope
    yield c2.refuses(c2.cnn.CNNModelHelper, "CHWN")


def _lenet(c2, test=False, name="lenet"):
    brew = c2.brew
    model = c2.model_helper.ModelHelper(name, arg_scope={"order": "NCHW"}, init_params=not test)
    y = brew.conv(model, "data", "conv1", 1, 4, 5)
    y = brew.max_pool(model, y, "pool1", kernel=2, stride=2)
    y = brew.fc(model, y, "fc2", 4 * 12 * 12, 10)
    y = brew.relu(model, y, y)
    y = brew.fc(model, y, "pred", 10, 10)
    softmax = brew.softmax(model, y, "softmax")
    if not test:
        entropy = model.LabelCrossEntropy([softmax, "label"], "entropy")
        loss = model.AveragedLoss(entropy, "loss")
        brew.accuracy(model, [softmax, "label"], "accuracy")
        model.found = model.AddGradientOperators([loss])
    return model


def gradients(c2):
    model = _lenet(c2)
    yield sorted((str(k), str(v)) for k, v in model.found.items())
    yield sorted((str(k), str(v)) for k, v in model.param_to_grad.items())
    yield [(info.name, str(info.grad), info.shape) for info in model.GetOptimizationParamInfo()]
    yield [info.name for info in model.GetOptimizationParamInfo([model.params[1]])]
    yield protos(model)
    yield c2.refuses(model.AddGradientOperators, ["loss"])


def complete_nets(c2):
    model = _lenet(c2, test=True)
    model.net.Proto().type = "simple"
    whole = c2.model_helper.ModelHelper("w")
    c2.brew.fc(whole, "x", "y", 2, 2)
    whole.net.Proto().type = "dag"
    net = whole.GetCompleteNet()
    yield net.Proto()
    other = c2.model_helper.ModelHelper("o")
    other.ConstructInitTrainNetfromNet(net)
    for part in protos(other):
        yield part.name, part.type, part.op, part.external_input, sorted(part.external_output)


def predictors(c2):
    extract = c2.model_helper.ExtractPredictorNet
    model = _lenet(c2)
    net, rest = extract(model.net.Proto(), ["data"], ["softmax"])
    yield net.Name(), list(net.Proto().op), sorted(rest), sorted(net.Proto().external_input)
    yield list(net.Proto().external_output)
    net, rest = extract(
        model.net.Proto(),
        ["data"],
        ["pred"],
        device=c2.core.DeviceOption(c2.caffe2_pb2.CUDA, 1),
        renames={"data": "image", "pred": "scores"},
    )
    yield net.Name(), list(net.Proto().op), sorted(rest), sorted(net.Proto().external_input)
    yield c2.refuses(extract, model.net.Proto(), ["nothing"], ["softmax"])
    yield c2.refuses(extract, model.net.Proto(), ["data"], ["nothing"])
    train = c2.model_helper.ModelHelper("t")
    c2.brew.spatial_bn(train, "x", "y", 2, is_test=0)
    yield c2.refuses(extract, train.net.Proto(), ["x"], ["y"])


def _optimized(c2, build):
    model = _lenet(c2)
    made = build(model)
    kept = made.get_auxiliary_parameters() if made is not None else None
    return protos(model), kept and ([str(b) for b in kept.local], [str(b) for b in kept.shared])


def sgd(c2):
    build = c2.optimizer.build_sgd
    yield _optimized(c2, lambda m: build(m, 0.1))
    yield _optimized(c2, lambda m: build(m, 0.1, policy="step", stepsize=10, gamma=0.9))
    yield _optimized(c2, lambda m: build(m, 0.1, momentum=0.9, nesterov=False))
    yield _optimized(c2, lambda m: build(m, 0.1, momentum=0.9, lars=0.5))
    yield _optimized(c2, lambda m: build(m, 0.1, max_gradient_norm=2.0))
    yield _optimized(c2, lambda m: build(m, 0.1, allow_lr_injection=True))
    yield _optimized(c2, lambda m: build(m, 0.1, max_gradient_norm=2, allow_lr_injection=True))
    yield _optimized(c2, lambda m: build(m, 0.0))
    yield _optimized(c2, lambda m: c2.optimizer.build_multi_precision_sgd(m, 0.1, momentum=0.5))


def decayed(c2):
    for decay in (0.1, 0.0):
        model = _lenet(c2)
        yield c2.brew.add_weight_decay(model, decay), protos(model)
    model = _lenet(c2)
    yield c2.optimizer.add_weight_decay(model, 1e-4)
    c2.optimizer.build_sgd(model, 0.1, momentum=0.9)
    yield protos(model)


def adaptive(c2):
    optimizer = c2.optimizer
    yield _optimized(c2, lambda m: optimizer.build_adagrad(m, 0.1))
    yield _optimized(
        c2, lambda m: optimizer.build_adagrad(m, 0.1, decay=0.5, lars=0.1, epsilon=1e-3)
    )
    yield _optimized(c2, lambda m: optimizer.build_adagrad(m, 0.1, weight_decay=0.5))
    yield _optimized(c2, lambda m: optimizer.build_adagrad(m, 0.1, output_effective_lr=True))
    yield _optimized(c2, lambda m: optimizer.build_adam(m, 0.1))
    yield _optimized(c2, lambda m: optimizer.build_adam(m, 0.1, beta1=0.5, epsilon=1e-5))
    yield _optimized(c2, lambda m: optimizer.build_ftrl(m, engine="", alpha=0.1, lambda1=0.5))
    yield _optimized(c2, lambda m: optimizer.build_adadelta(m, 0.1, decay=0.8))
    yield _optimized(c2, lambda m: optimizer.build_yellowfin(m, 0.1, mu=0.5))


def rms_prop(c2):
    yield _optimized(c2, lambda m: c2.optimizer.build_rms_prop(m, 0.1, momentum=0.9))


def own_optimizers(c2):
    optimizer = c2.optimizer
    use = c2.optimizer_context.UseOptimizer
    model = c2.model_helper.ModelHelper("m")
    with use(optimizer.SgdOptimizer(0.3)):
        y = c2.brew.fc(model, "x", "a", 2, 2)
        with use({"BIAS": optimizer.AdagradOptimizer(alpha=0.2)}):
            y = c2.brew.fc(model, y, "b", 2, 2)
    y = c2.brew.fc(model, y, "c", 2, 2)
    loss = model.AveragedLoss(y, "loss")
    model.AddGradientOperators([loss])
    optimizer.build_adam(model, 0.1)
    yield protos(model)
    net, init = c2.core.Net("n"), c2.core.Net("i")
    update = optimizer.SgdOptimizer(0.5, momentum=0.1)
    init.ConstantFill([], "w", shape=[2])
    with c2.core.DeviceScope(c2.core.DeviceOption(c2.caffe2_pb2.CPU)):
        update(net, init, "w", "g")
    update.scale_learning_rate(2.0)
    yield net.Proto(), init.Proto(), update.base_learning_rate
    yield update.make_unique_blob_name("q"), update.get_gpu_blob_name("q", 1, "")
    yield c2.refuses(update, net, init, "w")


def iterations(c2):
    net, init = c2.core.Net("n"), c2.core.Net("i")
    yield c2.utils.BuildUniqueMutexIter(init, net), c2.utils.BuildUniqueMutexIter(init, net)
    yield c2.utils.BuildUniqueMutexIter(init, net, iter="other", iter_mutex="lock", iter_val=5)
    yield net.Proto(), init.Proto()


PROGRAMS = [
    value
    for value in list(globals().values())
    if callable(value) and value.__code__.co_varnames[:1] == ("c2",) and value.__name__[0] != "_"
]
