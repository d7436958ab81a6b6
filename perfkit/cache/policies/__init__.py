"""Which entry leaves first when the memory tier is full: one algorithm a file, and an oracle above them."""

from perfkit.cache.policies.base import EvictionPolicy, make_policy
from perfkit.cache.policies.belady import belady_miss_ratio
from perfkit.cache.policies.lru import Lru
from perfkit.cache.policies.s3fifo import S3Fifo
from perfkit.cache.policies.sieve import Sieve

__all__ = ["EvictionPolicy", "Lru", "S3Fifo", "Sieve", "belady_miss_ratio", "make_policy"]
