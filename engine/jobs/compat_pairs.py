"""AI Toolkit's sliders from pairs of pictures as ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import JobError

Section = dict[str, Any]


def read_pairs(slider: Section, train: Section, note: Callable[..., None]) -> tuple[Section, list[Section]]:
    """The pair_slider section and the data sets. What of ``train`` does not go with it is taken out."""
    given = [dict(one) for one in slider.pop("datasets", None) or [] if isinstance(one, Mapping)]
    if not given or not all(one.get("pos_folder") and one.get("neg_folder") for one in given):
        raise JobError(
            "slider.datasets needs pos_folder and neg_folder: a folder of pictures, and one of their opposites under the same names.",
            "Of pair_folder, cut each picture in two: what is right goes into pos_folder, what is left into neg_folder.",
        )
    strengths = {float(one.get(key, one.get("network_weight", 1.0))) for one in given for key in ("pos_weight", "neg_weight")}
    if len(strengths) > 1:
        raise JobError(
            "slider.datasets asks for several strengths.",
            "Set network_weight to the same number in all of them; pos_weight and neg_weight are left out then.",
        )
    for key, value in slider.items():
        if value and key in ("additional_losses", "weight_jitter"):
            note(f"slider.{key} is left out: the result will differ.")
        elif value:
            note(f"slider.{key} is not a known key and is left out.", "Check its spelling.")
    if train.pop("train_text_encoder", False):
        note("train.train_text_encoder is left out: a slider from pairs turns the model that draws alone.")
    names = {str(one.get("target_class") or "") for one in given}
    own = {"target_class": names.pop()} if len(names) == 1 else {}
    if not own:
        note("The pairs have several target_class: each data set has its own as the caption of pictures without one.")
    pairs = [_pair(one, bool(own)) for one in given]
    return {**own, "strength": strengths.pop()}, pairs


def read_opposites(datasets: list[Section], note: Callable[..., None]) -> Section | None:
    """The pair_slider section of data sets with unconditional_path, which becomes their control_path; None where none has it.

    There its guidance_type polarity turns the network to the pictures at 1 and to the others at -1, as a slider from pairs does here.
    """
    folders = [one.pop("unconditional_path", None) for one in datasets]
    kinds = {str(one.get("guidance_type") or "targeted") for one, folder in zip(datasets, folders, strict=True) if folder}
    if not kinds:
        return None
    if not all(folders):
        raise JobError("Some data sets have unconditional_path, and others have none.", "Give it to each of them, or make two jobs of it.")
    if any(one.get(key) for one in datasets for key in ("control_path", "control_path_1", "control_path_2", "control_path_3", "controls")):
        raise JobError("A data set has both unconditional_path and reference pictures.", "Leave one of them out.")
    for one, folder in zip(datasets, folders, strict=True):
        one["control_path"] = folder
    if others := sorted(kinds - {"polarity"}):
        note(
            f"guidance_type {' and '.join(others)} is done as polarity: at strength 1 the network draws as the pictures, at -1 as those of unconditional_path. The result will differ.",
            "Leave out unconditional_path to learn from the pictures alone.",
        )
    return {"strength": 1.0}


def _pair(given: Section, named: bool) -> Section:
    """A data set: the pictures and their opposites. Captions are not read where all pairs are called alike."""
    return {
        "folder_path": given["pos_folder"], "control_path": [given["neg_folder"]], "resolution": given.get("size", 512),
        "default_caption": None if named else str(given.get("target_class") or ""), "caption_dropout_rate": 0.0,
    }  # fmt: skip
