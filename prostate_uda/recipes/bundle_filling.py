"""Floor 5: what a run leaves in its bundle beside the network: how to train it again, and a page of its figures."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prostate_uda.recipes.record import read_json, whole, write_json
from prostate_uda.transforms import AUGMENTATIONS

SOURCE_ONLY = "source-only"
SCORES = ("PZ", "TZ", "WP")
STAGES = {
    "source_only_on_source": "source network, source's held-out cases",
    "source_only": "source network, target's test cases",
    "adapted": "adapted network, target's test cases",
}
"""What a run judges, in the order and the words of the page."""
BEGIN, END = "<!-- performance -->", "<!-- end of performance -->"
"""Around what :func:`fill_readme` puts in."""


def fill_training(
    configs: Path,
    network: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    depth: int,
    settings: Mapping[str, Any],
) -> None:
    """Put a run's settings into ``train.json`` and ``adapt.json``; what it does not say stays as the template has it.

    Args:
        configs: The folder of the two.
        network: The network inside ``FinalLogits``.
        preprocessing: As ``inference.json`` has it.
        depth: Adjacent slices per image.
        settings: Of ``adapt``, as recorded.
    """
    train, adapt = read_json(configs / "train.json"), read_json(configs / "adapt.json")
    train["network_def"]["network"] = dict(network)
    train["preprocessing"] = dict(preprocessing)
    train["depth"] = depth
    _copy(settings, train, batch_size="batch_size", learning_rate="learning_rate")
    _copy(settings, train["optimization"], algorithm="algorithm", head_factor="head_factor")
    if settings.get("augment") in AUGMENTATIONS:
        chosen = AUGMENTATIONS[settings["augment"]]
        train["train"]["preprocessing"] = {"_target_": f"{chosen.__module__}.{chosen.__qualname__}"}
    _copy(settings, adapt, adapt_rate="learning_rate", predictor_steps="predictor_steps")
    _copy(settings, adapt, pseudo_threshold="pseudo_threshold")
    for config, steps in ((train, "source_steps"), (adapt, "steps")):
        if steps in settings:
            config["epochs"] = math.ceil(settings[steps] / train["epoch_length"])
    if settings.get("method", SOURCE_ONLY) != SOURCE_ONLY:
        adapt["method"] |= {"name": settings["method"], **settings.get("options", {})}
        adapt["warm_up"] = settings.get("warm_up", "none") == "adversarial"
    write_json(configs / "train.json", train)
    write_json(configs / "adapt.json", adapt)


def _copy(settings: Mapping[str, Any], config: dict[str, Any], **names: str) -> None:
    """What the settings say, under the config's names; settings' name to config's."""
    config |= {theirs: settings[ours] for ours, theirs in names.items() if ours in settings}


def fill_readme(page: Path, told: str) -> None:
    """Put the run's figures where the page says that there are none.

    Args:
        page: The bundle's ``docs/README.md``.
        told: The figures, see :func:`performance`.
    """
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    with whole(page) as partial:
        partial.write_text(f"{before}{BEGIN}\n{told}\n{END}{after}", encoding="utf-8")


def performance(provenance: Mapping[str, Any]) -> str:
    """A run's mean Dice as a table, and how many cases it is of; a sentence where nothing was judged.

    Args:
        provenance: The run's record; ``results`` by stage, ``cases`` by role and part.
    """
    rows = [
        f"| {title} | {' | '.join(figure(provenance['results'][stage].get(zone)) for zone in SCORES)} |"
        for stage, title in STAGES.items()
        if any(is_known(provenance.get("results", {}).get(stage, {}).get(zone)) for zone in SCORES)
    ]
    if not rows:
        return "Not measured: no case of the run had labels to judge by."
    told = f"Mean Dice over the cases on their own grids {judged_on(provenance, 'cases')}"
    return "\n".join([told, "", "| | PZ | TZ | whole prostate |", "|---|---|---|---|", *rows])


def judged_on(provenance: Mapping[str, Any], things: str) -> str:
    """How many of what a run was judged on, and what it did not use, as the rest of a sentence.

    Args:
        provenance: The run's record; ``settings``, and ``cases`` by role and part.
        things: What a case is called.
    """
    settings = provenance.get("settings", {})
    source, target = settings.get("source", "the source"), settings.get("target", "the target")
    counts = {role: len(parts.get("test", ())) for role, parts in provenance.get("cases", {}).items()}
    told = f"(source: {source}, {counts.get('source', 'unsaid')} {things} held out; target: {target}, "
    told += f"{counts.get('target', 'unsaid')} test {things}). One run; no target label was used to train or to choose."
    return told


def is_known(value: object) -> bool:
    """Whether a record has a number there."""
    return isinstance(value, int | float) and math.isfinite(value)


def figure(value: Any) -> str:  # noqa: ANN401  JSON is any
    """A number of a table; a dash where there is none."""
    return f"{value:.3f}" if is_known(value) else "-"
