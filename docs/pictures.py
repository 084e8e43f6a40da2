"""Takes the pictures of the recipes' reports that the pages show.

    python docs/pictures.py image_classification             runs the recipe, as it is by default
    python docs/pictures.py image_classification --run runs/digits      takes a run that is there
    python docs/pictures.py image_generation --height 2000 --at media   from the section of this id

The report is opened in a Chromium without a window, 1200 pixels wide and in light colours. Its
upper part is written to ``docs/recipes/NAME.png``, with a palette of 256 colours.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).parent / "recipes"
WIDTH, MOST_BYTES = 1200, 250_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


def run(name: str, folder: Path) -> None:
    """Run a recipe with its default options."""
    command = [sys.executable, "-m", f"footplate.recipes.{name}", "--folder", str(folder)]
    subprocess.run(command, check=True)


def report_of(folder: Path) -> Path:
    """The report in a folder, that of the last run if there are several."""
    found = max(folder.rglob("report.html"), default=None, key=lambda file: file.stat().st_mtime)
    if found is None:
        raise FileNotFoundError(f"there is no report.html in {folder}; a run leaves one there.")
    return found.resolve()


def browser() -> str:
    """Where Chromium is."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise FileNotFoundError(f"pictures are taken by one of {', '.join(BROWSERS)}; install one.")


def screen(report: Path, height: int, at: str) -> bytes:
    """So many pixels of a page, from its top or from the element of an id, as a PNG."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser(), args=list(OPTIONS))
        page = chromium.new_page(
            viewport={"width": WIDTH, "height": height},
            color_scheme="light",
            reduced_motion="reduce",
        )
        page.goto(report.as_uri() + (f"#{at}" if at else ""))
        page.wait_for_load_state("networkidle")
        taken = page.screenshot()
        chromium.close()
    return taken


def write(picture: bytes, file: Path) -> None:
    """Write a picture with a palette.

    Raises:
        ValueError: if it is too large for a page of the documentation.
    """
    packed = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        packed, "PNG", optimize=True
    )
    if packed.tell() > MOST_BYTES:
        raise ValueError(
            f"the picture has {packed.tell()} bytes, over {MOST_BYTES}; a lower --height helps."
        )
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(packed.getvalue())
    print(f"{file} {packed.tell() / 1000:.0f} KB")


def main(
    names: Annotated[list[str], typer.Argument(help="Recipes.")],
    taken: Annotated[
        Path | None, typer.Option("--run", help="A folder of a run, for one recipe.")
    ] = None,
    height: Annotated[int, typer.Option(min=200, help="Pixels of the page shown.")] = 1280,
    at: Annotated[str, typer.Option(help="The id of the section to begin with.")] = "",
) -> None:
    """Take pictures of the reports that recipes leave."""
    if taken is not None and len(names) > 1:
        raise typer.BadParameter(f"--run is a run of one recipe; given {', '.join(names)}.")
    for name in names:
        with tempfile.TemporaryDirectory() as new:
            if taken is None:
                run(name, Path(new))
            write(screen(report_of(taken or Path(new)), height, at), PICTURES / f"{name}.png")


if __name__ == "__main__":
    typer.run(main)
