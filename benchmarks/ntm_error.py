"""How near each NTM of a comparison comes to the true one, which is counted afterwards from the target's truth.

    python benchmarks/ntm_error.py COMPARISON [COMPARISON …] [--out FILE]

Of every finished run of a comparison (``prostate-uda compare``) that has an NTM: mean |T - T_true| over the entries, at
its start, at its end and of the identity, at each level. T_true is p(pseudo = k | true = j) over the last round's
pseudo-labels and the truth of the target's training cases, which nothing else reads; runs on a target without one are
left out.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tables import command, spread

from prostate_uda.engines import checkpoints
from prostate_uda.maths import noise
from prostate_uda.methods import MetaCorrection
from prostate_uda.recipes.comparison.queue import finished_runs
from prostate_uda.recipes.plot_noise import ntm_error, true_ntm
from prostate_uda.recipes.record import Record, versions, write_json
from prostate_uda.recipes.recorded import recorded_settings

HERE = Path(__file__).parent
NTMS = ("start", "end", "identity")


def rows_of(comparison: Path) -> Iterator[dict[str, Any]]:
    """A row per run with an NTM and a truth."""
    for run in finished_runs(comparison):
        content = Record.read(run / "run.json").content
        settings = recorded_settings(content["settings"])
        method = settings.build_method()
        if not isinstance(method, MetaCorrection):
            continue
        true = true_ntm(run, settings, content["hashes"])
        if true is not None:
            tensors = checkpoints.load(run / "checkpoints" / f"round_{settings.rounds}.pt")["state"]["tensors"]
            yield {
                "source": settings.source,
                "protocol": run.parent.parent.name,
                "row": run.name,
                "seed": settings.seed,
                **errors(method, tensors, true),
                "true": [[round(float(entry), 4) for entry in row] for row in true],
            }


def errors(method: MetaCorrection, tensors: dict[str, torch.Tensor], true: NDArray[np.float64]) -> dict[str, Any]:
    """Mean |T - T_true| of each NTM, per level where levels differ."""
    size = len(true)
    start = tensors.get("ntm_start", noise.start(size, method.epsilon)).double().numpy()
    return {
        "start": round(ntm_error(start, true), 4),
        "end": [round(ntm_error(level, true), 4) for level in tensors["ntm"].double().numpy()],
        "identity": round(ntm_error(np.eye(size), true), 4),
    }


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over the seeds, the last level's."""
    keys = dict.fromkeys((row["source"], row["protocol"], row["row"]) for row in rows)
    told = []
    for key in keys:
        mine = [row for row in rows if (row["source"], row["protocol"], row["row"]) == key]
        found = {name: [row[name][-1] if name == "end" else row[name] for row in mine] for name in NTMS}
        named = dict(zip(("source", "protocol", "row"), key, strict=True))
        told.append({**named, **{name: spread([100 * value for value in found[name]]) for name in NTMS}})
    return told


def main() -> None:
    """Read the comparisons and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparisons", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "ntm_error.json")
    given = parser.parse_args()
    rows = [row for comparison in given.comparisons for row in rows_of(comparison)]
    told = summary(rows)
    unit = "mean |T - T_true| in hundredths, last level"
    write_json(
        given.out,
        {"command": command("ntm_error"), "versions": versions(), "unit": unit, "summary": told, "rows": rows},
    )
    for line in told:
        spreads = ", ".join(f"{name} {line[name]['mean']} ± {line[name]['sd']}" for name in NTMS)
        print(f"{line['source']}, {line['protocol']}, {line['row']}: {spreads}")


if __name__ == "__main__":
    main()
