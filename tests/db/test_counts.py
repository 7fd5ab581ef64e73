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

from db import calls, cells, entities, extractions, jobs, projects, tables, workers
from db.session import transaction
from tests import factories
from tests.factories import MODEL, UNIT, options, variable
from winnow.exceptions import JobStoppedError

_cell = tables.Cell.__table__
_numbers = itertools.count()

PICK = st.integers(0, 10**6)


class History(RuleBasedStateMachine):
    """Two projects, one of documents and one of entities, their jobs, and what is done with them."""

    def __init__(self) -> None:
        super().__init__()
        self.number = next(_numbers)
        self.label = 0
        self.status: dict[int, str] = {}  # of jobs
        self.of_entities: dict[int, bool] = {}  # jobs
        # Of each job: (document, prompt, entity) to [status, question_key].
        self.cells: dict[int, dict[tuple[int, int, int | None], list[str]]] = {}
        self.read: dict[tuple[int, int, int | None, str], str] = {}  # what an answer made of a question
        self.lists: dict[tuple[int, str], list[int]] = {}  # the entities of a document, by question
        with transaction() as connection:
            self.apply(connection)
            self.worker = workers.register(connection)
            for project in (self.grants, self.protests):
                factories.document(connection, project.id, f"{self.number} first.pdf")
        for of_entities in (False, True):
            self.start_job(of_entities)

    def apply(self, connection):
        variables = ["title", variable("donor", label=f"Label {self.label}")]
        self.grants = factories.project(connection, *variables, name=f"Grants {self.number}")
        self.protests = factories.project(
            connection, *variables, name=f"Protests {self.number}", unit_of_observation=UNIT | {"identified_by": []}
        )

    def pick_job(self, pick, *statuses):
        fitting = [job for job, status in self.status.items() if status in statuses]
        return fitting[pick % len(fitting)] if fitting else None

    def pick_pending(self, connection, pick, *, unit=False):
        """A pending cell of a running job, as it is to be worked on."""
        running = [job for job, status in self.status.items() if status == "running"]
        refs = [cell for job in running for cell in factories.pending(connection, job) if cell.unit == unit]
        return cells.work(connection, [refs[pick % len(refs)].id])[0] if refs else None

    def state(self, work):
        return self.cells[work.job_id][work.document_id, work.prompt_id, work.entity_id]

    @rule(twin=st.booleans(), of_entities=st.booleans())
    def add_document(self, twin, of_entities):
        """Some documents have the text of others, so that their cells ask the same question."""
        number = next(_numbers)
        text = f"the text that twins of {self.number} share" if twin else f"text {number}"
        with transaction() as connection:
            project = self.protests if of_entities else self.grants
            factories.document(connection, project.id, f"{number}.pdf", text=text)

    @rule(label=st.integers(0, 2))
    def change_variable(self, label):
        self.label = label
        with transaction() as connection:
            self.apply(connection)

    @rule(of_entities=st.booleans())
    def start_job(self, of_entities):
        with transaction() as connection:
            project = self.protests if of_entities else self.grants
            job = jobs.create(connection, project.id, options(), rules="r", flow_run_id=None)
            self.status[job], self.cells[job], self.of_entities[job] = "running", {}, of_entities
            self.plan(connection, job)

    @rule(pick=PICK, keep=st.integers(1, 4))
    def plan_again(self, pick, keep):
        """With what is in the project now; `keep` leaves some out, as a sample does."""
        job = self.pick_job(pick, "running", "paused")
        if job:
            with transaction() as connection:
                self.plan(connection, job, keep)

    def plan(self, connection, job, keep=4):
        whole = (
            factories.planned_lists(connection, self.protests, options())
            if self.of_entities[job]
            else factories.planned(connection, self.grants, options())
        )
        planned = [cell for number, cell in enumerate(whole) if number % 4 < keep]
        cells.plan(connection, job, planned)
        wanted = {(cell.document_id, cell.prompt_id, None): cell.question_key for cell in planned}
        listed = {
            entity_id for (document, _, _), key in wanted.items() for entity_id in self.lists.get((document, key), [])
        }
        mine = self.cells[job]
        for place, (status, key) in list(mine.items()):
            if status == "pending" and wanted.get(place) != key and place[2] not in listed:
                del mine[place]
        self.add(job, wanted)

    def add(self, job, wanted):
        for place, key in wanted.items():
            self.cells[job].setdefault(place, ["pending", key])

    @rule(pick=PICK)
    def plan_what_is_listed(self, pick):
        job = self.pick_job(pick, "running", "paused")
        if job:
            with transaction() as connection:
                for document in entities.listed(connection, job):
                    self.plan_entities(connection, job, document.id, [entity_id for entity_id, _ in document.entities])

    def plan_entities(self, connection, job, document, ids):
        prompts = projects.prompts(connection, self.protests.id)
        planned = factories.planned_entities(prompts, document, ids)
        cells.plan_entities(connection, job, document, planned)
        mine = self.cells[job]
        for place in [place for place in mine if place[0] == document and place[2] is not None]:
            if mine[place][0] == "pending" or place[2] not in ids:
                del mine[place]
        self.add(job, {(cell.document_id, cell.prompt_id, cell.entity_id): cell.question_key for cell in planned})
        self.settle_in_model(job, document)

    @rule(pick=PICK, names=st.lists(st.sampled_from("abc"), unique=True), flagged=st.booleans())
    def list_entities(self, pick, names, flagged):
        with transaction() as connection:
            work = self.pick_pending(connection, pick, unit=True)
            if work is None:
                return
            ids = entities.save(connection, work.document_id, [factories.entity(name) for name in names])
            self.save(connection, work, flagged, entity_ids=ids)
            self.lists[work.document_id, work.question_key] = ids
            self.plan_entities(connection, work.job_id, work.document_id, ids)

    @rule(pick=PICK)
    def settle(self, pick):
        job = self.pick_job(pick, "running", "paused", "cancelled")
        if job:
            with transaction() as connection:
                assert cells.settle_answered(connection, job) == self.settle_in_model(job)

    def settle_in_model(self, job, document=None):
        settled = 0
        for place, state in self.cells[job].items():
            if document in (None, place[0]) and state[0] == "pending" and (*place, state[1]) in self.read:
                state[0] = self.read[*place, state[1]]
                settled += 1
        return settled

    def save(self, connection, work, flagged, **more):
        extraction = factories.extraction("x", *(["low_confidence"] if flagged else []))
        extractions.save(
            connection, extraction, cell_id=work.id, question_key=work.question_key, document_id=work.document_id,
            prompt_id=work.prompt_id, entity_id=work.entity_id, model=MODEL, call_ids=[], **more,
        )  # fmt: skip
        place = work.document_id, work.prompt_id, work.entity_id, work.question_key
        self.state(work)[0] = self.read[place] = "flagged" if flagged else "extracted"

    def intend(self, connection, work):
        order = calls.Order(
            request_key=work.question_key, job_id=work.job_id, document_id=work.document_id,
            prompt_ids=(work.prompt_id,), model=MODEL, parameters={},
        )  # fmt: skip
        return calls.intend(connection, order, self.worker)

    @rule(pick=PICK, flagged=st.booleans())
    def answer(self, pick, flagged):
        with transaction() as connection:
            work = self.pick_pending(connection, pick)
            if work is None:
                return
            intent = self.intend(connection, work)
            assert not intent.elsewhere
            if intent.reply is None:
                calls.keep_reply(connection, intent.call_id, factories.reply())
            self.save(connection, work, flagged)

    @rule(pick=PICK)
    def reply_that_cannot_be_read(self, pick):
        with transaction() as connection:
            work = self.pick_pending(connection, pick)
            if work is None:
                return
            intent = self.intend(connection, work)
            if intent.reply is None:
                calls.keep_reply(connection, intent.call_id, factories.reply("no JSON"))
                calls.reject(connection, intent.call_id, "malformed")
                assert cells.end(connection, work.id, "failed", "malformed", "it is so")
                self.state(work)[0] = "failed"

    @rule(pick=PICK, status=st.sampled_from(["failed", "skipped"]), unit=st.booleans())
    def end(self, pick, status, unit):
        with transaction() as connection:
            work = self.pick_pending(connection, pick, unit=unit)
            if work is not None:
                assert cells.end(connection, work.id, status, "a_reason", "it is so")
                self.state(work)[0] = status

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
                jobs.resume(connection, job, options(), rules="r", flow_run_id=None)
            self.status[job] = "running"

    @rule(pick=PICK)
    def ask_in_vain(self, pick):
        """A job that does not run starts no call, whatever state its cells are in."""
        job = self.pick_job(pick, "paused", "cancelled", "completed", "completed_with_errors")
        if job and self.cells[job]:
            with transaction() as connection:
                some = connection.scalar(select(_cell.c.id).where(_cell.c.job_id == job).limit(1))
                try:
                    self.intend(connection, cells.work(connection, [some])[0])
                except JobStoppedError:
                    return
            raise AssertionError("a stopped job started a call")

    @rule(pick=PICK)
    def finish(self, pick):
        job = self.pick_job(pick, "running", "paused", "cancelled")
        if job:
            with transaction() as connection:
                jobs.finish(connection, job)
            states = {status for status, _ in self.cells[job].values()}
            if self.status[job] == "running" and "pending" not in states:
                self.status[job] = "completed_with_errors" if states & {"failed", "skipped"} else "completed"

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
        columns = _cell.c.document_id, _cell.c.prompt_id, func.coalesce(_cell.c.entity_id, 0)
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
                places = select(func.count(func.distinct(*columns))).where(_cell.c.job_id == job)
                assert connection.scalar(places) == found.counts.total


def test_counts_add_up_after_any_history(database):
    run_state_machine_as_test(
        History, settings=settings(max_examples=15, stateful_step_count=35, deadline=None, database=None)
    )
