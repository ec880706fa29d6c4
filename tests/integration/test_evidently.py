"""`python -m gateway report --evidently` with the real Evidently, in an environment of its own."""

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.fakes.report_sources import images, labels_of_three
from tests.integration.conftest import TIMEOUT

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".evidently/bin/python"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pages are, made once; nothing was sent anywhere while they were."""
    if not PYTHON.exists():
        pytest.skip("needs .evidently (`make evidently`)")
    directory = tmp_path_factory.mktemp("evidently")
    reference, current = images(directory, "a.tfrecord", 0.3), images(directory, "b.tfrecord", 0.6)
    with socket.create_server(("127.0.0.1", 0)) as outside:
        proxy = "http://{}:{}".format(*outside.getsockname())
        home = {"HOME": str(directory), "HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": ""}
        environment = {name: value for name, value in os.environ.items() if name.upper() not in {*home, "DO_NOT_TRACK"}}
        command = [PYTHON, "-m", "gateway", "report", current, "--reference", reference, "--evidently", directory / "x"]
        ended = subprocess.run(
            [*command, "--database-url", labels_of_three(directory / "labels.db"), "--out", directory / "report.html"],
            cwd=ROOT,
            env=environment | home,
            capture_output=True,
            text=True,
            timeout=6 * TIMEOUT,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
        outside.setblocking(False)  # positional alone
        with pytest.raises(BlockingIOError):
            outside.accept()
    assert not list(directory.glob(".config/evidently*"))
    assert (directory / "report.html").is_file()
    return directory / "x"


def test_pages(written: Path) -> None:
    """One of the captures, and one of the labels of each version."""
    names = ["drift.html", "quality-pets-1.html", "quality-pets-2.html", "quality-price-1.html"]
    assert sorted(page.name for page in written.iterdir()) == names
    for page in written.iterdir():
        text = page.read_text()
        # A class's name ends no script.
        assert "<dog>" not in text
        assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", text)


@pytest.mark.parametrize(
    ("page", "texts"),
    [
        ("drift.html", ["mean_intensity", "Drift is detected for 75.0% of columns (3 out of 4)", "Dataset Summary"]),
        ("quality-pets-1.html", ["Model Quality Metrics", "‹dog>", "0.833"]),
        ("quality-price-1.html", ["Regression Model Performance", "0.5 (0.0)"]),
    ],
)
def test_shown(browser: Browser, written: Path, page: str, texts: list[str]) -> None:
    """A browser shows what was found, and asks nobody for anything."""
    shown = browser.new_page()
    shown.set_default_timeout(1e3 * TIMEOUT)
    asked: list[str] = []
    errors: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.goto((written / page).as_uri())
    for text in texts:
        expect(shown.get_by_text(text).first).to_be_visible()
    shown.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert errors == []
