"""The RPC port: msgpack-rpc requests in, checked responses out.

A request is `[0, number, method, [metadata, argument, ...]]` with `metadata` = `[whether nobody waits for it]`.
Whatever comes, the server lives: bytes that are no requests end their connection, wrong arguments get an error that
names the method, and a client that does not read its answers is not read from either.
"""

import selectors
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from envs.carla.lite import wire
from envs.carla.lite.packing import msgpack
from envs.carla.lite.schema import Check, WireError
from envs.carla.lite.sockets import MAX_CONNECTIONS, Peer
from envs.carla.lite.streams import PATIENCE_S
from utils.errors import UserError

if TYPE_CHECKING:
    from envs.carla.lite.host import Host

MAX_UNREAD = 1 << 20
"""Bytes of answers that may wait for a client before its requests are left unread."""
MAX_LATER = 4096
"""Bytes of answers that nobody waits for; they go with the next one that somebody does."""
HALF_MESSAGE_S = 30.0
"""So long may a request take to come in whole."""


class CallError(Exception):
    """A call that cannot be done; the client raises `RuntimeError` with this message."""


@dataclass(frozen=True)
class Method:
    """One RPC method."""

    function: Callable[..., Any]
    """Takes the session and the arguments."""
    arguments: tuple[Check, ...] | None
    """None: whatever comes."""
    result: Check | None = None
    form: Literal["value", "void", "bare", "packed"] = "void"
    """How the result is wrapped; packed: the function returns checked msgpack itself."""
    ticks: Callable[[list[Any]], bool] = lambda _: False
    """Whether a call with these arguments steps the world; then it may have to wait for subscribers."""

    def call(self, session: "Session", arguments: list[Any]) -> Any:
        """Do it, with the arguments and the result checked.

        Raises:
            WireError: an argument or the result is not what it should be.
            CallError, UserError: it cannot be done.
        """
        if self.arguments is not None:
            if len(arguments) != len(self.arguments):
                raise WireError(f"{len(self.arguments)} arguments are needed, not {len(arguments)}")
            for check, argument in zip(self.arguments, arguments):
                check(argument)
        result = self.function(session, *arguments)
        if self.result is not None:
            self.result(result)
        return result


class Call:
    """A request that has the shape of one; its arguments are not checked yet."""

    def __init__(self, request: Any) -> None:
        try:
            kind, self.number, self.name, (self.metadata, *self.arguments) = request
            (self.is_unwaited,) = self.metadata
            is_call = kind == 0 and type(self.name) is str and type(self.number) is int
        except (TypeError, ValueError):
            is_call = False
        if not is_call or not 0 <= self.number < 2**32:
            raise WireError("this is no request")


class Methods(dict[str, Method]):
    """Methods by name; functions enter themselves, under their own name, with a decorator."""

    def returns(
        self,
        result: Check | None,
        *arguments: Check,
        form: Literal["value", "bare", "packed"] = "value",
        ticks: Callable[[list[Any]], bool] = lambda _: False,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Enter a function with a result of this type."""

        def enter(function: Callable[..., Any]) -> Callable[..., Any]:
            self[function.__name__] = Method(function, arguments, result, form, ticks)
            return function

        return enter

    def nothing(self, *arguments: Check) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Enter a function without a result."""

        def enter(function: Callable[..., Any]) -> Callable[..., Any]:
            self[function.__name__] = Method(function, arguments)
            return function

        return enter


class Session:
    """One client's RPC connection."""

    def __init__(self, rpc: "Rpc", sock: socket.socket, selector: selectors.BaseSelector) -> None:
        self._rpc = rpc
        self.host = rpc.host
        self.peer = Peer(sock, selector, self._on_readable, self.work, MAX_UNREAD)
        self.held: Call | None = None
        """A tick that waits for subscribers; what comes after it waits too."""
        self._held_since = 0.0
        self._half_since = time.monotonic()
        self._unpacker = wire.requests()
        self._fed = self._complete = 0
        self._later = b""

    def work(self) -> None:
        """Answer the requests that have come, as far as that may be done now."""
        while not self.peer.is_closed and self.peer.pending <= MAX_UNREAD:
            try:
                call = self.held or self._next()
            except Exception:  # whatever a reader may raise on bytes that mean nothing
                self._hang_up()
                return
            if call is None:
                return
            if self._must_wait(call):
                self.held = call
                return
            self.held = None
            self._later += self._rpc.answer(self, call)
            if not call.is_unwaited or len(self._later) > MAX_LATER:
                self.flush()

    def flush(self) -> None:
        """Send the answers that nobody waits for."""
        if self._later:
            data, self._later = self._later, b""
            self.peer.send(data)

    def sweep(self, now: float) -> None:
        """Hang up on a client that began a request long ago and has not ended it."""
        self.flush()
        if self._fed == self._complete or self.held or self.peer.pending:
            self._half_since = now
        elif now - self._half_since > HALF_MESSAGE_S:
            self._hang_up()

    def _next(self) -> Call | None:
        try:
            request = next(self._unpacker)
        except StopIteration:
            return None
        self._complete = self._unpacker.tell()
        self._half_since = time.monotonic()
        return Call(request)

    def _must_wait(self, call: Call) -> bool:
        method = self._rpc.methods.get(call.name)
        if method is None or not method.ticks(call.arguments) or not self.host.must_wait():
            return False
        if self.held is None:
            self._held_since = time.monotonic()
        if time.monotonic() - self._held_since < PATIENCE_S:
            return True
        self.host.streams.drop_laggards()
        return False

    def _on_readable(self) -> None:
        data = self.peer.receive()
        if self.peer.is_closed:
            self._rpc.forget(self)
            return
        try:
            self._unpacker.feed(data)
        except (ValueError, msgpack.exceptions.UnpackException):
            self._hang_up()
            return
        self._fed += len(data)
        if self.held is None:
            self.work()

    def _hang_up(self) -> None:
        self.peer.close()
        self._rpc.forget(self)


class Rpc:
    """All RPC clients, and the table of methods that they may call."""

    def __init__(
        self,
        host: "Host",
        selector: selectors.BaseSelector,
        listener: socket.socket,
        methods: dict[str, Method],
    ) -> None:
        self.host, self.methods = host, methods
        self._selector, self._listener = selector, listener
        self._sessions: set[Session] = set()
        selector.register(listener, selectors.EVENT_READ, self._on_connect)

    def __len__(self) -> int:
        return len(self._sessions)

    def answer(self, session: Session, call: Call) -> bytes:
        """Do what is asked; the response, in bytes. Nothing that a client asks for raises here."""
        method = self.methods.get(call.name)
        if method is None:
            return wire.no_such_method(call.number, f"there is no method {call.name!r:.80} in CARLA 0.9.16")
        try:
            return _respond(call.number, method, session, call.arguments)
        except (CallError, UserError, WireError) as error:
            message = f"{call.name}: {error}"
        except (OverflowError, struct.error, ValueError) as error:
            message = f"{call.name}: a value is out of range ({error})"
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            message = f"{call.name}: internal error of the lite server ({type(error).__name__}: {error})"
        return wire.failure(call.number, message[:2000], method.form == "void")

    def retry(self) -> bool:
        """Go on with the ticks that wait, as far as they may; whether any still waits."""
        held = [session for session in self._sessions if session.held]
        for session in held:
            session.work()
        return any(session.held for session in held if not session.peer.is_closed)

    def sweep(self) -> None:
        """Once in a while: send answers left over, hang up on half requests."""
        now = time.monotonic()
        for session in list(self._sessions):
            session.sweep(now)
            if session.peer.is_closed:
                self.forget(session)

    def forget(self, session: Session) -> None:
        """The client has gone."""
        if session in self._sessions:
            self._sessions.remove(session)
            self.host.client_left(session)

    def _on_connect(self, _mask: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if len(self._sessions) >= MAX_CONNECTIONS:
            sock.close()
            return
        self._sessions.add(Session(self, sock, self._selector))


def _respond(number: int, method: Method, session: Session, arguments: list[Any]) -> bytes:
    result = method.call(session, arguments)
    if method.form == "void":
        return wire.done(number)
    return {"value": wire.value, "bare": wire.bare, "packed": wire.packed_value}[method.form](number, result)
