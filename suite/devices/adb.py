"""Phones as adb shows them: which there are, and files and commands of one.

Phones that are offline or unauthorized are told as well, which adbutils hides.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import TracebackType

from suite.cache import sha256_file
from suite.devices import wire
from suite.devices.lease import PhoneLock, leased, this_process
from suite.devices.wire import SILENCE_SECONDS, Address
from suite.errors import StagedError
from suite.record import Stage

_FOLDER = "/data/local/tmp"
DIRECTORY = f"{_FOLDER}/pocketproof"  # all that is ours on a phone
_FIXED = f"{DIRECTORY}/fixed-performance"  # there while the mode is on: whoever cleans switches it off
_FIX = "cmd power set-fixed-performance-mode-enabled"
PID_FILE = f"{DIRECTORY}/runner.pid"  # empty while nothing runs
_STOP = (  # what runs in our folder: after a restart the numbers may be others', this very shell's too
    f"if [ -s {PID_FILE} ]; then for one in $(cat {PID_FILE}); do "
    f"case $(readlink /proc/$one/cwd) in {DIRECTORY}*) kill -9 $one;; esac; "
    f"done 2>/dev/null; : > {PID_FILE}; fi"
)
_OWNER = f"{DIRECTORY}/owner"  # whose the phone is
_RETURN_SECONDS = 15.0  # for a phone that was away to have noticed it, and to be ours again
_HASHED_PER_SECOND = 1e6  # bytes, by the slowest of phones while it is busy
_PROPERTY = re.compile(r"^\[(.*?)\]: \[(.*)\]$")
_REMEDIES: Mapping[str, str] = {
    "device": "",
    "offline": "unplug it and plug it in again, or restart the phone; then `adb reconnect`",
    "unauthorized": "unlock the phone and allow USB debugging for this computer",
    "authorizing": "unlock the phone and allow USB debugging for this computer",
    "no permissions": "give this user access to the USB device: on Debian and Ubuntu, "
    "apt-get install android-sdk-platform-tools-common, and join the group plugdev",
    "recovery": "restart the phone into Android",
    "sideload": "restart the phone into Android",
    "bootloader": "restart the phone into Android: fastboot reboot",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A phone as a server lists it."""

    serial: str
    state: str  # "device" where it is ready
    server: Address | None  # None: this user's own
    details: Mapping[str, str] = field(default_factory=dict)  # product, model, device

    @property
    def ready(self) -> bool:
        """Whether it can be used."""
        return self.state == "device"

    @property
    def remedy(self) -> str:
        """What makes it ready; empty where it is."""
        return _REMEDIES.get(self.state, "see `adb devices -l`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command on a phone said."""

    stdout: str
    stderr: str
    status: int  # exit status; 128 + signal where it was ended by one


def adb_program() -> str:
    """Path of adb: $ADBUTILS_ADB_PATH, that of PATH, or the one that comes with adbutils."""
    wire.settle()
    from adbutils import adb_path  # type: ignore[import-untyped]

    return str(adb_path())


def attached(server: Address | None = None) -> list[Attached]:
    """Every phone that the server knows, ready or not; without `server`, this user's own is asked.

    StagedError when the server cannot be reached.
    """
    with _explained(str(server or "adb"), "listing phones", Stage.PLAN):
        found = wire.client(server).list(extended=True)
    return [
        Attached(
            serial=info.serial,
            state="no permissions" if info.state == "no" else info.state,  # adbutils splits at the blank
            server=server,
            details=dict(info.tags),
        )
        for info in found
    ]


class Device:
    """One phone, held for this process alone. Use it as a context manager: what it got is removed at the end.

    Methods raise StagedError with the stage they were called for when the phone
    is gone, does not answer, or refuses.
    """

    def __init__(
        self,
        serial: str,
        server: Address | None = None,
        *,
        wait_seconds: float = 600.0,
        return_seconds: float = 0.0,
    ) -> None:
        """`wait_seconds` for others to be done with it; `return_seconds` for it to be back to be cleaned."""
        self.serial, self.server = serial, server
        self._wait_seconds, self._return_seconds = wait_seconds, return_seconds
        self.left = ""  # what could not be removed in the end, and what helps
        self.fixed_performance = False  # whether its clocks are to be held steady
        self._steady = False  # whether they are, as far as is known
        self._adb = wire.phone(server, serial)
        self._lock = PhoneLock(self._adb, serial, _FOLDER, _OWNER)
        self._held: dict[str, str] = {}  # our files there, as last seen: path -> sha256
        self.stamps: dict[str, str] = {}  # of files whose hash was right: as `stat` shows them
        self._away = False  # went in the middle of something
        self._missed = False  # and was waited for in vain
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Device:
        deadline = time.monotonic() + self._wait_seconds
        with contextlib.ExitStack() as stack:
            server = (self.server or Address.own()).identity
            stack.enter_context(leased(self.serial, server, wait_seconds=self._wait_seconds))
            self._check_state()
            stack.callback(self._lock.release)
            self._take(deadline - time.monotonic(), Stage.LOAD)
            self.clean()  # what an earlier process could not
            self._sign(Stage.LOAD)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self._leave()

    def _leave(self) -> None:
        """Clean it, after its return where it is away; one that stays away keeps what it has."""
        held = self.fixed_performance
        with contextlib.suppress(StagedError):
            return self.clean()
        self.wait_for_return(self._return_seconds)
        try:
            self.clean()
        except StagedError as error:
            what = "its clocks are held steady, and " if held else ""
            self.left = (
                f"{self.serial}: {what}our files are on it still: {error}. The next run on it removes them, "
                f"or: adb -s {self.serial} shell '{f'{_FIX} false; ' if held else ''}rm -r {DIRECTORY}'"
            )

    def _take(self, seconds: float, stage: Stage) -> None:
        with _explained(self.serial, "taking its lock", stage):
            self._lock.take(seconds, stage)

    def _sign(self, stage: Stage) -> None:
        """Say on the phone whose it is; one that takes no files says so when it gets the first."""
        self.shell(f"mkdir -p {DIRECTORY} && echo {shlex.quote(this_process())} > {_OWNER}", stage=stage)

    def _keep(self, stage: Stage, seconds: float = 0.0) -> None:
        """Go on holding the phone; where it let go of us, have it again, unless it is another's by now."""
        if self._lock.lost:
            self.forget()
            self._take(_RETURN_SECONDS, stage)
            self._steady = False  # it may have been started anew
            self._sign(stage)
        self._lock.refresh(seconds)
        if self.fixed_performance and not self._steady:
            self._fix(stage)

    @cached_property
    def properties(self) -> dict[str, str]:
        """What `getprop` says."""
        lines = self.shell("getprop", stage=Stage.LOAD).stdout.splitlines()
        return {match[1]: match[2] for line in lines if (match := _PROPERTY.match(line.strip()))}

    @property
    def abi(self) -> str:
        """Of its processor, in Android's words: "arm64-v8a", "x86_64"."""
        return self.properties.get("ro.product.cpu.abi", "unknown")

    def shell(self, command: str, *, stage: Stage, timeout: float = SILENCE_SECONDS) -> Answer:
        """Run a command; StagedError when it has not ended after `timeout` seconds."""
        self._keep(stage, timeout)
        return self._said(command, stage, timeout)

    def _said(self, command: str, stage: Stage, timeout: float = SILENCE_SECONDS) -> Answer:
        with self._missing(), _explained(self.serial, f"running `{command.splitlines()[0][:60]}`", stage):
            stdout, stderr, status = wire.shell(self._adb, command, timeout)
        return Answer(
            stdout=stdout.decode(errors="replace"), stderr=stderr.decode(errors="replace"), status=status
        )

    def checked(self, command: str, *, stage: Stage, timeout: float = SILENCE_SECONDS) -> str:
        """Run a command that must end well, and return what it printed."""
        answer = self.shell(command, stage=stage, timeout=timeout)
        if answer.status:
            raise StagedError(
                f"{self.serial}: `{command.splitlines()[0][:60]}` ended with {answer.status}: "
                f"{(answer.stderr or answer.stdout).strip()[-300:]}",
                stage=stage,
            )
        return answer.stdout

    def install(
        self, files: Mapping[str, Path], *, stage: Stage = Stage.LOAD, trusting: bool = False
    ) -> None:
        """Bring files to the phone, by their name below our directory there; what it has is not sent again.

        What is there is what the phone's own sha256sum says, asked anew unless
        `trusting` what this object saw before. StagedError when the phone has
        something else than was sent.
        """
        self._keep(stage)
        if self._away:  # what ran there when it went may run still
            self.stop_runner(stage)
            self._away = self._missed = False
        wanted = {name: sha256_of(path) for name, path in files.items()}
        if trusting and wanted.items() <= self._held.items():
            return
        patience = SILENCE_SECONDS + hashing_seconds(*files.values())
        there = self.hashes(list(wanted), stage=stage, timeout=patience)
        missing = {name: path for name, path in files.items() if there.get(name) != wanted[name]}
        if missing:
            folders = sorted({str(Path(name).parent) for name in missing})
            self.checked(
                shlex.join(["mkdir", "-p", *(f"{DIRECTORY}/{name}" for name in folders)]), stage=stage
            )
            for name, path in missing.items():
                self.push(path, name, stage=stage)
            there |= self.hashes(list(missing), stage=stage, timeout=patience)
        for name, sha256 in wanted.items():
            if there.get(name) != sha256:
                raise StagedError(
                    f"{self.serial}: {name} was altered on the way: the phone has SHA-256 "
                    f"{there.get(name, 'of nothing')[:12]}, this machine {sha256[:12]}. "
                    "Look at the cable and at the phone's storage",
                    stage=stage,
                )
        self._held |= wanted

    def hashes(self, names: list[str], *, stage: Stage, timeout: float) -> dict[str, str]:
        """SHA-256 of those of our files that are there, computed by the phone."""
        if not names:
            return {}
        words = shlex.join(["sha256sum", "--", *(f"{DIRECTORY}/{name}" for name in names)])
        lines = self.shell(words, stage=stage, timeout=timeout).stdout.splitlines()
        pairs = (line.split(maxsplit=1) for line in lines if " " in line)
        return {path.strip().removeprefix(f"{DIRECTORY}/"): sha256 for sha256, path in pairs}

    def push(self, source: Path, name: str, *, stage: Stage) -> None:
        """Send a file to our directory, whatever is there."""
        self._held.pop(name, None)
        self.stamps.pop(name, None)
        self._keep(stage)
        with self._missing(), _explained(self.serial, f"sending {name}", stage):
            self._adb.sync.push(source, f"{DIRECTORY}/{name}", mode=0o755, check=True)

    def pull(self, name: str, target: Path, *, stage: Stage, most_bytes: int | None = None) -> None:
        """Fetch a file of our directory; StagedError as soon as it is longer than `most_bytes`."""
        self._keep(stage)
        with self._missing(), _explained(self.serial, f"fetching {name}", stage):
            wire.pull(self._adb, f"{DIRECTORY}/{name}", target, most_bytes)

    def stop_runner(self, stage: Stage) -> None:
        """End what runs in our directory, and wait for it to be gone."""
        self.shell(_STOP, stage=stage)

    def abandon_runner(self) -> None:
        """As `stop_runner`, for when something went wrong already: says nothing of what goes wrong here."""
        with contextlib.suppress(StagedError):
            self.stop_runner(Stage.RUN)

    def wait_for_return(self, seconds: float) -> None:
        """Where the phone went away, wait for it to be back; after that, whatever is asked of it tells."""
        if not self._away or self._missed:
            return
        deadline = time.monotonic() + seconds
        while not self._answers():
            if time.monotonic() >= deadline:
                self._missed = True  # it is not waited for again until it is back
                return
            time.sleep(0.2)

    def _answers(self) -> bool:
        with contextlib.suppress(StagedError):
            return self.shell("true", stage=Stage.LOAD, timeout=5).status == 0
        return False

    @contextlib.contextmanager
    def _missing(self) -> Iterator[None]:
        """After a failure the phone may have been away, and what it holds is asked for anew."""
        try:
            yield
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Trust nothing that was seen before: the phone may have been away."""
        self._held.clear()
        self.stamps.clear()
        self._away = True

    def fix_performance(self) -> None:
        """Hold the clocks steady until the phone is cleaned, by any process; StagedError if it cannot.

        A phone that was started anew meanwhile is told so again.
        """
        self._keep(Stage.LOAD)
        self._fix(Stage.LOAD)
        self.fixed_performance = True

    def _fix(self, stage: Stage) -> None:
        mark = f"mkdir -p {DIRECTORY} && : > {_FIXED}"
        answer = self._said(f"{mark} && {_FIX} true", stage)
        self._steady = not answer.status
        if not self._steady:
            self._said(f"rm -f {_FIXED}", stage)
            words = " ".join((answer.stderr or answer.stdout).split())[-300:]
            raise StagedError(
                f"{self.serial}: fixed-performance mode cannot be set: {words}. It takes Android 11 or newer "
                "and a maker who supports it: leave out --fixed-performance",
                stage=stage,
            )

    def clean(self) -> None:
        """End what runs there, give the phone its own clocks back, and remove our directory."""
        self.fixed_performance = False
        self._held.clear()
        self.stamps.clear()
        restore = f"if [ -e {_FIXED} ]; then {_FIX} false || exit 1; fi"
        self.checked(f"{_STOP}; {restore}; rm -rf {DIRECTORY}", stage=Stage.LOAD)

    def _check_state(self) -> None:
        for other in attached(self.server):
            if other.serial == self.serial:
                if not other.ready:
                    raise StagedError(f"{self.serial} is {other.state}: {other.remedy}", stage=Stage.LOAD)
                return
        raise StagedError(
            f"no phone {self.serial} is attached: plug it in, switch on USB debugging, see `adb devices -l`",
            stage=Stage.LOAD,
        )


def hashing_seconds(*paths: Path) -> float:
    """The most that a phone takes to hash files of this machine's."""
    return sum(path.stat().st_size for path in paths) / _HASHED_PER_SECOND


def sha256_of(path: Path) -> str:
    """SHA-256 of a file of this machine; one that did not change is not read again."""
    seen = path.stat()
    return _sha256_as_of(path, seen.st_size, seen.st_mtime_ns)


@cache
def _sha256_as_of(path: Path, size: int, changed_ns: int) -> str:
    return sha256_file(path)


@contextlib.contextmanager
def _explained(subject: str, action: str, stage: Stage) -> Iterator[None]:
    """What adb says, in words for a user."""
    wire.settle()
    from adbutils.errors import AdbError  # type: ignore[import-untyped]

    try:
        yield
    except (AdbError, OSError, EOFError, struct.error, UnicodeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StagedError(
            f"{subject}: {action} failed: {reason}. {_remedy(reason)}",
            stage=stage,
        ) from None


def _remedy(reason: str) -> str:
    if "more than" in reason:
        return "What runs there says something else than was asked: look at it"
    if ("No such file" in reason and "adb" in reason) or "No adb exe" in reason:
        return (
            "There is no adb here: install Android's platform-tools, or name the program in "
            "ADBUTILS_ADB_PATH, or a server elsewhere with --adb-host HOST:PORT"
        )
    if "timeout" in reason or "temporarily unavailable" in reason:
        return "It did not answer in time: see whether the phone is busy, or hangs"
    if "refused" in reason or "server" in reason:
        return "No adb server answers there: start it with `adb start-server`, or correct --adb-host"
    if reason == "FAIL":
        return "The phone does not take the file: see whether its storage is full"
    return "See `adb devices -l` for whether the phone is still attached"


def connect(server: Address, serial: str) -> None:
    """Ask a server to connect to a phone on the network; whether it did shows in `attached`."""
    with _explained(str(server), f"connecting to {serial}", Stage.PLAN):
        wire.client(server).connect(serial, timeout=5)
