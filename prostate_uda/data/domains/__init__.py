"""Floor 2: the domains by name. A new site is a file here, a line below, and a test."""

from prostate_uda.data.domains.base import Case, Domain, Found, Split, split_cases
from prostate_uda.data.domains.cityscapes import CITYSCAPES
from prostate_uda.data.domains.decathlon import DECATHLON
from prostate_uda.data.domains.folder import FOLDER
from prostate_uda.data.domains.gta5 import GTA5
from prostate_uda.data.domains.nci_isbi13 import NCI_ISBI13
from prostate_uda.data.domains.phantom import PHANTOM_3T, PHANTOM_15T, PhantomDomain, PhantomSettings
from prostate_uda.data.domains.streets import STREETS_PHOTO, STREETS_RENDER, StreetsDomain, StreetsSettings
from prostate_uda.data.domains.synthia import SYNTHIA
from prostate_uda.errors import UnknownNameError

DOMAINS: dict[str, Domain] = {
    "phantom-3t": PHANTOM_3T,
    "phantom-1.5t": PHANTOM_15T,
    "decathlon": DECATHLON,
    "nci-isbi13": NCI_ISBI13,
    "folder": FOLDER,
    "gta5": GTA5,
    "synthia": SYNTHIA,
    "cityscapes": CITYSCAPES,
    "streets-render": STREETS_RENDER,
    "streets-photo": STREETS_PHOTO,
}


def get_domain(name: str) -> Domain:
    """The domain of that name.

    Raises:
        UnknownNameError: no such domain.
    """
    if name not in DOMAINS:
        raise UnknownNameError("domain", name, DOMAINS)
    return DOMAINS[name]


__all__ = [
    "DOMAINS",
    "Case",
    "Domain",
    "Found",
    "PhantomDomain",
    "PhantomSettings",
    "Split",
    "StreetsDomain",
    "StreetsSettings",
    "get_domain",
    "split_cases",
]
