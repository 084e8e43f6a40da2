"""The command ``footplate``.

footplate train image_classification
"""

from __future__ import annotations

import typer

from footplate.recipes.commands.doctor import doctor
from footplate.recipes.commands.merge import merge
from footplate.recipes.commands.plan import plan
from footplate.recipes.commands.recipes import copy, list_recipes
from footplate.recipes.commands.report import report
from footplate.recipes.commands.running import predict, run_test, train, val

__all__ = ["main"]

main = typer.Typer(name="footplate", no_args_is_help=True, pretty_exceptions_enable=False)

main.command()(train)
main.command()(val)
main.command("test")(run_test)
main.command()(predict)
main.command()(plan)
main.command()(report)
main.command()(merge)
main.command("recipes")(list_recipes)
main.command()(copy)
main.command()(doctor)


@main.callback()
def footplate() -> None:
    """Train models by configuration, and look at what was trained.

    It ends with 0 if all went well, 1 behind an error, 2 if it did not understand, and 128 and the
    number of a signal that stopped it: 130 behind Ctrl-C, 143 behind SIGTERM.
    """


if __name__ == "__main__":
    main()
