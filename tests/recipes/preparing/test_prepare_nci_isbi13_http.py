"""The challenge from TCIA: what is fetched, and what is missing there."""

import io
import json
import zipfile

import pytest

from prostate_uda.data.preparing.tcia import LABEL_ARCHIVES, MANIFESTS
from prostate_uda.errors import DataError
from tests.recipes.preparing.conftest import DX, GOOD, check_truth, uid


def test_from_the_archive_over_http(tcia, tmp_path, man, server):
    told = tcia(tmp_path / "out")
    check_truth(tmp_path / "out", man, [DX.format(case) for case in GOOD])
    assert (told["cases"], told["left_out"]) == (8, {})
    (warning,) = told["warnings"]["ProstateDx-01-0035"]
    assert warning.endswith("by TCIA's catalogue")
    assert not any(uid(8) in path for path, _ in server.asked)  # the 3T patient was not fetched
    asked = len(server.asked)
    again = tcia(tmp_path / "out")
    assert (again["status"], again["converted"], len(server.asked)) == ("unchanged", 0, asked)


def test_a_missing_and_a_cut_series_are_named_and_fetched_by_the_next_run(tcia, tmp_path, server):
    paths = [f"/getImage?SeriesInstanceUID={uid(number)}" for number in (0, 3, 4)]
    whole = {path: server.files[path] for path in paths}
    del server.files[paths[0]]
    server.files[paths[1]] = whole[paths[1]][:5000]
    holed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole[paths[2]])) as old, zipfile.ZipFile(holed, "w") as new:
        for name in old.namelist()[:-4]:
            new.writestr(name, old.read(name))
    server.files[paths[2]] = holed.getvalue()
    told = tcia(tmp_path / "out")
    assert told["cases"] == 5
    reasons = told["left_out"]
    assert "is missing: http" in reasons["ProstateDx-01-0001"]
    assert "404" in reasons["ProstateDx-01-0001"]
    assert "damaged or cut short" in reasons["ProstateDx-01-0055"]
    assert "it came with 10 of 12 images" in reasons["ProstateDx-01-0082"]
    assert not any("\n" in reason for reason in reasons.values())
    server.files |= whole
    asked = len(server.asked)
    again = tcia(tmp_path / "out")
    assert (again["cases"], again["converted"], again["reused"], again["left_out"]) == (8, 3, 5, {})
    assert [path for path, _ in server.asked[asked:]] == paths


def test_without_a_catalogue_every_series_is_fetched(tcia, tmp_path, server, man):
    del server.files["/getSeries?Collection=PROSTATE-DIAGNOSIS&format=json"]
    told = tcia(tmp_path / "out")
    assert "catalogue could not be had" in told["warnings"][""][0]
    assert told["cases"] == 8
    assert any(uid(8) in path for path, _ in server.asked)


def test_a_wrong_checksum_of_the_labels(tcia, tmp_path, server):
    name = next(iter(LABEL_ARCHIVES))
    with pytest.raises(DataError, match=rf"^{name} from .* has sha256 \w+, expected c3436559"):
        tcia(tmp_path / "out", checksums=LABEL_ARCHIVES)
    assert tcia(tmp_path / "out")["cases"] == 8


def test_a_catalogue_cannot_name_files(tcia, tmp_path, server):
    path = "/getSeries?Collection=PROSTATE-DIAGNOSIS&format=json"
    listed = json.loads(server.files[path])
    listed[0]["PatientID"] = "ProstateDx-/../../../evil"
    server.files[path] = json.dumps(listed).encode()
    told = tcia(tmp_path / "out")
    assert told["left_out"] == {"ProstateDx-01-0001": "label without image: ProstateDx-01-0001.nrrd"}


def test_a_manifest_that_is_none(tcia, tmp_path, server):
    server.files[f"/{MANIFESTS[1]}"] = b"<html>moved</html>"
    with pytest.raises(DataError, match=r"LeaderBoard\.tcia names no series"):
        tcia(tmp_path / "out")
