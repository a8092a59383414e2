"""The settings of static files, declared as those of `schema` are. Pure."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pyfork.config.declarations import Form, Option

LONGEST_AGE = 315_360_000
"""Seconds: ten years."""


class StaticMount(msgspec.Struct, frozen=True, kw_only=True):
    """One directory that is served; what is not set is as `[static]` has it.

    Attributes:
        dir: the directory.
        index: the file that stands for a directory; "" for none.
        max_age: seconds that a file may be cached.
        immutable: whether a cached file need not be asked for again in that time.
        precompressed: whether ``.br`` and ``.gz`` beside a file are sent in its place.
        fall_through: whether what is not there is the application's.
    """

    dir: str
    index: str | UnsetType = UNSET
    max_age: Annotated[int, Meta(ge=0, le=LONGEST_AGE)] | UnsetType = UNSET
    immutable: bool | UnsetType = UNSET
    precompressed: bool | UnsetType = UNSET
    fall_through: bool | UnsetType = UNSET


class StaticSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Files that workers serve without the application (docs/static.md)."""

    mounts: Annotated[
        dict[str, StaticMount],
        Meta(
            description="The directories that are served, by the beginnings of their paths. In the file each is a key "
            'of `[static]` that begins with a slash: `"/assets" = "dir"`, or `"/assets" = { dir = "dir", ... }` with '
            "any of the table's other settings for that one. Relative directories start at `server.chdir`. The longest "
            "beginning counts, and only whole segments of a path do."
        ),
        Option(("--static",), "PREFIX=DIR", Form.MOUNTS, example={"/assets": "assets"}),
    ] = {}
    index: Annotated[
        str | None,
        Meta(
            description="The file that is served for a directory; a path without the slash at its end is redirected. "
            "Without any, a directory is not there."
        ),
        Option(("--static-index",), "NAME", Form.FILE_NAME, default_text="none", example="index.html"),
    ] = None
    max_age: Annotated[
        Annotated[int, Meta(ge=0, le=LONGEST_AGE)] | None,
        Meta(
            description="Seconds that a file may be cached without being asked for: `Cache-Control: public, max-age`."
        ),
        Option(("--static-max-age",), "SECONDS", default_text="no Cache-Control", example=3600),
    ] = None
    immutable: Annotated[
        bool,
        Meta(
            description="With `max_age`, add `immutable` to Cache-Control: for files whose names change with their "
            "content."
        ),
        Option(("--static-immutable",), ""),
    ] = False
    precompressed: Annotated[
        bool,
        Meta(
            description="Send `app.css.br` or `app.css.gz` for `app.css` to clients that accept it, if it is there and "
            "no older."
        ),
        Option(("--static-precompressed",), ""),
    ] = True
    fall_through: Annotated[
        bool,
        Meta(
            description="Leave to the application what is no GET or HEAD of a file that is there; otherwise it is "
            "answered with 404 or 405."
        ),
        Option(("--static-fall-through",), ""),
    ] = False
