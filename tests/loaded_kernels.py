"""Imported by the process that children are forked from (tests/forked.py): it brings the machine code in for all."""

from marketpulse.app import warm

warm.load("wire", "engine", "failover")
