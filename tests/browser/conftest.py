"""A headless Chromium, where one is installed."""

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def absent(what):
    """Skip, unless this is the environment that is there for the browser."""
    if os.environ.get("ORACLE_EXPECT_BROWSER") == "1":
        pytest.fail(f"{what}, but ORACLE_EXPECT_BROWSER says that there is a browser")
    pytest.skip(f"{what}: the page is not opened in a browser")


@pytest.fixture(scope="session")
def chromium():
    """Chromium with what it says on its console, and what it asks the network for, in its logs."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        absent("no Chromium with its chromedriver is installed (Debian: apt-get install chromium chromium-driver)")
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ModuleNotFoundError:
        absent("selenium is not installed (python -m pip install selenium)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    # As root, as in a container, Chromium has no sandbox; it opens one file of ours.
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()
