"""The provider's side: a service that answers item sequences, sessions, saved targets, the access log."""

from recbole_gro.serving.access_log import AccessLog
from recbole_gro.serving.service import Query, Service

__all__ = ["AccessLog", "Query", "Service"]
