"""A labelled set of real photos: its figures, its failures, and that nothing of it stays."""

import io
import zipfile

import cv2
import numpy as np
import pytest

from core.calibration import export
from core.calibration.evaluation import evaluate
from core.calibration.progress import ProgressWatch
from core.calibration.uploaded import Upload
from core.domain.errors import RobiError
from core.faces import images
from tests.conftest import jpeg, picture


@pytest.fixture(scope="module")
def portraits(photos, variants, engine):
    """Two photos each of the six people of the group photo, of Tom Hanks and of Eileen Collins."""
    group = picture(photos["group"])
    files = {}
    for number, face in enumerate(engine.analyze(group).faces[:6]):
        crop = images.crop(group, face.box, 0.6)
        files[f"person{number}/1.jpg"] = jpeg(cv2.resize(crop, None, fx=2, fy=2))
        files[f"person{number}/2.jpg"] = jpeg(
            cv2.convertScaleAbs(cv2.resize(crop, None, fx=1.8, fy=1.8), alpha=0.9)
        )
    for name in ("hanks", "astronaut"):
        files[f"{name}/1.jpg"] = photos[name]
        files[f"{name}/2.jpg"] = variants[name]
    return files


def zip_of(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for path, data in files.items():
            out.writestr(path, data)
    return Upload("set.zip", buffer.getvalue())


def test_figures_failures_and_worst_errors_of_real_photos(service, portraits):
    gray = jpeg(np.full((300, 300, 3), 128, np.uint8))
    files = portraits | {"hanks/3.jpg": gray, "hanks/4.jpg": b"no image", "hanks/notes.txt": b"x"}
    before = service.monitor.stats()
    shares = []
    found = evaluate([zip_of(files)], service, watch=ProgressWatch(lambda p: shares.append(p.share)))
    assert (found.images, found.skipped_files) == (len(portraits) + 2, 1)
    assert found.enrolled >= 8
    assert found.failures["no_face"] >= 1
    assert sum(found.failures.values()) >= found.images - found.enrolled == len(found.failed)
    interval = found.failure_interval
    assert interval.low < found.failure_to_enroll < interval.high
    assert found.calibration.source == "evaluation set"
    assert found.calibration.gallery_seq is None
    assert found.calibration.figures.separation.auc == 1
    assert found.calibration.scores.genuine.min() > found.calibration.scores.impostor.max()
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    genuine = [one for one in found.extremes if one.genuine]
    assert [one.similarity for one in genuine] == sorted(one.similarity for one in genuine)
    shown = [frozenset((one.a_path, one.b_path)) for one in found.extremes]
    assert len(set(shown)) == len(shown)  # of two photos each is the other's nearest
    for error in found.extremes:
        same = error.a_path.split("/")[0] == error.b_path.split("/")[0]
        assert same == error.genuine
        assert picture(error.a_thumbnail).shape == picture(error.b_thumbnail).shape == (160, 160, 3)
    between = (genuine[0].similarity + found.calibration.scores.impostor.max()) / 2
    assert found.worst_errors(between) == ()
    worst = genuine[0].similarity
    assert found.worst_errors(worst) == (), "what reaches the threshold is accepted"
    assert found.worst_errors(worst + 1e-4) == (genuine[0],)
    accepted = found.worst_errors(0.0)
    assert accepted
    assert not any(one.genuine or one.similarity < 0 for one in accepted)
    exported = export.of_evaluation(found, 0.0)["worst_errors"]
    assert [one["similarity"] for one in exported["pairs"]] == [one.similarity for one in accepted]
    after = service.monitor.stats()
    assert after["latency"] == before["latency"]  # no live recognition
    assert service.people.counts().people == 0


def test_nothing_of_it_reaches_the_disk_or_a_log(service, portraits, caplog):
    caplog.set_level("DEBUG")
    files = {path.replace("hanks", "Secretname"): data for path, data in portraits.items()}
    found = evaluate([Upload(path, data) for path, data in files.items()], service)
    vector = (
        service.engine.analyze(service.pictures.decode(portraits["hanks/1.jpg"])).faces[0].embedding.tobytes()
    )
    for file in service.settings.robi_data_dir.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert b"Secretname" not in content
            assert vector[:64] not in content
    assert "Secretname" not in caplog.text
    text = export.to_json(found.calibration, export.of_evaluation(found, 0.4))
    assert "Secretname" not in text


def problem_of(uploads, service):
    with pytest.raises(RobiError) as problem:
        evaluate(uploads, service)
    assert problem.value.hint
    return problem.value


def code_of(uploads, service):
    return problem_of(uploads, service).code


def test_why_all_files_were_left_out_is_said(service, portraits):
    locked = bytearray(zip_of({"ana/1.jpg": portraits["hanks/1.jpg"]}).data)
    locked[locked.find(b"PK\x01\x02") + 8] |= 1
    problem = problem_of([Upload("set.zip", bytes(locked))], service)
    assert "1 files were left out, 1 as: protected by a password" in problem.message
    no_images = [Upload("ana/1.jpg", b"no"), Upload("ben/1.jpg", b"no")]
    assert "2 for the reason unsupported image" in problem_of(no_images, service).message


def test_what_a_set_lacks_is_said(service, portraits):
    gray = jpeg(np.full((300, 300, 3), 128, np.uint8))
    assert code_of([Upload("ana/1.jpg", gray), Upload("ben/1.jpg", gray)], service) == "no_usable_photo"
    assert code_of([Upload("notes.txt", b"x")], service) == "no_usable_photo"
    assert code_of([], service) == "no_usable_photo"
    assert code_of([Upload("set.zip", b"no zip")], service) == "bad_archive"
    one = {path: data for path, data in portraits.items() if path.startswith("hanks")}
    assert code_of([zip_of(one)], service) == "not_enough_templates"
    single = {path: data for path, data in portraits.items() if path.endswith("1.jpg")}
    found = evaluate([zip_of(single)], service)  # false matches can be measured, misses cannot
    assert found.calibration.figures.separation is None
    assert not any(one.genuine for one in found.extremes)


def test_it_can_be_stopped(service, portraits):
    seen = []
    watch = ProgressWatch(lambda p: seen.append(p), lambda: len(seen) >= 3)
    with pytest.raises(RobiError) as problem:
        evaluate([zip_of(portraits)], service, watch=watch)
    assert problem.value.code == "cancelled"
    assert len(seen) == 3
