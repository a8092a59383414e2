"""The shop's part of the admin."""

from django.contrib import admin

from bookshop.models import Author, Book, Category, Review

admin.site.register([Author, Book, Category, Review])
