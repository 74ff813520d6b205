"""What libraries' messaging spans hold and lack: sums, written by the digest."""

from django.db import models


class LibraryCount(models.Model):
    """One library in one service in one dialect, since its first span."""

    service = models.CharField(max_length=300)
    scope = models.CharField(max_length=200)
    dialect = models.CharField(max_length=100)
    spans = models.BigIntegerField()
    consuming = models.BigIntegerField()
    no_destination = models.BigIntegerField()
    no_group = models.BigIntegerField()
    no_message_id = models.BigIntegerField()
    no_correlation_id = models.BigIntegerField()
    last_ns = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["service", "scope", "dialect"], name="one_row_per_library_and_dialect")
        ]
