"""Whatever happens to a job, its counts add up and no cell is there twice: many short histories, chosen by hypothesis.

Beside the database runs a model of it in plain dictionaries. After each step both have to say the same.
"""

import itertools
from collections import Counter
from dataclasses import asdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import func, select

from db import calls, cells, extractions, jobs, tables
from db.session import transaction
from tests import factories
from tests.factories import MODEL, options, variable
from winnow.exceptions import JobStoppedError

_cell = tables.Cell.__table__
_numbers = itertools.count()

PICK = st.integers(0, 10**6)


class History(RuleBasedStateMachine):
    """A project, its jobs, and what is done with them."""

    def __init__(self) -> None:
        super().__init__()
        self.number = next(_numbers)
        self.label = 0
        self.status: dict[int, str] = {}  # of jobs
        self.cells: dict[int, dict[tuple[int, int], list[str]]] = {}  # (document, prompt) to [status, call_key]
        self.unusable: set[str] = set()  # call keys
        self.read: dict[tuple[int, int, str], str] = {}  # what a call's answer made of a cell
        with transaction() as connection:
            self.project = factories.project(connection, *self.variables(), name=f"Project {self.number}")
            factories.document(connection, self.project.id, f"{self.number} first.pdf")
        self.start_job()

    def variables(self):
        return ["title", variable("donor", label=f"Label {self.label}")]

    def pick_job(self, pick, *statuses):
        fitting = [job for job, status in self.status.items() if status in statuses]
        return fitting[pick % len(fitting)] if fitting else None

    def pick_pending(self, connection, pick):
        job = self.pick_job(pick, "running")
        waiting = factories.pending(connection, job) if job else []
        return waiting[pick % len(waiting)] if waiting else None

    def place(self, connection, cell):
        work = cells.work(connection, cell.id)
        return work.document_id, work.prompt_id

    @rule(twin=st.booleans())
    def add_document(self, twin):
        """Some documents have the text of others, so that their cells share a call."""
        number = next(_numbers)
        text = f"the text that twins of {self.number} share" if twin else f"text {number}"
        with transaction() as connection:
            factories.document(connection, self.project.id, f"{number}.pdf", text=text)

    @rule(label=st.integers(0, 2))
    def change_variable(self, label):
        self.label = label
        with transaction() as connection:
            self.project = factories.project(connection, *self.variables(), name=self.project.name)

    @rule()
    def start_job(self):
        with transaction() as connection:
            job = jobs.create(connection, self.project.id, options(), rules="r", flow_run_id=None)
            self.status[job], self.cells[job] = "running", {}
            self.plan(connection, job)

    @rule(pick=PICK, keep=st.integers(1, 4))
    def plan_again(self, pick, keep):
        """With what is in the project now; `keep` leaves some out, as a sample does."""
        job = self.pick_job(pick, "running", "paused")
        if job:
            with transaction() as connection:
                self.plan(connection, job, keep)

    def plan(self, connection, job, keep=4):
        whole = factories.planned(connection, self.project, options())
        planned = [cell for number, cell in enumerate(whole) if number % 4 < keep]
        cells.plan(connection, job, planned)
        wanted = {(cell.document_id, cell.prompt_id): cell.call_key for cell in planned}
        mine = self.cells[job]
        for place, (status, key) in list(mine.items()):
            if status == "pending" and wanted.get(place) != key:
                del mine[place]
        for place, key in wanted.items():
            mine.setdefault(place, ["pending", key])

    @rule(pick=PICK)
    def settle(self, pick):
        job = self.pick_job(pick, "running", "paused", "cancelled")
        if job:
            settled = 0
            for place, state in self.cells[job].items():
                if state[0] == "pending" and (*place, state[1]) in self.read:
                    state[0] = self.read[*place, state[1]]
                    settled += 1
            with transaction() as connection:
                assert cells.settle_answered(connection, job) == settled

    @rule(pick=PICK, flagged=st.booleans())
    def answer(self, pick, flagged):
        with transaction() as connection:
            cell = self.pick_pending(connection, pick)
            if cell is None:
                return
            place = self.place(connection, cell)
            state = self.cells[cell.job][place]
            intent = calls.intend(connection, cell.id, model=MODEL, parameters="{}")
            if state[1] in self.unusable:  # another job's cell had this reply, and it could not be read
                assert intent.reply is not None
                cells.fail(connection, cell.id, "malformed", "it is so")
                state[0] = "failed"
                return
            if intent.reply is None:
                calls.keep_reply(connection, intent.call_id, factories.reply())
            extraction = factories.extraction("x", *(["low_confidence"] if flagged else []))
            extractions.save(
                connection, extraction, cell_id=cell.id, call_id=intent.call_id,
                document_id=place[0], prompt_id=place[1],
            )  # fmt: skip
            state[0] = self.read[*place, state[1]] = "flagged" if flagged else "extracted"

    @rule(pick=PICK)
    def reply_that_cannot_be_read(self, pick):
        with transaction() as connection:
            cell = self.pick_pending(connection, pick)
            if cell is None:
                return
            state = self.cells[cell.job][self.place(connection, cell)]
            intent = calls.intend(connection, cell.id, model=MODEL, parameters="{}")
            if intent.reply is None:
                calls.keep_reply(connection, intent.call_id, factories.reply("no JSON"), error="malformed")
                self.unusable.add(state[1])
                cells.fail(connection, cell.id, "malformed", "it is so")
                state[0] = "failed"

    @rule(pick=PICK)
    def fail(self, pick):
        with transaction() as connection:
            cell = self.pick_pending(connection, pick)
            if cell is not None:
                assert cells.fail(connection, cell.id, "provider_timeout", "it is so")
                self.cells[cell.job][self.place(connection, cell)][0] = "failed"

    @rule(pick=PICK, new=st.sampled_from(["paused", "cancelled"]))
    def stop(self, pick, new):
        job = self.pick_job(pick, "running", "paused")
        if job:
            with transaction() as connection:
                assert jobs.set_status(connection, job, new) == (self.status[job] != new)
            self.status[job] = new

    @rule(pick=PICK)
    def resume(self, pick):
        job = self.pick_job(pick, "paused")
        if job:
            with transaction() as connection:
                jobs.resume(connection, job, rules="r", flow_run_id=None)
            self.status[job] = "running"

    @rule(pick=PICK)
    def ask_in_vain(self, pick):
        """A job that does not run starts no call, whatever state its cells are in."""
        job = self.pick_job(pick, "paused", "cancelled", "completed", "completed_with_errors")
        if job and self.cells[job]:
            with transaction() as connection:
                some = connection.scalar(select(_cell.c.id).where(_cell.c.job_id == job).limit(1))
                try:
                    calls.intend(connection, some, model=MODEL, parameters="{}")
                except JobStoppedError:
                    return
            raise AssertionError("a stopped job started a call")

    @rule(pick=PICK)
    def finish(self, pick):
        job = self.pick_job(pick, "running", "paused", "cancelled")
        if job:
            with transaction() as connection:
                jobs.finish(connection, job)
            states = [status for status, _ in self.cells[job].values()]
            if self.status[job] == "running" and "pending" not in states:
                self.status[job] = "completed_with_errors" if "failed" in states else "completed"

    @precondition(lambda self: len(self.status) > 1)
    @rule(pick=PICK)
    def withdraw(self, pick):
        job = self.pick_job(pick, "running", "paused")
        if job:
            untouched = all(status == "pending" for status, _ in self.cells[job].values())
            with transaction() as connection:
                assert jobs.withdraw(connection, job) == untouched
            if untouched:
                del self.status[job], self.cells[job]

    @invariant()
    def counts_add_up_and_no_cell_is_there_twice(self):
        with transaction() as connection:
            for job, status in self.status.items():
                found = jobs.get(connection, job)
                wanted = Counter(state for state, _ in self.cells[job].values())
                assert asdict(found.counts) == {name: wanted[name] for name in asdict(found.counts)}
                assert found.counts.total == len(self.cells[job])
                assert found.counts.done + found.counts.pending == found.counts.total
                assert found.status == status
                if status.startswith("completed"):
                    assert found.counts.pending == 0
                mine = _cell.c.job_id == job
                places = select(func.count(func.distinct(_cell.c.document_id, _cell.c.prompt_id))).where(mine)
                assert connection.scalar(places) == found.counts.total


def test_counts_add_up_after_any_history(database):
    run_state_machine_as_test(
        History, settings=settings(max_examples=15, stateful_step_count=30, deadline=None, database=None)
    )
