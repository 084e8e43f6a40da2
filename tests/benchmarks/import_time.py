"""What ``import footplate`` costs over an empty interpreter, and what it loads."""

from .timing import Row, in_turns, python, seconds, show

ROUNDS = 15
CODE = {
    "empty": "pass",
    "package": "import footplate",
    "engine": "from footplate import Engine, Events",
}
COUNT_TORCH = "import sys; print(sum(name.split('.')[0] == 'torch' for name in sys.modules))"


def main():
    python("-c", CODE["engine"])  # the compiled files are there
    took = in_turns(lambda name: seconds(python, "-c", CODE[name]) * 1000, CODE, ROUNDS)
    torch = int(python("-c", f"{CODE['engine']}; {COUNT_TORCH}"))
    rows = [
        Row("an empty interpreter", took["empty"], "ms"),
        Row("import footplate: more than that", took["package"] - took["empty"], "ms", 100),
        Row("with Engine and Events: more than that", took["engine"] - took["empty"], "ms", 100),
        Row("what is loaded of torch with them", torch, "modules", 0),
    ]
    show("import", rows)
