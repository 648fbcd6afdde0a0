"""Small programs that update parameters in every way, run by the real Caffe2 and by caffe2py.

As tests/modeling/programs.py, with c2.regularizer besides.
"""

from types import SimpleNamespace as _Namespace


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


def _model(c2, kind="dense"):
    """A model with a matrix, a vector, and for "sparse" a table of which some rows are read."""
    model = c2.model_helper.ModelHelper(kind)
    x = "x"
    if kind == "sparse":
        fill = c2.initializers.Initializer("GaussianFill")
        table = model.create_param("table", [9, 4], fill)
        x = model.net.Gather([table, "ids"], "rows")
    y = c2.brew.fc(model, x, "y", 4, 2)
    model.AddGradientOperators([model.net.AveragedLoss(y, "loss")])
    return model


def _built(c2, build, kind, *args, **kwargs):
    model = _model(c2, kind)
    made = build(model, *args, **kwargs)
    kept = made.get_auxiliary_parameters()
    names = [str(b) for b in kept.local], [str(b) for b in kept.shared]
    return model.param_init_net.Proto(), model.net.Proto(), names


def _refused(c2, build, *args, **kwargs):
    return c2.refuses(_built, c2, build, *args, **kwargs)


def sgd(c2):
    build = c2.optimizer.build_sgd
    yield _built(c2, build, "sparse", 0.1)
    yield _built(c2, build, "sparse", 0.1, momentum=0.9)
    yield _built(c2, build, "sparse", 0.1, sparse_dedup_aggregator="sum")
    yield _built(c2, build, "sparse", 0.1, max_gradient_norm=1.0, sparse_dedup_aggregator="mean")
    yield _refused(c2, build, "dense", -0.1)
    yield _refused(c2, build, "sparse", 0.1, sparse_dedup_aggregator="product")
    yield _built(c2, c2.optimizer.build_multi_precision_sgd, "dense", 0.1, nesterov=False)


def fp16_sgd(c2):
    build = c2.optimizer.build_fp16_sgd
    yield _built(c2, build, "dense", 0.1, momentum=0.9, weight_decay=0.01)
    yield _built(c2, build, "dense", 0.1, fp32_update=True, nesterov=False)
    yield _refused(c2, build, "sparse", 0.1)


def policies(c2):
    def build(**kwargs):
        return _built(c2, c2.optimizer.build_sgd, "dense", 0.1, **kwargs)[1]

    yield build(policy="fixed")
    yield build(policy="step", stepsize=5, gamma=0.5)
    yield build(policy="exp", gamma=0.9)
    yield build(policy="inv", gamma=0.1, power=0.5)
    yield build(policy="poly", max_iter=100, power=2.0)
    yield build(policy="gate", multiplier_1=1.0, multiplier_2=0.1, num_iter=10)
    yield build(policy="alter", active_first=True, active_period=4, inactive_period=2)
    yield build(policy="linearWarmup", start_multiplier=0.1, num_iter=10)
    yield build(policy="constantWarmup", multiplier=0.5, num_iter=10)
    yield build(
        policy="hill", num_iter=10, start_multiplier=0.1, gamma=0.9, power=0.5, end_multiplier=0.01
    )
    yield build(policy="slope", num_iter_1=5, multiplier_1=0.5, num_iter_2=9, multiplier_2=0.1)
    yield build(policy="cyclical", max_lr=1.0, stepsize=7, decay=0.99)
    yield build(policy="cosine", max_lr=1.0, min_lr=0.1, period=10, t_mult=2.0, lr_shrink=0.5)
    yield build(policy="composite", sub_policies=["step", "exp"], sub_policy_num_iters=[3, 4])


def wngrad(c2):
    build = c2.optimizer.build_wngrad
    yield _built(c2, build, "dense", 0.1)
    yield _built(c2, build, "sparse", 0.1, epsilon=1e-3, moment_init=5.0, engine="SOME")
    yield _built(c2, build, "dense", 0.1, output_effective_lr=True)
    yield _built(c2, build, "dense", 0.1, output_effective_lr_and_update=True)
    yield _built(c2, build, "dense", 0.1, policy="exp", gamma=0.9, lars=0.5)
    yield _built(c2, build, "dense", 0.1, max_gradient_norm=1.0, allow_lr_injection=True)
    yield _refused(c2, build, "dense", 0.0)


def storm(c2):
    build = c2.optimizer.build_storm
    yield _built(c2, build, "dense", 0.1)
    yield _built(c2, build, "sparse", 0.1, momentum=3.0, beta=0.5, grad_sq_init=0.2)
    yield _built(c2, build, "sparse", 0.1, sparse_dedup_aggregator="sum")
    yield _built(c2, build, "dense", 0.1, policy="inv", gamma=0.1, power=1.0, lars=0.5)
    yield _built(c2, build, "dense", 0.1, max_gradient_norm=1.0, allow_lr_injection=True)
    yield _refused(c2, build, "dense", 0.0)


def ftrl(c2):
    optimizer = c2.optimizer
    given = {"alpha": 0.1, "beta": 0.5, "lambda1": 0.2, "lambda2": 0.3}
    yield _built(c2, optimizer.build_ftrl, "dense", engine="")
    yield _built(c2, optimizer.build_ftrl, "sparse", engine="", **given)
    yield _built(c2, optimizer.build_ftrl, "sparse", engine="", sparse_dedup_aggregator="mean")
    yield _built(c2, optimizer.build_gftrl, "dense")
    yield _built(c2, optimizer.build_gftrl, "dense", **given)
    yield _refused(c2, optimizer.build_gftrl, "sparse")
    yield _refused(c2, optimizer.build_ftrl, "dense", engine="", alpha=0.0)


def adam(c2):
    build = c2.optimizer.build_adam
    yield _built(c2, build, "sparse", 0.1)
    yield _built(c2, build, "sparse", 0.1, enableRAdam=True, sparse_dedup_aggregator="sum")
    yield _built(c2, build, "dense", 0.1, use_lr_adaption=True)
    yield _built(c2, build, "dense", 0.1, use_lr_adaption=True, normalized_lr_adaption=False)
    yield _built(c2, build, "dense", 0.1, policy="step", stepsize=3, gamma=0.5)
    yield _refused(c2, build, "sparse", 0.1, rowWise=True)
    yield _built(c2, build, "dense", 0.1, max_gradient_norm=1.0, allow_lr_injection=True)


def adadelta(c2):
    build = c2.optimizer.build_adadelta
    yield _built(c2, build, "sparse", 0.1, epsilon=1e-3, engine="SOME")
    yield _built(c2, build, "sparse", 0.1, sparse_dedup_aggregator="sum", max_gradient_norm=1.0)


def adagrad(c2):
    build = c2.optimizer.build_adagrad
    scale = {"stepsize": 3, "upper_bound_iter": 9, "scale": 0.5}
    yield _built(c2, build, "sparse", 0.1)
    yield _built(c2, build, "sparse", 0.1, sparse_dedup_aggregator="mean", engine="SOME")
    yield _built(c2, build, "sparse", 0.1, weight_decay=0.1)
    yield _built(c2, build, "sparse", 0.1, counter_halflife=5)
    yield _built(c2, build, "dense", 0.1, weight_scale=_Namespace(**scale, to_aux=False))
    yield _built(c2, build, "sparse", 0.1, weight_scale=_Namespace(**scale, to_aux=True))
    yield _refused(c2, build, "sparse", 0.1, decay=0.5)
    yield _refused(c2, build, "dense", 0.1, rowWise=True)


def row_wise(c2):
    """Where every gradient is sparse."""
    for build, options in (
        (c2.optimizer.AdagradOptimizer, {}),
        (c2.optimizer.AdagradOptimizer, {"weight_decay": 0.1, "counter_halflife": 4}),
        (c2.optimizer.AdamOptimizer, {}),
        (c2.optimizer.AdamOptimizer, {"beta1": 0.5, "use_lr_adaption": True}),
    ):
        net, init = c2.core.Net("n"), c2.core.Net("i")
        init.ConstantFill([], "w", shape=[4, 2])
        made = build(alpha=0.1, rowWise=True, **options)
        made(net, init, "w", c2.core.GradientSlice("rows", "values"))
        yield net.Proto(), init.Proto()


def regularizers(c2):
    """Each on a matrix, on the loss and after the update, for both kinds of gradients."""
    module = c2.regularizer
    made = [
        module.L1Norm(0.1), module.L2Norm(0.2), module.ElasticNet(0.1, 0.2),
        module.ElasticNetL1NormTrimmed(0.1, 0.2, 3), module.L1NormTrimmed(0.1, 2),
        module.LpNorm(0.1), module.LpNorm(0.1, 2.0), module.L0ApproxNorm(0.1),
        module.L0ApproxNorm(0.1, 0.5, 3), module.GroupL1Norm(0.1, [1, 3]),
        module.GroupL1Norm(0.1, [4], 1e-3), module.LogBarrier(0.1),
        module.LogBarrier(0.1, "exp", {"gamma": 0.9}), module.MaxNorm(2.0),
        module.ConstantNorm(0.5), module.SparseLpNorm(2, 0.1), module.SparseL1Norm(0.1),
        module.SparseL2Norm(0.1), module.BoundedGradientProjection(lb=-1, ub=1),
        module.BoundedGradientProjection(lb=0, left_open=True, epsilon=0.1),
        module.BoundedGradientProjection(ub=2, right_open=True),
    ]  # fmt: skip
    slices = c2.core.GradientSlice("rows", "values")
    for one in made:
        for grad in (None, c2.core.BlobReference("g"), slices):
            yield type(one).__name__, _regularized(c2, one, grad, "on_loss")
            yield c2.refuses(_regularized, c2, one, grad, "after_optimizer")
            if c2.refuses(_regularized, c2, one, grad, "after_optimizer") == "accepted":
                yield _regularized(c2, one, grad, "after_optimizer")


def _regularized(c2, one, grad, by):
    net, init = c2.core.Net("n"), c2.core.Net("i")
    with c2.scope.NameScope("s"):
        found = one(net, init, c2.core.BlobReference("w"), grad, by=by)
    return None if found is None else str(found), net.Proto(), init.Proto()


def wrong_regularizers(c2):
    module = c2.regularizer
    for make, args in (
        (module.L1Norm, (-1,)), (module.L2Norm, (-1,)), (module.LpNorm, (0,)),
        (module.LpNorm, (1, 0)), (module.L0ApproxNorm, (0,)), (module.L0ApproxNorm, (1, 0)),
        (module.L0ApproxNorm, (1, 1, -1)), (module.L1NormTrimmed, (1, 0)),
        (module.GroupL1Norm, (-1, [2])), (module.LogBarrier, (0,)),
        (module.BoundedGradientProjection, (1, 0)), (module.L1Norm, (1,)),
    ):  # fmt: skip
        yield make.__name__, args, c2.refuses(make, *args)
    yield c2.refuses(_regularized, c2, module.L1Norm(1), None, "somewhere")


PROGRAMS = [
    value
    for value in list(globals().values())
    if getattr(value, "__code__", None)
    and value.__code__.co_varnames[:1] == ("c2",)
    and value.__name__[0] != "_"
]
