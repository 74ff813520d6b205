from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path


def page(request: HttpRequest) -> HttpResponse:
    return render(request, "overview/page.html")


app_name = "overview"
urlpatterns = [path("", page, name="page")]
