"""Whatever happens to a job, its counts add up and no cell is there twice: many short histories, chosen by hypothesis.

Beside the database runs a model of it in plain dictionaries. After each step both have to say the same.
"""

import itertools
from collections import Counter
from dataclasses import asdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import func, select, text

from db import calls, cells, entities, extractions, jobs, projects, tables, workers
from db.session import transaction
from tests import factories
from tests.factories import MODEL, UNIT, options, variable
from winnow.exceptions import JobStoppedError
from winnow.jobs import ENDED, UNFINISHED

_cell, _claim, _worker = (table.__table__ for table in (tables.Cell, tables.Claim, tables.Worker))
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
        self.workers: dict[int, int] = {}  # their jobs
        self.claims: dict[tuple[int, int], list[int | None]] = {}  # of job and document: [worker, losses]
        with transaction() as connection:
            self.apply(connection)
            for project in (self.grants, self.protests):
                factories.document(connection, project.id, f"{self.number} first.pdf")
        for number, of_entities in enumerate((False, True)):
            self.start_job(of_entities)
            self.begin(number)

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
        return factories.stored_cell(connection, refs[pick % len(refs)].id) if refs else None

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
            job = jobs.create(connection, project.id, options(), rules="r")
            self.status[job], self.cells[job], self.of_entities[job] = "pending", {}, of_entities
            self.plan(connection, job)

    @rule(pick=PICK)
    def begin(self, pick):
        job = self.pick_job(pick, "pending")
        if job:
            with transaction() as connection:
                assert jobs.start(connection, job)
            self.status[job] = "running"

    @rule(pick=PICK, keep=st.integers(1, 4))
    def plan_again(self, pick, keep):
        """With what is in the project now; `keep` leaves some out, as a sample does."""
        job = self.pick_job(pick, *UNFINISHED)
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
        worker = factories.worker(connection, work.job_id)
        try:
            return calls.intend(connection, order, worker)
        finally:
            workers.end(connection, worker)

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

    @rule(pick=PICK, new=st.sampled_from(["paused", "cancelled", "failed"]))
    def stop(self, pick, new):
        job = self.pick_job(pick, *UNFINISHED, *ENDED)
        if job:
            fits = self.status[job] in UNFINISHED and self.status[job] != new
            with transaction() as connection:
                assert factories.set_status(connection, job, new) == fits
            if fits:
                self.status[job] = new

    @rule(pick=PICK)
    def resume(self, pick):
        job = self.pick_job(pick, *UNFINISHED)
        if job and job not in self.workers.values():  # otherwise somebody works on it
            with transaction() as connection:
                jobs.resume(connection, job, options(), rules="r")
            self.status[job] = "pending"

    @rule(pick=PICK, retry=st.booleans())
    def reopen(self, pick, retry):
        job = self.pick_job(pick, *ENDED)
        if job:
            ended = [state for state in self.cells[job].values() if retry and state[0] in ("failed", "skipped")]
            with transaction() as connection:
                assert jobs.reopen(connection, job)
                assert not retry or cells.reopen_failed(connection, job) == len(ended)
            self.status[job] = "pending"
            for state in ended:
                state[0] = "pending"

    @rule(pick=PICK)
    def join(self, pick):
        job = self.pick_job(pick, *UNFINISHED)
        if job:
            with transaction() as connection:
                self.workers[factories.worker(connection, job)] = job

    def pick_worker(self, pick):
        return list(self.workers.items())[pick % len(self.workers)]

    @precondition(lambda self: self.workers)
    @rule(pick=PICK, after=st.integers(0, 3), limit=st.integers(1, 3))
    def claim(self, pick, after, limit):
        worker, job = self.pick_worker(pick)
        held = {document for (of, document), (holder, _) in self.claims.items() if of == job and holder}
        documents = {place[0] for place, state in self.cells[job].items() if state[0] == "pending"}
        free = [document for document in sorted(documents - held) if document > after][:limit]
        with transaction() as connection:
            claimed = workers.claim(connection, job, worker, after=after, limit=limit)
        assert [one.document_id for one in claimed] == free
        for document in free:
            self.claims.setdefault((job, document), [None, 0])[0] = worker
        assert [one.losses for one in claimed] == [self.claims[job, document][1] for document in free]

    @precondition(lambda self: any(holder for holder, _ in self.claims.values()))
    @rule(pick=PICK)
    def release(self, pick):
        held = [place for place, (holder, _) in self.claims.items() if holder]
        job, document = place = held[pick % len(held)]
        worker, losses = self.claims.pop(place)
        with transaction() as connection:
            left = workers.release(connection, job, worker, document)
        states = Counter(state for place, (state, _) in self.cells[job].items() if place[0] == document)
        wanted = states["extracted"] + states["flagged"], states["failed"], states["pending"]
        assert (left.answered, left.failed, left.open) == wanted
        if left.open:
            self.claims[place] = [None, losses + 1]

    @precondition(lambda self: self.workers)
    @rule(pick=PICK, lost=st.booleans())
    def leave(self, pick, lost):
        """A worker ends, or its lease does."""
        worker, job = self.pick_worker(pick)
        with transaction() as connection:
            if lost:
                past = text("now() - interval '1 second'")
                connection.execute(_worker.update().where(_worker.c.id == worker).values(lease_until=past))
                assert workers.reap(connection, job) == 1
            else:
                workers.end(connection, worker)
        del self.workers[worker]
        for claim in self.claims.values():
            if claim[0] == worker:
                claim[:] = None, claim[1] + lost

    @rule(pick=PICK)
    def ask_in_vain(self, pick):
        """A job that does not run starts no call, whatever state its cells are in."""
        job = self.pick_job(pick, "pending", "paused", *ENDED)
        if job and self.cells[job]:
            with transaction() as connection:
                some = connection.scalar(select(_cell.c.id).where(_cell.c.job_id == job).limit(1))
                try:
                    self.intend(connection, factories.stored_cell(connection, some))
                except JobStoppedError:
                    return
            raise AssertionError("a stopped job started a call")

    @rule(pick=PICK)
    def finish(self, pick):
        job = self.pick_job(pick, *UNFINISHED, *ENDED)
        if job:
            with transaction() as connection:
                jobs.finish(connection, job)
            states = {status for status, _ in self.cells[job].values()}
            if self.status[job] == "running" and "pending" not in states:
                self.status[job] = "completed_with_errors" if states & {"failed", "skipped"} else "completed"

    @precondition(lambda self: len(self.status) > 1)
    @rule(pick=PICK)
    def withdraw(self, pick):
        job = self.pick_job(pick, *UNFINISHED)
        if job:
            untouched = all(status == "pending" for status, _ in self.cells[job].values())
            with transaction() as connection:
                assert jobs.withdraw(connection, job) == untouched
            if untouched:
                del self.status[job], self.cells[job]
                self.workers = {worker: of for worker, of in self.workers.items() if of != job}
                self.claims = {place: claim for place, claim in self.claims.items() if place[0] != job}

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

    @invariant()
    def every_document_is_held_by_one_living_worker_at_most_and_by_one_of_its_job(self):
        columns = (_claim.c.job_id, _claim.c.document_id, _claim.c.worker_id, _claim.c.losses, _worker.c.job_id)
        with transaction() as connection:
            ours = _claim.c.job_id.in_(self.status)
            rows = connection.execute(select(*columns).where(ours).join_from(_claim, _worker, isouter=True)).all()
        assert {(job, document): [worker, losses] for job, document, worker, losses, _ in rows} == self.claims
        assert all(of == job for job, _, worker, _, of in rows if worker)
        assert all(holder is None or self.workers[holder] == job for (job, _), (holder, _) in self.claims.items())


def test_counts_add_up_after_any_history(database):
    run_state_machine_as_test(
        History, settings=settings(max_examples=15, stateful_step_count=35, deadline=None, database=None)
    )
