import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from db import upgrade
from db.session import engine, transaction
from db.tables import Base
from winnow.exceptions import DefinitionError

# All of the schema that a dump would show, as the catalogue words it.
SCHEMA = """
    SELECT 'column', format('%s.%s', attrelid::regclass, attname), format_type(atttypid, atttypmod),
        concat_ws(' ', attnotnull, attidentity, pg_get_expr(adbin, adrelid))
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'constraint', format('%s.%s', conrelid::regclass, conname), contype::text, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n' -- the columns say NOT NULL
    UNION ALL
    SELECT 'index', indexname, tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'sequence', sequencename, data_type::text, increment_by::text FROM pg_sequences WHERE schemaname = 'public'
"""


def schema() -> set[tuple[str, ...]]:
    with transaction() as connection:
        return {tuple(row) for row in connection.execute(sa.text(SCHEMA))}


def tables() -> set[str]:
    return set(sa.inspect(engine()).get_table_names())


def test_the_migrations_make_what_the_models_say(database):
    with transaction() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_migrations_make_the_same_constraints_and_indexes_as_the_models(empty_database, server):
    upgrade.upgrade()
    migrated = schema()
    with server.database("template1") as url:
        made = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
        with made.begin() as connection:
            Base.metadata.create_all(connection)
            from_models = {tuple(row) for row in connection.execute(sa.text(SCHEMA))}
        made.dispose()
    assert {row for row in migrated if "alembic_version" not in " ".join(row)} == from_models
    assert len(from_models) > 100


def test_down_to_base_leaves_no_table_and_up_again_gives_the_same_schema(database):
    before = schema()
    upgrade.downgrade("base")
    assert tables() == {"alembic_version"}
    upgrade.upgrade()
    assert schema() == before


def test_every_migration_goes_down_and_up_by_itself(database):
    with transaction() as connection:
        script = ScriptDirectory.from_config(upgrade.alembic_config(connection))
    revisions = [revision.revision for revision in script.walk_revisions()]
    states = {}
    for revision in revisions:
        states[revision] = schema()
        upgrade.downgrade("-1")
    for revision in reversed(revisions):
        upgrade.upgrade(revision)
        assert schema() == states[revision]


def test_an_upgrade_of_a_current_database_changes_nothing(database):
    with transaction() as connection:
        connection.execute(
            sa.text("INSERT INTO project (name, name_key, codebook, version) VALUES ('p', 'p', '{}', 1)")
        )
    before = schema()
    upgrade.upgrade()
    assert schema() == before
    with transaction() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM project")) == 1


def test_an_upgrade_that_fails_leaves_nothing_half_made(empty_database):
    with transaction() as connection:
        connection.execute(sa.text("CREATE TABLE job_event (id int)"))  # in the way of a table that comes late
    with pytest.raises(sa.exc.ProgrammingError):
        upgrade.upgrade()
    assert tables() == {"job_event"}


def test_threads_that_upgrade_an_empty_database_at_once_all_succeed(empty_database):
    problems = []
    together = threading.Barrier(4)

    def go():
        together.wait()
        try:
            upgrade.upgrade()
        except Exception as error:  # noqa: BLE001
            problems.append(error)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert "cell" in tables()


def test_processes_that_upgrade_an_empty_database_at_once_all_succeed(empty_database, python):
    code = "from db import upgrade; print('here', flush=True); input(); upgrade.upgrade(); print('done')"
    children = [python(code) for _ in range(2)]
    for child in children:
        assert child.line() == "here"
    for child in children:
        child.go_on()
    assert [child.end() for child in children] == ["done"] * 2
    assert "cell" in tables()


def test_ready_upgrades_once_per_process(empty_database):
    upgrade.ready()
    assert "cell" in tables()
    upgrade.downgrade("base")
    upgrade.ready()
    assert "cell" not in tables()


def test_a_database_of_a_newer_winnow_is_refused_in_words(database):
    with transaction() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DefinitionError, match="another version of Winnow"):
        upgrade.upgrade()
