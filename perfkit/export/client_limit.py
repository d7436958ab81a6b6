"""The last guard before export: no settings that would fill the Redis server's client limit.

It stands here and not in `Settings`, because a running service must not refuse to start over a sum. In
Terraform (`modules/settings/client-limit.tf`) it is a `check`, which warns at every plan and blocks none:
otherwise `--force` would mean nothing.
"""

from __future__ import annotations

from perfkit.knobs import replaced
from perfkit.lab.choose import Choice
from perfkit.pools.client_limit import client_demand
from perfkit.settings import Settings

__all__ = ["guarded"]


def guarded(choice: Choice) -> Choice:
    """Return the choice, refused if its instances may open more connections than Redis should give them."""
    settings = replaced(Settings(), choice.settings)
    demand = client_demand(settings.pools, instances=settings.cloudrun.max_instances)
    if demand.fits:
        return choice
    reason = (
        f"{demand.sentence}, and a full server refuses whoever comes, when load is highest. {demand.remedy}"
    ).removesuffix(".")
    before = f"{choice.refused_because}; and " if choice.refused_because else ""
    return choice.model_copy(update={"refused_because": before + reason})
