"""Drawings of any kind, and plans, as SVG."""

from __future__ import annotations

from caffe2py.graph.drawing import Drawing, plan_graph
from caffe2py.graph.svg import Box, Picture, clipped, drawn
from caffe2py.proto.caffe2_pb2 import PlanDef

__all__ = ["drawing_svg", "plan_svg"]

_OPERATOR, _OTHER = "#d3eed6", "#ffffff"


def plan_svg(plan: PlanDef) -> str:
    """The steps of a plan, and the nets that they run."""
    return drawing_svg(plan_graph(plan))


def drawing_svg(drawing: Drawing) -> str:
    """Any drawing, with the labels of its nodes; operators are green."""
    picture = Picture(drawing.name)
    numbers = {}
    for name, node in drawing.nodes.items():
        label = node.attributes.get("label", name)
        lines = [(clipped(line), "s" if k else "t") for k, line in enumerate(label.split("\n"))]
        color = _OPERATOR if "style" in node.attributes else _OTHER
        numbers[name] = picture.add(Box(lines, label, color))
    for edge in drawing.edges:
        picture.join(numbers[edge.start], numbers[edge.end], "")
    return drawn(picture)
