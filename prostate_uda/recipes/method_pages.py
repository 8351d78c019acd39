"""Floor 5: pages of the documentation that are made of the registry and of what was measured.

``python -m prostate_uda.recipes.method_pages`` in the repository's root writes them (``make docs``):
``docs/methods/README.md``, the table of all methods, and ``docs/results.md``, all rows of the phantom's comparisons.
"""

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prostate_uda.methods import METHODS
from prostate_uda.recipes.comparison.grid import ORACLE, SOURCE_ONLY, lent
from prostate_uda.recipes.comparison.sheets import brief, sheet
from prostate_uda.recipes.comparison.texts import markdown
from prostate_uda.recipes.record import read_json
from prostate_uda.recipes.settings import GOES_WITH

PAGES, RESULTS = Path("docs/methods"), Path("benchmarks/results")
MEASURED = {"compare_phantom_*.json": ("Dice", ("PZ", "TZ", "WP")), "compare_streets_*.json": ("IoU", ("mIoU",))}
"""Files of comparisons below :data:`RESULTS`, what they are of, and which columns of theirs are shown."""
LENT = lent("strong")
BESIDE = (LENT, ORACLE)
"""Rows of a comparison that are no methods."""
NOTHING = "-"
DISTANCES = ("HD95", "ASSD")
RESULTS_PAGE = """# What it reaches on the phantom

Made by `make docs` from `benchmarks/results/`; not to be edited. What follows from it is in the
[README](../README.md#what-it-reaches), what the columns are in [`compare.md`](compare.md).

Each seed has its own cohort of 16 + 16 training and 8 + 8 test cases, its own network and batches; otherwise the
defaults of `adapt`. ∞: a case without any gland found. `cbst?portion=0.5` is `--method cbst --set portion=0.5`. Every
self-training method lets batch normalization follow the target (AdaBN) and source-only does not: that is a part of what
they gain ([decision 0003](decisions/0003-batch-norm-follows-the-target.md)). `advent`, `intrada`, `pycda`, `mlsl`,
`ltir`, `cag` and `patch-align` were compared on streets alone ([`scenes.md`](scenes.md)).
"""
INTRODUCTION = """# Methods

Made by `make docs` from the registry and `benchmarks/results/`; not to be edited. What each method may be `--set`
to is on its page; `prostate-uda cite METHOD` prints whom to cite.
"""


def write_overview(root: Path) -> Path:
    """Write the page of a repository.

    Args:
        root: Of the repository.

    Raises:
        CheckpointError: a result is no JSON object.
    """
    page = root / PAGES / "README.md"
    page.write_text(overview(root), encoding="utf-8")
    return page


def overview(root: Path) -> str:
    """The page, in Markdown: every method, what it needs and costs, and its Dice or mIoU where it was compared.

    Args:
        root: Of the repository.

    Raises:
        CheckpointError: a result is no JSON object.
    """
    parts = [INTRODUCTION, *_registry(root / PAGES, root / RESULTS / "method_cost.json")]
    for pattern, shown in MEASURED.items():
        for path in sorted((root / RESULTS).glob(pattern)):
            parts += _scores(read_json(path), path.relative_to(root), *shown)
    return "\n".join(parts)


def results(root: Path) -> str:
    """The page of the phantom's comparisons, in Markdown: all their rows, and the command of each.

    Args:
        root: Of the repository.

    Raises:
        CheckpointError: a result is no JSON object.
    """
    parts = [RESULTS_PAGE]
    for path in sorted((root / RESULTS).glob("compare_phantom_*.json"), reverse=True):
        compared = read_json(path)
        made = f"`{compared['command']}` → `{path.relative_to(root).as_posix()}`\n"
        parts += ["#" + markdown(sheet(numbered(compared), brief(compared))), made]
    return "\n".join(parts)


def numbered(compared: Mapping[str, Any]) -> dict[str, Any]:
    """``table.json`` as it was before it was written: JSON has neither NaN nor ∞."""
    return {
        **compared,
        "protocols": {
            protocol: {row: _numbered(cells) for row, cells in rows.items()}
            for protocol, rows in compared["protocols"].items()
        },
    }


def _numbered(cells: Mapping[str, Any]) -> dict[str, Any]:
    """A row; where the Dice is known a distance that is not is of a case without any gland."""
    found = {}
    for name, cell in cells.items():
        lost = math.inf if name in DISTANCES and cells["WP"]["mean"] is not None else math.nan
        for key, gone in (("mean", lost), ("sd", math.nan)):
            if key in cell and cell[key] is None:
                cell = {**cell, key: gone}
        found[name] = cell
    return found


def page_of(name: str, pages: Path) -> str | None:
    """The page that tells of a method: its own where there is one, else that of the file which its class is in.

    Args:
        name: In ``METHODS``.
        pages: The folder; ``None`` comes back where neither page is in it.
    """
    module = type(METHODS[name]()).__module__.rpartition(".")[2]
    files = (f"{name.replace('-', '_')}.md", f"{module}.md")
    return next((file for file in files if (pages / file).is_file()), None)


def _registry(pages: Path, costs: Path) -> list[str]:
    """A row per method; a column of costs per network that was measured."""
    measured = read_json(costs) if costs.exists() else {"rows": []}
    cases = list(dict.fromkeys((row["network"], row["size"]) for row in measured["rows"]))
    found = {(row["network"], row["size"], row["method"]): row for row in measured["rows"]}
    rows = []
    for name in METHODS:
        page = page_of(name, pages)
        shown = f"[`{name}`]({page})" if page else f"`{name}`"
        needs = ", ".join(sorted(need.replace("_", " ") for need in METHODS[name]().needs)) or NOTHING
        cost = [_cost(found.get((*case, name))) for case in cases]
        rows.append([shown, what_it_does(name), needs, *cost])
    titles = ["method", "what it does", "needs", *(f"step on `{network}`, {size}²" for network, size in cases)]
    return [*_table(titles, rows), _told_cost(measured, costs.name)]


def _told_cost(measured: Mapping[str, Any], file: str) -> str:
    if not measured["rows"]:
        return "What a step costs has not been measured yet (`python benchmarks/method_cost.py`).\n"
    return (
        "A step's time and peak memory over those of a step of plain self-training, pseudo-labels and the domain "
        f"predictor's training not included: `{measured['command']}` on {measured['device']} (`{file}`).\n"
    )


def what_it_does(name: str) -> str:
    """First line of the class, and what the registry sets of it."""
    factory = METHODS[name]
    told = (inspect.getdoc(type(factory())) or "").partition("\n")[0].replace("``", "`")
    fixed = factory.keywords if isinstance(factory, partial) else {}
    return told + "".join(f" Here `{key}={value}`." for key, value in fixed.items())


def _cost(row: Mapping[str, Any] | None) -> str:
    return NOTHING if row is None else f"{row['time_ratio']:.2f} / {row['memory_ratio']:.2f}"


def _scores(compared: Mapping[str, Any], file: Path, headline: str, measures: Sequence[str]) -> list[str]:
    """A comparison's methods that are in the registry, what they are seen beside, these columns of each protocol."""
    protocols: Mapping[str, Mapping[str, Any]] = compared["protocols"]
    rows = []
    for name in sorted((*METHODS, *BESIDE), key=_place):
        scores = [protocol.get(name, {}).get(column) for protocol in protocols.values() for column in measures]
        if any(scores):
            rows.append([f"`{name}`", *map(_spread, scores)])
    titles = [headline, *(f"{protocol}: {column}" for protocol in protocols for column in measures)]
    return [
        f"## {compared['source']} → {compared['target']}\n",
        *_table(titles, rows),
        *_told_lent([row[0] for row in rows]),
        f"Mean ± sd over {len(compared['seeds'])} seeds: `{compared['command']}` (`{file.as_posix()}`).\n",
    ]


def _place(row: str) -> int:
    """Where a row stands: source-only with another augmentation below source-only, the ceiling last."""
    order = [*METHODS]
    order.insert(order.index(SOURCE_ONLY) + 1, LENT)
    return order.index(row) if row in order else len(order)


def _told_lent(shown: Sequence[str]) -> list[str]:
    """What the methods that bring another augmentation than their column's are to be seen beside."""
    own = [f"`{name}`" for name, changes in GOES_WITH.items() if "augment" in changes and f"`{name}`" in shown]
    brings = (
        f"{', '.join(own)} brings strong augmentation in every column: see it beside `{LENT}`. `{ORACLE}` is trained "
        "with the column's own.\n"
    )
    return [brings] if own and f"`{LENT}`" in shown else []


def _spread(score: Mapping[str, Any] | None) -> str:
    if not score or score["mean"] is None:
        return NOTHING
    return f"{score['mean']:.1f}" + (f" ± {score['sd']:.1f}" if score["sd"] is not None else "")


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """In Markdown; an empty line follows."""
    lines = [titles, ["---"] * len(titles), *rows]
    return [*("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines), ""]


if __name__ == "__main__":
    write_overview(Path())
    (Path("docs") / "results.md").write_text(results(Path()), encoding="utf-8")
