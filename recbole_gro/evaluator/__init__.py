"""Evaluators: agreement metrics in RecBole's registry, and RecBole's evaluation of served lists."""

from recbole_gro.evaluator.agreement import Agreement, agree_with, register_metric
from recbole_gro.evaluator.own_history import OwnHistoryService
from recbole_gro.evaluator.popularity import POPULARITY, PopularityService
from recbole_gro.evaluator.served_lists import ServedEvaluator, evaluate_service

__all__ = [
    "POPULARITY",
    "Agreement",
    "OwnHistoryService",
    "PopularityService",
    "ServedEvaluator",
    "agree_with",
    "evaluate_service",
    "register_metric",
]
