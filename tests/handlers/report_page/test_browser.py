"""The page in a browser: nothing fails, nothing is fetched, and it looks as it should."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.handlers.report_page.runs import train

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
sync_api = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
pytestmark = [needs_chromium, pytest.mark.covers("F9")]

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "digits") / "report.html"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, report):
    """Opens the page, and sees that nothing goes wrong in it and nothing is fetched."""
    said, fetched, contexts = [], [], []

    def opened(width=1280, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(report.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []
    assert {url for url in fetched if not url.startswith("data:")} == {report.as_uri()}


def test_each_figure_is_there_and_has_a_size(opened):
    page = opened()
    figures = page.locator("figure")
    assert figures.count() >= 12
    for number in range(figures.count()):
        box = figures.nth(number).bounding_box()
        assert box["width"] > 150, figures.nth(number).inner_text()
        assert box["height"] > 80
    for image in page.locator("img").all():
        assert image.evaluate("one => one.complete && one.naturalWidth") >= 8
    for line in page.locator(".chart .area svg path.line").all():
        assert line.evaluate("one => one.getTotalLength()") > 300


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_is_wider_than_the_screen(opened, width):
    page = opened(width, 780)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    out = """[...document.querySelectorAll('section, figure, .card, h1')]
        .filter(one => one.getBoundingClientRect().right > innerWidth + 1).length"""
    assert page.evaluate(out) == 0


def brightness(page) -> float:
    shown = page.evaluate(
        """() => {
            const canvas = new OffscreenCanvas(1, 1).getContext('2d');
            canvas.fillStyle = getComputedStyle(document.documentElement).backgroundColor;
            canvas.fillRect(0, 0, 1, 1);
            return [...canvas.getImageData(0, 0, 1, 1).data];
        }"""
    )
    return sum(shown[:3]) / 3


def test_it_is_dark_where_the_system_is_and_where_one_asks_for_it(opened):
    light, dark = opened(color_scheme="light"), opened(color_scheme="dark")
    assert brightness(light) > 200
    assert brightness(dark) < 50
    light.locator("#theme").click()
    dark.locator("#theme").click()
    assert brightness(light) < 50
    assert brightness(dark) > 200
    light.reload()  # it is remembered
    assert brightness(light) < 50
    light.context.pages[0].evaluate("localStorage.clear()")


def test_a_pointer_reads_the_values(opened):
    page = opened()
    chart = page.locator(".chart").first
    tip = chart.locator(".tip")
    assert tip.is_hidden()
    chart.locator(".area").hover(position={"x": 200, "y": 80})
    assert tip.is_visible()
    words = tip.inner_text()
    assert "iteration" in words
    assert "epoch" in words
    assert "loss" in words
    page.locator("h1").hover()
    assert tip.is_hidden()


def test_arrow_keys_read_the_values(opened):
    page = opened()
    chart = page.locator(".chart").first
    chart.locator(".area").focus()
    page.keyboard.press("Home")
    assert "iteration 1 " in chart.locator(".tip").inner_text()
    page.keyboard.press("ArrowRight")
    assert "iteration 2 " in chart.locator(".tip").inner_text()
    page.keyboard.press("Escape")
    assert chart.locator(".tip").is_hidden()


def test_a_touch_reads_the_values_and_stays_on_the_screen(opened):
    page = opened(360, 700, has_touch=True)
    area = page.locator(".chart .area").first
    area.scroll_into_view_if_needed()
    for share in (0.02, 0.5, 0.98):
        box = area.bounding_box()
        page.touchscreen.tap(box["x"] + share * box["width"], box["y"] + 40)
        assert page.locator(".tip:visible").count() == 1
        tip = page.locator(".tip:visible").bounding_box()
        assert tip["x"] >= 0
        assert tip["x"] + tip["width"] <= 360


def test_samples_are_filtered_to_the_mistakes(opened):
    page = opened()
    figure = page.locator(".predictions").first
    everything = figure.locator(".sample:visible").count()
    figure.get_by_role("button", name="mistakes").click()
    wrong = figure.locator(".sample:visible").count()
    assert 0 < wrong < everything
    assert figure.locator(".sample.wrong:visible").count() == wrong


def test_the_event_plan_is_filtered(opened):
    page = opened()
    page.locator("#event-plan summary").click()
    rows = page.locator("#event-plan tbody tr:visible")
    everything = rows.count()
    page.locator("#event-plan input").fill("checkpoint safe")
    assert 0 < rows.count() < everything
    assert all("SAFE_POINT" in row for row in rows.all_inner_texts())


def test_without_scripts_all_is_there(opened):
    page = opened(java_script_enabled=False, color_scheme="dark")
    assert page.locator(".chart svg path.line").first.is_visible()
    assert page.locator(".values").first.is_visible()


def test_it_prints_on_a_few_sheets(opened):
    page = opened()
    content = page.pdf(format="A4")
    assert content.startswith(b"%PDF")
    assert 2 <= content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") <= 20


def shown(browser, folder, width: int):
    from footplate.handlers.report_page.page import write_report

    page = browser.new_context(viewport={"width": width, "height": 800}).new_page()
    page.goto(write_report(folder).as_uri())
    return page


@pytest.mark.parametrize("count", [3, 30, 40])
def test_long_names_of_classes_make_no_page_wider_than_the_screen(browser, tmp_path, count):
    name = "a_very_long_name_of_a_class_without_any_space_in_it"
    value = [[(row * column) % 7 for column in range(count)] for row in range(count)]
    table = {"engine": "train", "name": "confusion", "epoch": 1, "step": 1, "value": value}
    (tmp_path / "tables.json").write_text(json.dumps({"tables": [table]}))
    classes = [f"{name}_{number}" for number in range(count)]
    (tmp_path / "run.json").write_text(json.dumps({"engine": "train", "classes": classes}))
    page = shown(browser, tmp_path, 390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for one in page.locator(".pairs li").all():
        box = one.bounding_box()
        assert box["x"] + box["width"] <= 390
        assert one.evaluate("one => one.scrollWidth <= one.clientWidth")
    for cell in page.locator(".heat thead th, .heat tbody th").all():
        assert cell.bounding_box()["width"] < 150
    page.context.close()


def test_a_value_of_another_iteration_says_which(browser, tmp_path):
    head = {"engine": "train", "on": "iteration", "epoch": 1}
    rows = [{**head, "step": step, "loss": 1.0 / step} for step in range(1, 101)]
    rows += [{**head, "step": step, "val_loss": 0.5} for step in (50, 100)]
    (tmp_path / "scalars.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = shown(browser, tmp_path, 1280)
    page.locator(".chart .area").first.focus()
    page.keyboard.press("End")
    assert " at " not in page.locator(".tip").inner_text()
    page.keyboard.press("ArrowLeft")
    assert "0.5 at 100" in page.locator(".tip").inner_text()
    page.context.close()
