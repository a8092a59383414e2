"""What the shop sells."""

from django.db import models


class Category(models.Model):
    """A shelf."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Author(models.Model):
    """Who wrote a book."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Book(models.Model):
    """A book, with what its page shows."""

    slug = models.SlugField(unique=True)
    title = models.CharField(max_length=200)
    category = models.ForeignKey(Category, models.CASCADE, related_name="books")
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    price = models.DecimalField(max_digits=8, decimal_places=2)
    published = models.DateField()
    description = models.TextField()
    details = models.JSONField()

    def __str__(self) -> str:
        return self.title


class Review(models.Model):
    """What a reader thought of it."""

    book = models.ForeignKey(Book, models.CASCADE, related_name="reviews")
    rating = models.PositiveSmallIntegerField()
    text = models.TextField()

    def __str__(self) -> str:
        return f"{self.rating} of 5"
