"""All constructions, by name."""

from __future__ import annotations

from trispike.runtime.conformance import dynamics, logic, timing, wiring
from trispike.runtime.conformance.parts import Construction

_LIST = (
    Construction(
        name="every-mth-spike",
        proves="strict threshold reached exactly, no leak, floor 0, hard reset",
        make=logic.every_mth_spike,
    ),
    Construction(
        name="delay-line",
        proves="delays of 0, 1 and more steps, beyond the end, in a chain",
        make=logic.delay_line,
    ),
    Construction(
        name="clock",
        proves="recurrent connections of several delays, start from v_init",
        make=logic.clock,
    ),
    Construction(
        name="bias-clock",
        proves="bias at every step, initial potential, hard reset",
        make=logic.bias_clock,
    ),
    Construction(name="latch", proves="memory in a loop: set, reset, inhibition", make=logic.latch),
    Construction(
        name="coincidence",
        proves="AND, OR and k of n in one step, without memory",
        make=logic.coincidence,
    ),
    Construction(
        name="coincidence-window",
        proves="leak between two spikes, inclusive threshold reached exactly",
        make=logic.coincidence_window,
    ),
    Construction(
        name="xor",
        proves="inhibition, two layers within one time step",
        make=logic.exclusive_or,
    ),
    Construction(
        name="counter",
        proves="counting modulo 2, 4, 8, 16 in a chain, and modulo 10 with soft reset",
        make=logic.counter,
    ),
    Construction(
        name="ring", proves="loops within one population and through two", make=logic.ring
    ),
    Construction(
        name="instant-loop",
        proves="a loop with fewer steps of delay than connections",
        make=logic.instant_loop,
    ),
    Construction(
        name="ternary-signs",
        proves="spikes of both signs, inverted, under unequal thresholds",
        make=dynamics.ternary_signs,
    ),
    Construction(
        name="ternary-complement",
        proves="the carried potential of CTSN, which a reset does not clear",
        make=dynamics.ternary_complement,
    ),
    Construction(
        name="retention-by-sign",
        proves="a_pos, a_neg, b_pos and b_neg, each by the sign of its own state",
        make=dynamics.retention_by_sign,
    ),
    Construction(
        name="soft-reset-rate",
        proves="soft reset loses nothing: rates are exact, in both signs",
        make=dynamics.soft_reset_rate,
    ),
    Construction(name="resets", proves="reset to zero, by subtraction, none", make=dynamics.resets),
    Construction(
        name="exact-threshold",
        proves="inclusive and strict thresholds at, above and below the potential",
        make=dynamics.exact_threshold,
    ),
    Construction(
        name="fire-once", proves="at most one spike, at the right step", make=dynamics.fire_once
    ),
    Construction(name="floor", proves="a lower bound of the potential", make=dynamics.floor),
    Construction(
        name="synaptic-current",
        proves="decay of the synaptic current, which a reset does not clear",
        make=dynamics.synaptic_current,
    ),
    Construction(
        name="start-potential",
        proves="v_init and bias per neuron, with, without and under full leak",
        make=dynamics.start_potential,
    ),
    Construction(
        name="rounding",
        proves="every retention rounds toward zero, and on its own",
        make=dynamics.rounding,
        kinds=("integer",),
    ),
    Construction(
        name="saturation",
        proves="states stop at their limit, symmetric, and come back from there",
        make=dynamics.saturation,
        kinds=("integer",),
    ),
    Construction(
        name="fresh-samples",
        proves="nothing of one sample reaches the next",
        make=dynamics.fresh_samples,
    ),
    Construction(
        name="state-shift",
        proves="exponents and state shifts of the weights, not of the bias",
        make=dynamics.widths,
    ),
    Construction(
        name="convolution",
        proves="kernel order, padded edges, strides, dilation",
        make=wiring.convolution,
    ),
    Construction(name="groups", proves="channel groups, depthwise", make=wiring.groups),
    Construction(
        name="pooling",
        proves="sums over windows: edges, overlap, dilation, sums of sums",
        make=wiring.pooling,
    ),
    Construction(
        name="flattening", proves="row-major order, there and back", make=wiring.flattening
    ),
    Construction(
        name="shared-thresholds",
        proves="thresholds for all, per channel, per neuron",
        make=wiring.thresholds,
    ),
    Construction(
        name="sources",
        proves="several sources and connections add up, opposite spikes cancel",
        make=wiring.sources,
    ),
    Construction(
        name="graded-input",
        proves="mean, deviation, rounding half to even, clipping of frames",
        make=wiring.graded_input,
    ),
    Construction(
        name="repeated-input",
        proves="an analog picture is shown at every step",
        make=wiring.repeated_input,
    ),
    Construction(
        name="readout-weights",
        proves="time weights, bias, delay and shift of the readout",
        make=wiring.readout_weights,
    ),
    Construction(
        name="last-step", proves="a readout of the last step alone", make=wiring.last_step
    ),
    Construction(
        name="firing-window",
        proves="silent integration, then firing within a window of time steps",
        make=timing.firing_window,
    ),
    Construction(
        name="quantized-levels",
        proves="an input presented once; spike counts equal to levels of a quantized ANN",
        make=timing.quantized_levels,
    ),
    Construction(
        name="time-gains",
        proves="gains per time step on input and bias, each rounded on its own",
        make=timing.time_gains,
    ),
)

CONSTRUCTIONS = {construction.name: construction for construction in _LIST}
"""By name, in the order in which they run."""
