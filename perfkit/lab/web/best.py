"""What to do with a body of a size on a line of a bandwidth: what a run's calibration says, cell by cell.

A service has one setting for all of its clients, so a run chooses for their mix. This is the map beside it:
for each shape and size the coding whose last byte is there first on each line, and the one that costs the
least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perfkit.lab.web.traffic import Prices

__all__ = ["best_codings"]

_AS_IT_IS = "as it is"


def best_codings(
    calibration: Mapping[str, Any], mbits_per_s: Sequence[float], prices: Prices
) -> list[dict[str, Any]]:
    """Return one row a shape and size: the best coding on each line, and the cheapest, with what it saves.

    A saving is of the time until the last byte (on a line) or of the money (the cheapest), against sending
    the body as it is; what a request costs anyhow is in neither.

    >>> timed = {"gzip 6": [[100e-6, 3_000.0]], "gzip latency": [[100e-6, 3_000.0]]}
    >>> found = {"samples": {"orders": [10_000]}, "compressed": {"orders": timed}}
    >>> best_codings(found, [10, 10_000], Prices())
    [{'shape': 'orders', 'bytes': 10000, '10 Mbit/s': 'gzip 6 (−69 %)', '10000 Mbit/s': 'as it is', \
'cheapest': 'gzip 6 (−70 %)'}]
    """
    rows = []
    for shape, sizes in calibration["samples"].items():
        codings = calibration["compressed"][shape]
        levels = {name: timed for name, timed in codings.items() if name.split()[-1].isdigit()} or codings
        for place, size in enumerate(sizes):
            ways = {name: (timed[place][0], timed[place][1]) for name, timed in levels.items()}
            ways[_AS_IT_IS] = (0.0, float(size))
            row: dict[str, Any] = {"shape": shape, "bytes": size}
            for mbit_per_s in mbits_per_s:
                byte_s = 8 / (mbit_per_s * 1e6)
                row[f"{mbit_per_s:g} Mbit/s"] = _best(
                    {name: seconds + out * byte_s for name, (seconds, out) in ways.items()}
                )
            row["cheapest"] = _best(
                {
                    name: prices.dollars_per_million(cpu_s=seconds, sent_bytes=out)
                    for name, (seconds, out) in ways.items()
                }
            )
            rows.append(row)
    return rows


def _best(worths: Mapping[str, float]) -> str:
    name = min(worths, key=lambda way: worths[way])
    if name == _AS_IT_IS:
        return name
    return f"{name} (\N{MINUS SIGN}{100 * (1 - worths[name] / worths[_AS_IT_IS]):.0f} %)"
