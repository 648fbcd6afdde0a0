"""Pictures of nets: valid, whole, the same every time, and what Jupyter shows."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from caffe2py import core
from caffe2py.graph.drawing import minimal_graph, net_graph
from caffe2py.graph.drawing_svg import drawing_svg, plan_svg
from caffe2py.graph.svg import net_svg
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.proto.files import read_net
from tests.toy import op

NETS = sorted(Path(__file__).parents[2].glob("nets/*/*.pbtxt"))
SVG = "{http://www.w3.org/2000/svg}"


def parts(svg):
    """Tooltips of boxes, tooltips of arrows, and all lines of text."""
    root = ElementTree.fromstring(svg)
    groups = root.findall(f"{SVG}g")
    arrows = [g for g in groups if g.get("class") == "edge"]
    boxes = [g for g in groups if g.get("class") != "edge"]
    tips = [g.findtext(f"{SVG}title") or "" for g in boxes]
    texts = ["".join(t.itertext()) for t in root.iter(f"{SVG}text")]
    return tips, [g.findtext(f"{SVG}title") for g in arrows], texts


@pytest.mark.parametrize("path", NETS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_net_can_be_drawn(path):
    net = read_net(path)
    svg = net_svg(net)
    assert svg == net_svg(net)
    tips, _, texts = parts(svg)
    assert sum(tip.startswith("#") for tip in tips) == len(net.op)
    assert {o.type for o in net.op} <= set(texts)


def test_what_a_picture_says():
    ops = [
        op("Conv", "data w b", "conv", kernel=3, pad=1, alpha=0.123456789, order="NCHW"),
        op("Relu", "conv", "conv"),
        op("FC", "conv fc_w fc_b", "fc"),
        op("Sum", "fc fc", "both"),
        op("Adam", "w m", "w m"),  # a weight stays one
    ]
    tips, arrows, texts = parts(net_svg(NetDef(name="n", op=ops)))
    assert {"data", "both", "w, b", "fc_w, fc_b", "→ conv"} <= set(texts)
    assert "kernel 3, pad 1, alpha 0.1235" in texts
    assert "w" not in texts  # weights are no nodes
    assert sorted(arrows) == ["both", "conv", "conv", "data", "fc", "fc"]
    assert "w, m" in texts
    assert any("Sum(fc, fc)" in tip for tip in tips)


def test_what_is_far_above_is_named():
    """A net and its way back: lines over hundreds of layers would say nothing."""
    ops = [op("Relu", f"x{k}", f"x{k + 1}") for k in range(400)]
    ops += [op("ReluGradient", f"x{400 - k} g{k}", f"g{k + 1}") for k in range(400)]
    _, arrows, texts = parts(net_svg(NetDef(op=ops)))
    assert len(arrows) == 1200
    assert "↑ x1" in texts
    assert "↑ x399" not in texts
    assert sum(text.startswith("↑") for text in texts) == 388


def test_declared_outputs_and_lone_operators():
    ops = [op("Relu", "x", "a"), op("Relu", "a", "b"), op("ConstantFill", "", "c", value=1.0)]
    net = NetDef(name="n", op=ops, external_output=["a", "c"])
    _, arrows, texts = parts(net_svg(net))
    assert arrows.count("a") == 2  # to the output, and to its reader
    assert "c" not in texts
    many = NetDef(op=[op("ConstantFill", "", f"w{k}") for k in range(200)])
    root = ElementTree.fromstring(net_svg(many))
    assert float(root.get("width")) < 1500
    assert len(parts(net_svg(many))[0]) == 200


@pytest.mark.parametrize(
    "name", ["<b>&\"'", "\x00\x1b[31m", "ünï → 雪", "x" * 500, "a\nb", "]]>", "\ufffe"]
)
def test_any_name_makes_valid_xml(name):
    one = op("Relu", "x", "y", note=name.encode(errors="replace"))
    one.input[:], one.output[:] = [name], [name + "2"]
    one.name = name
    tips, _, texts = parts(net_svg(NetDef(name=name, op=[one])))
    assert len(tips) == 3
    assert all(len(text) <= 34 for text in texts)


def test_plans_and_drawings():
    net = core.Net("inner")
    net.Relu("x", "y")
    net.Relu("y", "z")
    plan = core.Plan("p")
    plan.AddStep(core.ExecutionStep("s", [net, net], num_iter=2))
    tips, _, texts = parts(plan_svg(plan.Proto()))
    assert any("inner" in text for text in texts)
    assert tips
    for graph in (net_graph(net), minimal_graph(net)):
        tips, arrows, _ = parts(drawing_svg(graph))
        assert len(tips) == len(graph.nodes)
        assert len(arrows) == len(graph.edges)


def test_jupyter_shows_nets():
    net = core.Net("small")
    net.Relu("x", "y")
    assert parts(net._repr_svg_())[1] == ["x", "y"]
    large = core.Net(NetDef(op=[op("Relu", "x", "x")] * 1001))
    assert large._repr_svg_() is None
    assert not hasattr(net, "_repr_html_")
