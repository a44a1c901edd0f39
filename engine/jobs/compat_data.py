"""AI Toolkit's data sets as ours: their folders, control pictures, sizes, videos and captions."""

from __future__ import annotations

from ..errors import JobError
from . import compat_keys as keys
from .compat_sections import Idle, Note, Section, given_in, read_section


def read_dataset(given: Section, index: int, trigger: str | None, note: Note, idle: Idle) -> Section:
    """The data set that stands at ``index``. ``trigger``: the words of the job, which its own take the place of."""
    place = f"datasets[{index}]"
    given = {**keys.DEFAULTS["dataset"], **given_in(given)}
    folder = given.pop("folder_path", None) or given.pop("dataset_path", None)
    if folder is not None:
        given["path"] = folder
    _read_controls(given, place, note)
    _read_sizes(given, place, idle)
    _read_videos(given, place, idle)
    ending = str(given.pop("caption_type", None) or given.get("caption_ext", "txt"))
    given["caption_ext"] = f".{ending.removeprefix('.')}"
    trigger = given.get("trigger_word") or trigger
    if not given.get("default_caption"):
        given.pop("default_caption", None)
        if trigger:
            given["default_caption"] = "[trigger]"
    if trigger and index == 0:
        note(
            "AI Toolkit puts the trigger words before every caption that lacks them; here captions stay as they are.",
            "Write [trigger] into the captions, where the trigger words belong.",
        )
    return read_section("dataset", given, f"{place}.", note, idle)


def _read_controls(given: Section, place: str, note: Note) -> None:
    """Its app writes each folder under a number of its own. They come one after the other, and instead of control_path."""
    plain = given.pop("control_path", None) or []
    numbered = [given.pop(f"control_path_{number}", None) for number in (1, 2, 3)]
    folders = [folder for folder in numbered if folder] or plain
    if any(numbered) and plain and plain not in (folders, folders[0]):
        note(f"{place}.control_path is left out: control_path_1 to 3 take its place, as in AI Toolkit.")
    if any(numbered) and not all(numbered[: len(folders)]):
        note(f"{place} leaves out a number between control_path_1 and 3: the folders that are given follow one another.")
    if folders:
        given["control_path"] = folders if isinstance(folders, list) else [folders]
    made = given.pop("controls", None) or []
    made = made if isinstance(made, list) else [made]
    given["controls"] = [kind for kind in made if kind in keys.CONTROLS]
    for kind in dict.fromkeys(map(str, made)):
        if kind not in keys.CONTROLS | keys.SUBJECTS.keys():
            raise JobError(f"{place}.controls asks for {kind}, which is not supported yet.", "Take it out to train without.")
        if kind in keys.SUBJECTS and not given.get(keys.SUBJECTS[kind][1]):  # a folder that is given counts
            key = keys.SUBJECTS[kind][0]
            given[key] = ["a person"]
            note(f"{place}.controls: {kind} looks for a person here.", f"Set {key} to what is in the pictures.")


def _read_sizes(given: Section, place: str, idle: Idle) -> None:
    """buckets: false are squares there, and squares are enlarged to the resolution; its zoom works on them alone."""
    squares = given.pop("buckets", True) is False or given.get("square_crop", False)
    if squares:
        given |= {"square_crop": True, "upscale": True}
    if not (squares and given.get("random_crop")) and given.pop("random_scale", False):
        idle(f"{place}.random_scale")


def _read_videos(given: Section, place: str, idle: Idle) -> None:
    """One frame means pictures alone there. Its automatic number knows no limit, and its rate is 24 unless one is given."""
    auto = given.get("auto_frame_count", False)
    several = auto or given.get("num_frames", 1) > 1
    at_a_rate = auto or not given.get("shrink_video_to_frames", True)
    if several and at_a_rate:
        given.setdefault("fps", 24)
    without = {
        "num_frames": auto or not several, "fps": not several or not at_a_rate, "shrink_video_to_frames": auto or not several,
        "trim_auto_frame_count_tail": not auto, "auto_frame_count": not several, "do_i2v": not several,
    }  # fmt: skip
    for key in (key for key, left_out in without.items() if left_out and key in given):
        if given.pop(key) not in (False, 1, True) or (several and key == "num_frames"):
            idle(f"{place}.{key}")
