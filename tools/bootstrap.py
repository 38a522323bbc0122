"""Make `.venv` from the lock file, with nothing but Python 3.11: no root, no pip, no ensurepip.

Debian splits `ensurepip` off into a package of its own. Where it is missing,
pip's wheel, whose version and hash stand here, is fetched from the package
index that pip is configured for, by its variables or files, and installs
itself.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = ENVIRONMENT / "installed.sha256"
PIP = "pip-26.3-py3-none-any.whl"
OF_THE_MACHINE = Path("/etc/pip.conf")
INDEX = "https://pypi.org/simple"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


def main() -> int:
    """Install what the lock file says, if it is not installed yet."""
    if sys.version_info[:2] != (3, 11):
        print(
            f"found Python {sys.version.split()[0]}, expected 3.11 (tflite-runtime has no newer wheels): "
            "install it, or name it with make PYTHON=...",
            file=sys.stderr,
        )
        return 2
    wanted = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return 0
    print(
        "installing the packages of requirements.lock into .venv (about 2 GB, some minutes) ...", flush=True
    )
    try:
        _make_environment()
        _pip("install", "--require-hashes", "-r", str(LOCK))
        _pip("install", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"cannot set up .venv: {error}. Mend that and run make again.", file=sys.stderr)
        return 1
    STAMP.write_text(wanted)
    return 0


def _make_environment() -> None:
    if (ENVIRONMENT / "bin" / "pip").exists():
        return
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    try:
        import ensurepip  # noqa: F401 - only whether it is there
    except ImportError:
        venv.create(ENVIRONMENT, with_pip=False, symlinks=True)
        _install_pip()
    else:
        venv.create(ENVIRONMENT, with_pip=True, symlinks=True)


def _install_pip() -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder) / PIP
        wheel.write_bytes(_fetch_pip())
        python = str(ENVIRONMENT / "bin" / "python")
        subprocess.run([python, f"{wheel}/pip", "install", "--quiet", "--no-index", str(wheel)], check=True)


def _fetch_pip() -> bytes:
    index = (_configured("index-url") or INDEX).rstrip("/") + "/pip/"
    if index.startswith("file:"):
        index += "index.html"
    links = re.findall(r'href="([^"]+)"', _read(index).decode())
    link = next((link for link in links if urllib.parse.urlparse(link).path.endswith(PIP)), None)
    if link is None:
        raise OSError(f"the package index {_without_password(index)} has no {PIP}")
    data = _read(urllib.parse.urljoin(index, link))
    if hashlib.sha256(data).hexdigest() != PIP_SHA256:
        raise OSError(f"{PIP} from the package index has another hash than expected")
    return data


def _read(url: str) -> bytes:
    """What is there; a name and password in the URL are sent as pip does."""
    parts = urllib.parse.urlsplit(url)
    request = urllib.request.Request(_without_password(url))
    if parts.username is not None:
        secret = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(secret.encode()).decode())
    trusted = ssl.create_default_context(cafile=_configured("cert"))
    with urllib.request.urlopen(request, timeout=120, context=trusted) as answer:
        return bytes(answer.read())


def _without_password(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _configured(option: str) -> str | None:
    """An option of `pip install` as pip itself finds it; None where it is not set."""
    if value := os.environ.get("PIP_" + option.upper().replace("-", "_")):
        return value
    found: dict[str, str] = {}
    for file in _configuration_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(file)  # one that is not there is empty
        except (configparser.Error, UnicodeDecodeError) as error:
            raise OSError(f"pip's configuration {file} cannot be read: {error}") from error
        for section in parser.sections():
            values = {name.replace("_", "-"): value for name, value in parser.items(section)}
            if value := values.get(option):
                found[section] = value
    return found.get("install", found.get("global"))


def _configuration_files() -> list[Path]:
    """pip's files on Linux and macOS, each overruling those before it."""
    named = os.environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    shared = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    machine = [Path(folder, "pip", "pip.conf") for folder in shared.split(os.pathsep)]
    machine.append(OF_THE_MACHINE)
    if named and Path(named).exists():
        return [*machine, Path(named)]
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "pip", "pip.conf")
    if sys.platform == "darwin":
        machine.append(Path("/Library/Application Support/pip/pip.conf"))
        support = Path.home() / "Library" / "Application Support" / "pip"
        own = support / "pip.conf" if support.is_dir() else Path.home() / ".config" / "pip" / "pip.conf"
    return [*machine, Path.home() / ".pip" / "pip.conf", own]


def _pip(*arguments: str) -> None:
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", *arguments]
    subprocess.run([*command, "--disable-pip-version-check"], check=True)


if __name__ == "__main__":
    sys.exit(main())
