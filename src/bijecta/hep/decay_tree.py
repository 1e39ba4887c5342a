"""The tree of a decay chain: which particles come from which, and the names of the coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bijecta.errors import InputError

ROOTS = {"free": ("mass", "pt", "rapidity", "phi"), "along_beam": ("mass", "rapidity"), "at_rest": ()}


@dataclass(frozen=True)
class Decay:
    """One decay of a chain: which slots come out of either daughter, and which decays are hers.

    Args:
        name: the slots of all that comes out, joined by "+".
        slots: numbers of the slots of both daughters together, first daughter first.
        daughters: for each of the two, the number of her slot (int) or her own `Decay`.

    Reference:
        Byckling, Kajantie (1973), "Particle kinematics", chapter VI.
    """

    name: str
    slots: tuple[int, ...]
    daughters: "tuple[int | Decay, int | Decay]"

    def walk(self) -> "list[Decay]":
        """List this decay and all below it, parents before their daughters."""
        below = [each.walk() for each in self.daughters if isinstance(each, Decay)]
        return [self, *(decay for branch in below for decay in branch)]


def read_tree(tree: Any, names: Sequence[str]) -> Decay:
    """Read a tree of nested pairs of names.

    Args:
        tree: a pair; each part is the name of a particle, or again a pair. Tuples and lists mean the same.
        names: the names of all particles, in the order of their slots; each occurs once in the tree.

    Returns:
        The decay of the whole system.

    Raises:
        InputError: something that is no pair, or a particle that is missing, unknown or there twice.

    Reference:
        Byckling, Kajantie (1973), "Particle kinematics", chapter VI.

    Example:
        >>> read_tree(("b", ("lepton", "neutrino")), ("b", "lepton", "neutrino")).walk()[1].name
        'lepton+neutrino'
    """
    if _leaves(tree) is None or sorted(_leaves(tree) or ()) != sorted(names) or isinstance(tree, str):
        raise InputError(f"Expected nested pairs with each of {', '.join(names)} once; got {tree!r}.")
    return _read_decay(tree, list(names))


def _leaves(tree: Any) -> list[str] | None:
    """List the names of a tree; None if something in it is no pair."""
    if isinstance(tree, str):
        return [tree]
    if not isinstance(tree, tuple | list) or len(tree) != 2:
        return None
    parts = [_leaves(part) for part in tree]
    return None if None in parts else [name for part in parts for name in part or ()]


def _read_decay(tree: Any, names: list[str]) -> Decay:
    first, second = (names.index(part) if isinstance(part, str) else _read_decay(part, names) for part in tree)
    slots = (*slots_of(first), *slots_of(second))
    return Decay("+".join(names[slot] for slot in slots), slots, (first, second))


def slots_of(daughter: "int | Decay") -> tuple[int, ...]:
    """List the slots of all that one daughter becomes."""
    return daughter.slots if isinstance(daughter, Decay) else (daughter,)


def column_names(tree: Decay, root: str = "free") -> tuple[str, ...]:
    """List the coordinates of a decay chain.

    Args:
        tree: the decay of the whole system.
        root: how the system moves: "free", "along_beam" (no transverse momentum) or "at_rest" (its mass is given).

    Returns:
        For the system mass, pt, rapidity and phi, as far as they are free, then cos_theta and phi_decay (phi where that
        is the azimuth of the event); for every other decay mass(...), cos_theta(...) and phi(...).

    Raises:
        InputError: an unknown root.

    Reference:
        Byckling, Kajantie (1973), "Particle kinematics", chapter VI.

    Example:
        >>> column_names(read_tree(("mu-", "mu+"), ("mu-", "mu+")))
        ('mass', 'pt', 'rapidity', 'phi', 'cos_theta', 'phi_decay')
    """
    if root not in ROOTS:
        raise InputError(f"Expected root to be one of {', '.join(ROOTS)}; got {root!r}.")
    azimuth = "phi_decay" if root == "free" else "phi"
    below = [f"{kind}({decay.name})" for decay in tree.walk()[1:] for kind in ("mass", "cos_theta", "phi")]
    return (*ROOTS[root], "cos_theta", azimuth, *below)
