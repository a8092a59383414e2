"""The application: ``bookshop.wsgi:application``. It is imported whole, as ``preload`` and a first request want it."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookshop.settings")
application = get_wsgi_application()
get_resolver().url_patterns  # noqa: B018 - imports the views, and with them the table of places
