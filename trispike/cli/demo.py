"""``trispike demo``: a trained network goes the whole way, from its checkpoint to joules."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
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
)
from trispike.cli.convert import conversion_facts, print_conversion
from trispike.cli.estimate import estimate_facts, print_estimate
from trispike.cli.quantize import print_quantization, quantization_facts
from trispike.cli.simulate import print_result, result_facts
from trispike.cli.verify import print_certificate
from trispike.network import IntegerNetwork, Network, save
from trispike.quantize import quantize as quantize_network
from trispike.runtime.data import Split, load_digits_split
from trispike.runtime.energy import estimate_energy, load_profile
from trispike.runtime.engine import Result
from trispike.runtime.engines import build_engine
from trispike.runtime.verify import Certificate
from trispike.runtime.verify import verify as verify_engines

DEMO_ARCHITECTURE = "ctsn-resnet8"
DEMO_STEPS = 4
DEMO_CHECKPOINT = "ctsn_digits.pth"
ALLOWED_LOSS = 0.005
"""Accuracy that quantization may cost: half a point."""


@command
def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Folder for the networks; default: they are discarded.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Samples that Lava and the reference are compared on.")
    ] = 64,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Take a trained CTSN network from its checkpoint to Lava processes and energy."""
    start = time.perf_counter()
    with ExitStack() as stack:
        if keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trispike-")))
        else:
            folder = keep
            folder.mkdir(parents=True, exist_ok=True)
        facts = _Demo(folder, samples, quiet=as_json).run()
    facts["seconds"] = time.perf_counter() - start
    if as_json:
        print_json(facts)
    elif facts["ok"]:
        out.print(f"\n[bold green]All checks hold[/] ({facts['seconds']:.0f} s).")
        if keep is not None:
            out.print(f"The networks are in {keep}.")
    if not facts["ok"]:
        err.print("[bold red]A check failed; see above.[/]")
        raise typer.Exit(FAILED)


class _Demo:
    """The steps, each shown as the command that does the same."""

    def __init__(self, folder: Path, samples: int, *, quiet: bool) -> None:
        self.float_path = folder / "digits.float.safetensors"
        self.integer_path = folder / "digits.int8.safetensors"
        self.samples = samples
        self.quiet = quiet
        self.digits: Split = load_digits_split()

    def run(self) -> dict[str, Any]:
        conversion, converted = self._convert()
        float_result = self._float_accuracy(conversion)
        integer, quantized = self._quantize(conversion)
        result = self._simulate(integer, float_result)
        certificate = self._verify(integer)
        estimated = self._estimate(result)
        assert result.accuracy is not None
        assert float_result.accuracy is not None
        return {
            "ok": certificate.equal
            and converted["unexplained_mismatches"] == 0
            and result.accuracy >= float_result.accuracy - ALLOWED_LOSS,
            "accuracy": result.accuracy,
            "accuracy_float": float_result.accuracy,
            "unexplained_mismatches": converted["unexplained_mismatches"],
            "equal": certificate.equal,
            "synaptic_operations": result.ledger.synaptic_operations,
            "energy_per_inference_joules": estimated["energy_per_inference_joules"],
            "convert": converted,
            "quantize": quantized,
            "simulate": result_facts(result),
            "verify": certificate.to_dict(),
            "estimate": estimated,
        }

    def _title(self, words: str, shell: str) -> None:
        if not self.quiet:
            out.rule(f"[bold]{words}", align="left")
            out.print(f"[dim]$ trispike {shell}[/]", soft_wrap=True)

    def _convert(self) -> tuple[Network, dict[str, Any]]:
        # torch takes seconds to load, and nothing after this step needs it.
        from trispike.nn import load_checkpoint

        self._title(
            "1. convert: fold the checkpoint, and prove that nothing changed",
            f"convert {DEMO_CHECKPOINT} --arch {DEMO_ARCHITECTURE} --steps {DEMO_STEPS} "
            f"--form static --data digits -o {self.float_path.name}",
        )
        test = self.digits.test
        with as_file(files("trispike") / "demo" / DEMO_CHECKPOINT) as path:
            module = load_checkpoint(path, DEMO_ARCHITECTURE, steps=DEMO_STEPS, form="static")
        with progress_bar("proving", len(test.x)) as progress:
            conversion = convert_module(
                module,
                test.x,
                steps=DEMO_STEPS,
                proof_samples=len(test.x),
                data_description="digits:test",
                progress=progress,
            )
        save(conversion.network, self.float_path)
        facts = conversion_facts(conversion, self.float_path)
        if not self.quiet:
            print_conversion({**facts, "output": self.float_path.name})
        return conversion.network, facts

    def _float_accuracy(self, network: Network) -> Result:
        test = self.digits.test
        with progress_bar("float network", len(test.x)) as progress:
            return build_engine("reference", network).run(test.x, test.y, progress=progress)

    def _quantize(self, network: Network) -> tuple[IntegerNetwork, dict[str, Any]]:
        self._title(
            "2. quantize: 8-bit weights, 24-bit states, integer thresholds",
            f"quantize {self.float_path.name} --calibration digits:train "
            f"-o {self.integer_path.name}",
        )
        train = self.digits.train
        x, y = train.x[:256], train.y[:256]
        with progress_bar("quantizing", len(x)) as progress:
            quantization = quantize_network(network, x, y, progress=progress)
        save(quantization.network, self.integer_path)
        if not self.quiet:
            print_quantization(quantization)
        return quantization.network, quantization_facts(quantization, self.integer_path)

    def _simulate(self, network: IntegerNetwork, float_result: Result) -> Result:
        self._title(
            "3. simulate: the held-out digits on the reference engine",
            f"simulate {self.integer_path.name} --data digits",
        )
        test = self.digits.test
        with progress_bar("simulating", len(test.x)) as progress:
            result = build_engine("reference", network).run(test.x, test.y, progress=progress)
        if not self.quiet:
            print_result(result)
            out.print(
                f"test accuracy: float {percent(float_result.accuracy)}, "
                f"8-bit integers {percent(result.accuracy)}"
            )
        return result

    def _verify(self, network: IntegerNetwork) -> Certificate:
        self._title(
            "4. verify: the same network as Lava processes, bit for bit",
            f"verify {self.integer_path.name} --data digits --engines reference,lava "
            f"--samples {self.samples}",
        )
        x = self.digits.test.x[: self.samples]
        with progress_bar("verifying", 2 * len(x)) as progress:
            certificate = verify_engines(network, x, ("reference", "lava"), progress=progress)
        if not self.quiet:
            print_certificate(certificate)
        return certificate

    def _estimate(self, result: Result) -> dict[str, Any]:
        self._title(
            "5. estimate: what one inference costs",
            f"estimate {self.integer_path.name} --data digits --hardware loihi1",
        )
        priced = estimate_energy(result.ledger, load_profile("loihi1"))
        if not self.quiet:
            print_estimate(priced)
        return estimate_facts(priced, result)
