"""The prices of models: the table that comes with Winnow, and the user's own before it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from winnow.exceptions import DefinitionError
from winnow.prices import Price, Prices
from winnow.settings import settings

SHIPPED = Path(__file__).with_name("prices.yaml")
_EXAMPLE = "{input: 0.40, cached_input: 0.10, output: 1.60}"


def prices() -> Prices:
    """All prices: the user's (WINNOW_PRICES, else prices.yaml in WINNOW_HOME, if it is there), then the shipped ones.

    Raises:
        DefinitionError: a file cannot be read, or an entry is wrong; the message names both, with the remedy.
    """
    path = own_prices()
    tables = [read_prices(path)] if settings().prices or path.exists() else []
    return Prices((*tables, read_prices(SHIPPED)))


def own_prices() -> Path:
    """Where the user's own prices stand, or would stand."""
    own = settings().prices
    return own.expanduser() if own else settings().home / "prices.yaml"


def read_prices(path: Path) -> dict[str, Price]:
    """The prices of one file, by model.

    Raises:
        DefinitionError: as above.
    """
    data = _load(path)
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise DefinitionError(f"The prices {str(path)!r} must be a mapping, a line per model: MODEL: {_EXAMPLE}.")
    try:
        return {_model(name): _price(name, entry) for name, entry in data.items()}
    except ValueError as error:
        raise DefinitionError(f"The prices {str(path)!r}: {error}.") from None


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DefinitionError(f"The prices {str(path)!r} are not a UTF-8 text file; save them as one.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        why = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise DefinitionError(f"The prices {str(path)!r} are not valid YAML: {where}{why}.") from error
    except OSError as error:
        raise DefinitionError(f"The prices {str(path)!r} cannot be opened: {error.strerror}.") from error


def _model(name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or "*" in name[:-1]:
        raise ValueError(f"`{name}` is no name of a model; write provider:model, and * at most at its end")
    return name.strip()


def _price(name: Any, entry: Any) -> Price:
    if not isinstance(entry, Mapping):
        raise ValueError(f"`{name}` must have its prices in USD for a million tokens, as {_EXAMPLE}")
    for key, value in entry.items():
        if key not in ("input", "cached_input", "output"):
            raise ValueError(f"`{name}` has `{key}`, which is not known; its keys are input, cached_input and output")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ValueError(f"`{name}` has {value!r} as `{key}`; write a number of USD, 0 or more")
    for key in ("input", "output"):
        if key not in entry:
            raise ValueError(f"`{name}` has no `{key}`; add it, as in {_EXAMPLE}")
    given = {key: float(value) for key, value in entry.items()}
    return Price(input=given["input"], cached_input=given.get("cached_input", given["input"]), output=given["output"])
