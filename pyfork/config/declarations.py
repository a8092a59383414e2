"""How a setting is declared: its form, its flags, and what the documents say of it. Pure.

`schema` has the declarations themselves, `catalogue` the whole list of them.
"""

from enum import Enum, auto
from typing import Any

from msgspec import Struct

LONGEST = 2_000_000
"""Seconds (23 days): epoll_wait(2) takes milliseconds as a C int, which ends at 24 days."""
LARGEST_LINE = 1_048_576
"""Octets of a request line or a header field. gunicorn's 0 stands for it: no limit at all would be a way to exhaust
memory from outside."""
LARGEST_FIELDS = 32_768
"""Header fields of a request; gunicorn's highest too."""


class Form(Enum):
    """How a value is written, beyond its type."""

    PLAIN = auto()
    PATH = auto()
    """Relative to ``server.chdir``; made absolute as text, so that symbolic links stay as the user wrote them."""
    PATH_OR_DASH = auto()
    """A path, or ``-`` for a standard stream."""
    DIRECTORY = auto()
    """Relative to the directory that pyfork was started in."""
    BINDS = auto()
    """Addresses, read by `config.binds`."""
    PROXIES = auto()
    """Peers whose word on the client counts, read by `config.proxies`."""
    FORWARDING = auto()
    """Fields by which proxies tell of the client, read by `config.proxies`."""
    ACCOUNT = auto()
    """A user or a group, by name or number."""
    OCTAL = auto()
    """A file mode mask: a TOML integer, or a string that is octal with a leading ``0o`` or ``0``."""
    LEVEL = auto()
    """The name of a log level, in any case."""
    ZERO_IS_HIGHEST = auto()
    """0 stands for the highest value, for those who wrote 0 in gunicorn."""
    ZERO_IS_UNLIMITED = auto()
    """0 and ``"unlimited"`` stand for no limit."""
    SIZE = auto()
    """Octets, as a number or with a unit (K, M, G); 0 and ``"unlimited"`` stand for no limit."""
    STEPS = auto()
    """Growing counts; ``"..."`` as the last one repeats the one before it."""
    CHOICE = auto()
    """One of a few words."""
    SNI = auto()
    """Server names with the files of their certificates, read by `config.server_names`."""
    VERIFY = auto()
    """One of a few words, or the number that gunicorn has for it."""
    HOOK = auto()
    """A function of the user's, ``module:function``."""
    MOUNTS = auto()
    """Directories by the beginnings of paths, read by `config.mounts`; in the file, keys of the table itself."""
    FILE_NAME = auto()
    """The name of a file, without a directory."""


class Option(Struct, frozen=True):
    """What the command line, the documents and a reload must know of a setting.

    Attributes:
        flags: the command line's, gunicorn's spelling first where it has one.
        metavar: what stands for the value in ``--help``; "" for a switch.
        form: how the value is written.
        on_reload: what HUP does with a changed value, in the words of docs/settings.md.
        default_text: what a default of None means.
        example: a value for server.toml.example where the default is none.
        bare: what the flag means without a value; "" if it must have one.
    """

    flags: tuple[str, ...]
    metavar: str
    form: Form = Form.PLAIN
    on_reload: str = "yes"
    default_text: str = ""
    example: Any = None
    bare: str = ""

    @property
    def long_flag(self) -> str:
        """Return the flag by which messages name the setting."""
        return next(flag for flag in self.flags if flag.startswith("--"))


RESTART = "needs a restart"
NEW_SOCKETS = "for addresses opened from then on"
KEPT_SOCKETS = "yes, but for unix sockets that stay open"
"""Their path keeps its owner and mode: a reload that failed could not say any more whose it was."""
