"""Make `.venv` from the lock file, with nothing but Python 3.11: no root, no pip, no ensurepip.

Debian splits `ensurepip` off into a package of its own. Where it is missing,
pip's wheel, whose version and hash stand here, is fetched from the package
index that pip is configured for and installs itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
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
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    with urllib.request.urlopen(index, timeout=60) as page:
        links = re.findall(r'href="([^"]+)"', page.read().decode())
    link = next((link for link in links if urllib.parse.urlparse(link).path.endswith(PIP)), None)
    if link is None:
        raise OSError(f"the package index has no {PIP}")
    with urllib.request.urlopen(urllib.parse.urljoin(index, link), timeout=120) as answer:
        data = bytes(answer.read())
    if hashlib.sha256(data).hexdigest() != PIP_SHA256:
        raise OSError(f"{PIP} from the package index has another hash than expected")
    return data


def _pip(*arguments: str) -> None:
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", *arguments]
    subprocess.run([*command, "--disable-pip-version-check"], check=True)


if __name__ == "__main__":
    sys.exit(main())
