"""Walk through a sweep in the MLflow dashboard with a real browser, and keep pictures of what it shows.

    python -m experiments.dashboard quickstart --out docs/dashboard

Needs Chromium and its driver (Debian: chromium, chromium-driver), and the sweep in the store in use.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from experiments.browser import SECONDS, Browser, find_browser, quoted
from rnnlab.tracking.store import tracking_uri

SETTLE = 3.0  # seconds for charts to come to rest before a picture is taken
HIDE_PATHS = """
for (const element of document.querySelectorAll('*'))
  if (element.children.length === 0 && element.textContent.includes('file:///')) element.textContent = '…';
"""
"""Where the artifacts lie on this machine is not for publication."""
CALM = {"mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true", "mlflow.assistant.panelOpen_v1": "false"}
"""What the dashboard remembers of a reader who has closed the panel that it opens at the first visit."""


@contextmanager
def served(uri: str) -> Iterator[str]:
    """Run `rnnlab ui` on a free port.

    Args:
        uri: MLflow tracking URI of the store.

    Yields:
        Address of the dashboard.
    """
    port = free_port()
    command = [sys.executable, "-m", "rnnlab", "ui", "--port", str(port)]
    server = subprocess.Popen(
        command,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_server(address := f"http://127.0.0.1:{port}", server.poll)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # the server and what it started
        server.wait()


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_server(address: str, ended: Callable[[], object]) -> None:
    """Wait until a server answers, unless it has ended with a number before."""
    end = time.monotonic() + 2 * SECONDS
    while ended() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"no dashboard at {address}")


def tour(browser: Browser, dashboard: str, sweep: str, arm: str, keep: Callable[[str], None]) -> None:
    """Look at a sweep as a reader does: arms, runs, charts, one run, its gradient, the report.

    Args:
        browser: an open browser.
        dashboard: its address.
        sweep: name of the sweep.
        arm: the arm whose first final run is opened.
        keep: called with the name of every station.
    """
    browser.open(f"{dashboard}/health")  # a page of the same origin that takes no time to load
    for key, value in CALM.items():
        browser.driver.execute_script("localStorage.setItem(arguments[0], arguments[1])", key, value)
    browser.open(f"{dashboard}/#/experiments")
    browser.click("Model training")
    browser.click(sweep)
    runs = _look_at_tables(browser, arm, keep)
    experiment = browser.driver.current_url.partition("/experiments/")[2].partition("/")[0]
    _look_at_charts(browser, keep)
    browser.click_at(_run(arm))
    _look_at_a_run(browser, keep)
    browser.click_at(_tab("Overview"))
    parent = browser.wait("//a[contains(@href, '/runs/') and contains(text(), '/')]").get_attribute("href")
    browser.arrive(str(parent), "Child runs")  # not by a click: the page of metrics may come back after it
    _look_at_a_study(browser, keep)
    browser.go(f'{dashboard}/#/compare-runs?runs={json.dumps(runs)}&experiments=["{experiment}"]')
    for section in ("Visualizations", "Run details"):  # folded, so that parameters and metrics are seen together
        browser.click(section)
    browser.click_at("(//*[normalize-space(text())='Show diff only'])[1]")
    keep("compare")


def _look_at_tables(browser: Browser, arm: str, keep: Callable[[str], None]) -> list[str]:
    """Arms, then runs; returns the ids of each arm's first final run."""
    _choose_view(browser, "Arms: averages over the fresh seeds")
    path = f"//a[substring(., string-length(.) - {len(arm)}) = {quoted(f'/{arm}')}]"  # ends with it
    # The table is empty for a moment, then shows the newest runs, which it opened with, and the arms among them.
    browser.wait(f"{path}[not(//a[contains(., ' final ')])]")
    keep("arms")
    _choose_view(browser, "Runs: every fresh seed")
    browser.wait(_run(arm))
    keep("runs")
    links = browser.driver.find_elements(By.XPATH, "//a[contains(., ' final 0')]")
    return [str(link.get_attribute("href")).rpartition("/")[2] for link in links]


def _look_at_charts(browser: Browser, keep: Callable[[str], None]) -> None:
    browser.click_at("//label[.//input[@value='CHART']]")
    browser.see("grad/decay_rate")
    keep("charts")
    browser.see("Parallel Coordinates")
    keep("parallel")
    browser.wait("//*[contains(text(), 'Where the gradient goes')]")  # the dashboard fills a card when it is seen
    browser.picture("(//*[normalize-space(text())='grad/profile']/following::img)[2]")
    keep("pictures")


def _look_at_a_run(browser: Browser, keep: Callable[[str], None]) -> None:
    browser.see("About this run")
    keep("run")
    browser.click_at(_tab("Model metrics"))
    browser.click_at("//input[@placeholder='Search metric charts']")
    browser.driver.switch_to.active_element.send_keys("profile")
    browser.picture()
    _slide_to_the_end(browser)
    browser.picture()
    keep("slider")


def _look_at_a_study(browser: Browser, keep: Callable[[str], None]) -> None:
    """Its description, and the report that it links to."""
    browser.see("Child runs")
    browser.click("Show more")
    browser.picture("//img[contains(@src, 'forest')]")
    browser.see("Description")  # back to the top
    keep("parent")
    browser.click("Report with intervals, figures and commands")
    browser.driver.switch_to.window(browser.driver.window_handles[-1])  # MLflow opens links in a new tab
    browser.see("report.html")
    keep("report")


def _choose_view(browser: Browser, name: str) -> None:
    browser.click_at("//button[contains(., 'Views') or contains(., 'Arms:') or contains(., 'Runs:')]")
    browser.click(name)


def _slide_to_the_end(browser: Browser) -> None:
    """Move a slider from picture to picture; one key too many would lead beyond the last."""

    def slider() -> WebElement:
        return browser.wait("//*[@role='slider']")

    while (place := slider().get_attribute("aria-valuenow")) != slider().get_attribute("aria-valuemax"):
        slider().send_keys(Keys.ARROW_RIGHT)
        browser.until(lambda before=place: slider().get_attribute("aria-valuenow") != before, "the next picture")


def _run(arm: str) -> str:
    """Link to an arm's first final run; in a sweep of several tasks its name begins with the task."""
    return f"//a[contains(concat(' ', normalize-space(.), '.'), {quoted(f' {arm} final 0.')})]"


def _tab(name: str) -> str:
    return f"//*[@role='tab'][normalize-space(.)='{name}']"


def main() -> None:
    """Write the pictures of docs/dashboard.md."""
    parser = argparse.ArgumentParser(description="Keep pictures of a sweep in the MLflow dashboard.")
    parser.add_argument("sweep", help="name of a complete sweep")
    parser.add_argument("--arm", default="lstm", help="the arm whose first final run is opened")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    options = parser.parse_args()
    if (paths := find_browser()) is None:
        sys.exit("error: chromium and chromedriver are needed: install them (Debian: chromium, chromium-driver)")
    options.out.mkdir(parents=True, exist_ok=True)
    with served(tracking_uri()) as dashboard, Browser(paths) as browser:

        def keep(station: str) -> None:
            time.sleep(SETTLE)
            browser.driver.execute_script(HIDE_PATHS)
            browser.driver.save_screenshot(path := str(options.out / f"{station}.png"))
            print(path, flush=True)

        tour(browser, dashboard, options.sweep, options.arm, keep)


if __name__ == "__main__":
    main()
