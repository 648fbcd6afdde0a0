"""Pictures: other sizes, blocks in the batch, norms of windows, key points, bytes."""

from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, gradient, grid, pick, positive, wrong_arity

Rng = np.random.Generator


def picture(rng: Rng, axes: int = 2, low: int = 1) -> np.ndarray:
    batch, channels, *size = (int(n) for n in rng.integers(low, 6, 2 + axes))
    return grid(rng, (min(batch, 2), min(channels, 3), *size))


# ---------------------------------------------------------------- other sizes


def bilinear_uses(rng: Rng):
    for number in range(26):
        height, width = (pick(rng, [0.5, 0.75, 1.0, 1.5, 2.0, 2.3, 3.0]) for _ in range(2))
        feed = {"X": picture(rng, low=2)}
        if number % 3 == 2:
            feed["scales"] = np.array([height, width], "float32")
            yield feed, {}
        else:
            yield feed, {"height_scale": height, "width_scale": width}


def bilinear(rng: Rng) -> Cases:
    op = "UpsampleBilinear"
    for feed, args in bilinear_uses(rng):
        yield Case(op, feed, args=args)
    X = grid(rng, (1, 2, 3, 3))
    yield Case(op, {"X": X[:0]})
    yield Case(op, {"X": X[0]}, refused=True)
    yield Case(op, {"X": X}, args={"width_scale": -1.0}, refused=True)
    yield Case(op, {"X": X}, args={"height_scale": 0.0}, refused=True)
    yield Case(op, {"X": X, "scales": np.ones(3, "float32")}, refused=True)
    yield Case(op, {"X": X, "scales": np.ones((1, 2), "float32")}, refused=True)
    yield Case(op, {"X": X, "scales": np.ones(2)}, refused=True)
    yield Case(op, {"X": X}, ["X"], refused=True)
    yield from wrong_arity(op, {"X": X}, ["Y"])


def bilinear_gradient(rng: Rng) -> Cases:
    op = "UpsampleBilinearGradient"
    for feed, args in bilinear_uses(rng):
        forward = Case("UpsampleBilinear", feed, args=args)
        yield gradient(forward, op, ["dY", *feed], ["dX"])
    feed = {"dY": grid(rng, (1, 2, 3, 3)), "X": grid(rng, (1, 2, 3, 3))}
    yield from wrong_arity(op, feed, ["dX"])


def volume_uses(rng: Rng):
    for number in range(24):
        args = {"height_scale": 2.0, "width_scale": 2.0}
        if number % 3:
            args["temporal_scale"] = pick(rng, [1.0, 2.0])
        if number % 4 == 0:
            args["order"] = "NCHW"
        yield {"X": picture(rng, 3)}, args


def volume(rng: Rng) -> Cases:
    op = "ResizeNearest3D"
    for feed, args in volume_uses(rng):
        yield Case(op, feed, args=args)
    X = grid(rng, (1, 2, 2, 3, 3))
    two = {"height_scale": 2.0, "width_scale": 2.0}
    yield Case(op, {"X": X[0]}, args=two, refused=True)
    yield Case(op, {"X": X}, args=two | {"temporal_scale": -1.0}, refused=True)
    yield Case(op, {"X": X}, args=two | {"order": "NHWC"}, refused=True)
    yield from wrong_arity(op, {"X": X}, ["Y"], **two)


def volume_gradient(rng: Rng) -> Cases:
    op = "ResizeNearest3DGradient"
    for feed, args in volume_uses(rng):
        forward = Case("ResizeNearest3D", feed, args=args)
        yield gradient(forward, op, ["dY", "X"], ["dX"])
    feed = {"dY": grid(rng, (1, 2, 2, 6, 6)), "X": grid(rng, (1, 2, 2, 3, 3))}
    yield from wrong_arity(op, feed, ["dX"], height_scale=2.0, width_scale=2.0)


# ---------------------------------------------------------------- blocks in the batch


def block_uses(rng: Rng):
    """Block, pads, and the size of an image of whole blocks."""
    for number in range(26):
        block = int(rng.integers(1, 4))
        args: dict[str, Any] = {} if block == 2 and number % 2 else {"block_size": block}
        pad = top = 0
        if number % 3 == 1:
            pad = top = int(rng.integers(1, 3))
            args["pad"] = pad
        if number % 3 == 2:
            top = int(rng.integers(0, 3))
            args["pad_t"] = top
        blocks = [-(-(2 * pad + top + 1) // block) + int(n) for n in rng.integers(0, 3, 2)]
        size = blocks[0] * block - pad - top, blocks[1] * block - 2 * pad
        batch, channels = (int(n) for n in rng.integers(1, 4, 2))
        yield args, block, blocks, (batch, channels, *size)


def to_batch(rng: Rng) -> Cases:
    op = "SpaceToBatch"
    for args, _, _, shape in block_uses(rng):
        yield Case(op, {"X": grid(rng, shape)}, args=args)
    X = grid(rng, (1, 1, 4, 4))
    yield Case(op, {"X": X[:0]})
    yield Case(op, {"X": X[:, :, :3]}, refused=True)
    yield Case(op, {"X": X[:, :, :, :3]}, refused=True)
    yield Case(op, {"X": X}, args={"order": "NHWC"}, refused=True)
    yield Case(op, {"X": X[0]}, refused=True)
    yield from wrong_arity(op, {"X": X}, ["Y"])


def to_space(rng: Rng) -> Cases:
    op = "BatchToSpace"
    for args, block, blocks, shape in block_uses(rng):
        X = grid(rng, (shape[0] * block**2, shape[1], *blocks))
        yield Case(op, {"X": X}, args=args)
    X = grid(rng, (4, 1, 2, 2))
    yield Case(op, {"X": X}, args={"order": "NHWC"}, refused=True)
    yield Case(op, {"X": X[0]}, refused=True)
    yield from wrong_arity(op, {"X": X}, ["Y"])


# ---------------------------------------------------------------- norms of windows


def windows(rng: Rng):
    for number in range(28):
        kernel = int(rng.integers(1, 4))
        args: dict[str, Any] = {"kernel": kernel}
        if number % 2:
            args["stride"] = int(rng.integers(1, 4))
        if number % 3 == 0:
            args["pad"] = int(rng.integers(0, kernel))
        if number % 7 == 3:
            args = {"kernel_h": 2, "kernel_w": 3, "stride_h": 1, "stride_w": 2}
        if number % 7 == 5:
            args = {"global_pooling": 1}
        if number % 4:
            args["p"] = pick(rng, [1.0, 2.0, 3.0, 0.5, 2.5])
        last = number % 4 == 2
        if last:
            args["order"] = "NHWC"
        batch, channels, *size = (int(n) for n in rng.integers([1, 1, 3, 3], [3, 4, 7, 7]))
        shape = (batch, *size, channels) if last else (batch, channels, *size)
        # where an element is 0 Caffe2's gradient is NaN
        yield {"X": positive(rng, shape) * rng.choice([-1, 1], shape).astype("float32")}, args


def norms(rng: Rng) -> Cases:
    op = "LpPool"
    for feed, args in windows(rng):
        yield Case(op, feed, args=args)
    X = grid(rng, (1, 2, 5, 5))
    yield Case(op, {"X": X}, args={"kernel": 2, "pad": 2}, refused=True)
    yield Case(op, {"X": X}, args={"kernel": 2, "dilation": 2}, refused=True)
    yield Case(op, {"X": X}, args={"kernel": 9}, refused=True)
    yield Case(op, {"X": X}, refused=True)
    yield from wrong_arity(op, {"X": X}, ["Y"], kernel=2)


def norms_gradient(rng: Rng) -> Cases:
    op = "LpPoolGradient"
    for feed, args in windows(rng):
        yield gradient(Case("LpPool", feed, args=args), op, ["X", "Y", "dY"], ["dX"])
    feed = {name: positive(rng, (1, 1, 2, 2)) for name in ("X", "Y", "dY")}
    yield from wrong_arity(op, feed, ["dX"], kernel=1)


# ---------------------------------------------------------------- places


def keypoints(rng: Rng) -> Cases:
    op = "HeatmapMaxKeypoint"
    for number in range(26):
        rows, count, size = (int(n) for n in rng.integers([1, 1, 2], [4, 4, 8]))
        maps = rng.permuted(np.arange(rows * count * size**2)).reshape(rows, count, size, size)
        corners = grid(rng, (rows, 2)) * 8
        boxes = np.hstack([corners, corners + positive(rng, (rows, 2)) * 8])
        args = {"should_output_softmax": number % 4 == 1} if number % 2 else {}
        feed = {"maps": (maps / 64).astype("float32"), "boxes": boxes.astype("float32")}
        yield Case(op, feed, args=args)
    maps, boxes = grid(rng, (2, 1, 3, 3)), grid(rng, (2, 4))
    yield Case(op, {"maps": maps[:0], "boxes": boxes[:0]})
    yield Case(op, {"maps": maps, "boxes": boxes[:1]}, refused=True)
    yield Case(op, {"maps": maps[:, :, :2], "boxes": boxes}, refused=True)
    yield Case(op, {"maps": maps[:, :, :1, :1], "boxes": boxes}, refused=True)
    yield Case(op, {"maps": maps[0], "boxes": boxes}, refused=True)
    yield Case(op, {"maps": maps, "boxes": boxes[0]}, refused=True)
    yield from wrong_arity(op, {"maps": maps, "boxes": boxes}, ["Y"])


def cover(rng: Rng) -> Cases:
    op = "RMACRegions"
    for number in range(30):
        X = np.zeros((*rng.integers(1, 3, 2), *rng.integers(1, 12, 2)), "float32")
        args: dict[str, Any] = {"scales": int(rng.integers(1, 5))} if number % 2 else {}
        if number % 3:
            args["overlap"] = pick(rng, [0.1, 0.3, 0.5, 0.7])
        yield Case(op, {"X": X}, args=args)
    yield Case(op, {"X": X[:0]})
    yield Case(op, {"X": X}, args={"scales": 0})
    yield Case(op, {"X": X[0]}, refused=True)
    yield from wrong_arity(op, {"X": X}, ["Y"])


def integral(rng: Rng) -> Cases:
    op = "IntegralImage"
    for _ in range(22):
        yield Case(op, {"X": picture(rng)})
    X = grid(rng, (1, 2, 3, 3))
    yield Case(op, {"X": X[0]}, refused=True)
    yield Case(op, {"X": X}, ["X"], refused=True)
    yield from wrong_arity(op, {"X": X}, ["Y"])


def integral_gradient(rng: Rng) -> Cases:
    op = "IntegralImageGradient"
    for _ in range(22):
        X = picture(rng)
        dY = grid(rng, (*X.shape[:2], X.shape[2] + 1, X.shape[3] + 1))
        yield Case(op, {"X": X, "dY": dY}, ["dX"])
    yield from wrong_arity(op, {"X": X, "dY": dY}, ["dX"])


# ---------------------------------------------------------------- bytes


def normalize(rng: Rng) -> Cases:
    op = "NormalizePlanarYUV"
    for number in range(24):
        X = picture(rng)
        rows = 1 + number % 2
        feed = {"X": X, "mean": grid(rng, (rows, X.shape[1]))}
        feed["deviation"] = positive(rng, (rows, X.shape[1]))
        yield Case(op, feed, ["X"] if number % 5 == 4 else ["Y"])
    yield Case(op, feed | {"X": X[0]}, refused=True)
    yield Case(op, feed | {"mean": feed["mean"][0]}, refused=True)
    wide = np.ones((1, X.shape[1] + 1), "float32")
    yield Case(op, feed | {"mean": wide}, refused=True)
    yield Case(op, feed | {"deviation": wide}, refused=True)
    yield from wrong_arity(op, feed, ["Y"])


def preprocess(rng: Rng) -> Cases:
    op = "PackedInt8BGRANHWCToNCHWCStylizerPreprocess"
    for number in range(24):
        shape = (1 + number % 2, *(int(n) for n in rng.integers(1, 9, 2)), 4)
        X = rng.integers(0, 256, shape).astype("uint8")
        args: dict[str, Any] = {"noise_std": 0.0}
        if number % 3 == 1:
            args["noise_size"] = int(rng.integers(1, 20))
        yield Case(op, {"X": X, "mean": positive(rng, (3,)) * 32}, args=args)
    mean = np.ones(3, "float32")
    yield Case(op, {"X": X[..., :3], "mean": mean}, refused=True)
    yield Case(op, {"X": X.astype("float32"), "mean": mean}, refused=True)
    yield Case(op, {"X": X, "mean": np.ones(4, "float32")}, refused=True)
    yield Case(op, {"X": X[0], "mean": mean}, refused=True)
    yield from wrong_arity(op, {"X": X, "mean": mean}, ["Y"])


def deprocess(rng: Rng) -> Cases:
    op = "BRGNCHWCToPackedInt8BGRAStylizerDeprocess"
    for number in range(24):
        shape = (1 + number % 2, 3, *(int(n) for n in rng.integers(1, 9, 2)))
        X = (rng.integers(-400, 2400, shape) / 8).astype("float32")
        yield Case(op, {"X": X, "mean": positive(rng, (3,)) * 16})
    mean = np.ones(3, "float32")
    yield Case(op, {"X": X[:, :2], "mean": mean}, refused=True)
    yield Case(op, {"X": X[0], "mean": mean}, refused=True)
    yield Case(op, {"X": X, "mean": mean[:2]}, refused=True)
    yield from wrong_arity(op, {"X": X, "mean": mean}, ["Y"])


CASES = {
    "UpsampleBilinear": bilinear,
    "UpsampleBilinearGradient": bilinear_gradient,
    "ResizeNearest3D": volume,
    "ResizeNearest3DGradient": volume_gradient,
    "SpaceToBatch": to_batch,
    "BatchToSpace": to_space,
    "LpPool": norms,
    "LpPoolGradient": norms_gradient,
    "HeatmapMaxKeypoint": keypoints,
    "RMACRegions": cover,
    "IntegralImage": integral,
    "IntegralImageGradient": integral_gradient,
    "NormalizePlanarYUV": normalize,
    "PackedInt8BGRANHWCToNCHWCStylizerPreprocess": preprocess,
    "BRGNCHWCToPackedInt8BGRAStylizerDeprocess": deprocess,
}
