"""Debian's Firefox under a real hand, spoken to by WebDriver BiDi (W3C): its own mouse, keys and pictures"""

import base64
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from conftest import end_process, free_port

KEYS = dict(ArrowRight="\ue014", ArrowLeft="\ue012", Home="\ue011", End="\ue010", Tab="\ue004")
PREFERENCES = {"webgl.force-enabled": True, "gfx.webrender.software": True}


def program() -> str | None:
    "Find Firefox."
    return shutil.which("firefox-esr") or shutil.which("firefox")


class Screen:
    "A screen without a monitor, where there is Xvfb: only with one does Firefox draw in three dimensions."

    def __init__(self):
        self.process, self.name = None, None
        if shutil.which("Xvfb"):
            read, write = os.pipe()
            command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x1024x24"]
            self.process = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
            os.close(write)
            with os.fdopen(read) as f:
                self.name = ":" + f.readline().strip()

    def close(self):
        if self.process:
            end_process(self.process)


class Firefox:
    "One window."

    def __init__(self):
        import websocket

        self.screen, self.home, self.number = Screen(), tempfile.mkdtemp(), 0
        lines = (f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in PREFERENCES.items())
        (Path(self.home) / "user.js").write_text("".join(lines))
        port, env = free_port(), dict(os.environ, LIBGL_ALWAYS_SOFTWARE="1")
        env |= dict(DISPLAY=self.screen.name) if self.screen.name else {}
        head = [] if self.screen.name else ["--headless"]
        command = [program(), *head, "--profile", self.home, "--remote-debugging-port", str(port)]
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(120):
            try:
                self.socket = websocket.create_connection(
                    f"ws://127.0.0.1:{port}/session", suppress_origin=True, timeout=60
                )
                break
            except OSError:
                time.sleep(0.5)
        self.call("session.new", capabilities={})
        self.window = self.call("browsingContext.getTree")["contexts"][0]["context"]
        self.call("browsingContext.setViewport", context=self.window, viewport=dict(width=1100, height=920))

    @property
    def draws(self) -> bool:
        "Tell whether it can draw in three dimensions here."
        return bool(self.evaluate("!!document.createElement('canvas').getContext('webgl2')"))

    def call(self, method: str, **params) -> dict:
        self.number += 1
        self.socket.send(json.dumps(dict(id=self.number, method=method, params=params)))
        while True:
            said = json.loads(self.socket.recv())
            if said.get("id") == self.number:
                assert said["type"] == "success", said
                return said["result"]

    def goto(self, place: Path | str) -> None:  # a file or an address
        url = place.as_uri() if isinstance(place, Path) else place
        self.call("browsingContext.navigate", context=self.window, url=url, wait="complete")

    def evaluate(self, expression: str):
        "Evaluate JavaScript in the page."
        wrapped = f"JSON.stringify(({expression}) ?? null)"
        where = dict(context=self.window)
        found = self.call("script.evaluate", expression=wrapped, target=where, awaitPromise=True)
        assert found["type"] == "success", found
        return json.loads(found["result"]["value"])

    def until(self, expression: str, seconds: float = 30) -> None:
        deadline = time.time() + seconds
        while not self.evaluate(f"!!({expression})"):
            assert time.time() < deadline, f"never true: {expression}"
            time.sleep(0.05)

    def act(self, kind: str, actions: list, **more) -> None:
        source = dict(type=kind, id=kind, actions=actions) | more
        self.call("input.performActions", context=self.window, actions=[source])

    def press(self, key: str) -> None:
        value = KEYS.get(key, key)
        self.act("key", [dict(type="keyDown", value=value), dict(type="keyUp", value=value)])

    def drag(self, start: tuple, end: tuple) -> None:
        "Drag with the mouse, in pixels."
        (x0, y0), (x1, y1) = start, end
        move = lambda x, y: dict(type="pointerMove", x=round(x), y=round(y), duration=30)
        path = [move(x0 + (x1 - x0) * k / 5, y0 + (y1 - y0) * k / 5) for k in range(1, 6)]
        down, up = dict(type="pointerDown", button=0), dict(type="pointerUp", button=0)
        self.act("pointer", [move(x0, y0), down, *path, up], parameters=dict(pointerType="mouse"))

    def click(self, element: str) -> None:  # JavaScript that finds it
        "Bring an element into sight and click its middle."
        self.evaluate(f"({element}).scrollIntoView({{block: 'center'}})")
        b = self.evaluate(f"({element}).getBoundingClientRect()")
        middle = b["left"] + b["width"] / 2, b["top"] + b["height"] / 2
        self.drag(middle, middle)

    def box(self, selector: str) -> dict:
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()")

    def picture(self):  # PIL image
        "Take a picture of what is seen."
        from PIL import Image

        shot = self.call("browsingContext.captureScreenshot", context=self.window)["data"]
        return Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB")

    def close(self):
        self.socket.close()
        end_process(self.process)
        self.screen.close()
        shutil.rmtree(self.home, ignore_errors=True)
