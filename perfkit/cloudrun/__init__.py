"""The shape of the Cloud Run service: its knobs land as attributes of a Terraform resource."""

from perfkit.cloudrun.settings import CloudrunSettings

__all__ = ["CloudrunSettings"]
