"""The shop's pages. Each response names the process that answered, in ``X-Worker``."""

import os
from collections.abc import Callable
from functools import partial

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from bookshop import stock
from bookshop.models import Category

MOST_FOUND = 20
MOST_SIMILAR = 5


def name_worker(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Return a middleware that says which process answers."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Worker"] = str(os.getpid())
        return response

    return answer


def home(request: HttpRequest) -> HttpResponse:
    """Show the categories."""
    return render(request, "bookshop/home.html", {"categories": Category.objects.order_by("id")})


def category(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a category's books; the list is rendered once for each language."""
    return render(request, "bookshop/category.html", {"slug": slug, "books": partial(stock.books_of, slug)})


def book(request: HttpRequest, category: str, slug: str) -> HttpResponse:
    """Show a book."""
    shelf = stock.shelf(category)
    if slug not in shelf.by_slug:
        raise Http404(slug)
    shown = shelf.by_slug[slug]
    similar = shelf.by_author[shown.author_id][:MOST_SIMILAR]
    return render(request, "bookshop/book.html", {"book": shown, "similar": similar})


def search(request: HttpRequest) -> HttpResponse:
    """Show the first books that have a word."""
    word = request.GET.get("q", "").lower()
    places = [entry.split("/") for entry in stock.index().get(word, ())[:MOST_FOUND]]
    found = [stock.shelf(category).by_slug[slug] for category, slug in places]
    return render(request, "bookshop/search.html", {"word": word, "books": found})


def delivery(request: HttpRequest, code: str) -> JsonResponse:
    """Tell when a parcel would arrive, and what it would cost."""
    del request
    place = stock.places_by_code.get(code)
    if place is None:
        raise Http404(code)
    return JsonResponse({"place": place.name, "cents": place.cents, "days": place.days})
