"""What keeps one slow or absent part from taking the others with it."""

from perfkit.resilience.singleflight import Flight, SingleFlight

__all__ = ["Flight", "SingleFlight"]
