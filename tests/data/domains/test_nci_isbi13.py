import pytest

from prostate_uda.data.domains.nci_isbi13 import NCI_ISBI13
from prostate_uda.errors import DataError


@pytest.fixture
def challenge(tmp_path):
    images = [
        "ProstateDx-01-0001",
        "ProstateDx-01-0006",
        "ProstateDx-02-0003",
        "ProstateDx-03-0002",
        "Prostate3T-01-0001",
    ]
    labels = [
        "Training/ProstateDx-01-0001",
        "Training/ProstateDx-01-0006_correctedLabels",
        "Training/Prostate3T-01-0001",
        "Leaderboard/ProstateDx-02-0003_truth",
        "Test/ProstateDx-03-0002_truth",
    ]
    for folder, names in (("scans", images), ("labels", labels)):
        for name in names:
            path = tmp_path / folder / f"{name}.nrrd"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    return tmp_path


def test_the_challenges_parts_are_kept(challenge):
    split = NCI_ISBI13.cases(challenge / "scans", challenge / "labels", role="target", seed=0)
    assert [case.id for case in split.train] == ["ProstateDx-01-0001", "ProstateDx-01-0006"]
    assert [case.id for case in split.test] == ["ProstateDx-02-0003", "ProstateDx-03-0002"]
    assert all(case.label is None for case in split.train)
    assert split.test[0].label.name == "ProstateDx-02-0003_truth.nrrd"


def test_corrected_labels_are_found(challenge):
    split = NCI_ISBI13.cases(challenge / "scans", challenge / "labels", role="source", seed=0)
    names = {case.id: case.label.name for case in split.train}
    assert names["ProstateDx-01-0006"] == "ProstateDx-01-0006_correctedLabels.nrrd"


def test_images_and_labels_in_one_root(challenge):
    (challenge / "scans").rename(challenge / "images")
    assert len(NCI_ISBI13.find(challenge).cases) == 4


def test_a_folder_with_the_3t_half_only(tmp_path):
    (tmp_path / "Prostate3T-01-0001.nrrd").write_bytes(b"x")
    with pytest.raises(DataError, match="no case named ProstateDx-"):
        NCI_ISBI13.find(tmp_path)
