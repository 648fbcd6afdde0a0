"""Images as matrices of windows, a block at a time: unfolding, and folding back by adding.

Every function here is for kernels to call; geometry comes as the table that `Window.table` makes.
"""

from __future__ import annotations

import numpy as np

from caffe2py.kernels.block import up
from caffe2py.kernels.vector import fold1, unfold1, unfold2
from caffe2py.kernels.window import BEGIN, DILATION, IMAGE, KERNEL, OUT, STRIDE

#: A block has at most this many positions (channels first) or elements of a window (last).
BLOCK = 512

#: Rows of a block lie this far apart; a power of two would map them all to a few cache lines.
ROW = BLOCK + 16


def _copy_steps(x, at, step, y, count):
    """y[i] = x[at + i * step]"""
    if step == 1:
        line = x[at : at + count]
        for i in range(count):
            y[i] = line[i]
    else:
        line = x[at:]
        for i in range(count):
            y[i] = line[np.uintp(i * step)]  # an index that cannot be negative needs no test


def _add_steps(x, at, step, y, count):
    """x[at + i * step] += y[i]"""
    if step == 1:
        line = x[at : at + count]
        for i in range(count):
            line[i] += y[i]
    else:
        line = x[at:]
        for i in range(count):
            line[np.uintp(i * step)] += y[i]


def _exchange(x, at, step, target, before, count, fold):
    """target = `before` zeros, x[at + i * step] for i < count, zeros; or, with `fold`, x += it."""
    body = target[before : before + count]
    if fold:
        _add_steps(x, at, step, body, count)
        return
    for i in range(before):
        target[i] = 0
    _copy_steps(x, at, step, body, count)
    for i in range(before + count, target.size):
        target[i] = 0


def block_of(out_x):
    """Positions of a block: whole lines of them, if a line is short enough."""
    return BLOCK if out_x > BLOCK else BLOCK // out_x * out_x


def phase_row(size_x):
    """Elements of a row whose even elements come first, then the odd ones."""
    return 2 * up(size_x, 2)


def split_phases(x, at, rows, size_x, y, to):
    """Rows of x with their even elements first: then windows two apart read what lies together."""
    pitch = phase_row(size_x)
    for phase in range(2):
        count = up(size_x - phase, 2)
        place = to + phase * (pitch // 2)
        unfold2(x, at, size_x, rows, size_x, 0, 1, phase, y, place, pitch, rows, count)


def _columns_of_element(
    x, plane, table, from_z, from_y, from_x, start, width, panel, to, fold, phases
):  # fmt: skip
    """panel[to + j] = the element of the window at position start + j, lines of positions at once.

    `from_z`, `from_y` and `from_x` say where it is in the window at position 0, `plane` how many
    elements of x lie before its channel. With `fold`, and a step of 1, it is added to instead.
    """
    size_z, size_y, size_x = table[IMAGE]
    out_x, out_y, step = table[OUT, 2], table[OUT, 1], table[STRIDE, 2]
    row, wide, skip = size_x, size_x, 0
    if phases:
        phase = from_x % 2
        row, wide, step = phase_row(size_x), up(size_x - phase, 2), 1
        plane, from_x, skip = plane // size_x * row, (from_x - phase) // 2, phase * (row // 2)
    line, left = start // out_x, start % out_x
    j = 0
    while j < width:
        out_line, z = line % out_y, line // out_y * table[STRIDE, 0] + from_z
        lines, across = min((width - j) // out_x, out_y - out_line), out_x
        if left > 0 or lines == 0:  # a part of a line
            lines, across = 1, min(out_x - left, width - j)
        high = size_y if 0 <= z < size_z else 0
        top, first = out_line * table[STRIDE, 1] + from_y, from_x + left * step
        at, down = plane + z * size_y * row + skip, table[STRIDE, 1]
        if fold:
            fold1(
                x, at, row, high, wide, top, down, first, panel, to + j, out_x, lines, across
            )  # fmt: skip
        elif step == 1:
            unfold1(
                x, at, row, high, wide, top, down, first, panel, to + j, out_x, lines, across
            )  # fmt: skip
        else:
            unfold2(
                x, at, row, high, wide, top, down, first, panel, to + j, out_x, lines, across
            )  # fmt: skip
        j, line, left = j + lines * across, line + lines, 0


def columns(x, at, table, first, deep, start, width, panel, fold, phases):
    """panel[k, j] = element `first + k` of the window at position `start + j`; 0 in the padding.

    With `fold`, x += panel instead. `phases`: rows of x have gone through `split_phases`; `at`
    counts as if they had not.
    """
    size_z, size_y, size_x = table[IMAGE]
    taps_x, taps_y = table[KERNEL, 2], table[KERNEL, 1]
    taps = table[KERNEL, 0] * taps_y * taps_x
    quick = table[STRIDE, 2] == 1 or (not fold and table[STRIDE, 2] == 2)
    out_x, out_y, step = table[OUT, 2], table[OUT, 1], table[STRIDE, 2]
    first_line, first_left = start // out_x, start % out_x
    first_y, first_z = first_line % out_y, first_line // out_y
    for k in range(deep):
        tap = (first + k) % taps
        from_x = tap % taps_x * table[DILATION, 2] - table[BEGIN, 2]
        from_y = tap // taps_x % taps_y * table[DILATION, 1] - table[BEGIN, 1]
        from_z = tap // taps_x // taps_y * table[DILATION, 0] - table[BEGIN, 0]
        base = at + (first + k) // taps * (size_z * size_y * size_x)
        if quick:
            _columns_of_element(
                x, base, table, from_z, from_y, from_x, start, width, panel, k * ROW, fold,
                phases,
            )  # fmt: skip
            continue
        # positions along x at which the element is inside of the image
        low, high = max(0, up(-from_x, step)), min(out_x, up(size_x - from_x, step))
        j, left, out_line, out_plane = 0, first_left, first_y, first_z
        while j < width:  # lines are counted, not computed: a division costs as much as a line
            right = min(out_x, left + width - j)
            y = out_line * table[STRIDE, 1] + from_y
            z = out_plane * table[STRIDE, 0] + from_z
            inside = 0 <= y < size_y and 0 <= z < size_z
            inner = min(max(low, left), right) if inside else right
            outer = min(max(high, inner), right)
            source = base + (z * size_y + y) * size_x + from_x + inner * step
            target = panel[k * ROW + j : k * ROW + j + right - left]
            _exchange(x, source, step, target, inner - left, outer - inner, fold)
            j, left, out_line = j + right - left, 0, out_line + 1
            if out_line == out_y:
                out_line, out_plane = 0, out_plane + 1


def rows(x, at, table, channels, pixel, first, deep, start, count, panel, fold):
    """panel[i, k] = element `first + k` of the window at position `start + i`; 0 in the padding.

    With `fold`, x += panel instead. A window has `channels` of the `pixel` channels of x.
    """
    size_z, size_y, size_x = table[IMAGE]
    taps_x, taps_y = table[KERNEL, 2], table[KERNEL, 1]
    out_x, out_y = table[OUT, 2], table[OUT, 1]
    # neighbours along x lie side by side if all channels are taken
    across = taps_x if channels == pixel and table[DILATION, 2] == 1 else 1
    run, lines = across * channels, taps_x // across
    for i in range(count):
        line = (start + i) // out_x
        from_x = (start + i) % out_x * table[STRIDE, 2] - table[BEGIN, 2]
        from_y = line % out_y * table[STRIDE, 1] - table[BEGIN, 1]
        from_z = line // out_y * table[STRIDE, 0] - table[BEGIN, 0]
        k = 0
        while k < deep:
            tap, left = (first + k) // run, (first + k) % run
            right = min(run, left + deep - k)
            x_at = from_x + tap % lines * table[DILATION, 2]
            y_at = from_y + tap // lines % taps_y * table[DILATION, 1]
            z_at = from_z + tap // lines // taps_y * table[DILATION, 0]
            inside = 0 <= y_at < size_y and 0 <= z_at < size_z
            inner = min(max(-x_at * channels, left), right) if inside else right
            outer = min(max((size_x - x_at) * channels, inner), right)
            source = at + ((z_at * size_y + y_at) * size_x + x_at) * pixel + inner
            target = panel[i * ROW + k : i * ROW + k + right - left]
            _exchange(x, source, 1, target, inner - left, outer - inner, fold)
            k += right - left


def counts(table):
    """Elements of an image, positions of the window, and elements of the window, per channel."""
    image = table[IMAGE, 0] * table[IMAGE, 1] * table[IMAGE, 2]
    out = table[OUT, 0] * table[OUT, 1] * table[OUT, 2]
    taps = table[KERNEL, 0] * table[KERNEL, 1] * table[KERNEL, 2]
    return image, out, taps
