"""pytorch-ignite: an engine, and handlers of its own."""

IMPORTS = """
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import Checkpoint, DiskSaver, ProgressBar, TensorboardLogger
from ignite.metrics import Accuracy
"""
PACKAGES = ("ignite",)


def empty(loader, step):
    from ignite.engine import Engine

    trainer = Engine(lambda engine, batch: step())
    return lambda: trainer.run(loader)


def trainer_of(task, **options):
    """What the library makes for supervised learning."""
    from ignite.engine import create_supervised_trainer

    return create_supervised_trainer(
        task.model, task.optimizer, task.loss_of, device=task.device, **options
    )


def train(task):
    trainer, loader = trainer_of(task), task.loader()
    return lambda: trainer.run(loader, max_epochs=task.epochs)


def stack(task, folder):
    """Bar, TensorBoard, an evaluator, and a checkpoint each epoch."""
    from ignite.engine import Events, create_supervised_evaluator
    from ignite.handlers import Checkpoint, DiskSaver, ProgressBar, TensorboardLogger
    from ignite.metrics import Accuracy

    trainer, loader, validation = trainer_of(task), task.loader(), task.validation_loader()
    evaluator = create_supervised_evaluator(task.model, {"accuracy": Accuracy()}, task.device)

    @trainer.on(Events.ITERATION_COMPLETED)
    def step_schedule():  # whose step() would take the engine for an epoch
        task.schedule.step()

    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(validation))
    ProgressBar().attach(trainer, output_transform=lambda loss: {"loss": loss})
    logger = TensorboardLogger(log_dir=folder)
    logger.attach_output_handler(
        trainer,
        Events.ITERATION_COMPLETED(every=50),
        tag="training",
        output_transform=lambda loss: {"loss": loss},
    )
    logger.attach_output_handler(
        evaluator,
        Events.EPOCH_COMPLETED,
        tag="validation",
        metric_names=["accuracy"],
        global_step_transform=lambda *_: trainer.state.epoch,
    )
    saved = {"model": task.model, "optimizer": task.optimizer, "trainer": trainer}
    saver = DiskSaver(folder / "checkpoints", create_dir=True)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, Checkpoint(saved, saver))

    def run():
        with logger:
            trainer.run(loader, max_epochs=task.epochs)

    return run


def resumable(task, folder, every):
    """By the engine that is made for it: its seeds govern loaders without generators."""
    import torch
    from ignite.engine import Events
    from ignite.engine.deterministic import DeterministicEngine
    from ignite.handlers import Checkpoint, DiskSaver

    trainer = trainer_of(task, deterministic=True)
    assert isinstance(trainer, DeterministicEngine)
    saved = {"model": task.model, "optimizer": task.optimizer, "trainer": trainer}
    saver = DiskSaver(folder, create_dir=True, require_empty=False)
    checkpoint = Checkpoint(
        saved, saver, n_saved=2, global_step_transform=lambda *_: trainer.state.iteration
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=every), checkpoint)

    def run():
        files = [*folder.glob("checkpoint_*.pt")]
        if files:
            last = max(files, key=lambda path: int(path.stem.split("_")[-1]))
            # NumPy's state is among the random numbers, which needs more than weights_only admits
            Checkpoint.load_objects(saved, torch.load(last, weights_only=False))
        trainer.run(task.loader(own=False), max_epochs=task.epochs)

    return run
