"""Flask works: signed sessions, templates, JSON, files with ranges, errors."""

from tests.harness import SAMPLES

SECRET = {"SECRET_KEY": "shared by the workers of this test"}


def test_a_session_counts_visits_across_workers(browse):
    """The cookie is signed, and holds the count itself."""
    browser = browse("flask_app:app", environ=SECRET)
    assert "You have been here 1 time." in browser.visit("/?name=Grace").text
    for visits in range(2, 8):
        page = browser.visit("/?name=Zo%C3%AB+%3Cb%3E")
        assert f"You have been here {visits} times." in page.text
    assert "Hello, Zoë &lt;b&gt;!" in page.text


def test_json_goes_both_ways(browse):
    """And what is not JSON is refused with the status that says why."""
    browser = browse("flask_app:app")
    assert browser.send_json("/sum", {"numbers": [1, 2.5, 3]}).json == {"sum": 6.5}
    assert browser.send_json("/sum", {"numbers": "123"}).status == 400
    assert browser.visit("/sum", "POST", b"{", content_type="application/json").status == 400
    assert browser.visit("/sum", "POST", b"a=1", content_type="text/plain").status == 415
    assert browser.visit("/sum").status == 405


def test_a_file_is_sent_whole_in_part_or_not_at_all(browse):
    """send_file uses wsgi.file_wrapper; a range and a condition are Werkzeug's, their framing is ours."""
    source = (SAMPLES / "flask_app.py").read_bytes()
    browser = browse("flask_app:app")
    page = browser.visit("/source")
    assert page.body == source
    assert int(page.headers["Content-Length"]) == len(source)
    part = browser.visit("/source", range="bytes=3-9")
    assert (part.status, part.body) == (206, source[3:10])
    unchanged = browser.visit("/source", if_none_match=page.headers["ETag"])
    assert (unchanged.status, unchanged.body) == (304, b"")
    head = browser.visit("/source", "HEAD")
    assert (head.body, head.headers["Content-Length"]) == (b"", str(len(source)))


def test_an_error_is_answered_and_its_traceback_logged(browse):
    """Flask catches it, and writes to wsgi.errors: the error log."""
    browser = browse("flask_app:app")
    browser.server.expect_errors("Exception on /error")
    assert browser.visit("/error").status == 500
    browser.server.wait_log("RuntimeError: this page always fails")
    assert browser.visit("/").status == 200
