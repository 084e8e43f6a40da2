"""Accelerate: a loop written out, over what it has prepared."""

from ..tasks import SEED

IMPORTS = """
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, set_seed, tqdm
"""
PACKAGES = ("accelerate",)


def accelerator_of(device, **options):
    from accelerate import Accelerator

    return Accelerator(cpu=device == "cpu", **options)


def empty(loader, step):
    batches = accelerator_of("cpu").prepare(loader)

    def run():
        for _ in batches:
            step()

    return run


def one(accelerator, loss_of, model, optimizer, batch):
    """An iteration."""
    x, y = batch
    loss = loss_of(model(x), y)
    accelerator.backward(loss)
    optimizer.step()
    optimizer.zero_grad()
    return loss


def train(task):
    accelerator = accelerator_of(task.device)
    model, optimizer, loader = accelerator.prepare(task.model, task.optimizer, task.loader())

    def run():
        model.train()
        for _ in range(task.epochs):
            for batch in loader:
                one(accelerator, task.loss_of, model, optimizer, batch)

    return run


def stack(task, folder):
    """Its tracker for TensorBoard, its bar, and its state saved each epoch."""
    import torch
    from accelerate.utils import ProjectConfiguration, tqdm

    project = ProjectConfiguration(str(folder), automatic_checkpoint_naming=True)
    accelerator = accelerator_of(task.device, log_with="tensorboard", project_config=project)
    model, optimizer, loader, validation, schedule = accelerator.prepare(
        task.model, task.optimizer, task.loader(), task.validation_loader(), task.schedule
    )

    def run():
        accelerator.init_trackers("digits")
        for epoch in range(task.epochs):
            model.train()
            for index, batch in enumerate(tqdm(loader)):
                loss = one(accelerator, task.loss_of, model, optimizer, batch)
                schedule.step()
                if index % 50 == 0:
                    accelerator.log({"loss": loss.item()}, step=epoch * len(loader) + index)
            model.eval()
            right = torch.zeros((), device=task.device)
            with torch.no_grad():
                for x, y in validation:
                    scores, labels = accelerator.gather_for_metrics((model(x), y))
                    right += (scores.argmax(1) == labels).sum()
            accelerator.log({"val_accuracy": right.item() / len(task.validation)}, step=epoch)
            accelerator.save_state()
        accelerator.end_training()

    return run


class Place:
    """The iterations that are done, to be saved with all else."""

    def __init__(self):
        self.done = 0

    def state_dict(self):
        return {"done": self.done}

    def load_state_dict(self, state):
        self.done = state["done"]


def resumable(task, folder, every):
    """With an order that follows from seed and epoch, and folders that it names and finds."""
    from accelerate.utils import DataLoaderConfiguration, ProjectConfiguration

    naming = {"automatic_checkpoint_naming": True, "total_limit": 2}
    accelerator = accelerator_of(
        task.device,
        project_config=ProjectConfiguration(str(folder), **naming),
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True, data_seed=SEED),
    )
    model, optimizer, loader = accelerator.prepare(task.model, task.optimizer, task.loader())
    place = Place()
    accelerator.register_for_checkpointing(place)

    def run():
        if [*(folder / "checkpoints").glob("*")]:
            accelerator.load_state()
            accelerator.project_configuration.iteration = place.done // every
        model.train()
        begun, behind = divmod(place.done, len(loader))
        for epoch in range(begun, task.epochs):
            loader.set_epoch(epoch)
            skips = epoch == begun and behind
            batches = accelerator.skip_first_batches(loader, behind) if skips else loader
            for batch in batches:
                one(accelerator, task.loss_of, model, optimizer, batch)
                place.done += 1
                if place.done % every == 0:
                    accelerator.save_state()

    return run
