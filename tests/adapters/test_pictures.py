"""caffe2py.visualize: which pictures become of which arrays."""

import numpy as np
import pytest

from caffe2py import visualize
from caffe2py.adapters import pictures
from caffe2py.errors import ShapeError


@pytest.fixture
def shown(monkeypatch):
    """What would be drawn, with its colors."""
    calls = []
    monkeypatch.setattr(
        pictures,
        "show_image",
        lambda image, colors=None, *, plain=False: calls.append((np.array(image), colors)),
    )
    return calls


def test_one_patch(shown):
    show = visualize.PatchVisualizer()
    assert show.ShowSingle(np.arange(9)).shape == (3, 3)
    assert show.ShowSingle(np.arange(12)).shape == (2, 2, 3)
    assert show.ShowSingle(np.ones((2, 5)), cmap="hot").shape == (2, 5)
    assert [colors for _, colors in shown] == ["gray", None, "hot"]
    for wrong in (np.ones(7), np.ones((2, 2, 2)), np.ones((1, 2, 2, 3))):
        with pytest.raises(ShapeError):
            show.ShowSingle(wrong)


def test_a_grid(shown):
    patches = np.stack([np.full((2, 2), k) for k in (1, 2, 3)])
    image = visualize.PatchVisualizer(gap=1).ShowMultiple(patches, bg_func=lambda values: 9)
    assert image.tolist() == [
        [1, 1, 9, 2, 2],
        [1, 1, 9, 2, 2],
        [9, 9, 9, 9, 9],
        [3, 3, 9, 9, 9],
        [3, 3, 9, 9, 9],
    ]
    assert visualize.PatchVisualizer(0).ShowMultiple(patches, ncols=3).shape == (2, 6)
    assert visualize.PatchVisualizer(2).ShowMultiple(np.ones((4, 12))).shape == (6, 6, 3)
    assert visualize.PatchVisualizer().ShowMultiple(np.ones((1, 3, 3, 1))).shape == (3, 3)
    with pytest.raises(ShapeError, match="expected patches"):
        visualize.PatchVisualizer().ShowMultiple(np.ones((2, 2, 2, 2)))


def test_values_between_0_and_1(shown):
    image = visualize.PatchVisualizer(0).ShowImages(np.array([[[-5.0, 15.0]]]))
    np.testing.assert_allclose(image, [[0, 1]])


def test_channels(shown):
    x = np.arange(12.0).reshape(2, 2, 3)
    assert visualize.PatchVisualizer(0).ShowChannels(x).shape == (4, 4)
    with pytest.raises(ShapeError, match="H, W, C"):
        visualize.PatchVisualizer().ShowChannels(x[0])
    assert visualize.ChannelFirst(x).shape == (3, 2, 2)
    np.testing.assert_array_equal(visualize.ChannelLast(visualize.ChannelFirst(x)), x)


def test_both_orders_show_the_same(shown):
    x = np.arange(24.0).reshape(2, 2, 2, 3)
    for name, argument in (
        ("ShowMultiple", x),
        ("ShowImages", x),
        ("ShowSingle", x[0]),
        ("ShowChannels", x[0]),
    ):
        assert getattr(visualize.NHWC, name)(argument) is None
        assert getattr(visualize.NCHW, name)(visualize.ChannelFirst(argument)) is None
        np.testing.assert_array_equal(shown[-1][0], shown[-2][0])


def test_it_is_drawn():
    matplotlib = pytest.importorskip("matplotlib", reason="pictures are drawn by Matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    visualize.PatchVisualizer().ShowMultiple(np.ones((4, 3, 3)))
    assert len(pyplot.gca().images) == 1
    pyplot.close("all")
