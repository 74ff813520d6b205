"""All configuration, from the environment; README's table lists every name with its default.

What is wrong here is reported at start by `manage.py check`, with an id and a hint (eventflow/worker/checks.py).
"""

import importlib.util
import os
import secrets
from pathlib import Path

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from eventflow.domain.source_budget import Budget

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str, default: bool) -> bool:
    return os.environ.get(name, "1" if default else "0").strip().lower() in {"1", "true", "yes", "on"}


def _list(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in os.environ.get(name, default).split(",") if item.strip()]


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text or default)
    except ValueError:
        value = -1
    if not 0 < value < float("inf"):
        raise ImproperlyConfigured(f"{name}={text!r} is no positive number; leave it out for {default:g}.")
    return value


def _database() -> dict[str, object]:
    url = os.environ.get("DATABASE_URL") or f"sqlite:///{EVENTFLOW_DATA / 'eventflow.sqlite3'}"
    try:
        return dict(dj_database_url.parse(url))
    except ValueError as error:
        # The URL may hold a password: it is not repeated.
        raise ImproperlyConfigured(
            "DATABASE_URL cannot be read; write postgres://user:password@host:5432/name, or leave it out for SQLite."
        ) from error


# Where everything that Eventflow writes lies: database, secret key.
EVENTFLOW_DATA = Path(os.environ.get("EVENTFLOW_DATA", BASE_DIR / ".eventflow")).resolve()
EVENTFLOW_HTTP = os.environ.get("EVENTFLOW_HTTP", "127.0.0.1:8000")
EVENTFLOW_OTLP_HTTP = os.environ.get("EVENTFLOW_OTLP_HTTP", "127.0.0.1:4318")
EVENTFLOW_OTLP_GRPC = os.environ.get("EVENTFLOW_OTLP_GRPC", "127.0.0.1:4317")
EVENTFLOW_OTLP_MAX_BYTES = int(_number("EVENTFLOW_OTLP_MAX_BYTES", 64 * 1024 * 1024))
EVENTFLOW_OTLP_CORS = _list("EVENTFLOW_OTLP_CORS")
EVENTFLOW_ZIPKIN = os.environ.get("EVENTFLOW_ZIPKIN", "127.0.0.1:9411").strip()
# Nobody asked for the default port: a second copy on this machine goes without.
EVENTFLOW_ZIPKIN_IF_FREE = "EVENTFLOW_ZIPKIN" not in os.environ
if EVENTFLOW_ZIPKIN.lower() in {"off", "no", "0"}:
    EVENTFLOW_ZIPKIN = ""
# Without any, everybody who reaches the receivers may send.
EVENTFLOW_INGEST_TOKENS = _list("EVENTFLOW_INGEST_TOKENS")
# With more than one, the first digests and the others receive, on the same OTLP ports.
EVENTFLOW_INGEST_PROCESSES = max(1, int(_number("EVENTFLOW_INGEST_PROCESSES", 1)))
# Which of the receiving ones this is; set by the first one, which is 0, for those that it starts.
EVENTFLOW_RECEIVER = int(os.environ.get("EVENTFLOW_RECEIVER", "0"))
# Descriptors that it leaves to such a one: with these it hands on what it took in.
EVENTFLOW_HANDED_ON = tuple(map(int, _list("EVENTFLOW_HANDED_ON")))
EVENTFLOW_SOURCES = _list("EVENTFLOW_SOURCES")
EVENTFLOW_POLL_SECONDS = _number("EVENTFLOW_POLL_SECONDS", 2)
# What each broker may be asked, a second on average; whoever costs more is looked at less often.
EVENTFLOW_BUDGET = Budget(
    calls=_number("EVENTFLOW_BUDGET_CALLS", 2_000),
    received_bytes=_number("EVENTFLOW_BUDGET_BYTES", 10_000_000),
    busy=_number("EVENTFLOW_BUDGET_BUSY", 0.5),
)
EVENTFLOW_CORRELATION_KEYS = _list("EVENTFLOW_CORRELATION_KEYS")
EVENTFLOW_SEARCH_KEYS = _list("EVENTFLOW_SEARCH_KEYS")
EVENTFLOW_SPAN_FORMAT = "eventflow.worker.formats.otlp"
"""The format of stored requests: the store keeps what receivers give it and knows no protocol."""
EVENTFLOW_RETENTION_HOURS = _number("EVENTFLOW_RETENTION_HOURS", 14 * 24)
# Lag history is small when packed: samples for the days in which one looks closely, minutes for months.
EVENTFLOW_LAG_SAMPLE_DAYS = _number("EVENTFLOW_LAG_SAMPLE_DAYS", 3)
EVENTFLOW_LAG_MINUTE_DAYS = _number("EVENTFLOW_LAG_MINUTE_DAYS", 100)
EVENTFLOW_RETENTION_GIGABYTES = (
    _number("EVENTFLOW_RETENTION_GIGABYTES", 1) if os.environ.get("EVENTFLOW_RETENTION_GIGABYTES") else None
)
EVENTFLOW_URL = os.environ.get("EVENTFLOW_URL", f"http://{EVENTFLOW_HTTP}")
REDIS_URL = os.environ.get("REDIS_URL", "")
EVENTFLOW_DEMO = _flag("EVENTFLOW_DEMO", False)
# Who can reach pages that listen on this machine only reaches its private addresses anyway; else they are asked for.
EVENTFLOW_WEBHOOK_PRIVATE = _flag(
    "EVENTFLOW_WEBHOOK_PRIVATE", EVENTFLOW_HTTP.rpartition(":")[0] in {"127.0.0.1", "localhost", "[::1]"}
)


def _secret_key() -> str:
    """From the environment, or one made at first start and kept, for its owner only, in the data folder."""
    if key := os.environ.get("EVENTFLOW_SECRET_KEY"):
        return key
    path = EVENTFLOW_DATA / "secret_key"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        EVENTFLOW_DATA.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = secrets.token_urlsafe(50)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key)
        return key


SECRET_KEY = _secret_key()
# Older ones: they still open what they sealed and still know their sessions.
SECRET_KEY_FALLBACKS = _list("EVENTFLOW_SECRET_KEY_FALLBACKS")
DEBUG = _flag("EVENTFLOW_DEBUG", False)
ALLOWED_HOSTS = _list("EVENTFLOW_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
CSRF_TRUSTED_ORIGINS = _list("EVENTFLOW_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "django_htmx",
    "eventflow.accounts",
    "eventflow.store",
    "eventflow.live",
    "eventflow.worker",
    "eventflow.web",
]
if importlib.util.find_spec("demo"):
    INSTALLED_APPS.append("demo")

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "eventflow.urls"
ASGI_APPLICATION = "eventflow.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "eventflow.web.shell.context",
            ],
            "builtins": ["eventflow.web.templatetags.ef"],
        },
    }
]

DATABASES = {"default": _database()}
if str(DATABASES["default"]["ENGINE"]).endswith("sqlite3"):
    # WAL: readers never wait. FULL: what is acknowledged survives a power cut. IMMEDIATE: writers queue up.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-32768;"
            # 16 MB: what the inbox writes and soon frees again is copied into the database less often.
            "PRAGMA wal_autocheckpoint=4000;"
            # Some builds write zeros over each page that becomes free.
            " PRAGMA secure_delete=FAST;"
        ),
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60

CHANNEL_LAYERS = {
    "default": (
        {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
        if REDIS_URL
        else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    )
}

CELERY_BROKER_URL = REDIS_URL or "memory://localhost//"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
# Jobs mostly wait for others' servers. There are more threads than kinds of jobs: a channel that does not answer, or a
# large import, must not keep alerts from being evaluated or replays from being sent.
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = 16
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "overview:page"
LOGOUT_REDIRECT_URL = "accounts:login"

# Two copies on one host (other ports) keep their own sessions: cookies know no port.
_COOKIE_SUFFIX = EVENTFLOW_HTTP.rpartition(":")[2]
SESSION_COOKIE_NAME = f"eventflow_session_{_COOKIE_SUFFIX}"
CSRF_COOKIE_NAME = f"eventflow_csrf_{_COOKIE_SUFFIX}"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = EVENTFLOW_URL.startswith("https://")
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        # Plotly and the timeline place marks by style attributes.
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "static/"
STATICFILES_DIRS = [
    BASE_DIR / "static",
    # Third-party scripts come out of the installed packages; none is committed.
    ("vendor/plotly", str(Path(importlib.util.find_spec("plotly").origin).parent / "package_data")),  # type: ignore[union-attr, arg-type]  # a hard dependency
]
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = DEBUG
SERVESTATIC_ALLOW_ALL_ORIGINS = False

EMAIL_URL = os.environ.get("EVENTFLOW_EMAIL_URL", "")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("EVENTFLOW_LOG", "WARNING")},
    "loggers": {"eventflow": {"level": os.environ.get("EVENTFLOW_LOG", "INFO")}},
}
