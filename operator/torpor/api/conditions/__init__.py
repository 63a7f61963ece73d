"""Conditions and their reasons."""

from torpor.api.conditions.condition import Condition, ConditionStatus, ConditionType
from torpor.api.conditions.reasons import Reason

__all__ = ["Condition", "ConditionStatus", "ConditionType", "Reason"]
