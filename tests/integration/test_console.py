"""The console in a real browser: what a person with a pointer, with a keyboard or with a screen reader can do on it.

With TENSORGATE_SCREENSHOTS=DIRECTORY the pages are kept there as pictures (`make screenshots`).
"""

import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from gateway.auth.keys import KeysFile, create
from gateway.rollout import commands as rollout_commands
from serving.contract import Postprocessing
from tensorgate import Client
from tests.fakes import digits, people
from tests.fakes.model_server import FakeModel, FakeModelServer, signature_def
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, gateways, on_one_transport
from tests.integration.test_drift import BANDS, REFERENCE

pytestmark = on_one_transport

expect.set_options(timeout=1e3 * TIMEOUT)


IMAGES = [digits.encode(band) for band in BANDS] * 5
INVERTED = [digits.encode(255 - band) for band in BANDS] * 5
RULES = ("--steps", "25,50,100", "--min-samples", "100000", "--by-hand")


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FakeModelServer]:
    """A fake model server with two versions, whose contract has a reference for drift."""
    contract = digits.contract(reference=REFERENCE).model_dump_json()
    fake = FakeModelServer(digits=FakeModel(versions=[1, 2], contract=contract))
    fake.start()
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def shared_gateway(
    shared_server: FakeModelServer, tmp_path_factory: pytest.TempPathFactory, transport: str
) -> Iterator[Gateway]:
    """A gateway that keeps labels and plans, whose key may do everything but change plans."""
    directory = tmp_path_factory.mktemp("gateway")
    flags = (
        f"--feedback.database-url=sqlite:///{directory / 'labels.db'}",
        f"--receipt-key={'k' * 32}",
        f"--rollout.plans={directory / 'plans'}",
        "--rollout.poll-interval=0.2",
        "--drift.look-rows=100",
    )
    with gateways(directory, transport) as start:
        yield start(shared_server.address, *flags, scopes=("predict:*", "feedback:*"))


@pytest.fixture(scope="module")
def admin(shared_gateway: Gateway) -> str:
    """A key that may change plans as well."""
    key, record = create("operator", frozenset({"predict:*", "admin"}))
    keys = KeysFile.load(shared_gateway.keys_file)
    KeysFile(keys=[*keys.keys, record]).save(shared_gateway.keys_file)
    return key


@pytest.fixture(scope="module")
def filled(shared_gateway: Gateway, admin: str) -> Gateway:
    """The gateway with labels, inputs that have drifted, and a roll-out of version 2 that runs."""
    with Client(shared_gateway.address, key=shared_gateway.key, timeout=TIMEOUT) as client:
        answers = [answer for _ in range(4) for answer in client.predict_batch(IMAGES, version=1)]
        # Of 100 labels five say that a 3 was an 8.
        labels = [
            (answer.id, "8" if answer.label == "3" and place < 50 else str(answer.label))
            for place, answer in enumerate(answers[:100])
        ]
        client.feedback_batch(labels, timeout=TIMEOUT)
        for _ in range(4):
            client.predict_batch(INVERTED, version=1)
        operator = ["--address", shared_gateway.address, "--key", admin]
        start = ["start", "2", "--stable", "1", *RULES, "--reason", "trained on more digits"]
        deadline = time.monotonic() + TIMEOUT
        # The gateway takes a moment to see the new key.
        while rollout_commands.run([*operator, *start]) != rollout_commands.DONE:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        for image in IMAGES * 2:
            client.predict(image)
    return shared_gateway


@contextmanager
def console(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    """A gateway's console, signed in; it must need nothing from elsewhere and make no error."""
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.set_default_timeout(1e3 * TIMEOUT)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: errors.append(request.url) if gateway.http not in request.url else None)
    page.goto(f"http://{gateway.http}/console/")
    sign_in(page, gateway.key)
    yield page
    page.close()
    assert [error for error in errors if not error.startswith(("data:", "blob:"))] == []


@pytest.fixture
def page(browser: Browser, filled: Gateway) -> Iterator[Page]:
    """The console of digits."""
    with console(browser, filled) as page:
        expect(page.locator("#paper")).to_be_visible()
        yield page


def sign_in(page: Page, key: str) -> None:
    """Signs in with a key."""
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def screenshot(shown: Page | Locator, name: str) -> None:
    """Keeps the page, or a part of it, as a small picture, where that is wanted."""
    directory = os.environ.get("TENSORGATE_SCREENSHOTS")
    if directory:
        with Image.open(io.BytesIO(shown.screenshot())) as image:
            image.convert("RGB").quantize(256).save(Path(directory) / f"{name}.png", optimize=True)


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


def draw_a_four(page: Page) -> None:
    """Draws what people, and the fake model by its bar, take for a 4."""
    box = page.locator("#paper").bounding_box()
    assert box
    for stroke in (((0.52, 0.12), (0.12, 0.48), (0.88, 0.48)), ((0.66, 0.25), (0.66, 0.92))):
        points = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=12)
        page.mouse.up()


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


def cells(page: Page, table: str, row: str) -> list[str]:
    """The texts of a table's row, by the table's caption and the row's head."""
    found = (
        page.get_by_role("table", name=table).locator("tbody tr").filter(has=page.get_by_role("rowheader", name=row))
    )
    return found.first.locator("td").all_text_contents()


def test_quality(page: Page) -> None:
    """Accuracy by version with its interval, and the confusion matrix, over the window that is chosen."""
    window = page.get_by_label("Over").first
    matrix = page.get_by_role("table", name="Confusion matrix of version 1, stable")
    for value in ("QUALITY_WINDOW_HOUR", "QUALITY_WINDOW_ALL"):
        window.select_option(value)
        expect(matrix).to_be_visible()
        variant, _, labels, accuracy = cells(page, "Figures with their 95 % intervals", "1")[:4]
        assert variant == "stable"
        assert re.fullmatch(r"100 \(2\d\.\d %\)", labels)
        assert re.fullmatch(r"95\.0 % \(8\d\.\d to 9\d\.\d %\)", accuracy)
    assert cells(page, "Confusion matrix of version 1", "8") == [*"00050000", "10", "0"]
    assert cells(page, "Confusion matrix of version 1", "3") == [*"0005000000"]
    assert cells(page, "Classes of version 1", "8")[0] == "15"


def test_drift(page: Page) -> None:
    """What has drifted is said in words and beside its chart, and what has not is not."""
    expect(page.locator("#drift-state")).to_have_text("drifted")
    expect(page.locator("#drift")).to_contain_text("drift: image_brightness")
    charts = page.locator("#drift figure")
    expect(charts.filter(has_text="image_brightness").locator("strong")).to_have_text("drifted")
    expect(charts.filter(has_text="prediction").locator("strong")).to_have_count(0)
    expect(page.get_by_role("img", name="image_brightness, drifted: PSI")).to_be_visible()
    page.locator("#drift-window").select_option("the last hour")
    expect(page.locator("#drift")).to_contain_text(re.compile(r"\d{3} predictions in the window"))


def test_rollout(page: Page) -> None:
    """Who answers, how the candidate is judged and why, and who started it."""
    expect(page.locator("#rollout-state")).to_have_text("running")
    expect(page.locator("#rollout")).to_contain_text("canary, step 1 of 3")
    assert cells(page, "Versions of the plan", "1") == ["stable", "75 %", "yes"]
    assert cells(page, "Versions of the plan", "2") == ["candidate", "25 %", "yes"]
    expect(page.locator("#rollout")).to_contain_text("Verdict: hold.")
    expect(page.locator("#rollout li").first).to_contain_text("of 100000 calls")
    stable, candidate = cells(page, "Evidence: bad outcomes", "errors")[:2]
    assert re.fullmatch(r"0\.0 % of \d+", stable)
    assert re.fullmatch(r"0\.0 % of \d+", candidate)
    assert cells(page, "History, newest first", "")[:2] == ["start", "operator"]
    assert cells(page, "History, newest first", "")[4] == "trained on more digits"


def test_plans_are_for_administrators(page: Page) -> None:
    """Another key reads the plan and changes nothing; nor does anybody without saying why."""
    page.get_by_role("button", name="Abort").click()
    expect(page.locator("#rollout-reason:invalid")).to_be_focused()
    page.get_by_label("Reason").fill("in a hurry")
    page.get_by_role("button", name="Advance").click()
    expect(page.locator("#rollout-outcome")).to_have_text("That takes a key with the scope admin.")
    assert cells(page, "Versions of the plan", "2") == ["candidate", "25 %", "yes"]


def test_everything_is_reached_by_keyboard(page: Page) -> None:
    """Tab goes to every control and every table that scrolls, in the order of the page, and shows where it is."""
    page.reload()
    expect(page.locator("#rollout-change")).to_be_visible()
    expect(page.locator("#drift figure").first).to_be_visible()
    seen: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            """() => {
              const focused = document.activeElement;
              if (focused === document.body) return null;
              const shown = focused.id === "file" ? focused.parentElement : focused;
              const {outlineStyle, outlineWidth} = getComputedStyle(shown);
              const name = focused.id || focused.value || focused.textContent.trim();
              return [focused.getAttribute("aria-label") ?? name, outlineStyle, parseFloat(outlineWidth)];
            }"""
        )
        if focused is None:
            break
        name, style, width = focused
        assert style != "none", f"{name} does not show that it has the focus"
        assert width >= 2, name
        seen.append(name)
    expected = [
        "Skip to trying a model",
        "key",
        "model",
        "Paper to draw on",
        "ask",
        "clear",
        "file",
        "Versions of the plan",
        "Evidence: bad outcomes",
        "rollout-reason",
        "AdvanceRollout",
        "PromoteRollout",
        "AbortRollout",
        "History, newest first",
        "quality-window",
        "Figures with their 95 % intervals",
        "Confusion matrix of version 1, stable: true classes down, predicted across",
        "drift-window",
    ]
    assert [name for name in seen if name in expected] == expected, seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(page: Page, scheme: str) -> None:
    """Axe finds nothing that keeps somebody out, in either colour scheme, with every panel filled."""
    page.emulate_media(color_scheme=scheme)
    draw_a_four(page)
    page.get_by_role("button", name="Ask the model").click()
    expect(page.locator("#label")).to_have_text("4")
    for panel in ("#traffic table", "#quality table.confusion", "#drift figure", "#rollout table"):
        expect(page.locator(panel).first).to_be_visible()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    # Axe does not see what is wider than the page.
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.set_viewport_size({"width": 1100, "height": 790})
    screenshot(page, f"console-{scheme}")
    if scheme == "light":
        for panel in ("quality", "drift", "rollout"):
            screenshot(page.locator(f"#{panel}-section"), f"console-{panel}")


def test_an_administrator_moves_the_rollout(page: Page, admin: str) -> None:
    """By keyboard alone: to the next step, and back; each with its reason in the history."""
    sign_in(page, admin)
    page.get_by_label("Reason").fill("looks good")
    page.get_by_role("button", name="Advance").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#rollout-outcome")).to_have_text("Done.")
    expect(page.locator("#rollout")).to_contain_text("step 2 of 3")
    assert cells(page, "Versions of the plan", "2") == ["candidate", "50 %", "yes"]
    history = page.get_by_role("table", name="History, newest first").locator("tbody tr").first
    expect(history).to_contain_text("advanceoperator")
    expect(history).to_contain_text("looks good")
    page.get_by_label("Reason").fill("enough")
    page.get_by_role("button", name="Abort").focus()
    page.keyboard.press("Space")
    expect(page.locator("#rollout-state")).to_have_text("aborted")
    # The buttons are gone, and who pressed one is still where they were.
    expect(page.get_by_role("button", name="Abort")).to_be_hidden()
    expect(page.locator("#rollout-outcome")).to_be_focused()
    expect(history).to_contain_text("enough")


PRICE = signature_def({"features": (np.float32, (-1, 4))}, {"value": (np.float32, (-1, 1))})


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[Gateway]:
    """A gateway that keeps labels, in front of a regression of a table: the sum of its features and a tenth."""
    contract = people.contract(name="price", postprocessing=Postprocessing(task="regression", output="value"))
    model = FakeModel(
        contract=contract.model_dump_json(),
        signatures={"serving_default": PRICE},
        compute=lambda inputs: {"value": inputs["features"].sum(axis=1, keepdims=True) + np.float32(0.1)},
    )
    server = FakeModelServer(price=model)
    server.start()
    directory = tmp_path_factory.mktemp("values")
    flags = (f"--feedback.database-url=sqlite:///{directory / 'labels.db'}", f"--receipt-key={'k' * 32}")
    try:
        with gateways(directory, transport) as start:
            yield start(server.address, *flags, models="price", scopes=("predict:*", "feedback:*"))
    finally:
        server.close()


def test_a_value_of_a_row(browser: Browser, values: Gateway) -> None:
    """A table's columns are fields to fill in; the value is answered, corrected, and counts in the quality."""
    with console(browser, values) as page:
        age, city, member = (page.get_by_label(name, exact=True) for name in ("age", "city", "member"))
        # An age may be missing, and 40 is what stands for it; the city has the features Oslo and Rome.
        for age_given, city_given, expected, truth in (("20", "Rome", "22.1", "22"), ("", "Oslo", "42.1", "40")):
            age.fill(age_given)
            city.fill(city_given)
            member.select_option("true")
            city.press("Enter")
            expect(page.locator("#label")).to_have_text(expected)
            page.get_by_label("It is").fill(truth)
            page.get_by_role("button", name="Send feedback").click()
            expect(page.get_by_text("Thank you: it counts.")).to_be_visible()
        city.fill("x" * 1001)
        page.get_by_role("button", name="Ask the model").click()
        expect(page.locator("#answer")).to_contain_text("invalid_argument")
        expect(page.locator("#answer")).to_contain_text("expected 1000 characters at most")
        # The typed row is still there after the page has looked again, and so is what it counted.
        figures = page.get_by_role("table", name="Figures with their 95 % intervals")
        expect(figures.locator("tbody tr").first.locator("td").nth(2)).to_have_text("2 (100.0 %)")
        assert figures.locator("thead th").all_text_contents()[4:7] == ["RMSE", "MAE", "Bias"]
        errors = (0.1, 2.1)
        rmse, mae, bias = cells(page, "Figures with their 95 % intervals", "1")[3:6]
        assert [float(figure.split()[0]) for figure in (rmse, mae, bias)] == pytest.approx(
            [np.sqrt(np.mean(np.square(errors))), np.mean(errors), np.mean(errors)], abs=0.01
        )
        expect(age).to_have_value("")
        assert Axe().run(page).violations_count == 0


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
