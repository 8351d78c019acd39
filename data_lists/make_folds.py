"""Draws the five-fold lists of each domain from the pair list: ``python data_lists/make_folds.py``.

Every labelled case is in one fold. Folds depend on the ids and the seed alone: running this again changes no byte.
"""

from dataclasses import replace
from pathlib import Path

from prostate_uda.data.datalists import DataList
from prostate_uda.data.listed import ListedCase, ListedDomain
from prostate_uda.data.patients import folds

HERE = Path(__file__).parent
FOLDS, SEED = 5, 0


def folded(part: ListedDomain) -> ListedDomain:
    """The domain with its cases in folds."""
    by_id: dict[str, ListedCase] = {case.id: case for case in part.cases}
    drawn = folds(by_id, FOLDS, SEED)
    return replace(
        part,
        splits={f"fold-{number}": tuple(by_id[name] for name in ids) for number, ids in enumerate(drawn, start=1)},
    )


def main(out: Path = HERE) -> None:
    """Write the fold lists into ``out``."""
    pair = DataList.read(HERE / "decathlon_to_nci-isbi13.json")
    for part in pair.parts.values():
        name = f"{part.domain}_folds"
        DataList(
            name=name,
            title=f"{FOLDS} folds of the {len(part.cases)} labelled cases of {part.domain}",
            parts={"domain": folded(part)},
            made_with=f"python data_lists/make_folds.py ({FOLDS} folds, seed {SEED})",
            notes=(
                "Test on one fold, learn from the others. No publication prescribes these folds.",
                *(note for note in pair.notes if note.startswith(f"{part.domain}:")),
            ),
        ).write(out / f"{name}.json")


if __name__ == "__main__":
    main()
