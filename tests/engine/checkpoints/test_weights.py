"""Weights from anywhere get into a model, or it stays as it was."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from footplate.engine.checkpoints.loans import lend, take_back
from footplate.engine.checkpoints.weights import load_from
from footplate.engine.errors import StateError

pytestmark = pytest.mark.covers("G6")

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts" / "foreign"
ABOUT = json.loads((CONTRACTS / "about.json").read_text())


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def other() -> dict[str, torch.Tensor]:
    return {
        name: value + 1 if value.is_floating_point() else value
        for name, value in net().state_dict().items()
    }


def same(model: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[k], state[k]) for k in own)


def saved(path: Path, state: Any) -> Path:
    torch.save(state, path)
    return path


@pytest.fixture
def served(tmp_path, monkeypatch) -> Iterator[tuple[Path, str]]:
    """A folder and the URL under which it is served; downloads go to a folder of the test."""
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["lightning.ckpt", "mmengine.pth"])
def test_weights_of_other_libraries_get_into_a_model_of_ours(name):
    model = nn.Linear(2, 1)
    assert not load_from(model, CONTRACTS / name, revise_keys=[(r"^layer\.", "")])
    expected = ABOUT["weights"][name]
    assert model.weight.tolist() == expected["layer.weight"]
    assert model.bias.tolist() == expected["layer.bias"]


@pytest.mark.covers("G8")
def test_safetensors_of_others_get_into_a_model(tmp_path):
    save_file(other(), tmp_path / "net.safetensors")
    model = net()
    assert not load_from(model, str(tmp_path / "net.safetensors"))
    assert same(model, other())


def test_a_url_with_a_digest(served):
    folder, url = served
    path = saved(folder / "net.pth", other())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    model = net()
    load_from(model, f"{url}/net.pth", digest=f"sha256:{digest}")
    assert same(model, other())
    path.unlink()
    again = net()
    load_from(again, f"{url}/net.pth", digest=digest[:12])
    assert same(again, other())
    with pytest.raises(OSError, match="404"):
        load_from(again, f"{url}/net.pth", digest="00000000")


def test_data_parallel_names_fit_without_a_word(tmp_path):
    path = saved(tmp_path / "a.pth", nn.DataParallel(net()).state_dict())
    model = net()
    nn.init.zeros_(model[0].weight)
    load_from(model, path)
    assert same(model, net().state_dict())


def test_names_are_revised_in_order(tmp_path):
    state = {f"module.backbone.{name}": value for name, value in other().items()}
    model = net()
    revise = [("^module", "a"), (r"^a\.backbone\.(\d)", r"b.\1"), (r"^b\.", "")]
    load_from(model, saved(tmp_path / "a.pth", state), revise_keys=iter(revise))
    assert same(model, other())


def test_names_that_become_one_are_refused(tmp_path):
    state = {"module.weight": torch.ones(1, 2), "weight": torch.zeros(1, 2)}
    model = nn.Linear(2, 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(StateError, match=r"name, 'weight', of 'module\.weight' and 'weight'"):
        load_from(model, saved(tmp_path / "a.pth", state))
    assert same(model, before)


@pytest.mark.parametrize(
    "pairs", [(r"^module\.", ""), [("(", "")], [("a", r"\1")], [("a",)], [("a", None)], [3]]
)
def test_what_are_no_revisions_is_refused_before_anything(pairs):
    with pytest.raises(ValueError, match="revise_keys are pairs"):
        load_from(nn.Linear(2, 1), "nowhere.pth", revise_keys=pairs)


def test_what_does_not_fit_is_listed_and_nothing_loaded(tmp_path):
    state = other() | {"head.weight": torch.ones(4), "2.weight": torch.ones(2, 3)}
    del state["0.bias"]
    model = net()
    with pytest.raises(StateError) as caught:
        load_from(model, saved(tmp_path / "a.pth", state))
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'a.pth'}: ")
    assert "missing: '0.bias' (3,)" in said
    assert "unexpected: 'head.weight' (4,)" in said
    assert "mismatched: '2.weight' is (2, 3) in the weights and (1, 3) in the model" in said
    assert "revise_keys" not in said
    assert same(model, net().state_dict())


def test_the_rest_is_loaded_and_logged_if_not_strict(tmp_path, caplog):
    state = other() | {"head.weight": torch.ones(4), "2.weight": torch.ones(2, 3)}
    del state["0.bias"]
    model = net()
    with caplog.at_level(logging.WARNING, "footplate.checkpoints"):
        report = load_from(model, saved(tmp_path / "a.pth", state), strict=False)
    assert report.missing == {"0.bias": (3,)}
    assert report.unexpected == {"head.weight": (4,)}
    assert report.mismatched == {"2.weight": ((2, 3), (1, 3))}
    expected = net().state_dict() | {k: v for k, v in other().items() if k in state}
    assert same(model, expected | {"2.weight": net()[2].weight})
    (record,) = caplog.records
    assert record.name == "footplate.checkpoints"
    assert record.levelno == logging.WARNING
    assert str(report) in record.getMessage()


def test_what_fits_whole_is_not_logged(tmp_path, caplog):
    load_from(net(), saved(tmp_path / "a.pth", other()), strict=False)
    assert not caplog.records


@pytest.mark.parametrize("strict", [True, False])
def test_a_beginning_too_many_or_too_few_is_hinted_at(tmp_path, caplog, strict):
    def said(model: nn.Module, state: dict[str, torch.Tensor]) -> str:
        caplog.clear()
        path = saved(tmp_path / "a.pth", state)
        if not strict:
            load_from(model, path, strict=False)
            return caplog.text
        with pytest.raises(StateError) as caught:
            load_from(model, path)
        return str(caught.value)

    module = r"('^module\\.', '')"
    state = {f"net.core.{name}": value for name, value in other().items()}
    too_many = rf"revise_keys=[{module}, ('^net\\.core\\.', '')]"
    assert too_many in said(net(), state)
    assert too_many in said(net(), state | {"head.weight": torch.ones(4)})
    too_few = f"revise_keys=[{module}, ('^', 'net.core.')]"
    assert too_few in said(nn.ModuleDict({"net": nn.ModuleDict({"core": net()})}), other())
    assert "revise_keys" not in said(net(), {"a.b.c": torch.ones(1)})


def test_the_hint_is_right(tmp_path):
    path = saved(tmp_path / "a.pth", {f"net.{name}": value for name, value in other().items()})
    model = net()
    with pytest.raises(StateError) as caught:
        load_from(model, path)
    hinted = str(caught.value).partition("revise_keys=")[2].rstrip(".")
    load_from(model, path, revise_keys=eval(hinted))
    assert same(model, other())


def test_a_compiled_model_is_loaded_by_its_own_names(tmp_path):
    model = torch.compile(net(), backend="eager")
    load_from(model, saved(tmp_path / "a.pth", other()))
    assert same(model._orig_mod, other())
    with pytest.raises(StateError, match=r"\[\('\^module\\\\\.', ''\), \('\^net\\\\\.', ''\)\]"):
        load_from(model, saved(tmp_path / "b.pth", {f"net.{k}": v for k, v in other().items()}))


def test_a_lent_model_is_refused_before_anything(tmp_path):
    model, borrower = net(), object()
    lend(model.parameters(), borrower)
    with pytest.raises(RuntimeError, match="can't be loaded"):
        load_from(model, tmp_path / "nowhere.pth")
    take_back(model.parameters(), borrower)
    load_from(model, saved(tmp_path / "a.pth", other()))
    assert same(model, other())


def test_tied_weights_and_types_are_the_models_own(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    half = {"0.weight": torch.full((2, 2), 0.5, dtype=torch.float16)}
    assert not load_from(model, saved(tmp_path / "a.pth", half))
    assert model[1].weight is model[0].weight
    assert model[0].weight.dtype == torch.float32
    assert model[1].weight.tolist() == [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.covers("G7")
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_model_is_as_it_was_behind_a_file_that_is_none(tmp_path, name):
    (tmp_path / name).write_text("no weights")
    model = net()
    with pytest.raises(StateError, match=name):
        load_from(model, tmp_path / name, strict=False)
    assert same(model, net().state_dict())
