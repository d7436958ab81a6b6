"""Dates as HTTP writes them (RFC 9110 §5.6.7), read strictly: the three forms it knows, and no other.

A date that is nearly one is read differently by the next cache, so it is none here.
"""

from __future__ import annotations

import calendar
import time
from functools import lru_cache

from perfkit.asgi.remembered import remembered

__all__ = ["epoch_s_of", "http_date"]

_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_FULL_DAYS = (b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday")
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}
_YEARS_AHEAD = 50
"""A year of two digits that seems more than this many years ahead is of the century before."""


@remembered(1_024)
def epoch_s_of(date: bytes) -> int | None:
    """Return the epoch seconds of a date, or None for what is none.

    >>> epoch_s_of(b"Sun, 06 Nov 1994 08:49:37 GMT")
    784111777
    >>> epoch_s_of(b"Sunday, 06-Nov-94 08:49:37 GMT") == epoch_s_of(b"Sun Nov  6 08:49:37 1994")
    True
    >>> epoch_s_of(b"0"), epoch_s_of(b"Sun, 06 Nov 1994 08:49:37 UTC")
    (None, None)
    """
    parts = date.split(b" ")
    try:
        if len(parts) == 6 and parts[5] == b"GMT" and len(parts[0]) == 4 and parts[0][3:] == b",":
            weekday, day, month, year, clock = parts[0][:3], parts[1], parts[2], parts[3], parts[4]
            if weekday not in _DAYS or len(year) != 4:
                return None
            return _epoch_s(_number(year), month, _number(day, 2), clock)
        if len(parts) == 4 and parts[3] == b"GMT" and parts[0][-1:] == b",":
            day, month, year = parts[1].split(b"-")
            if parts[0][:-1] not in _FULL_DAYS or len(year) != 2:
                return None
            return _epoch_s(_full_year(_number(year)), month, _number(day, 2), parts[2])
        if len(date) == 24 and parts[0] in _DAYS:  # asctime, whose day of the month may begin with a space
            day = date[8:10]
            return _epoch_s(_number(date[20:]), date[4:7], _number(day.lstrip(b" ")), date[11:19], date)
    except ValueError:
        pass
    return None


@lru_cache(maxsize=8)
def http_date(epoch_s: int) -> bytes:
    """Return a date as HTTP writes it.

    >>> http_date(784111777)
    b'Sun, 06 Nov 1994 08:49:37 GMT'
    """
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(epoch_s)
    names = list(_MONTHS)
    return b"%s, %02d %s %d %02d:%02d:%02d GMT" % (
        *(_DAYS[weekday], day, names[month - 1], year),
        *(hour, minute, second),
    )


def _epoch_s(year: int, month: bytes, day: int, clock: bytes, asctime: bytes = b"") -> int:
    if len(clock) != 8 or clock[2:3] != b":" or clock[5:6] != b":":
        raise ValueError("a time has the form 08:49:37")
    if asctime and (asctime[3:4], asctime[7:8], asctime[10:11], asctime[19:20]) != (b" ",) * 4:
        raise ValueError("the parts stand apart")
    hour, minute, second = _number(clock[:2]), _number(clock[3:5]), _number(clock[6:])
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("no clock shows this")
    number = _MONTHS.get(month)
    if number is None or not 1 <= day <= calendar.monthrange(year, number)[1]:
        raise ValueError("no calendar has this")
    return calendar.timegm((year, number, day, hour, minute, second))


def _number(digits: bytes, length: int = 0) -> int:
    if not digits.isdigit() or (length and len(digits) != length):
        raise ValueError("digits are wanted")
    return int(digits)


def _full_year(two_digits: int) -> int:
    this_year = time.gmtime().tm_year
    year = this_year - this_year % 100 + two_digits
    return year - 100 if year > this_year + _YEARS_AHEAD else year
