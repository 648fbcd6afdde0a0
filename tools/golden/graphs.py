"""Random graphs for backward passes: nets that a script could have built; Python 3.8.

Every graph makes sense (shapes and types fit), whether or not it can be differentiated. Operators
that nobody has a use for, repeated inputs, shared parameters, names written twice and operators in
place are all there, as they are what a reverse walk can get wrong.
"""

import contextlib
import random

FLOAT, DOUBLE = 1, 13
IN_PLACE = ("Relu", "Sigmoid", "Negative", "Reciprocal", "NegateGradient", "StopGradient")
UNARY = (*IN_PLACE, "Softmax", "Copy", "Alias", "Dropout")


class Graph:
    """A net under construction: its floats by name, with their shapes."""

    def __init__(self, core, seed):
        self.core = core
        self.choose = random.Random(seed)
        self.net = core.Net("graph")
        self.shapes = {}  # what may be read: reference -> (shape, type)
        self.external = {}  # name -> shape
        self.made = []
        self.shared = set()  # blobs with the memory of another: in place would change both
        self.careless = self.odds(0.1)  # writes to names that are in use
        self.scoped = self.odds(0.3)
        self.device = self.choose.choice([None] * 8 + ["all", "all", "all", "cpus", "cpus", "any"])
        self.tables = []  # what Gather and SparseLengthsSum read, by rows
        if self.odds(0.4):
            self.tables = [self.parameter((9, 4)) for _ in range(1 + self.odds(0.3))]
        self.input((2, 4))
        if self.odds(0.6):
            self.input((2, 4))
        if self.odds(0.4):
            self.input((1, 4, 6, 6))

    def odds(self, chance):
        return self.choose.random() < chance

    # ---- blobs

    def input(self, shape):
        name = f"x{len(self.external)}"
        self.external[name] = shape
        blob = self.core.BlobReference(name)
        self.shapes[blob] = (shape, FLOAT)
        return blob

    def parameter(self, shape):
        """A new one, or one that is there already."""
        same = [n for n, known in self.external.items() if known == shape and n[0] == "w"]
        if same and self.odds(0.3):
            return self.core.BlobReference(self.choose.choice(same))
        name = f"w{len(self.external)}"
        self.external[name] = shape
        return self.core.BlobReference(name)

    def pick(self, fits=lambda shape: True, type_=FLOAT):
        """A blob of a fitting shape: mostly a late one. None if there is none."""
        found = [b for b, (shape, t) in self.shapes.items() if fits(shape) and t == type_]
        if not found:
            return None
        if self.odds(0.7):
            return found[-1 - self.choose.randrange(min(2, len(found)))]
        return self.choose.choice(found)

    def like(self, blob):
        """Another blob of this shape, or the same."""
        shape, type_ = self.shapes[blob]
        return self.pick(lambda other: other == shape, type_)

    def in_place(self, blob, chance):
        """The output of an operator in place, or None."""
        return [blob] if self.odds(chance) and blob not in self.shared else None

    def name(self, inputs):
        """For an output: mostly a new one."""
        used = [blob for blob in self.made if blob not in inputs]
        if self.careless and used and self.odds(0.2):
            return self.core.BlobReference(str(self.choose.choice(used)))
        return f"y{self.at()}"

    # ---- operators

    def at(self):
        """The number of the next operator, which names are made of."""
        return len(self.net.Proto().op)

    def add(self, op_type, inputs, shapes, type_=FLOAT, outputs=None, hidden=(), **args):
        """Adds an operator; `shapes` are those of its outputs, `hidden` names nobody reads."""
        names = outputs or [self.name(inputs) for _ in shapes[:1]]
        if outputs is None:
            names += [f"y{self.at()}_{k}" for k in range(1, len(shapes))]
        if self.odds(0.05):
            args["name"] = "named"
        with self.core.NameScope(self.choose.choice("st") if self.scoped else ""), self.place():
            made = getattr(self.net, op_type)(inputs, [*names, *hidden], **args)
        made = list(made) if isinstance(made, tuple) else [] if made is None else [made]
        for blob, shape in zip(made, shapes):  # noqa: B905 (Python 3.8)
            self.shapes.pop(blob, None)
            self.shapes[blob] = (shape, type_)
            self.made.append(blob)

    def place(self):
        """The device scope of the next operator."""
        option = self.core.DeviceOption
        if self.device == "all":
            return self.core.DeviceScope(option(1, 2))
        if self.device == "cpus" and self.odds(0.8):
            extra = ["a:1"] * self.choose.randrange(2)
            return self.core.DeviceScope(option(0, self.choose.randrange(2), extra_info=extra))
        if self.device == "any":
            return self.core.DeviceScope(option(1, int(self.odds(0.2))))
        return contextlib.nullcontext()

    def grow(self):
        """Adds one operator of a random kind, or none if it does not fit."""
        kinds = [
            (self.unary, 8),
            (self.binary, 6),
            (self.sum, 4),
            (self.fc, 5),
            (self.concat, 2),
            (self.split, 1),
            (self.reshape, 3),
            (self.cast, 1),
            (self.image, 4),
            (self.zero, 0.5),
            (self.look_up, 14 if self.tables else 0),
        ]
        weights = [weight for _, weight in kinds]
        self.choose.choices([kind for kind, _ in kinds], weights)[0]()

    def unary(self):
        x = self.pick()
        flat = len(self.shapes[x][0]) < 2
        op_type = self.choose.choice([name for name in UNARY if not flat or name != "Softmax"])
        outputs = self.in_place(x, 0.15) if op_type in IN_PLACE else None
        args, hidden = {}, []
        if op_type == "Dropout":
            outputs = self.in_place(x, 0.4)
            hidden = [f"mask{self.at()}"]
            args = {"is_test": int(self.odds(0.5)), "ratio": 0.3}
        shape = self.shapes[x][0]
        self.add(op_type, [x], [shape], outputs=outputs, hidden=hidden, **args)
        if op_type == "Alias":
            self.shared.update([x, self.made[-1]])
        if op_type == "StopGradient":  # Caffe2 wants its output to be read
            self.add("Copy", [self.made[-1]], [shape])

    def binary(self):
        op_type = self.choose.choice(["Add", "Sub", "Mul", "Div"])
        a = self.pick()
        shape = self.shapes[a][0]
        b, args = self.like(a), {}
        if self.odds(0.2):
            b = self.parameter(shape[-1:])
            args = {"broadcast": 1} if self.odds(0.5) else {}
        elif self.odds(0.2):
            b = self.parameter(shape)
        outputs = self.in_place(a, 0.06) if a != b or op_type != "Div" else None
        self.add(op_type, [a, b], [shape], outputs=outputs, **args)

    def sum(self):
        a = self.pick()
        inputs = [a] + [self.like(a) for _ in range(self.choose.randrange(4))]
        outputs = self.in_place(a, 0.2) if inputs.count(a) == 1 else None
        self.add("Sum", inputs, [self.shapes[a][0]], outputs=outputs)

    def fc(self):
        x = self.pick(lambda shape: len(shape) > 1)
        shape = self.shapes[x][0]
        depth = 1
        for dim in shape[1:]:
            depth *= dim
        wide = self.choose.choice([2, 4])
        inputs = [x, self.parameter((wide, depth)), self.parameter((wide,))]
        self.add("FC", inputs, [(shape[0], wide)], **({"axis": 1} if self.odds(0.2) else {}))

    def concat(self):
        x = self.pick(lambda shape: len(shape) > 1 and shape[1] <= 8)
        if x is None:
            return
        shape = self.shapes[x][0]

        def rest(other):
            return len(other) > 1 and other[:1] + other[2:] == shape[:1] + shape[2:]

        inputs = [x] + [self.pick(rest) for _ in range(self.choose.randrange(3))]
        wide = sum(self.shapes[blob][0][1] for blob in inputs)
        hidden = [f"info{self.at()}"]
        self.add("Concat", inputs, [(shape[0], wide, *shape[2:])], hidden=hidden, axis=1)

    def split(self):
        x = self.pick(lambda shape: len(shape) > 1 and shape[1] in (2, 4, 8))
        if x is None:
            return
        shape = self.shapes[x][0]
        part = (shape[0], shape[1] // 2, *shape[2:])
        self.add("Split", [x], [part, part], axis=1)
        if self.odds(0.9):  # a part that nobody uses has no gradient
            halves = [blob for blob in self.made[-2:] if self.shapes[blob][0] == part]
            self.add("Mul", [halves[0], halves[-1]], [part])

    def reshape(self):
        x = self.pick()
        shape = self.shapes[x][0]
        count = 1
        for dim in shape:
            count *= dim
        hidden = [f"old{self.at()}"]
        kind = self.choose.randrange(7)
        if kind == 0:
            outputs = self.in_place(x, 0.2)
            args = {"outputs": outputs, "shape": [-1, 2]}
            self.add("Reshape", [x], [(count // 2, 2)], hidden=hidden, **args)
        elif kind == 1:
            self.add("Transpose", [x], [shape[::-1]])
        elif kind == 2 and len(shape) == 3:
            self.add("Transpose", [x], [(shape[2], shape[0], shape[1])], axes=[2, 0, 1])
        elif kind == 3:
            self.add("Flatten", [x], [(shape[0], count // shape[0])])
        elif kind == 4:
            self.add("FlattenToVec", [x], [(count,)])
        elif kind == 5 and len(shape) < 4:
            self.add("ExpandDims", [x], [(shape[0], 1, *shape[1:])], dims=[1])
        elif kind == 6 and shape[0] == 1:
            outputs = self.in_place(x, 0.2)
            self.add("Squeeze", [x], [shape[1:]], outputs=outputs, dims=[0])
        elif len(shape) == 2:
            name = f"shape{self.at()}"
            wide = self.core.BlobReference(name)
            self.net.GivenTensorInt64Fill([], wide, shape=[3], values=[3, 1, 1])
            self.add("Expand", [x, wide], [(3, *shape)])

    def cast(self):
        x = self.pick()
        shape = self.shapes[x][0]
        forms = self.choose.choice([(DOUBLE, FLOAT), ("double", "float"), (DOUBLE, "FLOAT")])
        known = {} if self.odds(0.04) else {"from_type": forms[1]}
        self.add("Cast", [x], [shape], type_=DOUBLE, to=forms[0], **known)
        wide = self.made[-1]
        if self.odds(0.5):
            self.add("Negative", [wide], [shape], type_=DOUBLE)
            wide = self.made[-1]
        self.add("Cast", [wide], [shape], to=forms[1], from_type=forms[0])

    def image(self):
        x = self.pick(lambda shape: len(shape) == 4 and shape[1] == 4 and shape[2] >= 3)
        if x is None:
            return
        shape = self.shapes[x][0]
        kind = self.choose.randrange(5)
        half = (*shape[:2], (shape[2] - 2) // 2 + 1, (shape[3] - 2) // 2 + 1)
        if kind == 0:
            bias = [self.parameter((4,))] if self.odds(0.6) else []
            args = {"engine": "CUDNN"} if self.odds(0.2) else {}
            if self.odds(0.1):
                args["no_gradient_to_input"] = 1
            inputs = [x, self.parameter((4, 4, 3, 3)), *bias]
            self.add("Conv", inputs, [shape], kernel=3, pad=1, **args)
        elif kind == 1:
            self.norm(x, shape)
        elif kind == 2:
            args = {"size": 3, "alpha": 1e-4, "beta": 0.75}
            hidden = [f"scale{self.at()}"] if self.odds(0.5) else []
            self.add("LRN", [x], [shape], hidden=hidden, **args)
        else:
            op_type = "MaxPool" if kind == 3 else "AveragePool"
            self.add(op_type, [x], [half], kernel=2, stride=2)

    def norm(self, x, shape):
        vectors = [self.parameter((4,)) for _ in range(2)]
        running = [f"m{len(self.external)}", f"v{len(self.external)}"]
        self.external.update((name, (4,)) for name in running)
        outputs = self.in_place(x, 0.06) or [self.name([x])]
        statistics = list(map(self.core.BlobReference, running))
        inputs = [x, *vectors, *statistics]
        if self.odds(0.4):
            self.add("SpatialBN", inputs, [shape], outputs=outputs, is_test=1)
            return
        saved = [f"saved{self.at()}_{k}" for k in range(2)]
        outputs += [*statistics, *saved]
        self.add("SpatialBN", inputs, [shape], outputs=outputs, is_test=0)

    def zero(self):
        self.add("ZeroGradient", [self.pick()], [], outputs=[])

    def look_up(self):
        """Rows of a table, or sums of rows: their gradients are sparse."""
        table = self.choose.choice(self.tables)
        rows = self.core.BlobReference(f"rows{self.choose.randrange(2)}")
        if self.odds(0.04):
            self.add("Relu", [table], [(9, 4)])  # a dense gradient of the same table
        elif self.odds(0.5):
            self.add("Gather", [table, rows], [(4, 4)])
        else:
            lengths = self.core.BlobReference("lengths")
            self.add("SparseLengthsSum", [table, rows, lengths], [(2, 4)])

    # ---- the backward pass

    def join(self):
        """One loss of all that nobody has read."""
        read = {name for op in self.net.Proto().op for name in op.input}
        ends = [blob for blob in self.shapes if blob not in read and self.shapes[blob][1] == FLOAT]
        flat = []
        for blob in ends:
            shape = self.shapes[blob][0]
            count = 1
            for dim in shape:
                count *= dim
            if len(shape) > 1:
                self.add("FlattenToVec", [blob], [(count,)])
                blob = self.made[-1]
            flat.append((blob, count))
        if len(flat) > 1:
            hidden = [f"info{self.at()}"]
            total = sum(count for _, count in flat)
            self.add("Concat", [blob for blob, _ in flat], [(total,)], hidden=hidden, axis=0)

    def call(self):
        """What to differentiate: ys, skip, and the scopes around the call."""
        late = [blob for blob in self.shapes if blob in self.made and self.shapes[blob][1] == FLOAT]
        count = self.choose.choice([1, 1, 1, 1, 1, 2, 3])
        losses = list(
            dict.fromkeys(late[-1 - self.choose.randrange(min(4, len(late)))] for _ in range(count))
        )
        if self.odds(0.6):
            losses = [late[-1], *(loss for loss in losses[1:] if loss != late[-1])]
        ys = {str(loss): None for loss in losses}
        as_list = self.odds(0.8)
        if not as_list:
            for k, loss in enumerate(losses):
                if self.odds(0.7):
                    ys[str(loss)] = f"given_{k}"
        return {
            "ys": ys,
            "list": as_list,
            "skip": self.choose.randrange(1, 4) if self.odds(0.1) else 0,
            "scope": "u" if self.odds(0.1) else "",
            "device": 1 if self.device == "all" or self.odds(0.05) else None,
        }


def graph(core, seed):
    """The graph of a seed, and the call that differentiates it."""
    made = Graph(core, seed)
    for _ in range(made.choose.randrange(3, 22)):
        made.grow()
    while not any(blob in made.made for blob in made.shapes):
        made.unary()
    if made.odds(0.6):
        made.join()
    return made, made.call()
