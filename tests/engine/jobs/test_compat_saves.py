"""What AI Toolkit's jobs draw and save while they train."""

from __future__ import annotations

from ai_toolkit import changed, read


def test_flags_in_prompts_become_settings_and_the_order_stays() -> None:
    prompts = [
        "a cat",
        "a dog -- well--known --w 512 --h 768 --d 7 --cfg 2.5 --steps 9 --m 0.5 --n mud",
        "a car --ctrl_img x.png --fps 24 --w wide --zz 3",
    ]
    job, notes = read(changed("sample", prompts=prompts))
    assert job.sample.prompts == []
    cat, dog, car = job.sample.samples
    assert cat.prompt == "a cat" and cat.width is None
    assert dog.prompt == "a dog -- well--known" and dog.neg == "mud"
    assert (dog.width, dog.height, dog.seed, dog.guidance_scale, dog.sample_steps, dog.network_multiplier) == (512, 768, 7, 2.5, 9, 0.5)
    assert (car.prompt, car.ctrl_img, car.fps) == ("a car", "x.png", 24)
    assert "sample prompt 3 has --w --zz, not supported yet" in notes


def test_sampling_that_is_off_stays_off() -> None:
    job, _ = read(changed("train", disable_sampling=True))
    assert job.sample.sample_every is None and job.sample.skip_first_sample
    assert read(changed("sample", sample_every=0))[0].sample.sample_every is None
    assert read(changed("train", skip_first_sample=True))[0].sample.skip_first_sample
    assert read(changed("save", save_every=None))[0].save.save_every is None
    assert read(changed("save", max_step_saves_to_keep=0))[0].save.max_step_saves_to_keep == 10000  # there, all are kept


def test_the_first_sample_of_a_run_that_goes_on_and_keeping_all_checkpoints() -> None:
    assert read(changed("train", force_first_sample=True))[0].sample.force_first_sample
    job, notes = read(changed("save", max_step_saves_to_keep=0))
    assert job.save.max_step_saves_to_keep == 10000 and "with 0 AI Toolkit keeps all checkpoints" in notes


def test_a_single_file_of_a_whole_model_is_said_to_be_a_folder() -> None:
    whole = changed("save", save_format="safetensors")
    whole["config"]["process"][0].pop("network")
    assert "saved as folders in diffusers layout" in read(whole)[1]
    assert "saved as folders" not in read(changed("save", save_format="safetensors"))[1]
