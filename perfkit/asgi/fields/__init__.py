"""Some fields of an answer instead of all: `?fields=id,name,items(sku,price/amount)`."""

from perfkit.asgi.fields.counts import FieldCounts
from perfkit.asgi.fields.filter import FieldFilter, as_filtered
from perfkit.asgi.fields.lines import LineFilter
from perfkit.asgi.fields.mask import Mask
from perfkit.asgi.fields.problem import problem
from perfkit.errors import FieldsError

__all__ = [
    "FieldCounts",
    "FieldFilter",
    "FieldsError",
    "LineFilter",
    "Mask",
    "as_filtered",
    "problem",
]
