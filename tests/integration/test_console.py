"""The console in a real browser: what a person with a pointer, with a keyboard or with a screen reader can do on it.

With TENSORGATE_SCREENSHOTS=DIRECTORY the pages are kept there as pictures (`make screenshots`).
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, on_one_transport

pytestmark = on_one_transport

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
expect.set_options(timeout=1e3 * TIMEOUT)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a screen."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        # Chromium's sandbox cannot be had by root or in most containers; the pages here are our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, shared_gateway: Gateway) -> Iterator[Page]:
    """The console, signed in; it must need nothing from elsewhere and make no error."""
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.set_default_timeout(1e3 * TIMEOUT)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: errors.append(request.url) if shared_gateway.http not in request.url else None)
    page.goto(f"http://{shared_gateway.http}/console/")
    page.get_by_label("API key").fill(shared_gateway.key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#paper")).to_be_visible()
    yield page
    page.close()
    assert [error for error in errors if not error.startswith(("data:", "blob:"))] == []


def screenshot(page: Page, name: str) -> None:
    """Keeps the page as a picture, where that is wanted."""
    directory = os.environ.get("TENSORGATE_SCREENSHOTS")
    if directory:
        page.screenshot(path=Path(directory) / f"{name}.png", full_page=True)


def draw(page: Page, digit: int) -> None:
    """Draws the bar that the fake model takes for `digit`."""
    box = page.locator("#paper").bounding_box()
    assert box
    y = box["y"] + box["height"] * (digit + 0.5) / 10
    page.mouse.move(box["x"] + 1, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, y, steps=8)
    page.mouse.up()


@pytest.mark.parametrize("digit", [2, 7])
def test_a_drawn_digit(page: Page, digit: int) -> None:
    """What is drawn with a pointer is answered, with the probabilities of all classes."""
    draw(page, digit)
    page.get_by_role("button", name="Ask the model").click()
    expect(page.locator("#label")).to_have_text(str(digit))
    expect(page.get_by_role("meter")).to_have_count(10)
    expect(page.locator("#answer code")).to_have_text(re.compile(r"^[\w-]{60,96}$"))
    page.get_by_role("button", name="Clean sheet").click()
    expect(page.locator("#answer")).to_be_empty()


def test_drawn_with_the_keyboard(page: Page) -> None:
    """Nobody needs a pointer."""
    paper = page.locator("#paper")
    paper.focus()
    # From the middle of the paper, in steps of 8 of its 280 pixels.
    for key in ["ArrowUp"] * 5 + ["ArrowLeft"] * 18 + [" "] + ["ArrowRight"] * 36:
        page.keyboard.press(key)
    expect(paper).to_have_attribute("aria-label", re.compile("down"))
    page.keyboard.press("Enter")
    expect(page.locator("#label")).to_have_text("3")


def test_a_chosen_file(page: Page) -> None:
    """A file is sent as it is: the gateway decodes it, or says why it cannot."""
    page.locator("#file").set_input_files(
        {"name": "5.jpg", "mimeType": "image/jpeg", "buffer": digits.encode(digits.band(5), "JPEG")}
    )
    expect(page.locator("#label")).to_have_text("5")
    page.locator("#file").set_input_files({"name": "5.png", "mimeType": "image/png", "buffer": b"no image"})
    expect(page.locator("#answer")).to_contain_text("invalid_argument")


def test_traffic(page: Page) -> None:
    """Calls show by version."""
    draw(page, 1)
    page.get_by_role("button", name="Ask the model").click()
    expect(page.locator("#label")).to_have_text("1")
    row = page.locator("#traffic tbody tr").first
    expect(row.locator("th")).to_have_text("1")
    expect(row.locator("td").nth(5)).not_to_have_text("0")
    expect(page.locator("#rate-chart svg[role=img]")).to_have_attribute("aria-label", re.compile("version 1"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(page: Page, scheme: str) -> None:
    """Axe finds nothing that keeps somebody out, in either colour scheme."""
    page.emulate_media(color_scheme=scheme)
    draw(page, 4)
    page.get_by_role("button", name="Ask the model").click()
    expect(page.locator("#label")).to_have_text("4")
    expect(page.locator("#traffic table")).to_be_visible()
    screenshot(page, f"console-{scheme}")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_bad_key(browser: Browser, shared_gateway: Gateway) -> None:
    """The page says what is wrong."""
    page = browser.new_page()
    page.goto(f"http://{shared_gateway.http}/console/")
    expect(page.get_by_role("status").first).to_have_text("Sign in with an API key.")
    page.get_by_label("API key").fill("nobody")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("status").first).to_have_text("The key is not valid.")
    page.close()


def test_nothing_runs_but_the_page(shared_gateway: Gateway, browser: Browser) -> None:
    """The page's headers forbid foreign and inline code."""
    page = browser.new_page()
    answer = page.goto(f"http://{shared_gateway.http}/console/")
    assert answer
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    missing = page.goto(f"http://{shared_gateway.http}/console/..%2Fsettings.py")
    assert missing
    assert missing.status == 404
    page.close()


def test_without_console(server: FakeModelServer, start_gateway: StartGateway) -> None:
    """Off is off, and leaves the rest."""
    gateway = start_gateway(server.address, "--no-rest.console")
    assert gateway.get("/console/")[0] == 404
    assert gateway.get("/livez")[0] == 200
