"""Chromium without a window, spoken to over its own protocol; tests that need it are skipped where there is none."""

import asyncio
import base64
import json
import shutil
import subprocess
import time
from contextlib import contextmanager

import aiohttp
import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One page. ``problems``: what its console had as an error or a warning, and what failed to load."""

    def __init__(self, loop, socket):
        self._loop, self._socket, self._number, self.problems = loop, socket, 0, []

    def call(self, method, **parameters):
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), 60))

    async def _call(self, method, parameters):
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = await self._receive()
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]

    async def _receive(self):
        message = json.loads((await self._socket.receive()).data)
        match message.get("method"):
            case "Log.entryAdded" if message["params"]["entry"]["level"] in ("error", "warning"):
                self.problems.append(message["params"]["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.problems.append(str(message["params"]))
        return message

    def _until_loaded(self):
        async def wait():
            while (await self._receive()).get("method") != "Page.loadEventFired":
                pass

        self._loop.run_until_complete(asyncio.wait_for(wait(), 60))

    def go(self, url):
        self.call("Page.navigate", url=url)
        self._until_loaded()

    def run(self, script):
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def click(self, selector):
        """Click what leads to another page, where a person would."""
        place = f"document.querySelector({selector!r}).getBoundingClientRect()"
        x, y = self.run(f"(b => [b.x + Math.min(b.width, 40) / 2, b.y + Math.min(b.height, 20) / 2])({place})")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self._until_loaded()

    def press(self, key):
        """Press a key that leads to another page."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        self._until_loaded()

    def back(self):
        history = self.call("Page.getNavigationHistory")
        self.call("Page.navigateToHistoryEntry", entryId=history["entries"][history["currentIndex"] - 1]["id"])
        self._until_loaded()

    def draw(self, path):
        """Write a picture of what is on the screen."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def resize(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)


@contextmanager
def open_browser(folder):
    """A browser whose profile lies in ``folder``."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-features=BackForwardCache",
        "--remote-debugging-port=0",
    )
    process = subprocess.Popen(
        [CHROMIUM, *flags, f"--user-data-dir={folder}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    loop = asyncio.new_event_loop()
    try:
        address, tries = folder / "DevToolsActivePort", 0
        while not address.is_file() or len(address.read_text().split()) < 2:
            tries += 1
            assert process.poll() is None and tries < 600, "Chromium does not start"
            time.sleep(0.1)
        port = address.read_text().split()[0]
        session, socket = loop.run_until_complete(_connect(port))
        browser = Browser(loop, socket)
        try:
            for domain in ("Page", "Runtime", "Log"):
                browser.call(f"{domain}.enable")
            yield browser
        finally:
            loop.run_until_complete(session.close())
    finally:
        process.terminate()
        process.wait(30)
        loop.close()


async def _connect(port):
    session = aiohttp.ClientSession()
    async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
        pages = await answer.json()
    return session, await session.ws_connect(next(p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page"), max_msg_size=0)
