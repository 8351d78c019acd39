"""Floor 5: ``docs/methods/README.md``, the table of all methods, made of the registry and of what was measured.

``python -m prostate_uda.recipes.method_pages`` in the repository's root writes it (``make docs``).
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prostate_uda.methods import METHODS
from prostate_uda.recipes.comparison.grid import ORACLE, SOURCE_ONLY, lent
from prostate_uda.recipes.record import read_json
from prostate_uda.recipes.settings import GOES_WITH

PAGES, RESULTS = Path("docs/methods"), Path("benchmarks/results")
MEASURED = {"compare_phantom_*.json": ("Dice", ("PZ", "TZ", "WP")), "compare_streets_*.json": ("IoU", ("mIoU",))}
"""Files of comparisons below :data:`RESULTS`, what they are of, and which columns of theirs are shown."""
LENT = lent("strong")
BESIDE = (LENT, ORACLE)
"""Rows of a comparison that are no methods."""
NOTHING = "-"
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
