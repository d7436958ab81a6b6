"""A network that fails on request, between a client and a real Redis."""

from perfkit.pools.fault_proxy.process import FaultProxyProcess
from perfkit.pools.fault_proxy.proxy import FaultProxy
from perfkit.pools.fault_proxy.toxics import StreamToxics, Toxics

__all__ = ["FaultProxy", "FaultProxyProcess", "StreamToxics", "Toxics"]
