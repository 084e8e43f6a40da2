from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from footplate.recipes.commands.samples import read_samples
from tests.recipes.commands.calling import COMMAND, called, called_outside, run_in

SHORT = ("image_classification", "train_cfg.max_epochs=2", "train_dataloader.data.name=val")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run of two short epochs, and what the command printed."""
    folder = tmp_path_factory.mktemp("trained")
    done = called("train", *SHORT, folder=folder)
    assert done.exit_code == 0, done.stderr
    return folder, done


@pytest.mark.covers("H6")
def test_train_leaves_a_run(trained):
    folder, done = trained
    run = run_in(folder)
    assert done.stdout.splitlines()[-1].endswith(str(run.relative_to(folder)))
    assert "train [2/2]" in done.stdout
    names = {"checkpoints", "report.html", "run.log", "scalars.jsonl", "tensorboard"}
    assert names <= {path.name for path in run.iterdir()}
    lines = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    assert lines[-1]["epoch"] == 2


@pytest.mark.covers("H6", "H7")
def test_test_and_val_measure_a_run(trained):
    folder, _ = trained
    for command in ("val", "test"):
        done = called(command, run_in(folder), "--checkpoint", "best", folder=folder)
        assert done.exit_code == 0, done.stderr
        assert "accuracy" in done.stdout
        assert "10 x 10" in done.stdout


def test_a_run_is_one_wherever_it_was_moved(trained, tmp_path):
    folder, _ = trained
    shutil.copytree(folder / "runs", tmp_path / "moved")
    (run,) = tmp_path.glob("moved/*/*")
    done = called("test", run, folder=tmp_path)
    assert done.exit_code == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]


@pytest.mark.covers("H6")
@pytest.mark.parametrize("suffix", [".npy", ".csv", ".jsonl"])
def test_predict_writes_what_it_predicts_of_a_file(trained, tmp_path, suffix):
    folder, _ = trained
    images = load_digits().images[:7, None].astype("float32") / 16
    np.save(tmp_path / "images.npy", images)
    output = tmp_path / f"predictions{suffix}"
    options = ("--input", tmp_path / "images.npy", "--output", output, "--batch-size", 3)
    done = called("predict", run_in(folder), *options, folder=folder)
    assert done.exit_code == 0, done.stderr
    read = {
        ".npy": lambda: np.load(output).tolist(),
        ".csv": lambda: np.loadtxt(output, delimiter=",").tolist(),
        ".jsonl": lambda: [json.loads(line) for line in output.read_text().splitlines()],
    }
    rows = read[suffix]()
    assert [len(row) for row in rows] == [10] * 7
    whole = called("predict", run_in(folder), *options[:2], "-o", output, folder=folder)
    assert whole.exit_code == 0
    assert np.allclose(read[suffix](), rows, atol=1e-5)


@pytest.mark.covers("H6")
def test_the_environment_counts_less_than_the_command_line(tmp_path):
    options = ("image_classification", "--dry-run", "randomness.seed=5")
    done = called(
        "train",
        *options,
        folder=tmp_path,
        FOOTPLATE__RANDOMNESS__SEED="6",
        FOOTPLATE__TRAIN_CFG__MAX_EPOCHS="3",
    )
    assert done.exit_code == 0, done.stderr
    assert "seed: 5" in done.stdout
    assert "max_epochs: 3" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.covers("H3")
def test_all_that_is_wrong_is_told_at_once_without_a_traceback(tmp_path):
    wrong = (
        "optim_wrapper.optimizer.lrr=1",
        "train_cfg.max_epochs=many",
        "val_evaluator.accuracy.type=Acuracy",
    )
    done = called("train", "image_classification", *wrong, folder=tmp_path)
    assert done.exit_code == 1
    assert "optim_wrapper.optimizer.lrr: AdamW takes no 'lrr'" in done.stderr
    assert "Did you mean 'lr'?" in done.stderr
    assert "train_cfg.max_epochs" in done.stderr
    assert "Did you mean 'Accuracy'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
    options = ("train", "image_classification", *wrong, "--traceback")
    shown = called_outside(*options, folder=tmp_path)
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("image_classificatio",), "Did you mean 'image_classification'?"),
        (("nowhere.yaml",), "nowhere.yaml"),
        (("image_classification", "max_epochs"), "Write what to change as"),
        (("image_classification", "model.type=os.system", "--safe"), "it may not be used here"),
    ],
)
def test_what_it_can_not_do_ends_with_one_and_a_word(options, said, tmp_path):
    done = called("train", *options, folder=tmp_path)
    assert (done.exit_code, "Traceback" in done.stderr) == (1, False)
    assert said in done.stderr


@pytest.mark.covers("G6", "A8")
@pytest.mark.parametrize(
    ("signum", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_ends_with_its_number_and_resume_goes_on(tmp_path, signum, code):
    epochs = "train_cfg.max_epochs=60"
    command = [*COMMAND, "train", "image_classification", epochs]
    with subprocess.Popen(
        command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        for line in process.stdout:
            if line.startswith("train [2/60]"):
                break
        process.send_signal(signum)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said.splitlines()[-1].startswith("footplate train: stopped by")
    run = run_in(tmp_path)
    saved = max(path.name for path in (run / "checkpoints").iterdir())
    limit = f"train_cfg.max_epochs={int(saved) // 20 + 2}"
    moves = "param_scheduler.T_max=1200"  # as it began, so that it goes on in the same course
    done = called("train", "image_classification", limit, moves, "--resume", folder=tmp_path)
    assert done.exit_code == 0, done.stderr
    assert run_in(tmp_path) == run
    lines = (run / "scalars.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == sorted(steps)
    assert steps[-1] == (int(saved) // 20 + 2) * 20


def test_types_of_ones_own_are_found_beside_the_file(tmp_path):
    (tmp_path / "mine.py").write_text("import torch\nclass Net(torch.nn.Linear): ...\n")
    (tmp_path / "my.yaml").write_text(
        "model: {type: mine.Net, in_features: 2, out_features: 1}\n"
        "train_dataloader: {type: InMemoryLoader, data: {type: mine.data}, batch_size: 4}\n"
        "train_cfg: {max_epochs: 2, loss: torch.nn.functional.mse_loss}\n"
        "work_dir: runs\nexperiment_name: mine\n"
    )
    with (tmp_path / "mine.py").open("a") as file:
        file.write("def data():\n    return torch.ones(8, 2), torch.ones(8, 1)\n")
    done = called("train", "my.yaml", folder=tmp_path)
    assert done.exit_code == 0, done.stderr
    refused = called("train", "my.yaml", "--safe", folder=tmp_path)
    assert refused.exit_code == 1
    assert "mine.Net" in refused.stderr


MINE = """
model: {type: mine.Net, in_features: 2, out_features: 1}
train_dataloader: {type: InMemoryLoader, data: {type: mine.data}, batch_size: 4}
val_dataloader: {type: InMemoryLoader, data: {type: mine.data}, batch_size: 4}
val_evaluator: {loss: {type: Loss, loss_fn: torch.nn.functional.mse_loss}}
train_cfg: {max_epochs: 1, loss: torch.nn.functional.mse_loss}
default_hooks: {logger: {progress_bar: false}, report: null}
visualizer: false
work_dir: runs
experiment_name: mine
"""


@pytest.fixture(scope="module")
def trained_of_mine(tmp_path_factory):
    """A folder with types of its own, and a run of them in it."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "my.yaml").write_text(MINE)
    (folder / "mine.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Linear): ...\n"
        "def data():\n    return torch.ones(8, 2), torch.ones(8, 1)\n"
    )
    done = called_outside("train", "my.yaml", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder, run_in(folder)


@pytest.mark.parametrize("command", ["val", "test", "predict"])
def test_a_run_with_types_of_ones_own_is_built_unless_it_is_to_be_safe(trained_of_mine, command):
    folder, run = trained_of_mine
    options = (command, run, "test_dataloader=${val_dataloader}", "test_evaluator=${val_evaluator}")
    script = [shutil.which("footplate", path=Path(sys.executable).parent), *map(str, options)]
    done = subprocess.run(script, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # the script does not look in the folder by itself
    refused = called(*options, "--safe", folder=folder)
    assert refused.exit_code == 1
    assert "it may not be used here, given 'mine.Net'" in refused.stderr


def test_a_checkpoint_goes_by_its_name(trained):
    folder, _ = trained
    run = run_in(folder)
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    done = called("val", run, "--checkpoint", names[0], folder=folder)
    assert done.exit_code == 0, done.stderr
    refused = called("val", run, "--checkpoint", "00000999", folder=folder)
    assert refused.exit_code == 1
    assert names[-1] in refused.stderr


def test_predictions_of_several_loaders_go_to_a_file_each(trained, tmp_path):
    folder, _ = trained
    several = (
        "predict_dataloader={one: '${val_dataloader}', two: '${test_dataloader}'}",
        "-o",
        tmp_path / "new" / "p.csv",
    )
    done = called("predict", run_in(folder), *several, folder=folder)
    assert done.exit_code == 0, done.stderr
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"p_one.csv", "p_two.csv"}
    assert np.loadtxt(tmp_path / "new" / "p_one.csv", delimiter=",").shape[1] == 10


@pytest.mark.parametrize("output", ["scores.xlsx", "file/scores.npy", "folder.npy"])
def test_where_predictions_go_is_looked_at_before_there_are_any(tmp_path, output):
    (tmp_path / "file").touch()
    (tmp_path / "folder.npy").mkdir()
    done = called("predict", "nowhere.yaml", "-o", output, folder=tmp_path)
    assert (done.exit_code, "Traceback" in done.stderr) == (1, False)
    assert output.partition("/")[0] in done.stderr
    assert "nowhere" not in done.stderr


def test_what_the_runner_misses_is_told_without_a_traceback(trained_of_mine):
    folder, run = trained_of_mine
    done = called("test", run, folder=folder)
    assert (done.exit_code, "Traceback" in done.stderr) == (1, False)
    assert "test() needs test_dataloader" in done.stderr
    shown = called("test", run, "--traceback", folder=folder)
    assert isinstance(shown.exception, ValueError)


def test_an_error_of_what_is_called_has_its_traceback(tmp_path):
    (tmp_path / "mine.py").write_text("def net():\n    raise ValueError('of my own')\n")
    (tmp_path / "my.yaml").write_text("model: {type: mine.net}\nval_dataloader: [1]\n")
    done = called_outside("val", "my.yaml", folder=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_weights_that_nobody_has_trained_are_said_to_be(trained_of_mine):
    folder, run = trained_of_mine
    done = called("val", "my.yaml", folder=folder)
    assert done.exit_code == 0, done.stderr
    assert "my.yaml loads no weights" in done.stderr
    weights = next(run.glob("checkpoints/*/model.safetensors"))
    for change in (f"load_from={weights}", "resume=true"):
        done = called("val", "my.yaml", change, folder=folder)
        assert done.exit_code == 0, done.stderr
        assert "loads no weights" not in done.stderr


def test_samples_of_double_precision_become_single(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 2)))
    (samples,) = read_samples(tmp_path / "a.npy", 3)
    assert samples.dtype == torch.float32
    np.save(tmp_path / "a.npy", np.ones((3, 2), dtype=np.int64))
    (samples,) = read_samples(tmp_path / "a.npy", 3)
    assert samples.dtype == torch.int64


def test_a_report_is_opened_in_the_browser(trained, tmp_path):
    folder, _ = trained
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    done = called_outside("report", run_in(folder), "--open", BROWSER=str(browser))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "opened").read_text().strip() == (run_in(folder) / "report.html").as_uri()
    (tmp_path / "opened").unlink()
    called_outside("report", run_in(folder), BROWSER=str(browser))
    assert not (tmp_path / "opened").exists()
