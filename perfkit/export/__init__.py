"""The bridge to production: choices as tfvars, knobs as Terraform variables, checked by terraform."""

from perfkit.export.adopt import Adoption, adopt
from perfkit.export.tfvars import tuned_tfvars

__all__ = ["Adoption", "adopt", "tuned_tfvars"]
