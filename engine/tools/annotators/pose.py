"""Poses of persons, by a detector and ViTPose, drawn as OpenPose draws them: what control models were trained on."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image, ImageDraw
from transformers import AutoModelForObjectDetection, VitPoseForPoseEstimation

from ...errors import JobError
from ...jobs.tools.controls import Annotators
from ...runtime.device import pick_device, pick_dtype
from ..pretrained import fetch, placed, read_images, read_model
from .edges import Annotate

SURE_OF_PERSON = 0.5
SURE_OF_POINT = 0.3
COCO = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""Point of OpenPose → point of COCO. The neck, point 1, is between the shoulders."""
SHOULDERS = (5, 6)
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
Point = tuple[float, float] | None


def open_pose(settings: Annotators) -> Annotate:
    """Skeletons on black; black alone where there is nobody."""
    device = pick_device()
    dtype = pick_dtype(settings.dtype, device)
    person_folder = fetch(settings.person_model, "annotators.person_model", "use canny or line")
    pose_folder = fetch(settings.pose_model, "annotators.pose_model", "use canny or line")
    detector: Any = read_model(AutoModelForObjectDetection, person_folder, device, dtype)
    poser: Any = read_model(VitPoseForPoseEstimation, pose_folder, device, dtype)
    find_images, pose_images = read_images(person_folder), read_images(pose_folder)
    person = next((index for index, name in detector.config.id2label.items() if name.lower() == "person"), None)
    if person is None:
        raise JobError(f"{settings.person_model} knows no persons.", "Give a detector with the label person as annotators.person_model.")

    def annotate(picture: Image.Image) -> Image.Image:
        size = (picture.height, picture.width)
        with torch.inference_mode():
            found = detector(**placed(find_images(picture, return_tensors="pt"), detector))
            boxes = find_images.post_process_object_detection(found, threshold=SURE_OF_PERSON, target_sizes=[size])[0]
            corners = boxes["boxes"][boxes["labels"] == person].float().cpu().numpy()
            if not len(corners):
                return Image.new("RGB", picture.size)
            corners[:, 2:] -= corners[:, :2]  # left, top, width, height, as COCO has them
            inputs = placed(pose_images(picture, boxes=[corners], return_tensors="pt"), poser)
            if getattr(poser.config.backbone_config, "num_experts", 1) > 1:
                inputs["dataset_index"] = torch.zeros(len(corners), dtype=torch.long, device=device)  # COCO's
            heat = poser(**inputs)
            heat.heatmaps = heat.heatmaps.float()
            people = pose_images.post_process_pose_estimation(heat, boxes=[corners])[0]
        return draw(picture.size, [points_of(one["keypoints"].tolist(), one["scores"].tolist()) for one in people])

    return annotate


def points_of(places: Sequence[Sequence[float]], sure: Sequence[float]) -> list[Point]:
    """OpenPose's 18 points from COCO's 17; None for those that were not seen."""
    seen = [(x, y) if score >= SURE_OF_POINT else None for (x, y), score in zip(places, sure, strict=True)]
    left, right = (seen[index] for index in SHOULDERS)
    neck = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2) if left and right else None
    return [neck if index is None else seen[index] for index in COCO]


def draw(size: tuple[int, int], people: Sequence[Sequence[Point]]) -> Image.Image:
    """The skeletons on black, each limb and point in its colour."""
    picture = Image.new("RGB", size)
    pen, thick = ImageDraw.Draw(picture), max(2, round(min(size) / 100))
    for points in people:
        for index, (start, end) in enumerate(LIMBS):
            one, two = points[start], points[end]
            if one and two:
                pen.line([one, two], fill=_colour(index, 0.6), width=thick)
        for index, point in enumerate(points):
            if point:
                x, y = point
                pen.ellipse((x - thick, y - thick, x + thick, y + thick), fill=_colour(index, 1.0))
    return picture


def _colour(index: int, light: float) -> tuple[int, int, int]:
    """Of a rainbow of eighteen."""
    red, green, blue = colorsys.hsv_to_rgb(index / 18, 1.0, light)
    return round(red * 255), round(green * 255), round(blue * 255)
