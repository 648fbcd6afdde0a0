"""Control flow whose results are tensors, checks, and what passes blobs on."""

from collections.abc import Iterable

import numpy as np

from tools.golden.case import Case, Cases, NetText, Step, grid, some_shape, wrong_arity

TYPES = ("float32", "float64", "int32", "int64", "bool", "uint8", "int8", "float16")


def op(type_: str, inputs: str, outputs: str, more: str = "") -> str:
    """The text of an operator."""
    names = [f'input: "{name}"' for name in inputs.split()]
    names += [f'output: "{name}"' for name in outputs.split()]
    return f'op {{ type: "{type_}" {" ".join(names)} {more} }}'


def net(name: str, ops: Iterable[str], inputs: str = "", outputs: str = "") -> NetText:
    """The text of a net."""
    ends = [f'external_input: "{n}"' for n in inputs.split()]
    ends += [f'external_output: "{n}"' for n in outputs.split()]
    return NetText(f'name: "{name}" {" ".join(ops)} {" ".join(ends)}')


DOUBLE = net("double", [op("Add", "X X", "Y")])
SQUARE = net("square", [op("Mul", "X X", "Y")])
FALSE = 'arg { name: "shape" ints: 1 } arg { name: "dtype" i: 5 } arg { name: "value" i: 0 }'
STOP = op("ConstantFill", "", "C", FALSE)


def conditional(rng: np.random.Generator) -> Cases:
    for dtype in TYPES:
        for shape in ((5,), (4, 3), (3, 2, 2)):
            feed = {"C": grid(rng, shape[:1], "bool"), "A": grid(rng, shape, dtype)}
            yield Case("Conditional", feed | {"B": grid(rng, shape, dtype)})
    x = grid(rng, (3, 2))
    three = np.array([True, False, True])
    for condition, a, b in (
        (three[:2], x, x),
        (three.reshape(3, 1), x, x),
        (three.astype("int32"), x, x),
        (np.array(True), x, x),
        (three, x, x[:, :1]),
        (three, x, x.reshape(3, 2, 1)),
        (three, x, x.astype("float64")),
    ):
        yield Case("Conditional", {"C": condition, "A": a, "B": b}, refused=True)
    yield Case("Conditional", {"C": three, "A": x, "B": x}, ["A"], refused=True)
    yield from wrong_arity("Conditional", {"C": three, "A": x, "B": x}, ["Y"])


def assert_(rng: np.random.Generator) -> Cases:
    for dtype in ("bool", "int32", "int64"):
        for shape in ((), (1,), (0,), (4,), (2, 3), (1, 2, 1, 3)):
            yield Case("Assert", {"X": np.ones(shape, dtype)}, [])
            if np.prod(shape):
                x = np.ones(shape, dtype)
                x.reshape(-1)[-1] = 0
                yield Case("Assert", {"X": x}, [], refused=True)
                yield Case("Assert", {"X": x}, [], {"error_msg": "why"}, refused=True)
        yield Case("Assert", {"X": np.full(3, -1).astype(dtype)}, [])
    for dtype in ("float32", "uint8", "float64"):
        yield Case("Assert", {"X": np.ones(2, dtype)}, [], refused=True)


def barrier(rng: np.random.Generator) -> Cases:
    for dtype in TYPES:
        for _ in range(2):
            feed = {"A": grid(rng, some_shape(rng), dtype), "B": grid(rng, some_shape(rng), dtype)}
            yield Case("AsyncNetBarrier", feed, ["A", "B"])
        yield Case("AsyncNetBarrier", {"A": grid(rng, some_shape(rng), dtype)}, ["A"])
    x = grid(rng, (2,))
    yield Case("AsyncNetBarrier", {"A": x}, ["A"], {"cross_device": 1})
    yield Case("AsyncNetBarrier", {"A": x, "B": x}, ["B", "A"], refused=True)
    yield Case("AsyncNetBarrier", {}, [], reads=[], refused=True)


def if_(rng: np.random.Generator) -> Cases:
    for dtype in ("float32", "float64", "int32", "int64"):
        for condition in (True, False):
            for shape in ((), (1,), (1, 1)):
                feed = {"C": np.full(shape, condition), "X": grid(rng, (2, 3), dtype)}
                nets = {"then_net": DOUBLE, "else_net": SQUARE}
                yield Case("If", feed, ["Y"], nets)
    x = grid(rng, (3,))
    yield Case("If", {"C": np.array(True), "X": x}, ["Y"], {"then_net": DOUBLE})
    for condition in (np.ones(2, bool), np.array(1.0), np.array(1), np.ones(0, bool)):
        yield Case("If", {"C": condition, "X": x}, ["Y"], {"then_net": DOUBLE}, refused=True)
    lost = net("lost", [op("Copy", "nowhere", "Y")])
    yield Case("If", {"C": np.array(True), "X": x}, ["Y"], {"then_net": lost}, refused=True)


def while_(rng: np.random.Generator) -> Cases:
    grow = [op("Add", "X X", "X"), op("LT", "X L", "C")]
    for dtype in ("float32", "float64", "int32", "int64"):
        for limit in (0, 3, 100):
            start, most = np.ones((1,), dtype), np.full((1,), limit).astype(dtype)
            feed = {"C": np.array([True]), "X": start, "L": most}
            yield Case("While", feed, ["C", "X"], {"loop_net": net("grow", grow)})
            args = {"loop_net": net("add", grow[:1]), "cond_net": net("less", grow[1:])}
            yield Case("While", feed, ["C", "X"], args)
    x = grid(rng, (3,))
    once = {"loop_net": net("once", [op("Copy", "X", "Y"), STOP])}
    yield Case("While", {"C": np.array([False]), "X": x, "Y": x}, ["C", "Y"], once)
    yield Case("While", {"C": np.array([True]), "X": x}, ["C", "Y"], once)
    for condition in (np.ones(2, bool), np.array(1.0), np.array(1)):
        yield Case("While", {"C": condition, "X": x}, ["Y"], once, refused=True)
    yield Case("While", {"C": np.array(True), "X": x}, ["Y"], {}, refused=True)


def onnx_while(rng: np.random.Generator) -> Cases:
    body = net(
        "body",
        [op("Add", "v w", "next"), op("Copy", "next", "seen"), op("Copy", "going", "still")],
        "number going v w",
        "still next w seen",
    )
    outputs = ["A", "B", "S"]
    for limit in (0, 1, 2, 5):
        for going in (True, False):
            for flags in (
                {"has_trip_count": 1},
                {"has_trip_count": 1, "has_cond": 1},
                {"has_trip_count": 1, "has_cond": 1, "save_scopes": 1},
            ):
                feed = {"t": np.array(limit), "c": np.array(going)}
                feed |= {"v": grid(rng, (1,)), "w": grid(rng, (1,))}
                yield Case("ONNXWhile", feed, outputs, {"body": body, **flags})
    narrow = feed | {"t": np.array(2, "int32")}
    yield Case("ONNXWhile", narrow, outputs, {"body": body, "has_trip_count": 1}, refused=True)
    feed = feed | {"t": np.array(2)}
    yield Case("ONNXWhile", feed, outputs, {"has_trip_count": 1}, refused=True)
    both = {"has_trip_count": 1, "save_scopes": 1, "disable_scopes": 1}
    yield Case("ONNXWhile", feed, outputs, {"body": body, **both}, refused=True)


def do(rng: np.random.Generator) -> Cases:
    before = [Step("CreateScope", [], ["W"])]
    binding = {"net": DOUBLE, "inner_blobs": ["X", "Y"]}
    for dtype in ("float32", "float64", "int32", "int64"):
        for shape in ((), (0,), (3,), (2, 3), (1, 2, 2)):
            for name in ("a", "X"):
                yield Case(
                    "Do", {name: grid(rng, shape, dtype)}, ["b", "W"],
                    {**binding, "outer_blobs_idx": [0, 1]},
                    reads=[name, "W"], before=before, whole=True,
                )  # fmt: skip
    feed = {"a": grid(rng, (3,))}
    for places in ([0], [0, 0], [0, 2], [-1, 1], [1, 1], [0, 1, 1]):
        yield Case(
            "Do", feed, ["b", "W"], {**binding, "outer_blobs_idx": places},
            reads=["a", "W"], before=before, whole=True, refused=True,
        )  # fmt: skip


CASES = {
    "Conditional": conditional,
    "Assert": assert_,
    "AsyncNetBarrier": barrier,
    "If": if_,
    "While": while_,
    "ONNXWhile": onnx_while,
    "Do": do,
}
