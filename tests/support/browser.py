"""A headless Chromium, controlled with its DevTools protocol: opens pages from files, in light and dark."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

PATIENCE = 60


def chromium() -> str:
    """Return the program, or skip the test."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium here")
    return found


class Page:
    """A page that is open in the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.requested: list[str] = []
        self.complaints: list[str] = []

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol and return its result; events that arrive meanwhile are recorded."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=PATIENCE)
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._remember(message)

    def _remember(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])

    async def prefer(self, scheme: str) -> None:
        """Emulate a light or dark system, and wait until the page has rendered it."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features)
        await self.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    async def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")


def look(path: Path, folder: Path, see: Callable[[Page], Awaitable[Any]], *, dark: bool = False) -> Any:
    """Open a file in a browser whose profile is in `folder`, and return what `see` returns for the page.

    The page must log no error, and load nothing except itself.
    """
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--window-size=1200,900"]
    words += [f"--user-data-dir={folder}", "--no-first-run", "--disable-component-update", "about:blank"]
    program = subprocess.Popen([chromium(), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        place, until = folder / "DevToolsActivePort", time.monotonic() + PATIENCE
        while not place.exists() or not place.read_text():
            assert time.monotonic() < until, "Chromium did not start"
            time.sleep(0.05)
        return asyncio.run(_look(place.read_text().splitlines()[0], path.absolute().as_uri(), see, dark=dark))
    finally:
        program.terminate()
        program.wait(PATIENCE)


async def _look(port: str, url: str, see: Callable[[Page], Awaitable[Any]], *, dark: bool) -> Any:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            [target] = [each for each in await answer.json() if each["type"] == "page"]
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            page = Page(socket)
            for domain in ("Page", "Runtime", "Network", "Log"):
                await page.call(f"{domain}.enable")
            await page.prefer("dark" if dark else "light")
            await page.call("Page.navigate", url=url)
            await page.value(
                "new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))"
            )
            found = await see(page)
            assert page.complaints == []
            assert set(page.requested) == {url}
            return found
