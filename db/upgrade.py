"""Bring the database's schema to where this version of Winnow needs it."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from db.session import transaction

_MIGRATIONS = 4_711_001  # any number, as long as every Winnow takes the same lock


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for running on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def upgrade(revision: str = "head") -> None:
    """Run the migrations up to a revision. Processes that start together wait for the first one."""
    with transaction() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATIONS})
        command.upgrade(alembic_config(connection), revision)


def downgrade(revision: str) -> None:
    """Run the migrations down to a revision (`base` for an empty schema). What the tables held is gone."""
    with transaction() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATIONS})
        command.downgrade(alembic_config(connection), revision)


@cache
def ready() -> None:
    """Make sure, once per process, that the database is there and its schema is current."""
    upgrade()
