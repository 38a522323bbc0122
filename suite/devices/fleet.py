"""The phones of a run: found once, by one process, and each held by one process at a time."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suite.devices.adb import Address, Attached, Device, attached
from suite.devices.session import DeviceSession
from suite.devices.vitals import COOL_SECONDS
from suite.errors import StagedError, UsageError
from suite.record import Stage, Status
from suite.runtimes.base import TensorInfo
from suite.spec import Target

Tensors = tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]
ENGINES: Mapping[str, str] = {  # of a phone -> the engine of this machine that computes alike
    "xnnpack": "litert-xnnpack",
    "cpu": "litert-builtin",
}
NO_PHONE = "none"  # in place of a serial, where there is none to name
_ADVICE = (
    "plug one in and switch on USB debugging (Settings, System, Developer options), name another "
    "machine's adb server with --adb-host HOST:PORT, or use a stand-in: --stand-in native"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """One phone of a run, or what is known of one that cannot be used."""

    place: str  # "android:<serial>", as in the ids of cases
    serial: str
    server: str = ""  # HOST:PORT; empty for this user's own
    title: str = ""  # product and model as adb lists them
    problem: str = ""  # why it cannot be used, and what helps

    @property
    def address(self) -> Address | None:
        """Of the adb server that knows it."""
        return Address.parse(self.server) if self.server else None

    @property
    def complaint(self) -> str:
        """What is wrong with it; empty where it can be used."""
        where = f" at {self.server}" if self.server else ""
        subject = "" if self.serial == NO_PHONE else f"{self.serial}{where}: "
        return f"{subject}{self.problem}" if self.problem else ""

    def __str__(self) -> str:
        where = f" at {self.server}" if self.server else ""
        return self.complaint or f"{self.serial}{where}: ready, {self.title}"


def find(serials: Sequence[str], servers: Sequence[str]) -> list[Phone]:
    """Every phone that the servers list, or those of `serials`; what is wrong with one is said in it.

    Without `servers`, this user's own is asked, and started where it does not
    run. Never empty: where there is no phone, one entry says so.
    """
    named: list[Address | None] = [Address.parse(server) for server in dict.fromkeys(servers)]
    seen: list[Phone] = []
    trouble: list[str] = []
    for address in named or [None]:
        try:
            seen += [_phone(one) for one in attached(address)]
        except StagedError as error:
            trouble.append(str(error))
    if serials:
        absent = [serial for serial in serials if serial not in {phone.serial for phone in seen}]
        seen = [phone for phone in seen if phone.serial in serials]
        seen += [_absent(serial, trouble) for serial in dict.fromkeys(absent)]
    elif trouble or not seen:
        problem = ". ".join(trouble) or f"no phone is attached: {_ADVICE}"
        seen.append(Phone(place=f"android:{NO_PHONE}", serial=NO_PHONE, problem=problem))
    return _told_apart(seen)


def _phone(one: Attached) -> Phone:
    names = (one.details.get(name, "") for name in ("product", "model"))
    return Phone(
        place=f"android:{one.serial}",
        serial=one.serial,
        server=str(one.server) if one.server else "",
        title=" ".join(filter(None, names)),
        problem="" if one.ready else f"the phone is {one.state}: {one.remedy}",
    )


def _absent(serial: str, trouble: Sequence[str]) -> Phone:
    problem = ". ".join(trouble) or (
        "no phone of this serial is attached: plug it in and switch on USB debugging; `adb devices -l` "
        "lists those that are"
    )
    return Phone(place=f"android:{serial}", serial=serial, problem=problem)


def _told_apart(phones: Sequence[Phone]) -> list[Phone]:
    """With the server in the name of those that share a serial: every lab has its emulator-5554."""
    counts = Counter(phone.place for phone in phones)
    return [
        phone
        if counts[phone.place] == 1
        else Phone(**{**asdict(phone), "place": f"{phone.place}@{phone.server}"})
        for phone in phones
    ]


class Fleet:
    """The phones that this process uses. Close it to leave them as they were."""

    def __init__(
        self, phones: Iterable[Phone] = (), *, required: bool = False, cool_seconds: float = COOL_SECONDS
    ) -> None:
        """A phone that cannot be used is an error where one is `required`, else a skip.

        A hot one is waited for, `cool_seconds` at most.
        """
        self.cool_seconds = cool_seconds
        self.phones = {phone.place: phone for phone in phones}
        self._required = required
        self._held: dict[str, Device] = {}
        self._stack = contextlib.ExitStack()

    def targets(self, engines: Sequence[str]) -> tuple[Target, ...]:
        """What cases run on; UsageError for an engine that no phone has."""
        for engine in engines:
            if engine not in ENGINES:
                raise UsageError(f"--engines {engine}: known on phones are {', '.join(ENGINES)}")
        return tuple(Target(place, engine) for place in self.phones for engine in engines)

    def check(self, target: Target) -> None:
        """StagedError, as a skip unless phones are required, where the phone was not there from the start."""
        phone = self.phones[target.place]
        if phone.problem:
            status = Status.ERROR if self._required else Status.SKIPPED
            raise StagedError(phone.complaint, stage=Stage.LOAD, status=status)

    def device(self, target: Target) -> Device:
        """The phone, held from now on; tried anew each time while it is away."""
        self.check(target)
        if target.place not in self._held:
            phone = self.phones[target.place]
            self._held[target.place] = self._stack.enter_context(Device(phone.serial, phone.address))
        return self._held[target.place]

    def session(self, target: Target, path: Path, *, threads: int, tensors: Tensors) -> DeviceSession:
        """An artifact on a phone."""
        xnnpack = target.engine == "xnnpack"
        return DeviceSession(self.device(target), path, threads=threads, xnnpack=xnnpack, tensors=tensors)

    def close(self) -> None:
        """Remove what is ours from the phones, and let go of them."""
        self._held.clear()
        self._stack.close()

    def sweep(self) -> None:
        """Remove what killed processes of this run may have left on its phones; not on those in use."""
        for phone in self.phones.values():
            if not phone.problem:
                with contextlib.suppress(StagedError), Device(phone.serial, phone.address, wait_seconds=0):
                    pass

    def plain(self) -> list[dict[str, Any]]:
        """The phones as data, for other processes of the run."""
        return [asdict(phone) for phone in self.phones.values()]
