"""The phones of a run: found once, by one process, and each held by one process at a time."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suite.devices import facts
from suite.devices.adb import Attached, Device, attached
from suite.devices.benchmark_model import DELEGATES, BenchmarkModelSession, located
from suite.devices.session import DeviceSession
from suite.devices.vitals import COOL_SECONDS
from suite.devices.wire import Address
from suite.errors import PocketproofError, StagedError, UsageError
from suite.record import Stage, Status
from suite.runtimes.base import TensorInfo
from suite.spec import Target

Tensors = tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]
ENGINES: Mapping[str, str] = {  # of a phone -> the engine of this machine that computes alike
    "xnnpack": "litert-xnnpack",
    "cpu": "litert-builtin",
    **dict.fromkeys(DELEGATES, "litert-xnnpack"),
}
WAIT_SECONDS = 600.0  # for another process to be done with a phone; once, not for each case
RETURN_SECONDS = 15.0  # for a phone to be back that went away: a cable that was touched
DEFAULT_ENGINE = "xnnpack"
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
    def identity(self) -> tuple[str, str]:
        """The same for every way to write its server's address."""
        return (self.address or Address.own()).identity, self.serial

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
    listed: dict[tuple[str, str], Phone] = {}
    trouble: list[str] = []
    for address in named or [None]:
        try:
            for phone in map(_phone, attached(address)):
                listed.setdefault(phone.identity, phone)
        except StagedError as error:
            trouble.append(str(error))
    seen = list(listed.values())
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
        self,
        phones: Iterable[Phone] = (),
        *,
        required: bool = False,
        cool_seconds: float = COOL_SECONDS,
        fixed_performance: bool = False,
        benchmark_model: str = "",
    ) -> None:
        """A phone that cannot be used is an error where one is `required`, else a skip.

        A hot one is waited for, `cool_seconds` at most. `fixed_performance` holds the clocks steady.
        `benchmark_model` is the path of Google's tool, to be used in place of `device_runner`.
        """
        self._tool_path = benchmark_model
        self._fixed = fixed_performance
        self._waited: set[str] = set()  # places of phones that others have used for too long
        self.cool_seconds = cool_seconds
        self.phones = {phone.place: phone for phone in phones}
        self._required = required
        self._held: dict[str, Device] = {}
        self.left: dict[str, str] = {}  # by place: what could not be removed from a phone, and what helps
        self._facts: dict[Target, tuple[dict[str, Any], tuple[str, ...]]] = {}
        self._stack = contextlib.ExitStack()

    def targets(self, engines: Sequence[str]) -> tuple[Target, ...]:
        """What cases run on; UsageError for an engine that no phone has."""
        engines = engines or (DEFAULT_ENGINE,)
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
            self._hold(target.place)
        device = self._held[target.place]
        device.wait_for_return(RETURN_SECONDS)
        return device

    def surroundings(self, target: Target) -> tuple[dict[str, Any], tuple[str, ...]]:
        """What the phone is, as `facts.environment` has it, and what a reader must know of it."""
        if target not in self._facts:
            device = self.device(target)
            known = {**facts.environment(device), "runner": self._runner(target, device.abi)}
            self._facts[target] = known, facts.notes(device)
        return self._facts[target]

    def _hold(self, place: str) -> None:
        phone = self.phones[place]
        wait_seconds = 0.0 if place in self._waited else WAIT_SECONDS
        self._waited.add(place)
        device = Device(phone.serial, phone.address, wait_seconds=wait_seconds, return_seconds=RETURN_SECONDS)
        with contextlib.ExitStack() as stack:
            stack.callback(self._note, place, device)
            stack.enter_context(device)
            if self._fixed:
                device.fix_performance()
            self._stack.enter_context(stack.pop_all())
        self._held[place] = device
        self._waited.discard(place)

    def _note(self, place: str, device: Device) -> None:
        """Keep what is left on a phone that was let go of."""
        if device.left:
            self.left[place] = device.left

    def session(
        self, target: Target, path: Path, *, threads: int, tensors: Tensors, float32: bool
    ) -> DeviceSession:
        """An artifact on a phone; StagedError where its runner cannot be had for it."""
        device, engine = self.device(target), target.engine
        try:
            if not self._uses_tool(target):
                return DeviceSession(
                    device, path, threads=threads, xnnpack=engine == "xnnpack", tensors=tensors
                )
            tool = located(self._tool_path, device.abi)
            return BenchmarkModelSession(
                device, path, tool=tool, engine=engine, tensors=tensors, threads=threads, float32=float32
            )
        except StagedError:
            raise
        except PocketproofError as error:
            raise StagedError(str(error), stage=Stage.LOAD) from None

    def _uses_tool(self, target: Target) -> bool:
        """Delegates are Google's tool's alone; what else it runs where it was named."""
        return bool(self._tool_path) or target.engine in DELEGATES

    def _runner(self, target: Target, abi: str) -> dict[str, str]:
        """Which program measures there; what it is must be known beside its figures."""
        if not self._uses_tool(target):
            return {"name": "device_runner"}
        try:
            tool = located(self._tool_path, abi)
        except PocketproofError as error:
            raise StagedError(str(error), stage=Stage.LOAD) from None
        return {"name": "benchmark_model", "sha256": tool.sha256, "origin": tool.origin}

    def close(self) -> None:
        """Remove what is ours from the phones, and let go of them."""
        self._held.clear()
        self._stack.close()

    def sweep(self) -> None:
        """Remove what killed processes of this run may have left on its phones; not on those in use."""
        for phone in self.phones.values():
            if not phone.problem:
                with contextlib.suppress(StagedError), Device(phone.serial, phone.address, wait_seconds=0):
                    self.left.pop(phone.place, None)

    def plain(self) -> list[dict[str, Any]]:
        """The phones as data, for other processes of the run."""
        return [asdict(phone) for phone in self.phones.values()]
