from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import insightface
import pytest
import skimage.data

from core.config.settings import Settings
from core.domain.faces import Image
from core.faces.models import FaceModels, open_models

SHIPPED = Path(insightface.__file__).parent / "data" / "images"


@pytest.fixture(scope="session")
def group() -> Image:
    """Six people, 1280×886."""
    return cv2.imread(str(SHIPPED / "t1.jpg"))


@pytest.fixture(scope="session")
def close_up() -> Image:
    """One face that fills its 112×112 picture."""
    return cv2.imread(str(SHIPPED / "Tom_Hanks_54745.png"))


@pytest.fixture(scope="session")
def astronaut() -> Image:
    """One person, 512×512."""
    return cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)


@pytest.fixture(scope="module")
def models(pack_dir: Path) -> Iterator[FaceModels]:
    """The open pack's models themselves, without what the engine does around them."""
    models = open_models(Settings(_env_file=None, robi_data_dir=pack_dir))
    yield models
    models.close()
