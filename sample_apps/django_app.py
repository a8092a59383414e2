"""Django in one file, with its admin, sessions, CSRF protection and a SQLite database.

Run it from the directory sample_apps::

    pyfork -w 2 django_app:app

and try, in a browser::

    http://127.0.0.1:8000/              a page of our own: the groups
    http://127.0.0.1:8000/admin/        the admin: user "admin", password "admin"

The database, and the key that signs the sessions, are made in a directory of their own below the system's temporary
one, or in DJANGO_SAMPLE_DIR. The password is known to everyone: serve this on the loopback address only.
"""

import fcntl
import os
import secrets
import tempfile
from pathlib import Path

import django
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from django.utils.html import format_html, format_html_join

DIRECTORY = Path(
    os.environ.get("DJANGO_SAMPLE_DIR") or Path(tempfile.gettempdir()) / f"pyfork-django-sample-{os.getuid()}"
)


def read_secret_key():
    """Return the key that all workers share; the first one makes it."""
    file = DIRECTORY / "secret_key"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(40), encoding="ascii")
    return file.read_text(encoding="ascii")


def configure():
    """Say what a settings module would say."""
    settings.configure(
        SECRET_KEY=read_secret_key(),
        ALLOWED_HOSTS=["localhost", "127.0.0.1", "[::1]"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
        ],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": DIRECTORY / "db.sqlite3",
                "OPTIONS": {"timeout": 20},
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        STATIC_URL="/static/",
        USE_TZ=True,
    )
    django.setup()


def prepare_database():
    """Create the tables and the user "admin", unless they are there."""
    call_command("migrate", verbosity=0, interactive=False)
    users = get_user_model().objects
    if not users.filter(username="admin").exists():
        users.create_superuser("admin", "admin@example.org", "admin")


DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
if DIRECTORY.stat().st_uid != os.getuid():
    raise RuntimeError(f"{DIRECTORY} belongs to somebody else: set DJANGO_SAMPLE_DIR to a directory of yours")
with (DIRECTORY / "lock").open("w") as lock:  # several workers import this at once: one of them makes the database
    fcntl.flock(lock, fcntl.LOCK_EX)
    configure()
    prepare_database()

from django.contrib import admin  # noqa: E402 (it wants the settings first)
from django.contrib.auth.models import Group  # noqa: E402 (as do the models)


def show_groups(request):
    """List the groups; the admin is where they are made."""
    items = format_html_join("", "<li>{}</li>", Group.objects.order_by("name").values_list("name"))
    return HttpResponse(format_html('<h1>Groups</h1><ul>{}</ul><p><a href="/admin/">The admin</a></p>', items))


urlpatterns = [path("", show_groups), path("admin/", admin.site.urls)]

app = application = StaticFilesHandler(get_wsgi_application())  # serves the admin's style sheets too
