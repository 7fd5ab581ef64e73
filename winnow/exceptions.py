"""Every error that Winnow raises on purpose, split by who must act.

WinnowError
├── DefinitionError            the user must act, at once: exit status 2, nothing changed
│   ├── CodebookError          the codebook has problems; all of them are listed
│   ├── UnknownProjectError
│   ├── NothingToDoError       no documents, no variables, an empty folder
│   ├── ModelSetupError        the model's name or key is wrong on this side
│   ├── BusyError              another run holds the job
│   └── DatabaseDownError      the database is away, or cannot store now: a run waits for it
├── ProviderError              the model's provider said no
│   ├── PassingError           it passes: wait and ask again
│   │   ├── RateLimitedError   (carries `retry_after`)
│   │   ├── ProviderDownError
│   │   └── ProviderTimeoutError
│   ├── StayingError           it stays: the job pauses until a person acts
│   │   ├── AuthenticationFailedError
│   │   ├── QuotaExceededError
│   │   └── UnknownModelError
│   └── RejectedCallError      this request alone was refused (too long, not acceptable)
├── OutputError                the model replied, but not with an answer: the cell fails
├── DocumentError              a file gave no text: the document fails, the others go on
├── JobPausedError             a person paused the job: it can be resumed
├── BudgetReachedError         the next call could cost more than the job may: the job pauses
└── JobStoppedError            the job was paused or cancelled: no new call starts
    ├── TerminatedError        the process was asked to end
    └── WorkerLostError        another worker has taken over what this one held

No message quotes a document, a reply or a key: messages reach logs and the Prefect UI.
"""

from typing import Any


class WinnowError(Exception):
    """Something went wrong that Winnow foresaw. `reason` is its short, stable name in the database."""

    reason = "error"

    def __reduce__(self) -> tuple[Any, ...]:  # some come from another process, whatever they are made of
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[WinnowError], args: tuple[Any, ...], state: dict[str, Any]) -> WinnowError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class DefinitionError(WinnowError):
    """The request is wrong; the message says what, where, and the remedy."""

    reason = "definition"


class CodebookError(DefinitionError):
    """The codebook has problems; `problems` holds every one, with its line where known."""

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source = source
        self.problems = problems
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__(f"{source} has {count}:\n" + "\n".join(f"  {problem}" for problem in problems))


class UnknownProjectError(DefinitionError):
    """No project has this name."""

    def __init__(self, name: str, known: list[str]) -> None:
        have = f"Known projects: {', '.join(known)}." if known else "There is no project yet."
        super().__init__(f"There is no project {name!r}. {have} Create one with `winnow apply CODEBOOK`.")


class NothingToDoError(DefinitionError):
    """The request is well-formed but there is nothing to work on."""


class ModelSetupError(DefinitionError):
    """The model cannot be set up here: its name, its package or its key is wrong or missing."""


class BusyError(DefinitionError):
    """Another process is running this job."""


class DatabaseDownError(DefinitionError):
    """The database cannot be reached, or cannot do now what was asked of it. Tried again later, it may."""

    reason = "database"


class ProviderError(WinnowError):
    """The model's provider did not answer the request."""

    reason = "provider_error"


class PassingError(ProviderError):
    """An error that passes: wait and ask again. `last` says that this was the last try."""

    reason = "provider_unavailable"
    last = False


class RateLimitedError(PassingError):
    """The provider asks for fewer requests; `retry_after` is in seconds, None where it did not say."""

    reason = "rate_limited"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class ProviderDownError(PassingError):
    """The provider answered with a server error, or could not be reached."""

    reason = "provider_unavailable"


class ProviderTimeoutError(PassingError):
    """The provider did not answer in time. The call may have been paid for."""

    reason = "provider_timeout"


class StayingError(ProviderError):
    """An error that every further call would meet too: the job pauses."""

    reason = "provider_refused"


class AuthenticationFailedError(StayingError):
    """The provider does not accept the key."""

    reason = "authentication"


class QuotaExceededError(StayingError):
    """The account's quota or credit is used up."""

    reason = "quota"


class UnknownModelError(StayingError):
    """The provider does not know the model."""

    reason = "unknown_model"


class RejectedCallError(ProviderError):
    """The provider refused this one request for what is in it."""

    def __init__(self, message: str, reason: str = "rejected") -> None:
        self.reason = reason
        super().__init__(message)


class OutputError(WinnowError):
    """The reply is not an answer. `reason` is one of
    malformed, truncated, refused, content_filtered, empty_reply, missing_answer, crashed.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class DocumentError(WinnowError):
    """A file cannot become text. `reason` is one of
    no_text, unsupported, encrypted, damaged, not_text, unreadable, too_slow, too_large, crashed.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class JobPausedError(WinnowError):
    """A person paused the job while it ran."""

    reason = "paused"


class BudgetReachedError(WinnowError):
    """The next call could cost more than is left of the job's budget; the job can be resumed with a larger one."""

    reason = "budget"


class JobStoppedError(WinnowError):
    """The job was paused or cancelled; the cell stays pending."""

    reason = "stopped"


class TerminatedError(JobStoppedError):
    """The process was asked to end (SIGTERM), and ended in good order."""

    reason = "terminated"


class WorkerLostError(JobStoppedError):
    """The worker was not heard of for so long that another has taken over what it held; it may write no more of it."""

    reason = "lost"
