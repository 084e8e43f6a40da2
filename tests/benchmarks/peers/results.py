"""What was measured, and where: a file of JSON that the page and its plots are made from.

{"versions": {…}, "measures": {MEASURE: {"date": …, "machine": …, "contenders": {…}}}}
"""

import datetime
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FILE = Path(__file__).parents[3] / "docs" / "benchmarks" / "peers.json"
PACKAGES = [
    "torch",
    "pytorch-ignite",
    "lightning",
    "mmengine",
    "accelerate",
    "torchtnt",
    "torchdata",
]


def read(path=FILE):
    """All that was kept, or nothing yet."""
    return json.loads(path.read_text()) if path.exists() else {"measures": {}}


def keep(path, measure, contenders, *, device, quick):
    """Set what a measure has found in place of what it had found before."""
    results = read(path)
    results["measures"][measure] = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(device),
        "versions": versions(),
        "quick": quick,
        "contenders": contenders,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def machine(device):
    """Processor, cores, memory, and the GPU if one was used."""
    about = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
    }
    if device == "cuda":
        import torch

        about["device"] = torch.cuda.get_device_name()
    return about


def processor():
    """Its name as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def versions():
    """Of Python and of all that takes part."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found
