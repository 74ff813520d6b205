from django.urls import URLPattern

app_name = "lag"
urlpatterns: list[URLPattern] = []
