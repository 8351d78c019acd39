"""A finished comparison of driving scenes and what a step of each method costs there, in one JSON.

    python benchmarks/streets_table.py COMPARISON [--device cpu|cuda] [--turns N] [--quick] [--out FILE]

COMPARISON is the ``--out`` of ``prostate-uda compare``. All of its ``table.json`` is taken over, and ``cost`` added: of
every method a step's time and peak memory beside those of plain self-training, as ``step_bench.py`` says, with the
network, image size, channels, classes and batch size of the comparison's settings. What a round costs beyond its steps
(pseudo-labels, survey, the predictor's training) is not in it. LTIR's steps are of two kinds in turn, so let the number
of turns be even. The machine should be quiet.
"""

import argparse
from pathlib import Path
from typing import Any

from step_bench import StepBench, Workload
from tables import command, name_of, place

from prostate_uda.errors import SettingsError
from prostate_uda.methods import METHODS
from prostate_uda.recipes.devices import pick_device
from prostate_uda.recipes.record import read_json, write_json
from prostate_uda.recipes.recorded import recorded_settings
from prostate_uda.recipes.settings import AdaptSettings

NAMES = {"time_ratio": "step_ratio", "step_s": "step_s", "memory_ratio": "memory_ratio", "peak_MB": "peak_MB"}
"""Of a :class:`~step_bench.Cost`, and of the table."""


def main() -> None:
    """Measure every method, and write the comparison's table with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path, help="folder that compare has finished")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two turns")
    parser.add_argument("--out", type=Path, help="default: results/, or runs/ with --quick")
    given = parser.parse_args()
    table = read_json(given.comparison / "table.json")
    settings = settings_of(table, given.comparison)
    out = place(result_name(settings), given.out, quick=given.quick)
    device = pick_device(given.device)
    costs = StepBench(workload(settings), device).method_costs(METHODS, 2 if given.quick else given.turns)
    told = {name: {NAMES[key]: value for key, value in cost.rounded().items()} for name, cost in costs.items()}
    write_json(out, {**table, "cost": told, "cost_command": command("streets_table"), "device": name_of(device)})
    for name, cost in told.items():
        print(name, *(f"{key} {value:g}" for key, value in cost.items()), sep="  ")


def settings_of(table: dict[str, Any], comparison: Path) -> AdaptSettings:
    """What the comparison's runs have in common.

    Raises:
        SettingsError: it is none of driving scenes.
    """
    if not {"settings", "protocols"} <= table.keys():
        raise SettingsError(f"{comparison / 'table.json'} is no comparison's; give the --out of prostate-uda compare")
    settings = recorded_settings(table["settings"])
    if settings.task != "scenes":
        raise SettingsError(
            f"{comparison} compares on {settings.source}, which has no driving scenes; give a comparison that does, or "
            "call method_cost.py"
        )
    return settings


def result_name(settings: AdaptSettings) -> str:
    """Of the results: ``compare_streets_render_to_photo`` for streets-render and streets-photo."""
    target = settings.target.removeprefix("streets-") if settings.source.startswith("streets-") else settings.target
    return f"compare_{settings.source}_to_{target}".replace("-", "_")


def workload(settings: AdaptSettings) -> Workload:
    """A step of an adaptation's rounds."""
    return Workload(
        network=settings.network,
        shape=settings.shape,
        batch=settings.batch_size,
        channels=settings.channels,
        classes=len(settings.kind.classes),
        optimization=settings.optimization(settings.adapt_rate, settings.steps),
        execution=settings.execution,
    )


if __name__ == "__main__":
    main()
