"""Convolutions of ternary spikes that only touch what has fired.

For every output position, the weights of the active synapses are added up. A *row* holds the
weights of one synapse to 64 outputs, or to 128: a byte each, which vectors of 16-bit numbers add
two at a time. Such a number is 256*odd + even, of two neighbouring outputs; shifted right it is
odd alone. The sums of both give the two outputs apart, exactly, while they fit into 16 bits
(:data:`PENDING`). The even weights are stored 128 higher, so that odd needs no borrow.

The additions are written in LLVM's vectors, which every processor has in some width; Numba would
keep the sums in memory instead of registers, and this loop is all that counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

PENDING = 255
"""So many weights of up to 128 add up to what 16 bits hold."""

BLOCK = 64
"""Outputs whose sums are in two vectors: one of pairs, one of their odd members."""

BIAS = 128
"""What even weights are stored higher by."""

_PAIRS = BLOCK // 2
_INT1, _INT8, _INT32, _INT64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
_VECTOR = ir.VectorType(ir.IntType(16), _PAIRS)
_CODES = ir.VectorType(_INT8, BLOCK)


def rows_of(weight: npt.NDArray[np.int8], blocks: int) -> npt.NDArray[np.uint8]:
    """The rows of a convolution, as :func:`convolve_events` reads them.

    Args:
        weight: (O, C, kH, kW).
        blocks: Blocks per row.

    Returns:
        Flat: tiles of the outputs, kernel positions, C channels, 64*blocks outputs of the tile.
        Outputs beyond O have weight 0.
    """
    outputs, channels, height, width = weight.shape
    tiles = -(-outputs // (BLOCK * blocks))
    padded = np.zeros((tiles * BLOCK * blocks, channels, height, width), np.int8)
    padded[:outputs] = weight
    tiled = padded.reshape(tiles, -1, channels, height, width).transpose(0, 3, 4, 2, 1)
    rows = np.ascontiguousarray(tiled).view(np.uint8).reshape(-1)
    rows[::2] += np.uint8(BIAS)
    return rows


def _adder(operation: str) -> Any:
    """An instruction for Numba: many rows added to sums, or subtracted from them."""

    @intrinsic
    def rows_into_sums(_: Any, sums: Any, rows: Any, base: Any, places: Any, span: Any) -> Any:
        signature = types.void(sums, rows, types.int64, places, types.UniTuple(types.int64, 2))

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def data(kind: Any, array: Any) -> Any:
                return context.make_array(kind)(context, builder, array).data

            sums, rows, base, places, span = arguments
            kinds = signature.args
            blocks = len(kinds[0])
            first, end = (builder.extract_value(span, n) for n in (0, 1))
            origin = builder.bitcast(data(kinds[1], rows), _INT8.as_pointer())
            origin, places = builder.gep(origin, [base]), data(kinds[3], places)
            targets = []
            for n in range(blocks):
                block = data(kinds[0].dtype, builder.extract_value(sums, n))
                block = builder.bitcast(block, _VECTOR.as_pointer())
                targets += [builder.gep(block, [ir.Constant(_INT64, half)]) for half in (0, 1)]
            held = [builder.load(target, align=2) for target in targets]

            before = builder.block
            body, after = (builder.append_basic_block(name) for name in ("event", "events_end"))
            builder.cbranch(builder.icmp_signed("<", first, end), body, after)

            builder.position_at_end(body)
            number = builder.phi(_INT64)
            number.add_incoming(first, before)
            running = [builder.phi(_VECTOR) for _ in held]
            place = builder.zext(builder.load(builder.gep(places, [number])), _INT64)
            row = builder.bitcast(builder.gep(origin, [place]), _VECTOR.as_pointer())
            add = getattr(builder, operation)
            eight = ir.Constant(_VECTOR, [8] * _PAIRS)
            added = []
            for n in range(blocks):
                pairs = builder.load(builder.gep(row, [ir.Constant(_INT64, n)]), align=1)
                added.append(add(running[2 * n], pairs))
                added.append(add(running[2 * n + 1], builder.ashr(pairs, eight)))
            following = builder.add(number, ir.Constant(_INT64, 1))
            number.add_incoming(following, body)
            for sum_, start, now in zip(running, held, added, strict=True):
                sum_.add_incoming(start, before)
                sum_.add_incoming(now, body)
            builder.cbranch(builder.icmp_signed("<", following, end), body, after)

            builder.position_at_end(after)
            results = []
            for start, now in zip(held, added, strict=True):
                result = builder.phi(_VECTOR)
                result.add_incoming(start, before)
                result.add_incoming(now, body)
                results.append(result)
            for result, target in zip(results, targets, strict=True):
                builder.store(result, target, align=2)
            return context.get_dummy_value()

        return signature, generate

    return rows_into_sums


_add_rows = _adder("add")
_subtract_rows = _adder("sub")


@intrinsic
def _collect(_: Any, sums: Any, net: Any, totals: Any) -> Any:
    """Move sums, of ``net`` more additions than subtractions, to their totals: (64*blocks,)."""
    signature = types.void(sums, types.int64, totals)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, net, totals = arguments
        kinds = signature.args
        bias = builder.trunc(builder.mul(net, ir.Constant(_INT64, BIAS)), _VECTOR.element)
        bias = _everywhere(builder, bias, _VECTOR)
        eight = ir.Constant(_VECTOR, [8] * _PAIRS)
        alternately = [half * _PAIRS + k for k in range(_PAIRS) for half in (0, 1)]
        order = ir.Constant(ir.VectorType(_INT32, BLOCK), alternately)
        wide = ir.VectorType(_INT32, BLOCK)
        totals = context.make_array(kinds[2])(context, builder, totals).data
        totals = builder.bitcast(totals, wide.as_pointer())
        for n in range(len(kinds[0])):
            array = builder.extract_value(sums, n)
            block = context.make_array(kinds[0].dtype)(context, builder, array).data
            block = builder.bitcast(block, _VECTOR.as_pointer())
            places = [builder.gep(block, [ir.Constant(_INT64, half)]) for half in (0, 1)]
            pair, odd = (builder.load(place, align=2) for place in places)
            even = builder.sub(builder.sub(pair, builder.shl(odd, eight)), bias)
            outputs = builder.sext(builder.shuffle_vector(even, odd, order), wide)
            total = builder.gep(totals, [ir.Constant(_INT64, n)])
            outputs = builder.add(builder.load(total, align=4), outputs)
            builder.store(outputs, total, align=4)
            for place in places:
                builder.store(ir.Constant(_VECTOR, [0] * _PAIRS), place, align=2)
        return context.get_dummy_value()

    return signature, generate


def _everywhere(builder: Any, value: Any, vector: Any) -> Any:
    """A vector of one value."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(_INT32, 0))
    places = ir.Constant(ir.VectorType(_INT32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, nothing, places)


@intrinsic
def _where(_: Any, codes: Any, place: Any, code: Any) -> Any:
    """Which of 64 codes are a certain one, as bits."""
    signature = types.uint64(codes, types.int64, types.uint8)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        codes, place, code = arguments
        origin = context.make_array(signature.args[0])(context, builder, codes).data
        origin = builder.bitcast(builder.gep(origin, [place]), _CODES.as_pointer())
        wanted = _everywhere(builder, code, _CODES)
        same = builder.icmp_unsigned("==", builder.load(origin, align=1), wanted)
        return builder.bitcast(same, _INT64)

    return signature, generate


@intrinsic
def _lowest(_: Any, bits: Any) -> Any:
    """Number of the lowest bit that is set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_INT64, [_INT64, _INT1])
        count = builder.module.declare_intrinsic("llvm.cttz", [_INT64], kind)
        return builder.call(count, [arguments[0], ir.Constant(_INT1, 0)])

    return types.int64(types.uint64), generate


@njit(nogil=True, cache=True, error_model="numpy")
def convolve_events(
    codes: Any,
    rows: Any,
    sums: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    scale: Any,
    window: Any,
    result: Any,
) -> None:
    """A convolution of ternary codes, event by event.

    Args:
        codes: (B, H, W, C), unsigned bytes: 0, 1, 2 for -1, 0, +1.
        rows: From :func:`rows_of`; W*C rows must take less than 2**32 bytes.
        sums: As many arrays (64,) of int16 as a row has blocks; overwritten.
        kernel: Rows and columns; so are ``stride``, ``padding`` and ``dilation``.
        stride: As in a convolution.
        padding: Of silence.
        dilation: Distance between the elements of the kernel.
        scale: Multiplies the result, float32.
        window: First image and end: what this call works on.
        result: (B, H', W', O), float32, written; exact while sums stay below 2**24.
    """
    _, height, width, channels = codes.shape
    _, out_height, out_width, outputs = result.shape
    row = BLOCK * len(sums)
    tiles = (outputs + row - 1) // row
    # Of every line of the image its positive and its negative events, and where columns begin.
    places = np.empty((2, height, width * channels + 1), np.uint32)
    starts = np.zeros((2, height, width + 1), np.int64)
    # Columns of the kernel that are neighbours in the image, and so are their events.
    together = kernel[1] if dilation[1] == 1 else 1
    totals = np.empty(row, np.int32)
    for b in range(window[0], window[1]):
        for y in range(height):
            _find_events(codes[b, y], row, places[:, y], starts[:, y])
        for tile in range(tiles):
            for out_y in range(out_height):
                for out_x in range(out_width):
                    totals[:] = 0
                    _clear(sums)
                    pending = net = 0
                    for i in range(kernel[0]):
                        y = out_y * stride[0] - padding[0] + i * dilation[0]
                        if y < 0 or y >= height:
                            continue
                        for j in range(0, kernel[1], together):
                            x = out_x * stride[1] - padding[1] + j * dilation[1]
                            left, right = max(x, 0), min(x + together, width)
                            if left >= right:
                                continue
                            tap = (tile * kernel[0] + i) * kernel[1] + j
                            base = (tap - x) * channels * row
                            for sign in range(2):
                                at, end = starts[sign, y, left], starts[sign, y, right]
                                while at < end:
                                    span = (at, min(end, at + PENDING - pending))
                                    if sign == 0:
                                        _add_rows(sums, rows, base, places[0, y], span)
                                        net += span[1] - span[0]
                                    else:
                                        _subtract_rows(sums, rows, base, places[1, y], span)
                                        net -= span[1] - span[0]
                                    pending += span[1] - span[0]
                                    at = span[1]
                                    if pending == PENDING:
                                        _collect(sums, net, totals)
                                        pending = net = 0
                    _collect(sums, net, totals)
                    first = tile * row
                    target = result[b, out_y, out_x, first : min(outputs, first + row)]
                    for o in range(len(target)):
                        target[o] = np.float32(totals[o]) * scale


@njit(nogil=True, cache=True, error_model="numpy")
def _find_events(codes: Any, row: Any, places: Any, starts: Any) -> None:
    """List the events of a line of an image, (W, C), by the place of their rows.

    Those of +1 go to ``places[0]``, those of -1 to ``places[1]``; those of column x begin at
    ``starts[:, x]``. A place counts from the row of the first column and channel.
    """
    width, channels = codes.shape
    flat = codes.reshape(-1)
    positive, negative = places[0], places[1]
    plus = minus = 0
    for x in range(width):
        at, end = x * channels, (x + 1) * channels
        while at + BLOCK <= end:
            bits = _where(flat, at, np.uint8(2))
            while bits:
                positive[plus] = (at + _lowest(bits)) * row
                plus += 1
                bits &= bits - np.uint64(1)
            bits = _where(flat, at, np.uint8(0))
            while bits:
                negative[minus] = (at + _lowest(bits)) * row
                minus += 1
                bits &= bits - np.uint64(1)
            at += BLOCK
        for k in range(at, end):
            # Written always, kept only if it fired: quicker than to ask.
            positive[plus] = negative[minus] = k * row
            plus += flat[k] == 2
            minus += flat[k] == 0
        starts[0, x + 1], starts[1, x + 1] = plus, minus


@njit(nogil=True, cache=True, error_model="numpy")
def _clear(sums: Any) -> None:
    for block in sums:
        block[:] = 0
