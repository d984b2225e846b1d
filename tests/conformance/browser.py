"""A real browser, driven by the WebDriver protocol: chromedriver speaks HTTP, so nothing else needs to be installed.

Debian has both: apt-get install chromium chromium-driver.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, final

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def missing() -> str:
    """Why there is no browser here; empty where there is one."""
    if shutil.which("chromedriver") is None:
        return "no chromedriver on the PATH (Debian: apt-get install chromium chromium-driver)"
    return "" if any(map(shutil.which, BROWSERS)) else f"none of {', '.join(BROWSERS)} on the PATH"


@final
class Browser:
    """A window.

    Args:
        width, height: of the page in CSS pixels.
        phone: show it as a phone does.
    """

    def __init__(self, width: int, height: int, *, phone: bool = False) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._root = f"http://127.0.0.1:{port}"
        self._wait()
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"]
        options: dict[str, Any] = {"args": [*arguments, f"--window-size={width},{height}"]}
        options["binary"] = next(p for p in map(shutil.which, BROWSERS) if p)
        if phone:
            metrics = {"width": width, "height": height, "pixelRatio": 2.0, "mobile": True, "touch": True}
            options["mobileEmulation"] = {"deviceMetrics": metrics}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._root += f"/session/{made['sessionId']}"

    def open(self, path: Path) -> None:
        """Load a file."""
        self._ask("POST", "/url", {"url": path.absolute().as_uri()})

    def run(self, script: str, *arguments: object) -> Any:
        """What a script returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def click(self, selector: str) -> None:
        """Click what a CSS selector finds first, as a finger would: it must be in view and not covered."""
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        self._ask("POST", f"/element/{next(iter(found.values()))}/click", {})

    def text(self, selector: str) -> str:
        """Visible text of what a selector finds first."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def overflow(self, selector: str = "html") -> int:
        """Pixels by which the content is wider than its place."""
        return int(self.run("const e = document.querySelector(arguments[0]); return e.scrollWidth - e.clientWidth", selector))

    def complaints(self) -> list[str]:
        """What the page's scripts logged as warnings or errors."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"}) if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self, path: Path) -> None:
        """A screenshot of what is in view."""
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def close(self) -> None:
        """End the browser."""
        try:
            self._ask("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait()

    def _wait(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if self._ask("GET", "/status")["ready"]:
                    return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise TimeoutError("chromedriver did not start")

    def _ask(self, method: str, path: str, body: object | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"].splitlines()[0]) from None
