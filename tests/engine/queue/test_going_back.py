"""Finished runs that do more steps, or go back to an earlier one."""

from __future__ import annotations

import pytest
from counting import Make, a_job, counted, keep, status, stepped, wait_for

from engine.errors import JobError
from engine.runs.folder import RunFolder


def test_a_finished_run_does_more_steps_or_goes_back_to_an_earlier_one(make: Make) -> None:
    runner = make(keep)
    runner.submit(a_job(steps=3))
    wait_for(lambda: status(runner, "cats") == "completed")
    runner.more("cats", 2)
    wait_for(lambda: status(runner, "cats") == "completed")
    assert counted(runner, "cats") == [1, 2, 3, 4, 5]
    assert [point.step for point in runner.points("cats") if point.exact] == [1, 2, 3, 4, 5]
    with pytest.raises(JobError, match=r"cats is finished.*more steps"):
        runner.resume("cats")
    with pytest.raises(JobError, match="cats is finished"):
        runner.resume("cats", step=5)
    with pytest.raises(JobError, match=r"cannot go back to step 9\. It can go on from step 1, 2, 3, 4, 5\."):
        runner.resume("cats", step=9)
    runner.resume("cats", step=2)
    wait_for(lambda: status(runner, "cats") == "completed")
    assert counted(runner, "cats") == [1, 2, 3, 4, 5, 3]  # five steps were asked for after step 3, which does not count any more


def test_a_longer_job_of_the_same_name_goes_on_and_other_settings_need_a_step(make: Make) -> None:
    runner = make(keep)
    runner.submit(a_job(steps=3))
    wait_for(lambda: status(runner, "cats") == "completed")
    runner.submit(a_job(steps=4))
    wait_for(lambda: status(runner, "cats") == "completed")
    with pytest.raises(JobError, match=r"with other settings: train\.lr was 0\.0001, is 0\.01; train\.steps was 4, is 6\..*--from"):
        runner.submit(a_job(steps=6, lr=0.01))
    with pytest.raises(JobError, match=r"does not fit other settings: train\.optimizer was 'adamw8bit', is 'lion'\."):
        runner.submit(a_job(steps=6, optimizer="lion"), step=2)
    assert runner.points("cats")[-1].step == 4
    runner.submit(a_job(steps=6, lr=0.01), step=4)
    wait_for(lambda: status(runner, "cats") == "completed")
    assert counted(runner, "cats") == [1, 2, 3, 4, 5, 6] and RunFolder(runner.get("cats").folder).job().train.lr == 0.01
    with pytest.raises(JobError, match="no run named dogs to go back in"):
        runner.submit(a_job("dogs", steps=6), step=4)


def test_nothing_is_put_aside_of_a_run_while_it_or_another_is_on(make: Make) -> None:
    runner = make(keep)
    runner.submit(a_job(steps=3))
    wait_for(lambda: status(runner, "cats") == "completed")
    runner.submit(a_job("dogs", steps=100_000))
    wait_for(lambda: stepped(runner, "dogs"))
    with pytest.raises(JobError, match=r"dogs is running\.$|dogs is running\. Stop it first"):
        runner.resume("dogs", step=1)
    with pytest.raises(JobError, match=r"dogs is running.*Change train\.steps"):
        runner.more("dogs", 5)
    with pytest.raises(JobError, match="dogs is running on this computer"):
        next(runner.go_on("cats", step=1))
    assert [point.step for point in runner.points("cats")] == [1, 2, 3]
    runner.ask("dogs", "stop")
