"""What can go wrong. Arguments that make no sense are ValueError or TypeError."""

from __future__ import annotations


class ThreadcastError(Exception):
    """Everything below. Events that were accepted before it may be unpublished."""


class Fenced(ThreadcastError):
    """A higher attempt of this run has begun elsewhere: this one must stop."""

    def __init__(self, attempt: int) -> None:
        super().__init__("attempt %d of this run has taken over" % attempt)
        self.attempt = attempt


class Ended(ThreadcastError):
    """The run has ended already (somebody else ended it, or its id was used before)."""

    def __init__(self, id: str) -> None:
        super().__init__("this run has ended with event %s" % id)
        self.id = id


class WorkerLost(Ended):
    """The run was ended under its publisher: nothing had been heard of this process for
    a lease (it stood still, or had no Redis), and a bridge said `worker_lost`."""

    def __init__(self, id: str) -> None:
        ThreadcastError.__init__(self, "this run was ended as worker_lost with event %s: it "
                                 "gave no sign of life for longer than lease_ms" % id)
        self.id = id


class Cancelled(ThreadcastError):
    """Somebody cancelled this run. Readers have got `cancelled`; what is said from now on
    is not published."""

    def __init__(self, run_id: str) -> None:
        super().__init__("run %s was cancelled" % run_id)
        self.run_id = run_id


class Taken(ThreadcastError):
    """An outside event claims a run that has a publisher of its own."""

    def __init__(self, run_id: str) -> None:
        super().__init__("run %s has a publisher of its own" % run_id)
        self.run_id = run_id


class Conflict(ThreadcastError):
    """The idempotency key was used before, for other events."""


class Refused(ThreadcastError):
    """Redis, or a bridge, refuses and will go on refusing: rights, password, version, key
    types. A bridge's refusal has its `status` and its stable `code`."""

    def __init__(self, message: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Unavailable(ThreadcastError):
    """No answer for `give_up_s`. Whether Redis has the events is unknown."""


class EventTooLarge(ThreadcastError, ValueError):
    """An event would be larger than 256 KiB. Nothing was published of it."""


class AgentError(Exception):
    """Raise it inside a run to end that run with this `error` event. `message` is shown
    to people; the text of any other exception is not."""

    def __init__(self, message: str, *, code: str = "agent_error",
                 retryable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.retryable = retryable
