"""A file of traces that a person uploaded, until it is read, and what became of it."""

from django.db import models


class ImportJob(models.Model):
    name = models.CharField(max_length=200)
    actor = models.CharField(max_length=200)
    body = models.BinaryField()
    """As uploaded, compressed; empty once it is read."""
    state = models.CharField(max_length=10, default="waiting")
    """``waiting``, ``done`` or ``failed``."""
    message = models.TextField(blank=True)
    spans = models.IntegerField(default=0)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
