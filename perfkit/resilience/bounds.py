"""How a rule with an impossible value is refused: with the value, what would come of it, and what fits."""

from __future__ import annotations

from perfkit.errors import SettingsError

__all__ = ["demand"]


def demand(fits: bool, name: str, value: float, *, otherwise: str, allowed: str) -> None:
    """Refuse a value unless it fits; compare so that NaN does not (`0 < value`, never `not value <= 0`).

    >>> for ratio in (0.5, 7.0):
    ...     demand(0 < ratio <= 1, "ratio", ratio, otherwise="nothing opens it", allowed="a share up to 1")
    Traceback (most recent call last):
    perfkit.errors.SettingsError: ratio is 7.0, so nothing opens it. Give it a share up to 1.

    Raises:
        SettingsError: it does not fit.
    """
    if not fits:
        raise SettingsError(
            f"{name} is {value!r}, so {otherwise}. Give it {allowed}.",
            path=name,
            value=value,
            allowed=allowed,
        )
