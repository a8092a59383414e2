"""What a process remembers: the table of places from its import on, the shelves and the index from their first use."""

import random
from collections import defaultdict
from dataclasses import dataclass
from functools import cache

from bookshop.models import Book

PLACES = 100_000


@dataclass(frozen=True)
class Place:
    """Where the shop delivers to, and at what cost."""

    code: str
    name: str
    cents: int
    days: tuple[int, int]


def _read_places() -> dict[str, Place]:
    """Return all places by postal code (made up, and the same ones each time)."""
    chance = random.Random("places")
    places = {}
    for number in range(PLACES):
        code = f"{number:05}"
        soonest = chance.randint(1, 4)
        places[code] = Place(
            code, f"Place {chance.getrandbits(40):x}", chance.randint(199, 999), (soonest, soonest + 2)
        )
    return places


places_by_code = _read_places()


class Shelf:
    """The books of a category, with their authors and reviews: all of them by slug, and those of an author."""

    def __init__(self, category: str) -> None:
        books = Book.objects.filter(category__slug=category).select_related("author", "category")
        self.by_slug = {book.slug: book for book in books.prefetch_related("reviews").order_by("id")}
        self.by_author: defaultdict[int, list[Book]] = defaultdict(list)
        for book in self.by_slug.values():
            self.by_author[book.author_id].append(book)


@cache
def shelf(category: str) -> Shelf:
    """Return the shelf of a category, read from the database once."""
    return Shelf(category)


def books_of(category: str) -> list[Book]:
    """Return the books of a category."""
    return [*shelf(category).by_slug.values()]


@cache
def index() -> dict[str, tuple[str, ...]]:
    """Return for each word the "category/book" slugs of the descriptions that have it."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    rows = Book.objects.values_list("category__slug", "slug", "title", "description").order_by("id")
    for category, slug, title, description in rows.iterator():
        for word in {*title.lower().split(), *description.lower().split()}:
            found[word].append(f"{category}/{slug}")
    return {word: tuple(slugs) for word, slugs in found.items()}
