"""What a codebook may say: a project's variables, their types, and the rules for their values.

`parse_codebook` takes plain data (from YAML, a sheet, a form) and gives a `Codebook`, or one `CodebookError` that
lists every problem with its line and remedy.
"""

import math
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, SchemaError

VariableType = Literal["text", "number", "date", "category", "boolean"]
IfMultipleValues = Literal["first", "all", "most_confident", "join"]
DateOrder = Literal["DMY", "MDY", "YMD"]
WithoutEvidence = Literal["flag", "drop"]
Condition = Literal["is_found", "equals", "not_equals", "in", "greater_than", "at_least", "less_than", "at_most"]


def name_key(name: str) -> str:
    """What makes two names the same: NFKC, case-folded, white space collapsed."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _stripped(value: Any) -> Any:
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else value


def _printable(value: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t" for character in value):
        raise PydanticCustomError("control", "has a control character; take it out")
    return value


def _on_one_line(value: str) -> str:
    if len(value.splitlines()) > 1 or "\t" in value:
        raise PydanticCustomError("line", "must be one line without tabs")
    return value


Text = Annotated[str, BeforeValidator(_stripped), Field(min_length=1), AfterValidator(_printable)]
Name = Annotated[Text, Field(max_length=100), AfterValidator(_on_one_line)]


def _plain(value: Any) -> Any:
    """YAML reads `value: 5` and `value: yes` as numbers and booleans; a category's value is text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


PlainText = Annotated[Text, BeforeValidator(_plain)]


def _scalar(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("scalar", "must be a finite number")
    if value is not None and not isinstance(value, str | int | float):
        raise PydanticCustomError("scalar", "must be a single text, number, true or false")
    return value


def _limit(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("limit", "must be a number or an ISO date")
    return _scalar(value)


Scalar = Annotated[str | float | bool | None, BeforeValidator(_scalar)]
Limit = Annotated[str | float | None, BeforeValidator(_limit)]


class Definition(BaseModel):
    """Base of everything in a codebook: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Category(Definition):
    """One of the values that a category variable can take."""

    value: PlainText
    label: PlainText | None = None
    description: Text | None = None


class Validation(Definition):
    """What a value must satisfy. `min` and `max` are numbers, or ISO dates for a date variable."""

    min: Limit = None
    max: Limit = None
    pattern: str | None = None
    allowed: Annotated[tuple[PlainText, ...], Field(min_length=1)] | None = None

    @field_validator("pattern")
    @classmethod
    def _pattern_is_linear(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            pattern_adapter(pattern)
        return pattern


def pattern_adapter(pattern: str) -> TypeAdapter[str]:
    """A check of text against a pattern, by pydantic's Rust engine: linear in time, so no pattern can hang a run."""
    try:
        return TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)])
    except SchemaError as error:
        said = str(error).splitlines()
        detail = next((line.strip() for line in said if line.strip().startswith("error:")), said[-1].strip())
        raise PydanticCustomError(
            "pattern",
            "is not a pattern that can be used ({detail}); look-around and back-references are not available",
            {"detail": detail.removeprefix("error: ")},
        ) from None


class Dependency(Definition):
    """A variable is asked only where another one's value satisfies the condition."""

    variable: Text
    condition: Condition = "is_found"
    value: Any = None

    @model_validator(mode="after")
    def _value_fits_condition(self) -> Self:
        if self.condition == "is_found" and self.value is not None:
            raise PydanticCustomError("condition", "has a value, but is_found takes none; remove `value`")
        if self.condition == "in" and not isinstance(self.value, list | tuple):
            raise PydanticCustomError("condition", "needs a list as its `value`, because its condition is `in`")
        if self.condition != "is_found" and self.value is None:
            raise PydanticCustomError("condition", "needs a `value` to compare with")
        return self


class EntityUnit(Definition):
    """A row is a thing found in documents, with the variables that tell two of them apart."""

    entity: Text
    definition: Text
    identified_by: tuple[Text, ...] = ()


class Variable(Definition):
    """One column of the dataset."""

    name: Name
    label: Text | None = None
    type: VariableType
    instructions: Annotated[Text, Field(max_length=20_000)]
    categories: tuple[Category, ...] = ()
    validation: Validation = Validation()
    confidence_threshold: float = Field(0.5, ge=0, le=1)
    default: Scalar = None
    unit: Text | None = None
    max_values: int = Field(1, ge=1, le=1000)
    if_multiple_values: IfMultipleValues = "first"
    depends_on: tuple[Dependency, ...] = ()
    examples: tuple[PlainText, ...] = ()
    without_evidence: WithoutEvidence = "flag"

    @property
    def title(self) -> str:
        """The label, or the name where there is none."""
        return self.label or self.name

    @property
    def takes_several(self) -> bool:
        """Whether a cell of this variable shows all its values, and not only one."""
        return self.if_multiple_values in ("all", "join")

    @model_validator(mode="after")
    def _parts_fit_type(self) -> Self:
        if self.type == "category" and not self.categories:
            raise PydanticCustomError("categories", "is a category without `categories`; list its values")
        if self.type != "category" and self.categories:
            raise PydanticCustomError(
                "categories", "has `categories`, but its type is not category; change the type or remove them"
            )
        repeated = _repeated(category.value for category in self.categories)
        repeated += _repeated(category.label for category in self.categories if category.label)
        if repeated:
            raise PydanticCustomError("categories", "has a category twice: {name}", {"name": repeated[0]})
        if self.if_multiple_values == "all" and self.max_values == 1:
            raise PydanticCustomError("max_values", "keeps all values, but `max_values` is 1; raise it")
        kinds = {float: "a number", bool: "true or false", str: "text; put it in quotes"}
        wanted = {"number": float, "boolean": bool}.get(self.type, str)
        if self.default is not None and type(self.default) is not wanted:
            raise PydanticCustomError("default", "needs its `default` as {kind}", {"kind": kinds[wanted]})
        if self.type == "date" and self.default is not None and not _is_iso_date(self.default):
            raise PydanticCustomError("default", "has a `default` that is not an ISO date such as 2024-01-31")
        if self.type == "category" and self.default not in (None, *(category.value for category in self.categories)):
            raise PydanticCustomError("default", "has a `default` that is not one of its categories; add it to them")
        return self

    @model_validator(mode="after")
    def _limits_fit_type(self) -> Self:
        low, high = self.validation.min, self.validation.max
        if self.type not in ("number", "date") and (low is not None or high is not None):
            raise PydanticCustomError("validation", "has `min` or `max`, which only numbers and dates can have")
        if self.validation.pattern is not None and self.type != "text":
            raise PydanticCustomError("validation", "has a `pattern`, which only text can have")
        for limit in (low, high):
            if limit is None:
                continue
            if self.type == "number" and not isinstance(limit, float | int):
                raise PydanticCustomError("validation", "has a limit that is not a number")
            if self.type == "date" and not _is_iso_date(limit):
                raise PydanticCustomError("validation", "has a limit that is not an ISO date such as 2024-01-31")
        if low is not None and high is not None and low > high:  # type: ignore[operator] # of one type by now
            raise PydanticCustomError("validation", "has a `min` above its `max`; no value can pass")
        if self.default is not None and self.type in ("number", "date"):
            from winnow.coercion import broken_rule  # it builds on this module

            if problem := broken_rule(self.default, self):
                raise PydanticCustomError("default", "has a `default` that {problem}", {"problem": problem})
        return self


def _is_iso_date(value: object) -> bool:
    try:
        # Not its other forms, 20240131 and 2024-W05-3: dates are compared as text.
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


class Chunking(Definition):
    """How documents that are too long for one call are read. Sizes are in tokens, as `winnow.tokens` counts them."""

    whole_up_to: int = Field(24_000, ge=500, le=10_000_000)  # a longer document is read in chunks
    tokens: int = Field(2_500, ge=200, le=1_000_000)  # in a chunk
    overlap: float = Field(0.1, ge=0, le=0.5)  # share of a chunk that stands in the next one too


class Check(Definition):
    """What must hold between the variables of a row: an expression over their names."""

    expression: Annotated[Text, Field(max_length=1000), AfterValidator(_on_one_line)]
    message: Annotated[Text, Field(max_length=500)] | None = None


class Codebook(Definition):
    """A project: what its documents are, what a row is, and its variables in their order."""

    project: Annotated[Name, Field(pattern=r"^[\p{L}\p{N}][\p{L}\p{N} ._-]*$")]
    description: Text | None = None
    domain: Text | None = None
    language: Text | None = None
    unit_of_observation: Literal["document"] | EntityUnit = "document"
    date_order: DateOrder | None = None  # how dates such as 03/04/2006 are read; None: they are refused
    chunking: Chunking = Chunking()
    checks: tuple[Check, ...] = ()
    variables: tuple[Variable, ...] = ()

    @field_validator("unit_of_observation", mode="wrap")
    @classmethod
    def _unit_is_document_or_entity(cls, value: Any, handler: Any) -> Any:
        if isinstance(value, Mapping):
            return EntityUnit.model_validate(value)
        if not isinstance(value, EntityUnit) and _stripped(value) != "document":
            raise PydanticCustomError(
                "unit",
                "must be `document`, or an entity with its definition (unit_of_observation: {entity: ..., "
                "definition: ...})",
            )
        return handler(_stripped(value))

    def variable(self, name: str) -> Variable | None:
        """The variable of this name, in any spelling that `name_key` takes as the same."""
        wanted = name_key(name)
        return next((variable for variable in self.variables if name_key(variable.name) == wanted), None)


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    repeated = []
    for name in names:
        key = name_key(name)
        if key in seen:
            repeated.append(name)
        seen.add(key)
    return repeated
