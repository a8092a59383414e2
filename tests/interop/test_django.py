"""Django's admin works: sessions, CSRF protection, forms, messages, static files, a database."""

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Where the sample keeps its database: tests that run beside these have one of their own.

    SQLite does not let who has read wait to write while another commits: that would be "database is locked", at once.
    """
    return tmp_path_factory.mktemp("database") / "django"


@pytest.fixture
def admin(browse, database):
    """A browser before the login, and two workers that share a database; each test writes what no other one reads."""
    browser = browse("django_app:app", environ={"DJANGO_SAMPLE_DIR": str(database)})
    browser.server.wait_workers(2)
    return browser


def log_in(browser, password="admin"):
    form = browser.visit("/admin/login/?next=/admin/")
    return browser.submit(
        "/admin/login/?next=/admin/",
        csrfmiddlewaretoken=browser.csrf_token(form),
        username="admin",
        password=password,
        next="/admin/",
    )


def test_the_admin_sends_strangers_to_its_login(admin):
    """And says so with a redirect that keeps the way back."""
    page = admin.visit("/admin/auth/group/")
    assert page.status == 302
    assert page.headers["Location"] == "/admin/login/?next=/admin/auth/group/"


def test_a_login_makes_a_session_that_every_worker_knows(admin):
    """The cookie names it, the database holds it; the requests spread over two workers."""
    assert log_in(admin, "wrong").status == 200
    assert "sessionid" not in {cookie.name for cookie in admin.cookies}
    assert log_in(admin).status == 302
    assert {"sessionid", "csrftoken"} <= {cookie.name for cookie in admin.cookies}
    for _ in range(10):
        page = admin.visit("/admin/")
        assert page.status == 200
        assert "Site administration" in page.text


def test_a_post_with_its_csrf_token_is_taken(admin, worker_type):
    """A form of the admin, text beyond ASCII, a message after the redirect, and the page that shows the result."""
    log_in(admin)
    form = admin.visit("/admin/auth/group/add/")
    name = f"Größe & <b> of {worker_type}"  # there may be one of each name
    added = admin.submit("/admin/auth/group/add/", csrfmiddlewaretoken=admin.csrf_token(form), name=name, _save="Save")
    assert added.status == 302
    assert "was added successfully" in admin.visit(added.headers["Location"]).text
    assert f"<li>Größe &amp; &lt;b&gt; of {worker_type}</li>" in admin.visit("/").text


def test_a_post_without_its_csrf_token_is_refused(admin):
    """Even with the session's cookie."""
    admin.server.expect_errors("Forbidden")
    log_in(admin)
    page = admin.submit("/admin/auth/group/add/", name="intruders", _save="Save")
    assert page.status == 403
    assert "intruders" not in admin.visit("/").text


def test_static_files_are_served(admin):
    """The admin's style sheet, whole."""
    page = admin.visit("/static/admin/css/base.css")
    assert page.status == 200
    assert len(page.body) == int(page.headers["Content-Length"]) > 1000


def test_a_logout_ends_the_session(admin):
    """It is a POST, too."""
    log_in(admin)
    token = admin.csrf_token(admin.visit("/admin/"))
    assert "Logged out" in admin.submit("/admin/logout/", csrfmiddlewaretoken=token).text
    assert admin.visit("/admin/").status == 302
