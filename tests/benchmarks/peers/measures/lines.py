"""How much code a default run stands on: lines of the contender's own modules.

All that the run has imported, and of these the lines of functions that have run. Counted are lines
with code on them: neither blank nor of a comment or a docstring.
"""

import ast
import inspect
import io
import sys
import tempfile
import threading
import tokenize
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

from .. import tasks
from ..turns import in_turns

TITLE = "Lines on the path of a default run"
FIGURES = {"modules": "modules", "imported": "lines imported", "run": "lines run"}
OVER = None
PLOT = "run"
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def measure(names, *, quick, device):
    """By contender: modules, their lines, and lines that have run."""
    return in_turns("lines", names, 1)


def alone(contender):
    task, folder = tasks.scheduled(1), Path(tempfile.mkdtemp())
    with lines_run(contender.PACKAGES) as ran:
        contender.stack(task, folder)()
    files = files_of(contender.PACKAGES)
    code = {path: lines_of_code(path) for path in files}
    run = sum(len(lines & ran.get(path, set())) for path, lines in code.items())
    return {"modules": len(code), "imported": sum(map(len, code.values())), "run": run}


def files_of(packages):
    """The source files of all modules of these packages that are loaded."""
    mine = [
        module
        for name, module in sys.modules.items()
        if module is not None and name.split(".")[0] in packages
    ]
    paths = {str(file) for module in mine if (file := getattr(module, "__file__", None))}
    return {path for path in paths if path.endswith(".py")}


@contextmanager
def lines_run(packages):
    """Notes the lines that run in functions of these packages, by file."""
    ran = defaultdict(set)

    def entered(frame, event, argument):
        """Called for each call of a function; gives what is to be called for each of its lines."""
        code = frame.f_code
        own = str(frame.f_globals.get("__name__")).split(".")[0] in packages
        if not (own and code.co_flags & inspect.CO_OPTIMIZED):  # else the body of a module or class
            return None
        lines = ran[code.co_filename]

        def line_run(frame, event, argument):
            lines.add(frame.f_lineno)
            return line_run

        return line_run

    threading.settrace(entered)
    sys.settrace(entered)
    try:
        yield ran
    finally:
        sys.settrace(None)
        threading.settrace(None)


def lines_of_code(path):
    """The numbers of the lines of a file that have code on them."""
    source = Path(path).read_text()
    numbers = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            numbers.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            numbers.difference_update(range(docstring.lineno, docstring.end_lineno + 1))
    return numbers
