"""Runs that are killed at random moments by SIGKILL, and resumed in the way that is recommended.

A small network with dropout learns three epochs of 40 shuffled batches, and every fifth iteration
has a checkpoint. A kill comes up to two iterations behind one that is drawn, whatever the process
is doing then. What counts: which files are left torn, whether the run goes on from a checkpoint by
itself, whether it sees the batches that it would have seen, and whether its weights end as those of
the unbroken run. One that is killed before it has a checkpoint begins anew.
"""

import json
import random
import shutil
import signal
import statistics
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.crash.runs import Lanes

TITLE = "Killed at random moments"
FIGURES = {
    "kills": "kills",
    "torn": "left a torn file",
    "anew": "began anew",
    "went_on": "went on",
    "batches": "of these with the same batches",
    "weights": "and to the same bits",
    "repeated": "iterations repeated",
    "failures": "failed with",
}
OVER = None
PLOT = "weights"
EVERY, EPOCHS, LENGTH = 5, 3, 40
KILLS, SEED = 20, 0
_ZIP = b"PK\x03\x04"


def measure(names, *, quick, device):
    """By contender: how many of the killed runs did what; always on the CPU."""
    return {name: _guarded(name, 4 if quick else KILLS) for name in names}


def _guarded(name, kills):
    print(f"  kills {name}", file=sys.stderr, flush=True)
    try:
        return of(name, kills)
    except Exception as error:  # whatever a contender may raise
        return {"error": f"{type(error).__name__}: {error}"}


def of(name, kills):
    """What became of the killed runs of one contender."""
    folder = Path(tempfile.mkdtemp())
    victim = ("tests.benchmarks.peers.victim", name)
    with Lanes(child=victim) as lanes:
        whole = lanes.submit(lambda lane: _run(lane, name, folder / "whole")).result()
        if isinstance(whole, str):
            raise RuntimeError(whole)
        pace = whole["seconds"] / len(whole["batches"])
        lives = [
            lanes.submit(lambda lane, each=each: _life(lane, name, folder / f"{each}", pace))
            for each in range(kills)
        ]
        outcome = figures([life.result() for life in lives], whole)
    shutil.rmtree(folder)
    return outcome


def _life(lane, name, folder, pace):
    """Kill a run, and resume it: how far it was, what was torn, and what it came to."""
    draw, output = random.Random(f"{SEED} {folder.name}"), folder.with_suffix(".out")
    status = 0
    while status == 0:  # else it has come to its end before
        shutil.rmtree(folder, ignore_errors=True)
        at, delay = draw.randrange(1, EPOCHS * LENGTH), draw.uniform(0, 2 * pace)
        status = lane([name, str(folder), str(at)], output, delay)
    if status != -signal.SIGKILL:
        raise RuntimeError(_last_line(output, folder))
    begun = int(folder.with_suffix(".begun").read_text())
    return begun, torn(folder), _run(lane, name, folder)


def _run(lane, name, folder):
    """Run to the end: what the run leaves, or the last line of what it said."""
    output = folder.with_suffix(".log")
    if lane([name, str(folder), "0"], output) == 0:
        return json.loads(folder.with_suffix(".json").read_text())
    return _last_line(output, folder)


def _last_line(output, folder):
    lines = [line for line in output.read_text().splitlines() if line.strip()]
    return lines[-1].replace(str(folder), "…")[:160] if lines else "nothing said"


def figures(lives, whole):
    """The counts of these lives."""
    failures = sorted({after for *_, after in lives if isinstance(after, str)})
    length = len(whole["batches"])
    ended = [
        (begun, length - len(after["batches"]), after)
        for begun, _, after in lives
        if not isinstance(after, str)
    ]
    went_on = [(begun, at, after) for begun, at, after in ended if at > 0]
    return {
        "kills": len(lives),
        "torn": sum(bool(files) for _, files, _ in lives),
        "anew": len(ended) - len(went_on),
        "went_on": len(went_on),
        "batches": sum(after["batches"] == whole["batches"][at:] for _, at, after in went_on),
        "weights": sum(after["weights"] == whole["weights"] for *_, after in went_on),
        "repeated": statistics.median([begun - at for begun, at, _ in went_on] or [0]),
        "failures": "; ".join(failures),
    }


def torn(folder):
    """The files of checkpoints that are not whole, or lack the one that names the others."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    broken = [path for path in files if not _is_whole(path)]
    folders = {path.parent for path in files if path.suffix == ".distcp"}
    return broken + [path for path in folders if not (path / ".metadata").exists()]


def _is_whole(path):
    if path.suffix == ".safetensors":
        size = path.stat().st_size
        if size < 8:
            return False
        with path.open("rb") as file:
            head = int.from_bytes(file.read(8), "little")
            if size < 8 + head:
                return False
            tensors = json.loads(file.read(head))
        offsets = [one["data_offsets"][1] for one in tensors.values() if "data_offsets" in one]
        return size == 8 + head + max(offsets, default=0)
    with path.open("rb") as file:
        begins = file.read(4)
    if path.suffix in {".pt", ".pth", ".ckpt", ".bin", ".pkl", ".new"} or begins == _ZIP:
        return zipfile.is_zipfile(path)
    return bool(begins)
