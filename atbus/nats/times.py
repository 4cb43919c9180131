"""
Times as monitors of nats-server write them.
"""

from __future__ import annotations

from datetime import UTC, datetime


def write_time(wall_seconds: float) -> str:
    """
    Write when something was.

    :param wall_seconds: Since 1970.
    """
    return datetime.fromtimestamp(wall_seconds, UTC).isoformat().replace("+00:00", "Z")


def uptime(seconds: float) -> str:
    """
    Write for how long something lasts, as nats-server does: whole seconds, no leading zeros.

    :param seconds: Not negative.
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    years, days = divmod(days, 365)
    parts = [(years, "y"), (days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    while len(parts) > 1 and not parts[0][0]:
        del parts[0]
    return "".join(f"{number}{unit}" for number, unit in parts)


def duration(seconds: float) -> str:
    """
    Write how long something takes, as Go does; less than a millisecond in whole microseconds.

    :param seconds: Less than a minute, and not negative.
    """
    nanoseconds = round(seconds * 1_000_000_000)
    if nanoseconds < 1_000_000:
        microseconds = nanoseconds // 1000
        return f"{microseconds}µs" if microseconds else "0s"
    size, unit = (1_000_000, "ms") if nanoseconds < 1_000_000_000 else (1_000_000_000, "s")
    whole, rest = divmod(nanoseconds, size)
    digits = f"{rest:0{len(str(size)) - 1}}".rstrip("0")
    return f"{whole}.{digits}{unit}" if digits else f"{whole}{unit}"
