"""The pace a project's quota allows, so that a refusal for it never comes."""

from __future__ import annotations

from perfkit.vertex.quota.bucket import Bucket
from perfkit.vertex.quota.headroom import Share
from perfkit.vertex.quota.quota import Quota
from perfkit.vertex.quota.rules import breaker_rules, retry_budget

__all__ = ["Bucket", "Quota", "Share", "breaker_rules", "retry_budget"]
