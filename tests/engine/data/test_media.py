"""Images, histograms and tables in the forms that sinks write."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from footplate.engine.data.media import (
    columns_and_rows,
    drawn,
    histogram_of,
    pixels,
    png_of,
    tiled,
)
from footplate.engine.data.prediction_grid import prediction_grid, right


def read(content):
    return np.round(np.atleast_3d(imread(io.BytesIO(content)))[..., :3] * 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (2, 4, 6, 3)])
def test_arrays_and_tensors_are_the_same(shape):
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert np.array_equal(pixels(array), array)
    assert np.array_equal(pixels(torch.from_numpy(array)), array)


@pytest.mark.parametrize("given", [torch.rand(4, 6), np.zeros((4, 6), np.int64), [[0.5]]])
def test_numbers_that_are_no_bytes_are_refused(given):
    with pytest.raises(TypeError, match="an image is uint8"):
        pixels(given)


@pytest.mark.parametrize("shape", [(3, 4, 6), (4,), (1, 2, 3, 4, 3), (2, 4, 6, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"an image has shape .*movedim"):
        pixels(np.zeros(shape, np.uint8))


def test_a_png_comes_back():
    gray = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    colours = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    assert np.array_equal(read(png_of(colours)), colours)
    assert np.abs(read(png_of(gray))[..., 0].astype(int) - gray).max() <= 1  # 256 shades of a map


def test_tiles_stand_row_by_row():
    images = np.stack([np.full((2, 3, 3), n, np.uint8) for n in range(3)])
    sheet = tiled(images)
    assert sheet.shape == (5, 7, 3)
    assert [sheet[0, 0, 0], sheet[0, 4, 0], sheet[3, 0, 0], sheet[3, 4, 0]] == [0, 1, 2, 255]
    assert (sheet[2] == 255).all()


def test_a_figure_stays_as_it_was():
    figure = Figure((2, 1), 100)
    figure.add_subplot().plot([1, 2])
    canvas = figure.canvas
    image = drawn(figure)
    assert (image.shape, image.dtype) == ((100, 200, 3), np.uint8)
    assert image.min() < 128 < image.max()
    assert figure.canvas is canvas


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64])
def test_histograms_count_all(dtype):
    values = torch.arange(10).to(dtype).reshape(2, 5).requires_grad_(dtype.is_floating_point)
    found = histogram_of(values, bins=3)
    assert (found.counts, found.edges) == ([3, 3, 4], [0.0, 3.0, 6.0, 9.0])
    assert (found.total, found.squares, found.not_finite) == (45.0, 285.0, 0)


def test_histograms_tell_of_what_is_not_finite():
    found = histogram_of([1.0, math.nan, math.inf, -math.inf])
    assert (sum(found.counts), found.not_finite, found.total) == (1, 3, 1.0)
    nothing = histogram_of(torch.full((3,), math.nan))
    assert (sum(nothing.counts), nothing.not_finite) == (0, 3)


def test_tables_take_what_rows_have():
    rows = [{"a": torch.tensor(1.5), "b": np.float32(2)}, {"c": torch.device("cpu")}]
    assert columns_and_rows(rows) == (["a", "b", "c"], [[1.5, 2.0, None], [None, None, "cpu"]])


@pytest.mark.parametrize("given", [{"a": [1]}, [[1, 2]], 3])
def test_what_is_no_table_is_refused(given):
    with pytest.raises(TypeError, match="a table is a list of rows"):
        columns_and_rows(given)


# ------------------------------------------------------------------ grids of predictions


def reds(image):
    """How many points are crimson."""
    r, g, b = image.astype(int).transpose(2, 0, 1)
    return int(((r > 180) & (g < 80) & (b < 110)).sum())


@pytest.mark.covers("F10")
@pytest.mark.parametrize("channels", [1, 3])
def test_mistakes_are_red(channels):
    images, labels = torch.rand(4, channels, 8, 8) / 2, torch.arange(4)
    assert reds(prediction_grid(torch.zeros(4, channels, 8, 8), labels, labels)) == 0
    wrong = prediction_grid(images * 0, labels + 1, labels, names=["a", "b", "c", "d", "e"])
    assert reds(wrong) > 50


def test_images_are_drawn_as_they_are():
    images = torch.zeros(1, 1, 8, 8)
    images[..., 4:, :] = 0.4
    image = prediction_grid(images, torch.tensor([0]), torch.tensor([0]))
    centre = image.shape[1] // 2
    assert tuple(image[-20, centre]) == (102, 102, 102)
    assert tuple(image[50, centre]) == (0, 0, 0)
    same = prediction_grid((images * 255).to(torch.uint8), torch.tensor([0]), torch.tensor([0]))
    assert np.array_equal(image, same)


@pytest.mark.parametrize(("height", "width"), [(8, 16), (16, 8), (8, 8), (28, 280)])
def test_images_keep_their_shape_and_stand_below_their_titles(height, width):
    images = torch.full((3, 3, height, width), 0.4)
    images[:, 1:, :, : width // 2] = 0.0  # red on the left, grey on the right
    labels = torch.tensor([0, 1, 0])
    image = prediction_grid(images, labels, labels, names=["lion", "wolf"]).astype(int)
    assert image.shape == (330, 280, 3)
    first, second, third = image[:165, :140], image[:165, 140:], image[165:, :140]
    assert (image[165:, 140:] == 255).all(), "there is no fourth"

    grey = np.abs(first - 102).max(-1) < 4
    red = np.abs(first - [102, 0, 0]).max(-1) < 4
    tops, sides = zip(*(np.nonzero(one) for one in (red, grey)), strict=True)
    drawn_height, drawn_width = np.ptp(tops[0]) + 1, np.ptp(np.concatenate(sides)) + 1
    assert max(drawn_height, drawn_width) == pytest.approx(130, abs=2)
    assert drawn_width / drawn_height == pytest.approx(width / height, rel=0.08)
    assert sides[0].max() < sides[1].min(), "it is not mirrored"

    top = tops[0].min()
    above = [tile[top - 20 : top] for tile in (first, second, third)]
    where = np.nonzero(above[0].min(-1) < 128)
    assert where[0].max() < 19, "it touches the image"
    assert where[1].mean() == pytest.approx(70, abs=4), "it stands above its middle"
    assert (first[: max(top - 20, 0)] > 250).all()
    assert np.array_equal(above[0], above[2])
    assert not np.array_equal(above[0], above[1])


def test_an_image_of_a_line_is_seen():
    image = prediction_grid(torch.zeros(1, 1, 1, 2000), torch.zeros(1), torch.zeros(1))
    assert (image[85:105] < 128).all(-1).any(0).sum() > 120


def test_measured_values_can_not_be_mistaken():
    predicted, truth = torch.tensor([0.5, 1.5]), torch.tensor([0.4, 9.0])
    assert right(predicted, truth).all()
    assert reds(prediction_grid(torch.zeros(2, 1, 8, 8), predicted, truth)) == 0


@pytest.mark.parametrize("shape", [(8, 8), (2, 8, 8), (2, 2, 8, 8), (2, 8, 8, 3)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"images have shape \(N, C, H, W\) with C of 1 or 3"):
        prediction_grid(torch.zeros(shape), torch.zeros(2), torch.zeros(2))
