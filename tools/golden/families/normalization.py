"""Softmax, SpatialBN, LRN, Dropout and their gradients."""

from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, Step, gradient, grid, pick, positive, wrong_arity

STATISTICS = ["Y", "mean", "var", "saved_mean", "saved_inv_std"]


def softmax_inputs(rng: np.random.Generator) -> Cases:
    shapes = [(1,), (2, 3), (4, 7), (3, 1), (1, 33), (0, 3), (2, 3, 4), (2, 1, 3, 2), (2, 3)]
    for shape in shapes:
        yield Case("Softmax", {"X": grid(rng, shape)}, args={} if len(shape) > 1 else {"axis": 0})
    for shape in ((3,), (2, 3), (2, 3, 4), (2, 1, 3, 2)):
        for axis in range(-len(shape), len(shape)):
            yield Case("Softmax", {"X": grid(rng, shape)}, args={"axis": axis})
    for scale in (40, 1000):
        X = (scale * grid(rng, (3, 5))).astype("float32")
        yield Case("Softmax", {"X": X})


def softmax(rng: np.random.Generator) -> Cases:
    op = "Softmax"
    yield from softmax_inputs(rng)
    yield Case(op, {"X": np.array([[np.inf, 0, 1], [np.nan, 0, 1], [-np.inf, 0, 1]], "float32")})
    yield Case(op, {"X": np.full((2, 2), -np.inf, "float32")})
    yield Case(op, {"X": grid(rng, (2, 0))})
    for axis in (2, -3, 5):
        yield Case(op, {"X": grid(rng, (2, 3))}, args={"axis": axis}, refused=True)
    yield Case(op, {"X": grid(rng, (3,))}, refused=True)
    yield Case(op, {"X": grid(rng, ())}, refused=True)
    for dtype in ("float64", "int32", "float16"):
        yield Case(op, {"X": grid(rng, (2, 3), dtype)}, refused=True)
    yield Case(op, {"X": grid(rng, (2, 3))}, ["X"], refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2, 3))}, ["Y"])


def softmax_gradient(rng: np.random.Generator) -> Cases:
    op = "SoftmaxGradient"
    for case in softmax_inputs(rng):
        yield gradient(case, op, ["Y", "dY"], ["dX"])
    feed = {"Y": positive(rng, (2, 3)), "dY": grid(rng, (2, 3))}
    yield Case(op, feed, ["dX"])
    yield Case(op, {**feed, "dY": grid(rng, (2, 4))}, ["dX"], refused=True)
    yield Case(op, {**feed, "dY": grid(rng, (6,))}, ["dX"], refused=True)
    yield Case(op, feed, ["dX"], {"axis": 3}, refused=True)
    wrong = {name: array.astype("float64") for name, array in feed.items()}
    yield Case(op, wrong, ["dX"], refused=True)
    yield Case(op, feed, ["dY"], refused=True)
    yield Case(op, feed, ["Y"], refused=True)
    yield from wrong_arity(op, feed, ["dX"])


def bn_feed(rng: np.random.Generator, order: str, shape: list[int]) -> dict[str, np.ndarray]:
    channels = shape[1] if order == "NCHW" else shape[-1]
    vectors = {name: grid(rng, (channels,)) for name in ("scale", "bias", "mean")}
    return {"X": grid(rng, shape), **vectors, "var": positive(rng, (channels,))}


def bn_variants(rng: np.random.Generator) -> list[tuple[dict[str, np.ndarray], dict[str, Any]]]:
    """Images of up to three dimensions in both orders; the gradient refuses those of none."""
    variants = []
    for index in range(16):
        order = "NHWC" if index % 2 else "NCHW"
        size = [int(n) for n in rng.integers(1, 5, index // 2 % 4)]
        batch, channels = int(rng.integers(2, 4)), int(rng.integers(1, 4))
        shape = [batch, channels, *size] if order == "NCHW" else [batch, *size, channels]
        args: dict[str, Any] = {"order": order} if index % 4 else {}
        if index % 3:
            args |= {"epsilon": pick(rng, [1e-3, 0.5]), "momentum": pick(rng, [0.0, 0.75, 1.0])}
        if order == "NHWC":
            args["order"] = order
        variants.append((bn_feed(rng, order, shape), args))
    return variants


def batches(rng: np.random.Generator, feed: dict[str, np.ndarray], order: str):
    """Sums over this batch and another one: what num_batches=2 reads."""
    channel = 1 if order == "NCHW" else feed["X"].ndim - 1
    axes = tuple(axis for axis in range(feed["X"].ndim) if axis != channel)
    other = grid(rng, feed["X"].shape)
    sums = feed["X"].sum(axes) + other.sum(axes)
    squares = (feed["X"] ** 2).sum(axes) + (other**2).sum(axes)
    return {**feed, "sums": sums.astype("float32"), "sumsq": squares.astype("float32")}


def spatial_bn(rng: np.random.Generator) -> Cases:
    op = "SpatialBN"
    for feed, args in bn_variants(rng):
        yield Case(op, feed, args={"is_test": 1, **args})
        yield Case(op, feed, STATISTICS, {"is_test": 0, **args})
    for feed, args in bn_variants(rng)[:6]:
        more = batches(rng, feed, args.get("order", "NCHW"))
        yield Case(op, more, STATISTICS, {"is_test": 0, "num_batches": 2, **args})
        outputs = [*STATISTICS[:3], "sums", "sumsq"]
        yield Case(op, more, outputs, {"is_test": 0, "num_batches": 2, **args})
        yield Case(op, feed, ["X"], {"is_test": 1, **args})
        yield Case(op, feed, ["X", *STATISTICS[1:]], {"is_test": 0, **args})
    feed = bn_feed(rng, "NCHW", [2, 3, 2, 2])
    one = {
        "X": grid(rng, (1, 3)),
        **{name: feed[name] for name in ("scale", "bias", "mean", "var")},
    }
    yield Case(op, one, STATISTICS, {"is_test": 0}, note="one value per channel")
    for shape in ((0, 3, 2, 2), (2, 3, 0, 2)):
        empty = {**feed, "X": grid(rng, shape)}
        yield Case(op, empty, args={"is_test": 1})
        yield Case(op, empty, STATISTICS, {"is_test": 0})
    yield Case(op, feed, refused=True)
    yield Case(op, feed, STATISTICS, refused=True)
    yield Case(op, feed, ["Y"], {"is_test": 0}, refused=True)
    yield Case(op, feed, STATISTICS, {"is_test": 1}, refused=True)
    yield Case(op, feed, ["Y", "m", "v", "s", "i"], {"is_test": 0}, refused=True)
    yield Case(op, {**feed, "scale": grid(rng, (4,))}, args={"is_test": 1}, refused=True)
    yield Case(op, {**feed, "var": grid(rng, (2,))}, args={"is_test": 1}, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (3,))}, args={"is_test": 1}, refused=True)
    yield Case(op, feed, args={"is_test": 1, "epsilon": -1.0}, refused=True)
    yield Case(op, feed, STATISTICS, {"is_test": 0, "momentum": 1.5}, refused=True)
    yield Case(op, feed, STATISTICS, {"is_test": 0, "num_batches": 2}, refused=True)
    yield Case(op, feed, args={"is_test": 1, "order": "bad"}, refused=True)
    wrong = {name: array.astype("float64") for name, array in feed.items()}
    yield Case(op, wrong, args={"is_test": 1}, refused=True)
    yield from wrong_arity(op, feed, ["Y"], is_test=1)


def spatial_bn_gradient(rng: np.random.Generator) -> Cases:
    op, outputs = "SpatialBNGradient", ["dX", "dscale", "dbias"]
    for feed, args in bn_variants(rng):
        train = Case("SpatialBN", feed, STATISTICS, {"is_test": 0, **args})
        yield gradient(train, op, ["X", "scale", "dY", "saved_mean", "saved_inv_std"], outputs)
        test = Case("SpatialBN", feed, ["Y"], {"is_test": 1, **args})
        yield gradient(test, op, ["X", "scale", "dY", "mean", "var"], outputs)
    for feed, args in bn_variants(rng)[:6]:
        totals = {"total_dscale": grid(rng, feed["scale"].shape),
                  "total_dbias": grid(rng, feed["scale"].shape)}  # fmt: skip
        reads = ["X", "scale", "dY", "saved_mean", "saved_inv_std", *totals]
        train = Case("SpatialBN", feed, STATISTICS, {"is_test": 0, **args})
        forward = Step(train.op, train.inputs, train.outputs, train.args)
        for results in (outputs, ["dX", *totals]):
            yield Case(op, {**feed, **totals}, results, {"is_test": 0, "num_batches": 2, **args},
                       reads=reads, before=[forward], like={"dY": "Y"})  # fmt: skip
    feed = {"X": grid(rng, (2, 3, 2)), "scale": grid(rng, (3,)), "dY": grid(rng, (2, 3, 2)),
            "mean": grid(rng, (3,)), "inv_std": positive(rng, (3,))}  # fmt: skip
    yield Case(op, feed, outputs, note="is_test left out")
    yield Case(op, {**feed, "dY": grid(rng, (2, 3, 3))}, outputs, refused=True)
    yield Case(op, {**feed, "scale": grid(rng, (2,))}, outputs, refused=True)
    yield Case(op, feed, outputs[:2], refused=True)
    yield Case(op, feed, ["X", "dscale", "dbias"], refused=True)
    wrong = {name: array.astype("float64") for name, array in feed.items()}
    yield Case(op, wrong, outputs, refused=True)
    yield Case(op, feed, outputs, {"order": "bad"}, refused=True)
    yield from wrong_arity(op, feed, outputs)


def lrn_inputs(rng: np.random.Generator) -> Cases:
    for index in range(26):
        order = "NHWC" if index % 2 else "NCHW"
        channels, size = int(rng.integers(1, 8)), pick(rng, [1, 3, 5, 7])
        shape = [int(n) for n in rng.integers(1, 4, 3)]
        shape.insert(1 if order == "NCHW" else 3, channels)
        args = {
            "size": size,
            "alpha": pick(rng, [1e-4, 0.5, 2.0]),
            "beta": pick(rng, [0.75, 0.5, 1.0]),
        }
        if index % 3:
            args["bias"] = pick(rng, [1.0, 2.0])
        outputs = ["Y", "scale"] if index // 2 % 2 else ["Y"]
        yield Case("LRN", {"X": grid(rng, shape)}, outputs, {**args, "order": order})


def lrn(rng: np.random.Generator) -> Cases:
    op, usual = "LRN", {"size": 3, "alpha": 0.5, "beta": 0.75}
    yield from lrn_inputs(rng)
    X = grid(rng, (2, 4, 2, 2))
    yield Case(op, {"X": X}, args=usual)
    yield Case(op, {"X": X}, args={**usual, "alpha": 0.0})
    yield Case(op, {"X": X}, args={**usual, "beta": 0.0})
    yield Case(op, {"X": X}, args={**usual, "bias": 0.0})
    yield Case(op, {"X": grid(rng, (0, 4, 2, 2))}, args=usual)
    yield Case(op, {"X": X}, args={**usual, "size": 2})
    for change in ({"size": -1}, {"order": "bad"}):  # size 0 writes where it should not
        yield Case(op, {"X": X}, args={**usual, **change}, refused=True)
    for shape in ((2, 4), (2, 4, 3), (2, 4, 1, 1, 2)):
        yield Case(op, {"X": grid(rng, shape)}, args=usual, refused=True)
    yield Case(op, {"X": X.astype("float64")}, args=usual, refused=True)
    yield Case(op, {"X": X}, ["X"], usual, refused=True)
    yield from wrong_arity(op, {"X": X}, ["Y"], **usual)


def lrn_gradient(rng: np.random.Generator) -> Cases:
    op, reads = "LRNGradient", ["X", "Y", "dY"]
    for case in lrn_inputs(rng):
        yield gradient(case, op, reads, ["dX"])
    usual = {"size": 3, "alpha": 0.5, "beta": 0.75}
    feed = {name: positive(rng, (1, 4, 2, 2)) for name in reads}
    yield Case(op, feed, ["dX"], usual, note="Y is not what LRN of X gives")
    yield Case(op, feed, ["dX"], {**usual, "size": 2})
    yield Case(op, {**feed, "dY": grid(rng, (1, 4, 2))}, ["dX"], usual, refused=True)
    yield Case(op, {**feed, "dY": grid(rng, (1, 4, 2, 3))}, ["dX"], usual, refused=True)
    wrong = {name: array.astype("float64") for name, array in feed.items()}
    yield Case(op, wrong, ["dX"], usual, refused=True)
    yield Case(op, feed, ["dY"], usual, refused=True)
    yield from wrong_arity(op, feed, ["dX"], **usual)


def dropout(rng: np.random.Generator) -> Cases:
    """Training is random: a field of ones shows the scale as maximum and the rate as mean."""
    op = "Dropout"
    for index, shape in enumerate([(), (0,), (3,), (2, 3), (2, 3, 4), (2, 1, 3, 2)] * 2):
        args = {"is_test": 1, "ratio": pick(rng, [0.0, 0.25, 0.5, 0.9])}
        yield Case(op, {"X": grid(rng, shape)}, ["Y", "mask"] if index % 2 else ["Y"], args)
        yield Case(op, {"X": grid(rng, shape)}, ["X"], {"is_test": 1})
    for ratio in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9):
        for outputs in (["Y", "mask"], ["X", "mask"]):
            args = {"is_test": 0, "ratio": ratio}
            yield Case(op, {"X": np.ones((3, 40), "float32")}, outputs, args, random=True)
    yield Case(op, {"X": np.ones((10, 20), "float32")}, ["Y", "mask"], {"is_test": 0}, random=True)
    yield Case(op, {"X": np.ones((0, 2), "float32")}, ["Y", "mask"], {"is_test": 0}, random=True)
    X = grid(rng, (2, 3))
    yield Case(op, {"X": X}, ["Y", "mask"], refused=True)
    yield Case(op, {"X": X}, ["Y"], {"is_test": 0}, refused=True)
    for ratio in (-0.1, 1.0, 1.5):
        yield Case(op, {"X": X}, ["Y", "mask"], {"is_test": 0, "ratio": ratio}, refused=True)
        yield Case(op, {"X": X}, ["Y", "mask"], {"is_test": 1, "ratio": ratio}, refused=True)
    for dtype in ("float64", "int32", "float16"):
        for is_test in (0, 1):
            feed = {"X": X.astype(dtype)}
            yield Case(op, feed, ["Y", "mask"], {"is_test": is_test}, refused=True)
    yield Case(op, {"X": X}, ["Y", "X"], {"is_test": 1}, refused=True)
    yield from wrong_arity(op, {"X": X}, ["Y"], is_test=1)


def dropout_grad(rng: np.random.Generator) -> Cases:
    op = "DropoutGrad"
    for shape in [(), (0,), (3,), (2, 3), (2, 3, 4), (2, 1, 3, 2), (17,)]:
        for ratio in (0.0, 0.25, 0.5, 0.9):
            feed = {"dY": grid(rng, shape), "mask": grid(rng, shape, "bool")}
            yield Case(op, feed, ["dX"], {"ratio": ratio, "is_test": 0})
        yield Case(op, {"dY": grid(rng, shape)}, ["dX"], {"is_test": 1})
        feed = {"dY": grid(rng, shape), "mask": grid(rng, shape, "bool")}
        yield Case(op, feed, ["dY"])
    feed = {"dY": grid(rng, (2, 3)), "mask": grid(rng, (2, 3), "bool")}
    yield Case(op, feed, ["dX"], {"is_test": 1}, note="the mask is given and not needed")
    yield Case(op, {**feed, "mask": grid(rng, (6,), "bool")}, ["dX"], refused=True)
    yield Case(op, {**feed, "mask": grid(rng, (2, 2), "bool")}, ["dX"], refused=True)
    yield Case(op, {**feed, "mask": grid(rng, (2, 3))}, ["dX"], refused=True)
    yield Case(op, {**feed, "dY": grid(rng, (2, 3), "float64")}, ["dX"], refused=True)
    yield Case(op, feed, ["dX"], {"ratio": 1.0}, refused=True)
    yield Case(op, feed, ["dX"], {"ratio": -0.5}, refused=True)
    yield Case(op, {"dY": feed["dY"]}, ["dX"], {"is_test": 0}, refused=True)
    yield Case(op, feed, ["mask"], refused=True)
    yield from wrong_arity(op, feed, ["dX"])


CASES = {
    "Softmax": softmax,
    "SoftmaxGradient": softmax_gradient,
    "SpatialBN": spatial_bn,
    "SpatialBNGradient": spatial_bn_gradient,
    "LRN": lrn,
    "LRNGradient": lrn_gradient,
    "Dropout": dropout,
    "DropoutGrad": dropout_grad,
}
