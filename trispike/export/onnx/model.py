"""From a network to a checked ONNX model."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Collection, Mapping
from typing import Any, get_args

import onnx
from onnx import helper, shape_inference

from trispike.errors import InvalidSettingError
from trispike.export.onnx.forms import Form, Parts, build_parts
from trispike.export.onnx.nodes import DOMAIN, OPSET
from trispike.export.onnx.numbers import Numbers, numbers_for
from trispike.network import Network, digest
from trispike.network.learning import refuse_plastic
from trispike.network.network import PAYLOAD_LIMIT

IR_VERSION = 9
"""Of the file format; 9 is the first one that runtimes of 2023 read together with functions."""

FORMAT_VERSION = 1
"""Of what the metadata say."""


def build_model(
    network: Network,
    form: str = "sequence",
    carrier: str = "float32",
    *,
    observe: Mapping[str, Collection[str]] | None = None,
) -> onnx.ModelProto:
    """A network as an ONNX model, checked.

    Args:
        network: A float or an integer network.
        form: step, sequence or unrolled.
        carrier: What spikes travel in: float32; int8 in integer networks; float64 in float ones.
        observe: Sequence form: more outputs; see :class:`trispike.export.onnx.step.StepBuilder`.

    Raises:
        InvalidSettingError: An unknown form, or a carrier that the network cannot travel in.
        UnsupportedError: A sum that no type holds exactly.
    """
    if form not in get_args(Form):
        raise InvalidSettingError(
            f"form {form!r}",
            got="an unknown name",
            expected="one of " + ", ".join(get_args(Form)),
            fix="Choose one of these.",
        )
    refuse_plastic(network, "ONNX")
    numbers = numbers_for(network, carrier)
    parts = build_parts(network, form, numbers, observe)
    model = helper.make_model(
        parts.graph,
        functions=parts.functions,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        ir_version=IR_VERSION,
        producer_name="trispike",
        producer_version=_version(),
    )
    helper.set_model_props(model, metadata(network, form, numbers, parts))
    return model


def metadata(network: Network, form: str, numbers: Numbers, parts: Parts) -> dict[str, str]:
    """What a model says about itself: where it comes from, and how to feed it.

    All values are JSON, sorted by name, without a time or a place, so that equal networks give
    equal files.
    """
    entry = network.input
    transform: dict[str, Any] = {
        "encoding": entry.encoding,
        "mean": entry.mean.tolist(),
        "std": entry.std.tolist(),
        "scale": entry.scale,
        "payload_limit": PAYLOAD_LIMIT if entry.scale is not None else None,
    }
    facts: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "kind": network.kind,
        "form": form,
        "carrier": numbers.carrier,
        "steps": network.steps,
        "input": transform,
        "logit_scale": network.readout.scale,
        "time_weights": network.readout.weights.tolist(),
        "network_sha256": digest(network),
        "provenance": dict(network.provenance),
    }
    if form == "step":
        facts["states"] = [state.name for state in parts.states]
    return {f"{DOMAIN}.{name}": json.dumps(facts[name], sort_keys=True) for name in sorted(facts)}


def check(model: onnx.ModelProto) -> onnx.ModelProto:
    """Check a model fully and add the shapes of its tensors.

    Raises:
        onnx.checker.ValidationError: A defect of ours.
    """
    onnx.checker.check_model(model, full_check=True)
    return shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def _version() -> str:
    try:
        return importlib.metadata.version("trispike")
    except importlib.metadata.PackageNotFoundError:  # run from its sources
        return "unknown"
