"""What the imports of a default stack cost over an empty interpreter, and what they load.

torch is among them, as no run goes without it.
"""

import subprocess
import sys

from ..turns import in_turns

TITLE = "Imports of a default stack"
FIGURES = {"seconds": "s", "modules": "modules"}
OVER = None
PLOT = "seconds"


def measure(names, *, quick, device):
    """By contender: seconds, and modules that are loaded."""
    return in_turns("imports", names, 1 if quick else 5)


def alone(contender):
    code = f"""
import sys, warnings
from time import perf_counter
warnings.simplefilter("ignore")
before, begun = len(sys.modules), perf_counter()
{contender.IMPORTS}
import torch
print(perf_counter() - begun, len(sys.modules) - before)
"""
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    took, modules = told.stdout.split()[-2:]
    return {"seconds": float(took), "modules": int(modules)}
