"""Bottle works: a template, a form, a redirect."""


def test_a_page_is_rendered_from_a_template(browse):
    """Text beyond ASCII arrives, and markup in it is escaped."""
    page = browse("bottle_page:app").visit("/?name=Zo%C3%AB+%3Cb%3E")
    assert page.status == 200
    assert "<h1>Hello, Zoë &lt;b&gt;!</h1>" in page.text
    assert "Nobody has written yet." in page.text


def test_a_form_is_posted_and_its_entry_shown(browse):
    """303 to the page that has it; the names came url-encoded in UTF-8."""
    browser = browse("bottle_page:app", count=1)
    answer = browser.submit("/entries", name="Renée", text="1 < 2 & 3")
    assert answer.status == 303
    assert answer.headers["Location"] == f"{browser.origin}/"
    assert "<li><b>Renée</b>: 1 &lt; 2 &amp; 3</li>" in browser.visit("/").text


def test_what_is_not_there_is_404_and_405(browse):
    """Bottle's own pages."""
    browser = browse("bottle_page:app")
    assert browser.visit("/nothing").status == 404
    assert browser.visit("/entries").status == 405
