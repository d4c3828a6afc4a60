"""What the browser tests share.

A real Chromium, pages that may not reach the network, and a JupyterLab of their own."""

import ast
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def browser():
    """Chromium for one file of tests.

    Its event loop ends with the file, so that other files find none running."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    from benchmarks.player import chromium

    if not chromium():
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with api.sync_playwright() as p:
        b = p.chromium.launch(**chromium())
        yield b
        b.close()


# what its own Button says where a click meets a kernel that has just closed
CLOSED = "error Cannot send, from a button of ipywidgets"
# what anywidget says where a page was too busy for two seconds
LATE = "error [anywidget] Failed to initialize model."


def watch(page, allowed):
    "Note what must not happen on a page: errors, and requests to anywhere but `allowed`."
    page.wrong = []
    page.on(
        "pageerror",
        lambda e: page.wrong.append(
            CLOSED if str(e) == "Cannot send" and "_handle_click" in e.stack else f"error {e}"
        ),
    )
    page.on("console", lambda m: page.wrong.append(m.text) if m.type == "error" else None)
    page.on(
        "request",
        lambda r: (
            None if r.url.startswith(("data:", "blob:", *allowed)) else page.wrong.append(f"asks for {r.url}")
        ),
    )
    return page


def until(page, what, timeout=60000):
    """Wait until an expression is true on the page.

    (Playwright's own waiting needs eval, which the policy of a film's page forbids.)"""
    deadline = time.time() + timeout / 1000
    while time.time() < deadline:
        if page.evaluate(f"!!({what})"):
            return
        page.wait_for_timeout(40)
    raise AssertionError(f"never true: {what}; {page.wrong[:3]}")


@pytest.fixture
def page(browser):
    """A page in a context without a network.

    It must end without an error and without a request but for its own file."""
    context = browser.new_context(offline=True, viewport=dict(width=1100, height=920))
    page = watch(context.new_page(), ["file:"])
    page.set_default_timeout(60000)
    yield page
    context.close()
    assert page.wrong == []


def notebook(cells):
    "A notebook of some pieces of code."
    code = [
        dict(cell_type="code", execution_count=None, id=f"cell{i}", metadata={}, outputs=[], source=c)
        for i, c in enumerate(cells)
    ]
    return dict(
        cells=code,
        metadata=dict(
            kernelspec=dict(name="python3", display_name="Python 3", language="python"),
            language_info=dict(name="python"),
        ),
        nbformat=4,
        nbformat_minor=5,
    )


def server_env(folder):
    "The environment of a server that keeps everything in its folder and imports this copy of the package."
    return dict(
        os.environ,
        JUPYTER_RUNTIME_DIR=str(folder / "runtime"),
        IPYTHONDIR=str(folder / "ipython"),
        PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        OMP_NUM_THREADS="1",
    )


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def end_process(process):
    "Ask a program to end, and end it where it does not."
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


class Lab:
    "A JupyterLab server in a folder of its own."

    def __init__(self, folder):
        self.folder, self.token = Path(folder), "test"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "work").mkdir()
        env = server_env(folder) | dict(
            JUPYTER_CONFIG_DIR=str(folder / "config"),
            JUPYTER_CONFIG_PATH=str(
                ROOT / "share/jupyter/config"
            ),  # as `make lab` has it: no offer to rebuild, no news
            JUPYTERLAB_SETTINGS_DIR=str(folder / "settings"),
            JUPYTERLAB_WORKSPACES_DIR=str(folder / "spaces"),
        )
        self.log = open(folder / "lab.log", "w")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyter",
                "lab",
                "--no-browser",
                "--allow-root",
                f"--ServerApp.port={self.port}",
                "--ServerApp.port_retries=0",
                f"--IdentityProvider.token={self.token}",
                f"--ServerApp.root_dir={folder / 'work'}",
                "--LabApp.expose_app_in_browser=True",
            ],
            cwd=folder,
            env=env,
            stdout=self.log,
            stderr=self.log,
        )
        deadline = time.time() + 180
        while True:
            try:
                self.api("/api/status")
                break
            except OSError:
                if self.process.poll() is not None or time.time() > deadline:
                    raise RuntimeError(
                        "JupyterLab did not start: " + (folder / "lab.log").read_text()[-2000:]
                    )
                time.sleep(0.3)

    def api(self, path, method="GET"):
        with urllib.request.urlopen(
            urllib.request.Request(
                self.url + path, method=method, headers=dict(Authorization=f"token {self.token}")
            ),
            timeout=30,
        ) as r:
            return r.read()

    def open(self, page, name, cells):
        "Open a notebook of these cells; nothing is run yet."
        self.open_book(page, name, notebook(cells))

    def open_book(self, page, name, book):
        "Open a notebook as it is; nothing is run yet."
        (self.folder / "work" / name).write_text(json.dumps(book))
        page.goto(f"{self.url}/lab/tree/{name}?token={self.token}&reset")
        until(page, "window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length > 0", 180000)
        until(
            page,
            "window.jupyterapp.shell.currentWidget.sessionContext?.session?.kernel?.status === 'idle'",
            180000,
        )

    def run_all(self, page, timeout=600000):
        "Run all cells of the open notebook and wait for the last one."
        page.evaluate(
            "void window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => { "
            "window.ranAll = true; })"
        )
        until(page, "window.ranAll", timeout)

    def ask(self, page, expression):
        "What the kernel of the open notebook says an expression is; only values that JSON knows."
        reply = page.evaluate(
            """code => {
              const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
              const asked = { code: "", silent: true, user_expressions: { answer: code } };
              return kernel.requestExecute(asked).done.then(r => r.content.user_expressions.answer);
            }""",
            f"__import__('json').dumps({expression})",
        )
        assert reply["status"] == "ok", reply
        return json.loads(ast.literal_eval(reply["data"]["text/plain"]))

    def run(self, page, cell):
        "Run one cell, counted from 0."
        page.evaluate(
            f"window.jupyterapp.shell.currentWidget.content.activeCellIndex = {cell}; void "
            f"window.jupyterapp.commands.execute('notebook:run-cell')"
        )

    def errors(self, page):
        "Error outputs of the notebook that is open."
        return page.evaluate(
            "window.jupyterapp.shell.currentWidget.content.widgets.flatMap(c => "
            "(c.model.toJSON().outputs || []).filter(o => o.output_type === 'error').map(o => "
            "o.ename + ': ' + o.evalue))"
        )

    def close_kernels(self):
        for kernel in json.loads(self.api("/api/kernels")):
            self.api(f"/api/kernels/{kernel['id']}", "DELETE")

    def end(self):
        try:
            self.close_kernels()
        except OSError:
            pass
        end_process(self.process)
        self.log.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser):
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.end()


@pytest.fixture
def lab_page(browser, lab):
    "A page on that JupyterLab; requests may go to it and nowhere else."
    context = browser.new_context(viewport=dict(width=1250, height=1000))
    page = watch(context.new_page(), [lab.url, lab.url.replace("http", "ws")])
    page.set_default_timeout(90000)
    yield page
    context.close()


class Voila:
    "A Voila server that shows one notebook, with the template that asks nobody for icons."

    def __init__(self, folder, book, *more):
        port, self.folder = free_port(), Path(folder)
        self.url = f"http://127.0.0.1:{port}/"
        (folder / "work").mkdir()
        (folder / "work/book.ipynb").write_text(json.dumps(book))
        # (an editor's extension, where one is installed, does not know Voila)
        options = [
            "--no-browser",
            f"--port={port}",
            "--Voila.ip=127.0.0.1",
            "--template=offline",
            "--progressive_rendering=True",
            "--VoilaConfiguration.extension_denylist=jupyterlab-jupytext",
            *more,
        ]
        self.log = open(folder / "voila.log", "w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "voila", "book.ipynb", *options],
            cwd=folder / "work",
            env=server_env(folder)
            | dict(
                JUPYTER_PATH=str(ROOT / "share/jupyter"),
                JUPYTER_CONFIG_PATH=str(ROOT / "share/jupyter/config"),  # as `make voila` has it
            ),
            stdout=self.log,
            stderr=self.log,
        )

    def listen(self, seconds=60):
        "Wait until it answers."
        host, port = self.url.split("/")[2].split(":")
        deadline = time.time() + seconds
        while True:
            try:
                return socket.create_connection((host, int(port)), 5).close()
            except OSError:
                if self.process.poll() is not None or time.time() > deadline:
                    said = (self.folder / "voila.log").read_text()[-2000:]
                    raise RuntimeError("Voila did not start: " + said)
                time.sleep(0.2)

    def end(self):
        end_process(self.process)
        self.log.close()


@pytest.fixture
def voila(browser, tmp_path):
    "Serve a notebook by Voila: a page that shows it, and the folder of its kernel."
    pytest.importorskip("voila", reason="voila is not installed: pip install voila")
    open_now = []

    def serve(book, width=1000, more=()):  # more: options of Voila
        server = Voila(tmp_path, book, *more)
        context = browser.new_context(viewport=dict(width=width, height=800))
        open_now.append((context, server))
        page = watch(context.new_page(), [server.url, server.url.replace("http", "ws")])
        page.set_default_timeout(300000)
        server.listen()
        page.goto(server.url)
        return page, tmp_path

    yield serve
    for context, server in open_now:
        context.close()
        server.end()
