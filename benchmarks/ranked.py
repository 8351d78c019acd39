"""What ``rank`` puts first among a comparison's own rows, and how good that is: mean Dice over seeds.

    python benchmarks/ranked.py RANK.json=TABLE.json [RANK.json=TABLE.json …] [--out FILE]

``RANK.json`` is of ``prostate-uda rank``, ``TABLE.json`` of ``prostate-uda compare`` on the same runs. Rows that the
table does not have (ablations in the same folder) are left out and the others ranked anew, within each protocol and
over both.
"""

import argparse
import math
from pathlib import Path
from typing import Any

from tables import command, spread

from prostate_uda.recipes.comparison.grid import folder_name
from prostate_uda.recipes.rank import ALL, ANYWHERE, CRITERIA, agreement, ranked
from prostate_uda.recipes.record import read_json, versions, write_json

HERE = Path(__file__).parent


def judged(ranks: Path, table: Path) -> dict[str, Any]:
    """Of each protocol, and of both: what is put first, its Dice, and the best there is."""
    compared = read_json(table)
    known = {folder_name(row) for rows in compared["protocols"].values() for row in rows}
    rows = ranked([numbers(row) for row in read_json(ranks)["rows"] if row["row"] in known])
    found = {}
    for protocol, criteria in agreement(rows).items():
        mine = [row for row in rows if protocol in (row["protocol"], ANYWHERE)]
        best = [max(row["dice"] for row in mine if row["seed"] == seed) for seed in compared["seeds"]]
        found[protocol] = {
            "networks": len(mine),
            "best": spread(best),
            **{name: told(criteria[name], best) for name in (*CRITERIA, ALL)},
        }
    return {"source": compared["source"], "target": compared["target"], "protocols": found}


def numbers(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no -∞."""
    return row | {name: math.nan if row[name] is None else row[name] for name in CRITERIA}


def told(criterion: dict[str, Any], best: list[float]) -> dict[str, Any]:
    """What a criterion chose of each seed, and its Dice."""
    dice = [most - less for most, less in zip(best, criterion["regrets"], strict=True)]
    return {"chosen": criterion["chosen"], "dice": spread(dice), "spearman": round(criterion["spearman"], 3)}


def main() -> None:
    """Judge, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", help="RANK.json=TABLE.json")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "ranked.json")
    given = parser.parse_args()
    found = [judged(*map(Path, pair.split("=", 1))) for pair in given.pairs]
    write_json(given.out, {"command": command("ranked"), "versions": versions(), "comparisons": found})
    for one in found:
        for protocol, rule in one["protocols"].items():
            chosen, best = rule[ALL], rule["best"]
            print(
                f"{one['source']} → {one['target']}, {protocol}: {chosen['dice']['mean']} ± {chosen['dice']['sd']} "
                f"({', '.join(chosen['chosen'])}); best {best['mean']} ± {best['sd']}"
            )


if __name__ == "__main__":
    main()
