"""server.toml: what it gives, and every way in which a file is none."""

import os

import pytest

from pyfork.config.toml_file import MAXIMUM_SIZE, read_file
from pyfork.config.values import Raw
from pyfork.errors import ConfigurationError


def read(tmp_path, content):
    path = tmp_path / "server.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_file(str(path), "server.toml")


def refusal(tmp_path, content):
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, content)
    return str(caught.value)


def test_values_come_out_by_setting(tmp_path):
    """Raw, with the file as their origin."""
    values, problems = read(tmp_path, "[workers]\ncount = 2\n[server.env]\nA = '1'\n")
    assert values == {
        "workers.count": Raw(2, "server.toml", is_text=False),
        "server.env": Raw({"A": "1"}, "server.toml", is_text=False),
    }
    assert problems == []


def test_keys_that_are_paths_are_mounts(tmp_path):
    """Together they are one setting, whose name is no key; elsewhere they are unknown."""
    values, problems = read(tmp_path, '[static]\n"/a" = "x"\nindex = "i"\n"/b" = { dir = "y" }\n[http]\n"/a" = "x"\n')
    assert values == {
        "static.mounts": Raw({"/a": "x", "/b": {"dir": "y"}}, "server.toml", is_text=False),
        "static.index": Raw("i", "server.toml", is_text=False),
    }
    assert len(problems) == 1
    values, problems = read(tmp_path, '[static]\nmounts = { "/a" = "x" }\n"a" = "x"\n')
    assert values == {}
    assert problems[0] == (
        'server.toml: unknown key static.mounts; write each mount as a key of its own: "/assets" = "dir"'
    )
    assert problems[1].startswith("server.toml: unknown key static.a; did you mean ")
    assert problems[1].endswith('(a directory that is served begins with a slash: "/assets" = "dir")')


def test_unknown_names_are_problems_and_the_rest_is_read_on(tmp_path):
    """Each names the file, the name, and the nearest known one."""
    values, problems = read(
        tmp_path,
        'bind = ":80"\nworkers = 3\n[worker]\ncount = 1\n[server]\nbacklogg = 1\nbacklog = 2\n"a b" = 1\n[http]\ntimeout = 1\n',
    )
    assert list(values) == ["server.backlog"]
    assert problems[:3] == [
        "server.toml: unknown key bind, outside any table; did you mean bind in [server]?",
        "server.toml: workers must be a table, not 3; write [workers] and keys under it",
        "server.toml: unknown table worker; the nearest known one is [workers]",
    ]
    assert problems[3] == "server.toml: unknown key server.backlogg; did you mean server.backlog?"
    assert problems[4].startswith('server.toml: unknown key server."a b"; did you mean ')
    assert problems[5] == "server.toml: unknown key http.timeout; did you mean workers.timeout?"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("a = ", "line 1, column 5"),
        ("a = \nb = 1", "line 1, column 5"),
        ("[server]\nbind = [\n", "line 3, column 1"),
        ("[server]\napp = 'x", "line 2, column 9"),
        ("a = 1\na = 2", "line 2, column "),
    ],
)
def test_a_syntax_error_has_its_line_and_column(tmp_path, content, place):
    """The end of the file is a place too."""
    assert refusal(tmp_path, content).startswith(f"server.toml: {place}")
    assert "not valid TOML" in refusal(tmp_path, content)


def test_a_file_that_is_not_utf8_is_refused_at_the_octet(tmp_path):
    """TOML is UTF-8 by definition; the column counts characters."""
    message = refusal(tmp_path, "[server]\napp = 'é".encode() + b"\xff'")
    assert message == "server.toml: line 2, column 9: not UTF-8, as TOML must be: octet 0xff"


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    """Some editors begin every file with one."""
    assert read(tmp_path, b"\xef\xbb\xbf[workers]\ncount = 2")[0]["workers.count"].value == 2


def test_what_python_cannot_hold_is_refused(tmp_path):
    """Nesting beyond the stack, and more digits than Python converts."""
    assert "nested too deeply" in refusal(tmp_path, "a = " + "[" * 9000)
    assert "too many digits" in refusal(tmp_path, "a = " + "9" * 9000)


def test_a_huge_file_is_no_configuration(tmp_path):
    """It is refused before anybody takes it apart."""
    assert "more than 1048576 octets" in refusal(tmp_path, b"#" * (MAXIMUM_SIZE + 1))


@pytest.mark.parametrize("may_wait", [True, False])
def test_a_file_that_may_not_be_read(monkeypatch, may_wait):
    """Root may read everything, so the refusal is played."""

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("pyfork.config.reading.os.open", refuse)
    with pytest.raises(ConfigurationError, match=r"^x: the configuration file cannot be read: permission denied$"):
        read_file("/x", "x", may_wait=may_wait)


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    """Missing, a directory, and what the system cannot follow."""
    with pytest.raises(ConfigurationError, match=r"^x\.toml: there is no such configuration file$"):
        read_file(str(tmp_path / "x.toml"), "x.toml")
    with pytest.raises(ConfigurationError, match=r"^x: this is a directory, not a configuration file$"):
        read_file(str(tmp_path), "x")
    os.symlink("loop", tmp_path / "loop")
    with pytest.raises(ConfigurationError, match=r"cannot be read: too many levels of symbolic links"):
        read_file(str(tmp_path / "loop"), "loop")


def test_a_pipe_is_read_at_a_start_and_not_waited_for_later(tmp_path):
    """``-c <(generate)`` is what a shell offers; a reload that waited for one would stop the whole arbiter."""
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb") as end:
        end.write(b"[workers]\ncount = 2\n")
        end.close()
        values, _ = read_file(f"/dev/fd/{reading}", "x", may_wait=True)
        assert values["workers.count"].value == 2
        with pytest.raises(ConfigurationError, match=r"^x: this is a pipe, not a regular file, and a reload or an"):
            read_file(f"/dev/fd/{reading}", "x")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigurationError, match=r"put a file in its place, or restart pyfork"):
        read_file(str(tmp_path / "fifo"), "x")
