"""The root folder of a stand-in phone: Debian's adbd, mksh and toybox, under Android's names for things."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from suite.cache import Cache, sha256_file
from suite.devices import packages, tools
from suite.devices.compiler import compiled

SHIM = Path(__file__).with_name("shim.cc")
SHIM_FLAGS = ("-O2", "-shared", "-fPIC", "-Wall", "-Werror", "-ldl")
ABIS: Mapping[str, str] = {"x86_64": "amd64", "arm64-v8a": "arm64"}  # Android's name -> Debian's
_PACKAGES = ("adbd", "mksh", "toybox")
_QEMU = "usr/bin/qemu-aarch64"
_PASSWD = "root:x:0:0::/:/system/bin/sh\nshell:x:2000:2000::/data/local/tmp:/system/bin/sh\n"
_GROUP = "root:x:0:\nshell:x:2000:\n"
_GETPROP = """\
#!/system/bin/sh
# getprop [NAME [DEFAULT]]
while IFS='=' read -r name value; do
  if [ $# = 0 ]; then echo "[$name]: [$value]"
  elif [ "$name" = "$1" ]; then echo "$value"; exit
  fi
done < /system/build.prop
if [ $# != 0 ]; then echo "$2"; fi
"""


def native_abi() -> str:
    """The ABI that this machine runs without an emulator; Lacking where there is none."""
    abis = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64-v8a", "arm64": "arm64-v8a"}
    machine = platform.machine().lower()
    if platform.system() != "Linux" or machine not in abis:
        raise tools.Lacking(
            f"stand-in phones run on Linux on x86-64 or arm64, this is {platform.system()} on {machine}: "
            "attach a real phone, or name an adb server that has some with --adb-host HOST:PORT"
        )
    return abis[machine]


def root(cache: Cache, abi: str) -> Path:
    """The root folder of a phone that says it is `abi`; its programs are this machine's own."""
    native = native_abi()
    shim = compiled(
        cache, [SHIM], "shim.so", {"amd64": "x86_64", "arm64": "aarch64"}[ABIS[native]], SHIM_FLAGS
    )
    key = {
        "code": sha256_file(Path(__file__)),
        "shim": sha256_file(shim),
        "abi": abi,
        "suite": packages.SUITE,
    }

    def build(folder: Path) -> None:
        fetched = folder / "fetched"
        names = [f"{name}:{ABIS[native]}" for name in _PACKAGES]
        archives = packages.Apt(cache.root / "apt").download(names, fetched, dependencies=True)
        place = folder / "root"
        place.mkdir()
        for archive in archives:
            packages.unpack(archive, place)
        _arrange(place, shim, _properties(abi))
        (folder / "packages.json").write_text(json.dumps([path.name for path in archives], indent=1))
        shutil.rmtree(fetched)

    return cache.get_or_build("phone", key, build) / "root"


def qemu(cache: Cache) -> Path:
    """The emulator that runs arm64 programs on this machine."""
    key = {"package": "qemu-user", "suite": packages.SUITE}

    def build(folder: Path) -> None:
        apt, fetched = packages.Apt(cache.root / "apt"), folder / "fetched"
        (archive,) = apt.download([f"qemu-user:{ABIS[native_abi()]}"], fetched, dependencies=False)
        packages.unpack(archive, folder, only=f"./{_QEMU}")
        (folder / "packages.json").write_text(json.dumps([archive.name]))
        shutil.rmtree(fetched)  # 70 MB for every processor that can be emulated

    return cache.get_or_build("qemu", key, build) / _QEMU


def _arrange(place: Path, shim: Path, properties: Mapping[str, str]) -> None:
    """Make a folder of Debian packages look like a phone to what looks at it over adb."""
    for name in ("share", "lib/systemd"):
        shutil.rmtree(place / "usr" / name, ignore_errors=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (place / "usr" / name).mkdir(exist_ok=True)
        (place / name).symlink_to(f"usr/{name}")
    for name in ("proc", "dev", "sys", "data", "tmp", "system"):
        (place / name).mkdir()
    binaries = place / "usr" / "bin"
    (binaries / "sh").symlink_to("mksh")
    loader = next((place / "usr").rglob("ld-linux-*.so.*"))
    listed = tools.checked(
        [loader, "--library-path", _libraries(place), binaries / "toybox"], "asking toybox for its applets"
    )
    for applet in listed.split():
        if not (binaries / applet).exists():
            (binaries / applet).symlink_to("toybox")
    (place / "system" / "bin").symlink_to("../usr/bin")
    shutil.copy(shim, place / "usr" / "lib" / "shim.so")
    (place / "system" / "build.prop").write_text("".join(f"{k}={v}\n" for k, v in properties.items()))
    (binaries / "getprop").write_text(_GETPROP)
    (binaries / "getprop").chmod(0o755)
    (place / "etc").mkdir(exist_ok=True)
    (place / "etc" / "passwd").write_text(_PASSWD)
    (place / "etc" / "group").write_text(_GROUP)


def _libraries(place: Path) -> str:
    return ":".join(str(path) for path in (place / "usr" / "lib").glob("*-linux-gnu"))


def _properties(abi: str) -> dict[str, str]:
    name = f"standin_{ABIS[abi]}"
    return {
        "ro.product.manufacturer": "Pocketproof",
        "ro.product.name": name,
        "ro.product.model": name.capitalize(),
        "ro.product.device": "standin",
        "ro.product.cpu.abi": abi,
        "ro.product.cpu.abilist": abi,
        "ro.pocketproof.emulated": str(int(abi != native_abi())),
        "ro.build.version.release": "14",  # of the adbd in Debian
        "ro.build.version.sdk": "34",
        "ro.build.fingerprint": f"pocketproof/{name}/standin:14",
    }
