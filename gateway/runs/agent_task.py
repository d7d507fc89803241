"""An agent at work, in a task that only the gateway stops, and that is left behind if it stays.

Whatever leaves an agent is a failure of this agent, and of nothing else: `sys.exit()` and
KeyboardInterrupt, which asyncio would let end the process, and the CancelledError of something that
the agent awaited, which asyncio takes for our own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

T = TypeVar("T")
ENDS_A_PROCESS = (SystemExit, KeyboardInterrupt)
_is_of_an_agent: ContextVar[bool] = ContextVar("is_of_an_agent", default=False)
_left_behind: set[asyncio.Task[Any]] = set()  # the loop itself holds tasks weakly
_log = structlog.get_logger(__name__)


class AgentEscaped(Exception):
    """The agent ended by something that is no failure in Python; it is one here."""


class AgentTask(Generic[T]):
    """Work of an agent.

    Args:
        work: begins what the agent does.
        agent: its name, for the log.
        run_id: for the log.
    """

    def __init__(
        self, work: Callable[[], Coroutine[Any, Any, T]], *, agent: str, run_id: str
    ) -> None:
        self._agent = agent
        self._run_id = run_id
        self.is_stopped = False
        self.is_left = False  # it was stopped, and goes on all the same
        self._task = asyncio.create_task(  # noqa: TID251  # a group would wait for it for ever
            self._contain(work), name="run-agent"
        )

    async def result(self) -> T:
        """Wait for the end; CancelledError is the caller's own. The caller stops it then.

        Raises:
            AgentEscaped: it ended by SystemExit or the like.
            Exception: the agent's own.
        """
        await asyncio.wait([self._task])
        return self._task.result()

    async def stop(self, *, limit_s: float) -> None:
        """Cancel the agent, unless it has ended, and let it clean up.

        How an agent ends that was stopped is of no interest. One that is still at it after the
        limit is cancelled once more, named in a warning, and left behind; so it is if we are
        cancelled meanwhile.
        """
        self.is_stopped = True
        if self._task.done():
            return
        self._task.cancel()
        _left_behind.add(self._task)
        self._task.add_done_callback(_forget)
        try:
            await asyncio.wait([self._task], timeout=limit_s)
        finally:
            if not self._task.done():
                self.is_left = True
                _log.warning(
                    "agent_cleanup_timeout", agent=self._agent, run_id=self._run_id, limit_s=limit_s
                )
                self._task.cancel()

    async def _contain(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        _is_of_an_agent.set(True)
        try:
            return await work()
        except asyncio.CancelledError as exc:
            if self.is_stopped:
                raise
            raise AgentEscaped("something it awaited was cancelled") from exc
        except Exception:
            raise
        except BaseException as exc:
            raise AgentEscaped(type(exc).__name__) from exc


def _forget(task: asyncio.Task[Any]) -> None:
    _left_behind.discard(task)
    if not task.cancelled():
        task.exception()  # seen: nobody waits for it


class _Contained(Coroutine[Any, Any, T]):
    """A coroutine that fails instead of ending the process."""

    def __init__(self, inner: Coroutine[Any, Any, T]) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:  # cr_code and the like, for tracebacks
        return getattr(self._inner, name)

    def __await__(self) -> Generator[Any, Any, T]:
        return self._inner.__await__()

    def send(self, value: Any) -> Any:  # what a coroutine yields
        with _as_failures():
            return self._inner.send(value)

    def throw(
        self,
        kind: Any,  # as of a generator: an exception, or its class
        value: Any = None,
        traceback: TracebackType | None = None,
    ) -> Any:
        with _as_failures():
            if value is None and traceback is None:
                return self._inner.throw(kind)
            return self._inner.throw(kind, value, traceback)

    def close(self) -> None:
        with _as_failures():
            self._inner.close()


@contextmanager
def _as_failures() -> Iterator[None]:
    try:
        yield
    except ENDS_A_PROCESS as exc:
        raise AgentEscaped(type(exc).__name__) from exc


@contextmanager
def containing_agents() -> Iterator[None]:
    """Contain what agents begin as tasks of their own, too, in the running loop meanwhile."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    make: Callable[..., Any] = before or _plain_task

    def contained(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **given: Any
    ) -> Any:  # a task
        return make(loop, _Contained(work) if _is_of_an_agent.get() else work, **given)

    loop.set_task_factory(contained)  # type: ignore[arg-type]  # its keywords differ by version
    try:
        yield
    finally:
        loop.set_task_factory(before)


def _plain_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **given: Any
) -> asyncio.Task[Any]:
    return asyncio.Task(work, loop=loop, **given)
