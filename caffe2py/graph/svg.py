"""Pictures of nets as SVG: no program draws them but this one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from caffe2py.graph.layered import Layout, Point, layered
from caffe2py.proto.args import get_value
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.proto.text import short

__all__ = ["Box", "Picture", "clipped", "drawn", "net_svg"]

#: Sizes in pixels; letters of a monospaced font are 0.6 of its size wide.
_FONT, _SMALL, _LETTER, _LINE, _PADDING = 13.0, 11.0, 0.6, 16.0, 10.0

#: Characters of a line in a box; the rest is in the tooltip.
_MOST = 34

#: Columns of nodes that nothing joins are so wide together, unless the rest is wider.
_WIDE = 1400.0

#: How the type of an operator tells what it does, and the color of that: backward, ...
_KINDS = (
    (r".*(Gradient|Grad)$", "#f6d5d5"),
    (r".*(Conv|FC|MatMul|LSTM|GRU|Gemm|Recurrent|LocallyConnected)", "#cfe0f7"),
    (r".*(Norm|SpatialBN|LRN)", "#e2d6f3"),
    (r"(Relu|.*Relu|Relu.*|Sigmoid|Tanh|.*Softmax.*|Elu|Selu|Swish|Gelu|Glu|Mish|Soft.*)$",
     "#d3eed6"),
    (r".*(Pool|Resize|Upsample|RoI)", "#fbe7c2"),
    (r"(Concat|Sum|Add|Sub|Mul|Div|Split|DepthConcat)$", "#e4e7eb"),
    (r".*Fill$", "#f3f0e6"),
)  # fmt: skip
_OTHER, _FAR_COLOR = "#ffffff", "#eef1f4"

#: Operators that an arrow may pass.
_FAR = 24

#: Arguments that say nothing about the net.
_DULL = {"exhaustive_search", "cudnn_exhaustive_search", "use_cudnn", "ws_nbytes_limit"}

_STYLE = (
    "text{font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1b1f24}"
    f".t{{font-size:{_FONT:g}px;font-weight:600}}.s{{font-size:{_SMALL:g}px;fill:#4d5761}}"
    ".w{font-style:italic}.n{fill:#fff}rect{stroke:#59636e;stroke-width:1}"
    "path{fill:none;stroke:#6e7781;stroke-width:1.2}"
    ".blob{fill:#1f2937;stroke:none}.edge:hover path{stroke:#d1242f}"
)

#: What XML 1.0 has no way to write.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Box:
    """A node to draw: lines of text with their classes, a tooltip, and a color."""

    lines: Sequence[tuple[str, str]]
    tip: str
    color: str = _OTHER
    blob: bool = False

    def size(self) -> tuple[float, float]:
        """Width and height."""
        widths = [len(text) * _LETTER * (_FONT if "t" in k else _SMALL) for text, k in self.lines]
        return max(widths, default=0.0) + 2 * _PADDING, len(self.lines) * _LINE + _PADDING


@dataclass
class Picture:
    """Nodes, and edges with what they are called."""

    title: str
    boxes: list[Box] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)

    def add(self, box: Box) -> int:
        """Add a node; its number."""
        self.boxes.append(box)
        return len(self.boxes) - 1

    def join(self, start: int, end: int, label: str) -> None:
        """Add an edge."""
        self.edges.append((start, end))
        self.labels.append(label)


def net_svg(net: NetDef) -> str:
    """A net: a box for each operator in layers from top to bottom, inputs and outputs in dark.

    Blobs that no operator makes and that stand behind its first input are taken for weights and
    named in its box. What comes from far above has a box with its name instead of a long line. The
    tooltips hold the operators in full. UsageError for a net too large.
    """
    picture = Picture(net.name or "net")
    made: dict[str, int] = {}
    writers: dict[str, int] = {}
    read: set[str] = set()
    given = _given(net)
    for number, op in enumerate(net.op):
        weights = [b for b in op.input if b not in made and b not in given]
        here = picture.add(_operator_box(op, number, weights))
        for blob in op.input:
            if blob in given and blob not in made:
                made[blob] = picture.add(_blob_box(blob))
                writers[blob] = number
            if blob in made:
                far = number - writers[blob] > _FAR
                start = picture.add(_far_box(blob)) if far else made[blob]
                picture.join(start, here, blob)
                read.add(blob)
        made.update(dict.fromkeys(op.output, here))
        writers.update(dict.fromkeys(op.output, number))
        read.difference_update(op.output)
    _add_outputs(picture, net, made, read)
    return drawn(picture)


def _given(net: NetDef) -> set[str]:
    """The blobs that are inputs, not weights: nobody makes them, and they are first read first."""
    seen: set[str] = set()
    found = set()
    for op in net.op:
        for place, blob in enumerate(op.input):
            if place == 0 and blob not in seen:
                found.add(blob)
            seen.add(blob)
        seen.update(op.output)
    return found


def _add_outputs(
    picture: Picture, net: NetDef, made: Mapping[str, int], read: Iterable[str]
) -> None:
    """The outputs of the net: those that it names, or that nobody reads."""
    joined = {end for _, end in picture.edges}
    named = [b for b in dict.fromkeys(net.external_output) if b in made]
    unread = dict.fromkeys(op.output[0] for op in net.op if op.output)
    for blob in named or [b for b in unread if b not in read]:
        if made[blob] in joined:  # a fill alone needs no output
            picture.join(made[blob], picture.add(_blob_box(blob)), blob)


# ---------------------------------------------------------------- boxes


def _operator_box(op: OperatorDef, number: int, weights: Sequence[str]) -> Box:
    lines = [(clipped(op.type), "t")]
    arguments = _arguments(op)
    lines += [(clipped(arguments), "s")] if arguments else []
    lines += [(clipped(", ".join(weights)), "s w")] if weights else []
    lines += [(clipped("→ " + ", ".join(op.output)), "s")] if op.output else []
    name = f" {op.name}" if op.name else ""
    return Box(lines, f"#{number}{name}\n{short(op)}", _color(op.type))


def _arguments(op: OperatorDef) -> str:
    """The arguments that are short: numbers and words."""
    found = []
    for argument in op.arg:
        value = get_value(argument)
        if argument.name in _DULL or (argument.name, value) == ("order", b"NCHW"):
            continue
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, float):
            value = float(f"{value:.4g}")
        if isinstance(value, int | float | str):
            found.append(f"{argument.name} {value}")
    return ", ".join(found)


def _blob_box(name: str) -> Box:
    return Box([(clipped(name), "s n")], name, blob=True)


def _far_box(name: str) -> Box:
    return Box([(clipped(f"↑ {name}"), "s")], name, _FAR_COLOR)


def _color(type_: str) -> str:
    return next((color for pattern, color in _KINDS if re.match(pattern, type_)), _OTHER)


def clipped(text: str) -> str:
    """A line of a box, cut if it is long."""
    text = " ".join(text.split())
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"


# ---------------------------------------------------------------- drawing


def drawn(picture: Picture) -> str:
    """The SVG: joined nodes in layers, and below them in rows the nodes that nothing joins."""
    linked = sorted({node for edge in picture.edges for node in edge})
    numbers = {node: k for k, node in enumerate(linked)}
    sizes = [box.size() for box in picture.boxes]
    edges = [(numbers[a], numbers[b]) for a, b in picture.edges]
    layout = layered([sizes[node] for node in linked], edges)
    centers = {node: layout.centers[k] for node, k in numbers.items()}
    alone = [node for node in range(len(sizes)) if node not in numbers]
    width, height = _place_alone(alone, sizes, centers, layout)
    title = _text(picture.title)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<title>{title}</title><style>{_STYLE}</style>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#6e7781;stroke:none"/></marker></defs>',
        '<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>',
    ]
    for route, label in zip(layout.routes, picture.labels, strict=True):
        tip = f"<title>{_text(label)}</title>" if label else ""
        parts.append(f'<g class="edge">{tip}<path d="{_curve(route)}" marker-end="url(#a)"/></g>')
    for node, box in enumerate(picture.boxes):
        parts.append(_drawn_box(box, centers[node], sizes[node]))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _place_alone(
    alone: Sequence[int],
    sizes: Sequence[tuple[float, float]],
    centers: dict[int, Point],
    layout: Layout,
) -> tuple[float, float]:
    """Put these nodes into rows below the rest; the size of the whole."""
    gap = 16.0
    widest = max(_WIDE if alone else 0.0, layout.width)
    x, top, row, right = gap, layout.height if layout.centers else gap, 0.0, layout.width
    for node in alone:
        width, height = sizes[node]
        if x > gap and x + width + gap > widest:
            x, top, row = gap, top + row + gap, 0.0
        centers[node] = (x + width / 2, top + height / 2)
        x, row, right = x + width + gap, max(row, height), max(right, x + width + gap)
    return right, (top + row + gap if alone else layout.height)


def _curve(route: Sequence[Point]) -> str:
    """A line through the corners that begins, ends and passes corners straight down."""
    x, y = route[0]
    found = [f"M{x:.1f} {y:.1f}"]
    for to_x, to_y in route[1:]:
        if abs(to_x - x) < 0.05:
            found.append(f"V{to_y:.1f}")
        else:
            middle = (y + to_y) / 2
            found.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    return "".join(found)


def _drawn_box(box: Box, center: Point, size: tuple[float, float]) -> str:
    (x, y), (width, height) = center, size
    radius = height / 2 if box.blob else 4.0
    look = 'class="blob"' if box.blob else f'style="fill:{box.color}"'
    parts = [
        f"<g><title>{_text(box.tip)}</title>"
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="{radius:g}" {look}/>'
    ]
    line = y - height / 2 + _PADDING / 2 + _LINE * 0.75
    for text, kind in box.lines:
        parts.append(
            f'<text class="{kind}" x="{x:.1f}" y="{line:.1f}" text-anchor="middle">'
            f"{_text(text)}</text>"
        )
        line += _LINE
    return "".join(parts) + "</g>"


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))
