"""Makes the shop's database and the list of requests that warm a process, the same ones each time.

python -m bookshop.build FOLDER    writes shop.sqlite3, and requests.json: a list of [path, Accept-Language]
"""

import datetime as dt
import json
import os
import random
import sys
from decimal import Decimal
from pathlib import Path

import django
from django.core.management import call_command
from django.db import transaction

CATEGORIES = 50
BOOKS = 5_000
AUTHORS = 400
REVIEWS_OF_A_BOOK = 3
WORDS = 4_000
OLDEST = dt.date(1950, 1, 1)
LANGUAGES = ("en", "de", "fr", "es", "it", "pl", "ja", "pt")


def word(number: int) -> str:
    """Return a word of the shop's language."""
    syllables = ("ba", "do", "ke", "li", "mo", "nu", "pe", "ra", "su", "ti")
    return "".join(syllables[int(digit)] for digit in f"{number:04}")


def category_slug(number: int) -> str:
    """Return the slug of a category."""
    return f"category-{number:03}"


def book_slug(number: int) -> str:
    """Return the slug of a book; it is in the category ``number % CATEGORIES``."""
    return f"book-{number:05}"


def requests() -> list[tuple[str, str]]:
    """Return what fills every cache: the paths, each with a language."""
    asked = [(f"/category/{category_slug(number)}/", "en") for number in range(CATEGORIES)]
    asked += [
        (f"/book/{category_slug(number % CATEGORIES)}/{book_slug(number)}/", "en") for number in range(0, BOOKS, 61)
    ]
    asked += [(f"/search/?q={word(number)}", "en") for number in range(1, 30)]
    asked += [(f"/delivery/{number:05}/", "en") for number in range(0, 100_000, 5_003)]
    for language in LANGUAGES:
        asked += [("/", language), ("/admin/login/", language), (f"/category/{category_slug(1)}/", language)]
    return list(dict.fromkeys(asked))


def build() -> None:
    """Create the tables and fill them; Django is set up."""
    from bookshop.models import Author, Book, Category, Review  # noqa: PLC0415 (needs Django set up)

    chance = random.Random("books")

    def prose(length: int) -> str:
        return " ".join(word(int(chance.paretovariate(0.5)) % WORDS) for _ in range(length))

    call_command("migrate", run_syncdb=True, verbosity=0)
    with transaction.atomic():
        Category.objects.bulk_create(
            Category(id=number + 1, slug=category_slug(number), name=prose(2)) for number in range(CATEGORIES)
        )
        Author.objects.bulk_create(Author(id=number + 1, name=prose(2).title()) for number in range(AUTHORS))
        Book.objects.bulk_create(
            Book(
                id=number + 1,
                slug=book_slug(number),
                title=prose(4).capitalize(),
                category_id=number % CATEGORIES + 1,
                author_id=chance.randint(1, AUTHORS),
                price=Decimal(chance.randint(500, 9900)) / 100,
                published=OLDEST + dt.timedelta(days=chance.randint(0, 27_000)),
                description=prose(90),
                details={prose(1): prose(2) for _ in range(10)},
            )
            for number in range(BOOKS)
        )
        Review.objects.bulk_create(
            Review(book_id=number % BOOKS + 1, rating=chance.randint(1, 5), text=prose(40))
            for number in range(BOOKS * REVIEWS_OF_A_BOOK)
        )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "requests.json").write_text(json.dumps(requests()))
    os.environ["BOOKSHOP_DATABASE"] = str(folder / "shop.sqlite3")
    os.environ["DJANGO_SETTINGS_MODULE"] = "bookshop.settings"
    django.setup()
    build()
