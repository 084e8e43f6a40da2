from __future__ import annotations

import json
import shutil
import signal
import subprocess

import numpy as np
import pytest
from sklearn.datasets import load_digits

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
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
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
    done = called("train", "image_classification", limit, "--resume", folder=tmp_path)
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
