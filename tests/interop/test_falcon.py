"""Falcon works: the quotes that `make run` serves."""

HOPPER = {"author": "Grace Hopper", "quote": "I've always been more interested in the future than in the past."}


def test_the_quote_is_grace_hoppers(browse):
    """As JSON, as the README shows it."""
    page = browse("quotes:app").visit("/quote")
    assert (page.status, page.json) == (200, HOPPER)
    assert page.headers["Content-Type"] == "application/json"


def test_a_quote_can_be_added(browse):
    """The worker that took it knows it from then on."""
    browser = browse("quotes:app", count=1)
    lovelace = {"author": "Ada Lovelace", "quote": "I never am really satisfied. — “indeed”"}
    added = browser.send_json("/quote", lovelace)
    assert (added.status, added.json) == (201, lovelace)
    assert browser.visit(added.headers["Location"]).json == [HOPPER, lovelace]
    assert browser.visit("/quote").json == HOPPER


def test_what_is_no_quote_is_refused(browse):
    """With the status that says why, in JSON."""
    browser = browse("quotes:app")
    for value in ([], {}, {"author": 1, "quote": "x"}, "text"):
        assert browser.send_json("/quote", value).status == 400
    assert browser.visit("/quote", "POST", b"{", content_type="application/json").status == 400
    assert browser.visit("/quote", "POST", b"<a/>", content_type="text/xml").status == 415
    refused = browser.visit("/quote", "DELETE")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, POST, OPTIONS")
    assert browser.visit("/nothing").status == 404
