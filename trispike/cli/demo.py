"""``trispike demo``: a trained network goes the whole way, from its checkpoint to joules."""

from __future__ import annotations

import tempfile
import time
from contextlib import nullcontext
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any

import typer

from trispike.api import convert as convert_module
from trispike.cli.console import (
    FAILED,
    DebugFlag,
    JsonFlag,
    command,
    err,
    out,
    percent,
    print_json,
    progress_bar,
    stage,
)
from trispike.cli.convert import conversion_facts, load_module, print_conversion
from trispike.cli.estimate import estimate_facts, print_estimate
from trispike.cli.quantize import CALIBRATION_SAMPLES, print_quantization, quantization_facts
from trispike.cli.simulate import print_result, result_facts, run_engine
from trispike.cli.verify import certificate_facts, compare_engines, print_certificate
from trispike.network import IntegerNetwork, Network, save
from trispike.quantize import quantize as quantize_network
from trispike.runtime.data import load_data
from trispike.runtime.energy import estimate_energy, load_profile
from trispike.runtime.engine import Result

DEMO_ARCHITECTURE = "ctsn-resnet8"
DEMO_STEPS = 4
DEMO_CHECKPOINT = "ctsn_digits.pth"
ALLOWED_LOSS = 0.005
"""Accuracy that quantization may cost: half a point."""


@command
def demo(
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep the networks there; default: discard them."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Samples that Lava and the reference are compared on.")
    ] = 64,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Take a trained CTSN network from its checkpoint to Lava processes and energy."""
    start = time.perf_counter()
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() if keep is None else nullcontext(keep) as folder:
        facts = _Demo(Path(folder), samples, kept=keep is not None, quiet=as_json).run()
    facts["seconds"] = time.perf_counter() - start
    if as_json:
        print_json(facts)
    elif facts["ok"]:
        out.print(f"\nAll checks hold ({facts['seconds']:.0f} s).", style="bold green")
        if keep is not None:
            out.print(f"The networks are in {keep}.", soft_wrap=True)
    if not facts["ok"]:
        err.print(f"failed: {', '.join(facts['failed'])}", style="bold red")
        raise typer.Exit(FAILED)


class _Demo:
    """The steps, each shown as the command that does the same."""

    def __init__(self, folder: Path, samples: int, *, kept: bool, quiet: bool) -> None:
        self.float_path = folder / "digits.float.safetensors"
        self.integer_path = folder / "digits.int8.safetensors"
        self.samples = samples
        self.kept = kept
        self.quiet = quiet
        self.test = load_data("digits")

    def run(self) -> dict[str, Any]:
        network, converted = self._convert()
        float_result = run_engine("reference", network, self.test)
        integer, quantized = self._quantize(network)
        result = self._simulate(integer, float_result)
        verified = self._verify(integer)
        estimated = self._estimate(integer, result)
        assert result.accuracy is not None
        assert float_result.accuracy is not None
        checks = {
            "unexplained_mismatches": converted["unexplained_mismatches"] == 0,
            "accuracy": result.accuracy >= float_result.accuracy - ALLOWED_LOSS,
            "equal": verified["equal"],
        }
        return {
            "ok": all(checks.values()),
            "failed": [name for name, holds in checks.items() if not holds],
            "accuracy": result.accuracy,
            "accuracy_float": float_result.accuracy,
            "unexplained_mismatches": converted["unexplained_mismatches"],
            "equal": verified["equal"],
            "synaptic_operations": result.ledger.synaptic_operations,
            "energy_per_inference_joules": estimated["energy_per_inference_joules"],
            "convert": converted,
            "quantize": quantized,
            "simulate": result_facts(result, integer, self.test),
            "verify": verified,
            "estimate": estimated,
        }

    def _title(self, words: str, shell: str) -> None:
        if not self.quiet:
            out.print(f"\n{words}", style="bold")
            out.print(f"$ trispike {shell}", style="dim", soft_wrap=True)

    def _convert(self) -> tuple[Network, dict[str, Any]]:
        self._title(
            "1. convert: fold the checkpoint, and prove that nothing changed",
            f"convert {DEMO_CHECKPOINT} --arch {DEMO_ARCHITECTURE} --steps {DEMO_STEPS} "
            f"--form static --data digits --samples {len(self.test.x)} -o {self.float_path.name}",
        )
        with (
            stage("loading PyTorch and the checkpoint"),
            as_file(files("trispike") / "demo" / DEMO_CHECKPOINT) as path,
        ):
            module = load_module(path, DEMO_ARCHITECTURE, steps=DEMO_STEPS, form="static")
        with progress_bar("folding and proving", len(self.test.x)) as progress:
            conversion = convert_module(
                module,
                self.test.x,
                steps=DEMO_STEPS,
                proof_samples=len(self.test.x),
                data_description=self.test.name,
                progress=progress,
            )
        save(conversion.network, self.float_path)
        facts = conversion_facts(conversion, self.float_path if self.kept else None)
        if not self.quiet:
            print_conversion(facts)
        return conversion.network, facts

    def _quantize(self, network: Network) -> tuple[IntegerNetwork, dict[str, Any]]:
        self._title(
            "2. quantize: 8-bit weights, 24-bit states, integer thresholds",
            f"quantize {self.float_path.name} --calibration digits:train "
            f"-o {self.integer_path.name}",
        )
        calibration = load_data("digits:train").first(CALIBRATION_SAMPLES)
        with progress_bar("quantizing", len(calibration.x)) as progress:
            quantization = quantize_network(
                network, calibration.x, calibration.y, progress=progress
            )
        save(quantization.network, self.integer_path)
        if not self.quiet:
            print_quantization(quantization)
        return quantization.network, quantization_facts(
            quantization, calibration, self.integer_path if self.kept else None
        )

    def _simulate(self, network: IntegerNetwork, float_result: Result) -> Result:
        self._title(
            "3. simulate: the held-out digits on the reference engine",
            f"simulate {self.integer_path.name} --data digits",
        )
        result = run_engine("reference", network, self.test)
        if not self.quiet:
            print_result(result)
            out.print(
                f"test accuracy: float {percent(float_result.accuracy)}, "
                f"8-bit integers {percent(result.accuracy)}"
            )
        return result

    def _verify(self, network: IntegerNetwork) -> dict[str, Any]:
        self._title(
            "4. verify: the same network as Lava processes, bit for bit",
            f"verify {self.integer_path.name} --data digits --engines reference,lava "
            f"--samples {self.samples}",
        )
        given = self.test.first(self.samples)
        certificate = compare_engines(network, given, ("reference", "lava"))
        if not self.quiet:
            print_certificate(certificate)
        return certificate_facts(certificate, given)

    def _estimate(self, network: IntegerNetwork, result: Result) -> dict[str, Any]:
        self._title(
            "5. estimate: what one inference costs",
            f"estimate {self.integer_path.name} --data digits --hardware loihi1",
        )
        priced = estimate_energy(result.ledger, load_profile("loihi1"), network=network)
        if not self.quiet:
            print_estimate(priced)
        return estimate_facts(priced, result, network, self.test)
