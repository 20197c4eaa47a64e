"""Whole configurations by name: functions, those of a family in one file.

To add one, write a function beside its like and name it in that file's ``RECIPES``.
"""

from __future__ import annotations

from collections.abc import Callable

from distgan.config.run import RunConfig
from distgan.config.settings import nearest
from distgan.errors import UserError
from distgan.families import registry
from distgan.recipes import cut, gan, mocogan, photos, r3gan, stacked, translation, vae, video

RECIPES: dict[str, Callable[[], RunConfig]] = {
    **gan.RECIPES,
    **r3gan.RECIPES,
    **stacked.RECIPES,
    **vae.RECIPES,
    **translation.RECIPES,
    **cut.RECIPES,
    **mocogan.RECIPES,
    **video.RECIPES,
    **photos.RECIPES,
}
"""Every recipe of the package by name; the first is the default."""


def known() -> dict[str, Callable[[], RunConfig]]:
    """`RECIPES`, and those of families that were registered besides."""
    return {**RECIPES, **registry.RECIPES}


def recipe(name: str) -> RunConfig:
    """The configuration of a recipe.

    Raises:
        UserError: for a name that no recipe has, with the nearest that one has.
    """
    recipes = known()
    if name not in recipes:
        raise UserError(
            f"{name!r}: no such recipe{nearest(name, list(recipes))}; `distgan recipes` lists them"
        )
    return recipes[name]()
