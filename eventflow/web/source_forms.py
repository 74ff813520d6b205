"""What an admin writes about a broker, as it came and as it is meant. Never saves, never gives a password back."""

from dataclasses import dataclass, field

from django.http import QueryDict

from eventflow.domain.source_setting import Setting, problems
from eventflow.store import sealed
from eventflow.store.queries import source_setting as queries
from eventflow.store.record import source_setting

RETYPE = "type it again: the stored one is sent only to the kind, address and options that it was stored with"
TAKEN = "there is a source of this name"
OTHER_KEY = "type it again: the stored one was sealed with another secret key"


@dataclass(slots=True)
class Form:
    """The fields as text. `password` is never shown; `stored`: whether one is kept."""

    name: str = ""
    scheme: str = "nats"
    address: str = ""
    user: str = ""
    options: str = ""
    password: str = field(default="", repr=False)
    keep: bool = True
    editing: bool = False
    stored: bool = False
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def keeps(self) -> bool:
        """Whether the stored password is meant: a typed one goes before it."""
        return self.stored and self.keep and not self.password


def of_setting(view: queries.SettingView) -> Form:
    """A broker to be changed."""
    return Form(view.name, view.scheme, view.address, view.user, view.options, editing=True, stored=view.has_password)


def from_post(post: QueryDict) -> Form:
    """The fields as they were sent; spaces around hosts and names are nobody's intention."""
    form = Form(
        name=post.get("name", "").strip()[:200],
        scheme=post.get("scheme", "")[:40],
        address="".join(post.get("address", "").split())[:400],
        user=post.get("user", "").strip()[:400],
        options=post.get("options", "").strip().lstrip("?")[:1200],
        password=post.get("password", "")[:2000],
        keep=post.get("keep") == "1",
        editing=post.get("editing") == "1",
    )
    known = queries.setting(form.name) if form.editing else None
    form.stored = known is not None and known.has_password
    return form


def check(form: Form) -> Setting | None:
    """The broker that is meant, with the stored password where it is to be kept; None: `form.errors` says why not."""
    setting = Setting(form.name, form.scheme, form.address, form.user, form.password, form.options)
    form.errors = problems(setting) | {
        name: "this is too long"
        for name, most in (("address", 300), ("user", 200), ("options", 1000), ("password", 1000))
        if len(getattr(form, name)) > most
    }
    known = queries.setting(form.name) if form.editing else None
    if form.editing and known is None:
        form.errors["name"] = "there is no such broker any more"
    elif not form.editing and "name" not in form.errors and queries.name_is_taken(form.name):
        form.errors["name"] = TAKEN
    if (
        known
        and form.keeps
        and (known.scheme, known.address, known.options)
        != (
            form.scheme,
            form.address,
            form.options,
        )
    ):
        form.errors["password"] = RETYPE
    if form.errors:
        return None
    if not form.keeps:
        return setting
    try:
        return source_setting.with_stored_password(setting)
    except sealed.SealedError:
        form.errors["password"] = OTHER_KEY
        return None
