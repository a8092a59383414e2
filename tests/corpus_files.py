"""Reads the cases of tests/corpus/ (their format: tests/corpus/http1/README.md).

Nothing here knows pyfork, so that any parser or server can be held to the cases.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus" / "http1"

_DELIMITERS = frozenset(b"\r\n:;,")

_ESCAPE = re.compile(rb"\\(?:x(?P<hex>[0-9a-f]{2})|(?P<letter>[rnt0\\{}]))")
_LETTERS = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\", b"{": b"{", b"}": b"}"}
_REPETITION = re.compile(rb"(?<!\\)\{(?P<octets>(?:[^{}\\]|\\.)+)\*(?P<times>[0-9]+)\}")


@dataclass(frozen=True)
class ExpectedRequest:
    """A request; of its attributes and fields, those that the case cares for."""

    method: str
    target: bytes
    http_version: str
    attributes: dict[str, object]
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass(frozen=True)
class ExpectedContent:
    """Content, however it was cut."""

    octets: bytes


@dataclass(frozen=True)
class ExpectedEnd:
    """The end of a message, with its trailers."""

    trailers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class ExpectedRefusal:
    """The status that answers what cannot be understood or is too much."""

    status: int


Expected = ExpectedRequest | ExpectedContent | ExpectedEnd | ExpectedRefusal


@dataclass
class Case:
    """What a client sends on one connection, and what it must mean.

    Attributes:
        state: of the connection behind it: "idle" (another request may come), "waiting" (for the rest of this one)
            or "closed".
        served: the status of a server's only answer, where it is not the parser that refuses; else None.
    """

    name: str
    family: str
    is_valid: bool
    reason: str = ""
    limits: dict[str, int] = field(default_factory=dict)
    octets: bytes = b""
    expected: list[Expected] = field(default_factory=list)
    state: str = ""
    served: int | None = None

    @property
    def methods(self) -> list[str]:
        """The method of each request that is answered; of one whose head is refused, as far as it can be told."""
        methods = [each.method for each in self.expected if isinstance(each, ExpectedRequest)]
        if len(methods) < len(self.statuses):
            methods.append(self.octets.split(b" ")[0].decode("latin-1") if not methods else "")
        return methods

    @property
    def complete(self) -> list[tuple[ExpectedRequest, bytes]]:
        """The complete requests, each with its content."""
        complete: list[tuple[ExpectedRequest, bytes]] = []
        content = b""
        for each in self.expected:
            if isinstance(each, ExpectedRequest):
                request, content = each, b""
            elif isinstance(each, ExpectedContent):
                content += each.octets
            elif isinstance(each, ExpectedEnd):
                complete.append((request, content))
        return complete

    @property
    def statuses(self) -> list[int]:
        """What a server answers whose application answers 200 to everything that is complete."""
        if self.served is not None:
            return [self.served]
        return [
            each.status if isinstance(each, ExpectedRefusal) else 200
            for each in self.expected
            if isinstance(each, (ExpectedEnd, ExpectedRefusal))
        ]


def edges(octets: bytes, most: int = 1000) -> list[int]:
    """Return the places where a cut may matter: behind each CR, LF, colon, and what delimits in chunks and lists.

    Args:
        octets: of a case.
        most: places; if there are more, those in the middle are thinned out.
    """
    places = [place for place, octet in enumerate(octets[:-1], 1) if octet in _DELIMITERS]
    if len(places) > most:
        third = most // 3
        middle = places[third:-third]
        places = places[:third] + middle[:: len(middle) // third + 1] + places[-third:]
    return places


def load_cases(directory: Path = CORPUS) -> list[Case]:
    """Read every case under `directory`."""
    cases = [case for path in sorted(directory.glob("*/*.txt")) for case in _read(path)]
    names = [case.name for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"names that two cases have: {twice}"
    return cases


def _read(path: Path) -> list[Case]:
    cases: list[Case] = []
    for number, line in enumerate(path.read_text("ascii").splitlines(), 1):
        kind, _, rest = line.partition(" ")
        try:
            if kind == "---":
                cases.append(Case(name=rest, family=path.stem, is_valid=path.parent.name == "valid"))
            elif cases and line:
                _read_line(cases[-1], kind, rest, line)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path}:{number}: {error}") from error
    for case in cases:
        assert case.octets, f"{path}: {case.name}: no octets"
        assert case.reason, f"{path}: {case.name}: no reason"
        assert case.state in {"idle", "waiting", "closed"}, f"{path}: {case.name}: no state at its end"
    return cases


def _read_line(case: Case, kind: str, rest: str, line: str) -> None:
    if kind == ">":
        case.octets += unescape(rest)
    elif kind == "<" and rest.startswith("field "):
        case.expected[-1].fields.append(_read_pair(rest.removeprefix("field ")))
    elif kind == "<":
        case.expected.append(_read_expected(rest))
    elif kind == "=":
        case.state = rest
    elif kind == "served:":
        case.served = int(rest)
    elif kind == "limits:":
        for word in rest.split():
            name, _, number = word.partition("=")
            case.limits[name] = int(number)
    else:
        case.reason += line + "\n"


def unescape(text: str) -> bytes:
    r"""Return the octets of a line: \r \n \t \0 \\ \{ \} \xNN, and {octets*times}."""
    repeated = _REPETITION.sub(lambda match: match["octets"] * int(match["times"]), text.encode("ascii"))
    return _ESCAPE.sub(_unescape_one, repeated)


def _unescape_one(match: re.Match[bytes]) -> bytes:
    return bytes([int(match["hex"], 16)]) if match["hex"] else _LETTERS[match["letter"]]


def _read_expected(text: str) -> Expected:
    kind, _, rest = text.partition(" ")
    if kind == "content":
        return ExpectedContent(unescape(rest))
    if kind == "end":
        return ExpectedEnd(tuple(_read_pair(pair) for pair in rest.split(" | ") if pair))
    if kind == "refuse":
        return ExpectedRefusal(int(rest))
    if kind == "request":
        return _read_request(rest)
    raise ValueError(f"no such event: {kind}")


def _read_pair(text: str) -> tuple[bytes, bytes]:
    name, _, value = text.partition(":")
    return unescape(name), unescape(value.strip())


def _read_request(text: str) -> ExpectedRequest:
    method, target, version, *words = text.split(" ")
    attributes: dict[str, object] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name in {"path", "query", "host"}:
            attributes[name] = unescape(value)
        elif name == "content_length":
            attributes[name] = int(value)
        elif name in {"is_chunked", "expects_continue", "keep_alive"}:
            attributes[name] = {"yes": True, "no": False}[value]
        else:
            raise ValueError(f"not an attribute: {word}")
    return ExpectedRequest(method, unescape(target), version.removeprefix("HTTP/"), attributes)
