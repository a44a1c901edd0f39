"""What somebody does on the first evening, from the empty window to the file for another program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from safetensors import safe_open
from window import ROOT, field, tab, until, write

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CAR = ROOT / "assets" / "examples" / "car"


def frames(page, kind: str) -> int:
    return page.locator(f".frames.{kind} img").count()


def test_from_dropped_pictures_to_a_lora_for_another_program(page, app, context, witness, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    files = [path for path in sorted(CAR.iterdir()) if path.suffix in {".webp", ".txt"} and path.name != "LICENCE.txt"]

    # drop files: what is broken is told, the others are kept
    page.set_input_files("#drop input[type=file]", [*files, broken])
    page.wait_for_selector("#thumbs img")
    assert page.locator("#thumbs img").count() == 12
    assert "broken.png cannot be read" in page.inner_text("#problems")
    assert page.input_value("#caption textarea").startswith("a flat emoji of [trigger] car")

    # Train: two prompts, a short run
    page.click("#to-train")
    page.wait_for_selector("#go")
    until(lambda: page.input_value("#run-name textarea") == "my-pictures")
    write(page, "#trigger", "zcar")
    write(page, "#prompts", "a 3d emoji of zcar car")
    write(page, "#steps", "40")
    page.click("#level label:has-text('Pro')")
    for label, value in (("Batch size", "1"), ("Sample every", "10"), ("Save every", "10")):
        write(page, "#search", label)  # it opens the section
        box = field(page, label)
        box.fill(value)
        box.press("Tab")
    page.click("#level label:has-text('YAML')")
    page.wait_for_selector("#yaml:has-text('sample_every: 10')")
    assert "batch_size: 1" not in page.inner_text("#yaml")  # it is the default
    page.dblclick("#go")  # twice starts it once
    page.wait_for_selector("#headline .progress")
    assert [run.name for run in (app.home / "output").iterdir() if run.is_dir() and not run.name.startswith(".")] == ["my-pictures"]

    # pause, and ask for another number
    until(lambda: frames(page, "strip") >= 1)
    page.click("#pause")
    page.wait_for_selector("#headline:has-text('paused at step')")
    page.click("#change .label-wrap")
    until(lambda: page.input_value("#change-steps textarea") == "40")
    write(page, "#change-lr", "7")
    page.click("#change-it")
    page.wait_for_selector("#change:has-text('Must be at most 1; it is 7.')")
    write(page, "#change-lr", "0.0005")
    page.click("#change-it")

    # reload, and a second tab of the browser: the same film strip
    witness.reload(page)
    until(lambda: frames(page, "strip") >= 1)
    second = context.new_page()
    witness.watch(second)
    second.goto(app.address)
    until(lambda: second.locator(".frames.strip img").count() >= 1)
    second.close()

    # go on; stop, which saves; resume
    page.click("#pause:has-text('Go on')")
    log = app.home / "output" / "my-pictures" / "log.txt"
    until(lambda: "train.lr is 0.0005 after step" in log.read_text())
    until(lambda: frames(page, "strip") >= 2)
    page.click("#stop")
    page.wait_for_selector("#continue:visible")
    assert "everything is saved" in page.inner_text("#headline")
    stopped = int(re.search(r"step (\d+) of 40", page.inner_text("#headline"))[1])
    assert 10 <= stopped < 40
    page.click("#continue")
    page.wait_for_selector("#pick-best:visible")
    assert "finished at step 40" in page.inner_text("#headline")
    assert frames(page, "strip") == 5  # the base, and four times a sample
    assert f"continued from step {stopped}" in log.read_text()

    # contact sheet: mark one, look at it beside the base, take it away
    page.click("#pick-best")
    page.wait_for_selector(".frames.sheet img")
    page.click("#sheet .pick >> nth=2")
    page.wait_for_selector("#verdict:has-text('Step 30 it is')")
    page.click("#sheet .frame >> nth=2")
    page.wait_for_selector("#compare img")
    tab_in_page = page.locator("button[role=tab]:has-text('Contact sheet')")
    tab_in_page.click()
    with page.expect_download() as download:
        page.click("#export")
    exported = tmp_path / download.value.suggested_filename
    download.value.save_as(exported)
    assert exported.name == "my-pictures.safetensors"
    with safe_open(exported, framework="np") as file:
        assert file.metadata()["ss_steps"] == "30"
        assert any(name.startswith("diffusion_model.") for name in file.keys())  # noqa: SIM118 - it is no dict

    # inspect it, export it for diffusers
    tab(page, "LoRA tools")
    page.set_input_files("#tool-file input[type=file]", exported)
    page.wait_for_selector("#tool-facts:has-text('zcar')")
    facts = page.inner_text("#tool-facts")
    assert "Starter" in facts and "comfyui" in facts and "30" in facts
    page.wait_for_selector("#norms canvas, #norms svg")
    page.click("#tool-form label:has-text('diffusers')")
    with page.expect_download() as download:
        page.click("#tool-export")
    download.value.save_as(tmp_path / "diffusers.safetensors")
    with safe_open(tmp_path / "diffusers.safetensors", framework="np") as file:
        assert all(name.startswith("transformer.") for name in file.keys())  # noqa: SIM118
