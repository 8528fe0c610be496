"""One run of all benchmarks: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.case import Case
from benchmarks.contestants import CONTESTANTS, FAST_MEMORY
from benchmarks.networks import random_case, trained_cases
from benchmarks.provenance import provenance, warnings
from benchmarks.report import print_results, write_results
from benchmarks.scaling import Plan, exponents
from benchmarks.targets import MAIN_CASE, targets
from benchmarks.timing import Rounds, interleave, spread
from benchmarks.worker import ROOT, THREAD_VARIABLES, Worker, WorkerError

INTEROP = ROOT / ".venv-interop" / "bin" / "python"
"""Has SpikingJelly, if ``make interop`` or ``make bench`` has made it."""

EVERYONE = tuple(CONTESTANTS)
FLOATS = ("fast", "eager", "spikingjelly", "snntorch")
CASES = ("demo", "fashion", MAIN_CASE, "ternary-spike-resnet19", "lif-resnet19")
PARTS = (*CASES, "scaling")
"""What --only can name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much is measured."""

    parts: tuple[str, ...]
    """What is measured unless --only says otherwise."""
    samples: dict[str, int]
    """Per run of a contestant, by case. Powers of two."""
    rounds: int
    allowance: float
    """Seconds that one contestant may spend on one case, preparation aside."""
    stock_steps: int
    placement_rounds: int
    memory_samples: dict[str, int]
    """By case: in how many samples the peak of the memory is looked at."""
    scaling_samples: int
    steps: tuple[int, ...]
    batches: tuple[int, ...]
    widths: tuple[int, ...]
    """Channels of the first stage of ResNet-19, besides the published 128."""
    rates: tuple[float, ...]
    """Firing rates that are asked of all layers alike."""
    rate_width: int
    """Channels of the first stage where the rate is varied."""


FULL = Settings(
    parts=PARTS,
    samples=dict(zip(CASES, (256, 256, 16, 8, 8), strict=True)),
    rounds=5,
    allowance=25,
    stock_steps=2,
    placement_rounds=3,
    memory_samples={"demo": 10_000, MAIN_CASE: 128},
    scaling_samples=8,
    steps=(2, 4, 8, 16),
    batches=(4, 8, 16, 32, 64),
    widths=(16, 32, 64),
    rates=(0.02, 0.05, 0.1, 0.2, 0.4),
    rate_width=64,
)
QUICK = Settings(
    parts=("demo", "fashion", MAIN_CASE, "scaling"),
    samples=dict(zip(CASES, (64, 64, 4, 4, 4), strict=True)),
    rounds=3,
    allowance=6,
    stock_steps=1,
    placement_rounds=1,
    memory_samples={"demo": 10_000},
    scaling_samples=4,
    steps=(4, 8, 16),
    batches=(4, 8, 16),
    widths=(32,),
    rates=(0.02, 0.1, 0.4),
    rate_width=32,
)
TITLES = {
    MAIN_CASE: "CTSN ResNet-19, 32x32x3, random weights",
    "ternary-spike-resnet19": "Ternary Spike ResNet-19, 32x32x3, random weights",
    "lif-resnet19": "binary LIF ResNet-19, 32x32x3, random weights",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write, print. The exit status says nothing about targets."""
    options = _options(arguments)
    settings = QUICK if options.quick else FULL
    start = time.perf_counter()
    results: dict[str, Any] = {
        "format": 1,
        "command": " ".join(["python -m benchmarks", *(arguments or sys.argv[1:])]),
        "settings": {**asdict(settings), "threads": options.threads, "only": options.only},
        "provenance": provenance(INTEROP if INTEROP.exists() else None),
    }
    results["warnings"] = warnings(results["provenance"])
    for warning in results["warnings"]:
        _say(f"warning: {warning}")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), settings, options.threads, options.only or settings.parts)
        results |= bench.run()
    results["exponents"] = exponents(results["scaling"])
    results["targets"] = [asdict(target) for target in targets(results)]
    results["provenance"]["load_at_end"] = os.getloadavg()[0]
    results["provenance"]["seconds"] = time.perf_counter() - start
    files = write_results(results, options.output)
    print_results(results)
    print("\nwritten: " + ", ".join(map(str, files)))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under three minutes, rougher")
    parser.add_argument(
        "--only",
        action="append",
        choices=PARTS,
        metavar="PART",
        help="one of " + ", ".join(PARTS) + "; may be repeated",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="that each contestant may use; default: one per processor",
    )
    parser.add_argument("--output", type=Path, default=Path("out/bench"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error("--threads has to be at least 1")
    return options


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


class Bench:
    """The parts of a run, in order.

    Args:
        folder: For the networks; may be deleted afterwards.
        settings: How much.
        threads: Per contestant.
        parts: What to measure, out of ``PARTS``.
    """

    def __init__(
        self, folder: Path, settings: Settings, threads: int, parts: Sequence[str]
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.threads = threads
        self.parts = parts
        torch.set_num_threads(threads)

    def run(self) -> dict[str, Any]:
        """Everything that is measured, as JSON."""
        results: dict[str, Any] = {
            "cases": [], "stock_lava": {}, "placements": [], "memory": [], "scaling": {}
        }  # fmt: skip
        self.rates: list[float] = []
        for case in self._cases():
            if case.name not in self.parts:
                continue
            results["cases"].append(self._contest(case))
            if case.facts["recipe"]["arch"].startswith("ctsn"):
                results["stock_lava"] |= self._stock(case)
            if case.name == MAIN_CASE:
                results["placements"] = self._placements(case)
            results["memory"] += self._memory(case)
        if "scaling" in self.parts:
            results["scaling"] = self._scaling()
        return results

    def _cases(self) -> Iterator[Case]:
        """The cases, made one by one; the rates of a trained one become those of random ones."""
        _say("networks: trained")
        for case in trained_cases(self.folder, max(self.settings.samples.values())):
            self.rates = list(case.facts["rates"].values())
            yield case
        for name, title in TITLES.items():
            if name in self.parts:
                _say(f"networks: {name}")
                yield self._random(name, title)

    def _random(self, name: str, title: str) -> Case:
        arch = f"ctsn-{name}" if name == MAIN_CASE else name
        return random_case(self.folder, name=name, title=title, arch=arch, rates=self.rates)

    def _narrow(self, name: str, width: int, rates: Sequence[float]) -> str:
        """The folder of a narrower network of the main case."""
        case = random_case(
            self.folder,
            name=name,
            title=TITLES[MAIN_CASE],
            arch=f"ctsn-{MAIN_CASE}",
            rates=rates,
            widths=(width, 2 * width, 4 * width),
        )
        return str(case.folder)

    def _contest(self, case: Case) -> dict[str, Any]:
        """All contestants on one case, interleaved."""
        samples = self.settings.samples[case.name]
        is_ctsn = case.facts["recipe"]["arch"].startswith("ctsn")
        workers: dict[str, Worker] = {}
        missing = []
        with ExitStack() as stack:
            for name in EVERYONE if is_ctsn else FLOATS:
                _say(f"{case.name}: preparing {name}")
                try:
                    workers[name] = self._worker(name, case, samples)
                    stack.callback(workers[name].close)
                    workers[name].run()  # whoever fails does so here, and is warm afterwards
                except WorkerError as error:
                    workers.pop(name, None)
                    title = CONTESTANTS[name].title
                    missing.append({"name": name, "title": title, "reason": str(error)})
            _say(f"{case.name}: measuring")
            rounds = interleave(
                {name: worker.run for name, worker in workers.items()},
                rounds=self.settings.rounds,
                allowance=self.settings.allowance,
                warm_up=False,
            )
            rows = [_row(name, workers, rounds) for name in workers]
        return {**case.facts, "samples": samples, "contestants": rows, "missing": missing}

    def _worker(self, name: str, case: Case, samples: int) -> Worker:
        contestant = CONTESTANTS[name]
        python = sys.executable
        if contestant.is_interop:
            if not INTEROP.exists():
                raise WorkerError("its environment is missing; `make bench` makes it")
            python = str(INTEROP)
        count = max(1, samples // contestant.share)
        return Worker(name, case, count, self.threads, python)

    def _stock(self, case: Case) -> dict[str, Any]:
        _say(f"{case.name}: Lava's stock processes")
        order = [str(case.folder.absolute()), str(self.settings.stock_steps)]
        result = self._python("benchmarks.stock_lava", *order)
        return {case.name: result} if result else {}

    def _placements(self, case: Case) -> list[dict[str, Any]]:
        _say(f"{case.name}: placement on Loihi")
        order = [str(case.folder.absolute()), str(self.settings.placement_rounds)]
        result = self._python("benchmarks.placement", *order)
        return result["placements"] if result else []

    def _memory(self, case: Case) -> list[dict[str, Any]]:
        samples = self.settings.memory_samples.get(case.name)
        if not samples:
            return []
        _say(f"{case.name}: memory of {samples} samples")
        try:
            worker = Worker("fast", case, samples, self.threads)
            worker.run()
        except WorkerError:  # told before, where it was to compete
            return []
        worker.close()
        return [
            {
                "case": case.name,
                "samples": samples,
                "budget_bytes": FAST_MEMORY,
                "used_bytes": worker.memory["used"],
                "peak_bytes": worker.memory["peak"],
            }
        ]

    def _scaling(self) -> dict[str, Any]:
        _say("scaling: networks")
        folder = self.folder / MAIN_CASE
        if not folder.exists():
            self._random(MAIN_CASE, TITLES[MAIN_CASE])
        asked = self.settings
        widths = {self._narrow(f"width-{n}", n, self.rates): n for n in asked.widths}
        rates = {self._narrow(f"rate-{r}", asked.rate_width, [r]): r for r in asked.rates}
        plan = Plan(
            case=str(folder),
            widths={**widths, str(folder): 128},
            rates=rates,
            samples=asked.scaling_samples,
            steps=asked.steps,
            batches=asked.batches,
            rounds=asked.rounds,
            threads=self.threads,
        )
        _say("scaling: measuring")
        return self._python("benchmarks.scaling", json.dumps(asdict(plan))) or {}

    def _python(self, module: str, *words: str) -> dict[str, Any] | None:
        """What a module prints as JSON in a process of its own; None if it fails."""
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(self.threads))}
        command = [sys.executable, "-m", module, *words]
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
        )
        if result.returncode:
            _say(f"{module} failed:\n{result.stderr}")
            return None
        found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return found


def _row(name: str, workers: dict[str, Worker], rounds: Rounds) -> dict[str, Any]:
    """What is told of a contestant."""
    contestant, worker = CONTESTANTS[name], workers[name]
    seconds = rounds.median(name)
    row = {
        "name": name,
        "title": contestant.title,
        "about": contestant.about,
        "computes": contestant.computes,
        "samples": worker.samples,
        "rounds": len(rounds.seconds[name]),
        "seconds": list(rounds.seconds[name]),
        "seconds_per_sample": seconds / worker.samples,
        "spread": spread(rounds.seconds[name]),
        "setting": worker.facts.get("setting"),
        "peak_bytes": worker.memory["peak"],
        "used_bytes": worker.memory["used"],
        "times_fast": None,
        "is_equal": None,
        "agreement": None,
    }
    if "fast" in workers:
        fast = workers["fast"]
        row["times_fast"] = rounds.ratio(name, "fast") * fast.samples / worker.samples
        if worker.logits is not None and fast.logits is not None:
            ours, theirs = fast.logits[: worker.samples], worker.logits
            row["agreement"] = float((ours.argmax(1) == theirs.argmax(1)).mean())
            if contestant.computes == "integers":
                row["is_equal"] = bool((ours == theirs).all())
    if "macs" in worker.facts:
        row["macs_per_second"] = worker.facts["macs"] / seconds
    if "bytes" in worker.facts:
        row["bytes_per_second"] = worker.facts["bytes"] / seconds
    if "chip_steps" in worker.facts:
        row["seconds_per_chip_step"] = seconds / worker.facts["chip_steps"]
    return row
