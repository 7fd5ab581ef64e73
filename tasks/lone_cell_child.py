"""The child process of `tasks.lone_cells`: works on cells for the worker that holds them."""

import pickle
import sys

from db import jobs
from db.session import transaction
from tasks.child import serve
from tasks.extract_cell import work_on
from tasks.holdings import Holding
from tasks.job_context import opened_for
from tasks.log_lines import use_log_lines
from winnow.exceptions import WinnowError


def _answer(message: tuple[int, Holding, list[int], bool]) -> bytes:
    job_id, held, ids, check = message
    try:
        with transaction() as connection:
            job = jobs.get(connection, job_id)
        with opened_for(job) as context:
            context.holdings.hold(held)
            return pickle.dumps(work_on(context, ids, check))
    except WinnowError as error:
        return pickle.dumps(error)


if __name__ == "__main__":
    use_log_lines()
    serve(int(sys.argv[1]), int(sys.argv[2]), _answer)
