"""Images and their normalisation: layouts, frames, sizes, regions, and statistics of one item."""

from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, grid, pick, wrong_arity

Rng = np.random.Generator


def image(rng: Rng, order: str = "NCHW", low: int = 1) -> np.ndarray:
    batch, channels = int(rng.integers(1, 3)), int(rng.integers(1, 4))
    size = [int(n) for n in rng.integers(low, 6, 2)]
    shape = (batch, channels, *size) if order == "NCHW" else (batch, *size, channels)
    return grid(rng, shape)


def orders(rng: Rng, count: int):
    """Alternating orders with the argument for them; the default is sometimes left out."""
    for number in range(count):
        order = "NHWC" if number % 2 else "NCHW"
        yield number, order, {"order": order} if number % 4 else {}


# ---------------------------------------------------------------- layouts


def switch(op: str):
    def cases(rng: Rng) -> Cases:
        for number in range(22):
            shape = [int(n) for n in rng.integers(1, 5, 3 + number % 3)]
            if number == 5:
                shape[0] = 0
            yield Case(op, {"X": grid(rng, shape)})
        yield Case(op, {"X": grid(rng, (2, 3))}, refused=True)
        yield Case(op, {"X": grid(rng, (2,))}, refused=True)
        yield Case(op, {"X": grid(rng, (2, 3, 4))}, ["X"], refused=True)
        yield from wrong_arity(op, {"X": grid(rng, (2, 3, 4))}, ["Y"])

    return cases


def shuffle(op: str):
    def cases(rng: Rng) -> Cases:
        for number, order, args in orders(rng, 24):
            group = int(rng.integers(1, 4))
            channels = group * int(rng.integers(1, 4))
            size = [int(n) for n in rng.integers(1, 4, number // 2 % 4)]
            shape = (2, channels, *size) if order == "NCHW" else (2, *size, channels)
            yield Case(op, {"X": grid(rng, shape)}, args=args | {"group": group})
        yield Case(op, {"X": grid(rng, (2, 5, 2))}, args={"group": 2}, refused=True)
        yield Case(op, {"X": grid(rng, (4,))}, args={"group": 2}, refused=True)
        yield Case(op, {"X": grid(rng, (2, 4))}, ["X"], {"group": 2}, refused=True)
        yield from wrong_arity(op, {"X": grid(rng, (2, 4))}, ["Y"], group=2)

    return cases


# ---------------------------------------------------------------- frames


def frames(rng: Rng):
    """Arguments of padding, and how much they add to height and width."""
    for _, order, args in orders(rng, 24):
        mode = pick(rng, ["constant", "reflect", "edge"])
        pads = [int(n) for n in rng.integers(0, 3, 4)]
        if rng.integers(3) == 0:
            pads = [pads[0]] * 4
            args = args | {"pad": pads[0]}
        elif rng.integers(2):
            args = args | dict(zip(("pad_t", "pad_l", "pad_b", "pad_r"), pads, strict=True))
        else:
            args = args | {"pads": pads}
        if mode != "constant" or rng.integers(2):
            args = args | {"mode": mode}
        yield order, args, pads


def pad(rng: Rng) -> Cases:
    for order, args, _ in frames(rng):
        value = {"value": 0.5} if rng.integers(2) else {}
        yield Case("PadImage", {"X": image(rng, order, 3)}, args=args | value)
    X = grid(rng, (1, 2, 4, 4))
    for pads in ([-1, 0, 0, 0], [1, -1, 0, 2], [-1, -1, -2, -2]):
        for mode in ("constant", "edge", "reflect"):
            yield Case("PadImage", {"X": X}, args={"pads": pads, "mode": mode})
    yield Case("PadImage", {"X": X}, args={"mode": "other", "pad": 1}, refused=True)
    yield Case("PadImage", {"X": X}, args={"stride": 2}, refused=True)
    yield Case("PadImage", {"X": X}, args={"dilation": 2}, refused=True)
    yield Case("PadImage", {"X": X}, args={"legacy_pad": 2}, refused=True)
    yield Case("PadImage", {"X": X}, args={"pads": [1, 1]}, refused=True)
    yield Case("PadImage", {"X": X[0]}, args={"pad": 1}, refused=True)
    yield from wrong_arity("PadImage", {"X": X}, ["Y"], pad=1)


def pad_gradient(rng: Rng) -> Cases:
    for order, args, pads in frames(rng):
        x = image(rng, order, 3)
        shape = list(x.shape)
        axis = 2 if order == "NCHW" else 1
        shape[axis] += pads[0] + pads[2]
        shape[axis + 1] += pads[1] + pads[3]
        yield Case("PadImageGradient", {"dY": grid(rng, shape)}, ["dX"], args)
    dY = grid(rng, (1, 2, 4, 4))
    yield Case("PadImageGradient", {"dY": dY}, ["dX"], {"mode": "other"}, refused=True)
    yield from wrong_arity("PadImageGradient", {"dY": dY}, ["dX"], pad=1)


# ---------------------------------------------------------------- sizes


def factors(rng: Rng) -> list[float]:
    return [pick(rng, [0.5, 0.75, 1.0, 1.5, 2.0, 2.3, 3.0]) for _ in range(2)]


def resized(size: int, factor: float) -> int:
    return int(np.float32(size) * np.float32(factor))


def resize_uses(rng: Rng):
    for number, order, args in orders(rng, 24):
        x = image(rng, order, 2)
        height, width = factors(rng)
        feed = {"X": x}
        if number % 3 == 2:
            feed["scales"] = np.array([height, width], "float32")
        else:
            args = args | {"height_scale": height, "width_scale": width}
        yield order, feed, args, (height, width)


def resize(rng: Rng) -> Cases:
    for _, feed, args, _ in resize_uses(rng):
        yield Case("ResizeNearest", feed, args=args)
    X = grid(rng, (1, 2, 3, 3))
    yield Case("ResizeNearest", {"X": X[0]}, refused=True)
    yield Case("ResizeNearest", {"X": X}, args={"width_scale": -1.0}, refused=True)
    yield Case("ResizeNearest", {"X": X}, args={"height_scale": 0.0}, refused=True)
    yield Case("ResizeNearest", {"X": X, "scales": np.ones(3, "float32")}, refused=True)
    yield Case("ResizeNearest", {"X": X}, ["X"], refused=True)
    yield from wrong_arity("ResizeNearest", {"X": X}, ["Y"])


def resize_gradient(rng: Rng) -> Cases:
    for order, feed, args, (height, width) in resize_uses(rng):
        shape = list(feed["X"].shape)
        axis = 2 if order == "NCHW" else 1
        shape[axis], shape[axis + 1] = resized(shape[axis], height), resized(shape[axis + 1], width)
        yield Case("ResizeNearestGradient", {"dY": grid(rng, shape), **feed}, ["dX"], args)
    feed = {"dY": grid(rng, (1, 2, 3, 3)), "X": grid(rng, (1, 2, 3, 3))}
    yield from wrong_arity("ResizeNearestGradient", feed, ["dX"])


# ---------------------------------------------------------------- regions


def regions(rng: Rng, count: int, images: int) -> np.ndarray:
    corners = rng.integers(-8, 32, (count, 2)) / 8
    sizes = rng.integers(1, 40, (count, 2)) / 8
    numbers = rng.integers(0, images, (count, 1))
    return np.hstack([numbers, corners, corners + sizes]).astype("float32")


def align_uses(rng: Rng):
    for number, order, args in orders(rng, 24):
        x = image(rng, order, 3)
        rois = regions(rng, int(rng.integers(1, 4)), len(x))
        if number % 5 == 4:
            rois = rois[:, 1:]
        args = args | {"pooled_h": int(rng.integers(1, 4)), "pooled_w": int(rng.integers(1, 4))}
        if number % 3:
            args["sampling_ratio"] = int(rng.integers(1, 4))
        if number % 4 > 1:
            args["spatial_scale"] = pick(rng, [0.5, 1.5])
        if number % 6 > 2:
            args["aligned"] = 1
        yield order, x, rois, args


def align(rng: Rng) -> Cases:
    for _, x, rois, args in align_uses(rng):
        yield Case("RoIAlign", {"X": x, "RoIs": rois}, args=args)
    X, rois = grid(rng, (1, 2, 3, 3)), regions(rng, 2, 1)
    yield Case("RoIAlign", {"X": X, "RoIs": rois[:0]})
    yield Case("RoIAlign", {"X": X, "RoIs": rois[:, 2:]}, refused=True)
    yield Case("RoIAlign", {"X": X, "RoIs": rois[0]}, refused=True)
    yield from wrong_arity("RoIAlign", {"X": X, "RoIs": rois}, ["Y"])


def align_gradient(rng: Rng) -> Cases:
    for order, x, rois, args in align_uses(rng):
        if order == "NHWC":
            continue  # Caffe2's gradient knows no order
        dY = grid(rng, (len(rois), x.shape[1], args["pooled_h"], args["pooled_w"]))
        yield Case("RoIAlignGradient", {"X": x, "RoIs": rois, "dY": dY}, ["dX"], args)
    for aligned in range(10):
        x, rois = image(rng, "NCHW", 3), regions(rng, 3, 1)
        dY = grid(rng, (3, x.shape[1], 2, 2))
        args = {"pooled_h": 2, "pooled_w": 2, "aligned": aligned % 2}
        yield Case("RoIAlignGradient", {"X": x, "RoIs": rois, "dY": dY}, ["dX"], args)
    yield from wrong_arity("RoIAlignGradient", {"X": x, "RoIs": rois, "dY": dY}, ["dX"])


# ---------------------------------------------------------------- statistics of one item


def layer_uses(rng: Rng):
    for number in range(24):
        shape = [int(n) for n in rng.integers(2, 5, 2 + number % 3)]
        axis = int(rng.integers(-len(shape), len(shape)))
        args: dict[str, Any] = {"axis": axis} if number % 4 else {}
        feed = {"X": grid(rng, shape)}
        if number % 2:
            rest = shape[args.get("axis", 1) % len(shape) :]
            feed |= {"gamma": grid(rng, rest), "beta": grid(rng, rest)}
        if number % 4 == 1:
            args["elementwise_affine"] = 1
        if number % 3:
            args["epsilon"] = 0.25
        yield feed, args


def layer_norm(rng: Rng) -> Cases:
    outputs = ["Y", "mean", "std"]
    for feed, args in layer_uses(rng):
        yield Case("LayerNorm", feed, outputs, args)
    yield Case("LayerNorm", {"X": grid(rng, (2, 3), "float64")}, outputs)
    X = grid(rng, (2, 3))
    yield Case("LayerNorm", {"X": grid(rng, (0, 3))}, outputs)
    yield Case("LayerNorm", {"X": grid(rng, (2, 0))}, outputs)
    yield Case("LayerNorm", {"X": X}, outputs, {"axis": 2}, refused=True)
    yield Case("LayerNorm", {"X": X}, outputs, {"axis": -3}, refused=True)
    yield Case("LayerNorm", {"X": X}, outputs, {"elementwise_affine": 1}, refused=True)
    yield Case("LayerNorm", {"X": grid(rng, (3,))}, outputs, refused=True)
    yield Case("LayerNorm", {"X": X}, ["X", "mean", "std"], refused=True)
    yield from wrong_arity("LayerNorm", {"X": X}, outputs)


def layer_norm_gradient(rng: Rng) -> Cases:
    op = "LayerNormGradient"
    for feed, args in layer_uses(rng):
        x = feed["X"]
        axis = args.get("axis", 1) % x.ndim
        kept = (*x.shape[:axis], 1)
        made = {"dY": grid(rng, x.shape), "Y": grid(rng, x.shape), "mean": grid(rng, kept)}
        made |= {"std": 0.5 + np.abs(grid(rng, kept)), "X": x}
        affine = bool(args.get("elementwise_affine"))
        if affine:
            made["gamma"] = feed["gamma"]
        outputs = ["dX", "dgamma", "dbeta"] if affine else ["dX"]
        rest = {name: value for name, value in args.items() if name != "epsilon"}
        yield Case(op, made, outputs, rest)
    feed = {name: grid(rng, (2, 3)) for name in ("dY", "Y", "X")}
    feed |= {"mean": grid(rng, (2, 1)), "std": np.ones((2, 1), "float32")}
    reads = ["dY", "Y", "mean", "std", "X"]
    yield Case(op, feed, ["dX"], {"axis": 3}, reads, refused=True)
    yield from wrong_arity(op, {name: feed[name] for name in reads}, ["dX"])


def instance_uses(rng: Rng):
    for number, order, args in orders(rng, 24):
        size = [int(n) for n in rng.integers(2, 5, 1 + number // 2 % 3)]
        shape = (2, 3, *size) if order == "NCHW" else (2, *size, 3)
        feed = {"X": grid(rng, shape), "scale": grid(rng, (3,)), "bias": grid(rng, (3,))}
        if number % 3:
            args = args | {"epsilon": 0.25}
        yield number, feed, args


def instance_norm(rng: Rng) -> Cases:
    for number, feed, args in instance_uses(rng):
        yield Case("InstanceNorm", feed, ["Y", "mean", "inv_std"][: 1 + number % 3], args)
    feed = next(instance_uses(rng))[1]
    yield Case("InstanceNorm", feed, ["X"])
    yield Case("InstanceNorm", feed, args={"epsilon": -1.0}, refused=True)
    yield Case("InstanceNorm", {**feed, "scale": feed["scale"][:2]}, refused=True)
    yield Case("InstanceNorm", feed, args={"order": "other"}, refused=True)
    yield from wrong_arity("InstanceNorm", feed, ["Y"])


def instance_norm_gradient(rng: Rng) -> Cases:
    op, outputs = "InstanceNormGradient", ["dX", "dscale", "dbias"]
    for number, feed, args in instance_uses(rng):
        made = {**feed, "dY": grid(rng, feed["X"].shape)}
        if number % 2:
            made |= {"mean": grid(rng, (2, 3)), "inv_std": 0.5 + np.abs(grid(rng, (2, 3)))}
        yield Case(op, made, outputs, args)
    yield from wrong_arity(op, made, outputs)


def affine(rng: Rng) -> Cases:
    for number, feed, args in instance_uses(rng):
        args = {"order": args["order"]} if "order" in args else {}
        yield Case("AffineChannel", feed, args=args | ({"is_learnable": 1} if number % 3 else {}))
    yield Case("AffineChannel", feed, ["X"], args)
    yield Case("AffineChannel", {**feed, "X": grid(rng, (3,))}, refused=True)
    yield from wrong_arity("AffineChannel", feed, ["Y"])


def affine_gradient(rng: Rng) -> Cases:
    op = "AffineChannelGradient"
    for number, feed, args in instance_uses(rng):
        args = {"order": args["order"]} if "order" in args else {}
        made = {"dY": grid(rng, feed["X"].shape), "scale": feed["scale"]}
        outputs = ["dX"]
        if number % 2:
            made = {"dY": made["dY"], "X": feed["X"], "scale": feed["scale"]}
            outputs, args = ["dX", "dscale", "dbias"], args | {"is_learnable": 1}
        yield Case(op, made, outputs, args)
    yield from wrong_arity(op, {"dY": made["dY"], "scale": feed["scale"]}, ["dX"])


CASES = {
    "NCHW2NHWC": switch("NCHW2NHWC"),
    "NHWC2NCHW": switch("NHWC2NCHW"),
    "ChannelShuffle": shuffle("ChannelShuffle"),
    "ChannelShuffleGradient": shuffle("ChannelShuffleGradient"),
    "PadImage": pad,
    "PadImageGradient": pad_gradient,
    "ResizeNearest": resize,
    "ResizeNearestGradient": resize_gradient,
    "RoIAlign": align,
    "RoIAlignGradient": align_gradient,
    "LayerNorm": layer_norm,
    "LayerNormGradient": layer_norm_gradient,
    "InstanceNorm": instance_norm,
    "InstanceNormGradient": instance_norm_gradient,
    "AffineChannel": affine,
    "AffineChannelGradient": affine_gradient,
}
