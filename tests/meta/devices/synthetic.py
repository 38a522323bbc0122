"""A stand-in that tells of heat and battery as a phone would; that is made up, adb and adbd are real."""

from __future__ import annotations

from pathlib import Path

from suite.devices.standin import StandIn

# As `dumpsys thermalservice` prints it on Android 13; the cached block is of another time.
THERMAL = """\
IsStatusOverride: false
ThermalEventListeners:
	callbacks: 2
Thermal Status: 0
Cached temperatures:
	Temperature{mValue=31.0, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
HAL Ready: true
HAL connection:
	ThermalHAL 2.0 connected: yes
Current temperatures from HAL:
	Temperature{mValue=44.2, mType=0, mName=BIG, mStatus=0}
	Temperature{mValue=36.5, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
	Temperature{mValue=-25.6, mType=2, mName=battery (outside), mStatus=0}
Current cooling devices from HAL:
	CoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
Temperature static thresholds from HAL:
	TemperatureThreshold{mType=3, mName=VIRTUAL-SKIN, mHotThrottlingThresholds=[NaN, 39.0, 43.0]}
"""
BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: false
  Charge counter: 2843000
  status: 3
  level: 87
  scale: 100
  voltage: 4237
  temperature: {tenths}
  technology: Li-ion
"""
CLOCKS = "0 1 2 3 576000 1803000\n4 5 6 7 2000000 2850000\n"

_DUMPSYS = f"""#!/system/bin/sh
# synthetic: a battery as warm, and fed or not, as files say; each look at it costs 1000 uAh
case $1 in
  thermalservice) cat <<'END'
{THERMAL}END
  ;;
  battery)
    left=$(cat /data/local/charge); echo $((left - 1000)) > /data/local/charge
    echo "  USB powered: $(cat /data/local/fed)"; echo "  Charge counter: $left"; echo "  status: 3"
    echo "  voltage: 4000"; echo "  temperature: $(cat /data/local/tenths)";;
esac
"""
_CMD = """#!/system/bin/sh
# synthetic: keeps what was asked of it
echo "$@" >> /data/local/asked
exit $(cat /data/local/refuses 2>/dev/null || echo 0)
"""
GPU_FILE = "/data/local/busy"
POWER_FOLDER = "/data/local"


def arrange(phone: StandIn) -> None:
    """Let a stand-in tell of a cool phone that lives on its battery."""
    programs = _file(phone, "bin")
    programs.mkdir()
    for name, script in (("dumpsys", _DUMPSYS), ("cmd", _CMD)):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    settle(phone)


def settle(phone: StandIn) -> None:
    """Back to what it said at first: neither GPU nor current are told."""
    for name in ("busy", "current_now", "voltage_now"):
        _file(phone, name).unlink(missing_ok=True)
    tell(phone, tenths=285, fed="false", charge=2_000_000)


def tell(phone: StandIn, **values: object) -> None:
    """Have its files say so from now on: tenths, fed, charge, busy, current_now, voltage_now."""
    for name, value in values.items():
        _file(phone, name).write_text(f"{value}\n")


def asked(phone: StandIn) -> list[str]:
    """What `cmd` was asked for: last words."""
    file = _file(phone, "asked")
    return [line.split()[-1] for line in file.read_text().splitlines()] if file.exists() else []


def _file(phone: StandIn, name: str) -> Path:
    return phone.folder / "data" / "local" / name
