"""Winnow's settings: environment variables `WINNOW_*`, or the same names in a `.env` file where Winnow is started.

Provider keys and addresses keep their usual names (`OPENAI_API_KEY`, `OPENAI_BASE_URL`) and are never copied here.
"""

import os
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from winnow.exceptions import DefinitionError


class Settings(BaseSettings):
    """One value per setting; each field's description stands in the docs too."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_", extra="ignore", env_ignore_empty=True)

    home: Path = Field(Path(".winnow"), description="Folder for the embedded database and kept files.")
    database_url: SecretStr | None = Field(
        None,
        description="A PostgreSQL to use in place of the embedded one, as postgresql://user:password@host/name.",
    )
    model: str | None = Field(
        None,
        description="Model to ask, as LangChain's provider:model (openai:gpt-4.1-mini), or baseline. "
        "Without it, baseline.",
    )
    concurrency: int = Field(16, ge=1, le=512, description="Calls in flight at once, per process.")
    cells_per_run: int = Field(
        1000, ge=1, description="A deployed job is shared by several runs: one for so many cells that are open."
    )
    runs_per_job: int = Field(4, ge=1, le=100, description="The most runs that share one job. 1: none is shared.")
    requests_per_minute: int | None = Field(
        None, ge=1, description="What the provider allows for the key, over all processes. Without it, no limit."
    )
    tokens_per_minute: int | None = Field(
        None, ge=1, description="The same for tokens, those of replies included. Without it, no limit."
    )
    timeout_seconds: float = Field(120.0, gt=0, description="How long one call may take, in seconds.")
    logprobs: bool = Field(
        False,
        description="Whether OpenAI-compatible models are asked for the probabilities of their tokens.",
    )
    max_file_mb: int = Field(200, ge=1, description="Larger files are refused, in megabytes.")
    parse_seconds: float = Field(120.0, gt=0, description="How long reading one document may take, in seconds.")
    parse_memory_mb: int = Field(
        2048, ge=512, description="How much memory reading one document may take, in megabytes. On Linux alone."
    )
    prices: Path | None = Field(None, description="File with prices of models. Without it, prices.yaml in the home.")
    log: Literal["text", "json"] = Field(
        "text",
        description="json: what Winnow does as one JSON object per line on standard error.",
    )
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port at which a run serves metrics for Prometheus. Without it, it serves none.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address at which metrics are served.")


@cache
def settings() -> Settings:
    """The settings of this process, read once. A `.env` file never overrides the environment.

    Raises:
        DefinitionError: a setting has a value that it cannot have; the message names all of them.
    """
    from dotenv import load_dotenv

    load_dotenv(Path.cwd() / ".env")
    try:
        loaded = Settings()
    except ValidationError as error:
        problems = [
            f"WINNOW_{str(detail['loc'][0]).upper()} is wrong: {detail['msg']}"
            for detail in error.errors(include_url=False, include_input=False)
        ]
        raise DefinitionError(f"{'; '.join(problems)}. Correct the environment, or .env.") from None
    return loaded.model_copy(update={"home": Path(os.path.abspath(loaded.home.expanduser()))})
