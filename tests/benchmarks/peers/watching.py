"""Watching a training from where all contenders pass: the loss, once an iteration."""

from time import perf_counter


class Stamps(list):
    """When each iteration asked for its loss, in seconds."""

    def __init__(self, task):
        super().__init__()
        self._loss_of = task.loss_of
        task.loss_of = self._stamped

    def _stamped(self, scores, targets):
        self.append(perf_counter())
        return self._loss_of(scores, targets)
