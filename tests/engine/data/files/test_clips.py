from __future__ import annotations

import builtins
import itertools
import os

import av
import numpy as np
import pytest
from clips import CODECS, film, indexes, sound
from PIL import Image

from engine.data.files.clips import (
    Clip,
    Cut,
    cut_of,
    fitted,
    is_moving,
    moments,
    probe,
    read_first,
    read_frames,
)
from engine.data.files.pictures import PictureError
from engine.errors import JobError

KINDS = [*sorted(CODECS), ".gif", ".webp"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_measured_and_read_frame_by_frame(kind, tmp_path):
    path = film(tmp_path / f"a{kind}", 10, (64, 48), 20)
    clip = probe(path)
    assert (clip.width, clip.height, clip.frames) == (64, 48, 10)
    assert clip.seconds == pytest.approx(0.5, abs=0.01)
    frames = list(read_frames(path, Cut(10)))
    assert indexes(frames) == list(range(10))
    assert all(frame.mode == "RGB" and frame.size == (64, 48) for frame in frames)


@pytest.mark.parametrize("kind", [".mp4", ".mkv", ".gif"])
def test_frames_are_spread_over_all_of_the_video(kind, tmp_path):
    path = film(tmp_path / f"a{kind}", 17)
    assert indexes(list(read_frames(path, Cut(5)))) == [0, 4, 8, 12, 16]
    assert indexes(list(read_frames(path, Cut(9)))) == list(range(0, 17, 2))
    assert indexes(list(read_frames(path, Cut(1)))) == [0]


@pytest.mark.parametrize("kind", [".mp4", ".mkv", ".avi"])
def test_frames_at_another_rate_are_those_that_are_shown_then(kind, tmp_path):
    path = film(tmp_path / f"a{kind}", 18, fps=24)
    assert indexes(list(read_frames(path, Cut(9, 16, True)))) == [0, 1, 3, 4, 6, 7, 9, 10, 12]
    assert indexes(list(read_frames(path, Cut(5, 12, True)))) == [0, 2, 4, 6, 8]
    assert indexes(list(read_frames(path, Cut(5, 48, True)))) == [0, 0, 1, 1, 2]


def test_the_place_within_a_video_is_by_chance_and_each_time_the_same(tmp_path):
    starts = set()
    for frames in range(10, 20):
        path = film(tmp_path / f"{frames}.mp4", frames)
        taken = indexes(list(read_frames(path, Cut(5, 24))))
        assert taken == indexes(list(read_frames(path, Cut(5, 24)))) == list(range(taken[0], taken[0] + 5))
        assert taken[-1] < frames
        assert indexes([read_first(path, Cut(5, 24))]) == taken[:1]
        starts.add(taken[0])
    assert len(starts) > 3


def test_places_are_everywhere_in_the_room_that_there_is():
    times = [index / 10 for index in range(101)]
    starts = [moments(times, Cut(21, 10), key)[0] for key in range(400)]
    assert 0 <= min(starts) < 0.3 and 7.7 < max(starts) <= 8
    assert sum(starts) / 400 == pytest.approx(4, abs=0.4)


def test_frames_of_a_varying_rate_are_chosen_by_when_they_are_shown(tmp_path):
    held = film(tmp_path / "a.mkv", 6, times=[0, 100, 200, 300, 400, 2000])
    assert indexes(list(read_frames(held, Cut(5)))) == [0, 4, 4, 4, 5]
    assert indexes(list(read_frames(held, Cut(6, 10, True)))) == [0, 1, 2, 3, 4, 4]
    gif = film(tmp_path / "a.gif", 4, duration=[100, 300, 100, 100])
    assert indexes(list(read_frames(gif, Cut(5, 10, True)))) == [0, 1, 1, 1, 2]
    assert probe(gif).seconds == pytest.approx(0.6)


@pytest.mark.parametrize(("rotation", "corner"), [(90, (0, -1)), (180, (-1, -1)), (-90, (-1, 0))])
def test_a_video_that_is_to_be_turned_is_read_upright(rotation, corner, tmp_path):
    """Turned counterclockwise: where the white corner, which is the upper left one in the file, is seen."""
    import clips

    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:16, :16] = 255
    clips._encode(tmp_path / "a.mp4", [picture] * 3, 24, rotation=rotation)
    (frame,) = read_frames(tmp_path / "a.mp4", Cut(1))
    size = (64, 48) if rotation == 180 else (48, 64)
    assert frame.size == size and (probe(tmp_path / "a.mp4").width, probe(tmp_path / "a.mp4").height) == size
    pixels = np.asarray(frame.convert("L"))
    column, row = corner
    bright = {(c, r): pixels[r, c] > 200 for c, r in itertools.product((0, -1), repeat=2)}
    # counterclockwise by 90: the upper left corner comes to the lower left
    assert [place for place, lit in bright.items() if lit] == [{90: (0, -1), 180: (-1, -1), -90: (-1, 0)}[rotation]] == [(column, row)]


def test_pixels_that_are_not_square_are_made_square(tmp_path):
    path = film(tmp_path / "a.mp4", 3, (64, 48), shape="4/3")
    assert (probe(path).width, probe(path).height) == (85, 48)
    assert {frame.size for frame in read_frames(path, Cut(3))} == {(85, 48)}


def test_colours_are_as_the_file_means_them(tmp_path):
    """Red by the rules for high definition and by those for low definition is the same red."""
    picture = np.full((48, 64, 3), (200, 30, 60), np.uint8)
    for space in (1, 5):
        with av.open(tmp_path / f"{space}.mp4", "w") as container:
            stream = container.add_stream("libx264", rate=24, options={"crf": "1"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.colorspace = space
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p", dst_colorspace=space)
            frame.colorspace = space
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        (seen,) = read_frames(tmp_path / f"{space}.mp4", Cut(1))
        assert np.abs(np.asarray(seen).mean((0, 1)) - (200, 30, 60)).max() < 4, space


def test_what_is_transparent_is_over_the_background(tmp_path):
    first, second = (Image.new("RGBA", (16, 16), colour) for colour in ((0, 0, 0, 0), (255, 0, 0, 255)))
    first.save(tmp_path / "a.webp", save_all=True, append_images=[second], duration=100, lossless=True)
    assert [frame.getpixel((8, 8)) for frame in read_frames(tmp_path / "a.webp", Cut(2), "blue")] == [(0, 0, 255), (255, 0, 0)]


def test_only_pictures_with_several_frames_move(tmp_path):
    assert is_moving(film(tmp_path / "a.gif", 2)) and is_moving(film(tmp_path / "b.webp", 3))
    Image.new("RGB", (8, 8)).save(tmp_path / "still.gif")
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert not any(is_moving(tmp_path / name) for name in ("still.gif", "broken.gif", "a.png"))


def faults(tmp_path):
    whole = film(tmp_path / "whole.mp4", 20, (320, 240), muxing={"movflags": "faststart"}).read_bytes()
    late = film(tmp_path / "late.mp4", 20, (320, 240)).read_bytes()
    files = {
        "empty.mp4": (b"", "it is empty"),
        "text.mp4": (b"this is no video at all" * 40, "it is not a video, or a badly damaged one"),
        "cut.mp4": (whole[: len(whole) // 2], "it is cut short"),
        "end.mp4": (late[: len(late) * 2 // 3], "it is not a video, or a badly damaged one"),
        "empty.gif": (b"", "it is empty"),
    }
    for name, (data, _) in files.items():
        (tmp_path / name).write_bytes(data)
    sound(tmp_path / "sound.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    return {name: reason for name, (_, reason) in files.items()} | {
        "sound.mp4": "there is no video in it", "folder.mp4": "it is", "gone.mp4": "it is a link to a file that is gone",
    }  # fmt: skip


def test_each_fault_of_a_file_is_a_sentence_that_names_it(tmp_path):
    for name, reason in faults(tmp_path).items():
        with pytest.raises(PictureError) as caught:
            probe(tmp_path / name)
            list(read_frames(tmp_path / name, Cut(5)))
        assert caught.value.reason.startswith(reason), name
        assert name in str(caught.value) and caught.value.path == tmp_path / name
        assert str(tmp_path) not in str(caught.value)


def test_bytes_damaged_at_any_place_are_errors_or_pictures_and_nothing_else(tmp_path):
    data = film(tmp_path / "a.mp4", 12).read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        for place in generator.integers(0, len(data), 20):
            damaged[place] = generator.integers(256)
        (tmp_path / "b.mp4").write_bytes(damaged)
        try:
            probe(tmp_path / "b.mp4")
            assert len(list(read_frames(tmp_path / "b.mp4", Cut(5)))) == 5
        except PictureError:
            pass


def test_a_file_that_sends_the_reader_elsewhere_is_refused(tmp_path):
    """A playlist could name any file of the computer, or an address."""
    film(tmp_path / "secret.mkv", 5)
    (tmp_path / "a.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/secret.mkv\n#EXT-X-ENDLIST\n")
    (tmp_path / "b.mp4").write_text(f"ffconcat version 1.0\nfile {tmp_path}/secret.mkv\n")
    with av.open(tmp_path / "c.mp4", "w", format="nut") as container:  # what FFmpeg can read besides is left to it
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        with pytest.raises(PictureError, match="not a video"):
            probe(tmp_path / name)


def test_a_locked_file_is_told(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4", 3)

    def refuse(*given, **more):
        raise av.error.PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(PictureError, match="not a video"):
        probe(path)  # FFmpeg says so of other things too
    monkeypatch.setattr(os, "access", lambda *given: False)
    with pytest.raises(PictureError, match="locked"):
        probe(path)


def test_without_pyav_one_sentence_says_so(tmp_path, monkeypatch):
    path, real = film(tmp_path / "a.mp4", 3), builtins.__import__

    def missing(name, *given, **more):
        if name == "av":
            raise ImportError(name)
        return real(name, *given, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(JobError, match="PyAV, which is not installed") as caught:
        probe(path)
    assert not isinstance(caught.value, PictureError)
    assert probe(film(tmp_path / "a.gif", 3)).frames == 3


def test_frames_that_were_cut_off_without_encoding_anew_are_not_counted(tmp_path):
    """A cut between keyframes leaves frames in the file that are not to be shown."""
    whole = film(tmp_path / "whole.mp4", 20, codec="libx264", options={"g": "10", "bf": "0"})
    with av.open(whole) as source, av.open(tmp_path / "cut.mp4", "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts -= 4 * 512
                packet.dts -= 4 * 512
                packet.stream = copy
                target.mux(packet)
    clip = probe(tmp_path / "cut.mp4")
    assert clip.frames == len(list(_decoded(tmp_path / "cut.mp4"))) < 20
    assert indexes(list(read_frames(tmp_path / "cut.mp4", Cut(4)))) == [4, 9, 14, 19]


def _decoded(path):
    with av.open(path) as container:
        yield from container.decode(video=0)


CLIP = Clip(64, 48, 48, 2.0)


@pytest.mark.parametrize(
    ("settings", "cut"),
    [
        ({"wanted": 41}, Cut(41)),
        ({"wanted": 43}, Cut(41)),  # 4n + 1
        ({"wanted": 81}, Cut(45)),  # it has no more
        ({"wanted": 81, "multiple": 1}, Cut(48)),
        ({"wanted": 1}, Cut(1)),
        ({"wanted": 17, "spread": False}, Cut(17, 16)),
        ({"wanted": 41, "spread": False}, Cut(29, 16)),  # 2 seconds at 16 are 32
        ({"wanted": None, "auto": True}, Cut(29, 16, True)),
        ({"wanted": 17, "auto": True}, Cut(17, 16, True)),
        ({"wanted": None, "auto": True, "trim_tail": False}, Cut(29)),
        ({"wanted": None, "auto": True, "fps": 1000}, Cut(241, 1000, True)),
    ],
)
def test_the_number_of_frames_is_one_that_the_clip_has_and_the_model_takes(settings, cut):
    assert cut_of(CLIP, **({"fps": 16, "multiple": 4} | settings)) == cut


def test_numbers_of_frames_are_rounded_down():
    assert [fitted(frames, 4) for frames in (1, 4, 5, 8, 9, 81)] == [1, 1, 5, 5, 9, 81]
    assert [fitted(frames, 1) for frames in (1, 2, 3)] == [1, 2, 3]


def test_each_cut_has_a_name_of_its_own():
    cuts = [Cut(9), Cut(5), Cut(9, 16), Cut(9, 24), Cut(9, 16, True)]
    assert len({str(cut) for cut in cuts}) == len(cuts)
