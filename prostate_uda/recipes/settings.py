"""Floor 5: what a user can decide about an adaptation, checked before anything is touched."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from prostate_uda.data.domains import PhantomDomain, StreetsDomain, get_domain
from prostate_uda.data.labels import parse_label_names
from prostate_uda.data.preprocessing import WorkingGrid
from prostate_uda.engines.execution import Execution, Precision
from prostate_uda.engines.guards import Guards
from prostate_uda.errors import SettingsError, UnknownNameError
from prostate_uda.maths.label_noise import LabelNoise, read_label_noise
from prostate_uda.maths.selection import Selection
from prostate_uda.methods import METHODS, Method, Optimization, build_method
from prostate_uda.networks import NETWORKS
from prostate_uda.recipes.tasks import OF_VOLUMES, TASKS, Task, check_pair
from prostate_uda.transforms import AUGMENTATIONS

OWN = frozenset(
    {"method", "options", "warm_up", "steps", "rounds", "pseudo_threshold", "label_noise"}
    | {"target_labels", "target_label_names", "start_from"}
)
"""Settings that concern the rounds alone, not what comes before them."""
FREE = frozenset({"device", "checkpoint_every", "prefetch", "keep_identifiers", "ntm_floor"})
"""Settings that decide nothing: they may differ between a run and its resumption."""
GOES_WITH: Mapping[str, Mapping[str, str]] = {
    "recommended": {"augment": "strong", "warm_up": "adversarial"},
    "intrada": {"warm_up": "adversarial"},
}
"""Method to settings that are a part of it, unless the user says otherwise."""
WARM_UPS = ("none", "adversarial", "ltir")
PHANTOM_GRID = WorkingGrid(spacing_mm=1.5, size=96)
SCAN_GRID = WorkingGrid(spacing_mm=0.8, size=192)
SCENE_ROWS = {"small": 96, "full": 512}
"""Rows of a picture that a network sees; of other than phantoms, the full size."""


@dataclass(frozen=True, kw_only=True)
class AdaptSettings:
    """Everything ``adapt`` needs to know; the command's flags are these fields.

    Attributes:
        source: Labelled domain.
        target: Unlabelled domain.
        source_root: Folder of the source's files; phantoms need none.
        target_root: Folder of the target's files; phantoms need none.
        source_labels: Folder of the source's labels where they do not lie beside the images.
        target_labels: Likewise for the target; read by the final evaluation alone.
        data_list: File as in ``data_lists/``: who is learned from and tested on, in place of the domains' own splits.
        fold: Of a list of folds, the one to test on, from 1.
        source_label_names: What its label values mean, as ``"1=TZ,2=PZ"``; by default 1 = PZ or what the data set says.
        target_label_names: Likewise for the target.
        method: Name in ``METHODS``.
        options: Settings of the method in place of its own, by field name.
        network: Name in ``NETWORKS``.
        weights: ImageNet ResNet state dict to start from.
        depth: Adjacent slices a prediction sees: 1 is 2D, 3 or 5 is 2.5D.
        spacing_mm: In-plane spacing of the working grid; by default 1.5 mm for phantoms and 0.8 mm for scans.
        size: In-plane pixels of the working grid, by default 96 for phantoms and 192 for scans; of driving scenes rows
            of a crop twice as wide, by default 96 for phantoms and 512 else.
        normalize: Name in ``NORMALIZATIONS``, by default ``zscore``; of driving scenes ``imagenet``.
        augment: Name in ``AUGMENTATIONS``; by default what the method goes with (:data:`GOES_WITH`), else ``plain``.
        warm_up: What the first round starts from, and its pseudo-labels are of: ``none``, the source network;
            ``adversarial``, the one that the domain predictor was trained against, as the paper does; or ``ltir``, one
            adapted by that method, as in the paper's table 4. By default what the method goes with, else ``none``.
        source_steps: Steps of source training.
        predictor_steps: Steps of the domain predictor's adversarial training.
        steps: Steps of each adaptation round.
        rounds: Rounds; each begins with new pseudo-labels from the network of the round before.
        batch_size: Slices per domain and step.
        algorithm: ``adam`` or ``sgd``.
        learning_rate: Of source training.
        adapt_rate: Of the rounds and the domain predictor.
        head_factor: The heads' rate over the backbone's.
        pseudo_threshold: Pseudo-labels less confident than this are ignored; for methods that keep all of them.
        ntm_floor: When a learned NTM stops its training, see :class:`~prostate_uda.engines.guards.Guards`; 0: never.
        label_noise: ``KIND:RATE``, noise in each round's pseudo-labels; see :mod:`prostate_uda.maths.label_noise`.
        start_from: Folder of an earlier run whose source network, domain predictor and pseudo-labels of round 1's rule
            are used again, where it has them; made with the same settings but for those in :data:`OWN`.
        seed: Of everything that is random.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        checkpoint_every: Steps between checkpoints.
        precision: Of a training step, see :class:`~prostate_uda.engines.execution.Execution`.
        channels_last: Memory layout of training.
        prefetch: Batches made ahead in a thread of their own.
        keep_identifiers: Whether cases may be named after their patients, as DICOM headers tell.
        phantom_train: Training cases of a phantom.
        phantom_test: Test cases of a phantom.
        phantom_size: ``small`` or ``full``.
    """

    source: str = "phantom-3t"
    target: str = "phantom-1.5t"
    source_root: Path | None = None
    target_root: Path | None = None
    source_labels: Path | None = None
    target_labels: Path | None = None
    data_list: Path | None = None
    fold: int | None = None
    source_label_names: str | None = None
    target_label_names: str | None = None
    method: str = "metacorrection"
    options: Mapping[str, Any] = field(default_factory=dict)
    network: str = "deeplab-small"
    weights: Path | None = None
    depth: int = 1
    spacing_mm: float | None = None
    size: int | None = None
    normalize: str = ""
    augment: str = ""
    warm_up: str = ""
    source_steps: int = 600
    predictor_steps: int = 150
    steps: int = 300
    rounds: int = 1
    batch_size: int = 8
    algorithm: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 2e-3
    adapt_rate: float = 5e-4
    head_factor: float = 1.0
    pseudo_threshold: float = 0.0
    ntm_floor: float = 0.35
    label_noise: str = "none"
    start_from: Path | None = None
    seed: int = 0
    device: str = "auto"
    checkpoint_every: int = 50
    precision: Precision = "float32"
    channels_last: bool = False
    prefetch: int = 2
    keep_identifiers: bool = False
    phantom_train: int = 16
    phantom_test: int = 8
    phantom_size: Literal["small", "full"] = "small"

    def __post_init__(self) -> None:
        usual = {field.name: field.default for field in fields(self) if field.name in OF_VOLUMES}
        told = {name: getattr(self, name) for name in usual}
        check_pair(self.source, self.target, {name: told[name] for name in told if told[name] != usual[name]})
        self._say_defaults()
        for kind, name, known in (
            ("method", self.method, METHODS),
            ("network", self.network, NETWORKS),
            ("normalization", self.normalize, self.kind.normalizations),
            ("augmentation", self.augment, AUGMENTATIONS),
            ("warm-up", self.warm_up, WARM_UPS),
        ):
            if name not in known:
                raise UnknownNameError(kind, name, known)
        if self.fold is not None and self.data_list is None:
            raise SettingsError(f"fold {self.fold} of no list; give a list of folds with --data-list")
        for names in (self.source_label_names, self.target_label_names):
            if names is not None:
                parse_label_names(names)
        self._check_numbers()
        _ = self.shape, self.selection(1), self.noise, self.execution, self.guards
        for rate, steps in ((self.learning_rate, self.source_steps), (self.adapt_rate, self.steps)):
            self.optimization(rate, steps)

    def _say_defaults(self) -> None:
        """Put what the method goes with where nothing was said: a record tells what was done."""
        usually = {"augment": "plain", "warm_up": "none", "normalize": self.kind.normalizations[0]}
        for name, usual in usually.items():
            if not getattr(self, name):
                object.__setattr__(self, name, GOES_WITH.get(self.method, {}).get(name, usual))

    def _check_numbers(self) -> None:
        for name in ("source_steps", "steps", "rounds", "batch_size", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; allowed is 1 or more")
        if self.predictor_steps < 0 or not 0 <= self.seed < 2**63:
            raise SettingsError(f"predictor_steps {self.predictor_steps}, seed {self.seed}; allowed is 0 or more")
        if self.warm_up == "adversarial" and self.predictor_steps == 0:
            raise SettingsError(
                "warm_up 'adversarial' beside predictor_steps 0, which trains no such network; give more"
            )
        if self.phantom_size not in ("small", "full"):
            raise SettingsError(f"phantom_size is {self.phantom_size!r}; choose small or full")
        if self.depth < 1 or self.depth % 2 == 0:
            raise SettingsError(f"depth is {self.depth} slices; allowed is an odd number: 1 for 2D, 3 or 5 for 2.5D")
        if not 0 <= self.pseudo_threshold < 1:
            raise SettingsError(f"pseudo_threshold is {self.pseudo_threshold}; allowed is 0 ≤ threshold < 1")

    def build_method(self) -> Method:
        """The method with the user's options.

        Raises:
            SettingsError: an option the method does not have, or a value it refuses.
        """
        return build_method(self.method, **self.options)

    @property
    def task(self) -> str:
        """What is segmented, a name in ``TASKS``: the source's, and the target's."""
        return get_domain(self.source).task

    @property
    def kind(self) -> Task:
        """The task itself."""
        return TASKS[self.task]

    @property
    def channels(self) -> int:
        """Of the network's input."""
        return self.kind.channels(self.depth)

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` of the network's input in training."""
        if self.task == "zones":
            return self.grid.size, self.grid.size
        rows = self.size or SCENE_ROWS[self.phantom_size if self.on_phantoms else "full"]
        return self.kind.crop(rows)

    @property
    def on_phantoms(self) -> bool:
        """Whether both domains are generated."""
        return all(isinstance(get_domain(name), PhantomDomain | StreetsDomain) for name in (self.source, self.target))

    @property
    def trains_predictor(self) -> bool:
        """Whether there is a stage for the domain predictor: for the method, or for the network that comes of it."""
        needed = self.warm_up == "adversarial" or "domain_predictor" in self.build_method().needs
        return needed and self.predictor_steps > 0

    @property
    def before_rounds(self) -> "AdaptSettings | None":
        """Of the round that comes before the first one, where the warm-up is a method of its own."""
        if self.warm_up not in METHODS or self.method == "source-only":
            return None
        return replace(self, method=self.warm_up, options={}, warm_up="none", pseudo_threshold=0.0, label_noise="none")

    def selection(self, number: int) -> Selection:
        """Which pixels a round's pseudo-labels keep: the method's own rule, or ``pseudo_threshold`` where it keeps all.

        Raises:
            SettingsError: there is a rule and a ``pseudo_threshold``; as :meth:`build_method`.
        """
        rule = self.build_method().selection(number)
        if self.pseudo_threshold and rule != Selection():
            raise SettingsError(
                f"pseudo_threshold {self.pseudo_threshold} beside {self.method}'s own rule, {rule}; set its options"
            )
        return Selection(threshold=self.pseudo_threshold) if self.pseudo_threshold else rule

    @property
    def noise(self) -> LabelNoise | None:
        """What is injected into pseudo-labels.

        Raises:
            SettingsError: the text says no noise, or the method learns from no label of a file, or counts errors of the
                round's teacher, which would not be the noise.
        """
        noise, needs = read_label_noise(self.label_noise, self.seed), self.build_method().needs
        if noise is not None and ("pseudo_labels" not in needs or {"teacher", "confusion"} & needs):
            raise SettingsError(
                f"label_noise {self.label_noise} beside {self.method}, which does not learn from the labels that it "
                "would change; leave it out, or give a method such as self-training"
            )
        return noise

    def optimization(self, rate: float, steps: int) -> Optimization:
        """How parameters move in a stage of this length.

        Raises:
            SettingsError: a rate, factor or algorithm that is not allowed.
        """
        return Optimization(
            algorithm=self.algorithm, learning_rate=rate, head_factor=self.head_factor, total_steps=steps
        )

    @property
    def execution(self) -> Execution:
        """How steps are computed.

        Raises:
            SettingsError: a precision or a number of batches that is not allowed.
        """
        return Execution(precision=self.precision, channels_last=self.channels_last, prefetch=self.prefetch)

    @property
    def guards(self) -> Guards:
        """When a stage is stopped; SettingsError where the floor is not allowed."""
        return Guards(ntm_floor=self.ntm_floor)

    @property
    def grid(self) -> WorkingGrid:
        """The grid slices are cut on."""
        small = self.phantom_size == "small" and self.on_phantoms
        default = PHANTOM_GRID if small else SCAN_GRID
        return WorkingGrid(
            spacing_mm=default.spacing_mm if self.spacing_mm is None else self.spacing_mm,
            size=default.size if self.size is None else self.size,
        )

    def record(self) -> dict[str, Any]:
        """The settings as JSON knows them."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
