"""A headless Chromium that waits for what it is told to look at."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Self, TypeVar

from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

T = TypeVar("T")
SECONDS = 60  # how long a page may take before the tour gives up
TRIES = 3  # of opening a page within that time
LOOK = 0.1  # seconds between two looks at a page
TALL = 1150  # pixels
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),  # it looks at this alone
    "--force-prefers-reduced-motion",
    "--js-flags=--no-opt",  # each page is seen for seconds: to optimise it takes longer
)


def find_browser() -> tuple[str, str] | None:
    """Paths of Chromium and its driver, if both are installed."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """A headless Chromium that waits for what it is told to look at.

    Args:
        paths: of Chromium and its driver.
        scale: pixels that are drawn for each of the page; fewer where nobody looks at pictures.
    """

    def __init__(self, paths: tuple[str, str], scale: float = 1.0) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = paths[0]
        for flag in (*FLAGS, f"--window-size=1500,{TALL}", f"--force-device-scale-factor={scale}"):
            options.add_argument(flag)
        self.driver = webdriver.Chrome(options, Service(paths[1]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.quit()

    def open(self, address: str) -> None:
        """Load a page anew."""
        self.driver.get("about:blank")  # a change of what follows the # alone would not load anything
        self.driver.get(address)

    def arrive(self, address: str, text: str) -> None:
        """Open an address until a text is there: on a busy machine MLflow's page may come without a part of it."""
        path = f"//*[normalize-space(text())={quoted(text)}]"
        for _ in range(TRIES):
            self.open(address)
            with suppress(TimeoutException):
                self.until(lambda: bool(self.driver.find_elements(By.XPATH, path)), path, SECONDS / TRIES)
                return
        raise TimeoutException(path)

    def go(self, address: str) -> None:
        """Follow an address within the page that is open, which only changes what follows the #."""
        self.driver.get(address)

    def see(self, text: str) -> WebElement:
        """Wait until a text is visible; the last element that consists of it."""
        return self.wait(f"//*[normalize-space(text())={quoted(text)}]")

    def click(self, text: str) -> None:
        """Wait for a text and click on it."""
        self.click_at(f"//*[normalize-space(text())={quoted(text)}]")

    def click_at(self, path: str) -> None:
        """Wait for an element by XPath and click on it; again where the page has replaced it meanwhile."""
        self.until(lambda: self.wait(path).click() is None, path)

    def wait(self, path: str) -> WebElement:
        """Wait until an element is visible, scroll to it and return it; the last one if there are several."""

        def visible() -> WebElement | Literal[False]:
            found = [element for element in self.driver.find_elements(By.XPATH, path) if element.is_displayed()]
            if found:
                self.driver.execute_script(
                    "arguments[0].scrollIntoView({block: 'center', inline: 'nearest'})", found[-1]
                )
            return found[-1] if found else False

        return self.until(visible, path)

    def picture(self, path: str = "//img") -> None:
        """Wait until a picture is visible and has arrived."""
        self.until(lambda: self.driver.execute_script("return arguments[0].naturalWidth > 0", self.wait(path)), path)

    def until(self, condition: Callable[[], T | Literal[False]], sought: str, seconds: float = SECONDS) -> T:
        """Ask again and again, as a page may replace what was found before it is used."""
        waiting = WebDriverWait(self.driver, seconds, LOOK, ignored_exceptions=[WebDriverException])
        return waiting.until(lambda _: condition(), sought)


def quoted(text: str) -> str:
    assert "'" not in text
    return f"'{text}'"
