from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "eventflow.accounts"
    label = "accounts"
