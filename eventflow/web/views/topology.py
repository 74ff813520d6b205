from django.urls import URLPattern

app_name = "topology"
urlpatterns: list[URLPattern] = []
