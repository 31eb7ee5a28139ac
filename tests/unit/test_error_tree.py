"""The tree of errors that `lib.errors` draws is the tree of its classes."""

from __future__ import annotations

import re

from lib import errors
from lib.errors import SyncError

BRANCH = re.compile(r"^(?P<before>[| ]*)(?:\|--|`--) (?P<name>\w+)", re.MULTILINE)


def drawn() -> dict[str, str]:
    """The parent of each class in the tree of the module's docstring."""
    parents, path = {}, ["SyncError"]
    for branch in BRANCH.finditer(errors.__doc__ or ""):
        depth = len(branch["before"]) // 4 + 1
        path[depth:] = [branch["name"]]
        parents[branch["name"]] = path[depth - 1]
    return parents


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    below = {kind.__name__: kind for kind in kinds if SyncError in kind.__mro__[1:]}
    assert drawn() == {name: kind.__base__.__name__ for name, kind in below.items()}
