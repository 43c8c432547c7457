"""Measures faces: how far apart people are, and what each stage costs beside InsightFace's own.

    python tests/bench_faces.py --photos DIR     DIR holds one folder of photos for each person
    python tests/bench_faces.py                  times only

Times are medians on this machine; the ratio to bare `FaceAnalysis.get` in the same run is what to compare.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import insightface
import numpy as np
import skimage.data

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.config.settings import load_settings
from core.domain.faces import Analysis, Face, Image, Purpose
from core.faces.alignment import align
from core.faces.detection import find_faces
from core.faces.engine import FaceEngine
from core.faces.images import decode
from core.faces.landmarks import Found
from core.faces.models import FaceModels, open_models
from core.faces.pack import OPEN_PACK
from core.faces.quality import judge_photo

THRESHOLDS = (0.363, 0.40, 0.45, 0.50)


def separation(engine: FaceEngine, folder: Path) -> None:
    """Similarities of all pairs of photos, of one person and of two."""
    files = sorted(folder.glob("*/*.jpg"))
    found = [(file.parent.name, engine.analyze(read(file), purpose=Purpose.ENROLL)) for file in files]
    people = [name for name, analysis in found if analysis.faces]
    vectors = np.stack([subject(analysis).embedding for _, analysis in found if analysis.faces])
    genuine, impostor = pairs(people, vectors @ vectors.T)
    print(f"{len(files)} photos of {len(set(people))} people, {len(files) - len(people)} without a face")
    print(f"{'':10}{'pairs':>8}{'min':>8}{'mean':>8}{'median':>8}{'p99':>8}{'max':>8}")
    for name, values in (("genuine", genuine), ("impostor", impostor)):
        row = (values.min(), values.mean(), np.median(values), np.percentile(values, 99), values.max())
        print(f"{name:10}{len(values):>8}" + "".join(f"{value:>8.3f}" for value in row))
    for threshold in THRESHOLDS:
        missed, wrong = (genuine < threshold).mean(), (impostor >= threshold).mean()
        print(f"at {threshold:.3f}   FNMR {missed:.4f}   FMR {wrong:.4f}")
    report_quality([analysis for _, analysis in found])


def pairs(people: list[str], similarities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    same: dict[bool, list[float]] = {True: [], False: []}
    for one, other in itertools.combinations(range(len(people)), 2):
        same[people[one] == people[other]].append(similarities[one, other])
    return np.array(same[True]), np.array(same[False])


def report_quality(analyses: list[Analysis]) -> None:
    """How many photos could be enrolled, judging the person in the middle alone, and why others could not."""
    alone = [Analysis((subject(a),), a.width, a.height, 0, 0) if a.faces else a for a in analyses]
    verdicts = [judge_photo("", analysis) for analysis in alone]
    rejects = Counter(str(reason) for verdict in verdicts for reason in verdict.rejects)
    warnings = Counter(str(reason) for verdict in verdicts for reason in verdict.warnings)
    usable = sum(verdict.face is not None for verdict in verdicts)
    print(f"{usable} of {len(verdicts)} can be enrolled; rejects {dict(rejects)}, warnings {dict(warnings)}")


def subject(analysis: Analysis) -> Face:
    """The face nearest to the middle."""
    middle = np.array([analysis.width / 2, analysis.height / 2])
    return min(analysis.faces, key=lambda face: float(np.linalg.norm(face.landmarks.mean(axis=0) - middle)))


def costs(models: FaceModels, name: str, image: Image) -> None:
    """Time of the stages of `analyze` as a ratio to bare `FaceAnalysis.get`, alternating in one run."""
    engine, app = FaceEngine(models), models.app

    def detect() -> tuple[Found, int]:
        return find_faces(models.detect, image, 32, look_again=models.pack.id == OPEN_PACK)

    (_, landmarks), _ = detect()
    crops = align(image, landmarks)
    stages: dict[str, Callable[[], object]] = {
        "FaceAnalysis.get": lambda: app.get(image),
        "its detection": lambda: app.det_model.detect(image),
        "analyze": lambda: engine.analyze(image),
        "  detect": detect,
        "  align": lambda: align(image, landmarks),
        "  embed": lambda: models.embed(crops),
    }
    times = medians(stages)
    print(f"{name}, {len(crops)} faces, {engine.provider}")
    for stage, milliseconds in times.items():
        print(f"{stage:20}{milliseconds:>8.1f} ms{milliseconds / times['FaceAnalysis.get']:>8.2f}×")


def medians(stages: dict[str, Callable[[], object]], rounds: int = 30) -> dict[str, float]:
    spent: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(rounds):
        for name, run in stages.items():
            started = time.perf_counter()
            run()
            spent[name].append((time.perf_counter() - started) * 1000)
    return {name: float(np.median(values)) for name, values in spent.items()}


def read(file: Path) -> Image:
    return decode(file.read_bytes(), max_bytes=50_000_000, max_pixels=50_000_000)


def frame_with_one_face() -> Image:
    """640×480, as a webcam sends it."""
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[:, 80:560] = cv2.resize(skimage.data.astronaut()[:, :, ::-1], (480, 480))
    return frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder with one folder of photos for each person")
    options = parser.parse_args()
    started = time.perf_counter()
    models = open_models(load_settings())
    print(f"opened in {time.perf_counter() - started:.2f} s")
    if options.photos:
        separation(FaceEngine(models), options.photos)
    costs(models, "640×480", frame_with_one_face())
    group = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    costs(models, "t1.jpg", read(group))


if __name__ == "__main__":
    main()
