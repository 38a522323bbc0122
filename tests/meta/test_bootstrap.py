"""Where the first pip comes from: the package index that pip itself would ask."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from tests.meta.conftest import ROOT

WHEEL = b"a wheel of pip"
LOGIN = "Basic " + base64.b64encode(b"ci:p@ss").decode()


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, on a machine where pip is not configured."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "tools" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("PIP_INDEX_URL", "PIP_CERT", "PIP_CONFIG_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "machine"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "OF_THE_MACHINE", tmp_path / "etc" / "pip.conf")
    monkeypatch.setattr(module, "PIP_SHA256", hashlib.sha256(WHEEL).hexdigest())
    return module


@pytest.fixture
def index() -> Iterator[str]:
    """A package index of one wheel, which asks for a name and a password."""

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = b'<a href="../../files/pip-26.3-py3-none-any.whl#sha256=0">pip</a>'
            known = {"/simple/pip/": page, "/files/pip-26.3-py3-none-any.whl": WHEEL}
            allowed = self.headers["Authorization"] == LOGIN
            self.send_response(401 if not allowed else 200 if self.path in known else 404)
            self.end_headers()
            self.wfile.write(known.get(self.path, b"") if allowed else b"")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}/simple"
        server.shutdown()
        thread.join()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_index_of_pips_configuration_is_asked_with_its_password(
    bootstrap: ModuleType, tmp_path: Path, index: str
) -> None:
    file = tmp_path / "home" / ".config" / "pip" / "pip.conf"
    write(file, f"[global]\nindex-url = http://ci:p%40ss@{index}\n")
    assert bootstrap._fetch_pip() == WHEEL
    write(file, f"[global]\nindex-url = http://ci:wrong@{index}\n")
    with pytest.raises(OSError, match="401"):
        bootstrap._fetch_pip()


def test_an_index_without_that_pip_is_named_without_its_password(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, index: str
) -> None:
    monkeypatch.setattr(bootstrap, "PIP", "pip-99-py3-none-any.whl")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://ci:p%40ss@{index}")
    with pytest.raises(OSError, match=rf"the package index http://{index}/pip/ has no pip-99"):
        bootstrap._fetch_pip()


def test_a_folder_can_be_the_index_and_another_wheel_is_refused(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(tmp_path / "index" / "pip" / "index.html", f'<a href="{bootstrap.PIP}">pip</a>')
    wheel = tmp_path / "index" / "pip" / bootstrap.PIP
    wheel.write_bytes(WHEEL)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "index").as_uri())
    assert bootstrap._fetch_pip() == WHEEL
    wheel.write_bytes(b"another")
    with pytest.raises(OSError, match="another hash than expected"):
        bootstrap._fetch_pip()


def test_what_is_nearer_overrules_as_in_pip(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def asked() -> str | None:
        found: str | None = bootstrap._configured("index-url")
        return found

    home = tmp_path / "home"
    assert asked() is None, "nothing is configured yet"
    write(tmp_path / "machine" / "pip" / "pip.conf", "[global]\nindex-url = of-the-machine\n")
    assert asked() == "of-the-machine"
    write(home / ".pip" / "pip.conf", "[global]\nindex_url = of-the-user, formerly\n")
    assert asked() == "of-the-user, formerly"
    write(home / ".config" / "pip" / "pip.conf", "[global]\nindex-url = of-the-user\ntimeout = 9\n")
    assert asked() == "of-the-user"
    write(home / ".config" / "pip" / "pip.conf", "[install]\nindex-url = to-install-from\n[download]\n")
    assert asked() == "to-install-from"
    named = write(tmp_path / "named.conf", "[global]\nindex-url = named\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(named))
    assert asked() == "named", "a file that is named takes the place of the user's"
    monkeypatch.setenv("PIP_INDEX_URL", "at-once")
    assert asked() == "at-once"
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    assert asked() is None


def test_a_configuration_that_cannot_be_read_is_named(bootstrap: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "home" / ".pip" / "pip.conf", "index-url = without a section\n")
    with pytest.raises(OSError, match=r"\.pip/pip\.conf cannot be read"):
        bootstrap._configured("index-url")
