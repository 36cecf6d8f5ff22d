"""The only wiring: one module per process, each putting rooms together through their ports."""
