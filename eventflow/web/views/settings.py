"""Settings but for brokers (sources.py): instrumentation, imports, people and tokens, the audit trail."""

from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from eventflow.accounts import audit as audit_trail
from eventflow.accounts import directory
from eventflow.accounts.access import role_required
from eventflow.domain.instrumentation import sentences
from eventflow.nudge import nudge
from eventflow.store.queries import imports as import_queries
from eventflow.store.queries import instrumentation as queries
from eventflow.store.record import imports as import_jobs
from eventflow.web.views import sources

AUDIT_PAGE = 100
LARGEST_IMPORT = 64 * 1024 * 1024
IMPORT = "eventflow.imports.run"
TAKEN = frozenset(("requests", "bytes", "spans", "lag readings"))
"""What receivers count that is nothing to be noticed."""


@require_safe
def instrumentation(request: HttpRequest) -> HttpResponse:
    """What libraries leave out of their messaging spans, and what the receivers noticed."""
    found = queries.libraries()
    return render(
        request,
        "settings/instrumentation.html",
        {
            "libraries": [{"library": row, "sentences": sentences(row)} for row in found.rows],
            "shown": len(found.rows),
            "total": found.total,
            "receivers": [
                (name, sorted((what, often) for what, often in counters.items() if what not in TAKEN and often))
                for name, counters in queries.receiver_counters().items()
            ],
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("admin")
def imports(request: HttpRequest) -> HttpResponse:
    """Upload a file of traces; the worker reads it, and the list below says what became of it."""
    problem, status = "", 200
    if request.method == "POST":
        file = request.FILES.get("file")
        if file is not None and file.size and file.size <= LARGEST_IMPORT:
            now, name = timezone.now(), request.user.get_username()
            with transaction.atomic():
                import_jobs.keep(file.name or "a file", file.read(), name, now)
                audit_trail.record(name, "traces.import", target=file.name or "", details={"bytes": file.size}, now=now)
                transaction.on_commit(lambda: nudge(IMPORT))
            return redirect("settings:imports")
        too_large = file is not None and bool(file.size)
        status = 413 if too_large else 400
        large = f"The file is larger than {LARGEST_IMPORT // 2**20} MiB."
        problem = large if too_large else "Choose a file that is not empty."
    context = {"jobs": import_queries.newest(), "limit_mib": LARGEST_IMPORT // 2**20, "problem": problem}
    return render(request, "settings/imports.html", context, status=status)


@require_safe
@role_required("admin")
def people(request: HttpRequest) -> HttpResponse:
    """Accounts with their roles, and API tokens by name."""
    return render(request, "settings/people.html", {"people": directory.people(), "tokens": directory.tokens()})


@require_safe
@role_required("operator")
def audit(request: HttpRequest) -> HttpResponse:
    """Who did what, newest first."""
    page = Paginator(directory.audit_trail(), AUDIT_PAGE).get_page(request.GET.get("page"))
    return render(request, "settings/audit.html", {"page": page})


app_name = "settings"
urlpatterns = [
    path("", sources.page, name="page"),
    path("instrumentation/", instrumentation, name="instrumentation"),
    path("import/", imports, name="imports"),
    path("people/", people, name="people"),
    path("audit/", audit, name="audit"),
]
