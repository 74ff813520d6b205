from django.urls import URLPattern

app_name = "dead_letters"
urlpatterns: list[URLPattern] = []
