"""What stands in AWS around the stored data: the catalogue's database and tables, a crawler, and Athena's workgroup."""

from marketpulse.aws.account import Account, Place
from marketpulse.aws.plan import Aws, Step, changing
from marketpulse.aws.policy import POLICIES, policy
from marketpulse.aws.wanted import Query, Wanted, left_out, wanted_objects

__all__ = [
    "POLICIES",
    "Account",
    "Aws",
    "Place",
    "Query",
    "Step",
    "Wanted",
    "changing",
    "left_out",
    "policy",
    "wanted_objects",
]
