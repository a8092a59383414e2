"""The shop's addresses."""

from django.contrib import admin
from django.urls import path

from bookshop import views

urlpatterns = [
    path("", views.home, name="home"),
    path("category/<slug:slug>/", views.category, name="category"),
    path("book/<slug:category>/<slug:slug>/", views.book, name="book"),
    path("search/", views.search, name="search"),
    path("delivery/<slug:code>/", views.delivery, name="delivery"),
    path("admin/", admin.site.urls),
]
