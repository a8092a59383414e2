"""Every declared setting by its name, as the rest of ``config`` and ``cli`` look at it. Pure; made from `schema`."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from pyfork.config.declarations import Option
from pyfork.config.schema import (
    HttpSettings,
    LogSettings,
    ServerSettings,
    WorkerSettings,
)
from pyfork.config.schema_hooks import DevelopmentSettings, HookSettings
from pyfork.config.schema_proxy import ProxySettings
from pyfork.config.schema_static import StaticSettings
from pyfork.config.schema_tls import TlsSettings


class Setting(Struct, frozen=True):
    """One declared setting, as the rest of ``config`` and ``cli`` look at it.

    Attributes:
        table: the table of server.toml.
        key: the key in it.
        type: the type without its description.
        checked_type: the type with its range, for msgspec.
        default: the value when nobody gives one.
        meta: range and description.
        option: what the command line and the documents need.
    """

    table: str
    key: str
    type: Any
    checked_type: Any
    default: Any
    meta: Meta
    option: Option

    @property
    def name(self) -> str:
        """Return how messages call it, as in ``workers.count``."""
        return f"{self.table}.{self.key}"

    @property
    def variable(self) -> str:
        """Return its environment variable, as in ``PYFORK_WORKERS_COUNT``."""
        return f"PYFORK_{self.table}_{self.key}".upper()

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the lowest and the highest value of a number."""
        found = next(meta for meta in (self.meta, *_inner_metas(self.type)) if meta.ge is not None)
        return found.ge or 0, found.le or 0

    @property
    def number(self) -> Any:
        """Return ``int`` or ``float`` for a number, which may be optional; None for anything else."""
        kinds = {self.type, *get_args(self.type)}
        kinds |= {part for kind in kinds for part in get_args(kind)}
        return next((kind for kind in (int, float) if kind in kinds and not self.is_list), None)

    @property
    def description(self) -> str:
        """Return what it does."""
        return self.meta.description or ""

    @property
    def is_list(self) -> bool:
        """Whether it holds several strings."""
        return get_origin(self.type) is tuple

    @property
    def is_mapping(self) -> bool:
        """Whether it holds names with values."""
        return get_origin(self.type) is dict

    @property
    def is_switch(self) -> bool:
        """Whether it is true or false."""
        return self.type is bool


def _inner_metas(hint: Any) -> list[Meta]:
    """Return the metadata inside an optional type: msgspec takes a range of the number only, not of the union."""
    return [found for part in get_args(hint) for found in get_args(part) if isinstance(found, Meta)]


def _declared(table: str, struct: type[msgspec.Struct]) -> list[Setting]:
    hints = get_type_hints(struct, include_extras=True)
    defaults = struct()
    settings = []
    for field in msgspec.structs.fields(struct):
        plain, meta, option = get_args(hints[field.name])
        default = getattr(defaults, field.name)
        settings.append(Setting(table, field.name, plain, Annotated[plain, meta], default, meta, option))
    return settings


TABLES: Mapping[str, type[msgspec.Struct]] = {
    "server": ServerSettings,
    "workers": WorkerSettings,
    "http": HttpSettings,
    "proxy": ProxySettings,
    "static": StaticSettings,
    "tls": TlsSettings,
    "log": LogSettings,
    "hooks": HookSettings,
    "development": DevelopmentSettings,
}
SETTINGS: Mapping[str, Setting] = {
    setting.name: setting for table, struct in TABLES.items() for setting in _declared(table, struct)
}
"""Every setting by its name, in the order of declaration."""
