from expllm.distributed.training_progress import line
from expllm.train_config import TrainConfig

CONFIG = TrainConfig(faces="faces", output="out", steps=500, workers=4)


def test_a_line_tells_the_step_the_loss_and_the_time_left() -> None:
    report = {"step": 100, "steps": 500, "loss": 2.3456, "elapsed_s": 60.0}
    assert line(report, CONFIG) == "100 of 500 steps, loss 2.346, 0:04:00 left"


def test_before_the_first_report_a_line_tells_what_is_waited_for() -> None:
    assert line({}, CONFIG) == "waiting for 4 workers to begin"
