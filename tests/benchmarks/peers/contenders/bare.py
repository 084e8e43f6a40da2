"""The loop written out, as somebody writes it who knows what to save."""

import os

import torch

IMPORTS = "import torch"
PACKAGES = ()


def empty(loader, step):
    def run():
        for _ in loader:
            step()

    return run


def one(task, batch):
    """An iteration."""
    x, y = batch if task.device == "cpu" else (each.to(task.device) for each in batch)
    loss = task.loss_of(task.model(x), y)
    loss.backward()
    task.optimizer.step()
    task.optimizer.zero_grad()
    return loss.detach()


def train(task):
    loader = task.loader()

    def run():
        task.model.train()
        for _ in range(task.epochs):
            for batch in loader:
                one(task, batch)

    return run


def stack(task, folder, after_an_epoch=lambda model, optimizer: None):
    """It reads the loss once an epoch, and neither logs nor saves."""
    loader, validation = task.loader(), task.validation_loader()

    def run():
        for _ in range(task.epochs):
            task.model.train()
            total = torch.zeros((), device=task.device)
            for batch in loader:
                total += one(task, batch)
                task.schedule.step()
            total.item()
            task.model.eval()
            with torch.no_grad():
                scored = ((task.model(x.to(task.device)), y.to(task.device)) for x, y in validation)
                right = sum((scores.argmax(1) == y).sum() for scores, y in scored)
            right.item()
            after_an_epoch(task.model, task.optimizer)

    return run


def resumable(task, folder, every):
    """Weights, optimizer, place and generators in one file, which appears by a rename."""
    loader, path = task.loader(), folder / "last.pt"

    def saved():
        return path.exists() and torch.load(path)

    def save(done, before_the_epoch):
        state = {
            "model": task.model.state_dict(),
            "optimizer": task.optimizer.state_dict(),
            "done": done,
            "order": before_the_epoch,
            "random": torch.get_rng_state(),
        }
        beside = path.with_suffix(".new")
        torch.save(state, beside)
        os.replace(beside, path)

    def run():
        done, length = 0, len(loader)
        if state := saved():
            task.model.load_state_dict(state["model"])
            task.optimizer.load_state_dict(state["optimizer"])
            loader.generator.set_state(state["order"])
            done = state["done"]
        task.model.train()
        while done < task.epochs * length:
            before_the_epoch = loader.generator.get_state()
            batches = iter(loader)
            for _ in range(done % length):
                next(batches)
            if state:
                torch.set_rng_state(state["random"])
                state = None
            for batch in batches:
                one(task, batch)
                done += 1
                if done % every == 0 and done % length:
                    save(done, before_the_epoch)
                elif done % every == 0:
                    save(done, loader.generator.get_state())

    folder.mkdir(parents=True, exist_ok=True)
    return run
