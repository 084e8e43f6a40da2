"""Event files, read back by TensorBoard's own reader."""

from __future__ import annotations

import io
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from tensorboard import context
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment
from tensorboard.plugins.hparams.list_session_groups import Handler as SessionGroups
from torch import nn

from footplate import Events
from footplate.engine.stream.media import show
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.tensorboard import TensorBoard
from tests.handlers.logging_losses import engine_with
from tests.handlers.repeated_evaluation import EXPECTED, WAYS, repeat


def read(folder):
    return EventAccumulator(str(folder)).Reload()


def scalars(folder):
    """Every scalar that TensorBoard shows: pairs of step and value by tag."""
    events = read(folder)
    tags = events.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}


@pytest.mark.covers("F3")
@pytest.mark.covers("F4")
def test_scalars_are_read_at_their_iterations(tmp_path):
    engine = engine_with(TensorBoard(tmp_path))
    engine.on(Events.EPOCH_STARTED)(lambda e: e.log("score", 2.0, on="epoch"))
    engine.run([4.0, math.nan, math.inf])
    found = scalars(tmp_path)
    assert found["train/score"] == [(3, 2.0)]
    steps, values = zip(*found["train/loss"], strict=True)
    assert steps == (1, 2, 3)
    assert (values[0], values[2]) == (4.0, math.inf)
    assert math.isnan(values[1])


@pytest.mark.covers("F4")
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_files_are_whole_after_an_error(tmp_path, error):
    board = TensorBoard(tmp_path)
    engine = engine_with(board)

    @engine.on(Events.ITERATION_STARTED(once=3))
    def fail():
        raise error

    with pytest.raises(error):
        engine.run([4.0, 2.0, 1.0])
    assert board.client is None
    assert scalars(tmp_path) == {"train/loss": [(1, 4.0), (2, 2.0)]}


@pytest.mark.covers("F6")
def test_names_an_interval_and_values_for_others(tmp_path):
    def step(engine, batch):
        engine.log("mine", batch, to="tensorboard")
        engine.log("theirs", batch, to=["second"])
        return {"loss": batch, "other": batch}

    engine = engine_with(
        TensorBoard(tmp_path / "a", names=["loss", "*s", "m*"], every=2), step=step
    )
    second = TensorBoard(tmp_path / "b")
    second.name = "second"
    engine.attach(second)
    engine.run([4.0, 2.0])
    assert scalars(tmp_path / "a") == {"train/loss": [(2, 2.0)], "train/mine": [(2, 2.0)]}
    assert set(scalars(tmp_path / "b")) == {"train/loss", "train/other", "train/theirs"}


def test_runs_of_one_second_and_engines_of_one_folder_keep_files_of_their_own(tmp_path):
    engine = engine_with(TensorBoard(tmp_path))
    evaluator = engine_with(TensorBoard(tmp_path), name="val")
    engine.run([4.0], max_epochs=1)
    evaluator.run([3.0])
    engine.run([4.0], max_epochs=2)
    assert scalars(tmp_path) == {"train/loss": [(1, 4.0), (2, 4.0)], "val/loss": [(1, 3.0)]}
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.covers("F4")
def test_one_object_serves_nested_engines_and_a_tester(tmp_path):
    board = TensorBoard(tmp_path)
    trainer, evaluator, tester = (engine_with(board, n) for n in ("train", "val", "test"))
    trainer.attach(Evaluation(evaluator, [7.0]))
    trainer.run([1.0], max_epochs=2)
    tester.run([9.0, 8.0])
    found = scalars(tmp_path)
    assert found["train/loss"] == [(1, 1.0), (2, 1.0)]
    assert [value for _, value in found["val/loss"]] == [7.0, 7.0]
    assert found["test/loss"] == [(1, 9.0), (2, 8.0)]


@pytest.mark.covers("F3")
def test_what_was_written_beyond_the_place_where_a_run_goes_on_is_hidden(tmp_path):
    first, saved = engine_with(TensorBoard(tmp_path)), []
    first.on(Events.SAFE_POINT(once=1))(lambda e: saved.append(e.state_dict()))
    first.run([4.0, 2.0, 1.0])
    for _ in range(3):  # within one second
        again = engine_with(TensorBoard(tmp_path))
        again.load_state_dict(saved[0])
        again.run([4.0, 5.0, 6.0])
    assert scalars(tmp_path) == {"train/loss": [(1, 4.0), (2, 5.0), (3, 6.0)]}


# ------------------------------------------------------------------ media


def shown(folder, kind, name, value, **options):
    engine = engine_with(TensorBoard(folder, **options), step=lambda e, b: show(e, kind, name, b))
    engine.run([value])
    return read(folder)


@pytest.mark.covers("F3")
@pytest.mark.covers("F10")
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
def test_images_come_back_to_the_point(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    (found,) = shown(tmp_path, "image", "seen", image).Images("train/seen")
    assert (found.step, found.height, found.width) == (1, 4, 6)
    back = np.round(imread(io.BytesIO(found.encoded_image_string)) * 255)[..., :3]
    assert np.array_equal(back, image if image.ndim == 3 else np.stack([image] * 3, axis=-1))


@pytest.mark.covers("F10")
def test_several_images_are_one(tmp_path):
    several = torch.zeros(4, 5, 6, 3, dtype=torch.uint8)
    (found,) = shown(tmp_path, "image", "seen", several).Images("train/seen")
    assert (found.height, found.width) == (5, 24)


@pytest.mark.covers("F3")
def test_a_figure_is_an_image_and_stays_open(tmp_path):
    figure = Figure((2, 1), 100)
    figure.add_subplot().plot([1, 2])
    (found,) = shown(tmp_path, "figure", "curve", figure).Images("train/curve")
    assert (found.height, found.width) == (100, 200)
    assert len(figure.axes) == 1


@pytest.mark.covers("F3")
def test_histograms_hold_what_was_counted(tmp_path):
    values = torch.tensor([0.0, 1.0, 1.0, 4.0, math.nan])
    events = shown(tmp_path, "histogram", "weights", values)
    (found,) = events.Histograms("train/weights")
    histogram = found.histogram_value
    assert (histogram.min, histogram.max, histogram.num) == (0.0, 4.0, 4)
    assert (histogram.sum, histogram.sum_squares, sum(histogram.bucket)) == (6.0, 18.0, 4)
    assert "train/weights/not_finite/text_summary" in events.Tags()["tensors"]


@pytest.mark.covers("F3")
@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("text", "a *word*", "a *word*"),
        ("table", [{"class": "a|b", "recall": 0.5}, {"class": "c"}],
         "| class | recall |\n| --- | --- |\n| a\\|b | 0.5 |\n| c | None |"),
    ],
)  # fmt: skip
def test_texts_and_tables_are_texts(tmp_path, kind, value, text):
    (found,) = shown(tmp_path, kind, "said", value).Tensors("train/said/text_summary")
    assert found.tensor_proto.string_val[0].decode() == text


# ------------------------------------------------------------------ graph and hyper-parameters


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


def network():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), Noise(), nn.Linear(3, 1))


@pytest.mark.covers("F3")
def test_a_graph_is_drawn_and_leaves_no_trace(tmp_path):
    model = network()
    model[1].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    board = TensorBoard(tmp_path, graph=(model, torch.randn(4, 2)))
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    engine_with(board).run([1.0])
    assert torch.equal(torch.rand(1), expected)
    assert [module.training for module in model] == [True, False, True, True]
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    names = [node.name for node in read(tmp_path).Graph().node]
    assert any("Linear[0]" in name for name in names)
    assert any("Linear[3]" in name for name in names)


def test_a_graph_of_several_inputs_and_a_dictionary(tmp_path):
    class Net(nn.Module):
        def forward(self, x, y):
            return {"sum": x + y}

    engine_with(TensorBoard(tmp_path, graph=(Net(), (torch.ones(2), torch.ones(2))))).run([1.0])
    assert any("aten::add" in node.op for node in read(tmp_path).Graph().node)


def test_a_model_that_can_not_be_traced_is_a_clear_error(tmp_path, capsys):
    engine = engine_with(TensorBoard(tmp_path, graph=(network(), torch.randn(4, 7))))
    with pytest.raises(ValueError, match=r"graph of Sequential can't be drawn: .*leave graph= out"):
        engine.run([1.0])
    assert capsys.readouterr().out == ""


def test_a_graph_needs_the_package_of_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"graph .* pip install 'footplate\[tensorboard\]'"):
        TensorBoard(tmp_path, graph=(network(), torch.randn(4, 2)))
    TensorBoard(tmp_path)  # the rest does not


def sessions(folder):
    """What the tab HPARAMS shows: hyper-parameters, metrics and status by run."""
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    backend = backend_context.Context(SimpleNamespace(data_provider=provider))
    statuses = api_pb2.Status.values()
    request = api_pb2.ListSessionGroupsRequest(
        slice_size=10, allowed_statuses=statuses, include_metrics=True
    )
    asked = context.RequestContext()
    experiment = get_experiment.Handler(asked, backend, "", api_pb2.GetExperimentRequest()).run()
    found = {}
    for group in SessionGroups(asked, backend, "", request).run().session_groups:
        (session,) = group.sessions
        parameters = {key: value.ListFields()[0][1] for key, value in group.hparams.items()}
        metrics = {one.name.tag: one.value for one in session.metric_values}
        found[session.name] = parameters, metrics, api_pb2.Status.Name(session.status)
    return found, {one.name for one in experiment.hparam_infos}


@pytest.mark.covers("F3")
def test_hyper_parameters_stand_beside_the_final_metrics(tmp_path):
    for name, lr in (("a", 0.5), ("b", 0.25)):
        given = {"lr": lr, "model": {"width": [1, 2], "act": None, "bias": True}}
        board = TensorBoard(tmp_path / name, hyper_parameters=given)
        engine_with(board, step=lambda e, b, lr=lr: {"loss": b * lr}).run([4.0, 2.0])
    found, names = sessions(tmp_path)
    assert names == {"lr", "model.width", "model.act", "model.bias"}
    common = {"model.width": "[1, 2]", "model.act": "None", "model.bias": True}
    assert found == {
        "a": ({"lr": 0.5, **common}, {"train/loss": 1.0}, "STATUS_SUCCESS"),
        "b": ({"lr": 0.25, **common}, {"train/loss": 0.5}, "STATUS_SUCCESS"),
    }


def test_a_run_that_failed_and_went_on_is_a_success(tmp_path):
    engine = engine_with(TensorBoard(tmp_path / "a", hyper_parameters={"lr": 0.5}))
    failures = iter([True])
    engine.on(Events.ITERATION_STARTED(once=2))(lambda: 1 / 0 if next(failures, False) else None)
    with pytest.raises(ZeroDivisionError):
        engine.run([4.0, 2.0])
    assert sessions(tmp_path)[0]["a"][2] == "STATUS_UNKNOWN"
    engine.run()
    assert sessions(tmp_path)[0]["a"] == ({"lr": 0.5}, {"train/loss": 2.0}, "STATUS_SUCCESS")


def test_hyper_parameters_that_are_not_plain_are_refused(tmp_path):
    with pytest.raises(TypeError, match="hyper-parameter 'model' is"):
        TensorBoard(tmp_path, hyper_parameters={"model": network()})


@pytest.mark.covers("F4")
def test_the_writer_is_at_hand(tmp_path):
    board = TensorBoard(tmp_path)

    def step(engine, batch):
        board.client.add_scalar("mine", batch, engine.state.iteration)

    engine_with(board, step=step).run([3.0])
    assert scalars(tmp_path) == {"mine": [(1, 3.0)]}


# ------------------------------------------------------------------ runs anew and that go on


@pytest.mark.covers("F4", "G4")
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_an_evaluation_that_comes_again_is_there_once(tmp_path, way, both):
    repeat(tmp_path / "saved", lambda: TensorBoard(tmp_path / "board"), way, both=both)
    found = scalars(tmp_path / "board")
    assert found["val/loss"] == EXPECTED[way]
    if both:
        assert [step for step, _ in found["train/loss"]] == [1, 2, 3, 4]


@pytest.mark.covers("F4")
@pytest.mark.parametrize("both", [True, False])
def test_an_evaluation_that_was_cut_is_there_once_when_its_process_goes_on(tmp_path, both):
    board = lambda: TensorBoard(tmp_path / "board")  # noqa: E731
    repeat(tmp_path / "saved", board, "cut", both=both, in_process=True)
    assert scalars(tmp_path / "board")["val/loss"] == EXPECTED["cut"]


@pytest.mark.covers("F4")
def test_a_run_that_starts_anew_sets_the_files_aside_and_leaves_those_of_others(tmp_path):
    folder = tmp_path / "board"
    for losses in ([4.0, 3.0, 2.0], [9.0], [1.0, 0.5]):
        engine_with(TensorBoard(folder)).run(losses)
        engine_with(TensorBoard(folder), name="test").run([7.0])
        (folder / "mine.txt").write_text("")
    assert scalars(folder) == {"train/loss": [(1, 1.0), (2, 0.5)], "test/loss": [(1, 7.0)]}
    assert scalars(tmp_path / "board.1")["train/loss"] == [(1, 4.0), (2, 3.0), (3, 2.0)]
    assert (folder / "mine.txt").exists()
    found = [scalars(one) for one in sorted(tmp_path.glob("board.?"))]
    assert sum("train/loss" in one for one in found) == 2


@pytest.mark.covers("F4")
def test_a_killed_process_loses_nothing(tmp_path):
    board, seen = TensorBoard(tmp_path), []
    engine = engine_with(board)
    engine.on(Events.ITERATION_COMPLETED, priority="LOWEST")(
        lambda: seen.append(len(scalars(tmp_path).get("train/loss", [])))
    )
    engine.run([4.0, 2.0, 1.0])
    assert seen == [1, 2, 3]


def test_what_is_behind_a_checkpoint_goes_and_what_a_tester_wrote_stays(tmp_path):
    board, saved = TensorBoard(tmp_path), []
    trainer, tester = engine_with(board), engine_with(board, name="test")
    trainer.on(Events.SAFE_POINT(once=1))(lambda e: saved.append(e.state_dict()))
    trainer.run([4.0, 2.0, 1.0], max_epochs=1)
    tester.run([9.0])
    again = engine_with(TensorBoard(tmp_path))
    again.load_state_dict(saved[0])
    again.on(Events.STARTED | Events.ITERATION_STARTED(once=2))(lambda e: e.interrupt())
    again.run([4.0, 2.0, 1.0])
    # not hidden, but gone
    sizes = {path.name.split(".")[-1]: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"train", "test"}
    assert scalars(tmp_path) == {"train/loss": [(1, 4.0), (2, 2.0)], "test/loss": [(1, 9.0)]}
