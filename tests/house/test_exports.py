"""Every door is sorted, opens, and says what is behind it."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import perfkit

PACKAGE = Path(perfkit.__file__).parent
ROOMS = sorted(
    ".".join(("perfkit", *init.parent.relative_to(PACKAGE).parts)) for init in PACKAGE.rglob("__init__.py")
)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_s_public_names_are_sorted_and_there(name: str) -> None:
    """Constants, classes, functions, each by the alphabet as ruff keeps them; none twice, none astray."""
    room = importlib.import_module(name)
    public = getattr(room, "__all__", [])

    assert list(public) == sorted(set(public), key=lambda name: (not name.isupper(), name.islower(), name))
    assert [missing for missing in public if not hasattr(room, missing)] == []


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_says_what_it_is_for(name: str) -> None:
    """Each `__init__.py` opens with a sentence."""
    assert (importlib.import_module(name).__doc__ or "").strip()


@pytest.mark.parametrize("name", perfkit.__all__)
def test_what_the_front_door_offers_documents_itself(name: str) -> None:
    """`help(perfkit.Settings)` and the rest have something to say."""
    assert (getattr(perfkit, name).__doc__ or "").strip()


def test_the_front_door_opens_each_name_only_when_asked() -> None:
    """After `import perfkit` no name's home is loaded; asking for one loads it."""
    code = (
        "import sys, perfkit\n"
        "before = sorted(m for m in sys.modules if m.startswith('perfkit.'))\n"
        "assert before == ['perfkit.lazy'], before\n"
        "perfkit.Settings\n"
        "assert 'perfkit.settings' in sys.modules and 'perfkit.lab' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A lazy door must not turn a misspelt name into anything else."""
    with pytest.raises(AttributeError, match="Setings"):
        perfkit.__getattr__("Setings")
