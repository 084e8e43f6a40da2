import gc
import signal

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

LONG = {"crash", "distributed", "recipes"}  # folders whose tests start processes


def pytest_configure():
    # A shell has what it starts in the background ignore Ctrl-C, and its children inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    # What takes long comes first, so that processes that share the work end at about one time.
    items.sort(key=lambda item: LONG.isdisjoint(item.path.parts))


def pytest_sessionfinish():
    gc.unfreeze()  # what should have been closed, and was not, is told in the end


@pytest.fixture(autouse=True, scope="module")
def what_was_there_stays():
    # What was imported and collected: a million objects that each collection of a test would go
    # through for a second. Modules of tests import more.
    gc.collect()
    gc.freeze()


@pytest.fixture
def one_thread():
    # In which sums come out the same however many cores there are.
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_collector():
    # Without cycles being looked for, what dies meanwhile dies with the last reference to it.
    gc.collect()
    gc.disable()
    yield
    gc.enable()
