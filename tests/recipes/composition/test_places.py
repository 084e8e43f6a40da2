"""Where a run is kept, in what it takes place, and where its numbers go."""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import re
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from footplate.engine.stream.journal import Journal
from footplate.recipes.composition.options import EnvCfg
from footplate.recipes.composition.surroundings import set_up
from footplate.recipes.config.layers import load
from footplate.recipes.config.problems import ConfigError
from footplate.recipes.runner import Runner
from tests.architecture.library import ROOT
from tests.recipes.composition.tools import loader, runner, same, weights

# ---------------------------------------------------------------------- folders


@pytest.mark.covers("H5")
def test_the_folder_of_a_run_and_what_is_in_it(tmp_path):
    made = runner(
        tmp_path, experiment_name="first", default_hooks={"report": {}, "logger": {"interval": 1}}
    )
    made.train()
    assert made.folder == tmp_path / "first" / made.timestamp
    assert re.fullmatch(r"\d{8}_\d{6}", made.timestamp)
    names = {one.name for one in made.folder.iterdir()}
    assert names >= {
        "checkpoints",
        "config.yaml",
        "environment.json",
        "report.html",
        "run.json",
        "run.log",
        "scalars.jsonl",
        "tensorboard",
    }
    found = load(made.folder / "config.yaml", environment={}).values
    assert found == made.cfg
    assert found["train_cfg"]["max_epochs"] == 2
    assert found["experiment_name"] == "first"
    assert json.loads((made.folder / "run.json").read_text())["name"] == "first"
    assert json.loads((made.folder / "environment.json").read_text())["seed"] == 7
    assert "val_mse" in (made.folder / "run.log").read_text()
    (manifest,) = made.folder.glob("checkpoints/*/manifest.json")
    assert json.loads(manifest.read_text())["config"] == made.cfg


@pytest.mark.covers("H5")
def test_runs_of_one_second_have_folders_of_their_own(tmp_path):
    runners = [runner(tmp_path) for _ in range(3)]
    assert len({one.folder for one in runners}) == 3
    made = [runner(tmp_path / "named", experiment_name="a") for _ in range(2)]
    assert made[0].folder.parent == made[1].folder.parent == tmp_path / "named" / "a"


@pytest.mark.covers("H5")
def test_a_run_is_kept_where_it_was_begun_wherever_the_process_works_by_then(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    monkeypatch.chdir(here)
    trained, unused = runner("runs"), runner("runs")
    assert trained.folder.parent == unused.folder.parent == here / "runs"
    monkeypatch.chdir(there)
    trained.train()
    of_same_name = there / "runs" / unused.folder.name
    of_same_name.mkdir(parents=True)
    del unused  # with its folder, in which there is nothing
    gc.collect()
    assert list(here.glob("runs/*")) == [trained.folder]
    assert list(there.rglob("*")) == [there / "runs", of_same_name]
    assert (trained.folder / "checkpoints").is_dir()


@pytest.mark.covers("H5")
def test_without_a_name_the_time_is_the_name(tmp_path):
    made = runner(tmp_path)
    assert made.experiment_name == made.timestamp
    assert made.folder.parent == tmp_path


@pytest.mark.covers("H4")
def test_a_call_that_trains_nothing_keeps_its_configuration_too(tmp_path):
    made = runner(tmp_path)
    made.val()
    assert (made.folder / "config.yaml").is_file()
    assert json.loads((made.folder / "run.json").read_text())["engine"] == "val"


# ---------------------------------------------------------------------- seeds


@pytest.mark.covers("H5")
def test_equal_seeds_give_equal_runs(tmp_path):
    def trained(seed):
        made = runner(
            tmp_path,
            model={"type": nn.Linear, "in_features": 1, "out_features": 1},
            train_dataloader=loader(shuffle=True),
            randomness={"seed": seed},
        )
        made.train()
        return weights(made.model)

    assert same(trained(3), trained(3))
    assert not same(trained(3), trained(4))


@pytest.mark.covers("H5")
def test_a_seed_that_nobody_gives_is_drawn_once_and_told(tmp_path):
    made = runner(tmp_path, randomness={"seed": None})
    other = runner(tmp_path, randomness=None)
    assert isinstance(made.seed, int)
    assert made.seed != other.seed
    seed = other.seed
    other.train()
    assert other.seed == seed
    told = json.loads((other.folder / "environment.json").read_text())
    assert told["seed"] == seed
    (manifest,) = other.folder.glob("checkpoints/*/manifest.json")
    assert json.loads(manifest.read_text())["seed"] == seed


@pytest.fixture
def process():
    """What a runner sets in its process is set back."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, torch.get_num_threads()
    yield
    cudnn.benchmark, cudnn.deterministic = before[:2]
    torch.set_num_threads(before[2])
    torch.use_deterministic_algorithms(False)


@pytest.mark.covers("H5")
@pytest.mark.parametrize(
    ("deterministic", "asked", "expected"),
    [(False, True, True), (False, False, False), (True, True, False), ("warn", True, False)],
)
def test_determinism_beats_the_benchmark(tmp_path, process, deterministic, asked, expected):
    made = runner(
        tmp_path,
        randomness={"seed": 1, "deterministic": deterministic},
        env_cfg={"cudnn_benchmark": asked},
    )
    assert torch.backends.cudnn.benchmark is expected
    assert made.deterministic == deterministic
    assert torch.are_deterministic_algorithms_enabled() is bool(deterministic)


@pytest.mark.covers("H5")
def test_what_env_cfg_sets(tmp_path, process):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    method = multiprocessing.get_start_method()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
        env = {
            "mp_cfg": {"mp_start_method": "spawn", "opencv_num_threads": 0},
            "dist_cfg": {"backend": "nccl", "timeout": 1800},
            "resource_limit": 300,
            "threads": 1,
            "device": "cpu",
        }
        made = runner(tmp_path, env_cfg=env)
        assert multiprocessing.get_start_method() == "spawn"
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300
        assert torch.get_num_threads() == 1
        assert made.device == torch.device("cpu")
        runner(tmp_path, env_cfg={"resource_limit": 250})
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300  # never fewer
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        multiprocessing.set_start_method(method, force=True)


@pytest.mark.covers("H5")
def test_threads_of_opencv_are_as_many_as_is_said(tmp_path, process):
    cv2 = pytest.importorskip("cv2")
    before = cv2.getNumThreads()
    try:
        runner(tmp_path, env_cfg={"mp_cfg": {"opencv_num_threads": before + 1}})
        assert cv2.getNumThreads() == before + 1
    finally:
        cv2.setNumThreads(before)


@pytest.mark.covers("H5")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cpuu", r"env_cfg\.device: device 'cpuu' can't be used here .*Did you mean 'cpu'\?"),
        ("cuda:99", r"env_cfg\.device: device 'cuda:99' can't be used here"),
    ],
)
def test_a_device_that_is_not_there_is_refused(name, said):
    with pytest.raises(ConfigError, match=said):
        set_up(EnvCfg(device=name), deterministic=False)


@pytest.mark.covers("H3")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"env_cfg": {"cudnn_benchmrk": True}}, r"env_cfg\.cudnn_benchmrk: .*'cudnn_benchmark'"),
        (
            {"env_cfg": {"mp_cfg": {"mp_start": "fork"}}},
            r"env_cfg\.mp_cfg\.mp_start: .*'mp_start_m",
        ),
        (
            {"env_cfg": {"mp_cfg": {"mp_start_method": "thread"}}},
            r"env_cfg\.mp_cfg\.mp_start_method",
        ),
        ({"env_cfg": {"mp_cfg": 5}}, r"env_cfg\.mp_cfg"),
        ({"env_cfg": {"dist_cfg": {"backnd": "gloo"}}}, r"env_cfg\.dist_cfg\.backnd: .*'backend'"),
        ({"env_cfg": {"resource_limit": -1}}, r"env_cfg\.resource_limit: .*from 1 on"),
        ({"env_cfg": []}, r"env_cfg: EnvCfg takes its arguments as a mapping"),
        ({"randomness": {"sed": 1}}, r"randomness\.sed: .*'seed'"),
        ({"randomness": {"seed": 2**32}}, r"randomness\.seed: is below 2\*\*32"),
        ({"randomness": {"seed": -1}}, r"randomness\.seed: .*from 0 on"),
        ({"randomness": {"deterministic": "yes"}}, r"randomness\.deterministic"),
        ({"auto_scale_lr": {"enable": True}}, r"auto_scale_lr\.base_batch_size: .*missing"),
        ({"auto_scale_lr": {"base_batch_size": 0}}, r"auto_scale_lr\.base_batch_size"),
        ({"log_processor": {"window_sise": 1}}, r"log_processor\.window_sise: .*'window_size'"),
        ({"log_level": "LOUD"}, r"log_level: is one of"),
        ({"launcher": "pytorhc"}, r"launcher: is one of none, auto, pytorch.*'pytorch'"),
        ({"env_cfg": {"dist_cfg": {"timeout": 0}}}, r"timeout: is a number of seconds above 0"),
        ({"resume": 3}, r"resume: is true or false"),
        ({"load_from": 3}, r"load_from: is a text"),
        ({"experiment_name": 3}, r"experiment_name: is a text"),
        ({"compile": "yes"}, r"compile: is true or false"),
        ({"model": 5}, r"model: a model is a Module of torch, or a mapping with type"),
        ({"model": {"in_features": 1}}, r"model\.type: a model needs a type"),
        ({"model": {"type": "torch.nn.Linaer"}}, r"model\.type"),
        ({"model": {"type": nn.Linear, "in_features": 1}}, r"model\.out_features: .*missing"),
        ({"visualizer": 5}, r"visualizer: is no sink"),
        ({"visualizer": {"type": "LocalVisBackand"}}, r"visualizer\.type: .*'LocalVisBackend'"),
        (
            {"visualizer": {"type": "Visualizer", "vis_backends": [{"type": "Csv"}]}},
            r"visualizer\.vis_backends\[0\]\.type: .*There are .*CSVVisBackend",
        ),
        (
            {"train_dataloader": {"dataset": [1], "sampler": 3}},
            r"train_dataloader\.sampler: is no s",
        ),
        ({"train_dataloader": {"batch_size": 3}}, r"train_dataloader"),
        ({"train_dataloader": 5}, r"train_dataloader: can't be iterated over"),
        (
            {"data_preprocessor": {"type": nn.Identity}},
            r"data_preprocessor: the model is built already",
        ),
    ],
)
def test_wrong_arguments_are_refused_with_their_path(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said):
        Runner(**{"model": nn.Identity(), "work_dir": tmp_path, **changes})


@pytest.mark.covers("H3")
def test_an_argument_that_is_none_is_refused_by_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"optimizer: the runner has no such argument"):
        Runner.from_cfg({"model": {"type": nn.Identity}, "optimizer": {"type": "SGD"}})
    with pytest.raises(ConfigError, match=r"custom_imports: .* by its path, as type: my_module\.N"):
        Runner.from_cfg({"model": {"type": nn.Identity}, "custom_imports": {"imports": ["mine"]}})
    misnamed: dict[str, Any] = {"trainer_cfg": {"max_epochs": 3}, "val_cfg": {"prefx": "val"}}
    with pytest.raises(ConfigError) as caught:
        Runner(nn.Identity(), tmp_path, **misnamed)
    assert {one.path for one in caught.value.problems} == {"trainer_cfg", "val_cfg.prefx"}
    assert "Did you mean 'train_cfg'?" in str(caught.value)
    with pytest.raises(ConfigError, match=r"runner_type: .*'Runner'"):
        Runner.from_cfg({"model": {"type": nn.Identity}, "runner_type": "Runer"})


# ---------------------------------------------------------------------- sinks


@pytest.mark.covers("H2")
@pytest.mark.parametrize(
    ("given", "files"),
    [
        (None, {"tensorboard"}),
        (False, set()),
        ({"type": "CSVVisBackend"}, {"scalars.csv"}),
        (
            [{"type": "CSVVisBackend"}, {"type": "TensorboardVisBackend"}],
            {"scalars.csv", "tensorboard"},
        ),
        (
            {"type": "Visualizer", "vis_backends": [{"type": "CSVVisBackend"}]},
            {"scalars.csv"},
        ),
    ],
    ids=["default", "none", "one", "several", "visualizer"],
)
def test_where_numbers_go_besides(tmp_path, given, files):
    made = runner(tmp_path, visualizer=given)
    made.train()
    names = {one.name for one in made.folder.iterdir()}
    assert names & {"tensorboard", "scalars.csv"} == files


@pytest.mark.covers("H2")
def test_statistics_of_what_is_logged(tmp_path):
    processor = {
        "window_size": 2,
        "custom_cfg": [
            {"data_src": "loss", "method_name": "max", "window_size": "global", "log_name": "worst"}
        ],
    }
    made = runner(tmp_path, log_processor=processor)
    made.train()
    lines = Journal.read(made.folder / "scalars.jsonl")
    within = [line for line in lines if line["on"] == "iteration"]
    assert [line["step"] for line in within] == [2, 4, 6, 8]
    assert within[-1]["worst"] == max(line["worst"] for line in within)


@pytest.mark.covers("H1")
def test_what_the_library_says_is_in_the_log(tmp_path):
    made = runner(tmp_path, log_level="DEBUG")
    made.trainer.add_event_handler("STARTED", lambda: made.logger.debug("a word"))
    made.train()
    made.logger.warning("too late")
    log = (made.folder / "run.log").read_text()
    assert re.search(r"DEBUG  a word\n", log)
    assert "too late" not in log
    assert made.logger.getEffectiveLevel() == logging.WARNING
    quiet = runner(tmp_path, default_hooks={"logger": None})
    quiet.train()
    assert not (quiet.folder / "run.log").exists()


# ---------------------------------------------------------------------- loaders


@pytest.mark.covers("H2")
def test_loaders_of_a_mapping(tmp_path):
    def double(batch, factor):
        return torch.utils.data.default_collate(batch)[0] * factor

    made = runner(tmp_path)
    given = {
        "dataset": {"type": "tests.recipes.composition.tools.Numbers", "size": 5},
        "sampler": {"type": "DefaultSampler", "shuffle": True},
        "batch_size": 2,
        "drop_last": True,
        "collate_fn": {"type": double, "factor": 2},
    }
    built = made.build_dataloader(given)
    assert (len(built), built.batch_size) == (2, 2)
    assert next(iter(built)).shape == (2, 1)
    batches = {
        "dataset": loader()["dataset"],
        "batch_sampler": {"type": "BatchSampler", "batch_size": 3, "drop_last": False},
    }
    assert [len(x) for x, _ in made.build_dataloader(batches)] == [3, 3, 2]
    shuffled = made.build_dataloader(loader(shuffle=True))
    again = made.build_dataloader(loader(shuffle=True))
    assert [x.tolist() for x, _ in shuffled] == [x.tolist() for x, _ in again]
    other = made.build_dataloader(loader(shuffle=True), seed=99)
    assert [x.tolist() for x, _ in other] != [x.tolist() for x, _ in again]


@pytest.mark.covers("H3")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"shuffle": True, "sampler": {"type": "DefaultSampler"}}, r"\.shuffle: the sampler says"),
        ({"sampler": {"type": "DefaultSamplr"}}, r"\.sampler\.type: .*'DefaultSampler'"),
        ({"sampler": {"type": "DefaultSampler", "shufle": 1}}, r"\.sampler\.shufle: .*'shuffle'"),
        ({"batch_sampler": {"type": "BatchSampler"}}, r"\.batch_sampler\.drop_last"),
        ({"collate_fn": 5}, r"\.collate_fn: is no function"),
        ({"collate_fn": "torch.nothing"}, r"\.collate_fn"),
        (
            {"collate_fn": {"type": "torch.utils.data.default_collate", "dimm": 1}},
            r"\.collate_fn\.dimm: default_collate takes no 'dimm'",
        ),
        ({"dataset": "numbers"}, r"\.dataset: is no data set"),
        ({"dataset": {"type": "torch.utils.data.TensrDataset"}}, r"\.dataset\.type"),
        ({"num_worker": 1}, r"\.num_worker: .*'num_workers'"),
        ({"batch_size": "many"}, r"\.batch_size"),
    ],
)
@pytest.mark.parametrize("name", ["train_dataloader", "val_dataloader"])
def test_wrong_loaders_are_refused(tmp_path, given, said, name):
    with pytest.raises(ConfigError, match=f"{name}{said}"):
        runner(tmp_path, **{name: {**loader(), **given}})


@pytest.mark.covers("H3")
def test_of_several_loaders_the_wrong_one_is_named(tmp_path):
    several = {"clean": loader(), "noisy": {**loader(), "shufle": True}}
    with pytest.raises(ConfigError, match=r"val_dataloader\.noisy\.shufle: .*'shuffle'"):
        runner(tmp_path, val_dataloader=several)
    with pytest.raises(ConfigError, match=r"val_dataloader\[1\]\.shufle: .*'shuffle'"):
        runner(tmp_path, val_dataloader=list(several.values()))


@pytest.mark.covers("H1")
def test_importing_the_runner_changes_nothing():
    code = (
        "import torch, multiprocessing; before = torch.get_num_threads();"
        "import footplate.recipes.runner; assert torch.get_num_threads() == before;"
        "assert multiprocessing.get_start_method(allow_none=True) is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
