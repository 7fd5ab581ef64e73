"""Bring the database's schema to where this version of Winnow needs it."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text

from db.session import transaction
from winnow.exceptions import DefinitionError

_MIGRATIONS = 4_711_001  # any number, as long as every Winnow takes the same lock


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for running on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def upgrade(revision: str = "head") -> None:
    """Run the migrations up to a revision. Processes that start together wait for the first one.

    Raises:
        DefinitionError: the database cannot be reached, or a newer Winnow has changed it.
    """
    with transaction() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATIONS})
        try:
            command.upgrade(alembic_config(connection), revision)
        except CommandError as error:
            raise DefinitionError(
                "The database was made by another version of Winnow, whose tables this one does not know. "
                "Install the newest Winnow."
            ) from error


def downgrade(revision: str) -> None:
    """Run the migrations down to a revision (`base` for an empty schema). What the tables held is gone."""
    with transaction() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATIONS})
        command.downgrade(alembic_config(connection), revision)


@cache
def ready() -> None:
    """Make sure, once per process, that the database is there and its schema is current."""
    upgrade()
