"""Chromium without a window, told what to do through a pipe (its DevTools protocol)."""

import contextlib
import json
import os
import shutil
import subprocess
from itertools import count
from pathlib import Path
from typing import Any, Self

NAMES = "chromium", "chromium-browser", "google-chrome"
END_S = 10.0


def find_browser() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab; use it as a context.

    Attributes:
        events: whatever the tab has reported, by method and parameters.
    """

    def __init__(self, program: str, profile: Path) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._numbers, self._read = count(1), b""
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-breakpad",
            f"--user-data-dir={profile}",
        ]
        wired = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'  # where it looks for the pipe
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", wired, program, *options, "--remote-debugging-pipe"],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        attached = self._send("Target.attachToTarget", targetId=target, flatten=True)
        self._session: str | None = attached["sessionId"]
        for domain in ("Network", "Page", "Log", "Runtime"):
            self.send(f"{domain}.enable")

    _session = None

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the tab; returns its result."""
        return self._send(method, **parameters)

    def open(self, path: Path, width: int, height: int) -> None:
        """Show a file in a window of that size, until it has loaded."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.events.clear()
        self.send("Page.navigate", url=path.resolve().as_uri())
        while all(method != "Page.loadEventFired" for method, _ in self.events):
            self._receive()

    def value(self, script: str) -> Any:
        """Of an expression in the page."""
        return self.send("Runtime.evaluate", expression=script, returnByValue=True)["result"][
            "value"
        ]

    def requests(self) -> list[str]:
        """URLs that were asked for since the page was opened."""
        sent = (each for method, each in self.events if method == "Network.requestWillBeSent")
        return [each["request"]["url"] for each in sent]

    def complaints(self) -> list[Any]:
        """What the console has said since then."""
        methods = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [each for method, each in self.events if method in methods]

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            data = os.read(self._in, 1 << 16)
            assert data, "the browser has ended"
            self._read += data
        text, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None
        with contextlib.suppress(AssertionError, OSError):
            self._send("Browser.close")  # so that its helpers end as well
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for descriptor in (self._in, self._out):
            with contextlib.suppress(OSError):
                os.close(descriptor)
