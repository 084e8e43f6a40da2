"""Fabric: a loop written out, with Lightning's devices, precision and strategies."""

from .lightning import PACKAGES, accelerator

IMPORTS = """
from lightning.fabric import Fabric
from lightning.fabric.loggers import TensorBoardLogger
from tqdm import tqdm
"""
__all__ = ["IMPORTS", "PACKAGES", "empty", "resumable", "stack", "train"]


def fabric_of(device, **options):
    from lightning.fabric import Fabric

    return Fabric(**accelerator(device), **options)


def one(fabric, loss_of, model, optimizer, batch):
    """An iteration."""
    x, y = batch
    loss = loss_of(model(x), y)
    fabric.backward(loss)
    optimizer.step()
    optimizer.zero_grad()
    return loss


def empty(loader, step):
    batches = fabric_of("cpu").setup_dataloaders(loader)

    def run():
        for _ in batches:
            step()

    return run


def train(task):
    fabric = fabric_of(task.device)
    model, optimizer = fabric.setup(task.model, task.optimizer)
    loader = fabric.setup_dataloaders(task.loader())

    def run():
        model.train()
        for _ in range(task.epochs):
            for batch in loader:
                one(fabric, task.loss_of, model, optimizer, batch)

    return run


def stack(task, folder):
    """Its TensorBoard logger, a bar of tqdm, and a checkpoint each epoch."""
    import torch
    from lightning.fabric.loggers import TensorBoardLogger
    from tqdm import tqdm

    fabric = fabric_of(task.device, loggers=TensorBoardLogger(folder))
    model, optimizer = fabric.setup(task.model, task.optimizer)
    loader, validation = fabric.setup_dataloaders(task.loader(), task.validation_loader())

    def run():
        for epoch in range(task.epochs):
            model.train()
            for index, batch in enumerate(tqdm(loader)):
                loss = one(fabric, task.loss_of, model, optimizer, batch)
                task.schedule.step()
                if index % 50 == 0:
                    fabric.log("loss", loss, epoch * len(loader) + index)
            model.eval()
            with torch.no_grad():
                right = sum((model(x).argmax(1) == y).sum() for x, y in validation)
            fabric.log("val_accuracy", right / len(task.validation), epoch)
            state = {"model": model, "optimizer": optimizer, "epoch": epoch}
            fabric.save(folder / f"{epoch}.ckpt", state)

    return run


def resumable(task, folder, every):
    """With a loader that has a state; the last file is found by its number, older ones go."""
    import torch
    from torchdata.stateful_dataloader import StatefulDataLoader

    fabric = fabric_of(task.device)
    model, optimizer = fabric.setup(task.model, task.optimizer)
    loader = task.loader(StatefulDataLoader)
    state = {"model": model, "optimizer": optimizer, "loader": loader, "done": 0, "random": None}

    def saved():
        return sorted(folder.glob("*.ckpt"), key=lambda path: int(path.stem))

    def run():
        folder.mkdir(parents=True, exist_ok=True)
        resumed = bool(saved())
        if resumed:
            fabric.load(saved()[-1], state)
        model.train()
        while state["done"] < task.epochs * len(loader):
            for batch in loader:
                if resumed:  # the loader has drawn from the generator as it began
                    torch.set_rng_state(state["random"])
                    resumed = False
                moved = fabric.to_device(batch)
                one(fabric, task.loss_of, model, optimizer, moved)
                state["done"] += 1
                if state["done"] % every == 0:
                    state["random"] = torch.get_rng_state()
                    fabric.save(folder / f"{state['done']}.ckpt", state)
                    for old in saved()[:-2]:
                        old.unlink()

    return run
