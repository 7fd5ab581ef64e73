"""A project as stored, and what applying a codebook changes in it."""

from dataclasses import dataclass
from typing import Literal

from winnow.codebook import Codebook, Variable


@dataclass(frozen=True, kw_only=True)
class PromptVersion:
    """A variable as it is asked now."""

    id: int
    version: int
    variable: Variable
    text: str


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project with its newest codebook."""

    id: int
    name: str
    version: int
    codebook: Codebook


@dataclass(frozen=True, kw_only=True)
class VariableChange:
    """What applying a codebook did to one variable."""

    name: str
    change: Literal["added", "changed", "removed", "unchanged"]
    prompt_version: int
    fields: tuple[str, ...] = ()  # what differs from the version before


@dataclass(frozen=True, kw_only=True)
class AppliedCodebook:
    """What applying a codebook did to its project."""

    project: str
    change: Literal["created", "updated", "unchanged"]
    version: int
    variables: tuple[VariableChange, ...]
