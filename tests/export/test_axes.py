"""Axes, against torch on a tensor in which every element knows its own coordinates."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trispike.errors import UnsupportedError
from trispike.export import axes as ax
from trispike.export.axes import Atom, Axes

SIZES = {"T": 4, "N": 5, "C": 3, "H": 2, "W": 7}
START: Axes = tuple((Atom(label, size),) for label, size in SIZES.items())
WHOLE = torch.arange(4 * 5 * 3 * 2 * 7).reshape(tuple(SIZES.values()))


def meant(axes: Axes) -> torch.Tensor:
    """The tensor that has these axes, made from the coordinates alone."""
    order = ["TNCHW".index(atom.label) for axis in axes for atom in axis]
    return WHOLE.permute(order).reshape(ax.sizes(axes))


def axes_of(*names: str) -> Axes:
    """("TN", "C") to axes of these atoms; "" is an axis of one element."""
    return tuple(tuple(Atom(label, SIZES[label]) for label in name) for name in names)


@st.composite
def operations(draw: st.DrawFn) -> list[tuple[str, Any]]:
    names = ["permute", "swap", "move", "merge", "split", "insert", "remove", "reshape"]
    seeds = st.tuples(st.sampled_from(names), st.integers(0, 999), st.integers(0, 999))
    return [(name, (a, b)) for name, a, b in draw(st.lists(seeds, min_size=1, max_size=12))]


def applied(name: str, axes: Axes, y: torch.Tensor, a: int, b: int) -> tuple[Axes, torch.Tensor]:
    """One operation on axes and on the tensor, with whatever arguments fit."""
    rank = len(axes)
    one, two = a % rank, b % rank
    # Counted from the end as often as from the front.
    signed = [n - rank if (a + b + n) % 2 else n for n in range(rank)]
    if name == "permute":
        order = sorted(range(rank), key=lambda n: (n * (2 * a + 1) + b) % rank)
        order = [signed[n] for n in order]
        return ax.permuted(axes, order), y.permute(order)
    if name == "swap":
        return ax.swapped(axes, signed[one], signed[two]), y.transpose(signed[one], signed[two])
    if name == "move":
        return ax.moved(axes, signed[one], signed[two]), y.movedim(signed[one], signed[two])
    if name == "merge":
        start, end = signed[min(one, two)], signed[max(one, two)]
        return ax.merged(axes, start, end), y.flatten(start, end)
    if name == "split":
        wanted = [atom.size for atom in axes[one]] or [1]
        wanted[b % len(wanted)] = -1
        return ax.split(axes, signed[one], wanted, "op"), y.unflatten(signed[one], wanted)  # type: ignore[no-untyped-call]
    if name == "insert":
        at = a % (rank + 1) - (rank + 1) * (b % 2)
        return ax.inserted(axes, at), y.unsqueeze(at)
    if name == "remove":
        ones = [n for n, size in enumerate(ax.sizes(axes)) if size == 1]
        if not ones or rank == 1:
            return axes, y
        at = signed[ones[a % len(ones)]]
        return ax.without(axes, at), y.squeeze(at)
    # reshape: every atom on its own, neighbours merged by the bits of a.
    sizes, groups = [atom.size for axis in axes for atom in axis], [1]
    for n, size in enumerate(sizes):
        if a >> n & 1:
            groups[-1] *= size
        else:
            groups.append(size)
    groups[b % len(groups)] = -1 if b % 3 else groups[b % len(groups)]
    return ax.reshaped(axes, groups, "op"), y.reshape(groups)


@given(operations())
def test_axes_follow_every_operation_as_torch_does(chain):
    axes, y = START, WHOLE
    for name, (a, b) in chain:
        axes, y = applied(name, axes, y, a, b)
        assert ax.sizes(axes) == tuple(y.shape)
        assert torch.equal(meant(axes), y), name


@given(st.permutations(list(SIZES)), st.integers(0, 31), st.data())
def test_a_reshape_is_followed_or_refused_but_never_wrong(order, merges, data):
    axes = axes_of(*order)
    total = WHOLE.numel()
    shape: list[int] = []
    while total > 1:
        shape.append(data.draw(st.sampled_from([n for n in range(2, total + 1) if total % n == 0])))
        total //= shape[-1]
    try:
        result = ax.reshaped(axes, shape, "view")
    except UnsupportedError:
        return
    assert torch.equal(meant(result), meant(axes).reshape(shape))


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        (("TN", "C", "H", "W"), (2, 10, 3, 2, 7)),  # T cut in two
        (("TN", "C", "H", "W"), (5, 4, 3, 2, 7)),  # N and T exchanged
        (("T", "N", "C", "H", "W"), (4, 5, 2, 3, 7)),  # C and H exchanged
        (("T", "N", "C"), (4, 5, 3, 2)),  # more elements than there are
        (("T", "N", "C"), (4, 7, -1)),
    ],
)
def test_a_reshape_that_mixes_axes_is_refused(axes, shape):
    with pytest.raises(UnsupportedError, match="operation 'view': got a reshape of") as caught:
        ax.reshaped(axes_of(*axes), shape, "view")
    assert f"to {shape}" in str(caught.value)
    assert ax.measured(axes_of(*axes)) in str(caught.value)


def test_axes_of_one_element():
    one: Axes = ((Atom("T", 1),), (Atom("N", 5),), (Atom("C", 1),), (Atom("H", 2),))
    assert ax.reshaped(one, (5, 2), "view") == (
        (Atom("T", 1), Atom("N", 5)),
        (Atom("C", 1), Atom("H", 2)),
    )
    assert ax.reshaped(one, (1, 5, 1, 2, 1), "view") == (*one, ())
    assert ax.without(one, 0) == ((Atom("T", 1), Atom("N", 5)), *one[2:])
    assert ax.without(one, -2) == (one[0], (Atom("N", 5), Atom("C", 1)), one[3])
    assert ax.reshaped(((Atom("C", 3),), (Atom("H", 1),)), (3,), "view") == (
        (Atom("C", 3), Atom("H", 1)),
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: ax.merged(START, 0, 5),
        lambda: ax.merged(START, -6, 0),
        lambda: ax.merged(START, 2, 1),
        lambda: ax.split(START, 5, (4,), "op"),
        lambda: ax.permuted(START, (0, 1, 2, 3)),
        lambda: ax.permuted(START, (0, 1, 2, 3, 3)),
        lambda: ax.permuted(START, (0, 1, 2, 3, 5)),
        lambda: ax.swapped(START, 0, 5),
        lambda: ax.moved(START, 5, 0),
        lambda: ax.moved(START, 0, 5),
        lambda: ax.inserted(START, 6),
        lambda: ax.without(START, 5),
    ],
)
def test_an_axis_that_is_not_there_is_an_error(call):
    with pytest.raises(IndexError):
        call()


def test_what_is_said_of_axes():
    axes = axes_of("TN", "C", "", "HW")
    assert ax.describe(axes) == "(T*N, C, 1, H*W)"
    assert ax.measured(axes) == "(T*N, C, 1, H*W) = (20, 3, 1, 14) with N = 5"
    assert ax.measured(axes[1:]) == "(C, 1, H*W) = (3, 1, 14)"
    assert ax.feature_axes(axes) == axes_of("C", "HW")
    assert ax.position(axes, "T") is None
    assert ax.position(axes, "C") == 1
    assert ax.holds(axes, "T")
    assert not ax.holds(axes[1:], "T")
    assert ax.with_features(axes_of("N", "C", "T"), (9,)) == (
        *axes_of("N"),
        (Atom("C", 9),),
        *axes_of("T"),
    )
    assert ax.with_features(axes_of("TN", "C", "H", "W"), (8, 1, 1)) == (
        *axes_of("TN"),
        (Atom("C", 8),),
        (Atom("H", 1),),
        (Atom("W", 1),),
    )
